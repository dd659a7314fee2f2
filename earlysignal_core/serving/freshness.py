"""Freshness: how old the newest rows of the caches may be to predict from them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

_DAY = pd.Timedelta(days=1)


class StaleCacheError(EarlySignalError):
    """A table's newest row is too old to predict from."""


def ages(lake: Lake, source: SourceDescription, as_of: pd.Timestamp, tables: Mapping[str, float]) -> dict[str, float]:
    """Return how many days before a moment (UTC) each table's newest row became known, infinite where there is none.

    Only the quarter of the moment and the one before are looked at, and only those of the source.
    """
    quarter = Quarter.of(as_of)
    found = {}
    for table in tables:
        if table not in source.tables:
            continue
        near = [q for q in (quarter - 1, quarter) if q in source.quarters and lake.has(table, q)]
        known = [lake.derive(_moments_known, table, [q], [KNOWABLE]) for q in near]
        until = [times[: times.searchsorted(as_of.to_datetime64(), side="right")] for times in known]
        newest = [times[-1] for times in until if len(times)]
        found[table] = (as_of - pd.Timestamp(max(newest), tz="UTC")) / _DAY if newest else float("inf")
    return found


def _moments_known(rows: pd.DataFrame) -> npt.NDArray[np.datetime64]:
    """Return when some rows became known (UTC), in order."""
    return np.sort(rows[KNOWABLE].to_numpy("datetime64[ns]"))


def refuse_stale(lake: Lake, source: SourceDescription, as_of: pd.Timestamp, limits: Mapping[str, float]) -> None:
    """Refuse to predict from caches that are older than their limits in days.

    Raises
    ------
    StaleCacheError
        Names each stale table with its age and limit.
    """
    stale = {name: age for name, age in ages(lake, source, as_of, limits).items() if age > limits[name]}
    if stale:
        told = ", ".join(f"`{name}` {age:.1f} (limit {limits[name]:g})" for name, age in stale.items())
        raise StaleCacheError(
            f"stale at {as_of:%Y-%m-%d %H:%M} UTC, newest row days ago: {told}. Remedy: refresh the caches, or move "
            f"the limit (EARLYSIGNAL_SERVING__FRESHNESS_DAYS)."
        )
