"""What institutions hold, by their 13F reports, and what is sold short.

A quarter's holdings are known some 45 days after it ends, so the latest known one ended up to 150 days ago. Share
counts are on the share basis of `t`.
"""

import numpy as np

from earlysignal_core.features._windows import last_known, mean, ratio, slope
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import DAYS_IN_QUARTER, PointInTime

FAMILY = "institutions"
HOLDINGS, SHORT = "institutional_holdings", "short_interest"
_RECENT_DAYS = 150
_MOST = 6  # quarters that can end within the look-back
_SHORT_DAYS, _SHORT_RECENT_DAYS = 75, 45  # published twice a month, about ten days after the settlement


@feature(
    family=FAMILY,
    unit="fraction",
    needs={HOLDINGS: _RECENT_DAYS + DAYS_IN_QUARTER},
    may_use={"corporate_actions": _RECENT_DAYS + DAYS_IN_QUARTER},
)
def sec_institutional_ownership_change(at: PointInTime) -> Values:
    """Shares held by the 13F filers, latest known quarter over the one before, minus 1."""
    held = _held(at, 2)
    return ratio(held[:, 1], held[:, 0]) - 1


@feature(
    family=FAMILY,
    unit="fraction/quarter",
    needs={HOLDINGS: _RECENT_DAYS + 2 * DAYS_IN_QUARTER},
    may_use={"corporate_actions": _RECENT_DAYS + 2 * DAYS_IN_QUARTER},
)
def institutional_ownership_momentum(at: PointInTime) -> Values:
    """Least-squares slope of the shares held by the 13F filers over the last 3 known quarters, over their mean."""
    held = _held(at, 3)
    return ratio(slope(held), mean(held))


@feature(
    family=FAMILY,
    unit="fraction",
    needs={SHORT: _SHORT_DAYS},
    may_use={"corporate_actions": _SHORT_DAYS},
)
def short_interest_change(at: PointInTime) -> Values:
    """Latest published short interest over the one before, minus 1; NaN where it was settled over 45 days ago.

    The table `short_interest` is the user's own, each row known on its dissemination.
    """
    settled_on = at.window(SHORT, "settled_on", 2)
    short = at.window(SHORT, "shares_short", 2) * at.shares_since(settled_on)
    recent = at.as_of_day - settled_on[:, 1] <= _SHORT_RECENT_DAYS
    return np.where(recent, ratio(short[:, 1], short[:, 0]) - 1, np.nan)


def _held(at: PointInTime, quarters: int) -> Values:
    """Return the shares held at the end of the last known quarters, oldest first, shape (n, quarters).

    A quarter is found by its end, counted back from the latest one's: one that is missing is a gap.
    """
    ended = at.window(HOLDINGS, "period_end", _MOST)
    held = at.window(HOLDINGS, "shares_held", _MOST) * at.shares_since(ended)
    back = np.round((ended[:, -1:] - ended) / DAYS_IN_QUARTER)
    found = [last_known(held, back == quarter) for quarter in range(quarters - 1, -1, -1)]
    recent = at.as_of_day - ended[:, -1] <= _RECENT_DAYS
    return np.where(recent[:, None], np.stack(found, axis=1), np.nan)
