"""`earlysignal up`: PostgreSQL, the Dagster web server, its daemon and the reports, as one thing to start and to stop.

The web server and the daemon run as programs of their own. Against `dagster dev` this needs a third less memory, lets
either be started again alone, and does not depend on which signal arrives.
"""

import fcntl
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from earlysignal_assets.embedded_postgres import ensure_running, is_running
from earlysignal_assets.instance import prepare, source_folder
from earlysignal_assets.postgres import redact, server
from earlysignal_assets.report_server import serving
from earlysignal_assets.supervisor import Supervisor
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake

WORKSPACE = Path(__file__).parents[1] / "workspace.yaml"
HOST = "127.0.0.1"
_READY_SECONDS = 120.0
_TICK_SECONDS = 1.0
_PYTHON = [sys.executable, "-m"]


class UpError(EarlySignalError):
    """The system cannot be started."""


def up(
    home: Path,
    source_name: str,
    lake_url: str,
    *,
    database_url: str | None = None,
    port: int = 3000,
    report_port: int = 3001,
    environment: Mapping[str, str] | None = None,
    workspace: Path = WORKSPACE,
) -> None:
    """Start everything for one source, and stop it on SIGINT, SIGTERM or SIGHUP.

    Parameters
    ----------
    home : Path
        The folder of all sources and of the embedded server's data.
    source_name : str
        The source's name.
    lake_url : str
        The lake whose ``reports`` are served.
    database_url : str, optional
        A PostgreSQL server to use instead of the embedded one.
    port, report_port : int
        Where the Dagster UI and the reports are served, on this machine only.
    environment : mapping of str to str, optional
        Variables that tell Dagster's programs of the source, beyond this process's own environment.
    workspace : Path
        The workspace file.

    Raises
    ------
    EarlySignalError
        If a port is taken, `up` already runs for the source, PostgreSQL cannot be reached or a program keeps dying.
    """
    if not workspace.exists():
        raise UpError(f"{workspace} is missing. Remedy: run from a checkout, installed by `make setup`.")
    folder = source_folder(home, source_name)
    folder.mkdir(parents=True, exist_ok=True)
    with _signals() as stop, _only_one(folder / "up.lock"), server(home, database_url) as base_url:
        variables = {
            **os.environ,
            **prepare(home, source_name, base_url),
            **(environment or {}),
            "PYTHONUNBUFFERED": "1",
        }
        programs = Supervisor(folder / "up.json", folder / "logs", variables, typer.echo)
        _listener(port, "--port").close()  # the web server binds it itself
        with _listener(report_port, "--report-port") as reports, serving(Lake(lake_url), reports):
            typer.echo(f"Starting on {redact(base_url) if database_url else 'the embedded PostgreSQL'} …")
            target = ["-w", str(workspace)]
            try:
                programs.start("webserver", [*_PYTHON, "dagster_webserver", "-h", HOST, "-p", str(port), *target])
                programs.start("daemon", [*_PYTHON, "dagster._daemon", "run", *target])
                if _wait_until_ready(f"http://{HOST}:{port}/server_info", programs, stop):
                    typer.echo(f"\n  Dagster  http://{HOST}:{port}\n  Reports  http://{HOST}:{report_port}")
                    typer.echo(f"  Logs     {folder / 'logs'}\n\nCtrl-C stops everything; the data stays in {folder}.")
                    _watch(programs, stop, None if database_url else home)
            finally:
                typer.echo("Stopping …")
                programs.stop()
    typer.echo("Stopped.")


def _watch(programs: Supervisor, stop: threading.Event, embedded_home: Path | None) -> None:
    while not stop.wait(_TICK_SECONDS):
        if embedded_home is not None and not is_running(embedded_home):
            typer.echo("PostgreSQL ended by itself; starting it again")
            ensure_running(embedded_home)
        programs.check()


def _wait_until_ready(address: str, programs: Supervisor, stop: threading.Event) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while not stop.wait(_TICK_SECONDS):
        programs.check()
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own address
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            if time.monotonic() > deadline:
                raise UpError(
                    f"the web server does not answer at {address} after {_READY_SECONDS:.0f} s. Remedy: read "
                    f"webserver.log."
                ) from None
    return False


def _listener(port: int, option: str) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise UpError(
            f"port {port} on {HOST} cannot be used: {error.strerror}. Remedy: stop the program that uses it, or choose "
            f"another by `{option}`."
        ) from None
    return listener


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Refuse to run twice for one source; the lock falls with the process, however it ends."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(f"`up` already runs for {path.parent}. Remedy: stop that one with Ctrl-C first.") from None
        yield


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Provide an event that the usual signals set; a second one changes nothing, since stopping has its own limits."""
    stop = threading.Event()

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
