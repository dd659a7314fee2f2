"""What analysts expect of the coming announcement, by dated snapshots of the consensus.

`E(t)` is the last snapshot known at `as_of` and `E(t-n)` the last known n days before, at most 92 days old; all per
share on the share basis of `t`. Where a source gives one final consensus for each announcement there is nothing to
follow, and these features are inactive. Only guidance_vs_consensus is content with `E(t)` alone.
"""

from functools import partial

import numpy as np

from earlysignal_core.features._announcements import CONSENSUS_DAYS, consensus
from earlysignal_core.features._windows import count_known, ratio
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import NEXT_QUARTER, PointInTime

FAMILY, TABLE = "analysts", "earnings_estimates"
GUIDANCE_DAYS = 120
"""Guidance for a quarter comes with the results of the one before, or later."""

_TREND_DAYS, _LEAST_OF_A_TREND = 30, 3
_HALF_LIFE = 15
# By the whole days of a snapshot's age: looked up, so that a weight has the same bits wherever it stands.
_WEIGHTS = 0.5 ** (np.arange(CONSENSUS_DAYS + 1) / _HALF_LIFE)

_of_snapshots = partial(
    feature,
    family=FAMILY,
    unit="fraction",
    needs={TABLE: CONSENSUS_DAYS},
    may_use={"corporate_actions": CONSENSUS_DAYS},
    requires=("consensus:snapshots",),
)


@_of_snapshots()
def analyst_estimate_revision_7d(at: PointInTime) -> Values:
    """(E(t) - E(t-7 days)) / |E(t-7 days)|; NaN where no snapshot was taken in between."""
    return _revision(at, 7)


@_of_snapshots()
def analyst_estimate_revision_30d(at: PointInTime) -> Values:
    """(E(t) - E(t-30 days)) / |E(t-30 days)|; NaN where no snapshot was taken in between."""
    return _revision(at, 30)


@_of_snapshots()
def next_quarter_estimate_change(at: PointInTime) -> Values:
    """Revision over 30 days of the consensus for the fiscal quarter after the coming one."""
    return _revision(at, 30, NEXT_QUARTER)


@_of_snapshots()
def earnings_whisper_vs_estimate(at: PointInTime) -> Values:
    """Mean of the snapshots of 92 days, weighted by recency with a half-life of 15 days, minus E(t), over |E(t)|.

    A stand-in for a whisper number, which has no open source. At least two snapshots.
    """
    estimate, age = _snapshots(at)
    there = np.isfinite(estimate)
    weight = np.where(there, _WEIGHTS[np.where(there, age, 0).astype(np.int64)], 0.0)
    mean = ratio((np.where(there, estimate, 0.0) * weight).sum(axis=1), weight.sum(axis=1))
    return np.where(count_known(estimate) > 1, (mean - consensus(at)) / _size(consensus(at)), np.nan)


@_of_snapshots(unit="fraction/day")
def earnings_estimate_trend(at: PointInTime) -> Values:
    """Least-squares slope of the snapshots of the last 30 days, over |E(t)|; at least three of them."""
    estimate, age = _snapshots(at)
    there = np.isfinite(estimate) & (age < _TREND_DAYS)
    count = np.where(there.sum(axis=1) >= _LEAST_OF_A_TREND, there.sum(axis=1), np.nan)
    day = np.where(there, -age, 0.0)
    apart = np.where(there, day - (day.sum(axis=1) / count)[:, None], 0.0)
    slope = ratio((apart * np.where(there, estimate, 0.0)).sum(axis=1), (apart * apart).sum(axis=1))
    return slope / _size(consensus(at))


@_of_snapshots(may_use={})
def earnings_estimate_std(at: PointInTime) -> Values:
    """Disagreement of the analysts: (high - low) / (4·|E|) of the last snapshot, as sources publish the range alone."""
    high, low, estimate = (at.latest(TABLE, column) for column in ("eps_high", "eps_low", "eps_estimate"))
    return (high - low) / (4 * _size(estimate))


@feature(
    family=FAMILY,
    unit="fraction",
    needs={"guidance": GUIDANCE_DAYS, TABLE: CONSENSUS_DAYS},
    may_use={"corporate_actions": GUIDANCE_DAYS},
)
def guidance_vs_consensus(at: PointInTime) -> Values:
    """Midpoint of the company's own guidance for the quarter minus E(t), over |E(t)|; guidance of the last 120 days.

    Of an open range the end that is given. The table `guidance` is the user's own.
    """
    low, high, given_on = (at.latest("guidance", column) for column in ("eps_low", "eps_high", "given_on"))
    middle = np.where(np.isnan(low), high, np.where(np.isnan(high), low, (low + high) / 2))
    guided = middle / at.shares_since(given_on[:, None])[:, 0]
    return (guided - consensus(at)) / _size(consensus(at))


def _revision(at: PointInTime, days: int, owner: str = "symbol") -> Values:
    now, before = (consensus(at, days_ago=ago, owner=owner) for ago in (0, days))
    newest, older = (at.latest(TABLE, "snapshot_on", owner=owner, lag_days=ago) for ago in (0, days))
    return np.where(newest > older, (now - before) / _size(before), np.nan)


def _snapshots(at: PointInTime) -> tuple[Values, Values]:
    """Return the snapshots of the consensus, one a day at most, and their age in days, each of shape (n, 93)."""
    taken_on = at.window(TABLE, "snapshot_on", CONSENSUS_DAYS + 1)
    estimate = at.window(TABLE, "eps_estimate", CONSENSUS_DAYS + 1) / at.shares_since(taken_on)
    return estimate, at.as_of_day[:, None] - taken_on


def _size(estimate: Values) -> Values:
    return np.where(estimate == 0, np.nan, np.abs(estimate))
