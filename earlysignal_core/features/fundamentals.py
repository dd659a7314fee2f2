"""What the companies themselves reported last."""

import numpy as np

from earlysignal_core.features._announcements import announced_on, surprises
from earlysignal_core.features._windows import last_known
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import PointInTime

_RECENT_DAYS = 120


@feature(family="fundamentals", unit="percent", needs={"earnings": 4})
def earnings_surprise(at: PointInTime) -> Values:
    """(actual - estimate) / |estimate| of the latest past announcement, at most 120 days old; estimate 0 gives NaN."""
    days = announced_on(at, 4)
    known = np.isfinite(days)
    surprise = last_known(surprises(at, 4, winsorised=False), known)
    return np.where(at.as_of_day - last_known(days, known) <= _RECENT_DAYS, surprise, np.nan)
