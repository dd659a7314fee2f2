"""Seconds and memory of all features by the number of companies: ``python benchmarks/scale.py FOLDER``.

Synthetic companies with forty quarters, every table of the contract that the generator makes. Each size has processes of
its own, so that none inherits the memory of another; seconds are CPU seconds of one thread. The folder keeps tapes and
lakes between calls: a second one measures the features alone.
"""

import argparse
import multiprocessing
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
from features import filled, timed

from earlysignal_core.features.table import active_features, build_feature_table
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import described
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic import generate_tape

QUARTERS = 40
SIZES = (500, 1_500, 5_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--every", type=int, default=1, help="measure only every so many quarters")
    parser.add_argument("--repeats", type=int, default=1, help="keep the fastest of so many")
    options = parser.parse_args()
    taken = {}
    for size in options.sizes:
        make = _alone(_collected, size, options.folder)
        if make is not None:
            print(
                f"{size:6,} companies: {make[0]:.0f} s to generate the tape, {make[1]:.0f} s to fill the lake",
                flush=True,
            )
        runs = [_alone(_built, size, options.folder, options.every) for _ in range(options.repeats)]
        seconds = np.min([run[0] for run in runs], axis=0)
        rows, quarters, peak, idle = runs[0][1:]
        taken[size] = seconds.sum()
        print(
            f"{size:6,} companies: {seconds.sum():.1f} s for {rows:,} examples of {quarters} quarters, at most "
            f"{seconds.max():.2f} s for one; {peak:,.0f} MiB resident at most, {idle:,.0f} before the first",
            flush=True,
        )
    if len(taken) > 1:
        slope, _ = np.polyfit(np.log(list(taken)), np.log(list(taken.values())), 1)
        ends = np.log(taken[max(taken)] / taken[min(taken)]) / np.log(max(taken) / min(taken))
        print(f"seconds grow with the number of companies to the power of {slope:.3f} ({ends:.3f} from end to end)")


def _alone(work, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _collected(size: int, folder: Path) -> tuple[float, float] | None:
    tape, lake = folder / f"tape{size}", folder / f"lake{size}"
    if (lake / "source.json").exists():
        return None
    pa.set_cpu_count(1)
    made = 0.0
    if not (tape / "tape.json").exists():
        made, _ = timed(lambda: generate_tape(SyntheticSettings(symbols=size, quarters=QUARTERS), tape))
    took, (source, filled_lake) = timed(lambda: filled(tape, lake))
    filled_lake.write_bytes("source.json", source.model_dump_json().encode())
    return made, took


def _built(size: int, folder: Path, every: int) -> tuple[list[float], int, int, float, float]:
    """Build the features quarter by quarter, as the assets do."""
    pa.set_cpu_count(1)
    lake = Lake(str(folder / f"lake{size}"))
    source = described(lake)
    active_features(source)  # imports the families before anything is measured
    idle, seconds, rows = _resident(), [], 0
    for quarter in Quarter.range(Quarter.parse(source.first_event), Quarter.parse(source.last_event))[::-every]:
        took, table = timed(lambda quarter=quarter: build_feature_table(lake, source, quarter))
        seconds.append(took)
        rows += len(table)
    return seconds, rows, len(seconds), _resident(), idle


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
