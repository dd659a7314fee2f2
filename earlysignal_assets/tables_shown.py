"""What the command prints: tables for a person at a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from earlysignal_assets.standing_facts import facts_of, shown_clock, shown_moment
from earlysignal_core.evaluation.test_part import figures_of_test_part
from earlysignal_core.features.catalogue import Feature
from earlysignal_core.features.explain import Explanation
from earlysignal_core.models.bundle import FOLDER, Bundle, NoModelYet
from earlysignal_core.sources import SourceDescription

if TYPE_CHECKING:  # its page is heavy to import
    from earlysignal_core.ledger.summary import Summary
    from earlysignal_core.operations import Status
    from earlysignal_core.sources.export import Exported

_ROWS_SHOWN = 2
_NO_TARGET = "no; EARLYSIGNAL_ALERT_URLS names the targets"
_NOTE = (
    "AUC with its 95 % interval; `base` is the Brier score of forecasting the base rate. `never` forecasts the base "
    "rate known before each quarter, which moves: its pooled AUC is near .5, not at it."
)
_SKILLS = {
    "auc_within_company": "within one company",
    "auc_given_large_surprise": "of up against down given a large surprise",
}
_COLUMNS = {
    "n": ("n", "{:,.0f}"),
    "base rate": ("base_rate", "{:.3f}"),
    "AUC": ("auc", "{:.3f}"),
    "from": ("auc_low", "{:.3f}"),
    "to": ("auc_high", "{:.3f}"),
    "AP": ("average_precision", "{:.3f}"),
    "top 10 %": ("precision_top10", "{:.3f}"),
    "Brier": ("brier", "{:.4f}"),
    "base": ("brier_base_rate", "{:.4f}"),
    "ECE": ("ece", "{:.3f}"),
}


def print_walk_forward(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the walk-forward table, per quarter and pooled, with the baselines below it."""
    assumed = " (the final consensus is ASSUMED KNOWN)" if summary["assume_final_consensus_known"] else ""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title=f"Walk-forward on {summary['source']}{assumed}",
        title_justify="left",
    )
    table.add_column("quarter")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for quarter in summary["quarters"]:
        table.add_row(quarter["quarter"], *_cells(quarter))
    table.add_section()
    table.add_row("[bold]all[/bold]", *_cells(summary))
    untouched = summary["untouched"]
    table.add_row(f"untouched, from {untouched['from']}", *_cells(untouched))
    table.add_section()
    for name, figures in summary["baselines"].items():
        table.add_row(f"[dim]{name}[/dim]", *_cells(figures))
    console.print(table)
    console.print(_NOTE, highlight=False)
    for where, figures in (("All", summary), (f"From {untouched['from']}", untouched)):
        console.print(f"{where}: AUC {', '.join(_skills(figures))}; a coin has .500.", highlight=False)
    for line in summary["assumptions"]:
        console.print(f"[yellow]Assumed[/yellow] {line}", highlight=False)
    if summary["inactive_features"]:
        console.print(f"Inactive features: {', '.join(summary['inactive_features'])}", highlight=False)
    for reason, quarters in _grouped(summary["left_out"]).items():
        console.print(f"Not judged: {', '.join(quarters)}: {reason}", highlight=False)


def print_model(console: Console, model: Bundle | NoModelYet) -> None:
    """Print a model's figures on its test part, beside the base rate."""
    if isinstance(model, NoModelYet):
        console.print(f"No model yet for {model.until}: {model.reason}")
        return
    table = Table("figure", "value", title=f"{model.version}: test part of the split, before the refit")
    for name, value in figures_of_test_part(model.metadata).items():
        table.add_row(name.replace("_", " "), f"{value:,.4g}")
    console.print(table)
    console.print(f"Bundle   {FOLDER}/{model.version} in the lake", highlight=False)


