"""The predictions of a day, below the day: who answers, who scores in shadow, what counts, and why."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pandas as pd
import pytest
from ledgers import decision, prediction
from living import ONE_DAY, begun, due_between, moment, served
from production import CHAMPION, NOT_A_PROBABILITY, PREVIOUS, damaged

from earlysignal_core.features.table import active_features
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger import ab_tests, alerts, decisions, deployments, prediction_requests, predictions, ramps
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.predictions import NO_MODEL
from earlysignal_core.ledger.vocabulary import Arm, DecisionKind, JudgedBy
from earlysignal_core.models import bundle as bundles
from earlysignal_core.production import Production
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving import challengers, trials
from earlysignal_core.serving.model_cache import ModelCache
from earlysignal_core.serving.predicting import (
    announced_already,
    answer_and_record,
    compare_with_tables,
    rank_and_explain,
    served_between,
)
from earlysignal_core.serving.routing import Route, route_at
from earlysignal_core.settings import PromotionLimits

FIRST, LAST = moment("2015-10-13 02:00"), moment("2015-10-16 02:00")
ASSIGNED = 21 * ONE_DAY
END = FIRST + ASSIGNED - pd.Timedelta(hours=1)


@pytest.fixture
def production(production_lake: Lake, tmp_path: Path, ledger: Ledger) -> Production:
    return begun(production_lake, tmp_path, ledger)


def answer(
    production: Production,
    examples: pd.DataFrame,
    at: pd.Timestamp = LAST,
    timer: Callable[[], float] = perf_counter,
) -> deployments.Deployment | None:
    ledger, lake, source, settings = production.ledger, production.lake, production.source, production.settings.serving
    return answer_and_record(ledger, lake, source, ModelCache(lake), examples, at, settings, timer=timer)


def test_the_champion_answers_and_challengers_score_the_same_events_in_shadow(production: Production) -> None:
    due = due_between(production.lake, FIRST, LAST)
    damaged(production.lake, PREVIOUS, "v1.0.0")
    challengers.enter(production.ledger, "v1.0.0", "x", FIRST)
    assert answer(production, due) is None
    said = predictions.read(production.ledger, FIRST, LAST, features=True)
    by = {version: rows.set_index("event") for version, rows in said.groupby("model_version")}
    assert by.keys() == {CHAMPION, "v1.0.0"}
    assert set(by[CHAMPION].index) == set(by["v1.0.0"].index) == set(due["event"])
    assert by[CHAMPION]["served"].all()
    assert not by["v1.0.0"]["served"].any()
    names = list(active_features(production.source))
    pd.testing.assert_frame_equal(by[CHAMPION][names], by["v1.0.0"].loc[by[CHAMPION].index, names])
    assert set(served_between(production.ledger, FIRST, LAST)["model_version"]) == {CHAMPION}


def test_a_challenger_that_fails_is_told_and_the_others_go_on(production: Production) -> None:
    challengers.enter(production.ledger, "v9.9.9", "is not in the lake", FIRST)
    answer(production, due_between(production.lake, FIRST, LAST))
    assert alerts.read(production.ledger)["key"].tolist() == ["shadow:v9.9.9"]
    assert len(served_between(production.ledger, FIRST, LAST)) > 0


@pytest.mark.parametrize("fails", [True, False])
def test_only_a_champion_that_fails_is_taken_back(production: Production, fails: bool) -> None:
    if fails:
        path = f"{bundles.FOLDER}/{CHAMPION}/{bundles.MODEL_TEXT}"
        production.lake.write_bytes(path, b"damaged")
    back = answer(production, due_between(production.lake, FIRST, LAST))
    champion = deployments.champion(production.ledger)
    assert champion is not None
    assert champion.version == (PREVIOUS if fails else CHAMPION)
    assert (back is not None) == fails


class StumblingLake(RememberingLake):
    """A lake whose disk fails at the first reading of one file."""

    stumbles_at = ""

    def read_bytes(self, path: str) -> bytes:
        if path == self.stumbles_at:
            self.stumbles_at = ""
            raise OSError(5, "Input/output error")
        return super().read_bytes(path)


def test_a_champion_that_could_not_be_read_for_a_moment_is_not_taken_back(production: Production) -> None:
    lake = StumblingLake(production.lake.url)
    lake.stumbles_at = f"{bundles.FOLDER}/{CHAMPION}/{bundles.MODEL_TEXT}"
    stumbling = Production(lake, production.ledger, production.settings)
    assert answer(stumbling, due_between(lake, FIRST, LAST)) is None
    assert set(served_between(production.ledger, FIRST, LAST)["model_version"]) == {PREVIOUS}
    champion = deployments.champion(production.ledger)
    assert champion is not None
    assert champion.version == CHAMPION
    assert f"serving:load:{CHAMPION}" in alerts.read(production.ledger)["key"].tolist()


def test_of_several_answers_the_last_with_a_probability_counts(ledger: Ledger) -> None:
    silent = {"predicted_probability": None, "predicted_class": None, "threshold": None, "model_version": NO_MODEL}
    at = moment("2018-07-03 02:00")
    as_of = at - pd.Timedelta(hours=6)
    for changes in ({"model_version": "v1.0.0"}, {"model_version": "v1.0.1"}, silent, {"served": False}):
        predictions.record(ledger, [prediction(**{"as_of": as_of, "prediction_date": at} | changes)])
    predictions.record(ledger, [prediction(1, **{"as_of": as_of, "prediction_date": at} | silent)])
    late = at + 60 * ONE_DAY
    predictions.record(ledger, [prediction(2, as_of=as_of, prediction_date=late)])
    predictions.record(ledger, [prediction(3, as_of=at - ONE_DAY, prediction_date=at)])
    rows = served_between(ledger, at - ONE_DAY, at)
    assert rows["symbol"].tolist() == ["C000", "C001", "C002"]
    assert rows["model_version"].tolist() == ["v1.0.1", NO_MODEL, "v2018.3.0"]


def test_announced_is_what_has_an_actual_by_then(production_lake: Lake, production: Production) -> None:
    due = due_between(production_lake, FIRST, LAST)
    quarters = [Quarter.of(due["announced_on"].min())]
    known = production_lake.read("earnings", quarters)
    known = known[known["symbol"].isin(due["symbol"])].groupby("symbol")["available_at"].min()
    for at in (LAST, known.min() - pd.Timedelta(1, "us"), known.min(), known.max()):
        missed = announced_already(production_lake, production.source, due, at)
        assert set(missed["symbol"]) == set(known[known <= at].index)
    assert announced_already(production_lake, production.source, due.iloc[:0], LAST).empty


def test_the_top_tenth_of_the_year_is_selected_with_reasons(production: Production) -> None:
    served(production, "2015-06-24", "2015-10-31")
    ledger, models = production.ledger, production.models
    at = moment("2015-10-31 02:00")
    rows = served_between(ledger, at - 20 * ONE_DAY, at)
    chosen = rank_and_explain(ledger, models, rows, at)
    assert chosen["probability"].is_monotonic_decreasing
    assert chosen["rank"].tolist() == list(range(1, len(rows) + 1))
    assert (chosen["selected"] == (chosen["probability"] > chosen["limit"])).all()
    assert 0 < chosen["selected"].sum() < len(rows) / 2
    assert (chosen["reasons"].str.count(r"\([+-]\d") == 5).all()
    path = f"{bundles.FOLDER}/{CHAMPION}/{bundles.MODEL_TEXT}"
    production.lake.write_bytes(path, b"damaged")
    lost = rank_and_explain(ledger, ModelCache(production.lake), rows, at)
    assert (lost["reasons"] == "").all(), "what was said stands where why can no longer be told"
    pd.testing.assert_frame_equal(lost.drop(columns="reasons"), chosen.drop(columns="reasons"))


def test_parity_is_bit_for_bit_and_missing_equals_missing() -> None:
    at, nan = moment("2018-07-02 20:00"), float("nan")
    served_rows = pd.DataFrame(
        {"event": list("abcd"), "as_of": at, "f": [1.0, nan, 0.1 + 0.2, nan], "g": [0.0, 1, 1, nan]}
    )
    tables = pd.DataFrame({"event": list("abc"), "as_of": at, "f": [1.0, nan, 0.3], "g": [-0.0, 1.0, nan]})
    found = compare_with_tables(served_rows, tables, ["f", "g", "not_served"])
    assert found.different == {"a": "g", "c": "f, g"}
    assert (found.compared, found.without_row) == (3, 0), "a row that knew nothing is not compared"
    moved = compare_with_tables(served_rows, tables.assign(as_of=at + ONE_DAY), ["f", "g"])
    assert (moved.compared, moved.without_row, moved.different) == (0, 3, {})
    nothing = compare_with_tables(served_rows[["event", "as_of"]].iloc[:0], tables, ["f", "g"])
    assert (nothing.compared, nothing.different) == (0, {})


def begin(production: Production, version: str, kind: DecisionKind) -> Route:
    """Let a challenger share the champion's answers, in a test or on a ramp."""
    ledger, begun_by = production.ledger, decision(kind, FIRST)
    if kind is DecisionKind.RAMP:
        ramps.begin(ledger, version, begun_by, over=CHAMPION)
    else:
        deployments.shadow(ledger, version, decision(DecisionKind.SHADOW, FIRST))
        ab_tests.begin(ledger, version, begun_by, over=CHAMPION, split=50, days=ASSIGNED.days, judged_by=JudgedBy.AUC)
    route = route_at(ledger, FIRST)
    assert route is not None
    return route


