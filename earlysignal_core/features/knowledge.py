"""Which rows were known: from (owner, moment) to row numbers, over whole tables at once."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

Rows = npt.NDArray[np.int64]
Moments = npt.NDArray[np.int64]
NOT_THERE = -1


class Known(Protocol):
    """An index over the rows of one table."""

    def locate(self, owners: pd.Series, moments: Moments, last_steps: Rows, length: int) -> Rows:
        """Return the last `length` rows of each owner that were known at its moment.

        Parameters
        ----------
        owners : Series of str, shape (n,)
        moments : ndarray of int64, shape (n,)
            Nanoseconds since the epoch, UTC.
        last_steps : ndarray of int64, shape (n,)
            Where the window ends on the table's axis; without meaning for a table without regular steps.
        length : int

        Returns
        -------
        ndarray of int64, shape (n, length)
            Row numbers, oldest first, right-aligned; `NOT_THERE` where nothing was known.
        """
        ...


class SteppedRows:
    """Rows on a regular axis, sessions or fiscal quarters: a step without a row is a gap, not a shorter window."""

    def __init__(self, owners: pd.Series, steps: Rows, available: Moments) -> None:
        codes, names = pd.factorize(owners)
        self._names = pd.Index(names)
        self._available = available
        self._first = int(steps.min()) if len(steps) else 0
        width = int(steps.max()) - self._first + 1 if len(steps) else 1
        order = np.lexsort((available, steps, codes))
        same_step = np.r_[False, (np.diff(codes[order]) == 0) & (np.diff(steps[order]) == 0)]
        began = np.maximum.accumulate(np.where(same_step, 0, np.arange(len(order)))) if len(order) else order
        vintage = np.arange(len(order)) - began
        depth = int(vintage.max()) + 1 if len(order) else 1
        self._rows = np.full((depth, len(names) or 1, width), NOT_THERE, dtype=np.int32)
        self._rows[vintage, codes[order], steps[order] - self._first] = order

    def locate(self, owners: pd.Series, moments: Moments, last_steps: Rows, length: int) -> Rows:
        """See `Known.locate`."""
        owner = self._names.get_indexer(pd.Index(owners))[:, None]
        column = last_steps[:, None] - np.arange(length - 1, -1, -1) - self._first
        inside = (owner >= 0) & (column >= 0) & (column < self._rows.shape[2])
        column = np.clip(column, 0, self._rows.shape[2] - 1)
        found = np.full(column.shape, NOT_THERE, dtype=np.int64)
        for rows in self._rows:  # vintages, oldest first: the newest that was known prevails
            candidate = rows[owner, column]
            known = inside & (candidate != NOT_THERE)
            known[known] = self._available[candidate[known]] <= np.broadcast_to(moments[:, None], known.shape)[known]
            found = np.where(known, candidate, found)
        return found


class DatedRows:
    """Rows by date, without a regular step; of several vintages of one date the newest known counts."""

    def __init__(self, owners: pd.Series, dates: Moments, available: Moments) -> None:
        codes, names = pd.factorize(owners)
        self._names = pd.Index(names)
        self._dates, self._available = dates, available
        self._by_date = np.lexsort((available, dates, codes))
        self._ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        self._counts = KnownCounts(codes, available)
        ordered = codes[self._by_date]
        same_owner = np.diff(ordered) == 0
        in_order = (np.diff(dates[self._by_date]) > 0) & (np.diff(available[self._by_date]) >= 0)
        self._disordered = set(np.unique(ordered[1:][same_owner & ~in_order]).tolist())

    def locate(self, owners: pd.Series, moments: Moments, last_steps: Rows, length: int) -> Rows:
        """See `Known.locate`."""
        owner = self._names.get_indexer(pd.Index(owners))
        begins = np.r_[0, self._ends][owner]
        rank = begins[:, None] + self._counts.known(owner, moments)[:, None] - np.arange(length, 0, -1)
        there = (owner[:, None] >= 0) & (rank >= begins[:, None])
        found = np.where(there, self._by_date[np.where(there, rank, 0)] if len(self._by_date) else 0, NOT_THERE)
        for code in self._disordered.intersection(owner.tolist()):
            of_owner = owner == code
            found[of_owner] = self._locate_disordered(code, moments[of_owner], length)
        return found

    def _locate_disordered(self, code: int, moments: Moments, length: int) -> Rows:
        """Revised or late rows: look at every row of the owner instead of at a prefix."""
        rows = self._by_date[self._ends[code - 1] if code else 0 : self._ends[code]]
        known = self._available[rows] <= moments[:, None]
        revised = np.zeros_like(known)
        revised[:, :-1] = (self._dates[rows][:-1] == self._dates[rows][1:]) & known[:, 1:]
        chosen = known & ~revised
        ranked = np.argsort(chosen, axis=1, kind="stable")[:, -length:]
        found = np.where(np.take_along_axis(chosen, ranked, axis=1), rows[ranked], NOT_THERE)
        padding = np.full((len(moments), length - found.shape[1]), NOT_THERE, dtype=np.int64)
        return np.hstack([padding, found])


class KnownCounts:
    """How many rows of a group were known at a moment, and how many of them were hits; all in integers."""

    def __init__(self, groups: Rows, available: Moments, hits: npt.NDArray[np.bool_] | None = None) -> None:
        self._moments = np.unique(available)
        self._stride = len(self._moments) + 1
        combined = groups * self._stride + np.searchsorted(self._moments, available)
        combined = np.where(groups < 0, -1, combined)
        order = np.argsort(combined, kind="stable")
        self._combined = combined[order]
        self._hits = np.r_[0, np.cumsum(hits[order])] if hits is not None else np.zeros(len(order) + 1, dtype=np.int64)

    def between(self, groups: Rows, after: Moments, until: Moments) -> tuple[Rows, Rows]:
        """Return, of the rows of each group with ``after < available <= until``, how many are hits and how many in all.

        Both are 0 for a negative group.
        """
        begin, end = self._position(groups, after), self._position(groups, until)
        return self._hits[end] - self._hits[begin], end - begin

    def known(self, groups: Rows, moments: Moments) -> Rows:
        """Return the number of rows of each group with ``available <= moment``."""
        begin = np.searchsorted(self._combined, groups * self._stride)
        return np.where(groups < 0, 0, self._position(groups, moments) - begin)

    def _position(self, groups: Rows, moments: Moments) -> Rows:
        known = np.searchsorted(self._moments, moments, side="right")
        return np.where(groups < 0, 0, np.searchsorted(self._combined, groups * self._stride + known))
