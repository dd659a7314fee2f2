"""The sessions of the New York Stock Exchange, and the moment at which a prediction is made."""

from functools import lru_cache
from typing import Any

import exchange_calendars as xcals
import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.quarters import Quarter

# Fixed, because the library's default bounds move with today's date: the calendar of 2016 must not.
FIRST_DAY, LAST_DAY = "1990-01-01", "2035-12-31"
HORIZON_DAYS = 7
NEW_YORK = "America/New_York"

Moments = npt.NDArray[np.datetime64]


@lru_cache(maxsize=1)
def _schedule() -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    calendar = xcals.get_calendar("XNYS", start=FIRST_DAY, end=LAST_DAY)
    return calendar.sessions, pd.DatetimeIndex(calendar.closes.array)


def sessions() -> pd.DatetimeIndex:
    """Return every session from 1990 to 2035, as days without a time zone."""
    return _schedule()[0]


def closes() -> pd.DatetimeIndex:
    """Return the moment (UTC) at which each of `sessions` closes, early closes included."""
    return _schedule()[1]


def position(days: Any) -> npt.NDArray[np.int64]:
    """Return, for each day, the index in `sessions` of the last session on or before it.

    Parameters
    ----------
    days : array-like of datetime64, shape (n,)
        Days without a time zone.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    wanted = np.asarray(days if isinstance(days, np.ndarray) else pd.DatetimeIndex(days), dtype="datetime64[ns]")
    return np.asarray(_sessions().searchsorted(wanted, side="right") - 1, dtype=np.int64)


@lru_cache(maxsize=1)
def _sessions() -> Moments:
    return np.asarray(sessions(), dtype="datetime64[ns]")


def days_in_new_york(moments: pd.Series) -> Moments:
    """Return the day of each moment (with a time zone) in New York, without a time zone."""
    days, begins = _days()
    return days[begins.searchsorted(moments.to_numpy("datetime64[ns]"), side="right") - 1]


@lru_cache(maxsize=1)
def _days() -> tuple[Moments, Moments]:
    """Return every day from 1990 to 2035 and the moment (UTC) at which it begins in New York."""
    days = pd.date_range(FIRST_DAY, LAST_DAY, unit="ns")
    return days.to_numpy(), days.tz_localize(NEW_YORK).tz_convert("UTC").to_numpy("datetime64[ns]")


def as_of(announced_on: Any) -> pd.DatetimeIndex:
    """Return the moment of prediction: the close (UTC) of the last session at least seven days before a day.

    Parameters
    ----------
    announced_on : array-like of datetime64, shape (n,)
        Announcement days without a time zone.
    """
    return closes()[position(pd.DatetimeIndex(announced_on) - pd.Timedelta(days=HORIZON_DAYS))]


def cutoff(quarter: Quarter) -> pd.Timestamp:
    """Return the quarter's first possible `as_of` (UTC): what was not known then may not train its model."""
    moment: pd.Timestamp = as_of([quarter.start])[0]
    return moment
