"""Serving on a real ledger: every request lands there, every answer once, and challengers score beside them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ledgers import at_once, count, decision, die_after, execute
from production import CHAMPION, LAST, NOT_A_PROBABILITY, PREVIOUS, copied, damaged, due, flip_a_byte

from earlysignal_core.features.table import active_features, scheduled_examples
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger import alerts, deployments, prediction_requests, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError
from earlysignal_core.ledger.predictions import NO_MODEL, RULE
from earlysignal_core.ledger.vocabulary import Confidence, DecisionKind, Fallback, Severity
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.baselines import LAST as LAST_SURPRISE
from earlysignal_core.quarterly import described
from earlysignal_core.serving.answers import Answer
from earlysignal_core.serving.model_cache import ModelCache
from earlysignal_core.serving.recorder import LedgerRecorder
from earlysignal_core.serving.service import EarlySignalService
from earlysignal_core.serving.shadow import ShadowScores, score_in_shadow

NOW = pd.Timestamp("2016-01-05 03:00", tz="UTC")
ALWAYS = (pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC"))


def answer(number: int = 0, **changes: object) -> Answer:
    content = {
        "symbol": f"C{number:03}",
        "requested_at": NOW,
        "as_of": NOW - pd.Timedelta(hours=6),
        "announced_on": pd.Timestamp("2016-01-12"),
        "fallback": Fallback.NONE,
        "latency_ms": 12.5,
        "event": f"C{number:03}:2015-Q4",
        "probability": 0.25,
        "predicted_class": 0,
        "threshold": 0.3,
        "model_version": CHAMPION,
        "model_sha256": "m" * 64,
        "dataset_sha256": "d" * 64,
        "confidence": Confidence.MEDIUM,
        "features": {"a": 0.1 + number, "b": float("nan"), "c": -0.0},
    }
    return Answer(**content | changes)


def failed(number: int = 0, **changes: object) -> Answer:
    nothing = dict.fromkeys(
        ["probability", "predicted_class", "threshold", "model_version", "model_sha256", "dataset_sha256", "confidence"]
    )
    return answer(number, **nothing | {"fallback": Fallback.NO_ANSWER, "error": "it broke", "features": {}} | changes)


def requests_of(ledger: Ledger) -> pd.DataFrame:
    return prediction_requests.read(ledger, *ALWAYS)


def predictions_of(ledger: Ledger, **choice: object) -> pd.DataFrame:
    return predictions.read(ledger, *ALWAYS, **choice)


def test_an_answer_is_a_request_and_a_prediction(ledger: Ledger) -> None:
    made = answer(3)
    LedgerRecorder(ledger).record([made])
    (request,) = requests_of(ledger).to_dict("records")
    assert (request["requested_at"], request["announced_on"]) == (NOW, made.announced_on)
    assert (request["event"], request["model_version"], request["fallback"]) == (made.event, CHAMPION, "none")
    assert request["latency_ms"] == 12.5
    (row,) = predictions_of(ledger, features=True).to_dict("records")
    assert pd.isna(row.pop("arm"))
    assert np.array([row.pop(name) for name in "abc"]).tobytes() == np.array([3.1, np.nan, -0.0]).tobytes()
    assert row == {
        "id": 1,
        "prediction_date": NOW,
        "symbol": "C003",
        "event": "C003:2015-Q4",
        "announced_on": made.announced_on,
        "as_of": made.as_of,
        "model_version": CHAMPION,
        "model_sha256": "m" * 64,
        "dataset_sha256": "d" * 64,
        "served": True,
        "predicted_class": 0,
        "predicted_probability": 0.25,
        "threshold": 0.3,
        "confidence_level": "MEDIUM",
    }


def test_what_is_asked_again_is_another_request_and_the_same_prediction(ledger: Ledger) -> None:
    recorder, made = LedgerRecorder(ledger), answer()
    recorder.record([made, made])
    recorder.record([replace(made, requested_at=NOW + pd.Timedelta(hours=1), probability=0.26)])
    assert len(requests_of(ledger)) == 3
    (row,) = predictions_of(ledger).to_dict("records")
    assert (row["prediction_date"], row["predicted_probability"]) == (NOW, 0.25)
    recorder.record([replace(made, as_of=NOW)])
    assert len(predictions_of(ledger)) == 2


@pytest.mark.parametrize("order", [[answer(), failed()], [failed(), answer()]])
@pytest.mark.parametrize("together", [True, False])
def test_a_failure_and_an_answer_stand_beside_each_other(ledger: Ledger, order: list[Answer], together: bool) -> None:
    for some in [order] if together else [[each] for each in order]:
        LedgerRecorder(ledger).record(some)
    rows = predictions_of(ledger, served=True).set_index("model_version")
    assert set(rows.index) == {CHAMPION, NO_MODEL}
    assert rows.loc[CHAMPION, "predicted_probability"] == 0.25
    assert rows.loc[NO_MODEL, ["predicted_probability", "predicted_class"]].isna().all()
    requests = requests_of(ledger)
    assert requests["error"].dropna().tolist() == ["it broke"]
    assert requests["model_version"].dropna().tolist() == [CHAMPION]


def test_a_rule_that_answers_is_a_version_of_its_own(ledger: Ledger) -> None:
    ruled = failed(fallback=Fallback.RULE, probability=0.2, predicted_class=1, confidence=Confidence.LOW)
    LedgerRecorder(ledger).record([ruled])
    (row,) = predictions_of(ledger).to_dict("records")
    assert (row["model_version"], row["predicted_probability"], row["predicted_class"]) == (RULE, 0.2, 1)
    assert requests_of(ledger)["model_version"].tolist() == [RULE]


def test_a_request_for_no_known_event_is_no_prediction(ledger: Ledger) -> None:
    LedgerRecorder(ledger).record([failed(event=None), answer(1)])
    assert requests_of(ledger)["event"].isna().tolist() == [True, False]
    assert predictions_of(ledger)["symbol"].tolist() == ["C001"]


def test_features_that_are_not_known_are_not_recorded_as_missing(ledger: Ledger) -> None:
    LedgerRecorder(ledger).record([answer(0), failed(1), answer(2, features={"d": 1e-300})])
    stored = {row.symbol: row.features for row in execute(ledger, "SELECT symbol, features FROM ml_predictions")}
    assert stored == {"C000": {"a": 0.1, "b": None, "c": "-0.0"}, "C001": {}, "C002": {"d": 1e-300}}


def test_nothing_answered_is_nothing_recorded(ledger: Ledger) -> None:
    LedgerRecorder(ledger).record([])
    assert count(ledger, "prediction_requests") == count(ledger, "ml_predictions") == 0


@pytest.mark.parametrize("wrong", [answer(1, probability=1.2), answer(1, predicted_class=1), answer(1, symbol=None)])
def test_what_the_ledger_refuses_takes_the_others_with_it(ledger: Ledger, wrong: Answer) -> None:
    with pytest.raises(BrokenConstraintError):
        LedgerRecorder(ledger).record([answer(), wrong])
    assert count(ledger, "prediction_requests") == count(ledger, "ml_predictions") == 0


@pytest.mark.parametrize("statement", ["INSERT INTO prediction_requests", "INSERT INTO ml_predictions"])
def test_a_kill_before_the_commit_leaves_neither_requests_nor_predictions(
    ledger_url: str, ledger: Ledger, statement: str
) -> None:
    made = [answer(i) for i in range(20)]
    die_after(ledger_url, ledger, statement, lambda it: LedgerRecorder(it).record(made))
    assert count(ledger, "prediction_requests") == count(ledger, "ml_predictions") == 0
    LedgerRecorder(ledger).record(made)
    assert count(ledger, "prediction_requests") == count(ledger, "ml_predictions") == 20


def test_threads_record_every_request_and_each_prediction_once(ledger: Ledger) -> None:
    recorder, made = LedgerRecorder(ledger), [answer(i) for i in range(100)]
    done = at_once(*[lambda some=some: recorder.record(some) for some in [made, made[::-1], made[50:]]])
    assert done == [None] * 3
    assert (count(ledger, "prediction_requests"), count(ledger, "ml_predictions")) == (250, 100)


def test_five_hundred_answers_take_a_moment(ledger: Ledger) -> None:
    names, random = [f"feature_{i:02}" for i in range(64)], np.random.default_rng(0)
    made = [answer(i, features=dict(zip(names, random.normal(size=64).tolist(), strict=True))) for i in range(500)]
    began = time.perf_counter()
    LedgerRecorder(ledger).record(made)
    assert time.perf_counter() - began < 2  # 0.1 s on a busy machine
    assert count(ledger, "ml_predictions") == 500


def deploy(ledger: Ledger, champion: str | None, previous: str | None = None, *challengers: str) -> LedgerRecorder:
    over = None
    for version in (previous, champion):
        if version is not None:
            deployments.promote(ledger, version, decision(DecisionKind.PROMOTION), over=over)
            over = version
    for version in challengers:
        deployments.shadow(ledger, version, decision(DecisionKind.SHADOW))
    return LedgerRecorder(ledger)


def test_the_recorder_knows_who_serves(ledger: Ledger) -> None:
    recorder = deploy(ledger, None)
    assert (recorder.champion(), recorder.previous_champion()) == (None, None)
    deploy(ledger, PREVIOUS)
    assert (recorder.champion(), recorder.previous_champion()) == (PREVIOUS, None)
    deployments.promote(ledger, CHAMPION, decision(DecisionKind.PROMOTION), over=PREVIOUS)
    assert (recorder.champion(), recorder.previous_champion()) == (CHAMPION, PREVIOUS)
    deployments.roll_back(ledger, decision(DecisionKind.ROLL_BACK), of=CHAMPION)
    assert (recorder.champion(), recorder.previous_champion()) == (PREVIOUS, None)


@pytest.fixture(scope="session")
def table(production_lake: Lake) -> pd.DataFrame:
    return production_lake.read("feature_table", [LAST])


@pytest.fixture
def own_lake(production_lake: Lake, tmp_path: Path) -> Lake:
    return copied(production_lake, tmp_path / "lake")


def service(lake: Lake, recorder: LedgerRecorder, now: pd.Timestamp = NOW) -> EarlySignalService:
    return EarlySignalService(lake, described(lake), recorder, recorder, recorder, clock=lambda: now)


def alerts_of(ledger: Ledger) -> dict[str, str]:
    return alerts.read(ledger).set_index("key")["severity"].to_dict()


def expect(ledger: Ledger, answers: Sequence[Answer], versions: set[str | None], problem: str | None) -> None:
    """Both tables hold these answers, all from these versions, and say what went wrong."""
    requests, said = requests_of(ledger), predictions_of(ledger, features=True)
    assert requests["symbol"].tolist() == [each.symbol for each in answers]
    assert requests["fallback"].tolist() == [each.fallback for each in answers]
    assert requests["error"].fillna("").tolist() == [each.error or "" for each in answers]
    assert all(problem in told for told in requests["error"]) if problem else requests["error"].isna().all()
    known = [each for each in answers if each.event is not None]
    assert set(said["model_version"]) == versions
    assert said["served"].all()
    said = said.set_index("event").loc[[each.event for each in known]]
    for row, made in zip(said.to_dict("records"), known, strict=True):
        expected = np.nan if made.probability is None else made.probability
        np.testing.assert_array_equal(row["predicted_probability"], expected)
        stored = [row.get(name, np.nan) for name in made.features]
        np.testing.assert_array_equal(stored, list(made.features.values()))


def test_an_answered_day_is_recorded_bit_for_bit(production_lake: Lake, table: pd.DataFrame, ledger: Ledger) -> None:
    examples = due(production_lake, table)
    answers = service(production_lake, deploy(ledger, CHAMPION, PREVIOUS)).predict_batch(examples)
    expect(ledger, answers, {CHAMPION}, None)
    stored = predictions_of(ledger, features=True).set_index("event").loc[examples["event"]]
    model = bundles.load(production_lake, CHAMPION)
    assert stored["predicted_probability"].tolist() == list(model.predict(stored))  # made anew from what is recorded
    names = list(active_features(described(production_lake)))
    later = table.set_index("event").loc[examples["event"], names]
    assert stored[names].to_numpy().tobytes() == later.to_numpy().tobytes()
    assert alerts_of(ledger) == {}


def test_stale_caches_are_recorded(own_lake: Lake, table: pd.DataFrame, ledger: Ledger) -> None:
    examples = due(own_lake, table)
    for quarter in own_lake.quarters("ohlcv"):
        bars = own_lake.read("ohlcv", [quarter])
        own_lake.write("ohlcv", quarter, bars[bars["available_at"] <= examples["as_of"].iloc[0] - pd.Timedelta(days=8)])
    answers = service(own_lake, deploy(ledger, CHAMPION)).predict_batch(examples)
    expect(ledger, answers, {NO_MODEL}, "`ohlcv` 8")
    assert alerts_of(ledger) == {"serving:stale": Severity.CRITICAL}


def test_failed_features_are_recorded_once_a_day_as_an_alert(
    own_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    examples = due(own_lake, table)
    for path in (Path(own_lake.url) / "corporate_actions").iterdir():
        path.unlink()
    serving = service(own_lake, deploy(ledger, CHAMPION))
    answers = serving.predict_batch(examples)
    expect(ledger, answers, {NO_MODEL}, "feature extraction failed")
    serving.predict_batch(examples)
    assert len(requests_of(ledger)) == 2 * len(predictions_of(ledger)) == 2 * len(examples)
    assert alerts_of(ledger) == {"serving:features": Severity.WARNING}


def test_invalid_features_are_recorded_beside_answers(
    production_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    examples = due(production_lake, table)
    unknown = examples.assign(symbol=examples["symbol"].mask(examples.index == 1, "NOSUCH"))
    answers = service(production_lake, deploy(ledger, CHAMPION)).predict_batch(unknown)
    stored = predictions_of(ledger, features=True).set_index("symbol")
    assert stored["model_version"].to_dict() == {
        each.symbol: NO_MODEL if each.symbol == "NOSUCH" else CHAMPION for each in answers
    }
    assert np.isnan(stored.loc["NOSUCH", LAST_SURPRISE])
    assert alerts_of(ledger) == {"serving:invalid": Severity.WARNING}


def test_a_damaged_champion_is_recorded_and_then_none_that_loads(
    own_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    examples = due(own_lake, table)
    flip_a_byte(own_lake, CHAMPION)
    recorder = deploy(ledger, CHAMPION, PREVIOUS)
    answers = service(own_lake, recorder).predict_batch(examples)
    expect(ledger, answers, {PREVIOUS}, "does not fit its hash")
    assert requests_of(ledger)["model_version"].unique().tolist() == [PREVIOUS]
    assert alerts_of(ledger) == {f"serving:load:{CHAMPION}": Severity.WARNING}
    flip_a_byte(own_lake, PREVIOUS)
    service(own_lake, recorder).predict_batch(examples)
    assert predictions_of(ledger)["model_version"].value_counts().to_dict() == {
        PREVIOUS: len(examples),
        NO_MODEL: len(examples),
    }
    assert alerts_of(ledger)["serving:no_model"] == Severity.CRITICAL


def test_a_failing_champion_gives_way_to_the_one_before_and_that_to_the_rule(
    own_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    for version in ("v9.9.8", "v9.9.9"):
        damaged(own_lake, CHAMPION, version, calibration=NOT_A_PROBABILITY)
    moments = table[table[LAST_SURPRISE] > 15].groupby("as_of").size().index[:4]
    examples = pd.concat([scheduled_examples(own_lake, described(own_lake), moment, moment) for moment in moments])
    examples = examples.reset_index(drop=True)
    answers = service(own_lake, deploy(ledger, "v9.9.9", "v9.9.8")).predict_batch(examples)
    expect(ledger, answers, {RULE, NO_MODEL}, "v9.9.9 fails")
    assert alerts_of(ledger) == {f"serving:predict:{v}": Severity.WARNING for v in ("v9.9.9", "v9.9.8")}
    assert (requests_of(ledger)["model_version"] == RULE).sum() == (
        predictions_of(ledger)["model_version"] == RULE
    ).sum()


@pytest.mark.parametrize(("symbol", "now"), [("NOSUCH", NOW), (None, pd.Timestamp("2015-01-05", tz="UTC"))])
def test_a_mistaken_request_is_recorded_and_wakes_nobody(
    production_lake: Lake, table: pd.DataFrame, ledger: Ledger, symbol: str | None, now: pd.Timestamp
) -> None:
    row = due(production_lake, table).iloc[0]
    asked = service(production_lake, deploy(ledger, CHAMPION), now)
    made = asked.predict(symbol or row["symbol"], row["scheduled_on"], row["as_of"])
    assert made.fallback is Fallback.NO_ANSWER
    expect(ledger, [made], set(), str(made.error))
    assert alerts_of(ledger) == {}


def test_an_answer_that_cannot_be_recorded_is_not_given(
    production_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    row, recorder = due(production_lake, table).iloc[0], deploy(ledger, CHAMPION)
    asked = service(production_lake, recorder)
    execute(ledger, "ALTER TABLE ml_predictions RENAME TO hidden")
    try:
        with pytest.raises(LedgerError, match="is not prepared"):
            asked.predict(row["symbol"], row["scheduled_on"], row["as_of"])
    finally:
        execute(ledger, "ALTER TABLE hidden RENAME TO ml_predictions")
    assert count(ledger, "prediction_requests") == 0


def test_two_threads_of_the_service_record_all_their_requests(
    production_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    examples = due(production_lake, table)
    asked = service(RememberingLake(production_lake.url), deploy(ledger, CHAMPION))
    first, second = at_once(*[lambda: asked.predict_batch(examples)] * 2)
    assert [a.probability for a in first] == [a.probability for a in second]
    assert len(requests_of(ledger)) == 2 * len(examples)
    assert len(predictions_of(ledger)) == len(examples)


def shadowed(lake: Lake, ledger: Ledger, answers: Sequence[Answer]) -> ShadowScores:
    return score_in_shadow(ledger, ModelCache(lake), answers, NOW)


def test_challengers_score_every_event_whose_features_are_known(
    own_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    examples = due(own_lake, table)
    unknown = examples.assign(symbol=examples["symbol"].mask(examples.index == 1, "NOSUCH"))
    answers = service(own_lake, deploy(ledger, CHAMPION, None, PREVIOUS)).predict_batch(unknown)
    assert answers[1].fallback is Fallback.NO_ANSWER
    done = shadowed(own_lake, ledger, [*answers, answers[0], failed(), replace(answers[0], event=None)])
    assert done == ShadowScores({PREVIOUS: len(examples)}, {})
    rows = predictions_of(ledger, served=False, features=True).set_index("event").loc[examples["event"]]
    model = bundles.load(own_lake, PREVIOUS)
    assert rows["predicted_probability"].tolist() == list(model.predict(rows))
    assert rows["threshold"].eq(model.threshold).all()
    assert rows["predicted_class"].tolist() == (rows["predicted_probability"] >= model.threshold).astype(int).tolist()
    assert rows["prediction_date"].eq(NOW).all()
    assert rows["model_sha256"].eq(ModelCache(own_lake).get(PREVIOUS).sha256).all()
    assert rows["dataset_sha256"].eq(model.metadata["dataset_sha256"]).all()
    served = predictions_of(ledger, served=True, features=True).set_index("event").loc[examples["event"]]
    names = list(answers[0].features)
    assert rows[names].to_numpy().tobytes() == served[names].to_numpy().tobytes()
    assert len(requests_of(ledger)) == len(examples)
    assert shadowed(own_lake, ledger, answers) == ShadowScores({PREVIOUS: 0}, {})


def test_a_challenger_that_fails_is_skipped_with_an_alert_and_the_others_score(
    own_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    damaged(own_lake, CHAMPION, "v9.9.8", calibration=NOT_A_PROBABILITY)
    damaged(own_lake, CHAMPION, "v9.9.9", features=["no_such_feature"])
    recorder = deploy(ledger, CHAMPION, None, "v0.0.1", "v9.9.8", "v9.9.9", PREVIOUS)
    answers = service(own_lake, recorder).predict_batch(due(own_lake, table))
    done = shadowed(own_lake, ledger, answers)
    assert done.recorded == {PREVIOUS: len(answers)}
    assert set(done.skipped) == {"v0.0.1", "v9.9.8", "v9.9.9"}
    assert "no finished model v0.0.1" in done.skipped["v0.0.1"]
    assert alerts_of(ledger) == {f"shadow:{version}": Severity.WARNING for version in done.skipped}
    assert set(predictions_of(ledger, served=False)["model_version"]) == {PREVIOUS}


def test_a_challenger_that_gives_no_probability_records_nothing(
    own_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    text = bundles.load(own_lake, CHAMPION).model_text.replace("objective=binary sigmoid:1", "objective=regression")
    damaged(own_lake, CHAMPION, "v9.9.9", text=text, calibration={**NOT_A_PROBABILITY, "kind": "none"})
    answers = service(own_lake, deploy(ledger, CHAMPION, None, "v9.9.9")).predict_batch(due(own_lake, table))
    done = shadowed(own_lake, ledger, answers)
    assert "gave the probability -" in done.skipped["v9.9.9"]
    assert predictions_of(ledger, served=False).empty


def test_without_challengers_or_events_nothing_is_scored(production_lake: Lake, ledger: Ledger) -> None:
    deploy(ledger, CHAMPION)
    assert shadowed(production_lake, ledger, [answer()]) == ShadowScores({}, {})
    deployments.shadow(ledger, PREVIOUS, decision(DecisionKind.SHADOW))
    assert shadowed(production_lake, ledger, []) == ShadowScores({PREVIOUS: 0}, {})
    assert count(ledger, "ml_predictions") == 0


def test_what_was_served_stays_served_when_its_version_scores_in_shadow(
    production_lake: Lake, table: pd.DataFrame, ledger: Ledger
) -> None:
    recorder = deploy(ledger, PREVIOUS)
    answers = service(production_lake, recorder).predict_batch(due(production_lake, table))
    deployments.promote(ledger, CHAMPION, decision(DecisionKind.PROMOTION), over=PREVIOUS)
    deployments.shadow(ledger, PREVIOUS, decision(DecisionKind.SHADOW))
    assert shadowed(production_lake, ledger, answers) == ShadowScores({PREVIOUS: 0}, {})
    assert predictions_of(ledger)["served"].all()
