"""Where the time of a replay goes: by step of the day, and against the plain walk-forward of the same quarters.

``python benchmarks/replay.py --tape ../shared/tapes/sp500 --from 2015-01-01 --to 2018-09-30 --policy never``; without a
tape on the small synthetic source. The plain walk-forward trains each quarter's model and scores the quarter, without a
ledger, without days and without anything that watches: what the same history costs who only wants to backtest a model.
Filling the lake is not counted in either. CPU seconds are those of this process, PostgreSQL's are not among them. Below
the steps stand the functions of the core that were at work most often when the processor's time was looked at, with all
that they call: a sample every five milliseconds, which costs next to nothing.
"""

import argparse
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from types import FrameType
from typing import Any

import pandas as pd

from earlysignal_assets.postgres import ensure_database, server
from earlysignal_core import daily
from earlysignal_core.datasets.gather import FEATURES, gather_dataset
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger.connection import RememberingLedger
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.models.training import train
from earlysignal_core.production import Production
from earlysignal_core.quarterly import described
from earlysignal_core.quarters import Quarter
from earlysignal_core.replay import Policy, replay
from earlysignal_core.settings import Settings
from earlysignal_core.sources import open_source

STEPS = (
    "predict",
    "choose_stocks",
    "detect_drift",
    "collect_results",
    "check_quality",
    "measure",
    "decide",
    "retrain",
    "challenge",
)
Spent = dict[str, list[float]]
SAMPLE = 0.005  # seconds
SHOWN = 20


def timed(step: Callable[..., Any], spent: Spent) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        wall, cpu = perf_counter(), process_time()
        try:
            return step(*arguments, **options)
        finally:
            told = spent.setdefault(step.__name__, [0.0, 0.0, 0.0])
            for place, more in enumerate((perf_counter() - wall, process_time() - cpu, 1.0)):
                told[place] += more

    return run


def sample(found: Counter[str]) -> None:
    """Count from now on, every five milliseconds of processor time, which functions of the core are at work."""

    def look(_signal: int, frame: FrameType | None) -> None:
        at_work = set()
        while frame is not None:
            code = frame.f_code
            if "earlysignal_core" in code.co_filename:
                at_work.add(f"{Path(code.co_filename).stem}.{code.co_qualname}")
            frame = frame.f_back
        found.update(at_work)

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE, SAMPLE)


def walk_forward(lake: Lake, settings: Settings, first: Quarter, last: Quarter) -> int:
    """Train each quarter's model and score the quarter; returns how many rows were scored."""
    source, scored = described(lake), 0
    for quarter in Quarter.range(first, last):
        model = train(gather_dataset(lake, source, quarter, settings))
        if isinstance(model, Bundle) and lake.has(FEATURES, quarter):
            scored += len(model.predict(lake.read(FEATURES, [quarter])))
    return scored


def main() -> None:
    """Fill a lake, walk forward, replay, and print both."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tape", type=Path)
    arguments.add_argument("--from", dest="first", default="2017-01-01")
    arguments.add_argument("--to", default="2017-12-31")
    arguments.add_argument("--policy", type=Policy, default=Policy.NEVER)
    chosen = arguments.parse_args()
    first, last = pd.Timestamp(chosen.first), pd.Timestamp(chosen.to)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url:
        settings = Settings(home=Path(folder), tape=chosen.tape)
        lake = RememberingLake(f"{folder}/lake")
        with RememberingLedger(ensure_database(url, "replay"), "replay") as ledger:
            ledger.migrate()
            daily.refresh(last, Production(lake, ledger, settings), open_source(settings))
            wall, cpu = perf_counter(), process_time()
            rows = walk_forward(lake, settings, Quarter.of(first), Quarter.of(last))
            plain_wall, plain_cpu = perf_counter() - wall, process_time() - cpu
            spent: Spent = {}
            for name in STEPS:
                setattr(daily, name, timed(getattr(daily, name), spent))
            at_work: Counter[str] = Counter()
            wall, cpu = perf_counter(), process_time()
            sample(at_work)
            done = replay(lake, ledger, settings, chosen.policy, first, last, lambda *_: None)
            signal.setitimer(signal.ITIMER_PROF, 0)
            wall, cpu = perf_counter() - wall, process_time() - cpu
    lived = len(done.watched)
    print(f"{lived} days under `{chosen.policy}`, {done.score.served} events served, {len(done.retrains)} retrains")
    print(f"{'step':<18}{'calls':>7}{'wall s':>9}{'CPU s':>9}{'ms of CPU a day':>18}{'share':>8}")
    for name in STEPS:
        step_wall, step_cpu, calls = spent.get(name, [0.0, 0.0, 0.0])
        print(
            f"{name:<18}{calls:>7.0f}{step_wall:>9.1f}{step_cpu:>9.1f}"
            f"{1000 * step_cpu / lived:>18.1f}{step_cpu / cpu:>8.0%}"
        )
    print(f"{'all':<18}{'':>7}{wall:>9.1f}{cpu:>9.1f}{1000 * cpu / lived:>18.1f}{1:>8.0%}")
    print("\nfunctions, with all that they call")
    for name, count in at_work.most_common(SHOWN):
        print(f"{name:<50}{1000 * count * SAMPLE / lived:>13.1f}{count * SAMPLE / cpu:>8.0%}")
    print(
        f"\nplain walk-forward of the same quarters: {plain_wall:.1f} s wall, {plain_cpu:.1f} s CPU, {rows} rows scored"
    )
    print(f"replay / plain: {wall / plain_wall:.1f} wall, {cpu / plain_cpu:.1f} CPU")


if __name__ == "__main__":
    main()
