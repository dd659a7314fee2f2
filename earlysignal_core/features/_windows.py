"""Statistics over the last axis of windows.

Each row is reduced by itself, by sums along a C-ordered axis: no matrix product, no cumulative sum, nothing that would
give a row other bits among other rows.
"""

import numpy as np

from earlysignal_core.features.arrays import Flags, Values


def mean(window: Values) -> Values:
    """Return the mean; NaN where any value is missing."""
    return np.asarray(window.sum(axis=-1) / window.shape[-1])


def deviation(window: Values) -> Values:
    """Return the sample standard deviation (n - 1); NaN where any value is missing."""
    return known_deviation(window, window.shape[-1])


def slope(window: Values) -> Values:
    """Return the least-squares slope for each step; NaN where any value is missing."""
    steps = np.arange(window.shape[-1]) - (window.shape[-1] - 1) / 2
    return np.asarray((window * steps).sum(axis=-1) / (steps * steps).sum())


def returns(close: Values) -> Values:
    """Return the simple return of each step, one fewer than closes."""
    return close[..., 1:] / close[..., :-1] - 1


def beta(values: Values, market: Values) -> Values:
    """Return the least-squares slope of values on the market's; NaN where any is missing or the market stands still."""
    deviations = market - mean(market)[..., None]
    spread = (deviations * deviations).sum(axis=-1)
    return np.asarray((values * deviations).sum(axis=-1) / np.where(spread > 0, spread, np.nan))


def ratio(numerator: Values, denominator: Values) -> Values:
    """Return the quotient; NaN where the denominator is not positive."""
    return np.asarray(numerator / np.where(denominator > 0, denominator, np.nan))


def count_known(window: Values) -> Values:
    """Return how many values are there."""
    return np.asarray((~np.isnan(window)).sum(axis=-1).astype(np.float64))


def known_mean(window: Values, at_least: float) -> Values:
    """Return the mean of the values that are there; NaN with fewer than so many."""
    count = count_known(window)
    total = np.where(np.isnan(window), 0.0, window).sum(axis=-1)
    return np.asarray(total / np.where(count >= max(at_least, 1), count, np.nan))


def known_deviation(window: Values, at_least: float) -> Values:
    """Return the sample standard deviation of the values that are there; NaN with fewer than so many, or than two."""
    apart = window - known_mean(window, at_least)[..., None]
    squares = np.where(np.isnan(apart), 0.0, apart * apart).sum(axis=-1)
    count = count_known(window)
    return np.asarray(np.sqrt(squares / np.where(count >= max(at_least, 2), count - 1, np.nan)))


def known_median(window: Values, at_least: float) -> Values:
    """Return the median of the values that are there; NaN with fewer than so many."""
    ordered = np.sort(window, axis=-1)  # NaN last
    count = (~np.isnan(window)).sum(axis=-1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    both = np.take_along_axis(ordered, np.minimum(middle, window.shape[-1] - 1), axis=-1)
    return np.asarray(np.where(count >= max(at_least, 1), (both[..., 0] + both[..., 1]) / 2, np.nan))


def last_known(window: Values, there: Flags) -> Values:
    """Return the last value of which `there` is true; NaN where it never is."""
    last = window.shape[-1] - 1 - np.argmax(np.flip(there, axis=-1), axis=-1)
    return np.where(there.any(axis=-1), np.take_along_axis(window, last[..., None], axis=-1)[..., 0], np.nan)


def pick(window: Values, steps_back: Values) -> Values:
    """Return, for each of k numbers of steps back from the last value, the value there; NaN outside the window.

    Parameters
    ----------
    window : ndarray, shape (n, length)
    steps_back : ndarray, shape (n, k)
        Whole numbers; NaN gives NaN.
    """
    length = window.shape[-1]
    inside = (steps_back >= 0) & (steps_back < length)
    column = length - 1 - np.where(inside, steps_back, 0).astype(np.int64)
    return np.where(inside, np.take_along_axis(window, column, axis=-1), np.nan)
