"""Building feature tables: the same function serves a quarter of history and a day of production."""

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from earlysignal_core.features.catalogue import Feature, catalogue, look_back
from earlysignal_core.features.examples import (
    due_between,
    examples,
    first_known,
    first_moments,
    of_members,
    on_announced_dates,
    scheduled_between,
)
from earlysignal_core.features.known_table import KnownTable
from earlysignal_core.features.point_in_time import LATE_CLOSE_SESSIONS, PointInTime, days_back
from earlysignal_core.features.price_basis import SHIFT_LOOK_BACK
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.tables import TABLES, UNIVERSE, Axis
from earlysignal_core.trading_calendar import position, sessions
from earlysignal_core.validation import checked

EVENT_COLUMNS = ["event", "symbol", "fiscal_period", "scheduled_on", "announced_on", "session", "as_of", "sector"]
SCHEDULED_AHEAD = 2
"""Quarters before an announcement's in which its date may have been published."""

# One function a table, made once, so that a lake that remembers recognises it: to index the rows takes longer than to
# find those of a day's examples among them.
_INDEXED = {name: partial(KnownTable, contract) for name, contract in TABLES.items()}
_CALENDAR_DAYS_PER_SESSION, _DAYS_IN_SHORTEST_QUARTER = 1.5, 90


def active_features(source: SourceDescription) -> dict[str, Feature]:
    """Return the features that a source can give."""
    return {name: f for name, f in catalogue().items() if f.inactive_because(source) is None}


def inactive_features(source: SourceDescription) -> dict[str, str]:
    """Return the features that a source cannot give, each with the reason."""
    reasons = {name: f.inactive_because(source) for name, f in catalogue().items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def quarter_examples(lake: Lake, source: SourceDescription, quarter: Quarter) -> pd.DataFrame:
    """Return the examples whose announcement falls in a quarter."""
    calendar = None
    if "earnings_calendar" in source.tables:
        published = [q for q in Quarter.range(quarter - SCHEDULED_AHEAD, quarter) if q in source.quarters]
        calendar = lake.read("earnings_calendar", published)
    earnings = lake.read("earnings", [quarter])  # the first quarter also holds the past before it, which is history
    universe = lake.read(UNIVERSE)
    rows = examples(earnings[earnings["announced_on"] >= quarter.start], calendar, universe)
    return of_members(rows, universe) if source.membership == "dated" else rows


def scheduled_examples(lake: Lake, source: SourceDescription, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Return the examples with ``first <= as_of <= last`` (UTC), from what a day of production knows.

    Without a calendar the source's dates are assumed to be known ahead, and the announcements themselves are asked.
    """
    start, end = (Quarter.of(moment) for moment in (first, last))
    near = [q for q in Quarter.range(start - SCHEDULED_AHEAD, end + 1) if q in source.quarters]
    # The quarter after may hold no row yet; of those before, one that is missing is an error.
    held = [q for q in near if q <= end or lake.has("earnings", q)]
    universe = lake.read(UNIVERSE)
    if "earnings_calendar" in source.tables:
        moments = lake.derive(first_moments, "earnings_calendar", [q for q in near if q <= end])
        rows = scheduled_between(moments, lake.derive(first_known, "earnings", held), first, last, universe)
    else:
        rows = due_between(lake.derive(on_announced_dates, "earnings", held), first, last, universe)
    return of_members(rows, universe) if source.membership == "dated" else rows


def view(
    lake: Lake, source: SourceDescription, rows: pd.DataFrame, features: Mapping[str, Feature] | None = None
) -> PointInTime:
    """Open the tables for some examples, no further back than the features look.

    Parameters
    ----------
    lake : Lake
    source : SourceDescription
    rows : DataFrame
        Examples, as from `features.examples`.
    features : mapping of str to Feature, optional
        By default all that are active.
    """
    chosen = active_features(source) if features is None else features
    tables: dict[str, pd.DataFrame | KnownTable] = {UNIVERSE: lake.read(UNIVERSE)}
    for table, steps in reach(chosen, source).items():
        tables[table] = _loaded(lake, source, table, rows, steps)
    return PointInTime(tables, rows, source, chosen)


def feature_table(at: PointInTime, features: Mapping[str, Feature]) -> pd.DataFrame:
    """Return the examples with a column for each feature of the catalogue; those not given are NaN."""
    columns = {name: at.value(features[name]) if name in features else np.full(len(at), np.nan) for name in catalogue()}
    return pd.concat([at.examples[EVENT_COLUMNS], pd.DataFrame(columns, index=at.examples.index)], axis=1)


def features_of(
    lake: Lake, source: SourceDescription, rows: pd.DataFrame, features: Mapping[str, Feature]
) -> pd.DataFrame:
    """Return the feature table of some examples."""
    return feature_table(view(lake, source, rows, features), features)


def build_feature_table(lake: Lake, source: SourceDescription, quarter: Quarter) -> pd.DataFrame:
    """Build the feature table of a quarter: one row per announcement, all that was known seven days before it."""
    return features_of(lake, source, quarter_examples(lake, source, quarter), active_features(source))


def reach(features: Mapping[str, Feature], source: SourceDescription) -> dict[str, int]:
    """Return how far back each table of a source has to be read for some features, in steps of its axis.

    That is their look-back and what the view itself needs: the sessions that the market's last close may lag behind,
    those by which false level shifts are judged, and the splits of as many days where prices arrive raw.
    """
    depth = {
        table: steps + (LATE_CLOSE_SESSIONS if TABLES[table].axis is Axis.SESSION else 0)
        for table, steps in look_back(features.values()).items()
        if table in source.tables
    }
    if "ohlcv" in depth:
        depth["ohlcv"] += SHIFT_LOOK_BACK
        if source.prices == "raw" and "corporate_actions" in source.tables:
            days = _calendar_days("ohlcv", depth["ohlcv"])
            depth["corporate_actions"] = max(depth.get("corporate_actions", 0), days)
    return depth


def partitions_back(features: Mapping[str, Feature], source: SourceDescription) -> dict[str, int]:
    """Return how many quarters before its own a quarter's features may read of each table, for lineage."""
    # Some `as_of` lie in the quarter before: a week ahead, or further where the date was moved afterwards.
    back = {
        table: 1 + math.ceil(_calendar_days(table, steps) / _DAYS_IN_SHORTEST_QUARTER)
        for table, steps in reach(features, source).items()
    }
    if "earnings_calendar" in source.tables:
        back["earnings_calendar"] = max(back.get("earnings_calendar", 0), SCHEDULED_AHEAD)
    return back


def _calendar_days(table: str, steps: int) -> int:
    if TABLES[table].axis is Axis.SESSION:
        return int(steps * _CALENDAR_DAYS_PER_SESSION) + 1
    return days_back(table, steps)


def _loaded(lake: Lake, source: SourceDescription, table: str, rows: pd.DataFrame, steps: int) -> KnownTable:
    quarters: list[Quarter] = []
    if len(rows):
        first, last = (moment.tz_localize(None).normalize() for moment in (rows["as_of"].min(), rows["as_of"].max()))
        if TABLES[table].axis is Axis.SESSION:
            start = sessions()[max(position([first])[0] - steps, 0)]
        else:
            start = first - pd.Timedelta(days=days_back(table, steps))
        spanned = Quarter.range(Quarter.of(start), Quarter.of(last))
        quarters = [q for q in spanned if q in source.quarters]
    if not quarters:
        return KnownTable(TABLES[table], checked(table, pd.DataFrame(columns=TABLES[table].column_names)))
    return lake.derive(_INDEXED[table], table, quarters)
