"""Intervals: whole companies drawn with replacement, and days drawn in blocks. What is measured lives elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RESAMPLES = 1000
LEVEL = 0.95
# Fewer companies cannot stand for the ones that were not drawn.
MIN_COMPANIES = 10
# An interval from the few resamples that happen to define a figure would be one of a different figure.
MIN_DEFINED = 0.95
# Elements of one batch of resampled rows: small enough to stay in the processor's cache.
_BATCH = 1 << 19
# A billionth is less than any figure shows, and leaves room for sums up to eight million in a float's 53 bits.
_GRID = float(1 << 30)


def _null_is_nan(value: Any) -> Any:
    return float("nan") if value is None else value


Number = Annotated[float, BeforeValidator(_null_is_nan)]


def one_a_company(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the first row of each announcement (company, announced_on): share classes have one result, counted once."""
    return rows.drop_duplicates(["company", "announced_on"], ignore_index=True)


class Record(BaseModel):
    """An immutable record; in JSON its undefined numbers are null."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Figure(Record):
    """A figure with its interval; NaN where it is undefined, and then a reason.

    Attributes
    ----------
    value : float
    low, high : float
        The bounds of the interval, of 95 % unless something else is said.
    reason : str, optional
        Why the figure, or only its interval, is undefined.
    """

    value: Number
    low: Number = float("nan")
    high: Number = float("nan")
    reason: str | None = None

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return not np.isnan(self.value)

    def above(self, limit: float) -> bool:
        """Say whether the whole interval lies above `limit`."""
        return bool(self.low > limit)

    def below(self, limit: float) -> bool:
        """Say whether the whole interval lies below `limit`."""
        return bool(self.high < limit)


def undefined(reason: str) -> Figure:
    """Return a figure that has no value, and why."""
    return Figure(value=float("nan"), reason=reason)


@dataclass(frozen=True)
class Resamples:
    """Companies drawn with replacement, each time as many as there are (the cluster bootstrap).

    Attributes
    ----------
    company : ndarray of int64, shape (n,)
        The company of each row, in alphabetical order of the companies' names.
    counts : ndarray of float64, shape (resamples, companies)
        How often each company was drawn.

    Notes
    -----
    Announcements of one company resemble each other, so rows are not independent and drawing single rows would give
    intervals that are too narrow. Davison & Hinkley, *Bootstrap Methods and their Application* (1997), section 3.8.
    """

    company: IntArray
    counts: FloatArray

    @classmethod
    def draw(cls, companies: Any, *, seed: int, resamples: int = RESAMPLES) -> "Resamples":
        """Draw companies; rows with the same name (the share classes of one company) are drawn together."""
        company, size = _numbered(companies)
        return cls(company, _drawn(size, seed, resamples))

    @property
    def companies(self) -> int:
        """How many companies the rows have."""
        return len(np.unique(self.company))

    def of(self, rows: npt.NDArray[np.bool_]) -> "Resamples":
        """Return the same resamples for some of the rows."""
        return Resamples(self.company[rows], self.counts)

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sums over the rows of every resample: (n, k) values to (resamples, k) sums."""
        by_company = np.zeros((self.counts.shape[1], values.shape[1]))
        np.add.at(by_company, self.company, values)
        return self.weighted(by_company)

    def weighted(self, by_company: FloatArray) -> FloatArray:
        """Return the sums of every resample from sums by company: (companies, k) to (resamples, k)."""
        # On this grid every product and partial sum is exact, so the bits do not depend on how many threads multiply.
        return self.counts @ (np.rint(by_company * _GRID) / _GRID)

    def batches(self, rows: int) -> Iterator[tuple[slice, FloatArray]]:
        """Yield resamples in batches so small that `rows` weights for each fit into the processor's cache."""
        size = max(1, _BATCH // max(1, rows))
        for start in range(0, len(self.counts), size):
            batch = slice(start, start + size)
            yield batch, self.counts[batch]


def _numbered(companies: Any) -> tuple[IntArray, int]:
    """Return the number of each row's company in alphabetical order (days: in time), and how many there are."""
    if isinstance(companies, np.ndarray) and companies.dtype.kind in "UMi":  # none is missing: the quick way
        names, numbers = np.unique(companies, return_inverse=True)
        return numbers.astype(np.int64), len(names)
    numbers, named = pd.factorize(pd.Series(companies, dtype="str"), sort=True)
    return numbers.astype(np.int64), len(named)


@lru_cache(maxsize=16)
def _drawn(size: int, seed: int, resamples: int) -> FloatArray:
    """Return how often each of so many companies is drawn: it depends on nothing else, and days ask for it again."""
    if size == 0:
        return np.empty((resamples, 0))
    drawn = np.random.default_rng(seed).integers(0, size, (resamples, size))
    drawn += np.arange(resamples)[:, None] * size
    counts = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size).astype(np.float64)
    counts.flags.writeable = False
    return counts


def with_interval(
    value: float, draws: FloatArray, units: int, *, unit: str = "companies", level: float = LEVEL
) -> Figure:
    """Return a figure with the percentile interval of its resampled values.

    Parameters
    ----------
    value : float
        The figure of the rows themselves.
    draws : ndarray, shape (resamples,)
        The figure of every resample, NaN where a resample does not define it.
    units : int
        How many independent units (of the kind `unit`) were drawn from.
    level : float
        Of the interval.
    """
    if np.isnan(value):
        return undefined("undefined on these rows")
    if units < MIN_COMPANIES:
        return Figure(value=value, reason=f"no interval from {units} {unit} (needs {MIN_COMPANIES})")
    defined = draws[~np.isnan(draws)]
    if len(defined) < MIN_DEFINED * len(draws):
        return Figure(value=value, reason=f"no interval: only {len(defined)} of {len(draws)} resamples define it")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    if low == high:
        return Figure(value=value, reason="no interval: all resamples agree")
    return Figure(value=value, low=float(low), high=float(high))


def wider(one: Figure, other: Figure) -> Figure:
    """Return a figure with the hull of two intervals of it; without either, why there is none."""
    for figure in (one, other):
        if np.isnan(figure.low):
            return figure
    return Figure(value=one.value, low=min(one.low, other.low), high=max(one.high, other.high))


@lru_cache(maxsize=8)
def stationary_blocks(length: int, *, seed: int, block: float, resamples: int = RESAMPLES) -> IntArray:
    """Return positions of resampled days, in runs of neighbouring days of geometric length (mean `block`).

    Parameters
    ----------
    length : int
        Days in the series, which closes into a circle.

    Returns
    -------
    ndarray of int64, shape (resamples, length)

    Notes
    -----
    Politis & Romano, "The Stationary Bootstrap", Journal of the American Statistical Association 89 (1994).
    """
    random = np.random.default_rng(seed)
    days = np.arange(length)
    begins = random.random((resamples, length)) < 1 / block
    begins[:, :1] = True
    begin = np.maximum.accumulate(np.where(begins, days, 0), axis=1)
    origin = np.take_along_axis(random.integers(0, max(1, length), (resamples, length)), begin, axis=1)
    blocks = np.asarray((origin + days - begin) % max(1, length), dtype=np.int64)
    blocks.flags.writeable = False
    return blocks
