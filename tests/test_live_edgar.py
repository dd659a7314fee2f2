"""EDGAR's filings: when each was accepted whatever its `Z` means, and which trades of insiders count."""

import json

import numpy as np
import pandas as pd
import pytest
from stand_ins import sec as stand_in
from stand_ins.sec import CONTACT, SecStandIn, filing, form4, form13f
from stand_ins.server import HTML, FakeClock, as_json, as_text

from earlysignal_core.lake import Lake
from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live import edgar, thirteenf
from earlysignal_core.sources.live.errors import (
    NotFoundError,
    RefusedError,
    TrafficLimitError,
    UndeclaredAgentError,
    UnexpectedShapeError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import FOREVER, Fetcher
from earlysignal_core.sources.live.http import Http
from earlysignal_core.sources.live.limits import LocalLimits
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.tables import TABLES
from earlysignal_core.validation import checked

FIRST = pd.Timestamp("2023-01-01")
CIK = 1318605


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def sec():
    with SecStandIn() as started:
        started.tickers["A"] = CIK
        yield started


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def limits(clock):
    return LocalLimits(clock)


@pytest.fixture
def fetcher(sec, clock, limits, tmp_path):
    settings = edgar.provider(LiveSettings(sec_url=sec.url, sec_data_url=sec.url, sec_contact=CONTACT))
    return Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, limits, clock))


@pytest.fixture
def rows(fetcher, clock):
    def ask(since=None):
        found, errors = edgar.Edgar(fetcher).rows("A", CIK, FIRST, since or clock.now())
        assert errors == []
        checked("sec_filings", pd.DataFrame(found, columns=TABLES["sec_filings"].column_names))
        return sorted(found, key=lambda row: row["available_at"])

    return ask


@pytest.mark.parametrize("eastern", [True, False])
def test_a_filings_own_header_tells_what_the_z_means(sec, rows, eastern):
    sec.filings[CIK] = [
        filing("1-24-3", "8-K", "2024-01-24 16:11:04", eastern, items="2.02,9.01", size=9_000_000),
        filing("1-24-2", "10-Q", "2024-01-10 07:30:00", eastern, size=5_000_000),
        filing("1-24-1", "144", "2024-01-09 18:00:00", eastern, size=100),
        filing("1-23-1", "8-K", "2023-07-03 16:05:00", eastern, size=9_000_000),
    ]
    found = rows()
    assert [row["form"] for row in found] == ["8-K", "10-Q", "8-K"]
    assert [row["available_at"] for row in found] == [
        utc("2023-07-03 20:05:00"),
        utc("2024-01-10 12:30:00"),
        utc("2024-01-24 21:11:04"),
    ]
    documents = [path for path in sec.paths if path.endswith(".txt")]
    assert documents == [f"/Archives/edgar/data/{CIK}/1241/1-24-1.txt"], "one header, of the smallest filing"


def test_where_no_header_tells_it_the_later_reading_counts(sec, rows):
    sec.filings[CIK] = [filing("1-24-1", "8-K", "2024-01-24 16:11:04", document="none")]
    (row,) = rows()
    assert row["available_at"] == utc("2024-01-24 21:11:04") + pd.Timedelta(hours=5)


def test_older_filings_come_from_the_overflow_file(sec, rows):
    sec.filings[CIK] = [filing("1-24-1", "8-K", "2024-01-24 16:11:04")]
    sec.overflow[CIK] = [filing("1-23-1", "10-K", "2023-02-01 16:00:00"), filing("1-20-1", "8-K", "2020-02-01 16:00")]
    assert [row["form"] for row in rows()] == ["10-K", "8-K"], "and what lies before the first day is left out"
    before = len(sec.asked)
    rows()
    assert sec.paths[before:] == [f"/submissions/CIK{CIK:010d}.json"], "only the list can have changed"


