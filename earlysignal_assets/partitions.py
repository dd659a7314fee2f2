"""Quarters and days as Dagster partitions, and how assets look back over them."""

import dagster as dg
import pandas as pd

from earlysignal_assets.workspace import Workspace
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings

# Opened when the definitions are loaded: by then the command has chosen the source.
WORKSPACE = Workspace(Settings())
_SPAN, _EVENTS = WORKSPACE.source.description.quarters, WORKSPACE.source.description.event_quarters

# A tape fixes the end: without it the last partition would be the wall clock's. A source that grows has none, and its
# running quarter and day, which have not ended, are partitions too.
_GROWS = WORKSPACE.source.description.grows
_AHEAD = 1 if _GROWS else 0
QUARTERS = dg.TimeWindowPartitionsDefinition(
    cron_schedule="0 0 1 */3 *",
    fmt="%Y-%m",
    start=_SPAN[0].key,
    end=None if _GROWS else (_SPAN[-1] + 1).key,
    end_offset=_AHEAD,
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


DAYS = dg.DailyPartitionsDefinition(
    start_date=_EVENTS[0].start.to_pydatetime(),
    end_date=None if _GROWS else (_SPAN[-1] + 1).start.to_pydatetime(),
    end_offset=_AHEAD,
)


def day_of(context: dg.AssetExecutionContext) -> pd.Timestamp:
    """Return the day that a run stands for."""
    return pd.Timestamp(context.partition_key)
