"""Predictions are recorded once, never changed, and come back bit for bit; so is every call, also a failed one."""

import math
import time
import uuid
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ledgers import NOW, at_once, count, die_after, execute, frames, later, prediction

from earlysignal_core.ledger import prediction_requests, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.encoding import rows_from_json, rows_to_json
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError
from earlysignal_core.ledger.prediction_requests import PredictionRequest
from earlysignal_core.ledger.predictions import NO_MODEL
from earlysignal_core.ledger.vocabulary import Arm, Confidence, Fallback

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


def bits(values: object) -> bytes:
    """The bits of each number; those of NaN, of which there are many, made one."""
    array = np.array(values, dtype="float64")
    return np.where(np.isnan(array), np.nan, array).tobytes()


def everything(ledger: Ledger, **choice: object) -> pd.DataFrame:
    return predictions.read(ledger, later(-400), later(400), **choice)


def test_a_prediction_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    made = prediction(3, arm=Arm.CHALLENGER, confidence_level=Confidence.HIGH)
    assert predictions.record(ledger, [made]) == 1
    (row,) = everything(ledger, features=True).to_dict("records")
    assert row.pop("id") == 1
    assert math.isnan(row.pop("earnings_surprise"))
    assert row.pop("price_change_5d") == made.features["price_change_5d"]
    assert row == {name: value for name, value in vars(made).items() if name != "features"}


def test_one_prediction_of_a_model_for_an_event_and_moment(ledger: Ledger) -> None:
    first = prediction()
    assert predictions.record(ledger, [first]) == 1
    again = replace(first, predicted_probability=0.29, prediction_date=later(1))
    others = [
        replace(first, model_version="v2018.4.0", served=False),
        replace(first, as_of=later(1)),
        prediction(1),
    ]
    assert predictions.record(ledger, [again, *others]) == 3
    assert everything(ledger)["predicted_probability"].tolist() == [0.25] * 4


def test_the_database_itself_refuses_a_second_one(ledger: Ledger) -> None:
    predictions.record(ledger, [prediction()])
    with pytest.raises(BrokenConstraintError) as caught:
        execute(
            ledger,
            "INSERT INTO ml_predictions (prediction_date, symbol, event, announced_on, as_of, model_version, served,"
            " features) SELECT prediction_date, symbol, event, announced_on, as_of, model_version, served, features"
            " FROM ml_predictions",
        )
    assert caught.value.constraint == "one_prediction"


def test_the_same_predictions_at_once_are_recorded_once(ledger: Ledger) -> None:
    frame, features = frames(200)
    backwards = (frame[::-1], features[::-1])
    for round_ in range(1, 6):
        pairs = [(pair[0].assign(as_of=later(round_)), pair[1]) for pair in [(frame, features), backwards] * 2]
        added = at_once(*[lambda pair=pair: predictions.record_frame(ledger, *pair) for pair in pairs])
        assert sum(added) == 200
    assert count(ledger, "ml_predictions") == 1000


