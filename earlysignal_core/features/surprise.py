"""The earnings surprise, and what counts as a large one: the rule that label and features share."""

from typing import Any

import numpy as np
import numpy.typing as npt

THRESHOLD = 0.20
# Relative to the larger of estimate and actual: far above the error of float64, far below a hundredth of a cent.
FLOAT_ERROR = 1e-9


def surprise_percent(actual: Any, estimate: Any) -> npt.NDArray[np.float64]:
    """Return ``(actual - estimate) / |estimate|`` in percent.

    Parameters
    ----------
    actual, estimate : array-like of float, one shape
        Earnings per share on one share basis.

    Returns
    -------
    ndarray of float64, of that shape
        NaN where the estimate is 0 or either is missing: there is nothing to compare with.
    """
    actual, estimate = np.asarray(actual, dtype="float64"), np.asarray(estimate, dtype="float64")
    base = np.where(estimate == 0, np.nan, np.abs(estimate))
    return np.asarray((actual - estimate) / base * 100)


def is_large_beat(actual: Any, estimate: Any) -> npt.NDArray[np.bool_]:
    """Say which actuals exceed the estimate by more than 20 % of its size; an exact tie does not.

    Parameters
    ----------
    actual, estimate : array-like of float, one shape

    Notes
    -----
    0.42 against 0.35 is a tie, though ``0.42 - 0.35 > 0.2 * 0.35`` in floating point: the excess must be larger than
    the error with which decimal figures are represented.
    """
    actual, estimate = np.asarray(actual, dtype="float64"), np.asarray(estimate, dtype="float64")
    excess = (actual - estimate) - THRESHOLD * np.abs(estimate)
    return np.asarray(excess > FLOAT_ERROR * np.maximum(np.abs(actual), np.abs(estimate)))


def large_misses(percent: Any) -> npt.NDArray[np.bool_]:
    """Say which surprises, in percent, lie more than 20 % below the estimate; NaN and an exact tie do not."""
    return np.asarray(np.asarray(percent, dtype="float64") < -100 * THRESHOLD * (1 + FLOAT_ERROR))


def is_large_miss(actual: Any, estimate: Any) -> npt.NDArray[np.bool_]:
    """Say which actuals fall short of the estimate by more than 20 % of its size; an exact tie does not."""
    return is_large_beat(-np.asarray(actual, dtype="float64"), -np.asarray(estimate, dtype="float64"))
