"""What the market in a company's options says: what is traded, and the volatility that prices imply.

A session without options traded, or without a call, has no put/call ratio; of a mean at least half must be there.
"""

import numpy as np

from earlysignal_core.features._windows import count_known, known_mean, ratio
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import PointInTime

FAMILY, TABLE = "options", "options"
_YEAR = 252


@feature(family=FAMILY, unit="ratio", needs={TABLE: 20})
def options_put_call_ratio_change(at: PointInTime) -> Values:
    """Put/call volume ratio: mean of 5 sessions minus mean of 20."""
    daily = put_call_ratio(at, 20)
    return known_mean(np.ascontiguousarray(daily[:, -5:]), 2.5) - known_mean(daily, 10)


@feature(family=FAMILY, unit="fraction", needs={TABLE: _YEAR})
def iv_rank(at: PointInTime) -> Values:
    """Percentile of today's 30-day at-the-money implied volatility among the other 251 sessions of the last 252.

    The share of them that were lower, ties counting half; at least half of the sessions must have one.
    """
    volatility = at.window(TABLE, "iv_30d", _YEAR)
    today, others = volatility[:, -1:], volatility[:, :-1]
    known = count_known(others)
    lower = (others < today).sum(axis=1) + 0.5 * (others == today).sum(axis=1)
    there = np.isfinite(today[:, 0]) & (known >= _YEAR / 2)
    return np.where(there, lower / np.maximum(known, 1), np.nan)


def put_call_ratio(at: PointInTime, sessions: int) -> Values:
    """Return the volume of puts over that of calls, by session, shape (n, sessions)."""
    return ratio(*(at.window(TABLE, column, sessions) for column in ("put_volume", "call_volume")))
