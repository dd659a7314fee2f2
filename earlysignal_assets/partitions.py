"""Quarters and days as Dagster partitions, and how assets look back over them."""

import dagster as dg
import pandas as pd

from earlysignal_assets.workspace import Workspace
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings

# Opened when the definitions are loaded: by then the command has chosen the source.
WORKSPACE = Workspace(Settings())
_SPAN, _EVENTS = WORKSPACE.source.description.quarters, WORKSPACE.source.description.event_quarters

# The end is fixed by the source: without it the last quarter would be the wall clock's. The offset lets the quarter be
# one while it still runs, as the last of a live source does.
QUARTERS = dg.TimeWindowPartitionsDefinition(
    cron_schedule="0 0 1 */3 *", fmt="%Y-%m", start=_SPAN[0].key, end=(_SPAN[-1] + 1).key, end_offset=1
)
ONE_QUARTER_PER_RUN = dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
ALL_QUARTERS_IN_ONE_RUN = dg.BackfillPolicy.single_run()


def quarters_back(quarters: int, *, including: int = 0) -> dg.TimeWindowPartitionMapping:
    """Map a quarter to the quarters before it, up to itself (``including=0``), its predecessor (−1) or successor."""
    return dg.TimeWindowPartitionMapping(
        start_offset=-min(quarters, len(_SPAN)), end_offset=including, allow_nonexistent_upstream_partitions=True
    )


def quarter_of(context: dg.AssetExecutionContext) -> Quarter:
    """Return the quarter that a run stands for."""
    return Quarter.parse(context.partition_key)


# Production: a day of the source for each of its dates, today among them.
DAYS = dg.DailyPartitionsDefinition(
    start_date=_EVENTS[0].start.to_pydatetime(), end_date=(_SPAN[-1] + 1).start.to_pydatetime(), end_offset=1
)


def day_of(context: dg.AssetExecutionContext) -> pd.Timestamp:
    """Return the day that a run stands for."""
    return pd.Timestamp(context.partition_key)
