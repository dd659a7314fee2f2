"""Building feature tables: the same function serves a quarter of history and a day of production."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from earlysignal_core.features.catalogue import Feature, catalogue, look_back
from earlysignal_core.features.examples import examples
from earlysignal_core.features.point_in_time import SHIFT_LOOK_BACK, PointInTime
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import TABLES, UNIVERSE, Axis
from earlysignal_core.trading_calendar import position, sessions

EVENT_COLUMNS = ["event", "symbol", "fiscal_period", "scheduled_on", "announced_on", "session", "as_of", "sector"]


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
    if "earnings_calendar" in source.tables:  # a moved date may have been expected in a neighbouring quarter
        near = [q for q in Quarter.range(quarter - 1, quarter + 1) if q in source.quarters]
        calendar = lake.read("earnings_calendar", near)
    return examples(lake.read("earnings", [quarter]), calendar, lake.read(UNIVERSE))


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
    tables = {UNIVERSE: lake.read(UNIVERSE)}
    if source.prices == "raw" and "ohlcv" in source.tables and "corporate_actions" in source.tables:
        depth = {**look_back(chosen.values())}
        depth["corporate_actions"] = max(depth.get("corporate_actions", 0), 2 * depth.get("ohlcv", 0))
    else:
        depth = look_back(chosen.values())
    if len(rows):
        first, last = rows["as_of"].min().tz_localize(None), rows["as_of"].max().tz_localize(None)
        for table, steps in depth.items():
            if table in source.tables:
                spanned = Quarter.range(Quarter.of(_start(table, first, steps)), Quarter.of(last))
                tables[table] = lake.read(table, [q for q in spanned if q in source.quarters])
    return PointInTime(tables, rows, source, chosen)


def feature_table(at: PointInTime, features: Mapping[str, Feature]) -> pd.DataFrame:
    """Return the examples with a column for each feature of the catalogue; those not given are NaN."""
    columns = {
        name: at.value(features[name]) if name in features and len(at) else np.full(len(at), np.nan)
        for name in catalogue()
    }
    return pd.concat([at.examples[EVENT_COLUMNS], pd.DataFrame(columns, index=at.examples.index)], axis=1)


def build_feature_table(lake: Lake, source: SourceDescription, quarter: Quarter) -> pd.DataFrame:
    """Build the feature table of a quarter: one row per announcement, all that was known seven days before it."""
    features = active_features(source)
    return feature_table(view(lake, source, quarter_examples(lake, source, quarter), features), features)


def _start(table: str, first: pd.Timestamp, steps: int) -> pd.Timestamp:
    axis = TABLES[table].axis
    if axis is Axis.SESSION:
        start: pd.Timestamp = sessions()[int(position([first.normalize()])[0]) - steps - SHIFT_LOOK_BACK - 10]
        return start
    # A fiscal quarter may end and be announced almost two calendar quarters after the one before.
    days = (steps + 2) * 92 if axis is Axis.FISCAL_QUARTER else steps + 40
    return first - pd.Timedelta(days=days)
