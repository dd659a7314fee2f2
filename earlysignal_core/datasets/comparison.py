"""How far a sample of some features lies from an earlier one: outliers and the Kolmogorov–Smirnov distance."""

from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# The range from the 1st to the 99th percentile is widened by this many times its width at both ends before a value
# counts as an outlier: a world that moves (estimates cut at once, option volatility at its year's high everywhere) is
# to be learned from, a column in the wrong unit is not. Docs/datasets.md has the figures of both.
STRETCH = 6.0
# A feature drifts when D exceeds the strategy's 0.15, or more where few rows make D large by chance (about 1 % over
# 64 features; Kolmogorov–Smirnov, two samples).
MIN_DISTANCE, CHANCE_DISTANCE = 0.15, 2.15
# Fewer values of a feature are not compared.
MIN_VALUES = 30


def compare(values: FloatArray, before: FloatArray) -> FloatArray:
    """Compare two samples of some features.

    Parameters
    ----------
    values, before : ndarray, shapes (features, n) and (features, m)

    Returns
    -------
    ndarray, shape (3, features)
        The share of outliers: values beyond the stretched range of those before, or, where that is more, values
        before beyond the stretched range of these (a scale that has collapsed). The Kolmogorov–Smirnov distance. The
        distance from which a feature counts as shifted. NaN for a feature with fewer than `MIN_VALUES` in either.
    """
    values, before = np.sort(values, axis=1), np.sort(before, axis=1)  # NaN last
    result = np.full((3, len(values)), np.nan)
    sizes, sizes_before = np.isfinite(values).sum(axis=1), np.isfinite(before).sum(axis=1)
    for feature in np.flatnonzero((sizes >= MIN_VALUES) & (sizes_before >= MIN_VALUES)):
        n, m = sizes[feature], sizes_before[feature]
        new, old = values[feature, :n], before[feature, :m]
        result[:, feature] = (
            max(_share_outside(new, old), _share_outside(old, new)),
            ks_distance(new, old),
            max(MIN_DISTANCE, CHANCE_DISTANCE * np.sqrt(1 / n + 1 / m)),
        )
    return result


def ks_distance(new: FloatArray, old: FloatArray) -> float:
    """Return the two-sample Kolmogorov–Smirnov distance of two sorted samples without NaN.

    Between two neighbours of `new` its distribution function is constant and that of `old` rises, so that the largest
    difference stands at, or right before, a value of `new`.
    """

    def difference(side: Literal["left", "right"]) -> float:
        shares = (np.searchsorted(sample, new, side) / len(sample) for sample in (new, old))
        return float(np.abs(next(shares) - next(shares)).max())

    return max(difference("left"), difference("right"))


def _share_outside(values: FloatArray, reference: FloatArray) -> float:
    low, high = reference[[int(0.01 * len(reference)), int(0.99 * len(reference))]]
    margin = STRETCH * (high - low)
    first, end = np.searchsorted(values, low - margin, "left"), np.searchsorted(values, high + margin, "right")
    return float(1 - (end - first) / len(values))
