"""The audit on the real tapes: judged against public corporate history, and against shifts planted in real series."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_shifts import PLANTS, found, rows_of, without_volume

from earlysignal_core.audit.findings import audit
from earlysignal_core.audit.grid import bar_grid
from earlysignal_core.audit.level_shifts import is_level_shift, large_moves, price_breaks

# Answer file, from public corporate history: spin-offs and splits that the tape's prices show on these days although
# nobody gained or lost, and news that moved prices as far.
UNADJUSTED = {
    "A": ["2014-11-03"],
    "APH": ["2014-09-08"],
    "BAX": ["2015-07-01"],
    "DISCA": ["2014-08-07"],
    "DVA": ["2013-09-09", "2013-09-23"],
    "EBAY": ["2015-07-20"],
    "HPQ": ["2015-10-19", "2015-10-21", "2015-10-22", "2015-10-26", "2015-10-28", "2015-10-29", "2015-11-02"],
    "IR": ["2013-12-02", "2017-05-12"],
    "JEC": ["2017-02-15"],
    "MDLZ": ["2012-10-02"],
    "NI": ["2015-07-02"],
    "PPG": ["2013-10-17"],
    "TMK": ["2014-04-01"],
    "UAA": ["2014-04-15", "2016-04-08"],
    "YUM": ["2016-05-16"],
}
NEWS = {
    "AMD": ["2016-04-22"],
    "BBY": ["2014-01-16"],
    "CHK": ["2016-02-08", "2016-04-12"],
    "EXPE": ["2013-07-26"],
    "FL": ["2017-08-18"],
    "ILMN": ["2016-10-11"],
    "INCY": ["2013-08-21"],
    "NFLX": ["2013-01-24"],
    "PCG": ["2018-11-15", "2018-11-16"],
    "STZ": ["2013-02-14"],
    "UAA": ["2017-01-31"],
    "VRTX": ["2013-04-19", "2014-06-24"],
    "WMB": ["2016-01-14", "2016-02-08"],
    "WU": ["2012-10-31"],
}
RECENT_NEWS = {
    "BIIB": ["2020-11-04", "2020-11-09", "2021-06-07", "2022-09-28"],
    "CVNA": ["2022-12-07", "2023-06-08"],
    "EPAM": ["2022-02-28"],
    "GL": ["2024-04-11"],
    "META": ["2022-02-03", "2023-02-02"],
    "NFLX": ["2022-04-20"],
    "OXY": ["2020-03-09"],
    "TRGP": ["2020-03-09"],
}


def tables_of(tape: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in sorted(tape.glob("*.parquet"))}


def days_of(answers: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(symbol, day) for symbol, days in answers.items() for day in days}


def shifts_of(findings: pd.DataFrame) -> set[tuple[str, str]]:
    rows = findings[findings["kind"] == "level_shift"]
    return set(zip(rows["symbol"], rows["date"].dt.strftime("%Y-%m-%d"), strict=True))


def flagged(grid) -> set[tuple[str, str]]:
    moves = large_moves(grid.close, open_=grid.open, high=grid.high, low=grid.low, volume=grid.volume)
    false = is_level_shift(moves)
    days = grid.sessions[moves.session[false]].strftime("%Y-%m-%d")
    return set(zip(grid.symbols[moves.symbol[false]], days, strict=True))


@pytest.fixture(scope="module")
def long_tape(sp500):
    return tables_of(sp500)


@pytest.fixture(scope="module")
def recent_tape(sp500_recent):
    return tables_of(sp500_recent)


@pytest.fixture(scope="module")
def long_grid(long_tape):
    return bar_grid(long_tape["ohlcv"])


@pytest.fixture(scope="module")
def findings(long_tape):
    started = time.process_time()
    result = audit(long_tape, "^GSPC")
    assert time.process_time() - started < 15
    return result


@pytest.fixture(scope="module")
def recent_findings(recent_tape):
    return audit(recent_tape, "SPY")


def test_known_false_shifts_are_found_at_once_and_with_hindsight(long_grid, findings):
    known = days_of(UNADJUSTED)
    assert known <= shifts_of(findings)
    assert known <= flagged(long_grid)


def test_known_news_is_acquitted(long_grid, findings):
    news = days_of(NEWS)
    assert not news & shifts_of(findings)
    assert not news & flagged(long_grid)
    acquitted = findings[findings["kind"] == "genuine_move"]
    assert {"AMD", "NFLX", "VRTX"} <= set(acquitted["symbol"])


def test_few_of_the_large_moves_are_flagged(long_grid, findings):
    """Of more than a thousand moves over a tenth, some forty are false: more would be crying wolf."""
    assert 40 <= len(shifts_of(findings)) <= 50
    assert len(flagged(long_grid)) <= 46


def test_a_crash_and_news_on_a_tape_without_much_volume(recent_tape, recent_findings):
    """The recent tape holds March 2020 and 178 close-only series; its one shift is a special dividend of 12 dollars."""
    grid = bar_grid(recent_tape["ohlcv"])
    assert shifts_of(recent_findings) == {("GEN", "2020-02-03")}
    assert flagged(grid) == {("GEN", "2020-02-03")}
    assert not days_of(RECENT_NEWS) & flagged(grid)
    dividend = recent_findings[recent_findings["kind"] == "level_shift"]["evidence"].iloc[0]
    assert "a dividend of 12 is recorded that day" in dividend


@pytest.mark.parametrize("volume", [True, False], ids=["bars", "close only"])
def test_shifts_planted_in_clean_real_series(long_grid, volume):
    first_flags_only = price_breaks(
        long_grid.close, open_=long_grid.open, high=long_grid.high, low=long_grid.low, volume=long_grid.volume
    ).sum(axis=1)
    traded = np.nanmedian(np.nan_to_num(long_grid.volume), axis=1) > 0
    whole = long_grid.traded.mean(axis=1) > 0.95
    clean = rows_of(long_grid, (first_flags_only == 1) & whole & traded)
    clean = clean if volume else without_volume(clean)
    at_once, planted, elsewhere = 0, 0, 0
    for kind in ("split 2:1", "split 3:1", "reverse split 1:10", "flip to ½ and back", "reuse after 25 sessions"):
        result = found(PLANTS[kind](clean, np.random.default_rng(17)))
        assert min(result.recall_at_once, result.recall_hindsight) >= 0.95, kind
        at_once, planted = at_once + result.at_once, planted + result.planted
        elsewhere += result.elsewhere_at_once
    assert planted > 1500
    assert at_once / (at_once + elsewhere) > 0.98
    fifteen = found(PLANTS["spin-off -15%"](clean, np.random.default_rng(17)))
    assert fifteen.recall_at_once >= (0.6 if volume else 0), "honest: most of them with volume, none without"


def test_the_dirt_of_the_long_tape(findings):
    count = findings["kind"].value_counts()
    assert count["zero_estimate"] == 12
    assert 30 <= count["inconsistent_bar"] <= 40
    sector = findings[(findings["kind"] == "basis_mismatch") & findings["symbol"].isna()]
    assert list(sector["group"]) == ["Real Estate"]
    assert count["missing_sector"] == 74
    stopped = findings[(findings["kind"] == "prices_stop") & (findings["date"] == "2017-08-11")]
    assert len(stopped) >= 41
    assert "XLE" in findings[findings["evidence"].str.startswith("volume is missing")]["evidence"].iloc[0]
    assert {"SCG", "COL"} <= set(findings[findings["kind"] == "dead_price"]["symbol"])


def test_the_dirt_of_the_recent_tape(recent_findings):
    season = recent_findings[recent_findings["kind"] == "missing_season"]["evidence"].iloc[0]
    assert "(Q4 in" in season
    basis = recent_findings[recent_findings["kind"] == "share_basis"].set_index("symbol")
    assert {"NVDA", "WMT", "CPRT"} <= set(basis.index)
    assert "restated" in basis.loc["NVDA", "evidence"]
    twins = recent_findings[recent_findings["kind"] == "same_announcement"]
    assert list(twins["symbol"]) == ["GOOGL"]
    sector = recent_findings[(recent_findings["kind"] == "basis_mismatch") & recent_findings["symbol"].isna()]
    assert list(sector["group"]) == ["Real Estate"]


def test_declared_adjusted_prices_are_adjusted(sp500_recent, recent_findings):
    assert json.loads((sp500_recent / "tape.json").read_text()).get("prices", "adjusted") == "adjusted"
    assert "split_basis" not in set(recent_findings["kind"])