@pytest.mark.parametrize("table", ["ml_predictions", "prediction_requests"])
@pytest.mark.parametrize("change", ["UPDATE {} SET symbol = 'X'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_what_is_recorded_stays(ledger: Ledger, table: str, change: str) -> None:
    predictions.record(ledger, [prediction()])
    prediction_requests.record(ledger, [PredictionRequest(NOW, "C000", Fallback.NONE, 1.0)])
    with pytest.raises(LedgerError, match="keeps what is recorded"):
        execute(ledger, change.format(table))
    assert count(ledger, table) == 1


def test_a_prediction_without_an_answer_is_recorded_all_the_same(ledger: Ledger) -> None:
    failed = prediction(
        model_version=NO_MODEL, predicted_probability=None, predicted_class=None, features={}, model_sha256=None
    )
    predictions.record(ledger, [failed])
    (row,) = everything(ledger, features=True).to_dict("records")
    assert math.isnan(row["predicted_probability"])
    assert math.isnan(row["predicted_class"])
    # Once a model answers after all, that is another prediction.
    assert predictions.record(ledger, [prediction()]) == 1


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"predicted_probability": 1.01, "threshold": None}, "probability_is_in_0_1"),
        ({"predicted_probability": None}, "class_goes_with_probability"),
        ({"predicted_probability": math.nan}, "class_goes_with_probability"),
        ({"predicted_class": None}, "class_goes_with_probability"),
        ({"predicted_class": 2, "threshold": None}, "class_is_0_or_1"),
        ({"predicted_class": 1}, "class_by_threshold"),
        ({"predicted_probability": 0.3}, "class_by_threshold"),
        ({"arm": "both"}, "arm_is_known"),
        ({"confidence_level": "SURE"}, "confidence_level_is_known"),
        ({"event": None}, ""),
    ],
)
def test_the_database_refuses_what_is_no_prediction_and_takes_none_of_the_others(
    ledger: Ledger, changes: dict[str, object], constraint: str
) -> None:
    with pytest.raises(BrokenConstraintError) as caught:
        predictions.record(ledger, [prediction(1), prediction(**changes)])
    assert caught.value.constraint == constraint
    assert count(ledger, "ml_predictions") == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"as_of": NOW.tz_localize(None)}, r"`as_of`.*no time zone"),
        ({"announced_on": NOW}, r"`announced_on`.*is no day"),
        ({"predicted_class": 0.5}, r"`predicted_class`.*no whole number"),
    ],
)
def test_a_value_that_does_not_fit_is_named(ledger: Ledger, change: dict[str, object], complaint: str) -> None:
    frame, features = frames(2)
    with pytest.raises(LedgerError, match=complaint):
        predictions.record_frame(ledger, frame.assign(**change), features)


def test_a_column_that_is_missing_is_named(ledger: Ledger) -> None:
    frame, features = frames(2)
    with pytest.raises(LedgerError, match=r"lack the column\(s\) arm, served"):
        predictions.record_frame(ledger, frame.drop(columns=["arm", "served"]), features)
    with pytest.raises(LedgerError, match="2 predictions come with the features of 1"):
        predictions.record_frame(ledger, frame, features[:1])


def test_nothing_to_record_is_nothing(ledger: Ledger) -> None:
    frame, features = frames(2)
    assert predictions.record(ledger, []) == 0
    assert predictions.record_frame(ledger, frame[:0], features[:0]) == 0
    prediction_requests.record(ledger, [])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.lists(FLOATS, min_size=2, max_size=2), min_size=1, max_size=4), name=NAMES)
@example(values=[[-0.0, math.inf], [math.nan, -math.inf], [5e-324, 1.7976931348623157e308]], name='"\\{}:,\x1f')
def test_features_come_back_bit_for_bit(ledger: Ledger, values: list[list[float]], name: str) -> None:
    event = uuid.uuid4().hex
    frame, _ = frames(len(values), name=event)
    names = ["a", f"b{name}"]
    predictions.record_frame(ledger, frame, pd.DataFrame(values, columns=names))
    kept = execute(
        ledger,
        "SELECT features::text, (features ->> :name)::float8 FROM ml_predictions WHERE event LIKE :event ORDER BY id",
        name=names[1],
        event=f"%{event}",
    )
    back, read = rows_from_json([row for row, _ in kept])
    assert back == names
    in_sql = [math.nan if number is None else number for _, number in kept]
    assert bits(read) == bits(values)
    assert bits(in_sql) == bits([row[1] for row in values])


@given(st.lists(st.lists(FLOATS, min_size=3, max_size=3), max_size=5))
@example([])
def test_json_of_features_reads_back_without_a_database(values: list[list[float]]) -> None:
    matrix = np.array(values, dtype="float64").reshape(len(values), 3)
    _, read = rows_from_json(rows_to_json(["a", "b", "c"], matrix))
    assert np.array_equal(read.reshape(matrix.shape), matrix, equal_nan=True)


