"""What Dagster costs: the walk-forward by the command, and the same core calls in one plain process.

``python benchmarks/overhead.py --tape ../shared/tapes/sp500``; without a tape on the small synthetic source. Prints CPU
and wall seconds of both and the difference for each quarter; allowed are 1.2 s a quarter plus 10 s.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import (
    collect,
    collect_universe,
    make_audit,
    make_dataset,
    make_evaluation,
    make_feature_table,
    make_labels,
    make_model,
    make_report,
)
from earlysignal_core.settings import Settings
from earlysignal_core.sources import open_source
from earlysignal_core.tables import CACHES, UNIVERSE


def plain(home: Path, tape: Path | None) -> int:
    """Make the walk-forward without Dagster, and return the number of quarters judged."""
    settings = Settings(home=home, tape=tape)
    source, lake = open_source(settings), Lake(str(home / "lake"))
    collect_universe(source, lake)
    for cache in CACHES:
        if cache != UNIVERSE:
            collect(source, lake, cache, source.description.quarters)
    for quarter in source.description.quarters:
        make_labels(quarter, lake)
    for quarter in source.description.event_quarters:
        make_feature_table(quarter, lake)
        make_dataset(quarter, lake, settings)
        make_model(quarter, lake)
        make_evaluation(quarter, lake, settings)
    make_audit(lake)
    make_report(lake, settings)
    return len(source.description.event_quarters)


def seconds(command: list[str], home: Path) -> tuple[float, float]:
    """Run a command in a process of its own and return its wall and CPU seconds."""
    before, started = os.times(), monotonic()
    subprocess.run(command, env={**os.environ, "EARLYSIGNAL_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
    wall, after = monotonic() - started, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure both, one after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tape", type=Path)
    arguments.add_argument("--plain-into", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.plain_into:
        print(plain(chosen.plain_into, chosen.tape))
        return
    tape = ["--tape", str(chosen.tape)] if chosen.tape else []
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / name for name in ("plain", "command")]
        for home in homes:
            home.mkdir()
        alone = seconds([sys.executable, __file__, "--plain-into", str(homes[0]), *tape], homes[0])
        command = seconds([sys.executable, "-m", "earlysignal_assets.cli", "demo", *tape], homes[1])
        quarters = len(open_source(Settings(home=homes[0], tape=chosen.tape)).description.event_quarters)
    allowed = 1.2 * quarters + 10
    for name, without, with_dagster in zip(("wall", "CPU"), alone, command, strict=True):
        difference = f"{with_dagster - without:+.1f} s for {quarters} quarters ({allowed:.1f} s allowed)"
        ratio = with_dagster / without
        print(f"{name:>4}: core {without:.1f} s, with Dagster {with_dagster:.1f} s, ratio {ratio:.2f}; {difference}")


if __name__ == "__main__":
    main()
