"""The audit finds each kind of dirt where it was put, says what was done about it, and stays silent on clean tables."""

import json

import numpy as np
import pandas as pd
import pytest
from knowable import companies
from planted_shifts import random_walks, scaled

from earlysignal_core.audit.findings import KINDS, audit, to_json
from earlysignal_core.audit.grid import bar_grid

BENCHMARK = "S000"
PRICES = ["open", "high", "low", "close"]


def long_table(grid):
    """Lay a grid out as the rows of table `ohlcv`."""
    row, column = np.nonzero(grid.traded)
    columns = {name: getattr(grid, name)[row, column] for name in (*PRICES, "volume")}
    return pd.DataFrame({"symbol": grid.symbols[row].astype("str"), "session": grid.sessions[column], **columns})


@pytest.fixture
def bars():
    grid = random_walks(symbols=40, length=160, seed=9)
    return long_table(grid).assign(session=lambda rows: pd.to_datetime(rows["session"]))


@pytest.fixture
def earnings(bars):
    """Two years of quarters for each company, estimates that wander, actuals close by."""
    random = np.random.default_rng(4)
    symbols = sorted(set(bars["symbol"]) - {BENCHMARK})
    first = bars["session"].min() + pd.Timedelta(days=20)
    rows = [
        {"symbol": symbol, "announced_on": first + pd.Timedelta(days=91 * q + number % 17), "quarter": q}
        for number, symbol in enumerate(symbols)
        for q in range(2)
    ]
    table = pd.DataFrame(rows)
    table["session"] = "amc"
    table["fiscal_period"] = "Q" + (table["quarter"] + 1).astype("str") + " 2010"
    table["eps_estimate"] = np.round(random.uniform(0.5, 3, len(table)), 2)
    table["eps_actual"] = np.round(table["eps_estimate"] * random.uniform(0.95, 1.1, len(table)), 2)
    return table.drop(columns="quarter").astype({"session": "str", "fiscal_period": "str"})


def kinds(findings):
    return set(findings["kind"])


def only(findings, kind):
    rows = findings[findings["kind"] == kind]
    assert len(rows) == 1, findings[["kind", "symbol", "evidence"]]
    return rows.iloc[0]


def test_clean_tables_have_no_findings(bars, earnings):
    findings = audit({"ohlcv": bars, "earnings": earnings}, BENCHMARK)
    assert kinds(findings) <= {"genuine_move"}


@pytest.mark.parametrize("tables", [{}, {"ohlcv": pd.DataFrame(columns=["symbol", "session", *PRICES, "volume"])}])
def test_missing_and_empty_tables(tables):
    assert audit(tables, BENCHMARK).empty
    assert to_json(audit(tables, BENCHMARK)) == "[]"


def test_the_order_of_rows_does_not_matter(bars, earnings):
    bars.loc[bars["symbol"] == "S003", "volume"] = 0.0
    expected = audit({"ohlcv": bars, "earnings": earnings}, BENCHMARK)
    shuffled = {
        "ohlcv": bars.sample(frac=1, random_state=1),
        "earnings": earnings.sample(frac=1, random_state=2),
    }
    pd.testing.assert_frame_equal(audit(shuffled, BENCHMARK), expected)


def test_a_level_shift_says_that_windows_are_cut(bars):
    grid = bar_grid(bars)
    before = (grid.symbols == "S005")[:, None] & (np.arange(len(grid.sessions)) < 100)
    findings = audit({"ohlcv": long_table(scaled(grid, before, 2.0))}, BENCHMARK)
    shift = only(findings, "level_shift")
    assert (shift["symbol"], shift["date"]) == ("S005", grid.sessions[100])
    assert "price windows are cut here" in shift["action"]
    assert "usual volume" in shift["evidence"]