def test_features_that_a_model_did_not_read_are_nan(ledger: Ledger) -> None:
    predictions.record(ledger, [prediction(0, features={"a": 1.0})])
    predictions.record(ledger, [prediction(1, features={"b": 2.0})])
    both = everything(ledger, features=True)
    assert both[["a", "b"]].isna().to_numpy().tolist() == [[False, True], [True, False]]


def test_reading_chooses_by_time_model_and_whether_it_was_served(ledger: Ledger) -> None:
    predictions.record(
        ledger,
        [
            prediction(0),
            prediction(1, prediction_date=later(1)),
            prediction(2, prediction_date=later(2), model_version="v2018.4.0", served=False),
        ],
    )
    assert predictions.read(ledger, NOW, later(1))["symbol"].tolist() == ["C001"]
    assert everything(ledger, served=False)["symbol"].tolist() == ["C002"]
    assert everything(ledger, versions=["v2018.3.0"])["symbol"].tolist() == ["C000", "C001"]
    assert everything(ledger, versions=[]).empty


def test_an_empty_answer_has_the_types_of_a_full_one(ledger: Ledger) -> None:
    empty = everything(ledger)
    predictions.record(ledger, [prediction(predicted_class=None, predicted_probability=None)])
    assert empty.dtypes.to_dict() == everything(ledger).dtypes.to_dict()


def test_a_day_of_500_predictions_is_written_and_a_month_read_in_no_time(ledger: Ledger) -> None:
    """The limits are generous, because tests share their machine: quiet, it is 40 ms and 250 ms."""
    batches = [frames(500, name=f"Q{i}") for i in range(8)]
    seconds = []
    for frame, features in batches:
        began = time.perf_counter()
        assert predictions.record_frame(ledger, frame, features) == 500
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.5
    began = time.perf_counter()
    assert everything(ledger, features=True).shape == (4000, 15 + 64)
    assert time.perf_counter() - began < 3


def test_a_batch_that_is_killed_leaves_nothing(ledger_url: str, ledger: Ledger) -> None:
    die_after(ledger_url, ledger, "INSERT INTO ml_predictions", lambda it: predictions.record_frame(it, *frames(50)))
    assert count(ledger, "ml_predictions") == 0
    assert predictions.record_frame(ledger, *frames(50)) == 50


def test_every_call_is_recorded_also_a_failed_one(ledger: Ledger) -> None:
    answered = PredictionRequest(
        NOW, "C000", Fallback.NONE, 3.5, NOW.tz_localize(None).normalize(), NOW, "C000:2018-Q2", "v2018.3.0"
    )
    failed = PredictionRequest(later(1), "\0?", Fallback.NO_ANSWER, 612.0, error="no features: \0 \ud800 \x1f \x1e ''")
    prediction_requests.record(ledger, [answered, failed])
    prediction_requests.record(ledger, [answered])  # the same call again is another call
    calls = prediction_requests.read(ledger, later(-1), later(1))
    assert calls["fallback"].tolist() == ["none", "no_answer", "none"]
    assert calls["latency_ms"].tolist() == [3.5, 612.0, 3.5]
    assert calls["error"][1].startswith("no features: ")
    assert calls.loc[0, ["symbol", "as_of", "event", "model_version"]].tolist() == [
        "C000",
        NOW,
        "C000:2018-Q2",
        "v2018.3.0",
    ]
    assert prediction_requests.read(ledger, NOW, later(1))["symbol"].tolist() == ["\N{REPLACEMENT CHARACTER}?"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.text()), min_size=1, max_size=4))
@example([""])
@example([None])
def test_any_text_survives_or_is_made_legible(ledger: Ledger, errors: list[str | None]) -> None:
    before = count(ledger, "prediction_requests")
    prediction_requests.record(ledger, [PredictionRequest(NOW, "C000", Fallback.RULE, 1.0, error=e) for e in errors])
    kept = prediction_requests.read(ledger, later(-1), NOW)["error"].tolist()[before:]
    illegible = str.maketrans(dict.fromkeys("\0\x1e\x1f", "\N{REPLACEMENT CHARACTER}"))
    assert [None if isinstance(k, float) else k for k in kept] == [
        e if e is None else e.translate(illegible) for e in errors
    ]