def test_an_overflow_file_that_shrinks_is_refused(sec, fetcher, clock):
    sec.filings[CIK] = [filing("9", "8-K", "2024-02-02 18:00")]
    sec.overflow[CIK] = [filing(f"{n}", "8-K", f"2023-0{n}-02 18:00") for n in range(1, 9)]
    client = edgar.Edgar(fetcher)
    assert len(client.filings(CIK, FIRST, clock.now())) == 9
    clock.advance(days=40)
    sec.overflow[CIK] = sec.overflow[CIK][:1] + sec.overflow[CIK][-1:]
    assert len(client.filings(CIK, FIRST, clock.now())) == 9
    assert "2 row(s) where there were 8 before" in str(fetcher.take_stale()[0].error)


def test_only_open_market_trades_count(sec, rows):
    traded = [
        ("P", "2024-01-08", 100, 10.5),
        ("S", "2024-01-08-05:00", 200, None),
        ("S", "2024-01-08", 200, 0),
        ("A", "2024-01-08", 300, 0),
        ("M", "2024-01-08", 400, 8.88),
        ("F", "2024-01-08", 500, 10),
    ]
    body = form4(CIK, *traded, owners=("ROE RICHARD", "DOE JANE"), plan="1")
    sec.filings[CIK] = [filing("1-24-1", "4", "2024-01-10 18:30:00", body=body)]
    found = rows()
    assert [row["code"] for row in found] == ["P", "S", "S"], "one trade each, though two own it"
    assert {row["owner"] for row in found} == {"DOE JANE & ROE RICHARD"}
    assert [row["shares"] for row in found] == [100, 200, 200]
    assert found[0]["price"] == 10.5
    assert np.isnan([found[1]["price"], found[2]["price"]]).all(), "a price in a footnote is not 0"
    assert {row["available_at"] for row in found} == {utc("2024-01-10 23:30:00")}, "accepted, not traded"
    assert {row["transaction_date"] for row in found} == {pd.Timestamp("2024-01-08")}
    assert {row["planned"] for row in found} == {1}


@pytest.mark.parametrize(("said", "planned"), [("0", 0), ("false", 0), ("true", 1), (None, np.nan)])
def test_a_plan_that_is_not_asked_for_is_not_denied(sec, rows, said, planned):
    sec.filings[CIK] = [
        filing("1-24-1", "4", "2024-01-10 18:30", body=form4(CIK, ("P", "2024-01-08", 1, 1), plan=said))
    ]
    np.testing.assert_equal(rows()[0]["planned"], float(planned))


def test_an_amendment_adds_only_what_is_new(sec, rows):
    twice = [("P", "2024-01-08", 100, 10), ("P", "2024-01-08", 100, 10)]
    sec.filings[CIK] = [
        filing("1-24-3", "4/A", "2024-01-20 18:00", body=form4(CIK, *twice, ("S", "2024-01-08", 7, 10))),
        filing("1-24-2", "4/A", "2024-01-15 18:00", body=form4(CIK, *twice, ("S", "2024-01-08", 7, 10))),
        filing("1-24-1", "4", "2024-01-10 18:00", body=form4(CIK, *twice)),
    ]
    assert [(row["code"], row["available_at"].day) for row in rows()] == [("P", 10), ("P", 10), ("S", 15)]


def test_an_amendment_that_names_one_more_owner_is_the_same_trade(sec, rows):
    trade = ("P", "2024-02-01", 100, 10)
    sec.filings[CIK] = [
        filing("2", "4/A", "2024-02-06 18:00", body=form4(CIK, trade, owners=("DOE JANE", "DOE FAMILY TRUST"))),
        filing("1", "4", "2024-02-02 18:00", body=form4(CIK, trade)),
    ]
    assert len(rows()) == 1


@pytest.mark.parametrize("said", [None, "", "soon"])
def test_a_moment_of_acceptance_that_is_none_is_named(sec, rows, said):
    sec.filings[CIK] = [filing("1", "8-K", "2024-02-02 18:00", acceptanceDateTime=said)]
    with pytest.raises(UnexpectedShapeError, match="1: `acceptanceDateTime` is"):
        rows()


