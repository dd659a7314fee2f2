"""Jobs by which a person begins and stops an A/B test or a ramp in the UI; the command does the same."""

import dagster as dg
from pydantic import Field

from earlysignal_assets.clock import decision_time
from earlysignal_assets.operations import BY, Reason, Version, job, plain_failure
from earlysignal_core import earning
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.sources import Source


class Test(Version):
    """How the events are shared, and for how long."""

    split: int = Field(50, description="Per cent of the events that the challenger answers for.")
    days: int = Field(14, description="For how many days; after that the champion answers, and both are scored on.")


@dg.op
def start_test(
    context: dg.OpExecutionContext,
    config: Test,
    ledger: dg.ResourceParam[Ledger],
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[Source],
) -> None:
    """Begins an A/B test of a model against the champion. One can run at a time."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        split, lasts = config.split, config.days
        test = earning.start_test(
            ledger, lake, now, config.version, split=split, days=lasts, reason=config.reason, by=BY
        )
    context.add_output_metadata({"test": test.test_name, "events are assigned until": str(test.assigned_until)})


@dg.op
def stop_test(
    context: dg.OpExecutionContext,
    config: Reason,
    ledger: dg.ResourceParam[Ledger],
    source: dg.ResourceParam[Source],
) -> None:
    """Stops the A/B test that runs, and retires its challenger."""
    with plain_failure():
        test = earning.stop_test(ledger, decision_time(ledger, source.description), reason=config.reason, by=BY)
    context.add_output_metadata({"stopped": test.test_name})


@dg.op
def start_ramp(
    context: dg.OpExecutionContext,
    config: Version,
    ledger: dg.ResourceParam[Ledger],
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[Source],
) -> None:
    """Begins to give a model a growing share of the answers: 10, 25, 50, 100 %, then it serves."""
    with plain_failure():
        now = decision_time(ledger, source.description)
        step = earning.start_ramp(ledger, lake, now, config.version, reason=config.reason, by=BY)
    context.add_output_metadata({"model": step.version, "per cent of the answers": step.traffic_share})


@dg.op
def stop_ramp(
    context: dg.OpExecutionContext,
    config: Reason,
    ledger: dg.ResourceParam[Ledger],
    source: dg.ResourceParam[Source],
) -> None:
    """Gives the champion all answers back, at once. A freeze does not stop it."""
    with plain_failure():
        step = earning.stop_ramp(ledger, decision_time(ledger, source.description), reason=config.reason, by=BY)
    context.add_output_metadata({"stopped": step.version, "at per cent of the answers": step.traffic_share})


EARNING = [
    job("start_ab_test", start_test, Test),
    job("stop_ab_test", stop_test, Reason),
    job("start_ramp", start_ramp, Version),
    job("stop_ramp", stop_ramp, Reason),
]
