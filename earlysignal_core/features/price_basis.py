"""Prices of different days made comparable: the splits known at `as_of`, and cuts at false level shifts."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.audit.level_shifts import LOOK_BACK as SHIFT_LOOK_BACK
from earlysignal_core.audit.level_shifts import price_breaks
from earlysignal_core.features.known_table import KnownTable, Values
from earlysignal_core.features.knowledge import Moments, Rows
from earlysignal_core.tables import TABLES
from earlysignal_core.trading_calendar import sessions

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
        shifted = price_breaks(
            self._uncut("close"),
            open_=self._uncut("open"),
            high=self._uncut("high"),
            low=self._uncut("low"),
            volume=self._uncut("volume"),
        )
        later = np.flip(np.logical_or.accumulate(np.flip(shifted, axis=1), axis=1), axis=1)
        self._another_level: npt.NDArray[np.bool_] = np.zeros_like(later)
        self._another_level[:, :-1] = later[:, 1:]

    def last(self, column: str, length: int) -> Values:
        """Return the last values of a column, shape (n, length), C-ordered."""
        if column not in self._columns:
            values = np.where(self._another_level, np.nan, self._uncut(column))
            self._columns[column] = values[:, SHIFT_LOOK_BACK:]
        return np.ascontiguousarray(self._columns[column][:, -length:])

    def _uncut(self, column: str) -> Values:
        values = self._table.take(column, self.rows)
        if self._shares is None:
            return values
        return values * self._shares if column == "volume" else values / self._shares


class Splits:
    """The splits among the corporate actions, by when they were known.

    Parameters
    ----------
    actions : DataFrame
        Rows of `corporate_actions`.
    """

    def __init__(self, actions: pd.DataFrame) -> None:
        splits = actions[actions["kind"] == "split"]
        self._table = KnownTable(TABLES["corporate_actions"], splits.reset_index(drop=True))

    def shares_by_session(self, owners: pd.Series, moments: Moments, last_session: Rows, length: int) -> Values:
        """Return how many shares of `t` one share of each of the last sessions became, shape (n, length).

        Parameters
        ----------
        owners : Series of str, shape (n,)
        moments : ndarray of int64, shape (n,)
        last_session : ndarray of int64, shape (n,)
            `t`, as a position in the trading calendar.
        length : int
        """
        columns = last_session[:, None] - np.arange(length - 1, -1, -1)
        days = sessions().to_numpy().astype("datetime64[D]").astype(np.int64)
        return self._shares(owners, moments, last_session, days[np.maximum(columns, 0)].astype(np.float64), False)

    def shares_by_day(self, owners: pd.Series, moments: Moments, last_session: Rows, since: Values) -> Values:
        """Return how many shares of `t` one share of a day became, for days of shape (n, k); spin-offs left out.

        A spin-off lowers the price by what it was worth, but earnings per share by something else.
        """
        return self._shares(owners, moments, last_session, since, True)

    def _shares(
        self, owners: pd.Series, moments: Moments, last_session: Rows, since: Values, of_shares_only: bool
    ) -> Values:
        rows = self._table.locate(owners, moments, last_session, MOST_SPLITS)
        ratio, day = self._table.take("value", rows), self._table.take("session", rows)
        today = sessions().to_numpy()[last_session].astype("datetime64[D]").astype(np.float64)
        counts = (day <= today[:, None]) & (_is_of_shares(ratio) if of_shares_only else True)
        ratio = np.where(counts, ratio, 1.0)
        shares = np.ones(since.shape)
        for each in range(MOST_SPLITS):
            shares *= np.where(day[:, each, None] > since, ratio[:, each, None], 1.0)
        return shares


def _is_of_shares(ratio: Values) -> npt.NDArray[np.bool_]:
    """Tell a split of shares (2:1, 3:2, 1:8) from a spin-off's factor (1.253) by its small whole numbers."""
    larger = np.maximum(ratio, 1 / ratio)
    multiples = larger[..., None] * np.arange(1, _LARGEST_DIVISOR + 1)
    return np.asarray((np.abs(multiples - np.round(multiples)) <= _ROUNDING).any(axis=-1))
