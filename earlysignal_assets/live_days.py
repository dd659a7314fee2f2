"""Living the days of production in this process: what the sensors do, without their waits."""

from itertools import count

import dagster as dg
import pandas as pd

from earlysignal_assets.clock import expect_day, first_day_to_try, refuse_live
from earlysignal_assets.instance import ledger_of
from earlysignal_assets.jobs import DAY_JOB, RETRAIN_JOB
from earlysignal_assets.requests import name_of, note_failure, note_lost_retrain, tags_of_day, tags_of_retrain
from earlysignal_assets.runs import Outcome, Progress, instance_of, run_job
from earlysignal_assets.workspace import Workspace
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger import days, retrain_requests, summary
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.days import ClockError
from earlysignal_core.ledger.summary import Summary
from earlysignal_core.ledger.vocabulary import RetrainState
from earlysignal_core.monitoring import retrain_policy
from earlysignal_core.sources import SourceDescription

_ONE_DAY = pd.Timedelta(days=1)


def live_days(
    workspace: Workspace, to: pd.Timestamp, progress: Progress, *, first: pd.Timestamp | None = None
) -> tuple[Outcome, Summary | None]:
    """Live every day up to one, in order, and each retrain that a day asks for before the next day.

    Parameters
    ----------
    workspace : Workspace
    to : Timestamp
        The last day; the clock moves on to its end, day by day.
    progress : function of (what, done, total)
    first : Timestamp, optional
        The first day of all, where production has not begun.

    Returns
    -------
    Outcome
    Summary or None
        What the ledger has recorded of the days that were lived; None where every day was finished already.

    Raises
    ------
    ClockError
        If production has not begun and no first day is given, or it has and one is; if a day is none of the source's,
        or the source is live.
    EarlySignalError
        If a retrain is under way elsewhere: its days wait for it.
    """
    outcome, source = Outcome(), workspace.source.description
    refuse_live(source)
    for named in (first, to) if first is not None else (to,):
        expect_day(source, named)
    if first is not None and first > to:
        raise ClockError(f"{first:%Y-%m-%d} is after {to:%Y-%m-%d}. Remedy: exchange them.")
    with instance_of(workspace) as instance, ledger_of(workspace) as ledger:
        upcoming = _upcoming(ledger, first, source)
        total = max((to - upcoming).days + 1, 0)
        note_lost_retrain(instance, ledger, days.clock(ledger) or upcoming.tz_localize("UTC"))
        for done in count():
            last, request = days.last_finished(ledger), retrain_requests.in_flight(ledger)
            if request is not None and request.state is RetrainState.STARTED:
                raise EarlySignalError(
                    f"retrain request {request.id} ({request.cause}) is under way in run {request.run_id}, and the "
                    f"next day waits for it. Remedy: wait until it is over (`earlysignal status`)."
                )
            if request is not None and retrain_policy.may_start(request, last):
                job, day, tags = RETRAIN_JOB, last, tags_of_retrain(request)
            else:
                job, day = DAY_JOB, upcoming if last is None else last + _ONE_DAY
                tags = tags_of_day(day, 1)
            if day is None or day > to:
                break
            _move_clock(ledger, day)  # no further: what is killed here is gone on with from this day
            progress(f"{day:%Y-%m-%d}", min(done, total), total)
            if not run_job(instance, job, outcome, day=day, tags=tags):
                (message,) = outcome.failures.values()
                (run,) = instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
                note_failure(ledger, name_of(job, run.tags), tags, run.run_id, message, day.tz_localize("UTC"))
                break
        progress("done", total, total)
        reached = days.last_finished(ledger)
        lived = None if reached is None or reached < upcoming else summary.between(ledger, upcoming, reached)
    workspace.remember()
    return outcome, lived


def _upcoming(ledger: Ledger, first: pd.Timestamp | None, source: SourceDescription) -> pd.Timestamp:
    last = days.last_finished(ledger)
    if last is None:
        if first is None:
            raise ClockError(
                f"production has not begun. Remedy: name its first day, like `--from {first_day_to_try(source)}`."
            )
        return first
    if first is not None:
        raise ClockError(f"production has begun: {last:%Y-%m-%d} is finished. Remedy: leave out `--from`.")
    return last + _ONE_DAY


def _move_clock(ledger: Ledger, to: pd.Timestamp) -> None:
    end, stands = to.tz_localize("UTC") + _ONE_DAY, days.clock(ledger)
    if stands is None or stands < end:
        days.move_clock(ledger, end)
