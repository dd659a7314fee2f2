"""Decisions: what was decided, by which rule and on which figures. Never changed, never deleted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd
from sqlalchemy import Connection, insert, select

from earlysignal_core.ledger import rows, schema
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.encoding import legible, numbers
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.moments import utc
from earlysignal_core.ledger.vocabulary import DecisionKind


@dataclass(frozen=True)
class Decision:
    """One decision, as it is about to be recorded.

    Attributes
    ----------
    kind : DecisionKind
    at : datetime
        When, on the domain's clock.
    cause : str
        Why, in words that a reader of the UI understands.
    rule : str or None
        The line of the rule table that decided; None where a person did.
    figures : mapping of str to float
        What the rule looked at.
    raw, effective : str or None
        The verdict without the rule's guards and with them.
    decided_by : str
        The rule table, or who.
    subject : str or None
        What it is about, a model's version say. Where a decision comes with its effect, the ledger fills it in.
    """

    kind: DecisionKind
    at: datetime
    cause: str
    rule: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    raw: str | None = None
    effective: str | None = None
    decided_by: str = "rule table"
    subject: str | None = None


def record(ledger: Ledger, decision: Decision) -> int:
    """Record a decision that changes nothing, like a refusal, and return its id."""
    with ledger.begin() as connection:
        return write(connection, decision, decision.subject)


def read(
    ledger: Ledger,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    kind: DecisionKind | None = None,
    without: DecisionKind | None = None,
    last: int | None = None,
) -> pd.DataFrame:
    """Return the decisions of ``since < at <= until``, or the `last` so many, in the order in which they were recorded.

    Returns
    -------
    DataFrame
        ``id, at, day, kind, subject, rule, figures, raw, effective, cause, decided_by``; `day` is that of `at` in
        UTC, `figures` a dict with NaN where a figure was undefined.
    """
    table = schema.decisions.c
    statement = select(*(column for column in table if column.name != "created_at")).order_by(table.id.desc())
    if since is not None:
        statement = statement.where(table.at > utc(since))
    if until is not None:
        statement = statement.where(table.at <= utc(until))
    if kind is not None:
        statement = statement.where(table.kind == kind)
    if without is not None:
        statement = statement.where(table.kind != without)
    with ledger.begin() as connection:
        frame = rows.read(connection, statement.limit(last)).iloc[::-1].reset_index(drop=True)
    frame.insert(2, "day", frame["at"].dt.tz_localize(None).dt.normalize())
    return frame.assign(figures=frame["figures"].map(numbers))


def write(connection: Connection, decision: Decision, subject: str | None) -> int:
    """Write a decision within the transaction of its effect."""
    values = {
        "kind": decision.kind,
        "at": utc(decision.at),
        "cause": legible(decision.cause),
        "rule": decision.rule,
        "figures": dict(decision.figures),
        "raw": decision.raw,
        "effective": decision.effective,
        "decided_by": decision.decided_by,
        "subject": subject,
    }
    written: int = connection.execute(
        insert(schema.decisions).values(values).returning(schema.decisions.c.id)
    ).scalar_one()
    return written


def expect(decision: Decision, kind: DecisionKind) -> None:
    """Refuse a decision that does not decide what it is used for.

    Raises
    ------
    LedgerError
        If it is of another kind.
    """
    if decision.kind != kind:
        raise LedgerError(f"a decision of kind `{decision.kind}` cannot cause a {kind}. Remedy: record the right one.")
