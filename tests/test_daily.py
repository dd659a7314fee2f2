"""A day of production: what it predicts and decides, that it knows nothing of what comes later, and that it can die."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaks
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import at_once, count, die_after, empty, execute
from living import (
    ONE_DAY,
    SMALL,
    begun,
    broken,
    contents,
    decide_on,
    due_between,
    files_of,
    live_day,
    lived,
    moment,
    nothing_scored,
    retrain,
    served,
    started,
)
from production import CHAMPION, PREVIOUS, copied

from earlysignal_core import daily, operations
from earlysignal_core.daily import DayError
from earlysignal_core.features.table import active_features
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger import alerts, days, decisions, deployments, predictions, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import RetrainStateError
from earlysignal_core.ledger.vocabulary import DecisionKind, Fallback, Urgency
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.monitoring import retrain_policy
from earlysignal_core.monitoring.daily_records import DRIFT, METRICS, QUALITY
from earlysignal_core.monitoring.day_record import DayRecord
from earlysignal_core.production import Hour, Production, next_day
from earlysignal_core.quarterly import described, make_feature_table, make_labels
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving import challengers
from earlysignal_core.serving.predicting import answer_and_record
from earlysignal_core.settings import Settings
from earlysignal_core.tables import KNOWABLE, TABLES, UNIVERSE, own_date

PSI = {"psi": 0.5, "psi_above_chance": 0.3, "psi_above_usual": 0.3}
DRIFTED = {"features_above_limit": 5.0, "features_drifted": 4.0}


@pytest.fixture
def production(production_lake: Lake, tmp_path: Path, ledger: Ledger) -> Production:
    return begun(production_lake, tmp_path, ledger)


def busiest(lake: Lake) -> pd.Timestamp:
    """The day of October on which most announcements fall due."""
    due = due_between(lake, moment("2015-10-01 02:00"), moment("2015-10-31 02:00"))
    return (due["as_of"] + pd.Timedelta(hours=22)).dt.tz_localize(None).dt.normalize().mode()[0]


# What a day predicts


def test_a_day_predicts_what_has_fallen_due_since_the_day_before_and_no_more(production: Production) -> None:
    first, last = pd.Timestamp("2015-10-05"), pd.Timestamp("2015-10-23")
    seen: list[str] = []
    for day in pd.date_range(first, last):
        made = daily.predict(day, production)
        at = Hour.PREDICT.of(day)
        assert ((made.rows["as_of"] > at - ONE_DAY) & (made.rows["as_of"] <= at)).all()
        assert (made.rows["prediction_date"] == at).all()
        assert made.champion == CHAMPION
        assert made.missed.empty
        seen += made.rows["event"].tolist()
    due = due_between(production.lake, Hour.PREDICT.of(first) - ONE_DAY, Hour.PREDICT.of(last))
    assert len(due) >= 20
    assert sorted(seen) == sorted(due["event"])
    assert count(production.ledger, "prediction_requests") == len(due)


def test_served_features_are_those_of_the_feature_table_bit_for_bit(production: Production) -> None:
    day = busiest(production.lake)
    rows = daily.predict(day, production).rows.set_index("event")
    names = list(active_features(production.source))
    table = production.lake.read("feature_table", [Quarter.of(day)]).set_index("event")
    assert len(rows) >= 2
    assert leaks.moved(table.loc[rows.index, names], rows[names]) == {}
    bundle = bundles.load(production.lake, CHAMPION)
    assert rows["predicted_probability"].tolist() == bundle.predict(table.loc[rows.index]).tolist()
    parity = daily.compare_with_feature_tables(day, production)
    assert (parity.compared, parity.without_row, parity.different) == (len(rows), 0, {})


def test_a_feature_table_that_says_something_else_is_told(production: Production) -> None:
    day = busiest(production.lake)
    event = daily.predict(day, production).rows["event"].iloc[0]
    table = production.lake.read("feature_table", [Quarter.of(day)])
    table.loc[table["event"] == event, "price_change_5d"] += 1e-12
    production.lake.write("feature_table", Quarter.of(day), table)
    assert daily.compare_with_feature_tables(day, production).different == {event: "price_change_5d"}


def test_a_step_that_is_repeated_records_nothing_twice(production: Production) -> None:
    day = busiest(production.lake)
    made = daily.predict(day, production)
    before = contents(production.ledger)
    operations.promote(production.ledger, production.lake, moment("2015-10-01"), PREVIOUS, reason="x", by="x")
    again = daily.predict(day, production)
    pd.testing.assert_frame_equal(again.rows, made.rows)
    after = contents(production.ledger)
    assert after["ml_predictions"] == before["ml_predictions"]
    assert after["prediction_requests"] == before["prediction_requests"]


def test_a_finished_day_is_read_back_whatever_has_changed_since(production: Production) -> None:
    lake, ledger, day = production.lake, production.ledger, busiest(production.lake)
    decided = live_day(day, production)
    rows, chosen = daily.predict(day, production).rows, daily.choose_stocks(day, production)
    said = {monitor: DayRecord.load(lake, monitor, day) for monitor in (DRIFT, QUALITY, METRICS)}
    before = contents(ledger)
    operations.promote(ledger, lake, moment("2015-10-01"), PREVIOUS, reason="x", by="x")
    earnings = lake.read("earnings", [Quarter.of(day)])
    lake.write("earnings", Quarter.of(day), earnings.iloc[: len(earnings) // 2])
    changed = contents(ledger)
    later = Production(Lake(lake.url), ledger, SMALL)
    pd.testing.assert_frame_equal(daily.predict(day, later).rows, rows)
    pd.testing.assert_frame_equal(daily.choose_stocks(day, later), chosen)
    again = live_day(day, later)
    pd.testing.assert_frame_equal(again.decisions, decided.decisions)
    pd.testing.assert_frame_equal(again.lines, decided.lines)
    for monitor, record in said.items():
        np.testing.assert_equal(DayRecord.load(lake, monitor, day).figures, record.figures)
    assert contents(ledger) == changed
    assert changed["ml_predictions"] == before["ml_predictions"]


def test_a_day_out_of_order_is_refused(production: Production) -> None:
    days.finish_day(production.ledger, pd.Timestamp("2015-10-10"), moment("2015-10-10 06:00"))
    before = contents(production.ledger)
    for step in (daily.predict, daily.decide):
        with pytest.raises(DayError, match=r"the last finished day is 2015-10-10. Remedy: live the days in order"):
            step(pd.Timestamp("2015-10-12"), production)
    assert contents(production.ledger) == before


def test_a_late_day_leaves_out_what_was_announced_meanwhile_and_reports_it(production: Production) -> None:
    for day in pd.date_range("2015-10-06", "2015-10-20"):
        due = due_between(production.lake, Hour.PREDICT.of(day) - ONE_DAY, Hour.PREDICT.of(day))
        earnings = production.lake.read("earnings", [Quarter.of(day), Quarter.of(day) + 1])
        known = earnings[earnings["symbol"].isin(due["symbol"]) & (earnings[KNOWABLE] > Hour.PREDICT.of(day))]
        came = known.groupby("symbol")[KNOWABLE].min().sort_values()
        if len(came) >= 2 and came.iloc[0] < came.iloc[-1]:
            break
    now = came.iloc[0]  # the first of them is known just then
    made = daily.predict(day, production, now)
    assert made.missed["symbol"].tolist() == came[came <= now].index.tolist()
    assert set(made.rows["symbol"]) == set(came[came > now].index)
    assert (made.rows["prediction_date"] == now).all()
    assert count(production.ledger, "prediction_requests") == len(made.rows)


def test_a_date_that_was_moved_away_is_no_announcement(production: Production) -> None:
    day = busiest(production.lake)
    quarter = Quarter.of(day + 7 * ONE_DAY)
    earnings = production.lake.read("earnings", [quarter])
    due = due_between(production.lake, Hour.PREDICT.of(day) - ONE_DAY, Hour.PREDICT.of(day))
    of_event = earnings[earnings["symbol"] == due["symbol"].iloc[0]].iloc[[0]]
    early = pd.Timestamp(day - 10 * ONE_DAY)
    moved = of_event.assign(announced_on=early, eps_actual=np.nan, available_at=early.tz_localize("UTC"))
    production.lake.write("earnings", quarter, pd.concat([moved, earnings], ignore_index=True))
    made = daily.predict(day, production)
    assert made.missed.empty
    assert set(made.rows["event"]) == set(due["event"])


def test_nothing_is_predicted_before_the_first_promotion(production_lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = Production(copied(production_lake, tmp_path), ledger, Settings())
    day = busiest(production_lake)
    made = daily.predict(day, production)
    assert made.champion is None
    assert made.rows.empty
    assert daily.choose_stocks(day, production).empty
    assert count(ledger, "prediction_requests") == count(ledger, "ml_predictions") == 0


def test_prices_may_go_on_after_the_last_announcement(production: Production) -> None:
    assert daily.compare_with_feature_tables(pd.Timestamp("2016-09-01"), production).compared == 0


# Nothing of what comes later


def varied(lake: Lake, folder: Path, at: pd.Timestamp, seed: int | None = None, *, derived: bool = True) -> Lake:
    """A lake whose caches differ in what was not known at a moment, or lack it, with all that is made from them."""
    changed, source = copied(lake, folder), described(lake)
    tables = {name: lake.read(name, lake.quarters(name)) for name in source.tables if name != UNIVERSE}
    tables = leaks.cut(tables, at) if seed is None else leaks.vary(tables, at, seed)
    for name, frame in tables.items():
        date = own_date(TABLES[name], frame)
        for each in source.quarters:
            inside = (date <= each.end) & (date >= each.start if each != source.quarters[0] else True)
            changed.write(name, each, frame[inside].reset_index(drop=True))
    for each in source.event_quarters if derived else []:
        make_labels(each, changed)
        if each >= Quarter.of(at) - 1:
            make_feature_table(each, changed)
    return changed


def lived_from(lake: Lake, ledger: Ledger, folder: Path, day: pd.Timestamp) -> tuple[object, ...]:
    """All that a day says, with a month of predictions behind it and a challenger in shadow, and the retrain after."""
    empty(ledger)
    production = begun(lake, folder, ledger, PREVIOUS)
    source, at = production.source, Hour.PREDICT.of(day - ONE_DAY)
    before = due_between(lake, at - 75 * ONE_DAY, at)
    answer_and_record(ledger, production.lake, source, production.models, before, at, SMALL.serving)
    days.finish_day(ledger, day - ONE_DAY, at)
    live_day(day, production)
    if retrain_requests.in_flight(ledger) is None:
        operations.ask_for_retrain(ledger, lake, Hour.DECIDE.of(day), reason="x", by="x")
    retrain(production)
    files = sorted(file for file in Path(production.lake.url).rglob("*") if file.is_file())
    kept = {
        str(file.relative_to(production.lake.url)): file.read_bytes()
        for file in files
        if file.relative_to(production.lake.url).parts[0] in ("monitoring", "stock_selection", "forward", "models")
        and "latency" not in file.name
    }
    records = [DayRecord.load(production.lake, monitor, day) for monitor in (DRIFT, QUALITY, METRICS)]
    figures = [
        {name: value for name, value in record.figures.items() if "ms" not in name and "latency" not in name}
        for record in records
    ]
    selections = {name: content for name, content in kept.items() if not name.startswith("monitoring")}
    return contents(ledger), figures, selections


_LEAK_DAY = pd.Timestamp("2015-11-02")  # a first session of week and month


@pytest.fixture(scope="module")
def aside(ledger_url: str) -> Iterator[Ledger]:
    """A ledger for the days of this module that are compared."""
    with Ledger(ledger_url, "aside") as opened:
        opened.migrate()
        yield opened


@pytest.fixture(scope="module")
def honest(production_lake: Lake, aside: Ledger, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    return lived_from(production_lake, aside, tmp_path_factory.mktemp("honest"), _LEAK_DAY)


def test_a_day_that_says_something_is_asked_about(honest: tuple[object, ...]) -> None:
    ledger, figures, files = honest
    assert isinstance(ledger, dict)
    assert len(ledger["ml_predictions"]) > 30
    assert len(ledger["ml_outcomes"]) > 20
    assert {row["kind"] for row in ledger["decisions"]} >= {"retrain", "shadow"}
    assert isinstance(files, dict)
    assert any(name.startswith("forward/") for name in files)
    assert f"{bundles.FOLDER}/v2015.1102.0/{bundles.MODEL_TEXT}" in files
    assert isinstance(figures, list)
    assert all(len(each) > 5 for each in figures)


@pytest.mark.slow
def test_what_comes_later_need_not_be_there(
    production_lake: Lake, aside: Ledger, tmp_path: Path, honest: tuple[object, ...]
) -> None:
    lake = varied(production_lake, tmp_path / "cut", Hour.DECIDE.of(_LEAK_DAY))
    np.testing.assert_equal(lived_from(lake, aside, tmp_path / "lived", _LEAK_DAY), honest)


@pytest.mark.slow
def test_what_comes_later_moves_no_bit(
    production_lake: Lake, aside: Ledger, tmp_path_factory: pytest.TempPathFactory, honest: tuple[object, ...]
) -> None:
    @settings(max_examples=3)
    @given(seed=st.integers(0, 2**31 - 1))
    def moves_nothing(seed: int) -> None:
        folder = tmp_path_factory.mktemp("varied")
        lake = varied(production_lake, folder / "varied", Hour.DECIDE.of(_LEAK_DAY), seed)
        np.testing.assert_equal(lived_from(lake, aside, folder / "lived", _LEAK_DAY), honest)

    moves_nothing()


@settings(max_examples=2)
@given(seed=st.integers(0, 2**31 - 1))
def test_predictions_know_nothing_after_two_oclock(
    production_lake: Lake, aside: Ledger, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    day, rows, folder = busiest(production_lake), [], tmp_path_factory.mktemp("varied")
    for lake in (
        production_lake,
        varied(production_lake, folder / "varied", Hour.PREDICT.of(day), seed, derived=False),
    ):
        empty(aside)
        production = begun(lake, tmp_path_factory.mktemp("begun"), aside)
        rows.append(daily.predict(day, production).rows.set_index("event"))
    assert rows[0].index.tolist() == rows[1].index.tolist()
    names = ["predicted_probability", *active_features(described(production_lake))]
    assert leaks.moved(rows[0][names], rows[1][names]) == {}


# Killed on the way


def dies(url: str, ledger: Ledger, *statements: str, work: Callable[[Ledger], object]) -> dict[str, list[Any]]:
    """Do work that is killed right after each statement of a kind; nothing of it is to be left."""
    before = contents(ledger)
    for statement in statements:
        die_after(url, ledger, statement, work)
        assert contents(ledger) == before, statement
    return before


def test_a_decision_that_is_killed_leaves_nothing_and_is_made_again(production: Production, ledger_url: str) -> None:
    ledger, lake, day = production.ledger, production.lake, pd.Timestamp("2015-11-02")
    challengers.enter(ledger, "v2015.1101.0", "x", moment("2015-11-01 07:00"))
    lake.write_bytes("forward/v2015.1101.0.parquet", nothing_scored(lake))

    def work(ledger: Ledger) -> object:
        return decide_on(f"{day:%Y-%m-%d}", Production(lake, ledger, SMALL), PSI | DRIFTED, broken(day))

    days.finish_day(ledger, day - ONE_DAY, moment("2015-11-01 06:00"))
    kinds = [f"INSERT INTO {table}" for table in ("decisions", "alerts", "retrain_requests", "finished_days")]
    before = dies(ledger_url, ledger, *kinds, work=work)
    work(ledger)
    after = contents(ledger)
    assert len(after["decisions"]) == len(before["decisions"]) + 2
    assert {row["key"].split(":")[0] for row in after["alerts"]} == {"undecided", "retrain", "drift_report"}
    work(ledger)
    assert contents(ledger) == after


def test_a_challenge_that_is_killed_leaves_nothing_and_is_made_again(production: Production, ledger_url: str) -> None:
    ledger, lake = production.ledger, production.lake
    served(production, "2015-10-01", "2015-11-28")
    challengers.enter(ledger, "v2015.1101.0", "x", moment("2015-11-01 07:00"))
    decide_on("2015-12-01", production)
    request = started(production)
    model = daily.retrain(request.day, production, request)
    assert isinstance(model, Bundle)

    def work(ledger: Ledger) -> object:
        return daily.challenge(request.day, Production(lake, ledger, SMALL), request, model)

    statements = ["LOCK TABLE deployments", "INSERT INTO decisions", "UPDATE deployments", "INSERT INTO deployments"]
    dies(ledger_url, ledger, *statements, "INSERT INTO alerts", "UPDATE retrain_requests", work=work)
    work(ledger)
    after = contents(ledger)
    kinds = [row["kind"] for row in after["decisions"]]
    assert kinds[kinds.index("retrain") :][:3] == ["retrain", "retirement", "shadow"]
    assert after["retrain_requests"][-1]["state"] == "done"
    with pytest.raises(RetrainStateError):
        work(ledger)
    assert contents(ledger) == after


def test_a_day_that_is_killed_after_any_step_is_lived_again_as_if_it_had_not_been(
    production_lake: Lake, tmp_path: Path, aside: Ledger
) -> None:
    day, found = busiest(production_lake), []
    steps = (daily.predict, daily.choose_stocks, daily.detect_drift, daily.collect_results, daily.measure)
    for killed in (False, True):
        empty(aside)
        production = begun(production_lake, tmp_path / str(killed), aside)
        days.finish_day(aside, day - ONE_DAY, Hour.DECIDE.of(day - ONE_DAY))
        for step in steps if killed else ():
            step(day, production)
            production = Production(production.lake, aside, SMALL)
        live_day(day, production)
        found.append(contents(aside))
    assert len(found[0]["ml_predictions"]) >= 2
    assert found[0] == found[1]


def test_of_two_challenges_at_once_one_wins(production: Production) -> None:
    ledger = production.ledger
    decide_on("2015-12-01", production)
    request = started(production)
    model = daily.retrain(request.day, production, request)
    work = functools.partial(daily.challenge, request.day, production, request, model)
    said = at_once(work, work)
    assert sorted(isinstance(each, RetrainStateError) for each in said) == [False, True]
    kinds = decisions.read(ledger, since=moment("2015-12-01"))["kind"].tolist()
    assert kinds.count("shadow") == 1


# A month at once, or day by day


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2015-11-02", "2015-11-04"),
        pytest.param("2015-10-20", "2015-11-20", marks=pytest.mark.long),
    ],
)
def test_after_a_pause_days_are_lived_as_they_would_have_been(
    production_lake: Lake, tmp_path: Path, aside: Ledger, first: str, last: str
) -> None:
    found = []
    for name, move in (("daily", lambda day: day + ONE_DAY), ("paused", lambda day: pd.Timestamp(last) + ONE_DAY)):
        empty(aside)
        production = begun(production_lake, tmp_path / name, aside)
        lived(production, first, last, move)
        found.append(contents(aside))
        assert days.last_finished(aside) == pd.Timestamp(last)
    assert {"retrain", "shadow"} <= {row["kind"] for row in found[0]["decisions"]}
    assert found[0] == found[1]


# The first model


def test_the_first_model_is_asked_for_at_once_and_serves_from_the_next_day(
    production_lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = Production(copied(production_lake, tmp_path), ledger, SMALL)
    day = busiest(production_lake)
    before = [path for path in files_of(production.lake) if "quarter" in path or path.startswith("dataset")]
    content = {path: production.lake.read_bytes(path) for path in before}
    live_day(day, production)
    request = retrain_requests.in_flight(ledger)
    assert request is not None
    assert (request.cause, request.urgency, request.window_months) == ("first model", Urgency.EMERGENCY, None)
    assert retrain(production) is DecisionKind.PROMOTION
    champion = deployments.champion(ledger)
    assert champion is not None
    assert champion.version == f"v{day.year}.{day.month}{day.day:02}.0"
    assert champion.since == Hour.CHALLENGE.of(day)
    raised = alerts.read(ledger).set_index("key")
    assert raised["title"].to_dict() == {
        "retrain:first model": "Emergency retrain: first model",
        f"promotion:{champion.version}": f"{champion.version} serves",
    }
    assert set(raised["severity"]) == {"info"}
    assert daily.predict(day, production).rows.empty, "what has been lived without a model stays so"
    for later in pd.date_range(day + ONE_DAY, day + 4 * ONE_DAY):
        decide_on(f"{later:%Y-%m-%d}", production)
        daily.predict(later + ONE_DAY, production)
    rows = predictions.read(ledger, moment("2015-01-01"), moment("2016-01-01"))
    assert set(rows["model_version"]) == {champion.version}
    assert rows["prediction_date"].min() > champion.since
    now = [path for path in files_of(production.lake) if "quarter" in path or path.startswith("dataset")]
    assert {path: production.lake.read_bytes(path) for path in now} == content


def test_where_there_is_too_little_history_the_first_model_is_asked_for_again_after_a_week(
    production_lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = Production(RememberingLake(copied(production_lake, tmp_path).url), ledger, SMALL)
    first = pd.Timestamp("2014-05-06")
    days.move_clock(ledger, moment("2015-01-01"))
    for day in pd.date_range(first, first + 8 * ONE_DAY):
        decide_on(f"{day:%Y-%m-%d}", production)
        if retrain_requests.in_flight(ledger) is not None:
            assert retrain(production) is DecisionKind.REFUSAL
    asked = retrain_requests.history(ledger)
    assert asked["day"].tolist() == [first, first + 7 * ONE_DAY]
    assert set(asked["state"]) == {"done"}
    refused = decisions.read(ledger, kind=DecisionKind.REFUSAL)
    assert refused["rule"].tolist() == ["enough history"] * 2
    assert refused["cause"].str.contains("no model yet").all()
    assert "No model yet" in alerts.read(ledger)["title"].tolist()


def test_the_first_model_does_not_serve_while_promotions_are_stopped(
    production_lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = Production(copied(production_lake, tmp_path), ledger, SMALL)
    operations.freeze(ledger, moment("2015-10-01"), reason="x", by="x")
    decide_on("2015-10-16", production)
    assert retrain(production) is DecisionKind.REFUSAL
    assert deployments.champion(ledger) is None
    assert "promotions are stopped" in decisions.read(ledger)["cause"].iloc[-1]


# When to retrain


def test_an_emergency_starts_at_once_and_a_tape_waits_for_it(production: Production) -> None:
    ledger, now = production.ledger, moment("2015-10-20")
    decide_on("2015-10-14", production, PSI)
    request = retrain_requests.in_flight(ledger)
    assert request is not None
    assert (request.cause, request.urgency) == ("prediction drift", Urgency.EMERGENCY)
    assert retrain_policy.may_start(request, pd.Timestamp("2015-10-14"))
    assert next_day(ledger, production.source, now).day == pd.Timestamp("2015-10-15"), "live, nothing waits"
    days.move_clock(ledger, now)
    waits = next_day(ledger, production.source, now)
    assert waits.day is None
    assert waits.reason == f"retrain request {request.id} (prediction drift) comes before 2015-10-15"
    started(production)
    assert next_day(ledger, production.source, now).day is None, "nor while it is under way"
    (alert,) = alerts.read(ledger).to_dict("records")
    assert (alert["key"], alert["severity"]) == ("retrain:prediction drift", "critical")


def test_what_can_wait_starts_on_saturday(production: Production) -> None:
    ledger, now = production.ledger, moment("2015-10-20")
    days.move_clock(ledger, now)
    decide_on("2015-10-14", production, DRIFTED)  # a Wednesday
    request = retrain_requests.in_flight(ledger)
    assert request is not None
    assert (request.cause, request.urgency) == ("feature drift", Urgency.SCHEDULED)
    for day in ("2015-10-15", "2015-10-16"):
        assert next_day(ledger, production.source, now).day == pd.Timestamp(day)
        decide_on(day, production, DRIFTED)
    decide_on("2015-10-17", production)
    assert next_day(ledger, production.source, now).day is None
    assert len(retrain_requests.history(ledger)) == 1, "one that waits blocks another"


def test_the_monthly_one_is_due_on_its_day_with_two_years_of_history(production: Production) -> None:
    decide_on("2015-11-02", production)
    request = retrain_requests.in_flight(production.ledger)
    assert request is not None
    assert (request.cause, request.urgency, request.window_months) == ("monthly", Urgency.SCHEDULED, 24)
    assert retrain_policy.may_start(request, pd.Timestamp("2015-11-02"))
    assert not retrain_policy.may_start(request, pd.Timestamp("2015-11-01"))
    assert not retrain_policy.may_start(request, None)


def test_the_monthly_one_takes_the_place_of_what_waits_for_the_weekend(production: Production) -> None:
    decide_on("2015-09-29", production, DRIFTED)
    decide_on("2015-10-01", production)
    asked = retrain_requests.history(production.ledger)
    assert asked["cause"].tolist() == ["feature drift", "monthly"]
    assert asked["state"].tolist() == ["superseded", "pending"]


def test_an_emergency_takes_the_place_of_what_waits_and_is_blocked_by_what_runs(production: Production) -> None:
    ledger = production.ledger
    decide_on("2015-10-14", production, DRIFTED)
    decide_on("2015-10-15", production, PSI)
    assert retrain_requests.history(ledger)["state"].tolist() == ["superseded", "pending"]
    started(production)
    held = decide_on("2015-10-16", production, PSI)
    assert held.decisions["kind"].tolist() == ["no_retrain"]
    assert "a retrain is running" in held.decisions["cause"].iloc[0]
    assert len(retrain_requests.history(ledger)) == 2


def test_a_retrain_writes_models_of_a_day_and_nothing_of_a_quarter(production: Production) -> None:
    lake = production.lake
    decide_on("2015-10-14", production, PSI)
    before = {path: lake.read_bytes(path) for path in files_of(lake)}
    retrain(production)
    changed = [path for path in files_of(lake) if before.get(path) != lake.read_bytes(path)]
    assert changed
    of_the_day = ("models/early-signal/v2015.1014.0/", "models/claims/v2015.1014.0", "forward/v2015.1014.0.parquet")
    assert [path for path in changed if not path.startswith(of_the_day)] == []


def test_the_next_day_is_one_of_the_source(ledger: Ledger, production_lake: Lake) -> None:
    source = described(production_lake)
    begins, ends = source.event_quarters[0].start, source.quarters[-1].end
    assert next_day(ledger, source, begins.tz_localize("UTC")).day is None
    assert next_day(ledger, source, Hour.CHALLENGE.of(begins) - pd.Timedelta("1ns")).day is None
    assert next_day(ledger, source, Hour.CHALLENGE.of(begins)).day == begins
    assert next_day(ledger, source, Hour.CHALLENGE.of(ends)).day == ends
    assert next_day(ledger, source, Hour.CHALLENGE.of(ends + ONE_DAY)).day is None


def test_missed_days_are_due_one_by_one(ledger: Ledger, production_lake: Lake) -> None:
    source, now = described(production_lake), moment("2015-10-20 06:59")
    days.finish_day(ledger, pd.Timestamp("2015-10-17"), now)
    assert next_day(ledger, source, now).day == pd.Timestamp("2015-10-18")
    days.finish_day(ledger, pd.Timestamp("2015-10-18"), now)
    assert next_day(ledger, source, now).day == pd.Timestamp("2015-10-19")
    days.finish_day(ledger, pd.Timestamp("2015-10-19"), now)
    assert next_day(ledger, source, now).reason.endswith("2015-10-20 is not over yet")


# A champion that fails


def corrupt(lake: Lake, version: str) -> None:
    lake.write_bytes(f"{bundles.FOLDER}/{version}/{bundles.MODEL_TEXT}", b"damaged")


def test_a_champion_that_cannot_be_loaded_is_taken_back_with_the_answers(production: Production) -> None:
    lake, ledger, day = production.lake, production.ledger, busiest(production.lake)
    corrupt(lake, CHAMPION)
    made = daily.predict(day, production)
    assert made.rolled_back_to == PREVIOUS
    assert set(made.rows["model_version"]) == {PREVIOUS}
    champion = deployments.champion(ledger)
    assert champion is not None
    assert (champion.version, champion.since) == (PREVIOUS, Hour.PREDICT.of(day))
    (back,) = decisions.read(ledger, kind=DecisionKind.ROLL_BACK).to_dict("records")
    assert (back["subject"], back["figures"]["champion_failures"]) == (CHAMPION, len(made.rows))
    raised = alerts.read(ledger).set_index("key")
    assert (raised.loc["roll_back", "severity"], raised.loc["roll_back", "day"]) == ("critical", day)
    live_day(day, production)
    later = due_between(lake, Hour.PREDICT.of(day), Hour.PREDICT.of(day + 7 * ONE_DAY))
    after = later["as_of"].iloc[0].ceil("D").tz_localize(None)
    for each in pd.date_range(day + ONE_DAY, after):
        decide_on(f"{each:%Y-%m-%d}", production) if each < after else None
    rows = daily.predict(after, production).rows
    assert set(rows["model_version"]) == {PREVIOUS}
    fallbacks = execute(ledger, "SELECT fallback FROM prediction_requests ORDER BY id")
    assert [row[0] for row in fallbacks][-1] == Fallback.NONE


def test_answers_and_roll_back_are_one_transaction(production: Production, ledger_url: str) -> None:
    lake, day = production.lake, busiest(production.lake)
    corrupt(lake, CHAMPION)
    before = contents(production.ledger)
    for statement in ("INSERT INTO prediction_requests", "INSERT INTO ml_predictions", "UPDATE deployments"):
        die_after(
            ledger_url,
            production.ledger,
            statement,
            lambda ledger: daily.predict(day, Production(Lake(lake.url), ledger, SMALL)),
        )
        assert contents(production.ledger) == before, statement
    daily.predict(day, production)
    after = contents(production.ledger)
    assert len(after["deployments"]) == len(before["deployments"]) + 1


def test_without_a_predecessor_nothing_is_answered_and_the_day_goes_on(
    production_lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION)
    day = busiest(production_lake)
    corrupt(production.lake, CHAMPION)
    live_day(day, production)
    rows = daily.predict(day, production).rows
    assert len(rows) >= 2
    assert rows["predicted_probability"].isna().all()
    assert set(rows["model_version"]) == {"none"}
    raised = alerts.read(ledger).set_index("key")["severity"]
    assert raised["serving:no_model"] == raised["lost_champion"] == "critical"
    assert days.last_finished(ledger) == day
    decide_on(f"{day + ONE_DAY:%Y-%m-%d}", production)  # on the days after, too, somebody is told
    assert (alerts.read(ledger)["key"] == "lost_champion").sum() == 2
    (asked,) = retrain_requests.every(ledger)
    assert asked.cause == "first model", "a champion that cannot be loaded is as good as none"
    assert retrain(production) is DecisionKind.PROMOTION, "what cannot be loaded keeps nobody out"


# Two that live one day, and a clock that has not come so far


def test_of_two_that_live_a_day_at_once_one_decides_and_nothing_is_asked_twice(production: Production) -> None:
    day = busiest(production.lake)
    at_once(*[functools.partial(daily.predict, day, production)] * 3)
    assert count(production.ledger, "prediction_requests") == count(production.ledger, "ml_predictions") >= 2
    daily.collect_results(day, production)
    daily.detect_drift(day, production, page=False)
    daily.check_quality(day, production)
    daily.measure(day, production)
    results = at_once(*[functools.partial(daily.decide, day, production)] * 3)
    assert all(isinstance(result, daily.Decided) for result in results), results
    made = decisions.read(production.ledger)
    assert made["kind"].isin(["retrain", "no_retrain"]).sum() == 1


def test_a_day_that_has_not_come_by_the_clock_is_not_lived(production: Production) -> None:
    day = busiest(production.lake)
    days.move_clock(production.ledger, Hour.CHALLENGE.of(day) - pd.Timedelta(minutes=1))
    steps = (daily.predict, daily.detect_drift, daily.collect_results, daily.check_quality, daily.measure, daily.decide)
    for step in steps:
        with pytest.raises(DayError, match="has not come: the clock shows"):
            step(day, production)
    assert count(production.ledger, "ml_predictions") == 0
    days.move_clock(production.ledger, Hour.CHALLENGE.of(day))
    assert len(daily.predict(day, production).rows) >= 2


def test_what_got_no_answer_is_asked_again_while_its_day_is_open(production: Production) -> None:
    day, lake = busiest(production.lake), production.lake
    path = f"ohlcv/{Quarter.of(day)}.parquet"
    kept = lake.read_bytes(path)
    lake.remove(path)
    first = daily.predict(day, production).rows
    assert first["predicted_probability"].isna().all()
    lake.write_bytes(path, kept)
    again = daily.predict(day, production).rows
    assert again["predicted_probability"].notna().all()
    assert again["event"].tolist() == first["event"].tolist()
    asked = count(production.ledger, "prediction_requests")
    daily.predict(day, production)
    assert count(production.ledger, "prediction_requests") == asked == 2 * len(first)
