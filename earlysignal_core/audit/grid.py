"""Daily bars as dense arrays: one row per symbol, one column per exchange session."""

from dataclasses import dataclass, replace
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.trading_calendar import sessions

Values = npt.NDArray[np.float64]
BAR = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class BarGrid:
    """Bars of all symbols over all sessions; NaN where there is no bar or no value.

    Attributes
    ----------
    symbols : Index of str, length n
        In sorted order.
    sessions : DatetimeIndex, length m
        Every exchange session from the first bar to the last.
    open, high, low, close, volume : ndarray, shape (n, m)
        Dollars, and shares.
    """

    symbols: pd.Index
    sessions: pd.DatetimeIndex
    open: Values
    high: Values
    low: Values
    close: Values
    volume: Values

    @property
    def traded(self) -> npt.NDArray[np.bool_]:
        """Where there is a bar, shape (n, m)."""
        return ~np.isnan(self.close)

    def where(self, row: SupportsIndex, column: SupportsIndex) -> tuple[str, pd.Timestamp]:
        """Return the symbol and the session of a cell."""
        return str(self.symbols[int(row)]), pd.Timestamp(self.sessions[int(column)])

    def locate(self, symbol: pd.Series, day: pd.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the row of each symbol and the column of the last session on or before each day; -1 outside."""
        days = pd.DatetimeIndex(day)
        rows = self.symbols.get_indexer(pd.Index(symbol)).astype(np.int64)
        columns = self.sessions.searchsorted(days, side="right").astype(np.int64) - 1
        columns[days > self.sessions.max()] = -1
        return rows, columns

    def on_one_basis(self, corporate_actions: pd.DataFrame) -> "BarGrid":
        """Apply the splits to raw bars, so that all are in shares of the last session."""
        splits = corporate_actions[corporate_actions["kind"] == "split"]
        rows, columns = self.locate(splits["symbol"], splits["session"])
        steps = np.zeros_like(self.close)
        inside = (rows >= 0) & (columns >= 1)
        np.add.at(steps, (rows[inside], columns[inside] - 1), np.log(splits["value"].to_numpy()[inside]))
        factor = np.exp(np.cumsum(steps[:, ::-1], axis=1)[:, ::-1])
        prices = {name: getattr(self, name) / factor for name in ("open", "high", "low", "close")}
        return replace(self, **prices, volume=self.volume * factor)


def bar_grid(ohlcv: pd.DataFrame) -> BarGrid:
    """Lay the rows of table `ohlcv` out as a grid; bars on days without a session have no place in it."""
    calendar = sessions()
    first, last = calendar.searchsorted([ohlcv["session"].min(), ohlcv["session"].max()]) if len(ohlcv) else (0, -1)
    days = calendar[first : last + 1]
    symbols = pd.Index(np.unique(ohlcv["symbol"].to_numpy()), dtype="str")
    row, column = symbols.get_indexer(pd.Index(ohlcv["symbol"])), days.get_indexer(pd.DatetimeIndex(ohlcv["session"]))
    on_session = column >= 0
    columns = {}
    for name in BAR:
        values = np.full((len(symbols), len(days)), np.nan)
        values[row[on_session], column[on_session]] = ohlcv[name].to_numpy(dtype="float64", na_value=np.nan)[on_session]
        columns[name] = values
    return BarGrid(symbols, days, **columns)
