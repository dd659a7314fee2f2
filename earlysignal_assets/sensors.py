"""Sensors, all of them running from the start: the report, days, retrains, ramps, failed runs, alerts, the status."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from earlysignal_assets.clock import domain_now, first_day_to_try
from earlysignal_assets.jobs import DAY_JOB, RETRAIN_JOB, job_named
from earlysignal_assets.requests import (
    DAY,
    REQUEST,
    is_refusal,
    name_of,
    note_failure,
    note_lost_retrain,
    tags_of_day,
    tags_of_retrain,
)
from earlysignal_assets.standing import STANDING, digest_of, stands
from earlysignal_core.ledger import days, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import RetrainState
from earlysignal_core.monitoring import announcements, retrain_policy
from earlysignal_core.monitoring.alerts import deliver
from earlysignal_core.production import next_day
from earlysignal_core.serving import ramping
from earlysignal_core.settings import Settings
from earlysignal_core.sources import Source

_FIRST_PAUSE, _LONGEST_PAUSE = 15, 3600  # seconds
_RETRAIN_PAUSES = (15, 900)  # an outage that outlives the second is told by an alert
# Plain `dagster dev` has no ledger: what asks it waits to be switched on.
_ON = dg.DefaultSensorStatus.RUNNING if Settings().ledger_url else dg.DefaultSensorStatus.STOPPED

report_sensor = dg.AutomationConditionSensorDefinition(
    "report_sensor",
    target=dg.AssetSelection.groups("evaluation"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Renews the walk-forward report when evaluations have changed and none is under way.",
)


@dg.sensor(
    job=job_named(DAY_JOB),
    minimum_interval_seconds=5,
    default_status=_ON,
    description="Asks for the next day of production that is due, in order; a day that failed is tried again.",
)
def day_sensor(
    context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger], source: dg.ResourceParam[Source]
) -> dg.SensorResult | dg.SkipReason:
    """Compares the clock with the last finished day and asks for the next one that is due, in order.

    A day whose run has failed is tried again after a pause that doubles, up to an hour. How often this looks says
    nothing of when a day's steps act: they have moments of their own.
    """
    described = source.description
    if not described.grows and days.clock(ledger) is None and days.last_finished(ledger) is None:
        to = first_day_to_try(described)
        return dg.SkipReason(f"Production has not begun: `earlysignal clock {to}`, or the job `manual_clock`.")
    # What the source says, not what the lake remembers of it: an empty lake is filled by the first day.
    found = next_day(ledger, described, domain_now(ledger))
    if found.day is None:
        return dg.SkipReason(found.reason)
    key = f"{found.day:%Y-%m-%d}"
    tried = context.instance.get_run_records(dg.RunsFilter(job_name=DAY_JOB, tags={DAY: key}))
    if any(not record.dagster_run.is_finished for record in tried):
        return dg.SkipReason(f"{key} is under way")
    pauses = [min(_FIRST_PAUSE * 2**failure, _LONGEST_PAUSE) for failure in range(len(tried))]
    if waits := _waits(tried, pauses):
        return dg.SkipReason(f"{key} has failed {len(tried)} time(s) and is tried again {waits}")
    attempt = len(tried) + 1
    request = dg.RunRequest(run_key=f"day-{key}-{attempt}", partition_key=key, tags=tags_of_day(found.day, attempt))
    return dg.SensorResult(run_requests=[request])


@dg.sensor(
    job=job_named(RETRAIN_JOB),
    minimum_interval_seconds=5,
    default_status=_ON,
    description="Starts the retrain that a decision has asked for: an emergency at once, others at the weekend.",
)
def retrain_sensor(
    context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]
) -> dg.SensorResult | dg.SkipReason:
    """Starts the retrain that was asked for: an emergency at once, a scheduled one at the weekend.

    The request is a row of the ledger; its key names the attempt, so that a tick that is repeated starts it once.
    """
    note_lost_retrain(context.instance, ledger, domain_now(ledger))
    request = retrain_requests.in_flight(ledger)
    if request is None:
        return dg.SkipReason("no retrain is asked for")
    if request.state is not RetrainState.PENDING:
        return dg.SkipReason(f"request {request.id} ({request.cause}) is under way")
    last = days.last_finished(ledger)
    if not retrain_policy.may_start(request, last):
        return dg.SkipReason(f"request {request.id} ({request.cause}) waits for the weekend")
    tried = context.instance.get_run_records(dg.RunsFilter(tags={REQUEST: str(request.id)}))
    if waits := _waits(tried, _RETRAIN_PAUSES[: request.attempts]):
        return dg.SkipReason(f"request {request.id} has failed {request.attempts} time(s) and is tried again {waits}")
    key = f"{last:%Y-%m-%d}"
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=request.run_key, partition_key=key, tags=tags_of_retrain(request))]
    )


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=_ON,
    description="Live, takes a challenger's ramp on to its next step, or back at any error.",
)
def ramp_sensor(ledger: dg.ResourceParam[Ledger]) -> dg.SkipReason:
    """Does what follows from what the ramp shows: the next step, the promotion after the last, or the roll-back.

    On a tape every day's decision does that, at a moment of its own: how fast days go by changes nothing.
    """
    if days.clock(ledger) is not None:
        return dg.SkipReason("on a tape the decision of each day looks at the ramp")
    with ledger.transaction() as joined:
        now = domain_now(joined)
        followed = ramping.act(joined, now)
        if followed is not None:
            announcements.of_challenger(joined, followed.subject, followed.kind, followed.cause, now)
    return dg.SkipReason(followed.cause if followed else "no ramp runs, or its step is not over")


@dg.run_failure_sensor(
    default_status=_ON,
    minimum_interval_seconds=10,
    description="Raises an alert for every run that has failed; a retrain is tried three times in all.",
)
def failure_sensor(context: dg.RunFailureSensorContext, ledger: dg.ResourceParam[Ledger]) -> None:
    """Raises an alert for every run that has failed; the request of a failed retrain is due three times."""
    if is_refusal(context.get_step_failure_events()):
        return
    run = context.dagster_run
    message = context.failure_event.message or "no message"
    note_failure(ledger, name_of(run.job_name, run.tags), run.tags, run.run_id, message, domain_now(ledger))


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=_ON,
    description="Sends the alerts of the ledger to EARLYSIGNAL_ALERT_URLS; what fails is tried again.",
)
def alert_sensor(ledger: dg.ResourceParam[Ledger]) -> dg.SkipReason:
    """Sends the alerts that the ledger holds to the addresses of EARLYSIGNAL_ALERT_URLS; what fails is tried again."""
    made = deliver(ledger, Settings().alert_urls, domain_now(ledger))
    return dg.SkipReason(", ".join(f"{count} {outcome}" for outcome, count in made.items()) or "nothing to send")


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=_ON,
    description="Shows on the page of `production_status` how production stands, whenever that has changed.",
)
def status_sensor(
    context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]
) -> dg.SensorResult | dg.SkipReason:
    """Shows how production stands whenever that has changed: by a day, a retrain, a ramp, a job or a command."""
    shown = stands(ledger)
    if (digest := digest_of(shown)) == context.cursor:
        return dg.SkipReason("nothing has changed")
    return dg.SensorResult(asset_events=[dg.AssetMaterialization(STANDING, metadata=shown)], cursor=digest)


def _waits(tried: Sequence[dg.RunRecord], pauses: Sequence[int]) -> str:
    """Say when what has failed is tried again, or nothing where that may be now."""
    if not tried or not pauses:
        return ""
    again = max(record.end_time or 0.0 for record in tried) + pauses[-1]
    return f"{pauses[-1]} s later" if datetime.now(UTC).timestamp() < again else ""


SENSORS = [report_sensor, day_sensor, retrain_sensor, ramp_sensor, failure_sensor, alert_sensor, status_sensor]