@pytest.mark.parametrize("kind", [DecisionKind.AB_TEST, DecisionKind.RAMP])
def test_the_arm_of_an_event_decides_who_answers_and_both_models_score_it(
    production: Production, kind: DecisionKind
) -> None:
    due = due_between(production.lake, FIRST, END)
    damaged(production.lake, PREVIOUS, "v1.0.0")
    route = begin(production, "v1.0.0", kind)
    if kind is DecisionKind.RAMP:  # on its third step: at the first, few of these are green's
        for _ in range(2):
            step = ramps.running(production.ledger)
            assert step is not None
            ramps.advance(production.ledger, step, decision(DecisionKind.RAMP, FIRST))
        route = replace(route, share=50)
    answer(production, due, END)
    arms = {event: route.arm(event) for event in due["event"]}
    assert set(arms.values()) == set(Arm)
    said = predictions.read(production.ledger, FIRST, END)
    given = said[said["served"]].set_index("event")
    assert given["arm"].to_dict() == arms
    answering = {Arm.CHAMPION: CHAMPION, Arm.CHALLENGER: "v1.0.0"}
    assert given["model_version"].to_dict() == {event: answering[arm] for event, arm in arms.items()}
    assert said[~said["served"]]["arm"].isna().all()
    by = {version: set(rows["event"]) for version, rows in said.groupby("model_version")}
    assert by == {CHAMPION: set(due["event"]), "v1.0.0": set(due["event"])}, "the judgement is paired"
    asked = prediction_requests.read(production.ledger, FIRST, END)
    assert asked.set_index("event")["arm"].to_dict() == arms
    assert deployments.challengers(production.ledger) != []


