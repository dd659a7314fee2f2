"""The audit of a tape: every check on every table that is there, as one table of findings."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from earlysignal_core.audit import announcements, coverage, earnings, prices
from earlysignal_core.audit.finding import COLUMNS, Finding, to_frame
from earlysignal_core.audit.grid import BarGrid, bar_grid
from earlysignal_core.audit.moves import judged_moves
from earlysignal_core.tables import each_company

KINDS: dict[str, str] = {
    "level_shift": "the price level changes, not the value: an unadjusted split, spin-off or special dividend, another "
    "company under the ticker, or a series that flips between two bases",
    "genuine_move": "a move of 40 % or more that was judged and kept",
    "dead_price": "the close stands still for ten bars or more",
    "inconsistent_bar": "high below low, or open or close outside them",
    "off_session_bar": "a bar on a day when the exchange was closed",
    "missing_sessions": "five sessions or more without a bar",
    "split_basis": "prices show a split although declared adjusted, or do not although declared raw",
    "prices_stop": "prices end before the tape does",
    "no_price_at_as_of": "no price at the moment of prediction",
    "benchmark_gap": "the benchmark lacks prices",
    "missing_column": "a column of the bars is missing throughout for some symbols",
    "missing_sector": "companies without a sector",
    "basis_mismatch": "estimate and actual are figures of different kinds",
    "share_basis": "per-share figures move to another number of shares",
    "missing_quarter": "fiscal quarters without an announcement",
    "missing_season": "the same fiscal quarter is missing every year, for most companies",
    "duplicate_quarter": "two announcements of one fiscal quarter",
    "same_announcement": "two symbols carry the same announcements",
    "zero_estimate": "the estimate is zero",
    "extreme_surprise": "a surprise beyond ±100 %",
}

_WORTH_ACQUITTING = 0.40
_CUT = "price windows are cut here: a feature that would look across it is NaN"
_NOT_CUT = "reported only: it takes hindsight to see it, so price windows are not cut"
_KEPT = "kept: judged a genuine move"


def audit(tables: Mapping[str, pd.DataFrame], benchmark: str, declared_prices: str = "adjusted") -> pd.DataFrame:
    """Run every check that the tables allow.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Whole tables by name, on the contracts of `tables`; any may be missing or empty.
    benchmark : str
        The symbol whose prices every feature of the market needs.
    declared_prices : str
        ``adjusted``, or ``raw`` where recorded splits are still to be applied.

    Returns
    -------
    DataFrame
        kind, symbol, date, evidence, action, group; in the order of `KINDS`, then of symbol and date.
    """
    there = {name: table for name, table in tables.items() if len(table)}
    bars, announced = there.get("ohlcv"), there.get("earnings")
    actions, universe = there.get("corporate_actions"), there.get("universe")
    found: list[Finding] = []
    if bars is not None:
        grid = bar_grid(bars)
        found += prices.off_session_bars(bars)
        if len(grid.sessions):
            found += _of_bars(grid, benchmark, actions, declared_prices)
            found += level_shifts(grid, announced, actions, declared_prices)
            found += coverage.announcements_without_price(grid, announced) if announced is not None else []
    if announced is not None:
        found += announcements.missing_quarters(announced)
        found += announcements.duplicates(announced)
        found += announcements.untrustworthy_surprises(announced)
        found += announcements.share_basis_changes(announced, actions)
    if universe is not None:
        universe = each_company(universe)
        found += coverage.missing_sectors(universe)
        found += earnings.basis_mismatches(announced, universe) if announced is not None else []
    frame = to_frame(found)
    order = frame["kind"].map({kind: place for place, kind in enumerate(KINDS)})
    return (
        frame.assign(order=order)
        .sort_values(["order", "symbol", "date"], kind="stable", ignore_index=True)
        .drop(columns="order")
    )


def level_shifts(
    grid: BarGrid,
    announced: pd.DataFrame | None = None,
    actions: pd.DataFrame | None = None,
    declared_prices: str = "adjusted",
) -> list[Finding]:
    """Find false level shifts, and the genuine moves of 40 % or more that were acquitted."""
    if declared_prices == "raw" and actions is not None:
        grid = grid.on_one_basis(actions)
    judged = judged_moves(grid, announced, actions)
    told = judged[judged["false_shift"] | (judged["move"].abs() >= _WORTH_ACQUITTING)]
    columns = (told[name].tolist() for name in ("symbol", "date", "evidence", "false_shift", "seen_at_once"))
    return [
        Finding("level_shift", symbol, date, evidence, _CUT if seen else _NOT_CUT)
        if false_shift
        else Finding("genuine_move", symbol, date, evidence, _KEPT)
        for symbol, date, evidence, false_shift, seen in zip(*columns, strict=True)
    ]


def to_json(findings: pd.DataFrame) -> str:
    """Return findings as a JSON list of objects; dates are ISO days, and what is missing is null."""
    listed: list[dict[str, Any]] = [
        {
            name: (None if pd.isna(value) else f"{value:%Y-%m-%d}" if name == "date" else value)
            for name, value in zip(COLUMNS, row, strict=True)
        }
        for row in findings[COLUMNS].itertuples(index=False)
    ]
    return json.dumps(listed, indent=1, ensure_ascii=False)


def _of_bars(grid: BarGrid, benchmark: str, actions: pd.DataFrame | None, declared_prices: str) -> list[Finding]:
    return [
        *prices.dead_prices(grid),
        *prices.inconsistent_bars(grid),
        *prices.missing_sessions(grid),
        *(prices.split_basis(grid, actions, declared_prices) if actions is not None else []),
        *coverage.stopped_prices(grid),
        *coverage.benchmark_gaps(grid, benchmark),
        *coverage.missing_columns(grid),
    ]
