"""The live source's time: the one place where it meets the wall clock, and moments as providers write them."""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import pandas as pd

from earlysignal_core.trading_calendar import NEW_YORK, closes, sessions


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> pd.Timestamp:
        """Return the moment, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class WallClock:
    """The real time."""

    def now(self) -> pd.Timestamp:
        """Return the moment, in UTC."""
        return pd.Timestamp(datetime.now(UTC)).as_unit("ns")

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class StandingClock:
    """A clock that stands.

    Parameters
    ----------
    at : Timestamp (UTC)
    """

    def __init__(self, at: pd.Timestamp) -> None:
        self._at = at

    def now(self) -> pd.Timestamp:
        """Return the moment, in UTC."""
        return self._at

    def sleep(self, seconds: float) -> None:
        """Do nothing."""


def new_york(moment: str | pd.Timestamp) -> pd.Timestamp:
    """Return the moment (UTC) that a clock in New York shows without saying its offset.

    In the hour that comes twice in autumn the later reading counts, and in the one that spring leaves out the end of
    it: a row is rather known too late than too early.
    """
    local = pd.Timestamp(moment).as_unit("ns")
    placed: pd.Timestamp = local.tz_localize(NEW_YORK, ambiguous=False, nonexistent="shift_forward")
    return placed.tz_convert("UTC")


@lru_cache(maxsize=1 << 14)
def end_of_day(day: str | pd.Timestamp) -> pd.Timestamp:
    """Return the last second of a New York day, in UTC."""
    return new_york(pd.Timestamp(day).normalize() + pd.Timedelta(hours=23, minutes=59, seconds=59))


@lru_cache(maxsize=1 << 14)
def session_close(day: pd.Timestamp) -> pd.Timestamp | None:
    """Return the close (UTC) of a session, or None for a day that is none."""
    at = int(sessions().searchsorted(day))
    return closes()[at] if at < len(sessions()) and sessions()[at] == day else None


def close_of(day: pd.Timestamp) -> pd.Timestamp:
    """Return the close (UTC) of a session, or the end of a day that is none."""
    return session_close(day) or end_of_day(day)


def new_york_day(moment: pd.Timestamp) -> pd.Timestamp:
    """Return the day that a moment falls on in New York, without a time zone."""
    return moment.tz_convert(NEW_YORK).normalize().tz_localize(None)
