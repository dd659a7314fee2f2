"""Seconds and memory of the feature table, against a plain script of the same features and one LightGBM fit.

``python benchmarks/features.py --tape ../shared/tapes/sp500``; without a tape only the memory is measured. All seconds
are CPU seconds of one thread, so that neighbours on the machine count less.
"""

import argparse
import multiprocessing
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from plain_features import plain_features

from earlysignal_core.features.table import active_features, build_feature_table, feature_table, quarter_examples, view
from earlysignal_core.lake import Lake
from earlysignal_core.models.boosters import PARAMS, fit
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings, SyntheticSettings
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.sources.synthetic import generate_tape
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import UNIVERSE

TREES = 200
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tape", type=Path)
    options = parser.parse_args()
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.tape is not None:
            speed(options.tape, Path(folder) / "real")
        memory(Path(folder))


def speed(tape: Path, folder: Path) -> None:
    source, lake = filled(tape, folder)
    quarters = [quarter for quarter in source.quarters if len(quarter_examples(lake, source, quarter))]
    rows = pd.concat([quarter_examples(lake, source, quarter) for quarter in quarters], ignore_index=True)
    features = active_features(source)

    read, at = timed(lambda: view(lake, source, rows, features))
    built, table = timed(lambda: feature_table(at, features))
    each = [timed(lambda quarter=quarter: build_feature_table(lake, source, quarter))[0] for quarter in quarters]
    tables = {name: lake.read(name, source.quarters) for name in source.tables if name != UNIVERSE}
    tables[UNIVERSE] = lake.read(UNIVERSE)
    plain, second = timed(lambda: plain_features(tables, rows, source.benchmark))
    announced = lake.read("earnings", quarters).set_index(["symbol", "announced_on"])
    outcome = announced.loc[pd.MultiIndex.from_frame(rows[["symbol", "announced_on"]])]
    label = (outcome["eps_actual"] > outcome["eps_estimate"] + 0.2 * outcome["eps_estimate"].abs()).to_numpy(np.float64)
    values = table[list(features)]
    trained, _ = timed(lambda: fit(values.to_numpy(), label, list(features), TREES, dict(PARAMS)))
    agreement = [np.isclose(values[name], second[name], rtol=1e-6, atol=1e-9, equal_nan=True).mean() for name in second]

    print(f"{tape.name}: {len(rows):,} examples, {len(features)} features")
    print(f"  all in one batch      {built:6.2f} s, and {read:.2f} s to read the lake")
    print(f"  quarter by quarter    {np.median(each):6.2f} s each (at most {max(each):.2f}), lake reads included")
    print(f"  plain pandas script   {plain:6.2f} s: ratio {built / plain:.2f}; same values: {np.mean(agreement):.1%}")
    print(f"  one LightGBM fit      {trained:6.2f} s ({TREES} trees): ratio {built / trained:.2f}")


def memory(folder: Path) -> None:
    """Build the same quarter in a process of its own, from lakes that hold more and more quarters before it."""
    print("memory of one quarter's features by quarters in the lake (60 synthetic companies):")
    last = Quarter(2018, 4)
    for count in (16, 48, 64):
        settings = SyntheticSettings(symbols=60, quarters=count, first=str(last - count + 1))
        tape = folder / f"tape{count}"
        tape.mkdir()
        generate_tape(settings, tape)
        source, lake = filled(tape, folder / f"lake{count}")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            arrays, arrow = pool.apply(_peak, (source, lake.url, last))
        print(f"  {count:3} quarters: {arrays:4.0f} MiB of arrays and {arrow:.0f} MiB of Arrow tables at most")


def filled(tape: Path, folder: Path) -> tuple[SourceDescription, Lake]:
    """Write a tape's tables into a lake."""
    source, lake = TapeSource(tape, Settings()), Lake(str(folder))
    lake.write(UNIVERSE, None, source.universe())
    for name in source.description.tables:
        if name != UNIVERSE:
            for quarter in source.description.quarters:
                lake.write(name, quarter, source.read(name, quarter))
    return source.description, lake


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of some work and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _peak(source: SourceDescription, lake: str, quarter: Quarter) -> tuple[float, float]:
    active_features(source)  # imports the families before anything is counted
    tracemalloc.start()
    build_feature_table(Lake(lake), source, quarter)
    return tracemalloc.get_traced_memory()[1] / 2**20, pa.default_memory_pool().max_memory() / 2**20


if __name__ == "__main__":
    main()
