"""A dataset from the lake: what every training, of a quarter or of a day, begins with."""

import pandas as pd

from earlysignal_core.audit.earnings import mismatched_sectors
from earlysignal_core.datasets.build import Dataset, build_dataset
from earlysignal_core.datasets.cutoff import Cutoff, last_quarter, moment_of
from earlysignal_core.errors import TableError
from earlysignal_core.features.table import active_features
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE, UNIVERSE, each_company

FEATURES, LABELS = "feature_table", "labels"


def gather_dataset(
    lake: Lake, source: SourceDescription, until: Cutoff, settings: Settings, *, skip_validation: bool = False
) -> Dataset:
    """Gather what the lake's feature tables and labels held at a cutoff.

    Parameters
    ----------
    lake : Lake
        With `feature_table` and `labels` of every quarter with announcements up to the cutoff.
    source : SourceDescription
    until : Quarter or Day
    settings : Settings
    skip_validation : bool
        As for `build_dataset`.

    Raises
    ------
    MissingPartitionError
        If one of the quarters has not been materialised.
    TableError
        If one of the feature tables was made by older code, which had fewer features.
    """
    before = [q for q in source.event_quarters if q <= last_quarter(until)]
    mismatched: set[str] = set()
    if source.settings.leave_out_mismatched and before:
        earnings = lake.read("earnings", before)
        mismatched = mismatched_sectors(
            earnings[earnings[KNOWABLE] <= moment_of(until)], each_company(lake.read(UNIVERSE))
        )
    return build_dataset(
        until,
        {q: _features(lake, source, q, before[-1]) for q in before},
        {q: lake.read(LABELS, [q]) for q in before},
        source,
        settings,
        mismatched,
        {table: {str(q): lake.digest(table, q) for q in before} for table in (FEATURES, LABELS)},
        skip_validation=skip_validation,
    )


def _features(lake: Lake, source: SourceDescription, quarter: Quarter, last: Quarter) -> pd.DataFrame:
    table = lake.read(FEATURES, [quarter])
    if lacking := [name for name in active_features(source) if name not in table]:
        problem = (
            f"lacks {len(lacking)} features that this code has: {', '.join(lacking[:3])}{' …' * (len(lacking) > 3)}"
        )
        remedy = f"make the tables of every quarter again: `earlysignal backfill --select {FEATURES} --to {last}`"
        raise TableError(FEATURES, problem, remedy, partition=str(quarter))
    return table
