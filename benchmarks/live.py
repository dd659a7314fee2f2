"""What the live room costs over bare httpx, a request: key, turn, retries, judgement, and keeping the answer."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from stand_ins.fmp import bars
from stand_ins.server import StandIn, as_json
from stand_ins.world import World

from earlysignal_assets.postgres import ensure_database, server
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.live import fmp
from earlysignal_core.sources.live.clock import WallClock
from earlysignal_core.sources.live.fetch import Fetcher
from earlysignal_core.sources.live.http import Http, Provider, key_as_parameter
from earlysignal_core.sources.live.limits import Limit, LocalLimits, PostgresLimits
from earlysignal_core.sources.live.messages import Request
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.sources.live.source import LiveSource

REQUESTS, ROUNDS = 200, 5
ROWS = [{"symbol": "A", "date": "2024-01-02", "close": 1.0, "volume": n} for n in range(20)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backfill", action="store_true", help="also a cold one, of 500 companies")
    overhead()
    if parser.parse_args().backfill:
        backfill()


def overhead() -> None:
    """Print what a request costs on each way to ask; the stand-in's own share is in all of them."""
    with (
        StandIn(lambda _: as_json(ROWS)) as provider,
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder) / "home") as url,
    ):
        clock, key = WallClock(), SecretStr("key-of-the-stand-in")
        toy = Provider(
            "toy", {"": provider.url}, Limit(1_000_000, 1.0), fmp.judge, key, with_key=key_as_parameter("apikey")
        )
        alone = Http(toy, LocalLimits(clock), clock)
        shared = Http(toy, PostgresLimits(ensure_database(url, "limits")), clock)
        fetcher = Fetcher(RawStore(Lake(folder)), shared)
        numbers = count()

        def asked() -> Request:
            return Request("toy", "/rows", {"n": str(next(numbers))})

        with httpx.Client(base_url=provider.url) as client:
            ways: dict[str, Callable[[], object]] = {
                "bare httpx, parsed": lambda: json.loads(client.get("/rows", params={"n": next(numbers)}).content),
                "our room": lambda: alone.ask(asked()).json,
                "and PostgreSQL's turns": lambda: shared.ask(asked()).json,
                "and kept": lambda: fetcher.fetch(asked(), clock.now(), lambda answer: answer.json),
            }
            # In turns, so that what the neighbours do falls on all of them alike.
            rounds = pd.DataFrame({name: _costs(ask) for name, ask in ways.items()} for _ in range(ROUNDS))
        best = pd.DataFrame({name: np.min(rounds[name].tolist(), axis=0) for name in ways}, index=["cpu", "wall"]).T
        print(f"milliseconds a request, the best of {ROUNDS} rounds of {REQUESTS}")
        for name, (cpu, wall) in best.iterrows():
            more = best.loc[name] - best.iloc[0]
            print(f"{name:22} cpu {cpu:6.2f} ({more['cpu']:+.2f})   wall {wall:6.2f} ({more['wall']:+.2f})")


def backfill() -> None:
    """Print the share of the allowed rate that a cold backfill of prices uses, by the clock on the wall."""
    year = as_json(bars("S", "2023-01-01", "2023-12-31"))
    with tempfile.TemporaryDirectory() as folder, World(Path(folder), begin="2024-01-01") as world:
        world.companies.write_text("\n".join(["symbol", *(f"S{n}" for n in range(500))]))
        world.fmp.answer = lambda _: year
        clock = WallClock()
        settings = world.settings(fmp_per_minute=300, workers=8)
        source = LiveSource(settings, LocalLimits(clock), clock)
        source.read("ohlcv", Quarter(2023, 4))
        source.close()
        at = [asked.at for asked in world.fmp.asked]
    used = (len(at) - 1) / (max(at) - min(at)) / 5.0
    print(f"{len(at)} requests in {max(at) - min(at):.1f} s: {used:.1%} of 300 a minute")


def _costs(ask: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU and the median wall milliseconds of a request."""
    ask()
    taken, begun = [], time.process_time()
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begin)
    return (time.process_time() - begun) / REQUESTS * 1e3, float(np.median(taken)) * 1e3


if __name__ == "__main__":
    main()