def print_tuned(console: Console, quarter: str, members: Sequence[Mapping[str, Any]]) -> None:
    """Print what a search has found for each member, beside the fixed recipe."""
    for member in members:
        table = Table("figure", "value", title=f"{member['algorithm']}, tuned for {quarter}: mean over the folds")
        for name in ("validation_log_loss", "validation_log_loss_of_the_fixed_recipe", "validation_auc"):
            table.add_row(name.replace("validation_", "").replace("_", " "), f"{member[name]:.4f}")
        table.add_row("trials", f"{member['trials']}, {member['pruned']} of them stopped early")
        for name, value in member["params"].items():
            table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
        console.print(table)
    console.print("The best of many trials is flattered by the choice: later quarters tell.", highlight=False)


def print_catalogue(console: Console, features: Mapping[str, Feature], source: SourceDescription) -> None:
    """Print every feature, with its unit, its definition and whether the source can give it."""
    whole = Column("feature", overflow="fold")  # a name that is cut off cannot be asked for
    table = Table("family", whole, "unit", "definition", f"on {source.name}", show_lines=True)
    for name, feature in features.items():
        reason = feature.inactive_because(source)
        state = f"[yellow]inactive: {reason}[/yellow]" if reason else "active"
        table.add_row(feature.family, name, feature.unit, " ".join(feature.definition.split()), state)
    console.print(table)


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print what one feature says of one example, and the newest of the rows that it was made from."""
    feature = explanation.feature
    value = f"{explanation.value:,.6g} {feature.unit}" if np.isfinite(explanation.value) else "no value"
    state = f"inactive: {explanation.inactive_because}" if explanation.inactive_because else value
    console.print(f"\n[bold]{feature.name}[/bold]  {state}  [dim]{feature.family}[/dim]", highlight=False)
    console.print(f"  {' '.join(feature.definition.split())}", highlight=False)
    for table, rows in explanation.rows.items():
        newest = rows.groupby(rows.columns[0], sort=False).tail(_ROWS_SHOWN).tail(2 * _ROWS_SHOWN)
        console.print(f"  [dim]{table}: {len(newest)} of {len(rows)} row(s), the newest[/dim]", highlight=False)
        console.print(newest.to_string(index=False, line_width=console.width), highlight=False, markup=False)


def print_findings(console: Console, findings: pd.DataFrame) -> None:
    """Print how many findings there are of each kind, and every false level shift."""
    counts = Table("kind", "findings", "symbols", "what was done", title="Data audit")
    for kind, found in findings.groupby("kind", sort=False):
        actions = "; ".join(found["action"].unique()[:2])
        counts.add_row(str(kind), f"{len(found):,}", f"{found['symbol'].nunique():,}", actions)
    console.print(counts)
    shifts = Table("symbol", "date", "evidence", "what was done", title="False level shifts")
    for row in findings[findings["kind"] == "level_shift"].itertuples():
        shifts.add_row(str(row.symbol), f"{row.date:%Y-%m-%d}", str(row.evidence), str(row.action))
    console.print(shifts)


def print_tape(console: Console, folder: Path, written: Mapping[str, "Exported"], not_collected: Sequence[str]) -> None:
    """Print what a tape holds, table by table, and what of its source it lacks."""
    table = Table("table", "first", "last", box=SIMPLE_HEAD, title=f"Tape {folder}", title_justify="left")
    table.add_column("rows", justify="right")
    table.add_column("quarters not collected", justify="right")
    for one in written.values():
        days = ("" if day is None else f"{day:%Y-%m-%d}" for day in (one.first, one.last))
        table.add_row(one.table, *days, f"{one.rows:,}", str(len(one.missing) or ""))
    console.print(table)
    if not_collected:
        console.print(
            f"[yellow]Not collected[/yellow], so not in the tape: {', '.join(not_collected)}", highlight=False
        )
    console.print(f"Read it with `--tape {folder}`", soft_wrap=True, highlight=False)


def print_clock(console: Console, status: "Status") -> None:
    """Print what time it is."""
    console.print(f"Clock    {shown_clock(status)}", highlight=False)


def print_status(console: Console, workspace: str, status: "Status") -> None:
    """Print how production stands, and the last decisions."""
    facts = {"Source": workspace, **facts_of(status)}
    console.print(_grid(facts), highlight=False)
    if len(status.alerts):
        console.print(_alerts(status.alerts), highlight=False)
    made = _decisions(status.decisions, "The last decisions") if len(status.decisions) else "No decisions yet."
    console.print(made, highlight=False)


def print_summary(console: Console, lived: "Summary", seconds: float) -> None:
    """Print what happened on the days that were lived, and where to look."""
    days = (lived.last - lived.first).days + 1
    what = (lived.retrains["cause"] + " (" + lived.retrains["state"] + ")").value_counts(sort=False)
    retrains = ", ".join(f"{n} {each}" for each, n in what.items())
    raised = lived.alerts["severity"].value_counts()
    facts = {
        "Lived": f"{days} day(s), {lived.first:%Y-%m-%d} to {lived.last:%Y-%m-%d}, in {seconds:.0f} s",
        "Predicted": f"{lived.predictions:,} announcement(s): {lived.answered:,} answered, "
        f"{lived.calls:,} called a large beat",
        "Outcomes": f"{lived.outcomes:,} became known: {lived.beats:,} large beat(s), {lived.right_calls:,} of them "
        f"called",
        "Retrains": retrains or "none was asked for",
        "Alerts": ", ".join(f"{n} {severity}" for severity, n in raised.items()) or "none",
    }
    console.print(_grid(facts), highlight=False)
    if len(lived.about_models):
        console.print(_decisions(lived.about_models, "What was decided about models"), highlight=False)
    console.print(
        "How it stands now, and the last alerts: `earlysignal status`. Every day with its figures: `earlysignal up`, "
        "then the groups `production` and `monitoring`.",
        highlight=False,
    )


def _grid(facts: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, fact in facts.items():
        grid.add_row(name, escape(fact))
    return grid


def _titled(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _decisions(made: pd.DataFrame, title: str) -> Table:
    table = _titled(title, "at", "decision", "of", "why", "by")
    for row in made.itertuples():
        subject = row.subject if isinstance(row.subject, str) else "–"
        texts = (str(row.kind), subject, str(row.cause), str(row.decided_by))
        table.add_row(shown_moment(row.at), *map(escape, texts))
    return table


def _alerts(alerts: pd.DataFrame) -> Table:
    table = _titled("The last alerts", "at", "alert", "what", "delivered")
    for row in alerts.to_dict("records"):
        told = f"tried {row['attempts']} times: {row['error']}" if row["attempts"] else _NO_TARGET
        delivered = told if row["sent_at"] is pd.NaT else shown_moment(row["sent_at"])
        what = (f"{row['severity']}: {row['title']}", str(row["body"]), delivered)
        table.add_row(shown_moment(row["at"]), *map(escape, what))
    return table


def _cells(figures: Mapping[str, Any]) -> list[str]:
    values = [(figures.get(key), layout) for key, layout in _COLUMNS.values()]
    return ["–" if value is None else layout.format(value) for value, layout in values]


def _skills(figures: Mapping[str, Any]) -> list[str]:
    """Tell apart what the headline mixes: which company, when, and which way a large surprise goes."""
    return [f"{what} {_with_bounds(figures, name)}" for name, what in _SKILLS.items()]


def _with_bounds(figures: Mapping[str, Any], name: str) -> str:
    value, low, high = (figures.get(f"{name}{bound}") for bound in ("", "_low", "_high"))
    if value is None:
        return "cannot be told"
    between = "no interval" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return f"{value:.3f} ({between}, n = {figures[f'{name}_n']:,.0f})"


def _grouped(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Gather the quarters by the reason, whose own numbers differ from quarter to quarter."""
    grouped: dict[str, list[str]] = {}
    for quarter, reason in left_out.items():
        grouped.setdefault("".join(c for c in reason if not c.isdigit()), []).append(quarter)
    return {left_out[quarters[-1]]: quarters for quarters in grouped.values()}


def print_replays(console: Console, comparison: pd.DataFrame) -> None:
    """Print one line a policy, as of `replay_report.comparison`."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Policies replayed", title_justify="left")
    for name in comparison.columns:
        table.add_column(str(name), justify="left" if name == "policy" else "right", overflow="fold")
    for row in comparison.to_numpy().tolist():
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    console.print(table)
