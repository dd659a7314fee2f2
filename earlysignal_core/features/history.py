"""How a company, its sector and the market have surprised before, and the season.

All over past announcements of the symbol, unless stated. ``4q`` and ``8q`` count fiscal quarters, not rows: a quarter
that is missing is missing, and a window with fewer than half of its quarters is NaN. What is said of all announcements
so far reaches back ten years (40 fiscal quarters), so that a quarter's features need the same memory in every year.
"""

import numpy as np

from earlysignal_core.features._announcements import (
    CONSENSUS_DAYS,
    announced_on,
    consensus,
    days_since_last,
    excess_return,
    large_beat,
    large_beats,
    large_misses,
    per_share,
    reactions,
    surprises,
)
from earlysignal_core.features._windows import (
    count_known,
    known_deviation,
    known_mean,
    known_median,
    last_known,
)
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.peers import Among
from earlysignal_core.features.point_in_time import PointInTime, days_back
from earlysignal_core.features.surprise import THRESHOLD

FAMILY = "history"
_SO_FAR, _SO_FAR_DAYS = 40, 3650
_SEASON_DAYS, _PSEUDO_EVENTS = 35, 5
_SESSIONS = 300  # four quarters back and the session before
_LEAST_RMS = 0.01


@feature(family=FAMILY, unit="percent", needs={"earnings": 4})
def surprise_mean_4q(at: PointInTime) -> Values:
    """Mean of the surprises of the last 4 quarters, winsorised at ±100 %."""
    return known_mean(surprises(at, 4), 2)


@feature(family=FAMILY, unit="percent", needs={"earnings": 8})
def surprise_mean_8q(at: PointInTime) -> Values:
    """Mean of the surprises of the last 8 quarters, winsorised at ±100 %."""
    return known_mean(surprises(at, 8), 4)


@feature(family=FAMILY, unit="percent", needs={"earnings": 8})
def surprise_median_8q(at: PointInTime) -> Values:
    """Median of the surprises of the last 8 quarters, winsorised at ±100 %."""
    return known_median(surprises(at, 8), 4)


@feature(family=FAMILY, unit="percent", needs={"earnings": 8})
def surprise_std_8q(at: PointInTime) -> Values:
    """Sample standard deviation of the surprises of the last 8 quarters, winsorised at ±100 %."""
    return known_deviation(surprises(at, 8), 4)


@feature(family=FAMILY, unit="fraction", needs={"earnings": 8})
def beat_rate_8q(at: PointInTime) -> Values:
    """Share of the surprises of the last 8 quarters above 0."""
    return known_mean(_beats(surprises(at, 8)), 4)


@feature(family=FAMILY, unit="fraction", needs={"earnings": 8})
def large_beat_rate_8q(at: PointInTime) -> Values:
    """Share of the surprises of the last 8 quarters above 20 %."""
    return known_mean(large_beats(at, 8), 4)


@feature(family=FAMILY, unit="fraction", needs={"earnings": 8})
def large_miss_rate_8q(at: PointInTime) -> Values:
    """Share of the surprises of the last 8 quarters below -20 %."""
    return known_mean(large_misses(at, 8), 4)


@feature(family=FAMILY, unit="fraction", needs={"earnings": _SO_FAR})
def large_beat_rate_shrunk(at: PointInTime) -> Values:
    """(large beats so far + 0.5) / (announcements with a surprise so far + 5), of the last 40 fiscal quarters."""
    hits = large_beats(at, _SO_FAR)
    return np.asarray(((hits == 1).sum(axis=1) + 0.5) / (count_known(hits) + 5))


@feature(family=FAMILY, unit="percent", needs={"earnings": 12})
def same_season_surprise_mean(at: PointInTime) -> Values:
    """Mean surprise, winsorised at ±100 %, of the same fiscal quarter in the last 3 years; at least 2 of them."""
    return known_mean(np.ascontiguousarray(surprises(at, 12)[:, [0, 4, 8]]), 1.5)


@feature(
    family=FAMILY,
    unit="root mean squares",
    needs={"earnings": 8},
    may_use={"earnings_estimates": CONSENSUS_DAYS, "corporate_actions": days_back("earnings", 8)},
)
def threshold_z(at: PointInTime) -> Values:
    """How far the label's threshold lies: (0.2·B - mean(d)) / rms(d) over the last 8 quarters.

    d is the surprise in dollars and B is |E(t)| where it is known, else the |actual| of the same quarter a year ago;
    rms(d) is at least 0.01. All per share on the share basis of `t`, where splits are known.
    """
    actual = per_share(at, "eps_actual", 8)
    surprise = actual - per_share(at, "eps_estimate", 8)
    expected = consensus(at)
    base = np.abs(np.where(np.isnan(expected), actual[:, -4], expected))
    rms = np.maximum(np.sqrt(known_mean(surprise * surprise, 4)), _LEAST_RMS)
    return (THRESHOLD * base - known_mean(surprise, 4)) / rms


@feature(
    family=FAMILY,
    unit="fraction",
    needs={"earnings_estimates": CONSENSUS_DAYS, "corporate_actions": CONSENSUS_DAYS, "ohlcv": 1},
    requires=("prices:raw",),
)
def estimate_to_price(at: PointInTime) -> Values:
    """|E(t)| / C[t], both on the share basis of `t`."""
    return np.abs(consensus(at)) / at.latest("ohlcv", "close")


