"""Retrain requests: one in flight, each step taken once however often it is told, each with its decision."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import DAY, NOW, at_once, count, decision, die_after, execute, later

from earlysignal_core.ledger import decisions, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError
from earlysignal_core.ledger.retrain_requests import (
    RetrainInFlightError,
    RetrainRequest,
    RetrainStateError,
    fail,
    finish,
    start,
)
from earlysignal_core.ledger.vocabulary import DecisionKind, RetrainState, Urgency

PENDING, STARTED, DONE, FAILED, SUPERSEDED = RetrainState


def ask(
    ledger: Ledger,
    cause: str = "psi",
    urgency: Urgency = Urgency.EMERGENCY,
    days: float = 0,
    *,
    is_earlier: bool = False,
) -> RetrainRequest:
    return retrain_requests.request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN, later(days)),
        day=DAY,
        cause=cause,
        urgency=urgency,
        universe="sp500",
        window_months=24,
        is_earlier=is_earlier,
    )


def states(ledger: Ledger) -> list[str]:
    return list(retrain_requests.history(ledger)["state"])


def test_a_request_runs_from_pending_to_done(ledger: Ledger) -> None:
    asked = ask(ledger)
    assert asked == retrain_requests.in_flight(ledger) == retrain_requests.get(ledger, asked.id)
    assert (asked.state, asked.attempts, asked.day, asked.window_months) == (PENDING, 0, DAY, 24)
    assert asked.run_key == "retrain-2018-07-03-1-1"
    assert decisions.read(ledger)["id"].tolist() == [asked.decided_by]
    begun = start(ledger, asked.id, 1, "run-a", later(0.1))
    assert (begun.state, begun.run_id, begun.started_at) == (STARTED, "run-a", later(0.1))
    done = finish(ledger, asked.id, 1, later(0.2))
    assert (done.state, done.finished_at, done.error) == (DONE, later(0.2), None)
    assert retrain_requests.in_flight(ledger) is None


def test_a_second_request_is_told_of_the_first_and_its_decision_is_not_recorded(ledger: Ledger) -> None:
    ask(ledger)
    with pytest.raises(RetrainInFlightError, match=r"request 1 \(psi, emergency\) is pending since 2018-07-03"):
        ask(ledger, "ks")
    assert count(ledger, "decisions") == 1
    start(ledger, 1, 1, "run-a", NOW)
    with pytest.raises(RetrainInFlightError, match="is started"):
        ask(ledger, "ks")
    finish(ledger, 1, 1, NOW)
    assert ask(ledger, "ks").id == 2


def test_of_many_requests_at_once_one_is_recorded(ledger: Ledger) -> None:
    results = at_once(*[lambda: ask(ledger)] * 6)
    assert sum(isinstance(result, RetrainRequest) for result in results) == 1
    assert sum(isinstance(result, RetrainInFlightError) for result in results) == 5
    assert count(ledger, "decisions") == count(ledger, "retrain_requests") == 1


def test_an_emergency_takes_the_place_of_a_scheduled_one_that_has_not_begun(ledger: Ledger) -> None:
    ask(ledger, "monthly", Urgency.SCHEDULED)
    emergency = ask(ledger, "psi", days=1)
    assert states(ledger) == [SUPERSEDED, PENDING]
    assert retrain_requests.in_flight(ledger) == emergency
    with pytest.raises(RetrainStateError, match="superseded"):
        start(ledger, 1, 1, "run-a", NOW)


def test_so_does_a_scheduled_one_that_starts_earlier(ledger: Ledger) -> None:
    ask(ledger, "season", Urgency.SCHEDULED)
    monthly = ask(ledger, "monthly", Urgency.SCHEDULED, days=1, is_earlier=True)
    assert states(ledger) == [SUPERSEDED, PENDING]
    assert retrain_requests.in_flight(ledger) == monthly
    ask(ledger, "psi", days=2)
    with pytest.raises(RetrainInFlightError):
        ask(ledger, "monthly", Urgency.SCHEDULED, days=3, is_earlier=True)


def test_neither_a_scheduled_one_nor_what_has_begun_gives_way(ledger: Ledger) -> None:
    ask(ledger, "monthly", Urgency.SCHEDULED)
    with pytest.raises(RetrainInFlightError):
        ask(ledger, "season", Urgency.SCHEDULED)
    start(ledger, 1, 1, "run-a", NOW)
    with pytest.raises(RetrainInFlightError):
        ask(ledger, "psi")


def test_a_failed_attempt_is_due_again_until_it_was_the_last(ledger: Ledger) -> None:
    key = ask(ledger).run_key
    start(ledger, 1, 1, "run-a", NOW)
    again = fail(ledger, 1, 1, "no memory \0", NOW, attempts_allowed=2)
    assert (again.state, again.attempts, again.error) == (PENDING, 1, "no memory \N{REPLACEMENT CHARACTER}")
    assert again.run_key != key
    start(ledger, 1, 2, "run-b", NOW)
    last = fail(ledger, 1, 2, "again", later(1), attempts_allowed=2)
    assert (last.state, last.attempts, last.finished_at) == (FAILED, 2, later(1))
    assert retrain_requests.in_flight(ledger) is None


def test_a_run_that_dies_before_it_begins_uses_up_its_attempt(ledger: Ledger) -> None:
    first = ask(ledger)
    failed = fail(ledger, 1, 1, "the worker was killed", NOW, attempts_allowed=3)
    assert (failed.state, failed.attempts, failed.run_key != first.run_key) == (PENDING, 1, True)
    with pytest.raises(RetrainStateError, match="cannot start attempt 1"):
        start(ledger, 1, 1, "run-a", NOW)


def test_what_is_told_twice_or_too_late_changes_nothing(ledger: Ledger) -> None:
    ask(ledger)
    begun = start(ledger, 1, 1, "run-a", NOW)
    assert start(ledger, 1, 1, "run-a", later(1)) == begun
    with pytest.raises(RetrainStateError, match=r"run run-b cannot start.*last by run run-a.*end this run"):
        start(ledger, 1, 1, "run-b", NOW)
    failed = fail(ledger, 1, 1, "lost", NOW, attempts_allowed=3)
    assert fail(ledger, 1, 1, "lost", NOW, attempts_allowed=3) == failed
    with pytest.raises(RetrainStateError, match="attempt 1 cannot finish"):
        finish(ledger, 1, 1, NOW)
    start(ledger, 1, 2, "run-c", NOW)
    assert fail(ledger, 1, 1, "lost, says somebody else", NOW, attempts_allowed=1).state is STARTED
    done = finish(ledger, 1, 2, NOW)
    assert finish(ledger, 1, 2, later(1)) == done
    assert fail(ledger, 1, 2, "too late", NOW, attempts_allowed=1) == done


def test_a_run_that_came_second_does_not_fail_the_one_that_is_at_work(ledger: Ledger) -> None:
    ask(ledger)
    start(ledger, 1, 1, "run-a", NOW)
    with pytest.raises(RetrainStateError, match="run run-b cannot start"):
        start(ledger, 1, 1, "run-b", NOW)
    assert fail(ledger, 1, 1, "it was taken", NOW, attempts_allowed=3, run_id="run-b").state is STARTED
    assert fail(ledger, 1, 1, "no memory", NOW, attempts_allowed=3, run_id="run-a").state is PENDING


def test_of_two_runs_that_start_the_same_attempt_one_goes_on(ledger: Ledger) -> None:
    ask(ledger)
    results = at_once(*[lambda run=run: start(ledger, 1, 1, run, NOW) for run in ("run-a", "run-b")])
    assert sum(isinstance(result, RetrainRequest) for result in results) == 1
    assert sum(isinstance(result, RetrainStateError) for result in results) == 1


def test_there_is_no_request_without_its_decision(ledger_url: str, ledger: Ledger) -> None:
    for statement in ("INSERT INTO decisions", "INSERT INTO retrain_requests"):
        die_after(ledger_url, ledger, statement, ask)
        assert count(ledger, "decisions") == count(ledger, "retrain_requests") == 0
    with pytest.raises(LedgerError, match="`no_retrain` cannot cause a retrain"):
        retrain_requests.request_retrain(
            ledger,
            decision(DecisionKind.NO_RETRAIN),
            day=DAY,
            cause="psi",
            urgency=Urgency.EMERGENCY,
            universe="sp500",
            window_months=None,
        )
    assert ask(ledger).state is PENDING


def test_the_database_itself_allows_one_in_flight_and_no_deletion(ledger: Ledger) -> None:
    ask(ledger)
    start(ledger, 1, 1, "run-a", NOW)
    with pytest.raises(BrokenConstraintError) as caught:
        execute(
            ledger,
            "INSERT INTO retrain_requests (day, cause, urgency, universe, requested_at, decided_by)"
            " SELECT day, cause, urgency, universe, requested_at, decided_by FROM retrain_requests",
        )
    assert caught.value.constraint == "one_retrain_in_flight"
    with pytest.raises(LedgerError, match="keeps what is recorded"):
        execute(ledger, "DELETE FROM retrain_requests")


def test_an_unknown_request_is_told(ledger: Ledger) -> None:
    with pytest.raises(RetrainStateError, match="no retrain request 7"):
        start(ledger, 7, 1, "run-a", NOW)


STEPS = st.sampled_from(["ask", "start", "finish", "fail", "start old", "fail old", "finish old"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=10))
def test_whatever_is_told_in_whatever_order_one_is_in_flight_and_attempts_only_grow(
    ledger: Ledger, steps: list[str]
) -> None:
    class UndoError(Exception):
        """Leaves an empty ledger to the next example."""

    with pytest.raises(UndoError), ledger.transaction() as joined:  # noqa: PT012 - it ends all of this
        attempts: dict[int, int] = {}
        for step in steps:
            current = retrain_requests.in_flight(joined)
            number = 1 if current is None else current.id
            due = 1 if current is None else current.attempts + (current.state is PENDING)
            attempt = due - 1 if step.endswith("old") else due
            try:
                match step.split()[0]:
                    case "ask":
                        ask(joined)
                    case "start":
                        start(joined, number, attempt, f"run-{number}-{attempt}", NOW)
                    case "finish":
                        finish(joined, number, attempt, NOW)
                    case "fail":
                        fail(joined, number, attempt, "failed", NOW, attempts_allowed=2)
            except (RetrainStateError, RetrainInFlightError):
                assert retrain_requests.in_flight(joined) == current
            history = retrain_requests.history(joined)
            assert history["state"].isin([PENDING, STARTED]).sum() <= 1
            assert len(history) == count(joined, "decisions")
            now = dict(zip(history["id"], history["attempts"], strict=True))
            assert all(0 <= now[identity] - before <= 1 for identity, before in attempts.items())
            assert history["attempts"].max() <= 2 if len(history) else True
            attempts = now
        raise UndoError