def test_nobody_waits_for_the_other_arms_model(production: Production) -> None:
    due = due_between(production.lake, FIRST, END)
    damaged(production.lake, PREVIOUS, "v1.0.0")
    route = begin(production, "v1.0.0", DecisionKind.AB_TEST)
    of_arm = due["event"].map(route.arm).value_counts()
    # The batch begins; the challenger answers, for 20 seconds; the champion, for half a second; the batch is over.
    moments = iter([0.0, 1.0, 21.0, 22.0, 22.5, 24.0])
    answer(production, due, END, timer=lambda: next(moments))
    asked = prediction_requests.read(production.ledger, FIRST, END)
    took = asked.groupby("arm")["latency_ms"].agg(["min", "max"])
    for arm, own in ((Arm.CHALLENGER, 20_000.0), (Arm.CHAMPION, 500.0)):
        assert took.loc[arm].tolist() == pytest.approx([own / of_arm[arm] + 3_500 / len(due)] * 2)


def test_when_the_assignment_is_over_the_champion_answers_and_both_go_on_scoring(production: Production) -> None:
    damaged(production.lake, PREVIOUS, "v1.0.0")
    begin(production, "v1.0.0", DecisionKind.AB_TEST)
    at = FIRST + ASSIGNED
    due = due_between(production.lake, FIRST, at)
    answer(production, due, at)
    said = predictions.read(production.ledger, FIRST, at)
    assert set(said[said["served"]]["model_version"]) == {CHAMPION}
    assert said["arm"].isna().all()
    assert set(said[said["model_version"] == "v1.0.0"]["event"]) == set(due["event"])


