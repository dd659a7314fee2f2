"""The command that lives history again, under one policy of when to retrain or several."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earlysignal_assets import tables_shown
from earlysignal_assets.clock import parse_day
from earlysignal_assets.instance import replay_ledger_of
from earlysignal_assets.terminal import Tape, console, progress
from earlysignal_assets.workspace import Workspace, choose_source
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.settings import Settings

if TYPE_CHECKING:  # heavy to import
    from earlysignal_core.replay import Replay

replays = typer.Typer()
_POLICIES = "never, monthly, quarterly, drift, all or strict; repeat for several. [never and all]"


@replays.command()
def replay(
    first: Annotated[str, typer.Option("--from", help="The first day, like 2015-01-01.")],
    to: Annotated[str, typer.Option(help="The last day, like 2018-09-30.")],
    policy: Annotated[list[str] | None, typer.Option(help=_POLICIES, show_default=False)] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all decisions, and a table per policy, to this file.")
    ] = None,
    tape: Tape = None,
) -> None:
    """Live years of history again in minutes: what a policy of when to retrain would have done.

    Ends with a table per policy and a report. The live ledger, models and records are neither read nor touched.
    """
    from earlysignal_core import daily, replay_report
    from earlysignal_core.production import Production
    from earlysignal_core.replay import Policy
    from earlysignal_core.replay import replay as lived_again

    choose_source(tape)
    workspace = Workspace(Settings())
    unknown = sorted(set(policy or []) - set(Policy))
    if unknown:
        raise EarlySignalError(f"there is no policy {', '.join(unknown)}. Remedy: choose among {', '.join(Policy)}.")
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise EarlySignalError(f"{json_file.absolute().parent} is no folder. Remedy: make it, or choose another file.")
    begin, end = parse_day(first), parse_day(to)
    lake, source = workspace.lake, workspace.source
    done: list[Replay] = []
    with progress() as told:
        for name in dict.fromkeys(policy or ["never", "all"]):
            with replay_ledger_of(workspace, name) as ledger:
                told("filling", 0, 1)
                daily.refresh(end, Production(lake, ledger, workspace.settings), source)
                done.append(lived_again(lake, ledger, workspace.settings, Policy(name), begin, end, told))
    name = source.description.name
    replay_report.write(lake, done, name)
    tables_shown.print_replays(console, replay_report.comparison(done))
    for verdict in replay_report.verdicts(done):
        console.print(verdict.claim, highlight=False)
    console.print(f"Report   {lake}/{replay_report.REPORT}", soft_wrap=True, highlight=False)
    if json_file is not None:
        json_file.write_text(replay_report.as_json(done, name))
        console.print(f"JSON     {json_file}", soft_wrap=True, highlight=False)
    workspace.remember()
