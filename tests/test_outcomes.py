"""Outcomes: dated by the moment from which they could be known, and the same whenever they are collected."""

import shutil
from pathlib import Path

import hand_made
import knowable
import ledgers
import numpy as np
import pandas as pd
import pytest
from hand_made import closes, expected, night, prices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import execute

from earlysignal_core.errors import MissingPartitionError
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import days, outcomes, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.predictions import Prediction
from earlysignal_core.ledger.vocabulary import Horizon, OutcomeStatus
from earlysignal_core.monitoring.outcomes import Collected, collect_outcomes
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

# Of an announcement that is expected on Tuesday 2018-07-10: the close of 07-03, the windows' ends, the tenth session.
START, WEEK, MONTH = "2018-07-03", "2018-07-10", "2018-08-02"
END = night("2019-02-20")
MARKET = prices(knowable.MARKET)


def earnings(*rows: tuple[object, ...], symbol: str = "A") -> pd.DataFrame:
    return knowable.announcements(symbol, *rows)


PLAIN = earnings(("18-Jun", "2018-07-10", 1.0, 1.5))


class World:
    """A lake and a ledger with predictions."""

    def __init__(self, ledger: Ledger, folder: Path, *made: Prediction, **tables: pd.DataFrame) -> None:
        bars = [prices("A"), MARKET] if "ohlcv" not in tables else [tables["ohlcv"]]
        self.lake, self.source = hand_made.made(folder, **{"earnings": PLAIN} | tables | {"ohlcv": pd.concat(bars)})
        self.ledger = ledger
        predictions.record(ledger, made or [expected("A", "2018-07-10")])

    def collect(self, now: pd.Timestamp) -> Collected:
        return collect_outcomes(self.ledger, self.lake, self.source, now)

    def told(self, horizon: Horizon = Horizon.LABEL, prediction_id: int = 1) -> list[tuple[object, ...]]:
        """Status, day and figures of every revision of a horizon; a missing figure is None."""
        rows = outcomes.revisions(self.ledger, prediction_id)
        rows = rows[rows["horizon"] == horizon]
        figures = {
            Horizon.LABEL: ["actual_class", "earnings_surprise_pct"],
            Horizon.DAYS_7: ["actual_return_7d"],
            Horizon.DAYS_30: ["actual_return_30d"],
        }[horizon]
        return [
            (
                row["status"],
                f"{row['outcome_date']:%m-%d %H:%M}",
                *(None if np.isnan(row[name]) else row[name] for name in figures),
            )
            for row in rows.to_dict("records")
        ]


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path):
    return lambda *made, **tables: World(ledger, tmp_path, *made, **tables)


def revisions(ledger: Ledger) -> list[tuple[object, ...]]:
    return execute(
        ledger,
        "SELECT prediction_id, horizon, revision, status, outcome_date, actual_class, earnings_surprise_pct, "
        "actual_return_7d, actual_return_30d, correct_prediction FROM ml_outcomes "
        "ORDER BY prediction_id, horizon, revision",
    )


# Labels


def test_an_announcement_is_an_outcome_from_the_moment_at_which_it_is_known(world) -> None:
    it = world()
    known = pd.Timestamp("2018-07-10 22:00", tz="UTC")
    assert it.collect(known - pd.Timedelta("1us")).counts == {(Horizon.DAYS_7, OutcomeStatus.OBSERVED): 1}
    assert it.collect(known).counts == {(Horizon.LABEL, OutcomeStatus.OBSERVED): 1}
    assert it.told() == [("observed", "07-10 22:00", 1, pytest.approx(50))]
    assert it.collect(known).counts == {}
    assert it.collect(END).counts == {(Horizon.DAYS_30, OutcomeStatus.OBSERVED): 1}


def test_shadow_predictions_have_outcomes_and_later_ones_do_not_exist_yet(world) -> None:
    shadow = expected("A", "2018-07-10", model_version="v2018.3.1", served=False)
    later = expected("A", "2018-07-10", model_version="v2018.3.2", prediction_date=night("2018-07-20"))
    it = world(expected("A", "2018-07-10"), shadow, later)
    assert it.collect(night("2018-07-19")).counts[Horizon.LABEL, OutcomeStatus.OBSERVED] == 2
    assert it.told(prediction_id=2) == it.told(prediction_id=1)
    assert it.told(prediction_id=3) == []
    assert it.collect(night("2018-07-20")).counts[Horizon.LABEL, OutcomeStatus.OBSERVED] == 1


