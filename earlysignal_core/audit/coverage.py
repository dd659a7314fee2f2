"""What is not there: prices that end, announcements without prices, columns and sectors that are missing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from earlysignal_core.audit.finding import Finding
from earlysignal_core.audit.grid import BarGrid
from earlysignal_core.trading_calendar import HORIZON_DAYS

_STOPPED = 10
_NAMES = 8


def stopped_prices(grid: BarGrid) -> list[Finding]:
    """Find symbols whose prices end more than ten sessions before the tape's."""
    traded = grid.traded
    end = traded.shape[1] - 1
    last = end - np.argmax(traded[:, ::-1], axis=1)
    ending = np.bincount(last, minlength=traded.shape[1])
    return [
        Finding(
            "prices_stop",
            *grid.where(row, last[row]),
            f"last bar {end - last[row]} sessions before the tape's end; {ending[last[row]] - 1} other symbols end "
            "the same day",
            "price features of later events are NaN",
        )
        for row in np.flatnonzero(last < end - _STOPPED)
    ]


def announcements_without_price(grid: BarGrid, earnings: pd.DataFrame) -> list[Finding]:
    """Find announcements whose `as_of` session has no bar: before the first price, after the last, or in a hole.

    One finding per symbol and reason, dated at the first announcement.
    """
    as_of = earnings["announced_on"] - pd.Timedelta(days=HORIZON_DAYS)
    rows, columns = grid.locate(earnings["symbol"], as_of)
    traded = grid.traded
    priced = (rows >= 0) & (columns >= 0)
    priced[priced] = traded[rows[priced], columns[priced]]
    first = grid.sessions[np.argmax(traded, axis=1)].to_numpy()[rows]
    last = grid.sessions[traded.shape[1] - 1 - np.argmax(traded[:, ::-1], axis=1)].to_numpy()[rows]
    reason = np.select(
        [rows < 0, as_of.to_numpy() < first, as_of.to_numpy() > last],
        ["the symbol has no prices", "before the first price", "after the last price"],
        "no bar on that session",
    )
    missing = earnings[["symbol", "announced_on"]].assign(reason=reason)[~priced]
    found = []
    for _, own in missing.groupby(["symbol", "reason"]):
        days = own["announced_on"]
        evidence = f"{len(own)} announcements, {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}: {own['reason'].iloc[0]}"
        action = "price features of these events are NaN"
        found.append(Finding("no_price_at_as_of", str(own["symbol"].iloc[0]), days.min(), evidence, action))
    return found


def benchmark_gaps(grid: BarGrid, benchmark: str) -> list[Finding]:
    """Find sessions on which the benchmark has no bar."""
    row = int(grid.symbols.get_indexer(pd.Index([benchmark]))[0])
    without = np.flatnonzero(~grid.traded[row]) if row >= 0 else np.arange(len(grid.sessions))
    if not len(without):
        return []
    evidence = f"the benchmark has no bar on {len(without)} of {len(grid.sessions)} sessions"
    action = "features relative to the market are NaN where they need one of them"
    return [Finding("benchmark_gap", benchmark, pd.Timestamp(grid.sessions[without[0]]), evidence, action)]


def missing_columns(grid: BarGrid) -> list[Finding]:
    """Find symbols that have no volume at all, or no open, high or low; one finding per column."""
    found = []
    for name in ("open", "high", "low", "volume"):
        without = np.isnan(getattr(grid, name)).all(axis=1)
        if without.any():
            evidence = f"{name} is missing throughout for {_listed(grid.symbols[without].tolist())}"
            action = f"features that need {name} are NaN for them"
            found.append(Finding("missing_column", None, None, evidence, action, "ohlcv"))
    return found


def missing_sectors(universe: pd.DataFrame) -> list[Finding]:
    """Find companies without a sector."""
    without = universe.loc[universe["sector"].isna(), "symbol"].tolist()
    action = "features of the sector are NaN for it"
    return [Finding("missing_sector", symbol, None, "it has no sector", action, "universe") for symbol in without]


def _listed(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - _NAMES} more" if len(symbols) > _NAMES else ""
    return f"{len(symbols)} symbols ({', '.join(symbols[:_NAMES])}{more})"
