"""Seconds and memory of all features by the number of companies: ``python benchmarks/scale.py FOLDER``.

Synthetic companies with forty quarters. The last quarters are built as the asset does, each with all that it looks back
on; the seconds of one do not depend on how many lie before. Each size has processes of its own, so that none inherits
the memory of another; seconds are CPU seconds of one thread. The folder keeps tapes and lakes between calls.
"""

import argparse
import multiprocessing
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
from features import timed

from earlysignal_core.features.table import active_features, build_feature_table, partitions_back
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import collect_universe, described
from earlysignal_core.settings import Settings, SyntheticSettings
from earlysignal_core.sources.synthetic import generate_tape
from earlysignal_core.sources.tape import TapeSource

QUARTERS = 40
SIZES = (500, 1_500, 5_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--last", type=int, default=2, help="the quarters that are built")
    options = parser.parse_args()
    taken = {}
    for size in options.sizes:
        made, took = _alone(_collected, size, options.folder, options.last)
        print(f"{size:6,} companies: {made:.1f} s to generate, {took:.1f} s to fill the lake", flush=True)
        seconds, rows, before, peak = _alone(_built, size, options.folder, options.last)
        taken[size] = min(seconds)
        print(
            f"{size:6,} companies: {' and '.join(f'{each:.2f}' for each in seconds)} s for a quarter, "
            f"{rows:,} examples in all; at most {peak:,.0f} MiB resident, {before:,.0f} before the first",
            flush=True,
        )
    if len(taken) > 1:
        first, last = min(taken), max(taken)
        power = np.log(taken[last] / taken[first]) / np.log(last / first)
        print(f"the seconds of a quarter grow with the number of companies to the power of {power:.3f}")


def _alone(work, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _collected(size: int, folder: Path, last: int) -> tuple[float, float]:
    """Make the tape where it is not there, and copy what the last quarters look back on into a lake."""
    pa.set_cpu_count(1)
    tape, lake = folder / f"tape{size}", Lake(str(folder / f"lake{size}"))
    made = 0.0
    if not (tape / "tape.json").exists():
        made, _ = timed(lambda: generate_tape(SyntheticSettings(symbols=size, quarters=QUARTERS), tape))
    source = TapeSource(tape, Settings())
    return made, timed(lambda: _fill(lake, source, last))[0]


def _fill(lake: Lake, source: TapeSource, last: int) -> None:
    collect_universe(source, lake)
    back = partitions_back(active_features(source.description), source.description)
    for table, quarters in back.items():
        first = source.description.event_quarters[-last] - quarters
        for quarter in source.description.quarters:
            if quarter >= first and not lake.has(table, quarter):
                lake.write(table, quarter, source.read(table, quarter))


def _built(size: int, folder: Path, last: int) -> tuple[list[float], int, float, float]:
    pa.set_cpu_count(1)
    lake = Lake(str(folder / f"lake{size}"))
    source = described(lake)
    active_features(source)  # imports the families before anything is measured
    before, seconds, rows = _resident(), [], 0
    for quarter in source.event_quarters[-last:]:
        took, table = timed(lambda quarter=quarter: build_feature_table(lake, source, quarter))
        seconds.append(took)
        rows += len(table)
    return seconds, rows, before, _resident()


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
