"""A retrain whose run is over and nobody has told: made up for, and a retrain that is at work is left alone."""

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from ledgers import DAY, NOW, decision

from earlysignal_assets.requests import note_lost_retrain, tags_of_retrain
from earlysignal_core.ledger import alerts, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import DecisionKind, RetrainState, Urgency


@pytest.mark.parametrize(
    ("status", "state", "told"),
    [
        (DagsterRunStatus.FAILURE, RetrainState.PENDING, ["Run failed: retrain 2018-07-03"]),
        (DagsterRunStatus.CANCELED, RetrainState.PENDING, ["Run failed: retrain 2018-07-03"]),
        (DagsterRunStatus.STARTED, RetrainState.STARTED, []),
    ],
)
def test_a_retrain_under_way_whose_run_is_over_is_due_again(
    ledger: Ledger, status: DagsterRunStatus, state: RetrainState, told: list[str]
) -> None:
    request = retrain_requests.request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN),
        day=DAY,
        cause="monthly",
        urgency=Urgency.SCHEDULED,
        universe="sp500",
        window_months=24,
    )
    tags = tags_of_retrain(request) | {"dagster/partition": "2018-07-03"}
    with dg.DagsterInstance.ephemeral() as instance:
        note_lost_retrain(instance, ledger, NOW)
        assert retrain_requests.get(ledger, request.id) == request, "it has not begun"
        run = create_run_for_test(instance, job_name="retrain", status=status, tags=tags)
        retrain_requests.start(ledger, request.id, 1, run.run_id, NOW)
        for _ in range(2):
            note_lost_retrain(instance, ledger, NOW)
    found = retrain_requests.get(ledger, request.id)
    assert (found.state, found.attempts) == (state, 1)
    assert alerts.read(ledger)["title"].tolist() == told
