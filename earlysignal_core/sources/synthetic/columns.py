"""Array types, random streams and Arrow columns that the modules of the synthetic source share."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from earlysignal_core.tables import TABLES
from earlysignal_core.trading_calendar import NEW_YORK

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]

_ARROW = {
    "float64": pa.float64(),
    "datetime64[ns]": pa.timestamp("ns"),
    "datetime64[ns, UTC]": pa.timestamp("ns", tz="UTC"),
}


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the random numbers of one purpose: no draw moves because another purpose draws more or fewer."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), index]))


def later(days: Days, count: int | Ints) -> Days:
    """Return the days that lie a number of days after others."""
    shifted: Days = days + np.asarray(count).astype("timedelta64[D]")
    return shifted


def text(codes: npt.NDArray[np.integer], labels: Sequence[str]) -> pa.Array:
    """Return the labels that the codes point at."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(labels, pa.string())).cast(pa.string())


def new_york(days: Days, hour: int, minute: int, second: int = 0) -> Ints:
    """Return the moments (nanoseconds, UTC) at which New York's clocks show a time on each of some days."""
    distinct, which = np.unique(days, return_inverse=True)
    wall = pd.DatetimeIndex(distinct) + pd.Timedelta(hours=hour, minutes=minute, seconds=second)
    moments = wall.as_unit("ns").tz_localize(NEW_YORK).tz_convert("UTC").asi8
    return np.asarray(moments[which], dtype=np.int64)


def end_of_day(days: Days) -> Ints:
    """Return the last second (nanoseconds, UTC) of each New York day."""
    return new_york(days, 23, 59, 59)


def table(name: str, columns: Mapping[str, pa.Array | npt.NDArray[np.generic]]) -> pa.Table:
    """Return columns as an Arrow table in the order and the types of the table's contract."""
    schema = TABLES[name].schema
    fields = [(column, _ARROW.get(str(declared.dtype), pa.string())) for column, declared in schema.items()]
    arrays = [_arrow(columns[column]).cast(kind) for column, kind in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _arrow(values: pa.Array | npt.NDArray[np.generic]) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)