def test_a_trade_after_its_form_is_named_and_the_others_stay(sec, fetcher, clock):
    good, wrong = ("P", "2024-02-01", 100, 10), ("P", "2024-02-25", 7, 10)
    page = filing("3", "4", "2024-02-05 18:00", body="")
    page["document"] = HTML.body.decode()
    sec.filings[CIK] = [
        page,
        filing("2", "4", "2024-02-20 18:00", body=form4(CIK, wrong)),
        filing("1", "4", "2024-02-02 18:00", body=form4(CIK, good)),
    ]
    found, errors = edgar.Edgar(fetcher).rows("A", CIK, FIRST, clock.now())
    assert [row["shares"] for row in found] == [100]
    assert sorted((type(error) for error in errors), key=str) == [UnexpectedShapeError, UnreadableAnswerError]


def test_a_header_that_does_not_say_leaves_the_later_reading(sec, rows):
    told = filing("1", "8-K", "2024-02-02 18:00")
    told["document"] = told["document"].replace("<ACCEPTANCE-DATETIME>", "<ACCEPTED>")
    sec.filings[CIK] = [told]
    assert [row["available_at"] for row in rows()] == [utc("2024-02-03 04:00")]


def test_what_the_company_owns_of_others_is_no_trade_of_its_insiders(sec, rows):
    body = form4(999, ("P", "2024-01-08", 100, 10))
    sec.filings[CIK] = [filing("1-24-1", "4", "2024-01-10 18:30", body=body)]
    assert rows() == []


def test_filings_are_asked_for_once(sec, rows, clock):
    trade = ("P", "2024-01-08", 100, 10)
    sec.filings[CIK] = [filing(f"1-24-{n}", "4", "2024-01-10 18:30", body=form4(CIK, trade)) for n in range(5)]
    assert len(rows()) == 5
    clock.advance(days=30)
    sec.filings[CIK].insert(0, filing("1-24-9", "4", "2024-03-20 18:30", body=form4(CIK, trade)))
    before = len(sec.asked)
    assert len(rows()) == 6
    assert [path.rpartition("/")[2] for path in sec.paths[before:]] == [f"CIK{CIK:010d}.json", "1-24-9.txt"]


def test_a_form_that_cannot_be_read_is_named_and_the_others_stay(sec, fetcher, clock):
    good = form4(CIK, ("P", "2024-01-08", 100, 10))
    sec.filings[CIK] = [
        filing("1-24-1", "4", "2024-01-10 18:30", body=good),
        filing("1-24-2", "4", "2024-01-10 18:30", body="<XML><ownershipDocument></XML>"),
        filing("1-24-3", "4", "2024-01-10 18:30", body=good.replace(">100<", ">many<")),
        filing("1-24-4", "4", "2024-01-10 18:30", body="on paper"),
    ]
    found, errors = edgar.Edgar(fetcher).rows("A", CIK, FIRST, clock.now())
    assert len(found) == 1
    assert [error.asked[-10:] for error in errors] == ["1-24-2.txt", "1-24-3.txt", "1-24-4.txt"]
    assert "'many' where a number is due" in str(errors[1])


def test_who_does_not_say_who_he_is_is_never_asked_again(sec, clock, limits, tmp_path):
    nobody = edgar.provider(LiveSettings(sec_url=sec.url, sec_data_url=sec.url, sec_contact="python"))
    fetcher = Fetcher(RawStore(Lake(str(tmp_path))), Http(nobody, limits, clock))
    with pytest.raises(UndeclaredAgentError, match="EARLYSIGNAL_LIVE__SEC_CONTACT"):
        edgar.Edgar(fetcher).ciks(FOREVER)
    assert len(sec.asked) == 1
    assert sec.asked[0].headers["accept-encoding"] == "gzip, deflate"


def test_too_much_traffic_pauses_everyone_for_ten_minutes(sec, fetcher, clock, limits):
    begin = clock.now()
    sec.fail(stand_in.THRESHOLD)
    assert edgar.Edgar(fetcher).ciks(FOREVER) == {"A": CIK}
    assert 600 <= (clock.now() - begin).total_seconds() < 601
    sec.fail(stand_in.THRESHOLD, times=9)
    with pytest.raises(TrafficLimitError):
        edgar.Edgar(fetcher).filings(CIK, FIRST, FOREVER)
    assert limits.paused("sec") == pytest.approx(600, abs=1), "for others, too"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (as_text("<html>Forbidden</html>", 403), RefusedError),
        (stand_in.NO_SUCH_KEY, NotFoundError),
        (HTML, UnreadableAnswerError),
        (as_json({"filings": {}}), UnexpectedShapeError),
        (as_json({"filings": {"recent": {"accessionNumber": ["1"]}}}), UnexpectedShapeError),
        (as_json([]), UnexpectedShapeError),
    ],
    ids=str,
)
def test_each_failure_has_its_class(sec, fetcher, fault, error):
    sec.fail(fault, times=9)
    with pytest.raises(error) as raised:
        edgar.Edgar(fetcher).filings(CIK, FIRST, FOREVER)
    assert type(raised.value) is error


