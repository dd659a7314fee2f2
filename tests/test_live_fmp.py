"""FMP's answers as rows of the tables, with the moments from which they could have been read; and FMP's failures."""

import numpy as np
import pandas as pd
import pytest
from stand_ins import fmp as stand_in
from stand_ins.fmp import KEY, FmpStandIn, announcement, bar, bars, grade, statement, target
from stand_ins.server import HTML, FakeClock, as_json, as_text

from earlysignal_core.lake import Lake
from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live import fmp, fmp_rows
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    LegacyEndpointError,
    NotInPlanError,
    ProviderError,
    QuotaExhaustedError,
    RefusedError,
    ServerFailedError,
    TruncatedAnswerError,
    UnexpectedShapeError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import FOREVER, Fetcher
from earlysignal_core.sources.live.http import Http
from earlysignal_core.sources.live.limits import LocalLimits
from earlysignal_core.sources.live.messages import Request
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.sources.live.records import records

JANUARY = (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-31"))


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def provider():
    with FmpStandIn() as started:
        yield started


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def fetcher(provider, clock, tmp_path):
    settings = fmp.provider(LiveSettings(fmp_url=provider.url, fmp_key=KEY))
    return Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, LocalLimits(clock), clock))


@pytest.fixture
def client(fetcher):
    return fmp.Fmp(fetcher)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (stand_in.BAD_KEY, BadKeyError),
        (stand_in.PREMIUM, NotInPlanError),
        (stand_in.RESTRICTED, NotInPlanError),
        (stand_in.EXCLUSIVE, NotInPlanError),
        (stand_in.LEGACY, LegacyEndpointError),
        (stand_in.LIMIT_REACH, QuotaExhaustedError),
        (stand_in.LIMIT_REACH_UNDER_200, QuotaExhaustedError),
        (as_json({"Error Message": "Invalid API KEY."}), BadKeyError),
        (as_json({"message": "Something else"}), RefusedError),
        (as_text("Restricted Endpoint: This endpoint is not available under your plan"), NotInPlanError),
        (as_text("[{]"), UnreadableAnswerError),
        (as_text(""), UnreadableAnswerError),
        (HTML, UnreadableAnswerError),
        (as_json({"error": "x"}, 500), ServerFailedError),
        (as_json([1, 2]), UnexpectedShapeError),
    ],
    ids=str,
)
def test_each_failure_has_its_class(provider, client, fault, error):
    provider.fail(fault, times=9)
    with pytest.raises(error) as raised:
        client.grades("A", FOREVER)
    assert type(raised.value) is error
    assert KEY not in str(raised.value)
    may_pass = error in (QuotaExhaustedError, UnreadableAnswerError, ServerFailedError)
    assert len(provider.asked) == (4 if may_pass else 1)


def test_an_unknown_symbol_has_no_rows(client):
    assert client.grades("NOBODY", FOREVER) == []


def test_announcements(provider, client, clock):
    provider.tables["earnings-calendar"] = [
        announcement("A", "2024-01-24", 1.2, 1.0, time="amc", periodEnding="2023-12-31"),
        announcement("B", "2024-01-25", None, 0.5, time="bmo", fiscalPeriod="Q1", fiscalYear="2024"),
        announcement("C", "2024-01-26", 0.0, None, fiscalDateEnding="2023-11-30", time=None),
        announcement("D.AX", "2024-01-05", 1, 2),
        announcement("E", "2024-02-01", 1.2, 1.0),
    ]
    found = {kept.content["symbol"]: kept for kept in client.announcements(*JANUARY, FOREVER)}
    assert set(found) == {"A", "B", "C", "D.AX"}
    said = {symbol: list(kept.content.values())[1:] for symbol, kept in found.items()}
    assert said["A"] == [pd.Timestamp("2024-01-24"), "amc", "23-Dec", 1.0, 1.2]
    assert said["B"][:4] == [pd.Timestamp("2024-01-25"), "bmo", "Q1 2024", 0.5]
    assert np.isnan(said["B"][4]), "not announced: missing, and not zero"
    assert said["C"][1:3] == [None, "23-Nov"]
    assert np.isnan(said["C"][3])
    assert said["C"][4] == 0
    assert said["D.AX"][2] == "23-Sep", "the calendar quarter that was over a week before"
    assert found["A"].fetched_at <= clock.now()