def test_a_shift_that_only_hindsight_sees_says_that_windows_are_not_cut(bars):
    """A fall that nobody traded, on a day of wild prices: too ambiguous at the session itself."""
    grid = bar_grid(bars)
    row = int(grid.symbols.get_loc("S005"))
    scale = 1.4826 * np.nanmedian(np.abs(np.diff(np.log(grid.close[row, 40:100]))))
    before = (grid.symbols == "S005")[:, None] & (np.arange(len(grid.sessions)) < 100)
    fall = float(np.exp(max(0.24, 14 * scale)))
    shifted = scaled(grid, before, fall)
    usual = np.median(np.log(grid.high[row, 40:100] / grid.low[row, 40:100]))
    shifted.high[row, 100] = shifted.open[row, 100] * np.exp(15 * usual)
    shifted.low[row, 100] = shifted.open[row, 100] * np.exp(-15 * usual)
    shifted.volume[row, 100] = 1.8 * fall * np.median(shifted.volume[row, 40:100])
    shift = only(audit({"ohlcv": long_table(shifted)}, BENCHMARK), "level_shift")
    assert shift["action"].startswith("reported only")
    assert "hardly anyone traded" in shift["evidence"]


def test_a_recorded_special_dividend_explains_a_fall(bars):
    grid = bar_grid(bars)
    row, day = int(grid.symbols.get_loc("S006")), grid.sessions[120]
    before = (grid.symbols == "S006")[:, None] & (np.arange(len(grid.sessions)) < 120)
    bars = long_table(scaled(grid, before, 1.25)).assign(volume=np.nan, open=np.nan, high=np.nan, low=np.nan)
    paid = 0.25 * grid.close[row, 119]
    actions = pd.DataFrame({"symbol": ["S006"], "session": [day], "kind": ["dividend"], "value": [paid]})
    assert "level_shift" not in kinds(audit({"ohlcv": bars}, BENCHMARK))
    shift = only(audit({"ohlcv": bars, "corporate_actions": actions}, BENCHMARK), "level_shift")
    assert "a dividend of" in shift["evidence"]


def split_of(symbol, day, ratio):
    return pd.DataFrame({"symbol": [symbol], "session": [day], "kind": ["split"], "value": [ratio]})


def test_split_basis_is_compared_with_what_the_tape_declares(bars):
    grid = bar_grid(bars)
    before = (grid.symbols == "S007")[:, None] & (np.arange(len(grid.sessions)) < 90)
    raw = long_table(scaled(grid, before, 4.0, shares=True))
    actions = split_of("S007", grid.sessions[90], 4.0)

    shown = audit({"ohlcv": raw, "corporate_actions": actions}, BENCHMARK)
    assert only(shown, "split_basis")["evidence"].endswith("prices are raw here, the tape declares them adjusted")
    assert only(shown, "level_shift")["symbol"] == "S007"

    declared = audit({"ohlcv": raw, "corporate_actions": actions}, BENCHMARK, "raw")
    assert not {"split_basis", "level_shift"} & kinds(declared), "the splits of a raw tape are applied first"

    hidden = audit({"ohlcv": bars, "corporate_actions": actions}, BENCHMARK, "raw")
    assert "adjusted here, the tape declares them raw" in only(hidden, "split_basis")["evidence"]


def test_dead_prices(bars):
    dead = (bars["symbol"] == "S008") & (bars["session"] >= bars["session"].unique()[140])
    bars.loc[dead, PRICES] = 20.0
    bars.loc[dead, "volume"] = 0.0
    still = (bars["symbol"] == "S009") & (bars["session"].isin(bars["session"].unique()[30:45]))
    bars.loc[still, PRICES] = bars.loc[still, "close"].iloc[0]
    findings = audit({"ohlcv": bars}, BENCHMARK)
    found = findings[findings["kind"] == "dead_price"].set_index("symbol")
    assert list(found.index) == ["S008", "S009"]
    assert found.loc["S008", "evidence"].startswith("20 of 160 bars are dead")
    assert "20 have volume 0" in found.loc["S008", "evidence"]
    assert found.loc["S009", "date"] == bars["session"].unique()[30]
    assert "15 more stand in runs" in found.loc["S009", "evidence"]


def test_inconsistent_bars_beyond_rounding(bars):
    at = bars.index[(bars["symbol"] == "S010")][[50, 60, 70]]
    bars.loc[at[0], "high"] = bars.loc[at[0], "low"] * 0.99
    bars.loc[at[1], "close"] = bars.loc[at[1], "high"] * 1.02
    bars.loc[at[2], "close"] = bars.loc[at[2], "high"] * (1 + 1e-7)
    findings = audit({"ohlcv": bars}, BENCHMARK)
    rows = findings[findings["kind"] == "inconsistent_bar"]
    assert list(rows["date"]) == list(bars.loc[at[:2], "session"])
    assert rows["evidence"].iloc[0].startswith("high below low")
    assert rows["evidence"].iloc[1].startswith("close outside")