def test_a_filing_that_is_cut_off_is_asked_again(sec, rows):
    whole = filing("1-24-1", "4", "2024-01-10 18:30", body=form4(CIK, ("P", "2024-01-08", 100, 10)))
    sec.filings[CIK] = [whole]
    recent = as_json({"filings": {"recent": stand_in._columns([whole]), "files": []}})
    sec.fail(recent, as_text(whole["document"][:700]))
    assert len(rows()) == 1


# 13F

APPLE, TESLA = "037833100", "88160R101"


def a_report(period="12-31-2023", accepted="2024-02-01 10:00", *holdings, amendment=None, cik=7):
    held = holdings or ((APPLE, 100, "SH", None),)
    one = filing("7-24-1", "13F-HR", accepted, body=form13f(period, *held, amendment=amendment))
    return thirteenf.report(Answer(Request("sec", "/x.txt"), one["document"].encode(), utc("2024-05-01")), cik)


def test_a_report_holds_shares_and_neither_options_nor_debt():
    held = [(APPLE, 100, "SH", None), (APPLE, 50, "SH", None), (APPLE, 9, "SH", "Put"), (TESLA, 8, "PRN", None)]
    report = a_report("12-31-2023", "2024-02-01 10:00", *held)
    assert report.shares == {APPLE: 150}
    assert report.period_end == pd.Timestamp("2023-12-31")
    assert report.accepted_at == utc("2024-02-01 15:00")


def test_holdings_are_known_when_all_reports_are_due():
    known = pd.Timestamp("2024-02-14 23:59:59", tz="America/New_York").tz_convert("UTC")
    reports = [
        a_report(),
        a_report("12-31-2023", "2024-02-10 10:00", (APPLE, 40, "SH", None), (TESLA, 5, "SH", None), cik=8),
        a_report("12-31-2023", "2024-02-15 10:00", (APPLE, 1000, "SH", None), cik=9),
    ]
    symbols = {APPLE: "AAPL"}
    assert thirteenf.holdings(reports, symbols, known - pd.Timedelta(seconds=1)) == []
    (row,) = thirteenf.holdings(reports, symbols, known)
    expected = {"symbol": "AAPL", "period_end": pd.Timestamp("2023-12-31"), "shares_held": 140.0, "holders": 2.0}
    assert row == expected | {"available_at": known}, "without the one that came too late"
    checked("institutional_holdings", pd.DataFrame([row]))


@pytest.mark.parametrize(("amendment", "shares"), [("RESTATEMENT", 30), ("NEW HOLDINGS", 130)])
def test_an_amendment_replaces_or_adds(amendment, shares):
    later = a_report("12-31-2023", "2024-02-02 10:00", (APPLE, 30, "SH", None), amendment=amendment)
    (row,) = thirteenf.holdings([later, a_report()], {APPLE: "AAPL"}, utc("2024-06-01"))
    assert row["shares_held"] == shares


def test_a_deadline_on_a_weekend_moves_to_the_next_session():
    assert thirteenf.deadline(pd.Timestamp("2022-12-31")).tz_convert("America/New_York").day == 14
    assert thirteenf.deadline(pd.Timestamp("2023-09-30")).tz_convert("America/New_York").day == 14
    assert thirteenf.deadline(pd.Timestamp("2024-12-31")).tz_convert("America/New_York").day == 14
    assert thirteenf.deadline(pd.Timestamp("2020-12-31")).tz_convert("America/New_York").day == 16, "Presidents' Day"


