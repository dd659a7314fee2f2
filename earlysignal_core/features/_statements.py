"""What filed income statements say: the latest, and those of the fiscal quarters before it, by the period's end."""

import numpy as np

from earlysignal_core.features._windows import last_known
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.point_in_time import PointInTime

RECENT_DAYS = 200
"""A latest statement whose period ended longer ago is that of no recent quarter: one has been left out since."""

_DAYS_IN_QUARTER = 365.25 / 4
_MOST = 16  # statements within two years and a half: a period's end that moved makes one more


def days_back(quarters: int) -> int:
    """Return how many days back the statements of the latest fiscal quarter and of some before it may end."""
    return RECENT_DAYS + round((quarters + 0.5) * _DAYS_IN_QUARTER)


def revenue(at: PointInTime, quarters: int) -> Values:
    """Return revenue by fiscal quarter, the latest filed one last, shape (n, quarters + 1).

    Each fiscal quarter is found by its end, counted back from the latest one's: a quarter without a statement is a gap,
    whatever the number of rows, and a year of 53 weeks is no gap. NaN where the latest ended more than 200 days ago.
    """
    ended = at.window("income_statements", "period_end", _MOST)
    reported = at.window("income_statements", "revenue", _MOST)
    back = np.round((ended[:, -1:] - ended) / _DAYS_IN_QUARTER)
    found = [last_known(reported, back == quarter) for quarter in range(quarters, -1, -1)]
    recent = at.as_of_day - ended[:, -1] <= RECENT_DAYS
    return np.where(recent[:, None], np.stack(found, axis=1), np.nan)


def year_on_year(figures: Values) -> Values:
    """Return the growth of each quarter over the same a year before, four fewer; NaN where that was not positive."""
    before = figures[:, :-4]
    return figures[:, 4:] / np.where(before > 0, before, np.nan) - 1
