"""The commands by which a person steers production; they work whether `earlysignal up` runs or not."""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from earlysignal_assets import tables_shown
from earlysignal_assets.clock import (
    decision_time,
    domain_now,
    expect_within,
    first_day_to_try,
    parse_day,
    parse_moment,
    refuse_live,
)
from earlysignal_assets.instance import ledger_of
from earlysignal_assets.terminal import Tape, console, progress, report_failures
from earlysignal_assets.workspace import Workspace, choose_source
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription

production = typer.Typer()
ledger_file = typer.Typer(help="The whole ledger as one file.", no_args_is_help=True)
production.add_typer(ledger_file, name="ledger")
Reason = Annotated[str, typer.Option(help="Why, in a few words: the ledger keeps it with the decision.")]


@production.command()
def clock(
    moment: Annotated[
        str | None,
        typer.Argument(help="Like 2016-03-01 (the beginning of that day) or 2016-03-01T04:00; UTC. Without it: show."),
    ] = None,
    tape: Tape = None,
) -> None:
    """Show the ledger's clock, or move it, forward only; the days up to it are then lived in order.

    2016-03-01 stands for 00:00 UTC of that day: the day has come, its own hours have not passed.
    """
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        if moment is not None:
            refuse_live(workspace.source.description)
            operations.move_clock(ledger, expect_within(workspace.source.description, parse_moment(moment)))
        tables_shown.print_clock(console, operations.status(ledger, domain_now(ledger)))


@production.command()
def days(
    to: Annotated[str, typer.Option(help="The last day to live, like 2018-03-31: a day of the source.")],
    first: Annotated[
        str | None,
        typer.Option("--from", help="The first day of production, like 2018-03-01; only the first time."),
    ] = None,
    tape: Tape = None,
) -> None:
    """Live the days of production up to one here, with the retrains that they ask for; ends with what happened.

    Each day predicts the announcements seven days ahead, watches for drift, collects outcomes and decides whether to
    retrain; a retrain trains a challenger, and the rules decide whether it serves. The first day also fills the lake,
    which takes a minute or two; a day then takes a few seconds. The clock is moved to the end of the last day.

    `earlysignal up` lives the same days by its sensors: while it runs, move the clock instead (`earlysignal clock`).
    """
    choose_source(tape, or_the_last=True)
    from earlysignal_assets.live_days import live_days  # the definitions open the source that is chosen by now

    workspace = Workspace(Settings())
    if tape is None and first is None:
        note_other_settings(workspace)
    with progress() as told:
        outcome, lived = live_days(workspace, parse_day(to), told, first=None if first is None else parse_day(first))
    if lived is None:
        say("No day was lived." if outcome.failures else "Every day up to it was finished already.")
    else:
        tables_shown.print_summary(console, lived, sum(outcome.seconds.values()))
    report_failures(outcome)


@production.command()
def status(tape: Tape = None) -> None:
    """Show how production stands: clock, models, retrain, alerts and the last decisions."""
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        stands = operations.status(ledger, domain_now(ledger))
        tables_shown.print_status(console, workspace.name, stands)
        if stands.last_finished is None:
            _say_how_to_begin(workspace.source.description, has_clock=stands.clock is not None)


@production.command()
def retrain(
    reason: Reason,
    universe: Annotated[
        str | None, typer.Option(help="The companies, like sp500; must be the source's. [the source's]")
    ] = None,
    window_months: Annotated[
        int | None, typer.Option(help="Train on so many months of history, at least three. [all]")
    ] = None,
    tape: Tape = None,
) -> None:
    """Ask for a retrain that starts at once."""
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        asked = operations.ask_for_retrain(
            ledger,
            workspace.lake,
            decision_time(ledger, workspace.source.description),
            reason=reason,
            by=user(),
            universe=universe,
            window_months=window_months,
        )
    window = f"{asked.window_months} months" if asked.window_months else "all history"
    say(f"Retrain {asked.id} of {asked.universe} on {window} is asked for; a running `earlysignal up` starts it.")


