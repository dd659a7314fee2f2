"""Writes a synthetic tape: every table of the contract, a quarter at a time."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.analysts import analyst_ratings, price_targets
from earlysignal_core.sources.synthetic.columns import end_of_day
from earlysignal_core.sources.synthetic.companies import BENCHMARK
from earlysignal_core.sources.synthetic.earnings import (
    earnings,
    earnings_calendar,
    earnings_estimates,
    income_statements,
)
from earlysignal_core.sources.synthetic.filings import institutional_holdings, sec_filings
from earlysignal_core.sources.synthetic.macro import macro
from earlysignal_core.sources.synthetic.market import Panel, panels
from earlysignal_core.sources.synthetic.prices import corporate_actions, ohlcv, options, universe
from earlysignal_core.sources.synthetic.world import World
from earlysignal_core.tables import KNOWABLE

DESCRIPTION = "tape.json"
BY_QUARTER: tuple[Callable[[World, Panel], pa.Table], ...] = (
    ohlcv,
    corporate_actions,
    options,
    earnings,
    earnings_estimates,
    income_statements,
    analyst_ratings,
    price_targets,
    sec_filings,
    institutional_holdings,
)
WHOLE: tuple[Callable[[World], pa.Table], ...] = (universe, earnings_calendar, macro)


def generate_tape(spec: SyntheticSettings, folder: Path, progress: Callable[[float], None] | None = None) -> None:
    """Write a tape: a Parquet file for each table, and `tape.json` last, so that a folder without it is unfinished.

    The same specification gives the same bytes. A file holds a row group for each quarter, so that a reader that
    filters on a row's own date reads little else; memory grows with the number of companies, not with that of quarters.

    Parameters
    ----------
    spec : SyntheticSettings
    folder : Path
        Is made where it does not exist; files in it are replaced.
    progress : callable, optional
        Is told the finished fraction after each quarter.

    Raises
    ------
    SourceError
        If the specification leaves the trading calendar, or breaks outside of its quarters.
    """
    world = World.of(spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for whole in WHOLE:
        rows = whole(world)
        with _writer(folder, whole.__name__, rows.schema) as writer:
            writer.write_table(_known(world, rows))
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for panel in panels(world):
            for by_quarter in BY_QUARTER:
                name, rows = by_quarter.__name__, by_quarter(world, panel)
                if name not in writers:
                    writers[name] = stack.enter_context(_writer(folder, name, rows.schema))
                writers[name].write_table(_known(world, rows))
            if progress:
                progress((panel.index + 1) / len(world.timeline.priced))
    (folder / DESCRIPTION).write_text(json.dumps(_description(world), indent=2) + "\n")


def _writer(folder: Path, name: str, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd", compression_level=1)


def _known(world: World, rows: pa.Table) -> pa.Table:
    """Leave out what became known only after the tape's last day."""
    if KNOWABLE not in rows.column_names:
        return rows
    end = pa.array(end_of_day(world.timeline.final_day)).cast(rows.schema.field(KNOWABLE).type)[0]
    return rows.filter(pc.less_equal(rows[KNOWABLE], end))


def _description(world: World) -> dict[str, object]:
    spec, timeline = world.spec, world.timeline
    regime = f", and the regime breaks in {timeline.broken_from}" if timeline.broken_from else ""
    return {
        "name": "synthetic",
        "benchmark": BENCHMARK,
        "universe": "synthetic",
        "tables": sorted(write.__name__ for write in (*WHOLE, *BY_QUARTER)),
        "event_dates": [f"{timeline.first.start:%Y-%m-%d}", f"{timeline.last.end:%Y-%m-%d}"],
        "price_dates": [str(day.astype("datetime64[D]")) for day in timeline.price_days],
        "prices": "raw",
        "assumptions": [
            f"Nothing here happened: {spec.symbols} companies are invented (seed {spec.seed}).",
            "None of them leaves: there is no survivorship.",
            f"A signal is planted (base rate {spec.base_rate:g}, signal {spec.signal:g}){regime}.",
        ],
    }