def test_a_moved_date_is_the_same_event_even_in_the_next_quarter(world) -> None:
    moved = earnings(("18-Jun", "2018-09-27", np.nan, np.nan), ("18-Jun", "2018-10-03", 1.0, 1.0))
    it = world(expected("A", "2018-09-27"), earnings=moved)
    it.collect(night("2018-10-03"))
    assert it.told() == []
    it.collect(night("2018-10-04"))
    assert it.told() == [("observed", "10-03 22:00", 0, 0)]


def test_a_late_announcement_was_no_event_and_is_observed_when_it_comes(world) -> None:
    late = earnings(("18-Jun", "2018-08-20", 1.0, 1.5))
    it = world(earnings=late)
    assert it.collect(pd.Timestamp("2018-07-17 23:59", tz="UTC")).waiting[Horizon.LABEL] == 1
    found = it.collect(pd.Timestamp("2018-07-18", tz="UTC"))
    assert found.counts[Horizon.LABEL, OutcomeStatus.NO_EVENT] == 1
    assert found.waiting[Horizon.LABEL] == 0
    it.collect(night("2018-08-21"))
    told = [("no_event", "07-18 00:00", None, None), ("observed", "08-20 22:00", 1, pytest.approx(50))]
    assert it.told() == told
    it.collect(END)
    assert it.told() == told


def test_an_announcement_that_comes_half_a_year_late_is_not_waited_for(world) -> None:
    too_late = earnings(("18-Jun", "2019-01-20", 1.0, 1.5))
    it = world(earnings=too_late)
    it.collect(END)
    assert it.told() == [("no_event", "07-18 00:00", None, None)]


def test_a_row_without_an_actual_tells_nothing_until_it_has_one(world) -> None:
    it = world(earnings=earnings(("18-Jun", "2018-07-10", 1.0, np.nan), ("18-Jun", "2018-07-25", 1.0, 2.0)))
    it.collect(night("2018-07-20"))
    it.collect(END)
    assert [row[:3] for row in it.told()] == [("no_event", "07-18 00:00", None), ("observed", "07-25 22:00", 1)]


@pytest.mark.parametrize("estimate", [0.0, np.nan])
def test_without_an_estimate_the_announcement_is_observed_and_has_no_class(world, estimate: float) -> None:
    it = world(earnings=earnings(("18-Jun", "2018-07-10", estimate, 1.5)))
    it.collect(END)
    assert it.told() == [("observed", "07-10 22:00", None, None)]


def test_a_correction_is_restated_and_what_repeats_or_tells_nothing_is_not(world) -> None:
    rows = earnings(
        ("18-Jun", "2018-07-10", 1.0, 1.5),
        ("18-Jun", "2018-07-20", 1.0, 1.5),
        ("18-Jun", "2018-08-01", 1.0, 1.1),
        ("18-Jun", "2018-08-10", 0.0, 1.1),
    )
    it = world(earnings=rows)
    for day in ("2018-07-15", "2018-07-25", "2018-08-05"):
        it.collect(night(day))
    told = [("observed", "07-10 22:00", 1, pytest.approx(50)), ("restated", "08-01 22:00", 0, pytest.approx(10))]
    assert it.told() == told
    it.collect(END)
    assert it.told() == told


def test_of_two_results_at_one_moment_the_first_by_date_holds(world) -> None:
    twice = earnings(("18-Jun", "2018-07-10", 1.0, 1.5), ("18-Jun", "2018-07-09", 1.0, 1.1))
    it = world(earnings=twice.assign(available_at=pd.Timestamp("2018-07-10 22:00", tz="UTC")))
    it.collect(END)
    assert it.told() == [("observed", "07-10 22:00", 0, pytest.approx(10))]


def test_a_correction_that_comes_too_late_is_not_looked_for(world) -> None:
    last, too_late = ("18-Jun", "2019-01-13", 1.0, 1.2), ("18-Jun", "2019-01-14", 1.0, 1.0)
    it = world(earnings=pd.concat([PLAIN, earnings(last, too_late)]))
    it.collect(END)
    assert [row[:2] for row in it.told()] == [("observed", "07-10 22:00"), ("restated", "01-13 22:00")]


def test_finished_days_bound_what_is_looked_at_again(world, ledger: Ledger) -> None:
    last = ("18-Jun", "2019-01-13", 1.0, 1.2)
    it = world(earnings=pd.concat([PLAIN, earnings(last)]))
    it.collect(night("2019-01-10"))
    days.finish_day(ledger, pd.Timestamp("2019-01-10"), night("2019-01-10"))
    it.collect(END)  # weeks later: what came since the last finished day is not lost
    assert [row[0] for row in it.told()] == ["observed", "restated"]


