"""The live source by what it answers, what it asks, and what it does when a provider fails."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from stand_ins import fmp as fmp_stand_in
from stand_ins.eodhd import KEY
from stand_ins.sec import filing, form13f
from stand_ins.server import as_json
from stand_ins.world import World

from earlysignal_core.errors import SourceError
from earlysignal_core.features.examples import examples
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import collect, collect_universe
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import LiveSettings, Settings, SettingsError, SyntheticSettings
from earlysignal_core.sources import open_source
from earlysignal_core.sources.live import bls, edgar, eodhd, fmp, fmp_rows, fred
from earlysignal_core.sources.live.clock import WallClock
from earlysignal_core.sources.live.errors import IncompleteError, LiveSettingsError
from earlysignal_core.sources.live.limits import LocalLimits, PostgresLimits
from earlysignal_core.sources.live.source import LiveSource
from earlysignal_core.sources.source import Tally
from earlysignal_core.tables import CACHES, UNIVERSE
from earlysignal_core.validation import no_rows

Q = Quarter.parse
LAST, NOW = Q("2023-Q4"), Q("2024-Q1")
APRIL = pd.Timestamp("2024-04-24")


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as started:
        yield started


def read_all(source):
    return {
        (table, str(quarter)): source.read(table, quarter)
        for quarter in source.description.quarters
        for table in source.description.tables
        if table != UNIVERSE
    }


def test_every_table_has_rows(world):
    source = world.source(eodhd_key=KEY)
    described = source.description
    assert (described.first, described.last, described.prices) == ("2023-Q4", "2024-Q1", "raw")
    tables = read_all(source)
    now = {table: rows for (table, quarter), rows in tables.items() if quarter == "2024-Q1"}
    of_a_company = {name: rows[rows["symbol"] == "BRK.B"] for name, rows in now.items() if "symbol" in rows}
    assert {name: len(rows) for name, rows in of_a_company.items()} == {
        "earnings": 1,
        "earnings_calendar": 1,
        "earnings_estimates": 1,
        "ohlcv": 41,
        "corporate_actions": 1,
        "income_statements": 0,
        "analyst_ratings": 1,
        "price_targets": 1,
        "sec_filings": 2,
        "options": 2,
    }
    assert set(now["ohlcv"]["symbol"]) == {"A", "B", "BRK.B", "SPY", "XLK"}
    assert tables["income_statements", "2023-Q4"]["period_end"].max() == pd.Timestamp("2023-12-31")
    assert tables["macro", "2023-Q4"]["series"].unique().tolist() == ["DGS10", "UNRATE"]
    for (table, _), rows in tables.items():
        end_of_today = pd.Timestamp("2024-03-02 04:59:59", tz="UTC")
        assert (rows["available_at"] <= (end_of_today if table == "macro" else world.clock.now())).all(), table
    assert [gap for key in tables for gap in source.gaps(key[0], Q(key[1]))] == []
    assert source.universe()["sector_etf"].tolist() == ["XLK"] * 3


def test_the_first_quarter_holds_the_past(world):
    rows = world.source().read("income_statements", LAST)
    assert rows["period_end"].min() == pd.Timestamp("2022-06-30")


def test_it_fills_the_caches_like_any_source(world, tmp_path):
    source, lake = world.source(), Lake(str(tmp_path / "lake"))
    collect_universe(source, lake)
    for cache in CACHES:
        if cache != UNIVERSE:
            collect(source, lake, cache, source.description.quarters)
    earnings, calendar = lake.read("earnings", [NOW]), lake.read("earnings_calendar", [LAST, NOW])
    made = examples(earnings, calendar, lake.read(UNIVERSE))
    assert made["symbol"].tolist() == ["A", "B", "BRK.B"]
    assert set(made["scheduled_on"]) == {pd.Timestamp("2024-01-24")}, "assumed: we were not there"


def test_a_second_look_asks_for_nothing(world):
    first = read_all(world.source())
    asked = len(world.asked)
    again = world.source()
    second = read_all(again)
    assert len(world.asked) == asked
    tally = sum((again.tally(table, Q(quarter)) for table, quarter in second), Tally())
    assert (tally.asked, tally.hit_rate) == (0, 1)
    assert tally.kept > 20
    for key, rows in first.items():
        pd.testing.assert_frame_equal(rows, second[key])


def test_a_month_later_it_asks_only_for_what_can_have_changed(world):
    read_all(world.source())
    cold = len(world.asked)
    world.clock.advance(days=31)
    read_all(world.source())
    warm = world.asked[cold:]
    assert len(warm) < 0.75 * cold, "three companies and one quarter of history: with more it is less"
    windows = {asked.params["from"][:4] for asked in warm if asked.path.endswith("non-split-adjusted")}
    assert windows == {"2024"}, "years that are over are not asked for again"
    filings = [asked.path for asked in warm if asked.path.endswith(".txt")]
    assert filings == []
    statements = [asked for asked in warm if asked.path.endswith("income-statement")]
    assert statements == [], "nobody has announced since"


def test_quarters_may_be_read_in_any_order(world):
    forwards, backwards = world.source(), world.source()
    expected = [forwards.read("sec_filings", quarter) for quarter in (LAST, NOW)]
    found = [backwards.read("sec_filings", quarter) for quarter in (NOW, LAST)]
    assert all(len(rows) for rows in expected)
    for rows, others in zip(expected, found[::-1], strict=True):
        pd.testing.assert_frame_equal(rows, others)


def test_a_statement_is_asked_for_until_it_is_there(world):
    table = world.fmp.tables["income-statement"]
    missing = [row for row in table if row["date"] == "2023-12-31"]
    table[:] = [row for row in table if row["date"] != "2023-12-31"]
    before = len(world.source().read("income_statements", LAST))
    world.clock.advance(days=1)
    table += missing
    assert len(world.source().read("income_statements", LAST)) == before + 3
    asked = len(world.fmp.asked)
    world.clock.advance(days=1)
    world.source().read("income_statements", LAST)
    assert [path for path in world.fmp.paths[asked:] if path.endswith("income-statement")] == []


# Snapshots


def test_the_schedule_is_known_from_the_day_on_which_we_saw_it(world):
    begin = world.clock.now()
    world.source().read("earnings_calendar", NOW)
    world.clock.advance(days=3)
    world.source().read("earnings_calendar", NOW)
    world.clock.advance(days=1)
    world.schedule("2024-04-26", symbols=["A"])
    moved_at = world.clock.now()
    rows = world.source().read("earnings_calendar", NOW)
    coming = rows[rows["fiscal_period"] == "24-Mar"]
    of_a, of_b = (coming[coming["symbol"] == symbol] for symbol in ("A", "B"))
    assert of_a["expected_on"].tolist() == [APRIL, pd.Timestamp("2024-04-26")]
    assert begin < of_a["available_at"].iloc[0] < begin + pd.Timedelta(hours=1)
    assert of_a["available_at"].iloc[1] > moved_at
    assert of_b["expected_on"].tolist() == [APRIL], "what says nothing new is no row"


def test_each_day_adds_its_consensus_and_none_is_lost(world):
    world.source().read("earnings_estimates", NOW)
    world.clock.advance(days=20)  # 34 days ahead: the range comes with it
    world.schedule("2024-04-24", estimate=1.3)
    rows = world.source().read("earnings_estimates", NOW)
    of_a = rows[(rows["symbol"] == "A") & (rows["fiscal_period"] == "24-Mar")]
    assert of_a["snapshot_on"].tolist() == [pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-21")]
    assert of_a["eps_estimate"].tolist() == [1.2, 1.3]
    assert np.isnan(of_a["analysts"].iloc[0])
    assert of_a[["eps_high", "eps_low", "analysts"]].iloc[1].tolist() == [1.4, 1.0, 9]
    after = rows[(rows["symbol"] == "A") & (rows["fiscal_period"] == "24-Jun")]
    assert after["eps_estimate"].tolist() == [1.2], "and the quarter after"
    world.clock.advance(days=30)
    again = world.source().read("earnings_estimates", NOW)
    pd.testing.assert_frame_equal(again, rows)


def test_estimates_are_of_the_calendars_periods_whatever_both_call_them(world):
    world.clock.advance(days=20)
    coming = [row for row in world.fmp.tables["earnings-calendar"] if row["epsActual"] is None]
    for row in coming:
        del row["periodEnding"]
        row |= {"fiscalPeriod": "Q2", "fiscalYear": "2024"}  # its year begins in October
    rows = world.source().read("earnings_estimates", NOW)
    of_a = rows[rows["symbol"] == "A"].set_index("fiscal_period")
    assert of_a["eps_high"].to_dict() == {"Q2 2024": 1.4, "Q3 2024": 1.4}
    assert of_a["analysts"].to_dict() == {"Q2 2024": 9, "Q3 2024": 8}


def test_a_snapshot_that_halves_is_refused_and_the_last_stays(world):
    before = world.source().read("earnings_calendar", NOW)
    world.clock.advance(days=1)
    table = world.fmp.tables["earnings-calendar"]
    table[:] = [row for row in table if row["epsActual"] is not None]
    source = world.source()
    pd.testing.assert_frame_equal(source.read("earnings_calendar", NOW), before)
    (gap,) = source.gaps("earnings_calendar", NOW)
    assert "0 of the 3 companies whose announcements were to come in the snapshot before" in gap.why


def test_when_a_season_is_over_the_few_that_are_left_are_a_snapshot_too(world):
    world.clock.advance(days=50)  # to 20 April: all are due
    world.schedule("2024-04-24")
    assert set(world.source().read("earnings_estimates", Q("2024-Q2"))["symbol"]) == {"A", "B", "BRK.B"}
    world.pass_time(5)
    world.schedule("2024-05-20", symbols=["B"])
    world.fmp.tables["earnings-calendar"][-1]["periodEnding"] = "2024-04-30"
    source = world.source()
    rows = source.read("earnings_estimates", Q("2024-Q2"))
    assert rows.loc[rows["snapshot_on"] == rows["snapshot_on"].max(), "symbol"].unique().tolist() == ["B"]
    assert source.gaps("earnings_estimates", Q("2024-Q2")) == []


def test_a_shorter_list_of_companies_is_no_shorter_schedule(world):
    world.source().read("earnings_calendar", NOW)
    world.clock.advance(days=1)
    world.companies.write_text("symbol\nA\n")
    source = world.source()
    source.read("earnings_calendar", NOW)
    assert source.gaps("earnings_calendar", NOW) == []


def test_of_a_company_that_came_later_the_dates_before_are_assumed(world):
    world.companies.write_text("symbol\nA\n")
    world.source().read("earnings_calendar", NOW)
    world.pass_time(70)  # to 10 May: all announced on 24 April
    world.companies.write_text("symbol\nA\nB\n")
    source, second = world.source(), Q("2024-Q2")
    every = pd.concat([source.read("earnings_calendar", quarter) for quarter in (LAST, NOW, second)])
    known = every[every["expected_on"] == APRIL].groupby("symbol")["available_at"].first().dt.strftime("%m-%d")
    assert known["B"] == "03-28", "28 days ahead"
    assert known["A"] == "03-01", "as it was seen"


def test_a_snapshot_that_could_not_be_read_is_made_up_for_by_a_corrected_parser(world, monkeypatch):
    world.source().read("earnings_estimates", NOW)
    for day in range(3):
        world.clock.advance(days=1)
        for row in world.fmp.tables["earnings-calendar"]:
            row["consensus"] = row.pop("epsEstimated", row.get("consensus"))
            row["lastUpdated"] = str(day)
        world.source().read("earnings_estimates", NOW)

    def days_of_snapshots():
        rows = world.source(offline=True).read("earnings_estimates", NOW)
        return sorted(rows["snapshot_on"].dt.strftime("%m-%d").unique())

    assert days_of_snapshots() == ["03-01"]
    real = fmp_rows.announcement

    def corrected(record):
        record._values.setdefault("epsEstimated", record._values.get("consensus"))
        return real(record)

    monkeypatch.setattr(fmp_rows, "announcement", corrected)
    assert days_of_snapshots() == ["03-01", "03-02", "03-03"], "but for the day on which the clock stands"


def test_where_the_provider_is_down_an_older_snapshot_keeps_its_own_day(world):
    before = world.source().read("earnings_estimates", NOW)
    world.clock.advance(days=1)
    world.fmp.answer = lambda asked: as_json({}, 500)
    source = world.source()
    pd.testing.assert_frame_equal(source.read("earnings_estimates", NOW), before)
    assert {gap.served.day for gap in source.gaps("earnings_estimates", NOW) if gap.served} == {1}


def test_dates_from_before_our_first_snapshot_are_assumed_and_reported(world):
    source = world.source()
    rows = source.read("earnings_calendar", LAST)
    of_a = rows[rows["symbol"] == "A"]
    assert of_a["expected_on"].tolist() == [pd.Timestamp("2024-01-24"), pd.Timestamp("2023-10-24")]
    known = of_a["available_at"].dt.tz_convert("America/New_York").dt.strftime("%m-%d").tolist()
    assert known == ["12-27", "09-26"], "the first quarter also holds what was known before it"
    assert any("assume_dates_known" in line and "28 days ahead" in line for line in source.description.assumptions)
    source.read("earnings_calendar", NOW)
    assert any("first snapshot on 2024-03-01" in line for line in world.source().description.assumptions)


# One share basis


@pytest.mark.parametrize(
    ("estimate", "actual", "split", "kept"),
    [
        (3.37, 0.40, 10, False),
        (0.34, 4.02, 10, False),
        (1.0, 0.55, 2, False),
        (3.37, 4.02, 10, True),
        (1.0, 0.7, 2, True),
        (1.0, -0.5, 2, True),
        (-3.0, -0.32, 10, False),
    ],
)
def test_an_estimate_on_the_other_side_of_a_split_is_left_out_with_the_reason(world, estimate, actual, split, kept):
    rows, reasons = announced_around_a_split(world, "2024-01-10", estimate, actual, split)
    assert np.isnan(rows.loc["A", "eps_estimate"]) == (not kept)
    assert rows.loc["A", "eps_actual"] == actual
    assert rows.loc["B", "eps_estimate"] == 1.0
    assert len(reasons) == (0 if kept else 1)
    assert all(f"both sides of a split of {split} for 1: the estimate is left out" in reason for reason in reasons)


def test_a_split_that_came_later_changes_nothing_and_is_told(world):
    rows, (reason,) = announced_around_a_split(world, "2024-02-20", 3.37, 0.40, 10)
    assert rows.loc["A", "eps_estimate"] == 3.37, "nobody knew of it then"
    assert "it came later, so both stay as they are" in reason


def announced_around_a_split(world, day, estimate, actual, split):
    world.fmp.tables["splits-calendar"].append({"symbol": "A", "date": day, "numerator": split, "denominator": 1})
    row = next(r for r in world.fmp.tables["earnings-calendar"] if (r["symbol"], r["date"]) == ("A", "2024-01-24"))
    row |= {"epsEstimated": estimate, "epsActual": actual}
    source = world.source()
    rows = source.read("earnings", NOW).set_index("symbol")
    return rows, [gap.why for gap in source.gaps("earnings", NOW)]


# Failures


def fails_for(world, path, symbol, reply):
    real = world.fmp.answer

    def answer(asked):
        hit = asked.path.endswith(path) and asked.params.get("symbol") in symbol
        return reply if hit else real(asked)

    world.fmp.answer = answer


def test_one_company_that_fails_is_named_and_the_others_stay(world):
    fails_for(world, "grades", {"B"}, fmp_stand_in.PREMIUM)
    source = world.source(may_miss=0.4)
    assert set(source.read("analyst_ratings", NOW)["symbol"]) == {"A", "BRK.B"}
    (gap,) = source.gaps("analyst_ratings", NOW)
    assert (gap.table, gap.what, gap.provider, gap.served) == ("analyst_ratings", "B", "fmp", None)
    assert "not available under your current subscription" in gap.why


def test_too_many_that_fail_refuse_the_table_and_the_last_partition_stays(world, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    collect(world.source(), lake, "analyst_ratings", [NOW])
    before = lake.digest("analyst_ratings", NOW)
    world.companies.write_text("symbol\nA\nB\nC\nD\n")
    fails_for(world, "grades", {"C", "D"}, fmp_stand_in.PREMIUM)
    with pytest.raises(
        IncompleteError, match=r"2 of 4 are missing \(C, D; 2 NotInPlan.*fmp: /stable/grades symbol=C.*Remedy"
    ):
        collect(world.source(), lake, "analyst_ratings", [NOW])
    assert lake.digest("analyst_ratings", NOW) == before


def test_where_a_company_was_answered_before_the_older_answer_serves(world):
    before = world.source().read("analyst_ratings", NOW)
    world.clock.advance(days=1)
    fails_for(world, "grades", {"A", "B", "BRK-B"}, as_json({}, 500))
    source = world.source()
    pd.testing.assert_frame_equal(source.read("analyst_ratings", NOW), before)
    assert [gap.served.day for gap in source.gaps("analyst_ratings", NOW)] == [1, 1, 1]


def test_an_endpoint_that_the_plan_lacks_is_not_asked_for_every_company(world, tmp_path):
    world.companies.write_text("symbol\n" + "\n".join(f"S{n}" for n in range(100)))
    fails_for(world, "grades", {f"S{n}" for n in range(100)}, fmp_stand_in.RESTRICTED)
    with pytest.raises(IncompleteError, match=r"100 of 100 are missing \(S0, .*, S99; .*11 NotInPlanError"):
        world.source().read("analyst_ratings", NOW)
    assert len([path for path in world.fmp.paths if path.endswith("grades")]) <= 12


def test_a_key_that_is_revoked_half_way_stops_at_once_and_a_new_one_goes_on(world):
    symbols = [f"S{n}" for n in range(40)]
    world.companies.write_text("symbol\n" + "\n".join(symbols))
    real, answered = world.fmp.answer, []

    def revoked_after_fifteen(asked):
        answered.append(asked)
        return fmp_stand_in.BAD_KEY if len(answered) > 15 else real(asked)

    world.fmp.answer = revoked_after_fifteen
    with pytest.raises(IncompleteError, match=r"25 of 40 are missing .*Invalid API KEY.*set a valid key") as stopped:
        world.source().read("analyst_ratings", NOW)
    assert fmp_stand_in.KEY not in str(stopped.value)
    assert len(world.fmp.asked) <= 17, "not once for each of the others"
    world.fmp.answer, before = real, len(world.fmp.asked)
    world.source().read("analyst_ratings", NOW)
    again = [asked.params["symbol"] for asked in world.fmp.asked[before:]]
    assert len(again) == len(set(again)) == 25
    assert not {asked.params["symbol"] for asked in answered[:15]} & set(again)


def test_fewer_bars_than_before_are_refused_with_the_figures(world):
    before = world.source().read("ohlcv", NOW)
    world.clock.advance(days=1)
    table = world.fmp.tables["historical-price-eod/non-split-adjusted"]
    table[:] = [row for row in table if row["symbol"] != "A" or row["date"] > "2024-02-20"]
    source = world.source()
    rows = source.read("ohlcv", NOW)
    (gap,) = source.gaps("ohlcv", NOW)
    assert "8 row(s) where there were 41 before" in gap.why
    assert "symbol=A" in gap.what
    assert len(rows) == len(before) + 4, "the others have one more"


def test_a_renamed_field_leaves_what_was_there(world):
    before = world.source().read("analyst_ratings", NOW)
    world.clock.advance(days=1)
    world.fmp.tables["grades"] = [
        {("when" if name == "date" else name): value for name, value in row.items()}
        for row in world.fmp.tables["grades"]
    ]
    source = world.source()
    pd.testing.assert_frame_equal(source.read("analyst_ratings", NOW), before)
    assert all("no field `date`, only" in gap.why for gap in source.gaps("analyst_ratings", NOW))


def test_what_is_kept_replays_without_the_network(world):
    online = read_all(world.source())
    asked = len(world.asked)
    offline = read_all(world.source(offline=True))
    assert len(world.asked) == asked
    for key, rows in online.items():
        pd.testing.assert_frame_equal(rows, offline[key])


@pytest.mark.parametrize("days", [1, 45, 120])
def test_and_at_any_later_time(world, days):
    online = read_all(world.source(eodhd_key=KEY))
    world.clock.advance(days=days)
    offline = read_all(world.source(eodhd_key=KEY, offline=True))
    assert online.keys() == offline.keys()
    for key, rows in online.items():
        pd.testing.assert_frame_equal(rows, offline[key])


def test_a_session_whose_options_are_missing_costs_no_other(world):
    answer = world.eodhd.answer
    world.eodhd.answer = lambda asked: (
        as_json({}, 404) if asked.params["filter[tradetime_eq]"] == "2024-02-29" else answer(asked)
    )
    source = world.source(eodhd_key=KEY)
    assert source.read("options", NOW)["session"].unique().tolist() == [pd.Timestamp("2024-02-28")]
    assert {gap.what for gap in source.gaps("options", NOW)} == {f"{symbol} 2024-02-29" for symbol in world.symbols}


def test_a_partition_with_rows_does_not_lose_them_all(world, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    collect(world.source(), lake, "ohlcv", [NOW])
    held = lake.digest("ohlcv", NOW)
    emptied = world.source()
    emptied.read = lambda table, quarter: no_rows(table)
    with pytest.raises(SourceError, match=r"`ohlcv`, partition 2024-Q1: no row where there were \d+ before.*Remedy"):
        collect(emptied, lake, "ohlcv", [NOW])
    assert lake.digest("ohlcv", NOW) == held


def test_without_fred_the_series_that_the_bls_lacks_are_not_provided(world):
    settings = {"fred_key": None, "bls_key": "b" * 32, "series": ("UNRATE", "DGS10")}
    provided = world.source(**settings).description.provides
    assert [fact for fact in provided if fact.startswith("macro")] == ["macro:UNRATE"]


def test_managers_reports_are_holdings_of_the_companies(world):
    report = form13f("12-31-2023", ("037833100", 100, "SH", None))
    world.sec.filings[7] = [filing("7-24-1", "13F-HR", "2024-02-01 10:00", body=report)]
    cusips = world.home / "cusips.csv"
    cusips.write_text("cusip,symbol\n037833100,A\n")
    (row,) = world.source(managers=(7,), cusips=cusips).read("institutional_holdings", LAST).to_dict("records")
    assert (row["symbol"], row["shares_held"], row["holders"]) == ("A", 100, 1)


def test_processes_that_name_a_server_share_the_limits_there(world, ledger_url):
    settings = world.settings().model_copy(update={"database_url": SecretStr(ledger_url)})
    with closing(open_source(settings)) as source:
        limits = source._fetchers["fmp"]._http._limits
        assert isinstance(limits, PostgresLimits)
        limits.close()


def test_each_provider_has_its_own_allowance():
    keys = {"fmp_key": "f", "fred_key": "f", "bls_key": "b", "eodhd_key": "e", "sec_contact": "Jo jo@example.com"}
    live = LiveSettings(**keys)
    allowed = {module.NAME: module.provider(live).limit for module in (fmp, fred, bls, edgar, eodhd)}
    assert (allowed["fmp"].requests, allowed["fmp"].seconds) == (300, 60)
    assert (allowed["fred"].requests, allowed["fred"].seconds) == (120, 60)
    assert (allowed["sec"].requests, allowed["sec"].seconds) == (10, 1)
    assert allowed["bls"].per_day == 500
    assert (allowed["eodhd"].requests, allowed["eodhd"].seconds) == (1000, 60)
    assert allowed["eodhd"].per_day is not None


def _backfill(settings):
    clock = WallClock()
    LiveSource(settings, LocalLimits(clock), clock).read("ohlcv", LAST)


def test_a_killed_backfill_goes_on_where_it_was(world):
    world.companies.write_text("symbol\n" + "\n".join(f"S{n}" for n in range(60)))
    settings = world.settings(workers=1, fmp_per_minute=6000)
    worker = multiprocessing.get_context("fork").Process(target=_backfill, args=(settings,))
    worker.start()
    while len(world.fmp.asked) < 20:
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    before = len(world.fmp.asked)
    assert before < 60
    world.source().read("ohlcv", LAST)
    times = Counter(asked.params["symbol"] for asked in world.fmp.asked)
    assert len(times) == 61, "every company and the benchmark"
    assert sum(times.values()) <= len(times) + 1, "at most the one that was on its way is asked for twice"


def test_a_cold_backfill_is_bound_by_the_limit_and_not_by_us(world):
    world.companies.write_text("symbol\n" + "\n".join(f"S{n}" for n in range(39)))
    settings, clock = world.settings(workers=8, fmp_per_minute=1200), WallClock()
    real = world.fmp.answer
    world.fmp.answer = lambda asked: (time.sleep(0.15), real(asked))[1]
    LiveSource(settings, LocalLimits(clock), clock).read("ohlcv", LAST)
    at = [asked.at for asked in world.fmp.asked]
    assert len(at) == 40
    used = (len(at) - 1) / (max(at) - min(at)) / 20
    assert used >= 0.6, "0.97 where nothing else keeps the machine busy; one after the other it would be 0.33"


# Which source


def test_a_tape_gives_the_tables_that_no_provider_does(world, tmp_path):
    tape = open_source(Settings(home=tmp_path, synthetic=SyntheticSettings(symbols=5, quarters=8, first="2022-Q3")))
    source = world.source(tape=tape, fmp_key=None, companies=None)
    described = source.description
    assert set(tape.description.tables) | {"macro", "sec_filings"} == set(described.tables)
    pd.testing.assert_frame_equal(source.read("earnings", LAST), tape.read("earnings", LAST))
    assert set(source.read("macro", LAST)["series"]) == {"UNRATE", "DGS10"}, "live, not the tape's"
    assert described.prices == tape.description.prices
    assert described.since["ohlcv"] == tape.description.since["ohlcv"]
    assert "macro:UNRATE" in described.provides


def test_a_tape_of_earnings_with_live_prices(world, tmp_path):
    tape = open_source(Settings(home=tmp_path, synthetic=SyntheticSettings(symbols=5, quarters=8, first="2022-Q3")))
    source = world.source(tape=tape, companies=None, tables=("ohlcv", "corporate_actions"))
    assert source.description.prices == "raw"
    pd.testing.assert_frame_equal(source.read("earnings", LAST), tape.read("earnings", LAST))
    assert set(source.read("ohlcv", NOW)["symbol"]) <= {"SPY", "XLK"}, "it knows no synthetic company"
    assert set(tape.universe()["symbol"]) <= {asked.params.get("symbol") for asked in world.fmp.asked}, "but is asked"
    assert "assume_dates_known: dates of announcements up to a week" not in " ".join(source.description.assumptions)


def test_the_settings_choose_it(world, monkeypatch):
    monkeypatch.setenv("EARLYSIGNAL_SOURCE", "live")
    monkeypatch.setenv("EARLYSIGNAL_HOME", str(world.home))
    monkeypatch.setenv("EARLYSIGNAL_LIVE__FMP_KEY", fmp_stand_in.KEY)
    source = open_source(Settings())
    assert isinstance(source, LiveSource)
    assert "macro" not in source.description.tables, "nobody gives it"
    assert fmp_stand_in.KEY not in repr(Settings()) + repr(vars(source)) + source.description.model_dump_json()


def test_another_choice_has_another_workspace_and_another_key_has_not(world):
    from earlysignal_assets.workspace import Workspace

    one = Workspace(world.settings()).name
    assert one.startswith("live-")
    assert Workspace(world.settings(fmp_key="another-key", workers=1)).name == one
    assert Workspace(world.settings(series=("UNRATE",))).name != one
    assert Workspace(Settings(home=world.home)).name != one


def test_a_table_that_there_is_not_cannot_be_chosen(world):
    with pytest.raises(LiveSettingsError, match=r"unknown table\(s\) prices\. Known: universe, earnings"):
        world.source(tables=("earnings", "prices"))


def test_without_announcements_there_is_nothing_to_predict(world):
    with pytest.raises(LiveSettingsError, match=r"EARLYSIGNAL_LIVE__FMP_KEY.*Remedy"):
        world.source(fmp_key=None)


def test_without_a_list_the_constituents_are_todays(world):
    world.fmp.tables["sp500-constituent"] = [{"symbol": "BRK-B", "name": "Berkshire", "sector": "Financial Services"}]
    universe = world.source(companies=None).universe()
    assert universe[["symbol", "sector", "sector_etf"]].to_numpy().tolist() == [["BRK-B", "Financials", "XLF"]]


def test_members_come_and_go_as_the_plan_tells(world):
    world.fmp.tables["sp500-constituent"] = [
        {"symbol": symbol, "name": symbol, "sector": "Technology"} for symbol in ("A", "B")
    ]
    world.fmp.tables["historical-sp500-constituent"] = [
        fmp_stand_in.change("February 05, 2024", "2024-02-02", came="B", went="LEFT"),
        fmp_stand_in.change("June 1, 2023", "2023-05-31", went="LONGAGO"),
        fmp_stand_in.change("March 1, 2022", "2022-02-28", came="LEFT"),
        fmp_stand_in.change("November 1, 2023", "2023-10-31", went="B"),
    ]
    world.fmp.tables["profile"] = [{"symbol": "LEFT", "companyName": "Left Inc", "sector": "Energy"}]
    source = world.source(companies=None)
    assert source.description.membership == "today", "nobody was asked yet"
    rows = source.universe()
    assert rows["symbol"].tolist() == ["A", "B", "B", "LEFT"]
    assert rows["first"].dt.strftime("%Y-%m-%d").fillna("").tolist() == ["", "2024-02-05", "", "2022-03-01"]
    assert rows["last"].dt.strftime("%Y-%m-%d").fillna("").tolist() == ["", "", "2023-10-31", "2024-02-04"]
    assert rows.loc[3, ["name", "sector", "sector_etf"]].tolist() == ["Left Inc", "Energy", "XLE"]
    assert source.description.membership == "dated"
    assert not any("survivorship" in line for line in source.description.assumptions)
    asked = len(world.fmp.asked)
    again = world.source(companies=None)
    assert again.description.membership == "dated"
    assert set(again.read("sec_filings", LAST)["symbol"]) == {"A", "B"}
    assert [gap.what for gap in again.gaps("sec_filings", LAST)] == ["LEFT"], "EDGAR lists today's tickers alone"
    assert len(world.fmp.asked) == asked
    bars = again.read("ohlcv", LAST)["symbol"].value_counts()
    assert bars["A"] == bars["B"], "two stays, one company"


def test_a_plan_without_the_changes_has_the_members_of_today(world):
    world.fmp.tables["sp500-constituent"] = [{"symbol": "A", "name": "A", "sector": "Energy"}]
    real = world.fmp.answer
    hidden = "/stable/historical-sp500-constituent"
    world.fmp.answer = lambda asked: fmp_stand_in.RESTRICTED if asked.path == hidden else real(asked)
    source = world.source(companies=None)
    assert source.universe()["symbol"].tolist() == ["A"]
    assert source.description.membership == "today"
    assert any("survivorship" in line for line in source.description.assumptions)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"symbol,first\nA,2018-06-07\nB,foo\n", "`first` of B is 'foo', which is no day. Remedy"),
        ("symbol\nBöden\n".encode("latin-1"), "no CSV file in UTF-8"),
        (b"", "no CSV file in UTF-8"),
        (b"ticker\nA\n", "lists no companies: it has 1 row.s. and the column.s. ticker. Remedy"),
        (b"symbol;first\nA;2018-06-07\n", "column.s. symbol;first. Remedy: .* commas"),
        (b"symbol,last\nA,9999-12-31\n", "`last` of A is '9999-12-31', which is no day"),
    ],
)
def test_a_list_of_companies_that_is_none_is_named(world, tmp_path, content, told):
    listed = tmp_path / "mine.csv"
    listed.write_bytes(content)
    with pytest.raises(LiveSettingsError, match=f"mine.csv.*{told}"):
        world.source(companies=listed).universe()


def test_a_list_that_was_typed_by_hand_is_understood(world, tmp_path):
    listed = tmp_path / "mine.csv"
    listed.write_text("symbol,first\n aapl ,2020-01-01T00:00:00Z\nNA,2020-01-01\n")
    universe = world.source(companies=listed).universe()
    assert universe["symbol"].tolist() == ["AAPL", "NA"]
    assert universe["first"].tolist() == [pd.Timestamp("2020-01-01")] * 2
    broken = tmp_path / "mine.parquet"
    broken.write_text("no Parquet")
    with pytest.raises(LiveSettingsError, match=r"mine.parquet is no Parquet file.*Remedy"):
        world.source(companies=broken).universe()


def test_dividends_of_one_day_add_up_and_the_same_record_counts_once(world):
    world.fmp.tables["dividends-calendar"] += [
        {"symbol": "A", "date": "2024-02-20", "recordDate": "", "declarationDate": "", "dividend": paid}
        for paid in (0.25, 0.25, 2.0)
    ]
    rows = world.source().read("corporate_actions", NOW)
    paid = rows[(rows["symbol"] == "A") & (rows["session"] == "2024-02-20")]
    assert paid[["kind", "value"]].to_numpy().tolist() == [["dividend", 2.25]]


def test_a_list_with_dates_means_them_and_may_have_any_name(world, tmp_path):
    dated, undated = tmp_path / "extended940.csv", tmp_path / "mine.csv"
    dated.write_text("symbol,sector,first,last\nBRK-B,Financials,2010-02-16,\nTWTR,,2018-06-07,2022-10-27\n")
    undated.write_text("symbol\nBRK-B\n")
    own = world.source(companies=dated)
    assert (own.description.universe, own.description.membership) == ("extended940", "dated")
    assert own.universe()["last"].tolist() == [pd.NaT, pd.Timestamp("2022-10-27")]
    assert not any("survivorship" in line for line in own.description.assumptions)
    other = world.source(companies=undated).description
    assert (other.universe, other.membership) == ("mine", "today")
    assert any("survivorship" in line for line in other.assumptions)


def test_a_universe_that_no_provider_lists_is_refused(world):
    settings = world.settings(companies=None).model_copy(update={"universe": "extended940"})
    with pytest.raises(LiveSettingsError, match=r"companies of `extended940`.*Remedy.*EARLYSIGNAL_LIVE__COMPANIES"):
        LiveSource(settings, world.limits, world.clock)


def test_a_key_under_a_misspelt_name_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("EARLYSIGNAL_LIVE__FMPKEY", fmp_stand_in.KEY)
    with pytest.raises(SettingsError, match=r"EARLYSIGNAL_LIVE__FMPKEY: .*Remedy") as refused:
        Settings()
    assert fmp_stand_in.KEY not in str(refused.value)


def test_a_limit_of_freshness_that_is_moved_moves_no_other(monkeypatch):
    monkeypatch.setenv("EARLYSIGNAL_SERVING__FRESHNESS_DAYS", '{"ohlcv": 9, "macro": null, "options": 3}')
    assert Settings().serving.freshness_days == {"ohlcv": 9, "earnings": 60, "options": 3}


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("WINDOW_MONTHS", "abc", "EARLYSIGNAL_WINDOW_MONTHS: .* valid integer.*Remedy"),
        ("SYNTHETIC__FIRST", "soon", "EARLYSIGNAL_SYNTHETIC__FIRST: .*soon.*Remedy"),
        ("COST_BPS", "inf", "EARLYSIGNAL_COST_BPS: .* finite number"),
        ("SERVING__FRESHNESS_DAYS", '{"ohlvc": 5}', "EARLYSIGNAL_SERVING__FRESHNESS_DAYS: .*'ohlvc' is no table"),
        ("SERVING__FRESHNESS_DAYS", '{"ohlcv": NaN}', "EARLYSIGNAL_SERVING__FRESHNESS_DAYS__OHLCV: "),
        ("SYNTHETIC__SYMBOL", "5", "no such setting; EARLYSIGNAL_SYNTHETIC__SYMBOLS is one. Remedy"),
        ("SYNTHETIC_SYMBOLS", "5", "SYNTHETIC_SYMBOLS is no setting. Remedy: name it EARLYSIGNAL_SYNTHETIC__SYMBOLS"),
        ("QUALITY__LABEL_BALANCE", "5", "no such setting; EARLYSIGNAL_QUALITY__LABEL_BALANCE_"),
        ("SERVING__SLOW_MS", "inf", "EARLYSIGNAL_SERVING__SLOW_MS: .* finite number"),
        ("QUALITY__COMPLETENESS_CRITICAL", "nan", "EARLYSIGNAL_QUALITY__COMPLETENESS_CRITICAL: .* finite number"),
        ("ALERT_URL", "json://here", "EARLYSIGNAL_ALERT_URL is no setting. Remedy: name it EARLYSIGNAL_ALERT_URLS"),
        ("ENSEMBLE", "{", '"ensemble".*must hold JSON.*Remedy'),
    ],
)
def test_a_setting_that_is_none_is_named_with_the_remedy(monkeypatch, variable, value, told):
    monkeypatch.setenv(f"EARLYSIGNAL_{variable}", value)
    with pytest.raises(SettingsError, match=told):
        Settings()


def test_the_ui_shows_which_companies_failed_at_which_provider_and_why(world, tmp_path):
    import dagster as dg

    from earlysignal_assets.caches import cache_asset

    world.source().read("analyst_ratings", NOW)  # kept, and asked for once a day
    world.companies.write_text("symbol\nA\nB\nC\nD\n")
    fails_for(world, "grades", {"C", "D"}, fmp_stand_in.PREMIUM)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [cache_asset("analyst_ratings")],
            resources={"lake": Lake(str(tmp_path / "lake")), "source": world.source(may_miss=0.5, first="2018-Q4")},
            partition_key="2018-10",  # the assets' partitions are those of the source of this process
            instance=instance,
        )
        event = instance.get_latest_materialization_event(dg.AssetKey("analyst_ratings"))
    said = event.asset_materialization.metadata
    assert said["gaps"].value == 2
    for symbol in "CD":
        assert f"| analyst_ratings | {symbol} | fmp |" in said["degraded"].value
    assert "not available under your current subscription" in said["degraded"].value
    assert (said["requests"].value, said["hit rate"].value) == (4, pytest.approx(2 / 6, abs=0.001))
