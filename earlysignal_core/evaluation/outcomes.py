"""What the prices did after each forecast: returns of two windows, and the daily returns of the tradable one."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from earlysignal_core.audit.level_shifts import price_breaks
from earlysignal_core.evaluation.resampling import FloatArray, IntArray
from earlysignal_core.trading_calendar import HORIZON_DAYS, days_in_new_york, position, sessions

# The least number above 0: a price of 0 is none, a volume of 0 is one.
_TINY = float(np.finfo(np.float64).tiny)


class Outcomes(NamedTuple):
    """What `outcome_returns` returns.

    Attributes
    ----------
    returns : DataFrame
        Index of the events; return_7d, benchmark_7d, return_reaction, benchmark_reaction (fractions).
    positions : DataFrame
        One row per event and session of its reaction window: event, session, gross and benchmark (fractions of that
        session), sides (trades on that session: 1 on the first and last, 2 where these are one).
    """

    returns: pd.DataFrame
    positions: pd.DataFrame


def outcome_returns(events: pd.DataFrame, prices: pd.DataFrame, benchmark: str) -> Outcomes:
    """Return what each event's stock and the benchmark did over the same sessions.

    Parameters
    ----------
    events : DataFrame
        event, symbol, announced_on, session (bmo, amc or missing), as_of (UTC).
    prices : DataFrame
        Rows of the table `ohlcv`; those of days without a session are ignored. To judge a quarter they must reach
        from the quarter before it (false level shifts are seen by their past) into the one after it.
    benchmark : str
        Symbol whose prices stand among `prices`.

    Returns
    -------
    Outcomes
        7 days: close of the as-of session to the close of the last session at most seven days later.
        Reaction: open of the next session to the close of the session that reacts: the announcement's own for `bmo`,
        else (`amc`, or unknown) the one after it. A missing price at either end is NaN, never a guess, and so is a
        window across a false level shift; within a window the last price stands.
    """
    grid = _Grid(prices, pd.Index(events["symbol"].unique()).union([benchmark]))
    stock = grid.rows_of(events["symbol"])
    market = grid.rows_of(pd.Series(benchmark, index=events.index))
    as_of_day = days_in_new_york(events["as_of"])
    known, week_later = position(as_of_day), position(as_of_day + np.timedelta64(HORIZON_DAYS, "D"))
    entry, reaction = known + 1, _reaction(events)

    returns = {
        f"{kind}_{name}": grid.change(buy, row, first, last)
        for name, first, last, buy in (("7d", known, week_later, grid.close), ("reaction", entry, reaction, grid.open))
        for kind, row in (("return", stock), ("benchmark", market))
    }
    complete = np.flatnonzero(~np.isnan(returns["return_reaction"]) & ~np.isnan(returns["benchmark_reaction"]))
    held = (entry[complete], reaction[complete], stock[complete], market[complete])
    return Outcomes(
        pd.DataFrame(returns, index=events.index), _positions(grid, events["event"].iloc[complete].array, *held)
    )


def close_to_close(symbol: pd.Series, first: IntArray, last: IntArray, prices: pd.DataFrame) -> FloatArray:
    """Return the changes of some stocks from the close of one session to that of another.

    Parameters
    ----------
    symbol : Series of str, shape (n,)
    first, last : ndarray of int64, shape (n,)
        Positions in `trading_calendar.sessions`.
    prices : DataFrame
        As for `outcome_returns`, from `LOOK_BACK` sessions before the earliest `first`.

    Returns
    -------
    ndarray, shape (n,)
        Fractions; NaN without a price at either end, across a false level shift, and where `last` lies before `first`.
    """
    grid = _Grid(prices, pd.Index(symbol.unique()))
    return grid.change(grid.close, grid.rows_of(symbol), first, last)


def _reaction(events: pd.DataFrame) -> IntArray:
    announced = position(events["announced_on"])
    before_open = (events["session"] == "bmo").to_numpy(dtype=bool)
    on_session = sessions()[announced] == pd.DatetimeIndex(events["announced_on"])
    return np.asarray(np.where(before_open & on_session, announced, announced + 1), dtype=np.int64)


def _positions(
    grid: "_Grid", event: Any, entry: IntArray, last: IntArray, stock: IntArray, market: IntArray
) -> pd.DataFrame:
    length = int((last - entry).max()) + 1 if len(entry) else 0
    step = entry[:, None] + np.arange(length)
    held = step <= last[:, None]
    row, offset = np.nonzero(held)
    session = step[row, offset]
    return pd.DataFrame(
        {
            "event": event.take(row),
            "session": sessions()[session],
            "gross": grid.daily(stock, entry, step)[row, offset],
            "benchmark": grid.daily(market, entry, step)[row, offset],
            "sides": (session == entry[row]).astype(np.float64) + (session == last[row]),
        }
    )


class _Grid:
    """Prices as (symbols, sessions), NaN where there is none; an empty last row serves symbols without any."""

    def __init__(self, prices: pd.DataFrame, symbols: pd.Index) -> None:
        self._symbols = symbols
        row, (day, days) = self.rows_of(prices["symbol"]), pd.factorize(prices["session"])
        places = position(days)
        known = np.flatnonzero((row >= 0) & (sessions()[places] == days)[day])
        row, place = row[known], places[day[known]]
        self._first = int(place.min()) if len(place) else 0
        self._length = int(place.max()) - self._first + 1 if len(place) else 0
        bars = {
            column: self._spread(row, place, prices[column], known, lowest=0 if column == "volume" else _TINY)
            for column in ("open", "high", "low", "close", "volume")
        }
        self.open, self.close = bars["open"], bars["close"]
        breaks = price_breaks(bars.pop("close"), open_=bars.pop("open"), **bars)
        self._breaks_so_far = np.cumsum(breaks, axis=1).astype(np.float64)

    def rows_of(self, symbol: pd.Series) -> IntArray:
        return np.asarray(self._symbols.get_indexer(pd.Index(symbol)), dtype=np.int64)

    def change(self, buy: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
        """Return the change from `buy` at `first` to the close at `last`; NaN across a break or without a price."""
        same_basis = self._at(self._breaks_so_far, row, first) == self._at(self._breaks_so_far, row, last)
        ratio = self._at(self.close, row, last) / self._at(buy, row, first)
        return np.where(same_basis & (first <= last), ratio - 1, np.nan)

    def daily(self, row: IntArray, entry: IntArray, step: IntArray) -> FloatArray:
        """Return the changes of each session, the first from the open at `entry`; a missing close repeats the last."""
        closes = self._at(self.close, np.broadcast_to(row[:, None], step.shape), step)
        levels = np.column_stack([self._at(self.open, row, entry), closes])
        latest = np.maximum.accumulate(np.where(np.isnan(levels), 0, np.arange(levels.shape[1])), axis=1)
        filled = np.take_along_axis(levels, latest, axis=1)
        return np.asarray(filled[:, 1:] / filled[:, :-1] - 1)

    def _spread(self, row: IntArray, place: IntArray, values: pd.Series, known: IntArray, lowest: float) -> FloatArray:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)[known]
        grid = np.full((len(self._symbols) + 1, self._length), np.nan)
        sound = np.isfinite(numbers) & (numbers >= lowest)
        grid[row, place - self._first] = np.where(sound, numbers, np.nan)
        return grid

    def _at(self, grid: FloatArray, row: IntArray, place: IntArray) -> FloatArray:
        column = place - self._first
        inside = (column >= 0) & (column < self._length)
        found = np.full(place.shape, np.nan)
        found[inside] = grid[row[inside], column[inside]]
        return found
