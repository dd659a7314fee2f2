"""One page: each step of a quarter of history as a function of (quarter, lake, settings).

The Dagster assets call these and add only metadata; a notebook or a benchmark calls them without Dagster. What a step
computes lives in the rooms below; here stands what it reads and what it writes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from earlysignal_core.audit.announcements import companies_of, share_classes
from earlysignal_core.audit.findings import audit
from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.gather import FEATURES, LABELS, gather_dataset
from earlysignal_core.datasets.labels import build_labels
from earlysignal_core.datasets.quality import REFERENCE_QUARTERS, Judgement, judge_quarter
from earlysignal_core.errors import LakeError, SourceError
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.judge import Evaluation, WalkForward, evaluate, walk_forward
from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.evaluation.report import render
from earlysignal_core.evaluation.summary import Context, summary, to_json
from earlysignal_core.features.table import EVENT_COLUMNS, build_feature_table, inactive_features
from earlysignal_core.lake import Lake
from earlysignal_core.models.base_models import BaseModels, fit_and_keep
from earlysignal_core.models.baselines import baseline_scores
from earlysignal_core.models.boosters import UNTOUCHED_FROM
from earlysignal_core.models.bundle import AUTO, Bundle, NoModelYet, model_of_quarter
from earlysignal_core.models.ensemble import TooLittleToLearnError
from earlysignal_core.models.training import train_quarter
from earlysignal_core.monitoring.reference import keep_reference
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import SINGLE, EnsembleSettings, Settings
from earlysignal_core.sources import Source, SourceDescription
from earlysignal_core.tables import CACHES, UNIVERSE

SOURCE = "source.json"
PREDICTIONS, POSITIONS, EVALUATIONS = "predictions", "positions", "evaluation"
AUDIT, REPORT, FIGURES = "data_audit", "reports/walk-forward.html", "reports/walk-forward.json"


def collect_universe(source: Source, lake: Lake) -> pd.DataFrame:
    """Write the companies, and the source's description, by which all later steps know it."""
    companies = source.universe()
    lake.write(UNIVERSE, None, companies)
    lake.write_bytes(SOURCE, source.description.model_dump_json(indent=2).encode())
    return companies


def described(lake: Lake) -> SourceDescription:
    """Return the description of the source that the lake was filled from.

    Raises
    ------
    LakeError
        If there is none, or it is damaged.
    """
    try:
        return SourceDescription.model_validate_json(lake.read_bytes(SOURCE))
    except ValidationError as error:
        raise LakeError(
            f"`{SOURCE}` in the lake {lake} is damaged. Remedy: remove the file, then collect again (`earlysignal "
            f"backfill --select universe`)."
        ) from error


def collect(source: Source, lake: Lake, cache: str, quarters: Sequence[Quarter]) -> dict[Quarter, dict[str, int]]:
    """Write a cache's tables for some quarters and return their numbers of rows.

    All are read and checked before the first is written, so that one that breaks its contract leaves every old
    partition standing: half of a tape on new prices and half on old ones would be worse than either.

    Raises
    ------
    SourceError
        If of a source that grows a partition that has rows would lose them all.
    """
    tables = [table for table in CACHES[cache] if table in source.description.tables]
    checked = {(quarter, table): source.read(table, quarter) for quarter in quarters for table in tables}
    emptied = [key for key, rows in checked.items() if rows.empty] if source.description.grows else []
    for quarter, table in emptied:
        if lake.has(table, quarter) and (before := len(lake.read(table, [quarter]))):
            raise SourceError(
                f"table `{table}`, partition {quarter}: no row where there were {before} before. What stood there "
                f"still stands. Remedy: run again; if the source is right, remove the file from the lake, then again."
            )
    for (quarter, table), rows in checked.items():
        lake.write(table, quarter, rows)
    return {quarter: {table: len(checked[quarter, table]) for table in tables} for quarter in quarters}


def make_labels(quarter: Quarter, lake: Lake) -> pd.DataFrame:
    """Write what became of the announcements of a quarter."""
    earnings = lake.read("earnings", [quarter])  # the first quarter also holds the past before it, which is history
    labels = build_labels(earnings[earnings["announced_on"] >= quarter.start])
    lake.write(LABELS, quarter, labels)
    return labels


