"""Counting what other companies announced lately: whole numbers, so that no order of rows can move a bit."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd

from earlysignal_core.features.arrays import DAY, NOT_THERE, Flags, Moments, Rows, Values
from earlysignal_core.features.knowledge import KnownCounts
from earlysignal_core.features.known_table import KnownTable

Hit = Callable[[Callable[[str], Values]], Values]
"""From columns of a table to 1 for a hit, 0 for none, NaN for a row that does not count."""

LATEST_DAYS = 92
"""A row that became known later than this after its own day is news of no season, and is not counted."""


class Among(Enum):
    """Whose rows are counted."""

    ALL = "all companies, its own included"
    OTHERS = "all other companies"
    SECTOR = "the other companies of its sector"


@dataclass(frozen=True)
class Asker:
    """Who asks: n examples, by symbol and sector, and the moments from and up to which they count."""

    symbol: pd.Series
    sector: pd.Series
    after: Moments
    until: Moments


class Peers:
    """The companies' rows of one table that count, and which of them are hits.

    Parameters
    ----------
    table : KnownTable
    sectors : Series
        The sector of each symbol, by symbol.
    hit : Hit
    """

    def __init__(self, table: KnownTable, sectors: pd.Series, hit: Hit) -> None:
        flags = hit(table.numbers)
        self._available, self._hits = table.available, flags == 1
        self._counted: Flags = np.isfinite(flags) & (table.available // DAY - table.days <= LATEST_DAYS)
        self._symbols = table.frame["symbol"]
        self._sectors = sectors

    def count(self, asker: Asker, among: Among) -> tuple[Values, Values]:
        """Return how many rows became known after one moment and until another: hits, and all; each of shape (n,).

        NaN where the example has no sector and is asked for its own.
        """
        groups, own_group = self._grouped(asker, by_sector=among is Among.SECTOR)
        hits, total = self._between(groups, own_group, asker)
        if among is not Among.ALL:
            symbols = np.where(groups == NOT_THERE, NOT_THERE, self._numbered(self._symbols))
            own_hits, own_total = self._between(symbols, self._numbered(asker.symbol), asker)
            hits, total = hits - own_hits, total - own_total
        there = own_group != NOT_THERE
        return np.where(there, hits, np.nan), np.where(there, total, np.nan)

    def rows(self, asker: Asker, among: Among) -> Rows:
        """Return the row numbers that were counted for a single example."""
        groups, own_group = self._grouped(asker, by_sector=among is Among.SECTOR)
        counted = self._counted & (groups == own_group) & (groups != NOT_THERE)
        counted &= (self._available > asker.after) & (self._available <= asker.until)
        if among is not Among.ALL:
            counted &= (self._symbols != asker.symbol.iloc[0]).to_numpy()
        return np.flatnonzero(counted)

    def _between(self, groups: Rows, own_group: Rows, asker: Asker) -> tuple[Rows, Rows]:
        index = KnownCounts(np.where(self._counted, groups, NOT_THERE), self._available, self._hits)
        return index.between(own_group, asker.after, asker.until)

    def _grouped(self, asker: Asker, *, by_sector: bool) -> tuple[Rows, Rows]:
        """Return the group number of each row and of each example; NOT_THERE for none."""
        if not by_sector:
            return np.zeros(len(self._symbols), dtype=np.int64), np.zeros(len(asker.symbol), dtype=np.int64)
        names = pd.Index(self._sectors.dropna().unique())
        return names.get_indexer(self._symbols.map(self._sectors)), names.get_indexer(asker.sector)

    def _numbered(self, symbols: pd.Series) -> Rows:
        return np.asarray(pd.Index(self._symbols.unique()).get_indexer(symbols), dtype=np.int64)
