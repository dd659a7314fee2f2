"""What past announcements say: arrays of shape (n, fiscal quarters), the last one before the example's own."""

from collections.abc import Callable

import numpy as np

from earlysignal_core.features._windows import last_known, pick
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.point_in_time import BENCHMARK, PointInTime
from earlysignal_core.features.surprise import is_large_beat, is_large_miss, surprise_percent

WINSORISED_AT = 100.0
CONSENSUS_DAYS = 92
"""A consensus older than this is not that of the coming announcement any more."""

EarningsColumn = Callable[[str], Values]


def announced_on(at: PointInTime, quarters: int) -> Values:
    """Return the days of the announcements, in days since the epoch."""
    return at.window("earnings", "announced_on", quarters)


def days_since_last(at: PointInTime) -> Values:
    """Return the calendar days from the latest announcement of the last four fiscal quarters to `as_of`, shape (n,)."""
    days = announced_on(at, 4)
    return at.as_of_day - last_known(days, np.isfinite(days))


def surprises(at: PointInTime, quarters: int, *, winsorised: bool = True) -> Values:
    """Return the earnings surprises in percent, if asked for cut off at ±100."""
    actual, estimate = (at.window("earnings", column, quarters) for column in ("eps_actual", "eps_estimate"))
    percent = surprise_percent(actual, estimate)
    return np.clip(percent, -WINSORISED_AT, WINSORISED_AT) if winsorised else percent


def large_beats(at: PointInTime, quarters: int) -> Values:
    """Return 1 for a large beat, 0 for none, NaN where there is no surprise."""
    return large_beat(lambda column: at.window("earnings", column, quarters))


def large_misses(at: PointInTime, quarters: int) -> Values:
    """Return 1 for a large miss, 0 for none, NaN where there is no surprise."""
    actual, estimate = (at.window("earnings", column, quarters) for column in ("eps_actual", "eps_estimate"))
    return np.where(np.isnan(surprise_percent(actual, estimate)), np.nan, is_large_miss(actual, estimate))


def large_beat(column: EarningsColumn) -> Values:
    """Return the same of whatever rows the columns come from."""
    actual, estimate = column("eps_actual"), column("eps_estimate")
    return np.where(np.isnan(surprise_percent(actual, estimate)), np.nan, is_large_beat(actual, estimate))


def per_share(at: PointInTime, column: str, quarters: int) -> Values:
    """Return earnings per share in dollars on the share basis of `t`: each figure is on that of its announcement."""
    return at.window("earnings", column, quarters) / at.shares_since(announced_on(at, quarters))


def consensus(at: PointInTime, *, days_ago: int = 0, owner: str = "symbol") -> Values:
    """Return E(t) on the share basis of `t`, shape (n,), if asked for as it was known some days before.

    NaN where no snapshot of it was known.
    """
    if not at.has("earnings_estimates"):
        return np.full(len(at), np.nan)
    taken_on, estimate = (
        at.latest("earnings_estimates", column, owner=owner, lag_days=days_ago)
        for column in ("snapshot_on", "eps_estimate")
    )
    return estimate / at.shares_since(taken_on[:, None])[:, 0]


def reactions(at: PointInTime, quarters: int, sessions: int) -> tuple[Values, Values]:
    """Return the return over the benchmark on the reaction sessions, and how many sessions ago they ended.

    The reaction to an announcement before the open is that session's, after the close the next one's, and where the
    hour is unknown both; on a day without a session it is always the next one's. NaN if not over by `t`.
    """
    days = announced_on(at, quarters)
    before_open, after_close = (at.matches("earnings", "session", hour, quarters) == 1 for hour in ("bmo", "amc"))
    until, until_eve = at.sessions_ago(days), at.sessions_ago(days - 1)
    start = np.where(after_close, until, until_eve)
    end = np.where(before_open, until_eve, until) - 1
    excess = excess_return(at, start, end, sessions)
    return excess, np.where(end >= 0, end, np.nan)


def excess_return(at: PointInTime, start: Values, end: Values, sessions: int) -> Values:
    """Return the return over the benchmark between two closes, each given by its sessions before `t`."""
    change = []
    for owner in ("symbol", BENCHMARK):
        close = at.window("ohlcv", "close", sessions, owner=owner)
        change.append(pick(close, end) / pick(close, start) - 1)
    return change[0] - change[1]