def test_an_announcement_is_known_by_its_session():
    day = pd.Timestamp("2024-01-24")
    assert fmp_rows.announced_at(day, "bmo") == utc("2024-01-24 13:00")
    assert fmp_rows.announced_at(day, "amc") == utc("2024-01-24 21:15")
    assert fmp_rows.announced_at(day, None) == utc("2024-01-25 04:59:59")


def test_a_calendar_that_is_cut_off_is_asked_in_halves(provider, client):
    provider.most_rows = fmp.MOST_ROWS
    days = pd.date_range(*JANUARY)
    rows = [announcement(f"S{n}", f"{days[n % 31]:%Y-%m-%d}", 1, 1) for n in range(9000)]
    provider.tables["earnings-calendar"] = rows
    found = client.announcements(*JANUARY, FOREVER)
    assert len({kept.content["symbol"] for kept in found}) == len(found) == 9000
    assert len(provider.asked) == 7


def test_a_day_that_is_cut_off_is_refused(provider, client):
    provider.tables["earnings-calendar"] = [announcement(f"S{n}", "2024-01-24", 1, 1) for n in range(4001)]
    with pytest.raises(TruncatedAnswerError, match="4000 rows for one day"):
        client.announcements(*JANUARY, FOREVER)


def test_an_emptied_month_is_refused_and_a_correction_is_not(provider, client, fetcher, clock):
    rows = [announcement(f"S{n}", "2024-01-24", 1, 1) for n in range(100)]
    provider.tables["earnings-calendar"] = rows
    assert len(client.announcements(*JANUARY, clock.now())) == 100
    provider.tables["earnings-calendar"] = rows[:97]
    assert len(client.announcements(*JANUARY, clock.now())) == 97
    for worse in ([], rows[:93]):  # a few less each time would add up
        provider.tables["earnings-calendar"] = worse
        assert len(client.announcements(*JANUARY, clock.now())) == 97
        (stale,) = fetcher.take_stale()
        assert f"{len(worse)} row(s) where there were 100 before" in str(stale.error)
    provider.tables["earnings-calendar"] = rows
    assert len(client.announcements(*JANUARY, clock.now())) == 100


@pytest.mark.parametrize("fewer", [0, 1, 450])
def test_an_index_that_lost_its_members_is_refused_and_the_last_list_serves(provider, client, fetcher, clock, fewer):
    members = [{"symbol": f"S{n}", "name": None, "sector": None} for n in range(500)]
    provider.tables["sp500-constituent"] = members
    assert len(client.constituents(clock.now())) == 500
    provider.tables["sp500-constituent"] = members[:fewer]
    assert len(client.constituents(clock.now())) == 500
    assert len(fetcher.take_stale()) == 1


@pytest.mark.parametrize("table", ["grades", "income-statement"])
def test_a_companys_rows_do_not_become_fewer(provider, client, fetcher, clock, table):
    days = pd.date_range("2018-03-31", periods=20, freq="QE").strftime("%Y-%m-%d").tolist()
    of = {
        "grades": ([grade("A", day, "Bank", "upgrade") for day in days], client.grades),
        "income-statement": ([statement("A", day, f"{day} 23:59:59", 1) for day in days], client.statements),
    }
    provider.tables[table], ask = of[table]
    assert len(ask("A", clock.now())) == 20
    provider.tables[table] = provider.tables[table][2:]
    assert len(ask("A", clock.now())) == 20
    (stale,) = fetcher.take_stale()
    assert "18 row(s) where there were 20 before" in str(stale.error)


def test_an_index_without_members_is_none(client):
    with pytest.raises(UnexpectedShapeError, match="an index without members"):
        client.constituents(FOREVER)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"date": "now"},
        {"date": "NaT"},
        {"date": "03/04/2024"},
        {"date": "2024-13-01"},
        {"epsActual": float("inf")},
        {"epsActual": float("nan")},
        {"epsActual": 10**400},
        {"epsActual": "1.0"},
        {"fiscalPeriod": ["Q1"]},
        {"periodEnding": 20231231},
        {"symbol": None},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_read_is_an_answer_of_an_unexpected_shape(provider, fetcher, spoilt):
    """And a record of a company that nobody follows is not read at all."""
    whole = announcement("A", "2024-01-24", 1.2, 1.0)
    provider.fail(as_json([whole, announcement("ZZZ.AX", "2024-01-25", 1, 1) | spoilt]), times=2)
    with pytest.raises(UnexpectedShapeError):
        fmp.Fmp(fetcher).announcements(*JANUARY, FOREVER)
    (kept,) = fmp.Fmp(fetcher, {"A"}).announcements(*JANUARY, FOREVER)
    assert kept.content["symbol"] == "A"