@feature(
    family=FAMILY,
    unit="fraction",
    needs={"earnings": 12, "corporate_actions": days_back("earnings", 12), "ohlcv": 1},
    requires=("prices:raw",),
)
def eps_volatility_to_price(at: PointInTime) -> Values:
    """Sample standard deviation of the year-on-year change in EPS over 8 quarters, over C[t]; on one share basis."""
    eps = per_share(at, "eps_actual", 12)
    return known_deviation(eps[:, 4:] - eps[:, :-4], 4) / at.latest("ohlcv", "close")


@feature(
    family=FAMILY,
    unit="ratio",
    needs={"earnings": 5},
    may_use={"corporate_actions": days_back("earnings", 5)},
)
def eps_growth_yoy(at: PointInTime) -> Values:
    """Growth of EPS, latest quarter over the same a year before: their difference over the mean of their sizes.

    Between -2 and 2, also where a sign changes; on the share basis of `t`, where splits are known.
    """
    eps = per_share(at, "eps_actual", 5)
    size = (np.abs(eps[:, -1]) + np.abs(eps[:, 0])) / 2
    return (eps[:, -1] - eps[:, 0]) / np.where(size > 0, size, np.nan)


@feature(
    family=FAMILY,
    unit="ratio",
    needs={"earnings": 4},
    may_use={"corporate_actions": days_back("earnings", 4)},
)
def eps_season(at: PointInTime) -> Values:
    """How far EPS of the same quarter a year ago lay from the mean of the last 4, over the mean of their sizes.

    A quarter that is always small makes a small |estimate|, which is easily beaten by 20 %.
    """
    eps = per_share(at, "eps_actual", 4)
    size = known_mean(np.abs(eps), 2)
    return (eps[:, 0] - known_mean(eps, 2)) / np.where(size > 0, size, np.nan)


@feature(family=FAMILY, unit="count", needs={"earnings": _SO_FAR})
def beat_streak(at: PointInTime) -> Values:
    """Consecutive surprises above 0 up to now, within 40 fiscal quarters.

    A quarter whose surprise is unknown neither counts nor ends the streak; NaN if that holds for the last four.
    """
    beats = _beats(surprises(at, _SO_FAR))
    order = np.arange(_SO_FAR)
    last_failure = np.where(beats == 0, order, -1).max(axis=1)
    streak = ((beats == 1) & (order > last_failure[:, None])).sum(axis=1).astype(np.float64)
    return np.where(count_known(beats[:, -4:]) > 0, streak, np.nan)


@feature(family=FAMILY, unit="fraction", needs={"earnings": 4, "ohlcv": _SESSIONS})
def announcement_return_abs_4q(at: PointInTime) -> Values:
    """Mean absolute return over the benchmark on the reaction sessions of the last 4 quarters.

    The reaction session is the announcement's (`bmo`) or the next (`amc`), and both where the hour is unknown.
    """
    excess, _ = reactions(at, 4, _SESSIONS)
    return known_mean(np.abs(excess), 2)


@feature(family=FAMILY, unit="fraction", needs={"earnings": 4, "ohlcv": _SESSIONS})
def drift_since_last_announcement(at: PointInTime) -> Values:
    """Return over the benchmark from the close of the last announcement's reaction session to C[t]."""
    _, ended = reactions(at, 4, _SESSIONS)
    last = last_known(ended, np.isfinite(announced_on(at, 4)))[:, None]
    return excess_return(at, last, np.zeros_like(last), _SESSIONS)[:, 0]


@feature(family=FAMILY, unit="days", needs={"earnings": 4})
def days_since_last_announcement(at: PointInTime) -> Values:
    """Calendar days from the last announcement of the last four fiscal quarters to `as_of`."""
    return days_since_last(at)


@feature(family=FAMILY, unit="days", needs={"earnings": 4})
def announcement_date_shift(at: PointInTime) -> Values:
    """Days by which the scheduled date is later than that of the same quarter last year, minus 364."""
    return at.scheduled_day - announced_on(at, 4)[:, 0] - 364


@feature(family=FAMILY, unit="fraction", needs={"earnings": _SO_FAR})
def sector_season_large_beat_rate(at: PointInTime) -> Values:
    """Share of large beats among the sector's other announcements that became available in the last 35 days.

    Shrunk to the rate of all announcements of the last ten years with 5 pseudo-events.
    """
    return _season_rate(at, Among.SECTOR)


@feature(family=FAMILY, unit="fraction", needs={"earnings": _SO_FAR}, of_the_day=True)
def market_season_large_beat_rate(at: PointInTime) -> Values:
    """Share of large beats among all other announcements that became available in the last 35 days.

    Shrunk to the rate of all announcements of the last ten years with 5 pseudo-events.
    """
    return _season_rate(at, Among.OTHERS)


def _season_rate(at: PointInTime, among: Among) -> Values:
    all_hits, everything = at.counts("earnings", large_beat, _SO_FAR_DAYS, Among.ALL)
    hits, total = at.counts("earnings", large_beat, _SEASON_DAYS, among)
    rate = all_hits / np.where(everything > 0, everything, np.nan)
    return (hits + _PSEUDO_EVENTS * rate) / (total + _PSEUDO_EVENTS)


def _beats(surprise: Values) -> Values:
    return np.where(np.isnan(surprise), np.nan, surprise > 0)