def test_an_announcement_that_the_lake_learns_of_late_replaces_no_event(world) -> None:
    it = world(earnings=PLAIN.iloc[:0])
    it.collect(night("2018-07-18"))
    lake, source = it.lake, it.source
    hand_made.made(Path(lake.url), earnings=PLAIN)
    collect_outcomes(it.ledger, lake, source, night("2018-07-20"))
    collect_outcomes(it.ledger, lake, source, night("2018-07-21"))
    assert [row[:2] for row in it.told()] == [("no_event", "07-18 00:00"), ("observed", "07-10 22:00")]


# Returns


@pytest.mark.parametrize(
    ("horizon", "last"), [(Horizon.DAYS_7, WEEK), (Horizon.DAYS_30, MONTH)], ids=["7 days", "30 days"]
)
def test_a_return_is_known_with_the_last_bar(world, horizon: Horizon, last: str) -> None:
    it = world()
    known = pd.Timestamp(f"{last} 20:00", tz="UTC")
    it.collect(known - pd.Timedelta("1us"))
    assert it.told(horizon) == []
    it.collect(known)
    before, after = closes(prices("A"), START, last)
    assert it.told(horizon) == [("observed", f"{known:%m-%d %H:%M}", pytest.approx(after / before - 1))]


def test_windows_end_with_the_last_session_within_their_days(world) -> None:
    # Seven days after Friday 2018-06-29 is Friday 07-06; thirty days after it is Sunday 07-29: Friday 07-27.
    it = world(expected("A", "2018-07-06"), earnings=earnings(("18-Jun", "2018-07-06", 1.0, 1.0)))
    it.collect(END)
    assert it.told(Horizon.DAYS_7)[0][1] == "07-06 20:00"
    assert it.told(Horizon.DAYS_30)[0][1] == "07-27 20:00"


def raw(bars: pd.DataFrame, since: str, value: float = 2.0) -> pd.DataFrame:
    """The bars in the shares of their day, of which each becomes `value` on a session."""
    factor = np.where(bars["session"] < since, value, 1.0)
    named = {name: bars[name] * factor for name in ("open", "high", "low", "close")}
    return bars.assign(**named, volume=bars["volume"] / factor)


@pytest.mark.parametrize("late", [0, 5], ids=["known with the bar", "known five days late"])
def test_a_split_inside_the_window_is_worked_in_as_soon_as_it_is_known(world, late: int) -> None:
    split = knowable.actions("A", ("2018-07-09", "split", 2.0))
    split[KNOWABLE] += pd.Timedelta(days=late)
    it = world(ohlcv=pd.concat([raw(prices("A"), "2018-07-09"), MARKET]), corporate_actions=split)
    known = pd.Timestamp("2018-07-10 20:00", tz="UTC") + pd.Timedelta(days=max(late - 1, 0))
    it.collect(known - pd.Timedelta("1us"))
    assert it.told(Horizon.DAYS_7) == []
    it.collect(END)
    before, after = closes(prices("A"), START, WEEK)
    assert it.told(Horizon.DAYS_7) == [("observed", f"{known:%m-%d %H:%M}", pytest.approx(after / before - 1))]


def test_a_jump_that_no_split_explains_has_no_return(world) -> None:
    jump = pd.concat([raw(prices("A"), "2018-07-09"), MARKET])
    it = world(ohlcv=jump)
    it.collect(night("2018-07-11"))
    assert it.told(Horizon.DAYS_7) == [("observed", "07-10 20:00", None)]


def test_a_jump_in_raw_prices_waits_ten_sessions_for_its_split(world) -> None:
    jump = pd.concat([raw(prices("A"), "2018-07-09"), MARKET])
    it = world(ohlcv=jump, corporate_actions=knowable.actions("A", ("2018-03-01", "split", 1.5)))
    it.collect(night("2018-07-24"))
    assert it.told(Horizon.DAYS_7) == []
    it.collect(night("2018-07-25"))
    assert it.told(Horizon.DAYS_7) == [("observed", "07-24 20:00", None)]


def test_a_stock_that_stops_is_delisted_with_the_return_to_its_last_price_once_that_is_sure(world) -> None:
    bars = prices("A", until="2018-07-06")
    it = world(ohlcv=pd.concat([bars, MARKET]))
    it.collect(night("2018-07-24"))
    assert it.told(Horizon.DAYS_7) == []
    it.collect(night("2018-08-20"))
    before, after = closes(bars, START, "2018-07-06")
    gone = pytest.approx(after / before - 1)
    assert it.told(Horizon.DAYS_7) == [("delisted", "07-24 20:00", gone)]
    assert it.told(Horizon.DAYS_30) == [("delisted", "08-16 20:00", gone)]


