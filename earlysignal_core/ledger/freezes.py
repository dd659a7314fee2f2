"""Freezes: promotions stopped by a person, until lifted. The decision is the state: there is no other row of it."""

from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, select, text

from earlysignal_core.ledger import schema
from earlysignal_core.ledger.connection import Ledger, remembered
from earlysignal_core.ledger.decisions import Decision, expect, write
from earlysignal_core.ledger.errors import ConflictError
from earlysignal_core.ledger.moments import from_database
from earlysignal_core.ledger.vocabulary import DecisionKind


class FrozenError(ConflictError):
    """Promotions are stopped."""


@dataclass(frozen=True)
class Freeze:
    """The decision by which promotions are stopped.

    Attributes
    ----------
    since : Timestamp
        UTC.
    cause : str
        Why.
    decided_by : str
    """

    since: pd.Timestamp
    cause: str
    decided_by: str


def freeze(ledger: Ledger, decision: Decision) -> None:
    """Stop promotions until `unfreeze`; the decision is a `FREEZE`.

    Raises
    ------
    FrozenError
        If they are stopped already.
    """
    expect(decision, DecisionKind.FREEZE)
    with ledger.begin() as connection:
        alone(connection)
        refuse_if_frozen(connection, "nothing changes")
        write(connection, decision, None)


def unfreeze(ledger: Ledger, decision: Decision) -> None:
    """Allow promotions again; the decision is an `UNFREEZE`.

    Raises
    ------
    ConflictError
        If they are not stopped.
    """
    expect(decision, DecisionKind.UNFREEZE)
    with ledger.begin() as connection:
        alone(connection)
        if _standing(connection) is None:
            raise ConflictError("nothing changes: promotions are not stopped.")
        write(connection, decision, None)


def is_frozen(ledger: Ledger) -> bool:
    """Say whether promotions are stopped."""
    return standing(ledger) is not None


@remembered(schema.decisions)
def standing(ledger: Ledger) -> Freeze | None:
    """Return the freeze that stops promotions, or None where they are allowed."""
    with ledger.begin() as connection:
        return _standing(connection)


def alone(connection: Connection) -> None:
    """Let others read, but not change, the deployments and what freezes them until the transaction ends."""
    connection.execute(text("LOCK TABLE deployments IN SHARE ROW EXCLUSIVE MODE"))


def refuse_if_frozen(connection: Connection, refusal: str) -> None:
    """Refuse a promotion while promotions are stopped.

    Raises
    ------
    FrozenError
        Begins with `refusal`.
    """
    stopped = _standing(connection)
    if stopped is not None:
        raise FrozenError(
            f"{refusal}: promotions are stopped since {stopped.since:%Y-%m-%d %H:%M} UTC ({stopped.cause}). "
            f"Remedy: lift that with `earlysignal unfreeze --reason …`, or the job `manual_unfreeze`."
        )


def _standing(connection: Connection) -> Freeze | None:
    """Look at the last decision of the two kinds, which tells."""
    table = schema.decisions.c
    kinds = (DecisionKind.FREEZE, DecisionKind.UNFREEZE)
    columns = (table.kind, table.at, table.cause, table.decided_by)
    last = connection.execute(select(*columns).where(table.kind.in_(kinds)).order_by(table.id.desc()).limit(1)).first()
    if last is None or last.kind == DecisionKind.UNFREEZE:
        return None
    return Freeze(from_database(last.at), last.cause, last.decided_by)
