"""Days: the clock of a source that is not live, and the days that the loop has finished, in order."""

from datetime import date, datetime, timedelta

import pandas as pd
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from earlysignal_core.ledger import schema
from earlysignal_core.ledger.connection import Ledger, remembered
from earlysignal_core.ledger.errors import NotPossibleError
from earlysignal_core.ledger.moments import from_database, plain_day, utc

_days, _clock = schema.finished_days, schema.clock


class ClockError(NotPossibleError):
    """The clock does not go back, and days are finished in order."""


@remembered(_clock)
def clock(ledger: Ledger) -> pd.Timestamp | None:
    """Return what the ledger's clock shows (UTC), or None where it has none: then the wall clock holds."""
    with ledger.begin() as connection:
        moment: pd.Timestamp | None = from_database(connection.scalar(select(_clock.c.now)))
    return moment


def move_clock(ledger: Ledger, to: datetime) -> None:
    """Set the ledger's clock, forward or for the first time.

    Raises
    ------
    ClockError
        If it stands later: what was recorded since cannot be lived again in the same ledger.
    """
    moment = utc(to)
    statement = insert(_clock).values(now=moment)
    forward = statement.on_conflict_do_update(
        index_elements=[_clock.c.single], set_={"now": moment}, where=_clock.c.now <= moment
    )
    with ledger.begin() as connection:
        if connection.execute(forward.returning(_clock.c.now)).first() is None:
            stands = from_database(connection.scalar(select(_clock.c.now)))
            raise ClockError(
                f"the clock of the ledger stands at {stands} and cannot go back to {moment}. Remedy: live those days "
                f"again in a ledger of their own (another schema)."
            )


@remembered(_days)
def last_finished(ledger: Ledger) -> pd.Timestamp | None:
    """Return the last day whose every step is done, or None before the first."""
    with ledger.begin() as connection:
        day: pd.Timestamp | None = from_database(connection.scalar(select(func.max(_days.c.day))))
    return day


def alone(ledger: Ledger, day: date) -> None:
    """Let another that lives the same day wait until this transaction ends."""
    with ledger.begin() as connection:
        key = f"{ledger.schema}:{plain_day(day)}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))


def finish_day(ledger: Ledger, day: date, now: datetime) -> bool:
    """Note that every step of a day is done, and say whether that is news.

    Raises
    ------
    ClockError
        If the day before it is not finished; only the first day of all stands on none.
    """
    finished = plain_day(day)
    with ledger.begin() as connection:
        last = connection.scalar(select(func.max(_days.c.day)))
        if last is None or finished == last + timedelta(days=1):
            row = insert(_days).values(day=finished, previous=last, finished_at=utc(now)).on_conflict_do_nothing()
            if connection.execute(row.returning(_days.c.day)).first() is not None:
                return True
        if connection.scalar(select(_days.c.day).where(_days.c.day == finished)) is not None:
            return False
        stands = connection.scalar(select(func.max(_days.c.day)))
        raise ClockError(
            f"{finished} cannot be finished: the last finished day is {stands}. Remedy: finish the days in order."
        )
