"""Alerts: one of a kind a day, kept until they are delivered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import pandas as pd
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from earlysignal_core.ledger import rows, schema
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.encoding import legible, numbers
from earlysignal_core.ledger.moments import from_database, plain_day, utc
from earlysignal_core.ledger.vocabulary import Severity

_table = schema.alerts


@dataclass(frozen=True)
class Alert:
    """Something that somebody should know of.

    Attributes
    ----------
    key : str
        What it is about, like ``psi`` or ``run_failed:retrain``: the same key on the same day is the same alert.
    day : date
        The domain's day.
    at : datetime
        The moment on the domain's clock.
    severity : Severity
    title, body : str
    rule : str or None
        The line of the rule table that caused it.
    figures : mapping of str to float
    """

    key: str
    day: date
    at: datetime
    severity: Severity
    title: str
    body: str
    rule: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class UnsentAlert:
    """An alert that is still to be delivered; `attempts` counts the deliveries that failed."""

    id: int
    attempts: int
    alert: Alert


def raise_alert(ledger: Ledger, alert: Alert) -> bool:
    """Record an alert and say whether it is new: it is not where one of its key has been raised that day."""
    values = {
        "key": alert.key,
        "day": plain_day(alert.day),
        "at": utc(alert.at),
        "severity": alert.severity,
        "title": legible(alert.title),
        "body": legible(alert.body),
        "rule": alert.rule,
        "figures": dict(alert.figures),
    }
    statement = insert(_table).values(values).on_conflict_do_nothing(constraint="one_alert_a_day")
    with ledger.begin() as connection:
        return connection.execute(statement.returning(_table.c.id)).first() is not None


def figures_told(ledger: Ledger, key: str, since: date) -> dict[str, float]:
    """Return the figures of the alerts of a key from a day on; of one name the last."""
    recent = select(_table.c.figures).where(_table.c.key == key, _table.c.day >= plain_day(since))
    with ledger.begin() as connection:
        told = connection.scalars(recent.order_by(_table.c.day)).all()
    return {name: value for figures in told for name, value in numbers(figures).items()}


def unsent(ledger: Ledger) -> list[UnsentAlert]:
    """Return the alerts that have not been delivered, oldest first."""
    with ledger.begin() as connection:
        found = connection.execute(select(_table).where(_table.c.sent_at.is_(None)).order_by(_table.c.id)).all()
    return [
        UnsentAlert(
            row.id,
            row.attempts,
            Alert(
                key=row.key,
                day=from_database(row.day),
                at=from_database(row.at),
                severity=Severity(row.severity),
                title=row.title,
                body=row.body,
                rule=row.rule,
                figures=numbers(row.figures),
            ),
        )
        for row in found
    ]


def hold(ledger: Ledger, alert_id: int) -> bool:
    """Keep an alert from other senders until this transaction ends; False where another has it, or has sent it."""
    waiting = select(_table.c.id).where(_table.c.id == alert_id, _table.c.sent_at.is_(None))
    with ledger.begin() as connection:
        return connection.scalar(waiting.with_for_update(skip_locked=True)) is not None


def mark_sent(ledger: Ledger, alert_id: int, now: datetime, missed: str | None = None) -> None:
    """Note that an alert has been delivered, and which of its targets have missed it."""
    statement = update(_table).where(_table.c.id == alert_id, _table.c.sent_at.is_(None))
    with ledger.begin() as connection:
        connection.execute(statement.values(sent_at=utc(now), error=None if missed is None else legible(missed)))


def mark_undelivered(ledger: Ledger, alert_id: int, error: str) -> None:
    """Note that a delivery has failed; the alert stays unsent."""
    statement = update(_table).where(_table.c.id == alert_id)
    with ledger.begin() as connection:
        connection.execute(statement.values(attempts=_table.c.attempts + 1, error=legible(error)))


def read(ledger: Ledger, *, since: date | None = None) -> pd.DataFrame:
    """Return the alerts from a day on (or all), in the order in which they were raised.

    Returns
    -------
    DataFrame
        `Alert`'s columns with ``id, attempts, sent_at, error``.
    """
    statement = select(*(column for column in _table.c if column.name != "created_at")).order_by(_table.c.id)
    if since is not None:
        statement = statement.where(_table.c.day >= plain_day(since))
    with ledger.begin() as connection:
        frame = rows.read(connection, statement)
    return frame.assign(figures=frame["figures"].map(numbers))
