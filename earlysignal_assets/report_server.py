"""A small web server for the reports in the lake, because a browser opens no `file://` link from the Dagster UI."""

import html
import mimetypes
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from earlysignal_core.errors import LakeError
from earlysignal_core.lake import Lake

FOLDER = "reports"

_SECTIONS = {
    "": "Of all quarters",
    "models": "Model cards: v2018.3.0 is the model of a quarter, v2018.301.0 one that was trained on 1 March",
    "drift": "Drift, day by day: Evidently's page of each",
}
_NAMES = {
    "walk-forward.html": "The walk-forward: every quarter judged on what its model had not seen",
    "replay.html": "The replay: policies of when to retrain, side by side",
}
_STYLE = "body{font:16px/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}h2{font-size:1.1rem}"

# No part of a path begins with a dot: no way up, no hidden and no unfinished file.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HEADERS = {
    # a report is one self-contained page: it may fetch nothing
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; font-src data:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def application(lake: Lake) -> Starlette:
    """Return the application that serves the lake's folder ``reports``, and a page that lists them."""

    def index(_request: Request) -> Response:
        paths = [path.removeprefix(f"{FOLDER}/") for path in _files(lake, FOLDER)]
        sections = "\n".join(_section(folder, paths) for folder in sorted({_folder_of(path) for path in paths}))
        body = sections or "<p>None yet: run <code>make demo</code>, or a backfill.</p>"
        head = f"<title>Early Signal: reports</title><style>{_STYLE}</style>"
        page = f'<!doctype html><html lang="en"><meta charset="utf-8">{head}<h1>Reports</h1>{body}</html>'
        return HTMLResponse(page, headers=_HEADERS)

    def report(request: Request) -> Response:
        path: str = request.path_params["path"]
        missing = PlainTextResponse("There is no such report. See / for those there are.", 404, headers=_HEADERS)
        if not all(_PART.fullmatch(part) for part in path.split("/")):
            return missing
        try:
            content = lake.read_bytes(f"{FOLDER}/{path}")
        except (LakeError, IsADirectoryError):
            return missing
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=_HEADERS)

    return Starlette(routes=[Route("/", index), Route("/{path:path}", report)])


@contextmanager
def serving(lake: Lake, listener: socket.socket) -> Iterator[None]:
    """Serve the reports on a bound socket, in a thread, for as long as the context lasts."""
    server = uvicorn.Server(uvicorn.Config(application(lake), log_level="warning", timeout_graceful_shutdown=2))
    listener.listen()  # who comes before the thread is ready waits, and is not refused
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="report server", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=5)


def _section(folder: str, paths: list[str]) -> str:
    """Return the links to what is in a folder, the newest day or version first, each with its figures for a script."""
    inside = sorted((path for path in paths if _folder_of(path) == folder), key=_by_number, reverse=True)
    lines = []
    for path in inside:
        page, data = f"{path.removesuffix('.json')}.html", f"{path.removesuffix('.html')}.json"
        if path.endswith(".html"):
            name = _NAMES.get(path, path.removeprefix(f"{folder}/").removesuffix(".html"))
            figures = f" ({_link(data, 'its figures, for a script')})" if data in inside else ""
            lines.append(_link(path, name) + figures)
        elif page not in inside:
            lines.append(_link(path, path.removeprefix(f"{folder}/")))
    items = "\n".join(f"<li>{line}</li>" for line in lines)
    return f"<h2>{html.escape(_SECTIONS.get(folder, folder))}</h2><ul>\n{items}\n</ul>"


def _link(path: str, name: str) -> str:
    return f'<a href="/{html.escape(path)}">{html.escape(name)}</a>'


def _by_number(path: str) -> list[tuple[int, str]]:
    """Sort by what numbers say: v2018.10.0 is newer than v2018.9.0."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path)]


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _files(lake: Lake, folder: str) -> list[str]:
    below = [path for name in lake.folders(folder) for path in _files(lake, f"{folder}/{name}")]
    return lake.files(folder) + below
