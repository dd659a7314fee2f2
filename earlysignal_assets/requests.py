"""Runs of production and what caused them: the tags that tell, and the retrain requests that they stand for."""

import dagster as dg
import pandas as pd

from earlysignal_core import operations
from earlysignal_core.daily import Hour, Production
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger import days, retrain_requests
from earlysignal_core.ledger.alerts import Alert, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import Severity

DAY, CAUSE, REQUEST, ATTEMPT = "earlysignal/day", "earlysignal/cause", "earlysignal/request", "earlysignal/attempt"
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
        return retrain_requests.start(ledger, int(tags[REQUEST]), int(tags[ATTEMPT]), context.run_id, at)
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
        return retrain_requests.start(joined, request.id, request.next_attempt, context.run_id, at)


def note_failure(ledger: Ledger, run: dg.DagsterRun, message: str, now: pd.Timestamp) -> None:
    """Tell somebody that a run has failed; the request of a retrain is due again, or was tried for the last time."""
    attempt = run.tags.get(ATTEMPT, "1")
    if REQUEST in run.tags:
        retrain_requests.fail(
            ledger, int(run.tags[REQUEST]), int(attempt), message, now, attempts_allowed=ATTEMPTS_ALLOWED
        )
    else:
        standing = retrain_requests.in_flight(ledger)
        if standing is not None and standing.run_id == run.run_id:  # materialised by hand: nobody tries it again
            retrain_requests.fail(ledger, standing.id, standing.attempts, message, now, attempts_allowed=1)
    what = f"{run.job_name} {run.tags.get('dagster/partition', '')}".strip()
    raise_alert(
        ledger,
        Alert(
            key=f"run_failed:{what}:{attempt}",
            day=now.tz_localize(None).normalize(),
            at=now,
            severity=Severity.CRITICAL,
            title=f"Run failed: {what}",
            body=f"Attempt {attempt}, run {run.run_id}. {message}",
            rule="run failed",
        ),
    )
