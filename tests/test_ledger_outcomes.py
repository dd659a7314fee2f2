"""An outcome is news or it is not: news is a new revision, the same again is nothing, and none is ever changed."""

import math

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import NOW, at_once, count, die_after, execute, later, prediction

from earlysignal_core.ledger import outcomes, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError
from earlysignal_core.ledger.outcomes import Outcome
from earlysignal_core.ledger.vocabulary import Horizon, OutcomeStatus

OBSERVED, NO_EVENT, RESTATED = OutcomeStatus.OBSERVED, OutcomeStatus.NO_EVENT, OutcomeStatus.RESTATED


def label(prediction_id: int = 1, beat: int | None = 1, surprise: float | None = 25.0, **changes: object) -> Outcome:
    content = {"horizon": Horizon.LABEL, "status": OBSERVED, "outcome_date": later(8)}
    return Outcome(prediction_id, actual_class=beat, earnings_surprise_pct=surprise, **content | changes)


def no_event(prediction_id: int = 1) -> Outcome:
    return label(prediction_id, None, None, status=NO_EVENT)


def known(ledger: Ledger, at: pd.Timestamp) -> dict[str, object]:
    (row,) = outcomes.read(ledger, later(-1), NOW, known_at=at).to_dict("records")
    return row


@pytest.fixture
def predicted(ledger: Ledger) -> Ledger:
    """A ledger with one prediction of class 0."""
    predictions.record(ledger, [prediction()])
    return ledger


def test_outcomes_come_in_by_horizon_and_are_read_as_of_a_moment(predicted: Ledger) -> None:
    week = Outcome(1, Horizon.DAYS_7, OBSERVED, later(7), actual_return_7d=-0.03)
    month = Outcome(1, Horizon.DAYS_30, OutcomeStatus.DELISTED, later(20), actual_return_30d=-1.0)
    assert outcomes.record(predicted, [week, label(), month]) == 3
    nothing = known(predicted, NOW)
    assert pd.isna(
        [nothing[name] for name in ("status", "actual_class", "actual_return_7d", "correct_prediction")]
    ).all()
    after_a_week = known(predicted, later(7))
    assert after_a_week["actual_return_7d"] == -0.03
    assert math.isnan(after_a_week["actual_class"])
    everything = known(predicted, later(30))
    assert everything["symbol"] == "C000"
    assert (everything["status"], everything["actual_class"], everything["earnings_surprise_pct"]) == (
        "observed",
        1,
        25,
    )
    assert everything["actual_return_30d"] == -1
    assert everything["correct_prediction"] is False


def test_the_same_outcome_twice_is_recorded_once(predicted: Ledger) -> None:
    assert outcomes.record(predicted, [label()]) == 1
    assert outcomes.record(predicted, [label(outcome_date=later(9))]) == 0
    assert outcomes.record(predicted, [label(status=RESTATED)]) == 0
    assert count(predicted, "ml_outcomes") == 1


def test_a_restated_result_is_a_new_revision_and_the_old_one_stays(predicted: Ledger) -> None:
    outcomes.record(predicted, [label()])
    assert outcomes.record(predicted, [label(beat=0, surprise=19.0, outcome_date=later(40))]) == 1
    revisions = outcomes.revisions(predicted, 1)
    assert revisions["revision"].tolist() == [1, 2]
    assert revisions["status"].tolist() == ["observed", "restated"]
    assert revisions["actual_class"].tolist() == [1, 0]
    assert revisions["correct_prediction"].tolist() == [False, True]
    assert known(predicted, later(10))["actual_class"] == 1
    assert known(predicted, later(40))["actual_class"] == 0


def test_no_event_is_not_class_0_and_waits_for_the_announcement(predicted: Ledger) -> None:
    assert outcomes.record(predicted, [no_event()]) == 1
    row = known(predicted, later(8))
    assert row["status"] == "no_event"
    assert math.isnan(row["actual_class"])
    assert pd.isna(row["correct_prediction"])
    assert outcomes.record(predicted, [no_event(), label(outcome_date=later(12))][1:]) == 1
    assert outcomes.revisions(predicted, 1)["status"].tolist() == ["no_event", "observed"]


def test_what_could_be_known_before_the_newest_revision_is_no_news(predicted: Ledger) -> None:
    history = [no_event(), label(outcome_date=later(12)), label(beat=0, surprise=19.0, outcome_date=later(40))]
    assert [outcomes.record(predicted, [told]) for told in history * 2] == [1, 1, 1, 0, 0, 0]


def test_an_event_that_was_taken_for_none_is_news_whatever_its_moment(predicted: Ledger) -> None:
    outcomes.record(predicted, [no_event()])
    assert outcomes.record(predicted, [label(outcome_date=later(7))]) == 1


def test_outcomes_are_read_as_they_were_announced(predicted: Ledger) -> None:
    no_class = label(beat=None, surprise=None, outcome_date=later(10))
    corrected = label(beat=0, surprise=19.0, outcome_date=later(40))
    for told in (no_event(), no_class, label(outcome_date=later(12)), corrected):
        outcomes.record(predicted, [told])
    gone = Outcome(1, Horizon.DAYS_7, OutcomeStatus.DELISTED, later(20), actual_return_7d=-1.0)
    outcomes.record(predicted, [gone])

    def first(at: float) -> tuple[object, object, object]:
        (row,) = outcomes.read(predicted, later(-1), NOW, known_at=later(at), as_announced=True).to_dict("records")
        return row["status"], row["actual_class"], row["delisted"]

    assert first(8)[0] == "no_event"
    assert first(10)[0] == "observed"
    assert first(50) == ("restated", 1, True)
    assert known(predicted, later(50))["actual_class"] == 0