def test_a_stock_that_was_gone_before_has_no_price_to_start_from(world) -> None:
    it = world(ohlcv=pd.concat([prices("A", until="2018-06-29"), MARKET]))
    it.collect(night("2018-07-25"))
    assert it.told(Horizon.DAYS_7) == [("observed", "07-24 20:00", None)]


@pytest.mark.parametrize("missing", [START, WEEK])
def test_a_missing_bar_at_an_end_is_no_delisting_and_no_return(world, missing: str) -> None:
    bars = prices("A")
    it = world(ohlcv=pd.concat([bars[bars["session"] != missing], MARKET]))
    it.collect(night("2018-07-24"))
    assert it.told(Horizon.DAYS_7) == []
    it.collect(night("2018-07-25"))
    assert it.told(Horizon.DAYS_7) == [("observed", "07-24 20:00", None)]


def test_a_bar_that_is_late_dates_the_return(world) -> None:
    bars = prices("A")
    bars.loc[bars["session"] == WEEK, KNOWABLE] += pd.Timedelta(days=3)
    it = world(ohlcv=pd.concat([bars, MARKET]))
    it.collect(night("2018-07-13"))
    assert it.told(Horizon.DAYS_7) == []
    it.collect(night("2018-07-14"))
    assert it.told(Horizon.DAYS_7)[0][1] == "07-13 20:00"


@pytest.mark.parametrize("day", ["2018-07-25", "2018-09-01"])
def test_a_bar_that_is_too_late_changes_nothing_whenever_it_is_collected(world, day: str) -> None:
    bars = prices("A")
    bars.loc[bars["session"] == WEEK, KNOWABLE] += pd.Timedelta(days=20)
    it = world(ohlcv=pd.concat([bars, MARKET]))
    it.collect(night(day))
    assert it.told(Horizon.DAYS_7) == [("observed", "07-24 20:00", None)]


def test_prices_that_stop_for_all_tell_of_no_delisting_and_are_overdue(world) -> None:
    bars = [prices(symbol, until="2018-07-06") for symbol in ("A", knowable.MARKET)]
    it = world(ohlcv=pd.concat(bars))
    found = it.collect(night("2018-08-01"))
    assert (found.waiting[Horizon.DAYS_7], found.overdue) == (1, 0)
    assert found.oldest_waiting == pd.Timestamp("2018-07-04", tz="UTC")
    assert it.collect(night("2018-08-02")).overdue == 1
    assert it.told(Horizon.DAYS_7) == []


def test_a_source_without_prices_has_labels_only(ledger: Ledger, tmp_path: Path) -> None:
    lake, source = hand_made.made(tmp_path, earnings=PLAIN)
    predictions.record(ledger, [expected("A", "2018-07-10")])
    found = collect_outcomes(ledger, lake, source, END)
    assert found.counts == {(Horizon.LABEL, OutcomeStatus.OBSERVED): 1}
    assert found.waiting == {Horizon.LABEL: 0}


def test_returns_are_those_of_the_evaluation(world) -> None:
    it = world()
    it.collect(END)
    prediction = predictions.read(it.ledger, night("2018-01-01"), END)
    events = prediction[["event", "symbol", "announced_on", "as_of"]].assign(session="amc")
    bars = Prices.load(it.lake, it.source, it.source.quarters).on_one_basis()
    judged = outcome_returns(events, bars, knowable.MARKET).returns
    assert it.told(Horizon.DAYS_7)[0][2] == judged["return_7d"].iloc[0]


# What is read


def test_nothing_is_read_where_nothing_waits(ledger: Ledger, tmp_path: Path, world) -> None:
    nowhere, source = Lake(str(tmp_path / "nowhere")), hand_made.made(tmp_path, earnings=PLAIN, ohlcv=MARKET)[1]
    found = collect_outcomes(ledger, nowhere, source, END)
    assert (found.counts, found.oldest_waiting, found.overdue) == ({}, None, 0)
    it = world()
    it.collect(night("2018-09-01"))
    days.finish_day(ledger, pd.Timestamp("2019-03-02"), night("2019-03-02"))
    assert collect_outcomes(ledger, nowhere, it.source, night("2019-03-03")).counts == {}


def test_prices_are_read_only_where_a_window_has_ended(world) -> None:
    it = world()
    shutil.rmtree(Path(it.lake.url) / "ohlcv")
    assert it.collect(pd.Timestamp("2018-07-10 19:59", tz="UTC")).waiting[Horizon.DAYS_7] == 1
    with pytest.raises(MissingPartitionError):
        it.collect(night("2018-10-11"))


