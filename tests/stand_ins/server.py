"""A provider on the loopback: answers in the real wire format, fails when it is told to, and counts."""

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pandas as pd


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire, key and all."""

    method: str
    path: str
    params: dict
    headers: dict
    body: bytes
    at: float


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    delay: float = 0.0  # seconds before anything is said
    drip: float = 0.0  # seconds between pieces of the body
    cut: bool = False  # half of the body, then silence
    zipped: bool = False
    hang_up: bool = False  # no answer at all

    def __str__(self):
        said = self.body[:20].decode("ascii", "replace")
        return " ".join([str(self.status), said, *(n for n in ("cut", "zipped", "hang_up") if getattr(self, n))])


def as_json(value, status=200, **more):
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"}, **more)


def as_text(text, status=200, kind="text/plain", **more):
    return Reply(status, text.encode(), {"Content-Type": kind}, **more)


HTML = as_text(
    "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>Soon.</body></html>", kind="text/html"
)


class StandIn:
    """Serves what `answer` returns, after the replies that were queued with `fail`."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._queued: deque[Reply] = deque()
        self.lock = threading.Lock()
        self._server = None
        self.url = ""

    def fail(self, *replies: Reply, times: int = 1) -> None:
        self._queued.extend(replies * times)

    def reply(self, asked: Asked) -> Reply:
        with self.lock:
            self.asked.append(asked)
            if self._queued:
                return self._queued.popleft()
        return self.answer(asked)

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.stand_in = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes: the second would wait 40 ms for the first

    def do_GET(self):
        self._serve(b"")

    def do_POST(self):
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _serve(self, body):
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.stand_in.reply(Asked(self.command, url.path, params, headers, body, time.monotonic()))
        if reply.hang_up:
            self.close_connection = True
            return
        time.sleep(reply.delay)
        content = gzip.compress(reply.body) if reply.zipped else reply.body
        if reply.zipped:
            reply = replace(reply, headers={**reply.headers, "Content-Encoding": "gzip"})
        self.send_response_only(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif reply.drip:
            for at in range(len(content)):
                self.wfile.write(content[at : at + 1])
                self.wfile.flush()
                time.sleep(reply.drip)
        else:
            self.wfile.write(content)

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
            super().handle()


class FakeClock:
    """Time that passes only when somebody waits."""

    def __init__(self, now="2024-03-01 15:00"):
        self._now = pd.Timestamp(now, tz="UTC").as_unit("ns")
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self):
        with self._lock:
            self._now += pd.Timedelta(microseconds=1)  # no two moments are the same
            return self._now

    def sleep(self, seconds):
        with self._lock:
            self.slept.append(seconds)
            self._now += pd.Timedelta(seconds=seconds)

    def advance(self, **duration):
        self._now += pd.Timedelta(**duration)


@contextmanager
def closed_port():
    """Provide an address at which nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