def make_feature_table(quarter: Quarter, lake: Lake) -> pd.DataFrame:
    """Write all that could be known of a quarter's announcements seven days before each."""
    table = build_feature_table(lake, described(lake), quarter)
    lake.write(FEATURES, quarter, table)
    return table


def judge(quarter: Quarter, lake: Lake, table: pd.DataFrame) -> Judgement:
    """Judge a quarter's feature table by itself."""
    return judge_quarter(quarter, table, lake.read(LABELS, [quarter]), [], described(lake))


def judge_newest(dataset: Dataset, lake: Lake) -> Judgement | None:
    """Judge the newest quarter that a dataset could have held against the accepted ones before it."""
    quality = dataset.lineage["quality_metrics"]
    if quality["newest_quarter"] is None:
        return None
    newest, refused = Quarter.parse(quality["newest_quarter"]), quality["refused_quarters"]
    earlier = [q for q in lake.quarters(FEATURES) if q < newest and str(q) not in refused]
    tables = [table for q in reversed(earlier) if len(table := lake.read(FEATURES, [q]))][:REFERENCE_QUARTERS][::-1]
    table, labels = lake.read(FEATURES, [newest]), lake.read(LABELS, [newest])
    return judge_quarter(newest, table, labels, tables, described(lake))


def make_dataset(quarter: Quarter, lake: Lake, settings: Settings, *, skip_validation: bool = False) -> Dataset:
    """Write the examples that were known seven days before a quarter begins."""
    dataset = gather_dataset(lake, described(lake), quarter, settings, skip_validation=skip_validation)
    dataset.save(lake)
    return dataset


def make_base_models(quarter: Quarter, lake: Lake, ensemble: EnsembleSettings = SINGLE) -> BaseModels | NoModelYet:
    """Fit and keep the members of the quarter's model; unchanged inputs return those that stand."""
    dataset = Dataset.load(lake, quarter)
    if dataset.no_model_yet is not None:
        return NoModelYet(quarter, dataset.no_model_yet)
    try:
        return fit_and_keep(lake, dataset, ensemble)
    except TooLittleToLearnError as error:
        return NoModelYet(quarter, str(error))


def make_model(
    quarter: Quarter, lake: Lake, version: str = AUTO, ensemble: EnsembleSettings = SINGLE
) -> Bundle | NoModelYet:
    """Make the quarter's model of its members, and keep beside it what live data will be compared with.

    Members that were not fitted before are fitted here. Unchanged inputs return the version that stands.
    """
    dataset = Dataset.load(lake, quarter)
    model = train_quarter(lake, dataset, ensemble, version)
    if isinstance(model, Bundle):
        keep_reference(lake, model, dataset.frame)
    return model


def make_evaluation(quarter: Quarter, lake: Lake, settings: Settings) -> Evaluation | NoModelYet:
    """Judge the quarter's model on the quarter, out of sample; write its predictions and what the prices then did."""
    source = described(lake)
    model = model_of_quarter(lake, quarter)
    table = lake.read(FEATURES, [quarter])
    if isinstance(model, NoModelYet):
        outcome: Evaluation | NoModelYet = model
    elif table.empty:
        outcome = NoModelYet(quarter, "the quarter has no announcements")
    elif refusals := judge(quarter, lake, table).refusals:
        outcome = NoModelYet(quarter, f"the quarter is refused: {'; '.join(refusals)}")
    else:
        labels = lake.read(LABELS, [quarter])[["event", "surprise", "label"]]
        events = table[EVENT_COLUMNS].merge(labels, on="event", how="left", validate="1:1")
        near = [q for q in Quarter.range(quarter - 1, quarter + 1) if q in source.quarters]
        prices = Prices.load(lake, source, near).on_one_basis()
        outcomes = outcome_returns(events, prices, source.benchmark)
        scores = baseline_scores(Dataset.load(lake, quarter).frame, table)
        predictions = pd.concat([events, scores, outcomes.returns], axis=1)
        predictions["probability"] = model.predict(table)
        predictions["threshold"], predictions["version"] = model.threshold, model.version
        known = [q for q in source.quarters if q <= quarter]
        predictions["company"] = companies_of(events["symbol"], share_classes(lake.read("earnings", known)))
        year_before = [q for q in evaluated(lake) if quarter - 5 <= q < quarter]
        earlier = lake.read(PREDICTIONS, year_before) if year_before else None
        outcome = evaluate(
            predictions, outcomes.positions, name=str(quarter), earlier=earlier, cost_bps=settings.cost_bps
        )
        lake.write(PREDICTIONS, quarter, predictions)
        lake.write(POSITIONS, quarter, outcomes.positions)
    content = outcome.to_json() if isinstance(outcome, Evaluation) else json.dumps({"left_out": outcome.reason})
    lake.write_bytes(f"{EVALUATIONS}/{quarter}.json", content.encode())
    return outcome


