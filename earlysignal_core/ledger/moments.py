"""Moments and days on their way into the ledger and back: UTC, or nothing."""

from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from earlysignal_core.ledger.errors import LedgerError


def utc(moment: datetime) -> datetime:
    """Return a moment as PostgreSQL keeps it: in UTC, to the microsecond.

    Raises
    ------
    LedgerError
        If it has no time zone: in which one it was meant cannot be guessed.
    """
    if moment.tzinfo is None:
        raise LedgerError(f"`{moment}` is no moment: it has no time zone. Remedy: give a timestamp in UTC.")
    plain = moment.to_pydatetime(warn=False) if isinstance(moment, pd.Timestamp) else moment
    return plain.astimezone(UTC)


def plain_day(day: date) -> date:
    """Return a day without its type: a calendar date.

    Raises
    ------
    LedgerError
        If it is a moment: of which time zone's day it is cannot be guessed.
    """
    stamp = pd.Timestamp(day)
    if pd.isna(stamp) or stamp.tzinfo is not None or stamp != stamp.normalize():
        raise LedgerError(f"`{day}` is no day. Remedy: give a date without a time of day and without a time zone.")
    return stamp.date()


def from_database(value: Any) -> Any:
    """Return a database value as the rest of the code knows it: moments in UTC and days as pandas timestamps."""
    if isinstance(value, datetime):
        return pd.Timestamp(value).tz_convert("UTC").as_unit("ns")
    if isinstance(value, date):
        return pd.Timestamp(value).as_unit("ns")
    return value
