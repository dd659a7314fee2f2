"""What providers say only as of today, taken day by day: added to, never rewritten, never lost."""

import io
import json
from collections.abc import Iterable

import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.live.clock import new_york_day
from earlysignal_core.tables import KNOWABLE, TABLES

_MOMENT = "%Y%m%dT%H%M%S.%f"
_FOLLOWED = "snapshots/followed.json"


class Snapshots:
    """The snapshots of some tables, in a lake under ``snapshots/<table>/<quarter>/<moment>.parquet``.

    Each is a file of its own, so that two workers at once can lose nothing.

    Parameters
    ----------
    lake : Lake
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def add(self, table: str, rows: pd.DataFrame) -> None:
        """Add a snapshot: rows with `available_at`, the moment at which each was seen."""
        if not rows.empty:
            seen = rows[KNOWABLE].max()
            sink = io.BytesIO()
            rows.to_parquet(sink, index=False)
            where = f"snapshots/{table}/{Quarter.of(new_york_day(seen))}"
            self._lake.write_bytes(f"{where}/{seen.strftime(_MOMENT)}.parquet", sink.getvalue())

    def read(self, table: str, quarter: Quarter) -> pd.DataFrame:
        """Return the rows that were seen in a quarter; of several with one key, the first that was seen."""
        paths = self._lake.files(f"snapshots/{table}/{quarter}")
        if not paths:
            return pd.DataFrame(columns=TABLES[table].column_names)
        rows = pd.concat([self._file(path) for path in paths], ignore_index=True)
        rows = rows.sort_values(KNOWABLE, kind="stable").drop_duplicates(list(TABLES[table].key))
        return rows.reset_index(drop=True)

    def first(self, table: str) -> pd.Timestamp | None:
        """Return when the first snapshot was taken (UTC), or None where there is none."""
        quarters = self._lake.folders(f"snapshots/{table}")
        if not quarters:
            return None
        first: pd.Timestamp = self._file(self._lake.files(f"snapshots/{table}/{quarters[0]}")[0])[KNOWABLE].min()
        return first

    def days(self, table: str, quarter: Quarter) -> set[pd.Timestamp]:
        """Return the days (New York's) of a quarter on which there were snapshots."""
        names = (path.rpartition("/")[2] for path in self._lake.files(f"snapshots/{table}/{quarter}"))
        return {new_york_day(pd.to_datetime(name, format=f"{_MOMENT}.parquet", utc=True)) for name in names}

    def newest(self, table: str) -> pd.DataFrame:
        """Return the rows of the last snapshot; none where there is none."""
        quarters = self._lake.folders(f"snapshots/{table}")
        if not quarters:
            return pd.DataFrame(columns=TABLES[table].column_names)
        return self._file(self._lake.files(f"snapshots/{table}/{quarters[-1]}")[-1])

    def follow(self, symbols: Iterable[str], at: pd.Timestamp) -> None:
        """Remember since when companies are followed: the snapshots of before say nothing of them."""
        known = self.followed()
        new = dict.fromkeys(sorted(set(symbols) - set(known)), at)
        if new:
            told = {symbol: since.isoformat() for symbol, since in (known | new).items()}
            self._lake.write_bytes(_FOLLOWED, json.dumps(told, indent=1).encode())

    def followed(self) -> dict[str, pd.Timestamp]:
        """Return since when (UTC) each company is followed."""
        if not self._lake.exists(_FOLLOWED):
            return {}
        told = json.loads(self._lake.read_bytes(_FOLLOWED))
        return {symbol: pd.Timestamp(since).as_unit("ns") for symbol, since in told.items()}

    def _file(self, path: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self._lake.read_bytes(path)))


def changes(calendar: pd.DataFrame) -> pd.DataFrame:
    """Return, of daily snapshots of the calendar, only the rows that say something new of an event."""
    rows = calendar.sort_values(["symbol", "fiscal_period", KNOWABLE], kind="stable")
    event = rows["symbol"] + ":" + rows["fiscal_period"]
    said = rows["expected_on"].astype(str) + rows["session"].fillna("").astype(str)
    return rows[(event != event.shift()) | (said != said.shift())].reset_index(drop=True)