def test_reports_come_from_the_managers_list(sec, fetcher, clock):
    sec.filings[7] = [
        filing("7-24-1", "13F-HR", "2024-02-01 10:00", body=form13f("12-31-2023", (APPLE, 100, "SH", None))),
        filing("7-24-2", "13F-NT", "2024-02-01 10:00"),
    ]
    sec.filings[7].append(filing("7-24-3", "13F-HR/A", "2024-02-02 10:00", body="<XML>"))
    (report,), (error,) = thirteenf.ThirteenF(fetcher).reports(7, FIRST, clock.now())
    assert report.manager == 7
    assert "no period" in str(error)


@pytest.mark.parametrize("late", ["a manager who reports too late", "one who was not there before"])
def test_other_managers_than_the_quarter_before_make_no_sum(late):
    both = [a_report("09-30-2023", "2023-11-10 10:00", cik=7), a_report("09-30-2023", "2023-11-10 10:00", cik=8)]
    one = [a_report("12-31-2023", "2024-02-10 10:00", cik=7)]
    other = [a_report("12-31-2023", "2024-02-15 10:00", (APPLE, 9000, "SH", None), cik=8)]
    reports = [*both, *one, *other] if "late" in late else [both[0], *one, a_report(cik=9)]
    rows = {row["period_end"].month: row for row in thirteenf.holdings(reports, {APPLE: "AAPL"}, utc("2024-06-01"))}
    assert rows[9]["shares_held"] == (200 if "late" in late else 100)
    assert np.isnan(rows[12]["shares_held"])
    checked("institutional_holdings", pd.DataFrame(rows.values()))


def test_a_report_of_a_quarter_to_come_is_none():
    with pytest.raises(UnexpectedShapeError, match="before its period's end, 2042-06-30"):
        a_report("06-30-2042")


# Recorded documents


def recorded(samples, name, path="/x.txt"):
    return Answer(Request("sec", path), (samples / "sec" / name).read_bytes(), utc("2026-03-01"))


def test_recorded_forms_4(samples):
    def read(name, cik):
        header = b"<ACCEPTANCE-DATETIME>20221215190000\n<XML>\n"
        body = header + (samples / "sec" / name).read_bytes() + b"\n</XML>"
        form = edgar.Filing(cik, "1", "4", pd.Timestamp("2022-12-15"), "", 1)
        return edgar.trades(Answer(Request("sec", "/x.txt"), body, utc("2026-03-01")), "X", form)

    snow = read("form4.snow.xml", 1640147)
    assert {row["code"] for row in snow} == {"S"}
    assert (snow[0]["shares"], snow[0]["price"]) == (73170, 150.841)
    assert np.isnan(snow[0]["planned"]), "a form of before April 2023 does not ask"
    assert snow[0]["available_at"] == utc("2022-12-16 00:00")
    assert read("374WaterForm4.xml", 933972) == [], "a grant"


def test_recorded_lists_of_filings(samples):
    for cik, forms in ((310522, 28), (789019, 67), (1318605, 126)):
        answer = recorded(samples, f"CIK{cik:010d}.json", "/x.json")
        recent, older = edgar._submissions(answer, cik)
        assert sum(one.form == "8-K" for one in recent) == forms
        assert older
    results = next(one for one in recent if one.accession == "0001628280-26-003837")
    assert edgar.accepted_at(results, "UTC") == utc("2026-01-28 21:11:04")
    tickers = edgar._tickers(recorded(samples, "company_tickers.json", "/x.json"))
    assert (tickers["MSFT"], tickers["BRK-B"]) == (789019, 1067983)


def test_a_recorded_13f(samples):
    report = thirteenf.report(recorded(samples, "13F.0001894188-23-000007.txt"), 1894188)
    assert report.accepted_at == utc("2023-11-14 14:38:54")
    assert report.period_end == pd.Timestamp("2023-09-30")
    assert len(report.shares) == 14
    assert report.shares["023135106"] == 137500
    edgar.judge(recorded(samples, "13F.0001894188-23-000007.txt"))


def test_json_of_a_page_is_none(sec, fetcher):
    sec.fail(as_text(json.dumps({"0": {"cik_str": "7", "ticker": "A"}})))
    with pytest.raises(UnexpectedShapeError, match="a company without its `cik_str`"):
        edgar.Edgar(fetcher).ciks(FOREVER)
