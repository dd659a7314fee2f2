"""Which rows were known: from (owner, moment) to row numbers, over whole tables at once."""

import numpy as np
import pandas as pd

from earlysignal_core.features.arrays import DAY, NOT_THERE, Flags, Moments, Rows

NEVER = np.iinfo(np.int64).max
"""A moment that does not come."""


class SteppedRows:
    """Rows on a regular axis, sessions or fiscal quarters: a step without a row is a gap, not a shorter window.

    Parameters
    ----------
    owners : Series of str, shape (rows,)
    steps : ndarray of int64, shape (rows,)
        Of several rows of one owner and step, the one that became known last prevails once it is known.
    available : ndarray of int64, shape (rows,)
    """

    def __init__(self, owners: pd.Series, steps: Rows, available: Moments) -> None:
        codes, names = pd.factorize(owners)
        self._names = pd.Index(names)
        self._available = np.append(available, NEVER)  # NOT_THERE, -1, finds the one that is never known
        self._first = int(steps.min()) if len(steps) else 0
        width = int(steps.max()) - self._first + 1 if len(steps) else 1
        order = np.lexsort((available, steps, codes))
        begins = np.r_[True, (np.diff(codes[order]) != 0) | (np.diff(steps[order]) != 0)][: len(order)]
        position = np.arange(len(order))
        vintage = position - np.maximum.accumulate(np.where(begins, position, 0))
        depth = int(vintage.max()) + 1 if len(order) else 1
        self._rows = np.full((depth, len(names) + 1, width), NOT_THERE, dtype=np.int32)  # the last owner has nothing
        self._rows[vintage, codes[order], steps[order] - self._first] = order

    def locate(self, owners: pd.Series, moments: Moments, last_steps: Rows, length: int) -> Rows:
        """Return the rows of the last steps that were known at each owner's moment.

        Parameters
        ----------
        owners : Series of str, shape (n,)
        moments : ndarray of int64, shape (n,)
        last_steps : ndarray of int64, shape (n,)
            The step at which each window ends.
        length : int

        Returns
        -------
        ndarray of int64, shape (n, length)
            Oldest first; `NOT_THERE` at a step of which nothing was known.
        """
        owner = self._names.get_indexer(pd.Index(owners))
        column = (last_steps - self._first)[:, None] - np.arange(length - 1, -1, -1)
        inside = (column >= 0) & (column < self._rows.shape[2])
        column = np.where(inside, column, 0)
        found = np.full(column.shape, NOT_THERE, dtype=np.int64)
        for rows in self._rows:  # vintages, oldest first
            candidate = np.where(inside, rows[owner[:, None], column], NOT_THERE)
            np.copyto(found, candidate, where=self._available[candidate] <= moments[:, None])
        return found


class DatedRows:
    """Rows by date, without a regular step.

    Parameters
    ----------
    owners : Series of str, shape (rows,)
    days : ndarray of int64, shape (rows,)
        Each row's own date, in days since the epoch.
    available : ndarray of int64, shape (rows,)
    revised : bool
        Whether several rows of one owner and date are vintages of one figure, of which the newest known counts.
    """

    def __init__(self, owners: pd.Series, days: Rows, available: Moments, *, revised: bool) -> None:
        codes, names = pd.factorize(owners)
        self._names = pd.Index(names)
        self._revised = revised
        self._order = np.lexsort((available, days, codes))
        self._days, self._available = days[self._order], available[self._order]
        self._first = int(days.min()) if len(days) else 0
        self._span = int(days.max()) - self._first + 2 if len(days) else 1
        self._keys = codes[self._order] * self._span + self._days - self._first

    def locate(self, owners: pd.Series, moments: Moments, length: int) -> Rows:
        """Return the last rows by date that were known at each owner's moment.

        Parameters
        ----------
        owners : Series of str, shape (n,)
        moments : ndarray of int64, shape (n,)
        length : int

        Returns
        -------
        ndarray of int64, shape (n, length)
            Oldest first, right-aligned; `NOT_THERE` where there were fewer.

        Notes
        -----
        It walks back from the moment, one row of every owner at a time.
        """
        owner = self._names.get_indexer(pd.Index(owners))
        tomorrow = np.clip(moments // DAY + 1 - self._first, 0, self._span)  # no row is known before its own day
        begin = np.searchsorted(self._keys, owner * self._span)
        at = np.searchsorted(self._keys, owner * self._span + tomorrow)
        found = np.full((len(owner), length), NOT_THERE, dtype=np.int64)
        free = np.full(len(owner), length - 1)
        newer_day = np.full(len(owner), NEVER)
        walking = np.flatnonzero((owner >= 0) & (at > begin))
        while len(walking):
            at[walking] -= 1
            row = at[walking]
            takes = self._available[row] <= moments[walking]
            if self._revised:
                takes &= self._days[row] != newer_day[walking]
            taking, row = walking[takes], row[takes]
            found[taking, free[taking]] = self._order[row]
            free[taking] -= 1
            newer_day[taking] = self._days[row]
            walking = walking[(at[walking] > begin[walking]) & (free[walking] >= 0)]
        return found


class KnownCounts:
    """How many rows of a group became known in a stretch of time, and how many of them were hits; all in integers.

    A hit may count more than once: then it is a sum of whole numbers.

    Parameters
    ----------
    groups : ndarray of int64, shape (rows,)
        A row of a negative group is not counted.
    available : ndarray of int64, shape (rows,)
    hits : ndarray of bool or int64, shape (rows,)
    """

    def __init__(self, groups: Rows, available: Moments, hits: Flags | Rows) -> None:
        self._moments = np.unique(available)
        self._stride = len(self._moments) + 1
        keys = np.where(groups < 0, -1, groups * self._stride + np.searchsorted(self._moments, available))
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._hits_before = np.r_[0, np.cumsum(hits[order])]

    def between(self, groups: Rows, after: Moments, until: Moments) -> tuple[Rows, Rows]:
        """Return, of the rows of each group with ``after < available <= until``, how many are hits and how many in all.

        Both are 0 for a negative group. All arguments are broadcast.
        """
        begin, end = self._position(groups, after), self._position(groups, until)
        return self._hits_before[end] - self._hits_before[begin], end - begin

    def _position(self, groups: Rows, moments: Moments) -> Rows:
        known = np.searchsorted(self._moments, moments, side="right")
        return np.where(groups < 0, 0, np.searchsorted(self._keys, groups * self._stride + known))
