"""Freezes: promotions stopped by a person, until lifted. The decision is the state: there is no other row of it."""

from sqlalchemy import Connection, RowMapping, select, text

from earlysignal_core.ledger import schema
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.decisions import Decision, expect, write
from earlysignal_core.ledger.errors import ConflictError
from earlysignal_core.ledger.moments import from_database
from earlysignal_core.ledger.vocabulary import DecisionKind


class FrozenError(ConflictError):
    """Promotions are stopped."""


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
    with ledger.begin() as connection:
        return _standing(connection) is not None


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
    standing = _standing(connection)
    if standing is not None:
        raise FrozenError(
            f"{refusal}: promotions are stopped since {from_database(standing['at'])} ({standing['cause']}). "
            f"Remedy: lift that with `earlysignal unfreeze`."
        )


def _standing(connection: Connection) -> RowMapping | None:
    """Return the decision that stops promotions: the last one of the two kinds tells."""
    table = schema.decisions.c
    kinds = (DecisionKind.FREEZE, DecisionKind.UNFREEZE)
    statement = select(table.kind, table.at, table.cause).where(table.kind.in_(kinds)).order_by(table.id.desc())
    last = connection.execute(statement.limit(1)).mappings().first()
    return last if last is not None and last["kind"] == DecisionKind.FREEZE else None