def make_audit(lake: Lake) -> pd.DataFrame:
    """Write the findings of the audit over all that the caches hold."""
    source = described(lake)
    held = {table: lake.quarters(table) for table in source.tables if table != UNIVERSE}
    tables = {table: lake.read(table, quarters) for table, quarters in held.items() if quarters}
    findings = audit({**tables, UNIVERSE: lake.read(UNIVERSE)}, source.benchmark, source.prices)
    lake.write(AUDIT, None, findings)
    return findings


def audit_source(source: Source) -> pd.DataFrame:
    """Audit a source without a lake."""
    described = source.description
    tables = {
        table: pd.concat([source.read(table, q) for q in described.quarters], ignore_index=True)
        for table in described.tables
        if table != UNIVERSE
    }
    return audit({**tables, UNIVERSE: source.universe()}, described.benchmark, described.prices)


def make_report(lake: Lake, settings: Settings) -> WalkForward | None:
    """Judge all quarters together and write the report and its figures; None where no quarter could be judged."""
    source, quarters = described(lake), evaluated(lake)
    if not quarters:
        return None
    judged = walk_forward(
        [Evaluation.from_json(lake.read_bytes(f"{EVALUATIONS}/{q}.json")) for q in quarters],
        lake.read(PREDICTIONS, quarters),
        lake.read(POSITIONS, quarters),
        untouched_from=UNTOUCHED_FROM,
        cost_bps=settings.cost_bps,
    )
    models = [model for q in quarters if isinstance(model := model_of_quarter(lake, q), Bundle)]
    importance = pd.DataFrame([model.metadata["importance"] for model in models]).fillna(0.0).mean()
    found = lake.read(AUDIT) if lake.has(AUDIT) else pd.DataFrame({"kind": []})
    context = Context(
        source=source.name,
        assumptions=source.assumptions,
        assume_final_consensus_known=source.settings.assume_final_consensus_known,
        inactive=inactive_features(source),
        left_out={str(q): reason for q, reason in left_out(lake).items()},
        importance={str(name): float(share) for name, share in importance.items()},
        audit={str(kind): int(n) for kind, n in found["kind"].value_counts().items()},
    )
    lake.write_bytes(REPORT, render(judged, context).encode())
    lake.write_bytes(FIGURES, to_json(summary(judged, context, {})).encode())
    return judged


def evaluated(lake: Lake) -> list[Quarter]:
    """Return the quarters whose model could be judged; `left_out` tells of the others."""
    return [q for q, content in _evaluations(lake).items() if "left_out" not in content]


def left_out(lake: Lake) -> dict[Quarter, str]:
    """Return the quarters that were not judged, each with the reason."""
    return {q: content["left_out"] for q, content in _evaluations(lake).items() if "left_out" in content}


def _evaluations(lake: Lake) -> dict[Quarter, dict[str, Any]]:
    """Return what was written of the quarters that the source has now."""
    paths = {Quarter.parse(Path(path).stem): path for path in lake.files(EVALUATIONS)}
    return {q: json.loads(lake.read_bytes(paths[q])) for q in described(lake).event_quarters if q in paths}
