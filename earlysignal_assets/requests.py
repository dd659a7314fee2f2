"""Runs of production and what caused them: the tags that tell, and the retrain requests that they stand for."""

from collections.abc import Mapping, Sequence

import dagster as dg
import pandas as pd

from earlysignal_core import operations
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger import days, retrain_requests
from earlysignal_core.ledger.alerts import Alert, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import RetrainState, Severity
from earlysignal_core.production import Hour, Production

DAY, CAUSE, REQUEST, ATTEMPT = "earlysignal/day", "earlysignal/cause", "earlysignal/request", "earlysignal/attempt"
REFUSED = "refused"  # what a step that fails calls a decision that cannot be taken as it was asked for
ATTEMPTS_ALLOWED = 3
# These runs are tried again by our own sensors, which number the attempts; Dagster must not do it as well.
_NO_RETRY = {"dagster/max_retries": "0"}


def tags_of_day(day: pd.Timestamp, attempt: int) -> dict[str, str]:
    """Return the tags of a run that lives a day."""
    return {DAY: f"{day:%Y-%m-%d}", ATTEMPT: str(attempt), CAUSE: "the day is due", **_NO_RETRY}


def tags_of_retrain(request: RetrainRequest) -> dict[str, str]:
    """Return the tags of a run that makes the attempt of a request that is due."""
    return {
        REQUEST: str(request.id),
        ATTEMPT: str(request.next_attempt),
        CAUSE: request.cause,
        "earlysignal/urgency": str(request.urgency),
        "dagster/priority": "1",
        **_NO_RETRY,
    }


def begin(
    context: dg.AssetExecutionContext,
    day: pd.Timestamp,
    production: Production,
    reason: str,
    window_months: int | None,
) -> RetrainRequest:
    """Note that this run has begun what it was started for; a run without a request asks for one of its own.

    Raises
    ------
    EarlySignalError
        If another run has the request, another retrain is in flight, or the day is not the last finished one.
    """
    ledger, at, tags = production.ledger, Hour.CHALLENGE.of(day), context.run.tags
    if REQUEST in tags:
        asked = retrain_requests.get(ledger, int(tags[REQUEST]))
        begins = max(at, asked.requested_at)
        return retrain_requests.start(ledger, asked.id, int(tags[ATTEMPT]), context.run.run_id, begins)
    last = days.last_finished(ledger)
    if day != last:
        stands = f"{last:%Y-%m-%d}" if last is not None else "none"
        raise EarlySignalError(
            f"a challenger is trained on the last finished day, which is {stands}, not on {day:%Y-%m-%d}: what a model "
            f"of another day would have been is a question for a replay. Remedy: choose that day, or ask for a retrain "
            f"(`earlysignal retrain`)."
        )
    with ledger.transaction() as joined:
        request = operations.ask_for_retrain(
            joined, production.lake, at, reason=reason, by="Dagster UI", window_months=window_months
        )
        return retrain_requests.start(joined, request.id, request.next_attempt, context.run.run_id, at)


def name_of(job: str, tags: Mapping[str, str]) -> str:
    """Return what a run is called in alerts: its job and its partition."""
    return f"{job} {tags.get('dagster/partition', '')}".strip()


def note_failure(
    ledger: Ledger,
    what: str,
    tags: Mapping[str, str],
    run_id: str,
    message: str,
    now: pd.Timestamp,
) -> None:
    """Tell somebody that a run has failed; the request of a retrain is due again, or was tried for the last time.

    Parameters
    ----------
    ledger : Ledger
    what : str
        The run's job and partition.
    tags : mapping of str to str
        The run's.
    run_id, message : str
    now : Timestamp
        The domain's moment (UTC).
    """
    attempt = int(tags.get(ATTEMPT, "1"))
    standing = retrain_requests.in_flight(ledger)
    if REQUEST in tags:
        request, allowed = int(tags[REQUEST]), ATTEMPTS_ALLOWED
        asked = retrain_requests.fail(ledger, request, attempt, message, now, attempts_allowed=allowed, run_id=run_id)
        if asked.state in (RetrainState.STARTED, RetrainState.DONE) and asked.run_id != run_id:
            return  # it came second: another run makes the retrain, or has made it
    elif standing is not None and standing.run_id == run_id:  # materialised by hand: nobody tries it again
        retrain_requests.fail(ledger, standing.id, standing.attempts, message, now, attempts_allowed=1)
    day, body = now.tz_localize(None).normalize(), f"Attempt {attempt}, run {run_id}. {message}"
    key, title = f"run_failed:{what}:{attempt}", f"Run failed: {what}"
    raise_alert(ledger, Alert(key, day, now, Severity.CRITICAL, title, body, "run failed"))


def is_refusal(failures: Sequence[dg.DagsterEvent]) -> bool:
    """Say whether a run has failed for nothing but a refusal: whoever has asked reads it, and it is nobody's alarm."""
    told = [event.step_failure_data.user_failure_data for event in failures]
    return bool(told) and all(each is not None and REFUSED in each.metadata for each in told)


def note_lost_retrain(instance: dg.DagsterInstance, ledger: Ledger, now: pd.Timestamp) -> None:
    """Make up for a failure that nobody noted: a retrain that is under way, though its run is over.

    A run closes its request before it ends. Without a daemon no sensor hears of a command that was killed, and one that
    was down may have missed a run.

    Parameters
    ----------
    instance : DagsterInstance
    ledger : Ledger
    now : Timestamp
        The domain's moment (UTC).
    """
    request = retrain_requests.in_flight(ledger)
    if request is None:
        return
    if request.state is RetrainState.STARTED:
        run = instance.get_run_by_id(str(request.run_id))
        attempt = request.attempts
    else:  # its run may have ended before it could begin, cancelled say
        begun = {REQUEST: str(request.id), ATTEMPT: str(request.next_attempt)}
        run = next(iter(instance.get_runs(dg.RunsFilter(tags=begun), limit=1)), None)
        attempt = request.next_attempt
        if run is None:
            return
    if run is None or run.is_finished:  # unknown: the ledger was restored beside another Dagster
        tags = run.tags if run is not None else {REQUEST: str(request.id), ATTEMPT: str(attempt)}
        what = name_of(run.job_name, tags) if run is not None else f"retrain request {request.id}"
        run_id = run.run_id if run is not None else str(request.run_id)
        note_failure(ledger, what, tags, run_id, "The run is over, and its retrain is not.", now)