def test_a_past_quarter_that_is_not_there_is_an_error_and_no_event(world) -> None:
    it = world()
    (Path(it.lake.url) / "earnings" / "2018-Q3.parquet").unlink()
    with pytest.raises(MissingPartitionError):
        it.collect(END)
    assert it.told() == []


# Whenever it is collected


def odd_world(seed: int, folder: Path) -> tuple[Lake, SourceDescription, list[Prediction]]:
    """Six stocks of which everything comes late, twice, corrected, split or not at all."""
    random = np.random.default_rng(seed)
    announced, bars, splits, made = [], [MARKET], [], []
    for symbol in "ABCDEF":
        day = pd.Timestamp("2018-07-09") + pd.Timedelta(days=int(random.integers(0, 25)))
        made.append(expected(symbol, f"{day:%Y-%m-%d}"))
        if random.random() < 0.3:
            made.append(expected(symbol, f"{day:%Y-%m-%d}", model_version="v2018.3.1", served=False))
        comes = day + pd.to_timedelta(np.cumsum(random.choice([0, 3, 10, 30], 3) + np.array([0, 1, 1])), "D")
        figures = [(random.choice([0.0, 1.0, 1.0]), random.choice([1.0, 1.5, np.nan])) for _ in comes]
        kept = int(random.integers(0, 4))
        rows = [("18-Jun", f"{d:%Y-%m-%d}", *pair) for d, pair in zip(comes, figures, strict=True)][:kept]
        announced.append(earnings(*rows, symbol=symbol).astype({"eps_estimate": "float64", "eps_actual": "float64"}))
        own = prices(symbol, until=str(random.choice(["2018-07-06", "2018-07-20", hand_made.LAST_BAR])), seed=seed)
        own = own[random.random(len(own)) > 0.03]
        own[KNOWABLE] += pd.to_timedelta(np.where(random.random(len(own)) < 0.05, random.integers(1, 30), 0), "D")
        if random.random() < 0.7:
            on = f"{knowable.days(1, f'{day - pd.Timedelta(days=int(random.integers(-10, 6))):%Y-%m-%d}')[0]:%Y-%m-%d}"
            own = raw(own, on)
            split = knowable.actions(symbol, (on, "split", 2.0))
            splits.append(split.assign(**{KNOWABLE: split[KNOWABLE] + pd.Timedelta(days=int(random.integers(0, 20)))}))
        bars.append(own)
    actions = pd.concat([knowable.actions("A", ("2018-01-10", "split", 1.5)), *splits])
    tables = {"earnings": pd.concat(announced), "ohlcv": pd.concat(bars), "corporate_actions": actions}
    return *hand_made.made(folder, **tables), made


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    calls=st.lists(st.integers(0, 120), max_size=4, unique=True),
    finishes=st.booleans(),
)
def test_any_partition_of_the_days_gives_the_same_revisions(
    ledger: Ledger, tmp_path_factory: pytest.TempPathFactory, seed: int, calls: list[int], *, finishes: bool
) -> None:
    lake, source, made = odd_world(seed, tmp_path_factory.mktemp("odd"))
    end = night("2018-11-15")

    def after(moments: list[pd.Timestamp]) -> list[tuple[object, ...]]:
        ledgers.empty(ledger)
        predictions.record(ledger, made)
        for number, moment in enumerate(moments):
            collect_outcomes(ledger, lake, source, moment)
            if finishes and number == 0:
                days.finish_day(ledger, moment.tz_localize(None).normalize(), moment)
        assert collect_outcomes(ledger, lake, source, moments[-1]).counts == {}
        return revisions(ledger)

    moments = [night("2018-07-05") + pd.Timedelta(days=offset) for offset in sorted(calls)]
    assert after([*moments, end]) == after([end])


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), offset=st.integers(0, 60))
def test_what_is_not_known_yet_changes_nothing(
    ledger: Ledger, tmp_path_factory: pytest.TempPathFactory, seed: int, offset: int
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    lake, source, made = odd_world(seed, folder)
    now = night("2018-07-10") + pd.Timedelta(days=offset)

    def found() -> list[tuple[object, ...]]:
        ledgers.empty(ledger)
        predictions.record(ledger, made)
        collect_outcomes(ledger, lake, source, now)
        return revisions(ledger)

    before = found()
    for table in source.tables:
        for quarter in lake.quarters(table):
            rows = lake.read(table, [quarter])
            lake.write(table, quarter, rows[rows[KNOWABLE] <= now].reset_index(drop=True))
    assert found() == before
