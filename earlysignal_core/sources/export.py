"""What was collected, written as a tape: the way to share it, to test with it and to replay it."""

from pathlib import Path
from typing import Any

import pandas as pd

from earlysignal_core.errors import SourceError
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.sources.tape import CONSENSUS_ASSUMED, DESCRIPTION, TapeJson
from earlysignal_core.tables import TABLES, UNIVERSE


def export_tape(lake: Lake, described: SourceDescription, folder: Path, name: str | None = None) -> dict[str, int]:
    """Write the tables of a lake as a tape, and return their numbers of rows.

    Parameters
    ----------
    lake : Lake
    described : SourceDescription
        Of the source that the lake was filled from.
    folder : Path
        Is created; must not hold anything.
    name : str, optional
        The tape's name; the source's by default.

    Raises
    ------
    SourceError
        If the folder holds something, or the universe or the announcements were never collected.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SourceError(f"{folder} is not empty: a tape is written into a folder of its own. Remedy: name another.")
    collected = {table: lake.quarters(table) for table in described.tables if table != UNIVERSE}
    if not lake.has(UNIVERSE) or not collected.get("earnings"):
        raise SourceError(
            f"the lake {lake} has no companies or no announcements. Remedy: materialise the caches first."
        )
    if CONSENSUS_ASSUMED in described.assumptions:
        collected.pop("earnings_estimates", None)  # the tape makes them of its announcements again
    folder.mkdir(parents=True, exist_ok=True)
    written = {UNIVERSE: _write(folder, UNIVERSE, lake.read(UNIVERSE))}
    for table, quarters in collected.items():
        if quarters:
            written[table] = _write(folder, table, lake.read(table, quarters))
    (folder / DESCRIPTION).write_text(_description(described, list(written), name).model_dump_json(indent=2))
    return written


def _write(folder: Path, table: str, rows: pd.DataFrame) -> int:
    rows[TABLES[table].column_names].to_parquet(folder / f"{table}.parquet", index=False)
    return len(rows)


def _description(described: SourceDescription, tables: list[str], name: str | None) -> TapeJson:
    days: dict[str, Any] = {
        "event_dates": (Quarter.parse(described.first_event).start, Quarter.parse(described.last_event).end),
        "price_dates": (Quarter.parse(described.first).start, Quarter.parse(described.last).end),
    }
    return TapeJson(
        name=name or described.name,
        benchmark=described.benchmark,
        universe=described.universe,
        tables=tables,
        assumptions=[line for line in described.assumptions if line != CONSENSUS_ASSUMED],
        prices=described.prices,
        membership=described.membership,
        settings=described.settings,
        **days,
    )
