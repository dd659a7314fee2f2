"""What the live room costs over bare httpx, a request: turn, retries, judgement, and keeping the answer."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from stand_ins.server import StandIn, as_json

from earlysignal_core.lake import Lake
from earlysignal_core.sources.live.clock import WallClock
from earlysignal_core.sources.live.fetch import Fetcher
from earlysignal_core.sources.live.http import Http, Provider
from earlysignal_core.sources.live.limits import Limit, LocalLimits
from earlysignal_core.sources.live.messages import Request
from earlysignal_core.sources.live.raw_store import RawStore

REQUESTS = 500
ROWS = [{"symbol": "A", "date": "2024-01-02", "close": 1.0, "volume": n} for n in range(20)]


def main() -> None:
    """Print the median milliseconds of each way to ask."""
    with StandIn(lambda _: as_json(ROWS)) as provider, tempfile.TemporaryDirectory() as folder:
        clock = WallClock()
        http = Http(
            Provider("toy", {"": provider.url}, Limit(1_000_000, 1.0), lambda _: None), LocalLimits(clock), clock
        )
        fetcher = Fetcher(RawStore(Lake(folder)), http)
        numbers = iter(range(10 * REQUESTS))
        with httpx.Client(base_url=provider.url) as client:
            ways: dict[str, Callable[[], object]] = {
                "bare httpx, parsed": lambda: json.loads(client.get("/rows", params={"n": next(numbers)}).content),
                "our room": lambda: http.ask(Request("toy", "/rows", {"n": str(next(numbers))})).json,
                "our room, kept": lambda: fetcher.fetch(
                    Request("toy", "/rows", {"n": str(next(numbers))}), clock.now(), lambda answer: answer.json
                ),
            }
            bare = None
            for name, ask in ways.items():
                milliseconds = _median(ask)
                bare = bare or milliseconds
                print(f"{name:20} {milliseconds:6.2f} ms   {milliseconds - bare:+6.2f}")


def _median(ask: Callable[[], object]) -> float:
    ask()
    taken = []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e3


if __name__ == "__main__":
    main()
