"""What providers say only as of today, taken day by day: added to, never rewritten, never lost."""

import io

import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.live.clock import new_york_day
from earlysignal_core.sources.live.errors import ShrunkenAnswerError
from earlysignal_core.tables import KNOWABLE, TABLES

_LEAST = 0.5
"""Of the rows of the last snapshot: the calendar of the coming months does not halve from one day to the next."""


class Snapshots:
    """The snapshots of some tables, in a lake under ``snapshots/<table>/<quarter>/<moment>.parquet``.

    Each is a file of its own, so that two workers at once can lose nothing.

    Parameters
    ----------
    lake : Lake
    provider : str
        Whose they are, for messages.
    """

    def __init__(self, lake: Lake, provider: str) -> None:
        self._lake, self._provider = lake, provider

    def add(self, table: str, rows: pd.DataFrame) -> None:
        """Add a snapshot: rows with `available_at`, the moment at which each was seen.

        Raises
        ------
        ShrunkenAnswerError
            If it holds much less than the one before; that one stays the newest.
        """
        before = self._newest(table)
        if before is not None and len(rows) < _LEAST * len(before):
            problem = f"{len(rows)} row(s) in a snapshot where there were {len(before)} before"
            raise ShrunkenAnswerError(self._provider, table, problem)
        if not rows.empty:
            seen = rows[KNOWABLE].max()
            sink = io.BytesIO()
            rows.to_parquet(sink, index=False)
            where = f"snapshots/{table}/{Quarter.of(new_york_day(seen))}"
            self._lake.write_bytes(f"{where}/{seen:%Y%m%dT%H%M%S.%f}.parquet", sink.getvalue())

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

    def _newest(self, table: str) -> pd.DataFrame | None:
        quarters = self._lake.folders(f"snapshots/{table}")
        return self._file(self._lake.files(f"snapshots/{table}/{quarters[-1]}")[-1]) if quarters else None

    def _file(self, path: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self._lake.read_bytes(path)))


def changes(calendar: pd.DataFrame) -> pd.DataFrame:
    """Return, of daily snapshots of the calendar, only the rows that say something new of an event."""
    rows = calendar.sort_values(["symbol", "fiscal_period", KNOWABLE], kind="stable")
    event = rows["symbol"] + ":" + rows["fiscal_period"]
    said = rows["expected_on"].astype(str) + rows["session"].fillna("").astype(str)
    return rows[(event != event.shift()) | (said != said.shift())].reset_index(drop=True)
