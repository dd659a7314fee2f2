"""FRED by vintage and the BLS by what we saw: each value with the moment from which it was known."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from stand_ins import bls as bls_stand_in
from stand_ins import fred as fred_stand_in
from stand_ins.bls import BlsStandIn
from stand_ins.fred import FredStandIn
from stand_ins.server import HTML, FakeClock, as_json, as_text

from earlysignal_core.lake import Lake
from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live import bls, fred
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    FutureDateError,
    QuotaExhaustedError,
    RefusedError,
    ServerFailedError,
    TooManyVintagesError,
    UnexpectedShapeError,
    UnknownSeriesError,
    UnreadableAnswerError,
    UnusableSeriesError,
)
from earlysignal_core.sources.live.fetch import Fetcher
from earlysignal_core.sources.live.http import Http
from earlysignal_core.sources.live.limits import LocalLimits
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.tables import TABLES
from earlysignal_core.validation import checked

FIRST = pd.Timestamp("2020-01-01")
JANUARY, FEBRUARY = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-02-01")


def end_of(day):
    return pd.Timestamp(f"{day} 23:59:59", tz="America/New_York").tz_convert("UTC")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def fred_there():
    with FredStandIn() as started:
        yield started


@pytest.fixture
def fetcher(fred_there, clock, tmp_path):
    settings = fred.provider(LiveSettings(fred_url=fred_there.url, fred_key=fred_stand_in.KEY))
    return Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, LocalLimits(clock), clock))


@pytest.fixture
def series(fetcher, clock):
    def ask(name, since=None):
        rows = fred.Fred(fetcher).series(name, FIRST, since or clock.now(), clock.now())
        table = checked("macro", pd.DataFrame(rows, columns=TABLES["macro"].column_names))
        return [list(row) for row in zip(table["period"], table["value"], table["available_at"], strict=True)]

    return ask


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("window", [1, 2, 1000])
def test_each_vintage_is_known_at_the_end_of_its_day(fred_there, series, monkeypatch, clipped, window):
    monkeypatch.setattr(fred, "_WINDOW", window)
    fred_there.clipped = clipped
    fred_there.vintages["UNRATE"] = {
        "2024-01-05": {"2023-12-01": "3.7"},
        "2024-02-02": {"2024-01-01": "3.7", "2023-12-01": "3.8"},
        "2024-02-20": {"2024-01-01": "."},
        "2024-02-25": {"2024-01-01": "3.9"},
    }
    rows = series("UNRATE")
    december = pd.Timestamp("2023-12-01")
    assert rows[:3] == [
        [december, 3.7, end_of("2024-01-05")],
        [december, 3.8, end_of("2024-02-02")],
        [JANUARY, 3.7, end_of("2024-02-02")],
    ]
    assert np.isnan(rows[3][1]), "withdrawn"
    assert rows[4] == [JANUARY, 3.9, end_of("2024-02-25")]
    assert len(rows) == 5


def test_a_value_that_is_missing_from_the_beginning_is_no_row(fred_there, series):
    fred_there.vintages["DGS10"] = {"2024-01-16": {"2024-01-12": "3.96", "2024-01-15": "."}}
    assert [row[1] for row in series("DGS10")] == [3.96]


def test_more_vintages_than_fit_are_asked_in_windows(fred_there, series):
    days = pd.bdate_range("2016-01-01", "2024-02-29")
    fred_there.vintages["DGS10"] = {
        f"{known:%Y-%m-%d}": {f"{day:%Y-%m-%d}": f"{n / 100:.2f}"} for n, (day, known) in enumerate(pairwise(days))
    }
    rows = series("DGS10")
    assert len(days) > 2000
    assert [row[0] for row in rows] == [day for day in days[:-1] if day >= FIRST]
    known = [end_of(f"{day:%Y-%m-%d}") for day in days[1:]]
    assert [row[2] for row in rows] == known[-len(rows) :]


def test_a_second_look_asks_only_whether_there_are_new_vintages(fred_there, series, clock):
    fred_there.vintages["UNRATE"] = {"2024-01-05": {"2023-12-01": "3.7"}}
    series("UNRATE")
    asked = len(fred_there.asked)
    series("UNRATE")
    assert fred_there.paths[asked:] == ["/fred/series/vintagedates"]
    fred_there.vintages["UNRATE"]["2024-03-01"] = {"2024-01-01": "3.8"}
    assert len(series("UNRATE")) == 2


def test_a_long_answer_is_paged(fred_there, series, monkeypatch):
    monkeypatch.setattr(fred, "_ROWS", 3)
    fred_there.vintages["X"] = {"2024-01-05": {f"2023-{month:02d}-01": str(month) for month in range(1, 11)}}
    assert [row[1] for row in series("X")] == list(range(1, 11))
    assert [asked.params["offset"] for asked in fred_there.asked[1:]] == ["0", "3", "6", "9"]


def test_without_vintages_a_value_is_known_two_sessions_later(fred_there, series):
    fred_there.without_vintages["BAMLH0A0HYM2"] = {"2024-02-16": "3.2", "2024-02-20": "."}
    assert series("BAMLH0A0HYM2") == [[pd.Timestamp("2024-02-16"), 3.2, end_of("2024-02-21")]], "a holiday between"


def test_a_vintage_of_tomorrow_is_not_asked_for(fred_there, series, clock):
    fred_there.vintages["X"] = {"2024-01-05": {"2023-12-01": "1"}, "2024-03-02": {"2023-12-01": "2"}}
    assert [row[1] for row in series("X")] == [1]
    clock.advance(hours=14)  # it is the second of March in UTC and still the first in St. Louis
    assert clock.now().day == 2
    assert [row[1] for row in series("X")] == [1]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (fred_stand_in.BAD_KEY, BadKeyError),
        (fred_stand_in.refusal("The series does not exist."), UnknownSeriesError),
        (fred_stand_in.refusal("Variable realtime_end can not be after today's date (2026-05-21)."), FutureDateError),
        (
            fred_stand_in.refusal("This exceeds the maximum number of vintage dates allowed (2000)."),
            TooManyVintagesError,
        ),
        (fred_stand_in.refusal("Bad value."), RefusedError),
        (fred_stand_in.TOO_MANY, QuotaExhaustedError),
        (HTML, UnreadableAnswerError),
        (as_text("<error/>", 502), ServerFailedError),
        (as_json({"vintage_dates": None}), UnexpectedShapeError),
        (as_json([]), UnexpectedShapeError),
    ],
    ids=str,
)
def test_each_failure_of_fred_has_its_class(fred_there, series, fault, error):
    fred_there.fail(fault, times=9)
    with pytest.raises(error) as raised:
        series("UNRATE")
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("observations", "why"),
    [
        (
            [{"date": "2024-01-01", "realtime_start": "2024-02-02", "value": 3.7}],
            "'3.7' where a text is due",
        ),
        ([{"date": "2024-01-01", "realtime_start": "2024-02-02", "value": "n/a"}], "'n/a' where a number"),
        ([{"date": "2024-01-01", "value": "3.7"}], "no field `realtime_start`"),
        ([{"date": "soon", "realtime_start": "2024-02-02", "value": "3.7"}], "'soon' where a date is due"),
        ("none", "where a list is due"),
    ],
)
def test_an_observation_that_cannot_be_read_is_refused(fred_there, series, observations, why):
    fred_there.fail(as_json({"vintage_dates": ["2024-02-02"]}), as_json({"count": 1, "observations": observations}))
    with pytest.raises(UnexpectedShapeError, match=why):
        series("UNRATE")


def test_an_empty_page_before_the_end_is_no_end(fred_there, series):
    fred_there.without_vintages["BAA"] = {"2024-01-02": "5.1", "2024-01-03": "5.2"}
    none = fred_stand_in.refusal("The series does not exist in ALFRED but may exist in FRED.")
    fred_there.fail(none, as_json({"count": 2, "observations": []}))
    with pytest.raises(UnexpectedShapeError, match="nothing from 0 on where there are 2"):
        series("BAA")
    assert len(series("BAA")) == 2, "and is asked again"


def test_an_empty_list_of_vintages_is_no_series_without_any(fred_there, series):
    fred_there.vintages["UNRATE"] = {"2024-02-02": {"2024-01-01": "3.7"}}
    fred_there.fail(as_json({"count": 0, "vintage_dates": []}))
    with pytest.raises(UnexpectedShapeError, match="an empty list of `vintage_dates`"):
        series("UNRATE")


def test_of_monthly_values_without_vintages_nobody_knows_when_they_came_out(fred_there, series):
    fred_there.without_vintages["X"] = {f"2023-{month:02d}-01": "1" for month in range(1, 13)}
    with pytest.raises(UnusableSeriesError, match=r"leave it out of EARLYSIGNAL_LIVE__SERIES"):
        series("X")


def test_a_projection_has_no_place(fred_there, series):
    fred_there.vintages["X"] = {"2024-02-02": {"2025-01-01": "2.1"}}
    with pytest.raises(UnusableSeriesError, match="its value of 2025-01-01 was published on 2024-02-03"):
        series("X")


def test_an_answer_without_vintages_that_shrinks_is_refused(fred_there, fetcher, series, clock):
    days = pd.bdate_range("2024-01-02", periods=30)
    fred_there.without_vintages["X"] = {f"{day:%Y-%m-%d}": "1" for day in days}
    assert len(series("X")) == 30
    clock.advance(days=1)
    fred_there.without_vintages["X"] = {"2024-01-02": "1"}
    assert len(series("X", clock.now())) == 30
    assert any("1 row(s) where there were 30 before" in str(stale.error) for stale in fetcher.take_stale())


# The BLS


def test_a_new_year_dates_nothing_anew(bls_there, bls_rows, clock):
    bls_there.held["LNS14000000"] = {("2024", "M01"): "3.7"}
    before = bls_rows(last=2024)
    clock.advance(days=365)
    bls_there.held["LNS14000000"][("2025", "M01")] = "4.0"
    after = bls_rows(last=2025)
    pd.testing.assert_frame_equal(after.iloc[:1], before)
    assert after["value"].tolist() == [3.7, 4.0]


@pytest.fixture
def bls_there():
    with BlsStandIn() as started:
        yield started


@pytest.fixture
def bls_rows(bls_there, clock, tmp_path):
    settings = bls.provider(LiveSettings(bls_url=bls_there.url, bls_key=bls_stand_in.KEY))
    client = bls.Bls(Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, LocalLimits(clock), clock)))

    def ask(names=("LNS14000000",), first=2023, last=2024, since=None):
        rows = client.series(list(names), first, last, since or clock.now())
        return checked("macro", pd.DataFrame(rows, columns=TABLES["macro"].column_names))

    return ask


def test_a_value_of_the_bls_is_known_from_when_we_first_saw_it(bls_there, bls_rows, clock):
    values = {("2024", "M01"): "3.7", ("2023", "M13"): "3.6", ("2023", "M12"): "-", ("2023", "M11"): "3.7"}
    bls_there.held["LNS14000000"] = values
    begin = clock.now()
    rows = bls_rows()
    assert rows["series"].unique().tolist() == ["UNRATE"], "under the name of its twin"
    assert rows["period"].tolist() == [pd.Timestamp("2023-11-01"), JANUARY], "neither the year's average nor a hole"
    assert (rows["available_at"] >= begin).all()
    clock.advance(days=30)
    values[("2024", "M02")], values[("2024", "M01")] = "3.9", "3.8"
    later = bls_rows()
    assert later["value"].tolist() == [3.7, 3.7, 3.8, 3.9]
    assert (later["available_at"] > begin + pd.Timedelta(days=30)).tolist() == [False, False, True, True]


def test_more_than_fits_is_asked_in_parts(bls_there, bls_rows):
    names = [f"S{n}" for n in range(60)]
    for name in names:
        bls_there.held[name] = {("1990", "M01"): "1", ("2024", "M01"): "2"}
    assert len(bls_rows(names, 1990, 2024)) == 120
    said = [json.loads(asked.body) for asked in bls_there.asked]
    assert [(len(one["seriesid"]), one["startyear"], one["endyear"]) for one in said] == [
        (50, "1990", "2009"),
        (50, "2010", "2024"),
        (10, "1990", "2009"),
        (10, "2010", "2024"),
    ]


@pytest.mark.parametrize("in_a_list", [True, False])
def test_a_partial_success_keeps_what_there_is(bls_there, bls_rows, in_a_list):
    bls_there.in_a_list = in_a_list
    bls_there.held["LNS14000000"] = {("2024", "M01"): "3.7"}
    assert bls_rows(["LNS14000000", "NONE"])["series"].tolist() == ["UNRATE"]


@pytest.mark.parametrize(
    ("fault", "error", "times"),
    [
        (bls_stand_in.THRESHOLD, QuotaExhaustedError, 1),
        (bls_stand_in.refused("The key provided by the User is invalid."), BadKeyError, 1),
        (bls_stand_in.INVALID, RefusedError, 1),
        (bls_stand_in.OVER_CAPACITY, ServerFailedError, 4),
        (HTML, UnreadableAnswerError, 4),
        (as_json({"Results": {}}), UnexpectedShapeError, 1),
        (as_json({"status": "REQUEST_SUCCEEDED", "Results": None}), UnexpectedShapeError, 1),
    ],
    ids=str,
)
def test_each_failure_of_the_bls_has_its_class(bls_there, bls_rows, fault, error, times):
    bls_there.fail(fault, times=9)
    with pytest.raises(error) as raised:
        bls_rows()
    assert type(raised.value) is error
    assert bls_stand_in.KEY not in str(raised.value)
    assert len(bls_there.asked) == times
