"""The commands by which a person begins, watches and stops an A/B test or a ramp."""

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from earlysignal_assets.cli_production import Reason, opened, say, user
from earlysignal_assets.clock import decision_time
from earlysignal_assets.terminal import Tape, console

ab_test = typer.Typer(help="A/B tests of a challenger: begin, watch, stop.", no_args_is_help=True)
ramp = typer.Typer(help="Blue-green ramps of a challenger: begin, watch, stop.", no_args_is_help=True)
JUDGED = (
    "It is judged once, when every outcome is in and enough large beats are known, or else closed undecided "
    "(`earlysignal ab-test watch`)."
)
Version = Annotated[str, typer.Argument(help="A finished model, like v2018.3.0.")]


@ab_test.command("start")
def start_test(
    version: Version,
    reason: Reason,
    split: Annotated[int, typer.Option(help="Per cent of the events that the challenger answers for.")] = 50,
    days: Annotated[int, typer.Option(help="For how many days.")] = 14,
    tape: Tape = None,
) -> None:
    """Begin a test of a model against the champion; it is judged once, by AUC, when enough outcomes are in."""
    from earlysignal_core import earning

    with opened(tape) as (workspace, ledger):
        now = decision_time(ledger, workspace.source.description)
        test = earning.start_test(
            ledger, workspace.lake, now, version, split=split, days=days, reason=reason, by=user()
        )
    say(f"{version} answers for {split} % of the events until {test.assigned_until:%Y-%m-%d %H:%M} UTC. {JUDGED}")


@ab_test.command("stop")
def stop_test(reason: Reason, tape: Tape = None) -> None:
    """Stop the test that runs, and retire its challenger."""
    from earlysignal_core import earning

    with opened(tape) as (workspace, ledger):
        now = decision_time(ledger, workspace.source.description)
        test = earning.stop_test(ledger, now, reason=reason, by=user())
    say(f"The test of {test.challenger_version} is stopped; {test.champion_version} has all answers.")


@ramp.command("start")
def start_ramp(version: Version, reason: Reason, tape: Tape = None) -> None:
    """Give a model a growing share of the champion's answers; `promote` gives it all of them at once."""
    from earlysignal_core import earning

    with opened(tape) as (workspace, ledger):
        now = decision_time(ledger, workspace.source.description)
        step = earning.start_ramp(ledger, workspace.lake, now, version, reason=reason, by=user())
    say(f"{version} has {step.traffic_share} % of the answers.")


@ramp.command("stop")
def stop_ramp(reason: Reason, tape: Tape = None) -> None:
    """Give the champion all answers back, at once; a freeze does not stop it."""
    from earlysignal_core import earning

    with opened(tape) as (workspace, ledger):
        now = decision_time(ledger, workspace.source.description)
        step = earning.stop_ramp(ledger, now, reason=reason, by=user())
    say(f"The ramp of {step.version} is stopped at {step.traffic_share} %; the champion has all answers.")


@ab_test.command("watch")
@ramp.command("watch")
def watch(tape: Tape = None) -> None:
    """Show how the answers are shared, what that has shown, what decides, and when. It decides nothing."""
    from earlysignal_core import earning
    from earlysignal_core.quarterly import described
    from earlysignal_core.settings import Settings

    with opened(tape) as (workspace, ledger):
        lake, limits = workspace.lake, Settings().promotion
        seen = earning.watch(ledger, lake, described(lake), limits, decision_time(ledger, workspace.source.description))
    for name, fact in seen.facts.items():
        console.print(f"{name}: {escape(fact)}", highlight=False)
    for frame in seen.tables.values():
        table = Table(*map(str, frame.columns), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for row in frame.astype("str").to_numpy().tolist():
            table.add_row(*map(escape, row))
        console.print(table)