def test_what_stands_is_told_of_every_prediction_of_a_window(predicted: Ledger) -> None:
    predictions.record(predicted, [prediction(1), prediction(2, prediction_date=later(1))])
    outcomes.record(predicted, [label(), no_event(2)])
    outcomes.record(predicted, [Outcome(1, Horizon.DAYS_7, OBSERVED, later(7), actual_return_7d=0.1)])
    found = outcomes.standing(predicted, later(-1), NOW)
    assert found["id"].tolist() == [1, 2]
    assert found[["has_label", "has_7d", "has_30d"]].to_numpy().tolist() == [[True, True, False], [True, False, False]]
    assert found["observed_at"].tolist() == [later(8), pd.NaT]
    assert outcomes.standing(predicted, NOW, later(1))["has_label"].tolist() == [False]


def test_a_prediction_without_an_answer_has_an_outcome_that_is_neither_right_nor_wrong(ledger: Ledger) -> None:
    predictions.record(ledger, [prediction(predicted_class=None, predicted_probability=None)])
    outcomes.record(ledger, [label()])
    row = known(ledger, later(8))
    assert row["actual_class"] == 1
    assert pd.isna(row["correct_prediction"])


@pytest.mark.parametrize(
    "change", ["UPDATE ml_outcomes SET actual_class = 0", "DELETE FROM ml_outcomes", "TRUNCATE ml_outcomes"]
)
def test_an_outcome_stays(predicted: Ledger, change: str) -> None:
    outcomes.record(predicted, [label()])
    with pytest.raises(LedgerError, match="keeps what is recorded"):
        execute(predicted, change)


@pytest.mark.parametrize(
    ("outcome", "constraint"),
    [
        (label(beat=2), "class_is_0_or_1"),
        (label(beat=0, status=NO_EVENT), "no_event_is_no_class"),
        (label(status="late"), "status_is_known"),
        (label(horizon="90d", beat=None, surprise=None), "horizon_is_known"),
        (label(horizon=Horizon.DAYS_7), "figures_of_the_horizon"),
        (label(actual_return_30d=0.1), "figures_of_the_horizon"),
        (label(prediction_id=99), ""),
    ],
)
def test_the_database_refuses_what_is_no_outcome(predicted: Ledger, outcome: Outcome, constraint: str) -> None:
    with pytest.raises(BrokenConstraintError) as caught:
        outcomes.record(predicted, [outcome])
    assert caught.value.constraint == constraint


def test_the_same_outcomes_at_once_are_recorded_once(ledger: Ledger) -> None:
    predictions.record(ledger, [prediction(number) for number in range(40)])
    same = [label(number + 1) for number in range(40)]
    assert sorted(at_once(*[lambda: outcomes.record(ledger, same)] * 4)) == [0, 0, 0, 40]


def test_different_outcomes_at_once_are_both_kept(predicted: Ledger) -> None:
    at_once(
        *[lambda surprise=surprise: outcomes.record(predicted, [label(surprise=surprise)]) for surprise in (21.0, 22.0)]
    )
    revisions = outcomes.revisions(predicted, 1)
    assert sorted(revisions["earnings_surprise_pct"]) == [21.0, 22.0]
    assert revisions["status"].tolist() == ["observed", "restated"]


def test_a_collection_that_is_killed_leaves_nothing_and_is_made_up_for(ledger_url: str, predicted: Ledger) -> None:
    die_after(ledger_url, predicted, "INSERT INTO ml_outcomes", lambda it: outcomes.record(it, [label()]))
    assert count(predicted, "ml_outcomes") == 0
    assert outcomes.record(predicted, [label()]) == 1


TOLD = st.sampled_from(
    [no_event(), label(), label(beat=0, surprise=3.0), label(surprise=26.0), label(beat=None, surprise=None)]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TOLD, min_size=1, max_size=6))
def test_there_are_as_many_revisions_as_changes(ledger: Ledger, told: list[Outcome]) -> None:
    number = count(ledger, "ml_predictions")
    predictions.record(ledger, [prediction(number)])
    (identity,) = execute(ledger, "SELECT max(id) FROM ml_predictions")[0]
    content = [(o.status, o.actual_class, o.earnings_surprise_pct) for o in told]
    changes = [now for before, now in zip([None, *content], content, strict=False) if before != now]
    added = [outcomes.record(ledger, [Outcome(**vars(o) | {"prediction_id": identity})]) for o in told]
    revisions = outcomes.revisions(ledger, identity)
    assert sum(added) == len(changes) == len(revisions)
    assert revisions["revision"].tolist() == list(range(1, len(changes) + 1))
    expected = [-1 if beat is None else beat for _, beat, _ in changes]
    assert revisions["actual_class"].fillna(-1).tolist() == expected
    assert [status == "no_event" for status in revisions["status"]] == [status is NO_EVENT for status, _, _ in changes]
