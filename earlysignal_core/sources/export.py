"""What was collected, written as a tape: the way to share it, to test with it and to replay it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from earlysignal_core.errors import SourceError
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import CONSENSUS_ASSUMED, SourceDescription
from earlysignal_core.sources.tape import DESCRIPTION, TapeJson
from earlysignal_core.tables import TABLES, UNIVERSE, own_date

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was written of one table.

    Attributes
    ----------
    table : str
    rows : int
    first, last : Timestamp or None
        The rows' own dates; None for the universe and where there is no row.
    missing : tuple of Quarter
        Those of the source that were never collected: the tape has no rows of them.
    """

    table: str
    rows: int
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    missing: tuple[Quarter, ...] = ()


def export_tape(
    lake: Lake, described: SourceDescription, folder: Path, told: Told = lambda *_: None
) -> dict[str, Exported]:
    """Write the tables of a lake as a tape, and return what was written of each.

    It is written beside its place and put there whole, a quarter in memory at a time.

    Parameters
    ----------
    lake : Lake
    described : SourceDescription
        Of the source that the lake was filled from.
    folder : Path
        Is created; must not hold anything.
    told : callable, optional
        Is told which table is being written, and how many partitions of how many are.

    Raises
    ------
    SourceError
        If the folder holds something, or the universe or the announcements were never collected.
    """
    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise SourceError(f"{folder} is not empty: a tape is written into a folder of its own. Remedy: name another.")
    collected = {table: lake.quarters(table) for table in tables_of_tape(described) if table != UNIVERSE}
    if not lake.has(UNIVERSE) or not collected["earnings"]:
        raise SourceError(
            f"the lake {lake} has no companies or no announcements. Remedy: materialise the caches first."
        )
    partitions = sum(map(len, collected.values()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as temporary:
        unfinished = Path(temporary) / folder.name
        unfinished.mkdir()
        companies = _of_contract(UNIVERSE, lake.read(UNIVERSE), lake)
        companies.to_parquet(unfinished / f"{UNIVERSE}.parquet", index=False)
        written, done = {UNIVERSE: Exported(UNIVERSE, len(companies))}, 0
        for table, quarters in collected.items():
            if quarters:
                told(table, done, partitions)
                missing = tuple(quarter for quarter in described.quarters if quarter not in quarters)
                written[table] = Exported(table, *_write(unfinished, lake, table, quarters), missing)
                done += len(quarters)
        told("done", done, partitions)
        description = _description(described, written)
        (unfinished / DESCRIPTION).write_text(description.model_dump_json(indent=2))
        unfinished.rename(folder)
    return written


def tables_of_tape(described: SourceDescription) -> list[str]:
    """Return the tables that a tape of a source holds: an assumed consensus it makes of its announcements again."""
    assumed = {"earnings_estimates"} if described.consensus == "assumed" else set()
    return [table for table in described.tables if table not in assumed]


def _write(
    folder: Path, lake: Lake, table: str, quarters: list[Quarter]
) -> tuple[int, pd.Timestamp | None, pd.Timestamp | None]:
    """Write a table, a row group for each quarter, and return its number of rows, its first day and its last."""
    count, days, writer = 0, [], None
    try:
        for quarter in quarters:
            rows = _of_contract(table, lake.read(table, [quarter]), lake, f" of {quarter}")
            arrow = pa.Table.from_pandas(rows, preserve_index=False)
            writer = writer or pq.ParquetWriter(folder / f"{table}.parquet", arrow.schema, compression="zstd")
            writer.write_table(arrow.cast(writer.schema))
            count += len(rows)
            days += [own_date(TABLES[table], rows).agg(end) for end in ("min", "max") if len(rows)]
    finally:
        if writer is not None:
            writer.close()
    return count, min(days, default=None), max(days, default=None)


def _of_contract(table: str, rows: pd.DataFrame, lake: Lake, of: str = "") -> pd.DataFrame:
    """Return the columns of a table's contract, or refuse rows of a time when it had fewer."""
    columns = TABLES[table].column_names
    missing = [column for column in columns if column not in rows]
    if missing:
        raise SourceError(
            f"table `{table}`{of} in the lake {lake} has no column `{'`, `'.join(missing)}`: older code wrote it. "
            f"Remedy: materialise the asset `{TABLES[table].cache}` of all quarters again, then export."
        )
    return rows[columns]


def _description(described: SourceDescription, written: dict[str, Exported]) -> TapeJson:
    days: dict[str, Any] = {
        "event_dates": (Quarter.parse(described.first_event).start, Quarter.parse(described.last_event).end),
        "price_dates": (Quarter.parse(described.first).start, Quarter.parse(described.last).end),
    }
    assumptions = [line for line in described.assumptions if line != CONSENSUS_ASSUMED]
    incomplete = [one for one in written.values() if one.missing]
    return TapeJson(
        name=described.name,
        benchmark=described.benchmark,
        universe=described.universe,
        tables=list(written),
        assumptions=[*assumptions, *map(_hole, incomplete)],
        prices=described.prices,
        membership=described.membership,
        settings=described.settings,
        since={fact: when for fact, when in described.since.items() if fact.partition(":")[0] in written},
        **days,
    )


def _hole(one: Exported) -> str:
    """Say what was never collected, so that every report on the tape repeats it."""
    quarters = ", ".join(map(str, one.missing[:4])) + (" …" if len(one.missing) > 4 else "")
    return f"{one.table}: {len(one.missing)} quarter(s) were not collected when the tape was written ({quarters})."
