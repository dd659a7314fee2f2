"""Who answers besides the champion: the day's report of the A/B test or the ramp that runs."""

import dagster as dg

from earlysignal_assets.describe import OWNER, Materialized, numbers, shown
from earlysignal_assets.partitions import DAYS, day_of
from earlysignal_assets.production import GROUP, production_of, retrain_decision
from earlysignal_core import earning
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.production import Hour


@dg.asset(deps=[retrain_decision], partitions_def=DAYS, group_name=GROUP, kinds={"postgres"}, owners=[OWNER])
def shared_answers(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """Who answers besides the champion: the A/B test or the ramp that runs, its figures, what decides it and when.

    As it stood at the end of that day: what a person has begun since shows with the next one, and at once in
    `production_status` and by `earlysignal ramp watch` and `ab-test watch`. Of a test: both arms with n and intervals,
    on the events that both models have scored. Looking decides nothing.
    """
    production, at = production_of(lake, ledger), Hour.DECIDE.of(day_of(context))
    seen = earning.watch(ledger, lake, production.source, production.settings.promotion, at)
    tables = {name: shown(table) for name, table in seen.tables.items()}
    return dg.MaterializeResult(metadata={**seen.facts, **tables, **numbers(seen.figures)})
