"""The `earlysignal` command."""

import json
import signal
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import pandas as pd
import typer
from rich.markup import escape

from earlysignal_assets import tables_shown
from earlysignal_assets.cli_earning import ab_test, ramp
from earlysignal_assets.cli_production import note_other_settings, production
from earlysignal_assets.cli_replay import replays
from earlysignal_assets.cli_tape import tapes
from earlysignal_assets.terminal import Tape, console, progress, report_failures
from earlysignal_assets.workspace import Workspace, choose_source
from earlysignal_core.errors import EarlySignalError, SourceError
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings

app = typer.Typer(
    help="Predicts, seven days ahead, which companies will beat the earnings consensus by more than 20 %.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_REPORT_PORT = (
    "Where the reports are served. Runs of a command link to EARLYSIGNAL_REPORT_URL, by default http://127.0.0.1:3001."
)
From = Annotated[str | None, typer.Option("--from", help="First quarter, like 2016-Q1. Default: the source's first.")]
To = Annotated[str | None, typer.Option(help="Last quarter. Default: the source's last.")]


def main() -> None:
    """Run the command; an error that a user can act on is shown without a traceback."""
    # Partitions with gaps and backfill policies are called beta by the version of Dagster that is pinned.
    warnings.filterwarnings("ignore", message=".*currently in (beta|preview)")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # PostgreSQL is to be stopped
    try:
        app()
    except EarlySignalError as error:
        _fail(str(error))
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        if not isinstance(error, (OSError, DBAPIError)):
            raise
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        _fail(
            f"this machine cannot go on: {said}. Remedy: look at its disk (EARLYSIGNAL_HOME) and at PostgreSQL, then "
            f"start again."
        )


def _fail(told: str) -> NoReturn:
    console.print(f"[red]Error[/red] {escape(told)}", highlight=False, soft_wrap=True)
    sys.exit(1)


@app.command()
def demo(tape: Tape = None) -> None:
    """Run the whole walk-forward: every quarter collected, trained and judged; ends with the table and the report."""
    workspace = _workspace(tape)
    console.print(f"Source [bold]{workspace.source.description.name}[/bold], workspace {workspace.root}")
    with progress() as told:
        outcome = _runs().walk_forward(workspace, workspace.source.description.quarters, told)
    _finish(workspace, outcome)


@app.command()
def backfill(
    tape: Tape = None,
    first: From = None,
    to: To = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Only this asset, like feature_table; repeat for several. Default: all.")
    ] = None,
) -> None:
    """Materialise some quarters in time order, as a backfill in the UI would, without its waits."""
    workspace = _workspace(tape)
    quarters = _chosen_quarters(workspace, first, to)
    runs = _runs()
    runs.check_names(select or [])
    with progress() as told:
        outcome = runs.walk_forward(workspace, quarters, told, select=select)
    _finish(workspace, outcome)


@app.command()
def train(
    tape: Tape = None,
    universe: Annotated[str | None, typer.Option(help="The companies, like sp500; must be the source's.")] = None,
    version: Annotated[str, typer.Option(help="`auto` or a name like v1.2.0.")] = "auto",
    quarter: Annotated[
        str | None,
        typer.Option(help="Train the model for this quarter, of what was known before it. [the source's last]"),
    ] = None,
    skip_ingest: Annotated[bool, typer.Option(help="Take the caches and features as they are.")] = False,
    skip_validation: Annotated[bool, typer.Option(help="Learn also from quarters that a check refused.")] = False,
) -> None:
    """Train one model of everything known seven days before a quarter begins."""
    from earlysignal_core.models.bundle import check_version, model_of_quarter

    check_version(version)
    workspace = _workspace(tape, universe=universe)
    (last,) = _chosen_quarters(workspace, quarter, quarter)[-1:]
    with progress() as told:
        outcome = _runs().train(
            workspace, last, told, version=version, skip_ingest=skip_ingest, skip_validation=skip_validation
        )
    if not outcome.failures:
        tables_shown.print_model(console, model_of_quarter(workspace.lake, last))
    report_failures(outcome)


