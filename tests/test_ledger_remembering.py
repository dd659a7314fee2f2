"""A ledger that remembers tells what the database tells, column for column, after every write."""

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import NOW, decision, empty, later, prediction
from pandas.testing import assert_frame_equal
from sqlalchemy import Connection, event

from earlysignal_core.ledger import deployments, outcomes, prediction_requests, predictions
from earlysignal_core.ledger.connection import Ledger, RememberingLedger
from earlysignal_core.ledger.outcomes import Outcome
from earlysignal_core.ledger.prediction_requests import PredictionRequest
from earlysignal_core.ledger.vocabulary import DecisionKind, Fallback, Horizon, OutcomeStatus

OBSERVED, NO_EVENT, DELISTED = OutcomeStatus.OBSERVED, OutcomeStatus.NO_EVENT, OutcomeStatus.DELISTED
_days = st.integers(1, 30).map(float)
_labels = st.builds(
    lambda of, day, told: Outcome(of, Horizon.LABEL, told[0], later(day), told[1], told[2]),
    st.integers(1, 3),
    _days,
    st.sampled_from(
        [(NO_EVENT, None, None), (OBSERVED, 1, 25.0), (OBSERVED, 0, -0.0), (OBSERVED, 0, 19.0), (OBSERVED, None, None)]
    ),
)
_returns = st.builds(
    lambda of, day, status, value: Outcome(of, Horizon.DAYS_7, status, later(day), actual_return_7d=value),
    st.integers(1, 3),
    _days,
    st.sampled_from([OBSERVED, DELISTED]),
    st.sampled_from([None, 0.1, -1.0]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_labels | _returns, max_size=8))
def test_outcomes_are_remembered_as_they_stand(ledger: Ledger, told: list[Outcome]) -> None:
    empty(ledger)
    with RememberingLedger(ledger._url, ledger.schema) as remembering:
        _expect_the_same(ledger, remembering)
        predictions.record(remembering, [prediction(1), prediction(2, prediction_date=later(1)), prediction(3)])
        predictions.record(remembering, [prediction(4, features={"a": -0.0, "price_change_5d": float("inf")})])
        for some in (told[:2], told[2:]):
            for outcome in some:
                outcomes.record(remembering, [outcome])
            _expect_the_same(ledger, remembering)


def _expect_the_same(ledger: Ledger, remembering: RememberingLedger) -> None:
    for since, until in ((later(-1), later(2)), (NOW, later(2))):
        assert_frame_equal(outcomes.standing(remembering, since, until), outcomes.standing(ledger, since, until))
        for features in (False, True):
            found, there = (predictions.read(it, since, until, features=features) for it in (remembering, ledger))
            assert_frame_equal(found.reindex(columns=there.columns), there)
            assert found.drop(columns=there.columns).isna().all(axis=None)
        few = {"served": True, "columns": ["event", "as_of", "predicted_probability"]}
        assert_frame_equal(*(predictions.read(it, since, until, **few) for it in (remembering, ledger)))
        for as_announced, ids, known in ((True, None, 12), (False, [1, 3], 40), (False, None, 5)):
            chosen = {"known_at": later(known), "as_announced": as_announced, "ids": ids}
            found, there = (outcomes.read(it, since, until, **chosen) for it in (remembering, ledger))
            assert_frame_equal(found, there)
            few = {**chosen, "columns": ["event"]}
            assert_frame_equal(*(outcomes.read(it, since, until, **few) for it in (remembering, ledger)))


def test_what_a_transaction_undoes_is_not_remembered(ledger: Ledger) -> None:
    with RememberingLedger(ledger._url, ledger.schema) as remembering:
        predictions.record(remembering, [prediction(1)])
        try:
            with remembering.transaction() as joined:
                outcomes.record(joined, [Outcome(1, Horizon.LABEL, OBSERVED, later(8), 1, 25.0)])
                assert outcomes.standing(joined, later(-1), NOW)["has_label"].tolist() == [True]
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert outcomes.standing(remembering, later(-1), NOW)["has_label"].tolist() == [False]
        assert pd.isna(outcomes.read(remembering, later(-1), NOW, known_at=later(9))["status"]).all()


def test_what_was_read_is_kept_until_its_table_is_written(ledger: Ledger) -> None:
    asked: list[Connection] = []
    with RememberingLedger(ledger._url, ledger.schema) as remembering:
        event.listen(remembering._engine, "begin", asked.append)
        for _ in range(2):
            assert deployments.champion(remembering) is None
        predictions.record(remembering, [prediction(1)])
        before = len(asked)
        assert deployments.champion(remembering) is None
        assert len(asked) == before, "predictions say nothing of deployments"
        deployments.promote(remembering, "v9.0.0", decision(DecisionKind.PROMOTION), over=None)
        assert deployments.champion(remembering) == deployments.champion(ledger) is not None


def test_what_is_asked_beside_a_transaction_is_asked_again_after_it(ledger: Ledger) -> None:
    with RememberingLedger(ledger._url, ledger.schema) as remembering:
        with remembering.transaction() as joined:
            deployments.promote(joined, "v9.0.0", decision(DecisionKind.PROMOTION), over=None)
            assert deployments.champion(remembering) is None
        assert deployments.champion(remembering) is not None


def test_requests_are_remembered_as_they_stand(ledger: Ledger) -> None:
    with RememberingLedger(ledger._url, ledger.schema) as remembering:
        for number, fallback in enumerate((Fallback.NONE, Fallback.NO_ANSWER, Fallback.RULE)):
            request = PredictionRequest(later(number), f"C{number}", fallback, 12.5, error=None if number else "slow")
            prediction_requests.record(remembering, [request])
            for since, until in ((NOW, later(3)), (later(-1), NOW), (later(-1), later(3))):
                for columns in (None, ["requested_at", "fallback"]):
                    found, there = (prediction_requests.read(it, since, until, columns) for it in (remembering, ledger))
                    assert_frame_equal(found, there)
