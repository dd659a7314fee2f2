"""Bars that cannot be what they say: dead prices, inconsistent bars, bars on days without trading, split basis."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.audit.finding import Finding
from earlysignal_core.audit.grid import BarGrid
from earlysignal_core.trading_calendar import sessions

_DEAD_RUN, _FEWEST_DEAD = 10, 5
_ROUNDING = 1e-5
_LONG_HOLE = 5
_SMALLEST_SPLIT = 1.2


def dead_prices(grid: BarGrid) -> list[Finding]:
    """Find bars that no market stands behind: volume 0, or a close that stands still for ten bars or more.

    One finding per symbol with five such bars or more, dated at the first.
    """
    traded = grid.traded
    dead = traded & ((grid.volume == 0) | (_bars_standing_still(grid) >= _DEAD_RUN))
    found = []
    for row in np.flatnonzero(dead.sum(axis=1) >= _FEWEST_DEAD):
        days = np.flatnonzero(dead[row])
        symbol, first = grid.where(row, days[0])
        silent = int(np.sum(grid.volume[row, days] == 0))
        evidence = (
            f"{len(days)} of {traded[row].sum()} bars are dead, the last on {grid.where(row, days[-1])[1]:%Y-%m-%d}: "
            f"{silent} have volume 0, {len(days) - silent} more stand in runs of {_DEAD_RUN} or more equal closes"
        )
        action = "reported only: returns over dead prices are 0"
        found.append(Finding("dead_price", symbol, first, evidence, action))
    return found


def _bars_standing_still(grid: BarGrid) -> npt.NDArray[np.int64]:
    """Return, for each bar, the length of the run of equal closes that it belongs to, shape (n, m)."""
    traded = grid.traded
    close = pd.DataFrame(grid.close.T).ffill().to_numpy().T
    starts = traded.copy()
    starts[:, 1:] &= ~(np.abs(close[:, 1:] - close[:, :-1]) <= _ROUNDING * close[:, :-1])
    # Runs are numbered over all symbols at once; the first cell of a row opens one even without a bar.
    starts[:, 0] = True
    run = np.cumsum(starts.ravel()) - 1
    length = np.bincount(run, weights=traded.ravel()).astype(np.int64)
    return np.where(traded, length[run].reshape(traded.shape), 0)


def inconsistent_bars(grid: BarGrid) -> list[Finding]:
    """Find bars whose high is below their low, or whose open or close lies outside them by more than rounding."""
    top, bottom = grid.high * (1 + _ROUNDING), grid.low * (1 - _ROUNDING)
    wrong = {
        "high below low": grid.high < bottom,
        "open outside": (grid.open > top) | (grid.open < bottom),
        "close outside": (grid.close > top) | (grid.close < bottom),
    }
    found = []
    for row, column in zip(*np.nonzero(np.any(list(wrong.values()), axis=0)), strict=True):
        symbol, day = grid.where(row, column)
        prices = (f"{name} {getattr(grid, name)[row, column]:.6g}" for name in ("open", "high", "low", "close"))
        reasons = (reason for reason, at in wrong.items() if at[row, column])
        evidence = f"{', '.join(reasons)}: {', '.join(prices)}"
        action = "reported only: bars are read as they stand"
        found.append(Finding("inconsistent_bar", symbol, day, evidence, action))
    return found


def off_session_bars(ohlcv: pd.DataFrame) -> list[Finding]:
    """Find bars on days when the exchange was closed; one finding per day."""
    off = ohlcv[~ohlcv["session"].isin(sessions())]
    return [
        Finding(
            "off_session_bar",
            str(rows["symbol"].iloc[0]) if len(rows) == 1 else None,
            rows["session"].iloc[0],
            f"{len(rows)} bars on a day without a session: {', '.join(rows['symbol'].head(5))}",
            "the bars have no place in price windows",
            "ohlcv",
        )
        for _, rows in off.groupby("session")
    ]


def missing_sessions(grid: BarGrid) -> list[Finding]:
    """Find holes of five sessions or more between two bars of a symbol."""
    traded = grid.traded
    last = np.maximum.accumulate(np.where(traded, np.arange(traded.shape[1]), -1), axis=1)
    hole = np.zeros(traded.shape, dtype=np.int64)
    hole[:, 1:] = np.where(traded[:, 1:] & (last[:, :-1] >= 0), np.arange(1, traded.shape[1]) - last[:, :-1] - 1, 0)
    found = []
    for row, column in zip(*np.nonzero(hole >= _LONG_HOLE), strict=True):
        before = int(column) - int(hole[row, column]) - 1
        symbol, day = grid.where(row, column)
        evidence = (
            f"{hole[row, column]} sessions without a bar since {grid.where(row, before)[1]:%Y-%m-%d}; close "
            f"{grid.close[row, before]:.4g} before, {grid.close[row, column]:.4g} after"
        )
        action = "windows hold NaN there; from twenty sessions on they are cut at the hole"
        found.append(Finding("missing_sessions", symbol, day, evidence, action))
    return found


def split_basis(grid: BarGrid, corporate_actions: pd.DataFrame, declared: str) -> list[Finding]:
    """Find recorded splits that prices show although they are declared adjusted, or do not although declared raw.

    Parameters
    ----------
    grid : BarGrid
        Bars as the tape gives them.
    corporate_actions : DataFrame
    declared : str
        What the tape says of its prices: ``adjusted`` or ``raw``.
    """
    splits = corporate_actions[corporate_actions["kind"] == "split"]
    rows, columns = grid.locate(splits["symbol"], splits["session"])
    ratio = splits["value"].to_numpy(dtype="float64")
    usable = (rows >= 0) & (columns >= 1) & (np.abs(np.log(ratio)) >= np.log(_SMALLEST_SPLIT))
    rows, columns, ratio = rows[usable], columns[usable], ratio[usable]
    move = np.log(grid.close[rows, columns] / grid.close[rows, columns - 1])
    shows = np.abs(move + np.log(ratio)) < np.abs(move)
    wrong = ~np.isnan(move) & (shows != (declared == "raw"))
    return [
        Finding(
            "split_basis",
            *grid.where(rows[k], columns[k]),
            f"a split of {ratio[k]:g} is recorded and the close moves {np.expm1(move[k]):+.1%}: prices are "
            f"{'raw' if shows[k] else 'adjusted'} here, the tape declares them {declared}",
            "reported only: prices are read as the tape declares them",
        )
        for k in np.flatnonzero(wrong)
    ]
