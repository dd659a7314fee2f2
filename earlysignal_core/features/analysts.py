"""What analysts publish: grades and price targets.

A window in which a company was not graded holds none, which counts 0; where no grade of the year before the window was
known, the table does not cover the company yet, and the feature is NaN.
"""

import numpy as np

from earlysignal_core.features._windows import known_mean, ratio
from earlysignal_core.features.arrays import Flags, Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.estimates import FAMILY
from earlysignal_core.features.point_in_time import PointInTime

RATINGS, TARGETS = "analyst_ratings", "price_targets"
_YEAR, _BEFORE = 365, 90
_MOST_GRADES, _MOST_IN_14_DAYS = 512, 64  # the most watched companies get some 250 grades a year
_RECENT_DAYS, _EARLIER_DAYS, _MOST_TARGETS = 30, 90, 256
_MOMENTUM_DAYS = 14


@feature(family=FAMILY, unit="count", needs={RATINGS: _BEFORE + 2 * _YEAR})
def analyst_coverage_change(at: PointInTime) -> Values:
    """Distinct firms that graded the stock in the last 365 days, now minus 90 days ago."""
    change = _firms(at, 0) - _firms(at, _BEFORE)
    return np.where(_is_covered(at, _BEFORE + _YEAR), change, np.nan)


@feature(family=FAMILY, unit="count", needs={RATINGS: _MOMENTUM_DAYS + _YEAR})
def analyst_upgrade_momentum(at: PointInTime) -> Values:
    """Upgrades minus downgrades of the last 14 days."""
    recent = at.as_of_day[:, None] - at.window(RATINGS, "graded_on", _MOST_IN_14_DAYS) < _MOMENTUM_DAYS
    up, down = (
        ((at.matches(RATINGS, "action", action, _MOST_IN_14_DAYS) == 1) & recent).sum(axis=1)
        for action in ("upgrade", "downgrade")
    )
    return np.where(_is_covered(at, _MOMENTUM_DAYS), up - down, np.nan)


@feature(
    family=FAMILY,
    unit="fraction",
    needs={TARGETS: _RECENT_DAYS + _EARLIER_DAYS},
    may_use={"corporate_actions": _RECENT_DAYS + _EARLIER_DAYS},
)
def analyst_price_target_change(at: PointInTime) -> Values:
    """Mean target published in the last 30 days over that of the 90 days before, minus 1; on one share basis.

    NaN where either holds none.
    """
    day = at.window(TARGETS, "published_on", _MOST_TARGETS)
    target = at.window(TARGETS, "target", _MOST_TARGETS) / at.shares_since(day)
    recent = at.as_of_day[:, None] - day < _RECENT_DAYS
    earlier = at.as_of_day[:, None] - day < _RECENT_DAYS + _EARLIER_DAYS
    # Targets of one day and moment come in no order of their own, and a sum's last bit depends on the order.
    now, before = (
        known_mean(np.sort(np.where(when, target, np.nan), axis=1), 1) for when in (recent, earlier & ~recent)
    )
    return ratio(now, before) - 1


def _firms(at: PointInTime, days_ago: int) -> Values:
    """Return how many distinct firms graded the stock in the year up to some days ago, as known then."""
    firm, day = (at.window(RATINGS, column, _MOST_GRADES, lag_days=days_ago) for column in ("firm", "graded_on"))
    within = at.as_of_day[:, None] - days_ago - day < _YEAR
    ordered = np.sort(np.where(within, firm, np.nan), axis=1)  # NaN last
    first = np.isfinite(ordered)
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    return np.asarray(first.sum(axis=1), dtype=np.float64)


def _is_covered(at: PointInTime, days: int) -> Flags:
    """Say whether a grade was known some days ago: else that there is none since says nothing."""
    return np.isfinite(at.latest(RATINGS, "graded_on", lag_days=days))