def test_bars_on_days_without_trading_and_holes(bars):
    days = bars["session"].unique()
    stray = bars[(bars["symbol"] == "S011") & (bars["session"] == days[20])].assign(session=pd.Timestamp("2009-12-25"))
    hole = (bars["symbol"] == "S012") & bars["session"].isin(days[60:67])
    findings = audit({"ohlcv": pd.concat([bars[~hole], stray])}, BENCHMARK)
    off = only(findings, "off_session_bar")
    assert (off["symbol"], off["date"]) == ("S011", pd.Timestamp("2009-12-25"))
    missing = only(findings, "missing_sessions")
    assert (missing["symbol"], missing["date"]) == ("S012", days[67])
    assert missing["evidence"].startswith("7 sessions without a bar")


def test_prices_that_stop_and_announcements_without_a_price(bars, earnings):
    days = bars["session"].unique()
    late = (bars["symbol"] == "S013") & (bars["session"] < days[40])
    early = (bars["symbol"] == "S014") & (bars["session"] > days[50])
    tables = {"ohlcv": bars[~late & ~early & (bars["symbol"] != "S015")], "earnings": earnings}
    findings = audit(tables, BENCHMARK)
    stop = only(findings, "prices_stop")
    assert (stop["symbol"], stop["date"]) == ("S014", days[50])
    reasons = findings[findings["kind"] == "no_price_at_as_of"].set_index("symbol")["evidence"]
    assert reasons["S013"].endswith("before the first price")
    assert reasons["S014"].endswith("after the last price")
    assert reasons["S015"].endswith("the symbol has no prices")
    assert set(reasons.index) == {"S013", "S014", "S015"}


def test_the_price_must_be_there_a_week_before_the_announcement(bars, earnings):
    first = earnings.groupby("symbol")["announced_on"].min() - pd.Timedelta(days=7)
    symbol = first[first.isin(bars["session"])].index[0]
    for begin, missing in ((first[symbol], False), (first[symbol] + pd.Timedelta(days=1), True)):
        traded = bars[(bars["symbol"] != symbol) | (bars["session"] >= begin)]
        findings = audit({"ohlcv": traded, "earnings": earnings}, BENCHMARK)
        assert (symbol in set(findings[findings["kind"] == "no_price_at_as_of"]["symbol"])) is missing


def test_the_benchmark_and_missing_columns(bars):
    days = bars["session"].unique()
    bars.loc[bars["symbol"] == "S016", "volume"] = np.nan
    gap = (bars["symbol"] == BENCHMARK) & (bars["session"] == days[30])
    findings = audit({"ohlcv": bars[~gap]}, BENCHMARK)
    assert only(findings, "benchmark_gap")["date"] == days[30]
    missing = only(findings, "missing_column")
    assert missing["group"] == "ohlcv"
    assert missing["evidence"] == "volume is missing throughout for 1 symbols (S016)"
    assert "no bar on 160 of 160" in only(audit({"ohlcv": bars}, "^NONE"), "benchmark_gap")["evidence"]


def test_json_is_a_list_of_findings_with_iso_days_and_nulls(bars):
    universe = companies(S001=None)
    bars.loc[bars.index[5], "high"] = 0.01
    findings = audit({"ohlcv": bars, "universe": universe}, BENCHMARK)
    listed = json.loads(to_json(findings))
    assert len(listed) == len(findings)
    assert {tuple(finding) for finding in listed} == {("kind", "symbol", "date", "evidence", "action", "group")}
    bar, sector = (next(f for f in listed if f["kind"] == kind) for kind in ("inconsistent_bar", "missing_sector"))
    assert bar["date"] == f"{bars['session'].iloc[5]:%Y-%m-%d}"
    assert (sector["symbol"], sector["date"], sector["group"]) == ("S001", None, "universe")
    assert {finding["kind"] for finding in listed} <= set(KINDS)
