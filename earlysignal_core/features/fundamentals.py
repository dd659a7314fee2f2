"""What the companies themselves reported last."""

import numpy as np

from earlysignal_core.features._announcements import announced_on, surprises
from earlysignal_core.features._statements import days_back, revenue, year_on_year
from earlysignal_core.features._windows import last_known
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import PointInTime

FAMILY = "fundamentals"
_RECENT_DAYS = 120


@feature(family=FAMILY, unit="percent", needs={"earnings": 4})
def earnings_surprise(at: PointInTime) -> Values:
    """(actual - estimate) / |estimate| of the latest past announcement, at most 120 days old; estimate 0 gives NaN."""
    days = announced_on(at, 4)
    known = np.isfinite(days)
    surprise = last_known(surprises(at, 4, winsorised=False), known)
    return np.where(at.as_of_day - last_known(days, known) <= _RECENT_DAYS, surprise, np.nan)


@feature(family=FAMILY, unit="percentage points", needs={"income_statements": days_back(5)})
def revenue_growth_accel(at: PointInTime) -> Values:
    """Year-on-year revenue growth of the latest filed quarter minus that of the fiscal quarter before.

    NaN where the latest ended more than 200 days ago, or any of the four quarters has no revenue above 0 to compare.
    """
    growth = year_on_year(revenue(at, 5))
    return 100 * (growth[:, 1] - growth[:, 0])