@pytest.mark.parametrize("kind", [DecisionKind.AB_TEST, DecisionKind.RAMP])
@pytest.mark.parametrize("version", ["v9.9.9", "v1.0.1"])
def test_a_challenger_that_errs_is_taken_back_and_the_champion_answers_and_stays(
    production: Production, kind: DecisionKind, version: str
) -> None:
    damaged(production.lake, PREVIOUS, "v1.0.1", calibration=NOT_A_PROBABILITY)  # and v9.9.9 is not in the lake
    route, due = begin(production, version, kind), due_between(production.lake, FIRST, LAST)
    assert answer(production, due) is None, "the champion is not rolled back for it"
    given = served_between(production.ledger, FIRST, LAST)
    assert set(given["model_version"]) == {CHAMPION}
    assert len(given) == len(due)
    assert route_at(production.ledger, LAST) is None
    assert deployments.challengers(production.ledger) == []
    asked = prediction_requests.read(production.ledger, FIRST, LAST)
    expected = asked["event"].map(route.arm).map({Arm.CHALLENGER: "previous_version", Arm.CHAMPION: "none"})
    assert asked["fallback"].tolist() == expected.tolist()
    assert "challenger_errs" in alerts.read(production.ledger)["key"].tolist()
    serving = deployments.champion(production.ledger)
    assert serving is not None
    assert serving.version == CHAMPION
    last = decisions.read(production.ledger).iloc[-1]
    assert (last["subject"], last["rule"]) == (version, "challenger errs")
    if kind is DecisionKind.AB_TEST:
        assert ab_tests.history(production.ledger)["status"].tolist() == ["rolled_back"]


def test_assigned_events_whose_outcome_is_not_in_are_waited_for(production: Production) -> None:
    damaged(production.lake, PREVIOUS, "v1.0.0")
    begin(production, "v1.0.0", DecisionKind.AB_TEST)
    due, ledger = due_between(production.lake, FIRST, END), production.ledger
    answer(production, due, END)
    test = ab_tests.running(ledger)
    assert test is not None

    def looked(at: pd.Timestamp) -> trials.Look:
        limits = PromotionLimits(ab_test_large_beats=1)
        return trials.look(ledger, production.lake, production.source, limits, test, at)

    assert "events are assigned until" in looked(test.assigned_until - pd.Timedelta(minutes=1)).waits_for
    over = looked(test.assigned_until)
    assert 0 < over.events["open"].sum() <= over.events["label"].isna().sum(), "announced in a week or more"
    assert f"{over.events['open'].sum()} assigned events have no outcome yet" in over.waits_for
    later = looked(test.assigned_until + 30 * ONE_DAY)
    assert not later.events["open"].any()
    assert len(due) >= later.found.n == later.events["label"].notna().sum() > over.found.n
    assert later.waits_for.startswith("nothing") == (later.found.large_beats > 0)
    assert set(later.events["arm"]) == {"champion", "challenger"}
