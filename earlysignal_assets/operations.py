"""Jobs by which a person steers production in the UI; the `earlysignal` command does the same (docs/production.md)."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from earlysignal_assets.clock import decision_time, expect_within, parse_moment, refuse_live
from earlysignal_assets.requests import REFUSED
from earlysignal_core import operations
from earlysignal_core.errors import EarlySignalError, RefusalError
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment, previous_champion
from earlysignal_core.sources import Source

BY = "a person in the Dagster UI"


class Reason(dg.Config):
    """Why."""

    reason: str = Field(description="Why, in a few words: the ledger keeps it with the decision.")


class Retrain(Reason):
    """What to train on."""

    universe: str | None = Field(
        None, description="The companies, like sp500; must be the source's, which is the default."
    )
    window_months: int | None = Field(
        None, description="Train on so many months of history, at least three. Default: all."
    )


class Version(Reason):
    """Which model."""

    version: str = Field(description="A finished model of the lake, like v2018.3.0.")


class Moment(dg.Config):
    """When."""

    to: str = Field(description="Like 2016-03-01 (the beginning of that day) or 2016-03-01T04:00; UTC.")


@dg.op
def ask_for_retrain(
    context: dg.OpExecutionContext,
    config: Retrain,
    ledger: dg.ResourceParam[Ledger],
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[Source],
) -> None:
    """Asks for a retrain that starts at once. One can be in flight at a time; a scheduled one gives way."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        asked = operations.ask_for_retrain(
            ledger,
            lake,
            now,
            reason=config.reason,
            by=BY,
            universe=config.universe,
            window_months=config.window_months,
        )
    context.add_output_metadata(
        {
            "request": asked.id,
            "cause": asked.cause,
            "urgency": str(asked.urgency),  # Dagster stores no enumeration
            "universe": asked.universe,
            "window": f"{asked.window_months} months" if asked.window_months else "all history",
            "asked for at": str(asked.requested_at),
        }
    )


@dg.op
def promote(
    context: dg.OpExecutionContext,
    config: Version,
    ledger: dg.ResourceParam[Ledger],
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[Source],
) -> None:
    """Makes a model the champion, whatever its comparison says. Refused while promotions are stopped."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        began = operations.promote(ledger, lake, now, config.version, reason=config.reason, by=BY)
    _show(context, ledger, began)


@dg.op
def return_to_previous(
    context: dg.OpExecutionContext,
    config: Reason,
    ledger: dg.ResourceParam[Ledger],
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[Source],
) -> None:
    """Returns to the model that served before the champion. A freeze does not stop it."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        began = operations.roll_back(ledger, lake, now, reason=config.reason, by=BY)
    _show(context, ledger, began)


@dg.op
def freeze(
    context: dg.OpExecutionContext,
    config: Reason,
    ledger: dg.ResourceParam[Ledger],
    source: dg.ResourceParam[Source],
) -> None:
    """Stops promotions, by rules and by hand, until `manual_unfreeze`. Retrains and roll-backs go on."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        operations.freeze(ledger, now, reason=config.reason, by=BY)
    context.add_output_metadata({"promotions": "stopped", "since": str(now)})


@dg.op
def unfreeze(
    context: dg.OpExecutionContext,
    config: Reason,
    ledger: dg.ResourceParam[Ledger],
    source: dg.ResourceParam[Source],
) -> None:
    """Allows promotions again."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        operations.unfreeze(ledger, now, reason=config.reason, by=BY)
    context.add_output_metadata({"promotions": "allowed", "since": str(now)})


@dg.op
def set_clock(
    context: dg.OpExecutionContext,
    config: Moment,
    ledger: dg.ResourceParam[Ledger],
    source: dg.ResourceParam[Source],
) -> None:
    """Moves the ledger's clock, on a tape: forward only. The days up to it are then lived in order."""
    with plain_failure():
        refuse_live(source.description)
        to = expect_within(source.description, parse_moment(config.to))
        operations.move_clock(ledger, to)
    context.add_output_metadata({"clock": str(to)})


def job(name: str, op: dg.OpDefinition, config: type[dg.Config]) -> dg.JobDefinition:
    """Return the job of one op that a person starts."""
    # They take a moment and should not wait behind a queue of backfilled quarters.
    tags = {"earlysignal/by": "person", "dagster/priority": "10"}
    told = f"By hand, from the Launchpad. {op.description}"
    # What the Launchpad holds when it opens: every field, those that must be filled in as empty text.
    fields = {key: "" if field.is_required() else field.default for key, field in config.model_fields.items()}
    graph = dg.GraphDefinition(name=f"manual_{name}", node_defs=[op], description=told)
    return graph.to_job(tags=tags, config={"ops": {op.name: {"config": fields}}})


OPERATIONS = [
    job("retrain", ask_for_retrain, Retrain),
    job("promotion", promote, Version),
    job("roll_back", return_to_previous, Reason),
    job("freeze", freeze, Reason),
    job("unfreeze", unfreeze, Reason),
    job("clock", set_clock, Moment),
]


@contextmanager
def plain_failure() -> Iterator[None]:
    """Show what a person can act on as the step's failure: without a traceback, and not tried again."""
    try:
        yield
    except EarlySignalError as error:
        told = {REFUSED: True} if isinstance(error, RefusalError) else {}
        raise dg.Failure(description=str(error), allow_retries=False, metadata=told) from None


def _show(context: dg.OpExecutionContext, ledger: Ledger, champion: Deployment) -> None:
    before = previous_champion(ledger)
    context.add_output_metadata(
        {
            "champion": champion.version,
            "since": str(champion.since),
            "a roll-back returns to": before.version if before else "none",
        }
    )
