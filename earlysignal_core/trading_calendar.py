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
    wanted = pd.DatetimeIndex(days).as_unit("ns")
    return np.asarray(sessions().searchsorted(wanted, side="right") - 1, dtype=np.int64)


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