@production.command()
def promote(
    version: Annotated[str, typer.Argument(help="A finished model, like v2018.3.0.")],
    reason: Reason,
    tape: Tape = None,
) -> None:
    """Make a model the champion, whatever its comparison says."""
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        now = decision_time(ledger, workspace.source.description)
        _say_champion(operations.promote(ledger, workspace.lake, now, version, reason=reason, by=user()))


@production.command()
def rollback(reason: Reason, tape: Tape = None) -> None:
    """Return to the model that served before the champion; a freeze does not stop it."""
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        now = decision_time(ledger, workspace.source.description)
        _say_champion(operations.roll_back(ledger, workspace.lake, now, reason=reason, by=user()))


@production.command()
def freeze(reason: Reason, tape: Tape = None) -> None:
    """Stop promotions, by rules and by hand, until `unfreeze`; retrains and roll-backs go on."""
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        operations.freeze(ledger, decision_time(ledger, workspace.source.description), reason=reason, by=user())
    say("Promotions are stopped.")


@production.command()
def unfreeze(reason: Reason, tape: Tape = None) -> None:
    """Allow promotions again."""
    from earlysignal_core import operations

    with opened(tape) as (workspace, ledger):
        operations.unfreeze(ledger, decision_time(ledger, workspace.source.description), reason=reason, by=user())
    say("Promotions are allowed.")


@ledger_file.command()
def backup(file: Annotated[Path, typer.Argument(help="A new file, like ledger.zip.")], tape: Tape = None) -> None:
    """Write the ledger, as it is at one moment, to a file."""
    from earlysignal_core.ledger.backup import backup as write

    with opened(tape) as (_, ledger):
        _say_rows("Written to", file, write(ledger, file))


@ledger_file.command()
def restore(file: Annotated[Path, typer.Argument(help="What `backup` wrote.")], tape: Tape = None) -> None:
    """Read a backup into an empty ledger: all of it, or nothing."""
    from earlysignal_core import operations
    from earlysignal_core.ledger.backup import restore as read

    with opened(tape) as (workspace, ledger):
        _say_rows("Restored from", file, read(ledger, file))
        if missing := operations.models_missing(ledger, workspace.lake):
            say(
                f"Note: the files of {', '.join(missing)} are not in the lake {workspace.lake}, so that they cannot "
                f"serve. Remedy: bring back its folder `models` as it was."
            )


@contextmanager
def opened(tape: Path | None) -> Iterator[tuple[Workspace, Ledger]]:
    """Open the workspace of a tape, or the last one, and its ledger."""
    choose_source(tape, or_the_last=True)
    workspace = Workspace(Settings())
    if tape is None:
        note_other_settings(workspace)
    with ledger_of(workspace) as ledger:
        yield workspace, ledger


def note_other_settings(workspace: Workspace) -> None:
    """Say so where these settings lead to another workspace than what was run last: it would only look empty."""
    if (last := workspace.other_than_the_last) is not None:
        say(
            f"Note: these settings belong to workspace {workspace.name}; what was run last is in {last}, under others. "
            f"Remedy: set the same EARLYSIGNAL_… variables."
        )


def user() -> str:
    """Return who decides, for the ledger."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody (command)"


def say(text: str) -> None:
    """Print a line as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _say_how_to_begin(source: SourceDescription, *, has_clock: bool) -> None:
    if source.grows or has_clock:
        say("Production has not finished a day yet: `earlysignal up` lives each one when it is due.")
        return
    day = first_day_to_try(source)
    say(
        f"Production has not begun. Begin it on a day of the source, which has announcements from {source.first_event} "
        f"to {source.last_event}:\n"
        f"  earlysignal days --from {day} --to DAY   lives the days here, with a progress bar\n"
        f"  earlysignal clock {day}                  and then `earlysignal up`, which lives them by its sensors"
    )


def _say_champion(champion: Deployment) -> None:
    say(f"{champion.version} is the champion since {champion.since:%Y-%m-%d %H:%M} UTC.")


def _say_rows(what: str, file: Path, rows: Mapping[str, int]) -> None:
    say(
        f"{what} {file}: {', '.join(f'{count:,} {name}' for name, count in rows.items() if count) or 'an empty ledger'}"
    )
