"""Prices of different days made comparable: the splits known at `as_of`, and cuts at false level shifts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.audit import level_shifts
from earlysignal_core.features.arrays import NOT_THERE, Flags, Moments, Rows, Values
from earlysignal_core.features.known_table import KnownTable
from earlysignal_core.tables import TABLES
from earlysignal_core.trading_calendar import sessions

SHIFT_LOOK_BACK = level_shifts.LOOK_BACK
"""Sessions before the first of a window that are needed to judge its moves."""

MOST_SPLITS = 8
"""Of one company within a look-back."""

_LARGEST_DIVISOR, _ROUNDING = 4, 0.002


class Bars:
    """The bars of some owners up to `t`, on the share basis of `t`, with NaN before a false level shift.

    Parameters
    ----------
    table : KnownTable
        `ohlcv`.
    rows : ndarray of int64, shape (n, length + SHIFT_LOOK_BACK)
        The owners' bars, oldest first: the first `SHIFT_LOOK_BACK` only serve to judge the others.
    shares : ndarray of float64, shape (n, length + SHIFT_LOOK_BACK), or None
        How many shares of `t` one share of each session became; None where prices arrive adjusted.
    """

    def __init__(self, table: KnownTable, rows: Rows, shares: Values | None) -> None:
        self.rows = rows
        self._table, self._shares = table, shares
        self._columns: dict[str, Values] = {}
        self._another_level: Flags = np.zeros(rows.shape, dtype=bool)
        restless = np.flatnonzero(_may_shift(self._uncut("close")))
        self._another_level[restless] = self._before_a_break(restless)

    def last(self, column: str, length: int) -> Values:
        """Return the last values of a column, shape (n, length): a view."""
        if column not in self._columns:
            values = np.where(self._another_level, np.nan, self._uncut(column))
            self._columns[column] = values[:, SHIFT_LOOK_BACK:]
        return self._columns[column][:, -length:]

    def _before_a_break(self, owners: Rows) -> Flags:
        """Say which bars of some owners lie before a session at which the series changes its basis."""
        breaks = level_shifts.price_breaks(
            self._uncut("close", owners),
            open_=self._uncut("open", owners),
            high=self._uncut("high", owners),
            low=self._uncut("low", owners),
            volume=self._uncut("volume", owners),
        )
        from_here_on = np.flip(np.logical_or.accumulate(np.flip(breaks, axis=1), axis=1), axis=1)
        before: Flags = np.zeros_like(breaks)
        before[:, :-1] = from_here_on[:, 1:]
        return before

    def _uncut(self, column: str, owners: Rows | slice = slice(None)) -> Values:
        values = self._table.take(column, self.rows[owners])
        if self._shares is None:
            return values
        return values * self._shares[owners] if column == "volume" else values / self._shares[owners]


def _may_shift(close: Values) -> Flags:
    """Say which series are worth judging: those with a gap, or with a move as large as are judged at all."""
    ratio = close[:, 1:] / close[:, :-1]
    quiet = np.exp(0.99 * level_shifts.SMALLEST)  # a little less, so that rounding hides none
    return np.asarray(~((ratio < quiet) & (ratio > 1 / quiet)).all(axis=1))


class Splits:
    """The splits among the corporate actions, by when they were known.

    Parameters
    ----------
    actions : DataFrame
        Rows of `corporate_actions`.
    """

    def __init__(self, actions: pd.DataFrame) -> None:
        self._row_numbers = np.flatnonzero(actions["kind"] == "split")
        self._table = KnownTable(TABLES["corporate_actions"], actions.iloc[self._row_numbers])

    def known(self, owners: pd.Series, moments: Moments, last_session: Rows) -> "KnownSplits":
        """Return the splits up to `t` that were known at each owner's moment.

        Parameters
        ----------
        owners : Series of str, shape (n,)
        moments : ndarray of int64, shape (n,)
        last_session : ndarray of int64, shape (n,)
            `t`, as a position in the trading calendar.
        """
        rows = self._table.locate(owners, moments, last_session, MOST_SPLITS)
        days = self._table.take("session", rows)
        past = days <= session_days(last_session, 1)
        return KnownSplits(
            ratio=np.where(past, self._table.take("value", rows), 1.0),
            days=np.where(past, days, -np.inf),
            rows=np.where(past, np.append(self._row_numbers, NOT_THERE)[rows], NOT_THERE),
        )


@dataclass(frozen=True)
class KnownSplits:
    """The last splits of n owners; ratio 1 and day -inf where there are fewer. All of shape (n, MOST_SPLITS)."""

    ratio: Values
    days: Values
    rows: Rows

    def shares_since(self, since: Values, *, spin_offs: bool) -> Values:
        """Return how many shares of `t` one share of a day became, for days of shape (n, k).

        A spin-off comes as a split too. It lowers the price by its factor, but earnings per share by something else.
        """
        shares = np.ones(since.shape)
        ratio = self.ratio if spin_offs else np.where(_is_of_shares(self.ratio), self.ratio, 1.0)
        split = np.flatnonzero((self.days > np.fmin.reduce(since, axis=1, initial=np.inf)[:, None]).any(axis=1))
        for each in range(MOST_SPLITS):
            later = self.days[split, each, None] > since[split]
            shares[split] *= np.where(later, ratio[split, each, None], 1.0)
        return shares


def session_days(last_session: Rows, length: int) -> Values:
    """Return the days of the sessions up to `t`, oldest first, in days since the epoch, shape (n, length)."""
    columns = last_session[:, None] - np.arange(length - 1, -1, -1)
    days: Values = sessions().to_numpy("datetime64[D]").astype(np.float64)
    return np.where(columns >= 0, days[np.maximum(columns, 0)], -np.inf)


def _is_of_shares(ratio: Values) -> Flags:
    """Tell a split of shares (2:1, 3:2, 1:8) from a spin-off's factor (1.253) by its small whole numbers."""
    larger = np.maximum(ratio, 1 / ratio)
    multiples = larger[..., None] * np.arange(1, _LARGEST_DIVISOR + 1)
    return np.asarray((np.abs(multiples - np.round(multiples)) <= _ROUNDING).any(axis=-1))