@app.command()
def tune(
    tape: Tape = None,
    quarter: Annotated[
        str | None, typer.Option(help="Tune on what was known before this quarter. [the source's last]")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Of each member, those of earlier runs included.")] = 60,
) -> None:
    """Search the members' parameters within the train part of a quarter's dataset; a killed search goes on.

    Takes minutes, and the quarter's dataset must be there (`backfill`). Models use what is found only where
    EARLYSIGNAL_TUNED is set, which has a workspace of its own.
    """
    from earlysignal_core.models.hyperparameters import FILE, members_tuned

    workspace = _workspace(tape)
    (last,) = _chosen_quarters(workspace, quarter, quarter)[-1:]
    with progress() as told:
        outcome = _runs().tune(workspace, last, told, trials=trials)
    if not outcome.failures:
        tables_shown.print_tuned(console, str(last), members_tuned(workspace.lake, last))
        console.print(f"Written to {workspace.lake}/{FILE}", soft_wrap=True, highlight=False)
    report_failures(outcome)


@app.command()
def up(
    tape: Tape = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the Dagster UI is served.")] = 3000,
    report_port: Annotated[int, typer.Option(min=1, max=65535, help=_REPORT_PORT)] = 3001,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Record every training, and serve MLflow's UI.")] = False,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Where it is served.")] = 5000,
) -> None:
    """Start PostgreSQL, the Dagster UI, its daemon and the reports; Ctrl-C stops all of it, the data stays.

    Its sensors live the days of production up to the clock (on a tape you move it: `earlysignal clock`), start the
    retrains that were asked for and send alerts. Without a source it shows that of the last `demo`, `backfill` or
    `days`.
    """
    choose_source(tape, or_the_last=True)
    workspace = Workspace(Settings())
    from earlysignal_assets.up import up as start

    url = workspace.settings.database_url
    console.print(f"Source [bold]{workspace.source.description.name}[/bold]")
    if tape is None:
        note_other_settings(workspace)
    start(
        workspace.settings.home,
        workspace.name,
        workspace.lake_url,
        database_url=url.get_secret_value() if url else None,
        port=port,
        report_port=report_port,
        mlflow_port=mlflow_port if mlflow else None,
        tracking=workspace.settings.tracking,
        environment={"EARLYSIGNAL_REPORT_URL": f"http://127.0.0.1:{report_port}"},
    )


@app.command()
def card(version: Annotated[str, typer.Argument(help="Like v2018.3.0.")], tape: Tape = None) -> None:
    """Write a model's card: what it was trained on, what it can and cannot do, where it is weak."""
    from earlysignal_core.models.bundle import check_version
    from earlysignal_core.tracking.card import write_card

    check_version(version)
    choose_source(tape, or_the_last=True)
    lake = Workspace(Settings()).lake
    console.print(f"Card  {lake}/{write_card(lake, version)}", soft_wrap=True, highlight=False)


@app.command()
def features(
    symbol: str,
    date: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The announcement's date, like 2016-04-21.")],
    tape: Tape = None,
) -> None:
    """Show every feature of one example, with its definition and the rows that it was made from."""
    from earlysignal_core.features.explain import explain
    from earlysignal_core.quarterly import described

    lake = _workspace(tape).lake
    for explanation in explain(lake, described(lake), symbol, pd.Timestamp(date)):
        tables_shown.print_explanation(console, explanation)


@app.command()
def catalogue(tape: Tape = None) -> None:
    """List every feature, with its unit, its definition, and whether the source can give it."""
    from earlysignal_core.features.catalogue import catalogue as every_feature

    tables_shown.print_catalogue(console, every_feature(), _workspace(tape).source.description)


@app.command()
def audit(
    tape: Tape = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings to this file.")] = None,
) -> None:
    """Look for dirt in the source's tables: false price shifts, dead prices, mismatched estimates, gaps."""
    from earlysignal_core.audit.findings import to_json
    from earlysignal_core.quarterly import audit_source

    workspace = _workspace(tape)
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise EarlySignalError(f"{json_file.absolute().parent} is no folder. Remedy: make it, or choose another file.")
    with console.status("Auditing …"):
        findings = audit_source(workspace.source)
    if json_file is not None:
        json_file.write_text(to_json(findings))
        console.print(f"{len(findings):,} findings written to {json_file}")
    tables_shown.print_findings(console, findings)


app.add_typer(production)
app.add_typer(ab_test, name="ab-test")
app.add_typer(ramp, name="ramp")
app.add_typer(replays)
app.add_typer(tapes)


def _workspace(tape: Path | None, *, universe: str | None = None) -> Workspace:
    choose_source(tape)
    return Workspace(Settings(universe=universe))


def _chosen_quarters(workspace: Workspace, first: str | None, last: str | None) -> list[Quarter]:
    every = workspace.source.description.quarters
    start, end = Quarter.parse(first) if first else every[0], Quarter.parse(last) if last else every[-1]
    chosen = [quarter for quarter in every if start <= quarter <= end]
    if start > end:
        raise SourceError(f"{start} is after {end}. Remedy: exchange them.")
    if not chosen or start < every[0] or end > every[-1]:
        raise SourceError(
            f"the source holds {every[0]} to {every[-1]}, not {start} to {end}. Remedy: choose quarters that it holds."
        )
    return chosen


def _runs() -> Any:
    from earlysignal_assets import runs  # imports Dagster: `earlysignal catalogue` need not wait for it

    return runs


def _finish(workspace: Workspace, outcome: Any) -> None:
    from earlysignal_core.quarterly import FIGURES, REPORT

    lake = workspace.lake
    if "report" not in outcome.seconds:
        console.print(f"Done: {', '.join(f'{stage} {spent:.1f} s' for stage, spent in outcome.seconds.items())}")
        console.print("What was made stands on the pages of the assets: `earlysignal up`.", highlight=False)
    elif lake.exists(FIGURES):
        seconds = {stage: round(spent, 2) for stage, spent in outcome.seconds.items()}
        summary = {**json.loads(lake.read_bytes(FIGURES)), "seconds": seconds}
        file = workspace.root / "summary.json"
        file.write_text(json.dumps(summary, indent=2))
        tables_shown.print_walk_forward(console, summary)
        console.print(f"Report   {lake}/{REPORT}\nSummary  {file}", soft_wrap=True, highlight=False)
        tape = f" TAPE={workspace.settings.tape}" if workspace.settings.tape else ""
        console.print(f"The same in the Dagster UI: `make up{tape}`", soft_wrap=True, highlight=False)
    report_failures(outcome)


if __name__ == "__main__":
    main()
