"""History lived again, to choose a policy of when to retrain."""

import dagster as dg
import pandas as pd
from pydantic import Field

from earlysignal_assets.clock import parse_day
from earlysignal_assets.describe import OWNER, Materialized, numbers, picture, shown
from earlysignal_assets.resources import ledger_url
from earlysignal_core import daily, replay_report
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.connection import RememberingLedger
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.production import Production
from earlysignal_core.replay import Policy, Progress, ReplayError
from earlysignal_core.replay import replay as lived_again
from earlysignal_core.settings import Settings
from earlysignal_core.sources import Source


class ReplayConfig(dg.Config):
    """What is to be replayed."""

    # Text, since Dagster refuses enumerations as defaults within a list.
    policies: list[str] = Field(default=[str(Policy.NEVER), str(Policy.ALL)], description=f"Of {', '.join(Policy)}.")
    first: str = Field(default="", description="The first day, like 2015-01-01. [after the warm-up]")
    to: str = Field(default="", description="The last day. [the last with an announcement]")


@dg.asset(group_name="production", kinds={"postgres", "html"}, owners=[OWNER])
def replay(
    context: dg.AssetExecutionContext,
    config: ReplayConfig,
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[Source],
) -> Materialized:
    """Years of production lived again under several policies of when to retrain, in a ledger of their own.

    Takes minutes for each. The live ledger, models and records are neither read nor touched.
    """
    settings, quarters = Settings(), source.description.event_quarters
    first = (
        parse_day(config.first) if config.first else quarters[min(settings.warmup_quarters, len(quarters) - 1)].start
    )
    last = parse_day(config.to) if config.to else pd.Timestamp(quarters[-1].end)
    done = []
    for policy in dict.fromkeys(map(_policy, config.policies)):
        with RememberingLedger(ledger_url(), f"replay_{policy}") as ledger:
            ledger.drop()
            ledger.migrate()
            daily.refresh(last, Production(lake, ledger, settings), source)
            done.append(lived_again(lake, ledger, settings, policy, first, last, _told(context)))
    replay_report.write(lake, done, source.description.name)
    found = replay_report.verdicts(done)
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(f"{settings.report_url}/{replay_report.REPORT.removeprefix('reports/')}"),
            "days": f"{first:%Y-%m-%d} to {last:%Y-%m-%d}",
            "which policy pays": dg.MetadataValue.md("\n".join(f"* {each.claim}" for each in found) or "–"),
            "policies": shown(replay_report.comparison(done)),
            "timelines": picture("AUC, drift, retrains and promotions", replay_report.picture(done)),
            **numbers({f"AUC, {each.policy}": each.score.auc.value for each in done}),
            **numbers({f"promotions, {each.policy}": each.count(DecisionKind.PROMOTION) for each in done}),
        }
    )


def _policy(named: str) -> Policy:
    try:
        return Policy(named)
    except ValueError:
        raise ReplayError(f"`{named}` is no policy. Remedy: choose of {', '.join(Policy)}.") from None


def _told(context: dg.AssetExecutionContext) -> Progress:
    def told(what: str, done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            context.log.info(f"{what}: {done} of {total} days")

    return told