def test_a_split_without_a_ratio_is_none(provider, client):
    provider.tables["splits-calendar"] = [{"symbol": "A", "date": "2024-01-10", "numerator": 1, "denominator": 0}]
    assert client.splits(*JANUARY, FOREVER) == []


@pytest.mark.parametrize(
    ("accepted", "known"),
    [
        ("2024-01-24T17:00:00Z", "2024-01-24 17:00"),
        ("2024-01-24T17:00:00-05:00", "2024-01-24 22:00"),
        ("N/A (not filed yet)", None),
        ("0000-00-00 00:00:00", None),
        ("9999-12-31 00:00:00", None),
        ("2020-01-24 17:00:00", None),
    ],
)
def test_an_acceptance_that_is_none_is_named(provider, client, accepted, known):
    provider.tables["income-statement"] = [statement("A", "2023-12-31", "2024-01-24", 5) | {"acceptedDate": accepted}]
    if known is None:
        with pytest.raises(UnexpectedShapeError, match="Remedy"):
            client.statements("A", FOREVER)
    else:
        assert [row["available_at"] for row in client.statements("A", FOREVER)] == [utc(known)]


def test_the_future_may_empty_itself(provider, client, fetcher, clock):
    march = (pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-31"))
    provider.tables["earnings-calendar"] = [announcement("A", "2024-03-20", None, 1)]
    assert len(client.announcements(*march, clock.now())) == 1
    provider.tables["earnings-calendar"] = []
    assert client.announcements(*march, clock.now()) == []
    assert fetcher.take_stale() == []


def test_what_was_expected_of_a_month_is_no_measure_of_what_came(provider, client, fetcher, clock):
    """Dates move: far ahead a month may hold more announcements than it has when it is over."""
    march = (pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-31"))
    rows = [announcement(f"S{n}", "2024-03-20", None, 1) for n in range(100)]
    for known in (100, 60):
        provider.tables["earnings-calendar"] = rows[:known]
        assert len(client.announcements(*march, clock.now())) == known
    clock.sleep(35 * 86_400)
    came = [announcement(f"S{n}", "2024-03-20", 1, 1) for n in range(100)]
    for known, kept in ((58, 58), (59, 59), (56, 59)):  # 5 % fewer than the most that have come
        provider.tables["earnings-calendar"] = came[:known]
        assert len(client.announcements(*march, clock.now())) == kept
    (stale,) = fetcher.take_stale()
    assert "56 row(s) where there were 59 before" in str(stale.error)


def test_what_has_come_does_not_vanish_from_a_month_that_goes_on(provider, client, fetcher, clock):
    march = (pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-31"))
    clock.sleep(20 * 86_400)
    ahead = announcement("D", "2024-03-28", None, 1)
    came = [announcement(symbol, "2024-03-05", 1, 1) for symbol in "ABC"]
    provider.tables["earnings-calendar"] = [*came, ahead]
    assert len(client.announcements(*march, clock.now())) == 4
    provider.tables["earnings-calendar"] = came
    assert len(client.announcements(*march, clock.now())) == 3, "what is to come may be moved away"
    provider.tables["earnings-calendar"] = [ahead]
    assert len(client.announcements(*march, clock.now())) == 3
    (stale,) = fetcher.take_stale()
    assert "0 row(s) where there were 3 before" in str(stale.error)


@pytest.mark.parametrize("table", ["earnings-calendar", "splits-calendar"])
def test_the_rest_of_the_market_does_not_hide_what_we_lose(provider, fetcher, clock, table):
    client = fmp.Fmp(fetcher, {"A", "B", "C"})
    ask = client.announcements if table == "earnings-calendar" else client.splits
    names = [*"ABC", *(f"S{n}" for n in range(97))]
    more = {"numerator": 2, "denominator": 1}
    provider.tables[table] = [announcement(name, "2024-01-24", 1, 1, **more) for name in names]
    assert len(ask(*JANUARY, clock.now())) == 3
    provider.tables[table] = provider.tables[table][3:]
    assert len(ask(*JANUARY, clock.now())) == 3
    (stale,) = fetcher.take_stale()
    assert "0 row(s) where there were 3 before" in str(stale.error)


def test_an_amendment_beside_the_original_leaves_it(provider, client, clock):
    original = statement("A", "2023-09-30", "2023-10-24 17:00:00", 110)
    amended = statement("A", "2023-09-30", "2024-02-01 17:00:00", 500)
    provider.tables["income-statement"] = [amended, original]
    for _ in range(2):
        rows = client.statements("A", clock.now())
        assert [(row["available_at"], row["revenue"]) for row in rows] == [
            (utc("2023-10-24 21:00"), 110),
            (utc("2024-02-01 22:00"), 500),
        ]
        clock.sleep(86_400)
    provider.tables["income-statement"] = [amended, original | {"revenue": 120}]
    begin = clock.now()
    assert [row["revenue"] for row in client.statements("A", clock.now()) if row["available_at"] >= begin] == [120]


def test_splits_and_dividends_are_known_at_the_close_of_the_ex_date(provider, client):
    provider.tables["splits-calendar"] = [
        {"symbol": "A", "date": "2024-01-10", "numerator": 1, "denominator": 80},
        {"symbol": "B", "date": "2024-01-13", "numerator": 3, "denominator": 2, "splitType": "stock-split"},
    ]
    provider.tables["dividends-calendar"] = [
        {"symbol": "A", "date": "2024-01-11", "recordDate": "", "declarationDate": "", "dividend": 0.27},
        {"symbol": "B", "date": "2024-01-11", "recordDate": "", "declarationDate": "", "dividend": 0},
    ]
    splits, dividends = client.splits(*JANUARY, FOREVER), client.dividends(*JANUARY, FOREVER)
    saturday, wednesday = (kept.content for kept in splits)
    assert wednesday == {
        "symbol": "A",
        "session": pd.Timestamp("2024-01-10"),
        "kind": "split",
        "value": 1 / 80,
        "available_at": utc("2024-01-10 21:00"),
    }
    assert saturday["available_at"] == utc("2024-01-14 04:59:59"), "no session: the end of the day"
    assert [kept.content["value"] for kept in dividends] == [0.27], "a dividend of nothing is none"


def test_prices_are_as_traded_and_known_at_the_close(provider, client):
    provider.tables["historical-price-eod/non-split-adjusted"] = [
        bar("A", "2024-01-02", 100.0),
        bar("A", "2023-11-24", 90.0),
        {**bar("A", "2024-01-03", 101.0), "adjOpen": 0, "volume": None},
        {**bar("A", "2024-01-04", 0.0)},
    ]
    rows = client.prices("A", pd.Timestamp("2023-11-01"), JANUARY[1], FOREVER)
    newest, second, early_close = rows
    assert (second["session"], second["close"], second["volume"]) == (pd.Timestamp("2024-01-02"), 100.0, 1000.0)
    assert second["available_at"] == utc("2024-01-02 21:00")
    assert early_close["available_at"] == utc("2023-11-24 18:00")
    assert np.isnan([newest["open"], newest["volume"]]).all(), "missing is never zero"


def test_a_session_that_is_not_over_is_no_bar(provider, client, clock):
    provider.tables["historical-price-eod/non-split-adjusted"] = bars("A", "2024-02-26", "2024-03-01")
    window = (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31"))
    assert len(client.prices("A", *window, clock.now())) == 4, "it is 10:00 in New York"
    clock.advance(hours=6, minutes=1)
    assert len(client.prices("A", *window, clock.now())) == 5


@pytest.mark.parametrize("spelling", ["filingDate", "fillingDate"])
def test_statements_are_known_on_acceptance_by_the_new_york_clock(provider, client, spelling):
    provider.tables["income-statement"] = [
        statement("A", "2023-09-30", "2023-11-02 18:08:27", 100, spelling=spelling),
        statement("A", "2023-06-30", "2023-08-03", 0, spelling=spelling),
    ]
    older, newest = client.statements("A", FOREVER)
    assert newest["available_at"] == utc("2023-11-02 22:08:27")
    assert older["available_at"] == utc("2023-08-04 03:59:59"), "a date alone: the end of the day"
    assert np.isnan(older["revenue"]), "the provider writes 0 for what it does not have"


def test_a_statement_without_its_filing_date_is_refused(provider, client):
    provider.tables["income-statement"] = [statement("A", "2023-09-30", "2023-11-02", 100, spelling="filedAt")]
    with pytest.raises(UnexpectedShapeError, match=r"no field `filingDate` or `fillingDate`, only .*filedAt"):
        client.statements("A", FOREVER)


def test_a_restatement_is_known_from_the_day_on_which_we_saw_it(provider, client, clock):
    provider.tables["income-statement"] = [statement("A", "2023-09-30", "2023-11-02 18:08:27", 100)]
    client.statements("A", clock.now())
    clock.advance(days=30)
    client.statements("A", clock.now())
    provider.tables["income-statement"] = [statement("A", "2023-09-30", "2024-03-20 18:08:27", 90)]
    seen_at = clock.now()
    rows = client.statements("A", seen_at)
    assert [row["revenue"] for row in rows] == [100, 90]
    assert rows[0]["available_at"] == utc("2023-11-02 22:08:27")
    assert rows[1]["available_at"] >= seen_at


def test_clocks_that_jump_at_two_in_the_morning(provider, client):
    provider.tables["income-statement"] = [
        statement("A", "2023-12-31", "2024-03-10 02:30:00", 1),
        statement("A", "2023-09-30", "2023-11-05 01:30:00", 1),
    ]
    autumn, spring = client.statements("A", FOREVER)
    assert spring["available_at"] == utc("2024-03-10 07:00"), "an hour that is not there: its end"
    assert autumn["available_at"] == utc("2023-11-05 06:30"), "an hour that is there twice: the later"


def test_grades(provider, client):
    provider.tables["grades"] = [
        grade("A", "2024-01-10", "Bank", "upgrade"),
        grade("A", "2024-01-10", "Bank", "hold", "Sell"),
        grade("A", "2023-01-10", "", "reiterated", ""),
    ]
    first, second = client.grades("A", FOREVER)
    assert first["action"] == "upgrade", "one grade of a firm and day"
    assert first["available_at"] == utc("2024-01-11 04:59:59")
    assert (second["firm"], second["action"], second["grade"]) == ("unknown", "maintain", None)


def test_a_grade_that_vanishes_is_not_lost(provider, client, clock):
    provider.tables["grades"] = [grade("A", f"2024-01-{day:02d}", "Bank", "upgrade") for day in range(1, 31)]
    client.grades("A", clock.now())
    gone = provider.tables["grades"].pop(3)
    kept = client.grades("A", clock.now())
    assert pd.Timestamp(gone["date"]) in [row["graded_on"] for row in kept]


def test_price_targets_are_walked_once_and_then_from_the_newest_on(provider, client, clock):
    published = pd.date_range("2023-01-01 12:00", periods=250, freq="D")[::-1]
    rows = [target("A", f"{at:%Y-%m-%dT%H:%M:%S}.000Z", "Bank", 100 + n) for n, at in enumerate(published)]
    provider.tables["price-target-news"] = rows
    first = client.price_targets("A", clock.now())
    assert len(first) == 250
    assert max(row["available_at"] for row in first) == utc(published[0])
    assert [asked.params["page"] for asked in provider.asked] == ["0", "1", "2"]
    provider.tables["price-target-news"] = [target("A", "2024-02-01T23:30:00.000Z", "Bank", 7), *rows]
    again = client.price_targets("A", clock.now())
    assert len(again) == 251
    assert pd.Timestamp("2024-02-01") in [row["published_on"] for row in again]
    assert [asked.params["page"] for asked in provider.asked[3:]] == ["0"], "one page brings what is new"


@pytest.mark.parametrize(("days", "pages"), [(0, ["1", "2"]), (1, ["0", "1", "2"])])
def test_a_walk_that_was_cut_short_goes_on_to_the_end(provider, client, clock, days, pages):
    published = pd.date_range("2023-01-01", periods=250, freq="D")[::-1]
    provider.tables["price-target-news"] = [target("A", f"{at:%Y-%m-%dT00:00:00.000Z}", "Bank", 1) for at in published]
    begin, real = clock.now(), provider.answer
    provider.answer = lambda asked: stand_in.PREMIUM if asked.params["page"] == "1" else real(asked)
    with pytest.raises(NotInPlanError):
        client.price_targets("A", begin)
    provider.answer, before = real, len(provider.asked)
    clock.advance(days=days)
    assert len(client.price_targets("A", begin if not days else clock.now())) == 250
    assert [asked.params["page"] for asked in provider.asked[before:]] == pages


def test_a_later_target_of_the_day_leaves_the_earlier_one_and_a_changed_one_reads_as_at_first(provider, client, clock):
    morning = target("A", "2024-01-17T15:00:00.000Z", "Bank", 111)
    provider.tables["price-target-news"] = [morning]
    client.price_targets("A", clock.now())
    clock.sleep(86_400)
    provider.tables["price-target-news"] = [
        target("A", "2024-01-17T22:30:00.000Z", "Bank", 180),
        morning | {"priceTarget": 9},
    ]
    rows = client.price_targets("A", clock.now())
    assert [(row["available_at"], row["target"]) for row in rows] == [(utc("2024-01-17 15:00"), 111)]


def test_a_walk_that_broke_off_leaves_no_hole(provider, client, clock):
    def published(first, n):
        days = pd.date_range(first, periods=n, freq="D")[::-1]
        return [target("A", f"{at:%Y-%m-%dT12:00:00.000Z}", "Bank", 1) for at in days]

    old = published("2022-01-01", 150)
    provider.tables["price-target-news"] = old
    assert len(client.price_targets("A", clock.now())) == 150
    clock.sleep(86_400)
    provider.tables["price-target-news"] = [*published("2022-06-01", 350), *old]
    real = provider.answer
    provider.answer = lambda asked: stand_in.PREMIUM if asked.params["page"] == "1" else real(asked)
    client.price_targets("A", clock.now())  # page 1 of before serves
    provider.answer = real
    clock.sleep(86_400)
    assert len(client.price_targets("A", clock.now())) == 500


def test_estimates_come_with_the_moment_at_which_they_were_seen(provider, client, clock):
    numbers = {"epsAvg": 1.5, "epsHigh": 1.7, "epsLow": 1.2, "numAnalystsEps": 12}
    provider.tables["analyst-estimates"] = [{"symbol": "A", "date": "2024-06-30", **numbers}]
    (kept,) = client.estimates("A", FOREVER)
    assert kept.content["fiscal_period"] == "24-Jun"
    assert [kept.content[name] for name in ("eps_estimate", "eps_high", "eps_low", "analysts")] == [1.5, 1.7, 1.2, 12]
    assert kept.fetched_at <= clock.now()


def test_the_recorded_documents_can_be_read(fetcher, samples):
    def read(name, path, parse):
        fetcher.store.keep(fmp_answer(Request("fmp", path, {"sample": name}), (samples / "fmp" / name).read_bytes()))
        return Fetcher(fetcher.store, None).fetch(Request("fmp", path, {"sample": name}), FOREVER, parse)

    calendar = read("earnings-calendar.json", "/x", lambda a: [fmp_rows.announcement(r) for r in records(a)])
    assert (calendar[0]["symbol"], calendar[0]["eps_actual"]) == ("WOW.AX", 0.898)
    statements = read("income-statement-aapl.json", "/x", lambda a: fmp_rows.statements(a, "AAPL"))
    assert utc("2024-11-01 10:01:36") == statements[0]["available_at"]
    assert read("historical-price-eod-aapl.json", "/x", lambda a: fmp_rows.bars(a, "AAPL"))[0]["close"] == 236.85
    assert (
        read("analyst-estimates-aapl.json", "/x", lambda a: fmp_rows.estimates(a, "AAPL"))[0].content["analysts"] == 10
    )
    assert read("splits-calendar.json", "/x", lambda a: [fmp_rows.split(r) for r in records(a)])[1]["value"] == 2
    assert read(
        "dividends-calendar-2021-01-01-to-2021-01-02.json", "/x", lambda a: [fmp_rows.dividend(r) for r in records(a)]
    )


def fmp_answer(request, body):
    from earlysignal_core.sources.live.http import Answer

    return Answer(request, body, utc("2026-01-01"))


def test_every_failure_is_a_provider_error_with_a_remedy(provider, client):
    provider.fail(stand_in.PREMIUM)
    with pytest.raises(ProviderError, match="Remedy: check the symbol, take a larger plan"):
        client.grades("A", FOREVER)
