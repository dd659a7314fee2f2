"""`earlysignal up`: PostgreSQL, the Dagster web server, its daemon and the reports, as one thing to start and to stop.

The web server and the daemon run as programs of their own. Against `dagster dev` this needs a third less memory, lets
either be started again alone, and does not depend on which signal arrives.
"""

import fcntl
import http
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from earlysignal_assets.embedded_postgres import ensure_running, is_running
from earlysignal_assets.instance import prepare, source_folder, tracking_database
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
# A connection that PostgreSQL's restart has cut off would fail the first click after it.
_FRESH = ["--db-pool-recycle", "1"]


class UpError(EarlySignalError):
    """The system cannot be started."""


class _Stop:
    """Whether the user, or the system, has asked for an end.

    Not a `threading.Event`: its lock may be held by the very code that a signal interrupts.
    """

    requested = False

    def wait(self, seconds: float) -> bool:
        """Wait for the request, at most so long, and say whether it has come."""
        deadline = time.monotonic() + seconds
        while not self.requested and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.requested


def up(
    home: Path,
    source_name: str,
    lake_url: str,
    *,
    database_url: str | None = None,
    port: int = 3000,
    report_port: int = 3001,
    mlflow_port: int | None = None,
    tracking: bool = False,
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
    mlflow_port : int, optional
        Where MLflow's UI is served, on this machine only; by default it is not.
    tracking : bool
        Whether trainings are recorded among MLflow's experiments; with its UI they are.
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
            **(tracking_database(base_url) if tracking or mlflow_port else {}),
            "PYTHONUNBUFFERED": "1",
        }
        programs = Supervisor(folder / "up.json", folder / "logs", variables, _say)
        _listener(port, "--port").close()  # the web server binds it itself
        if mlflow_port:
            _listener(mlflow_port, "--mlflow-port").close()
        with _listener(report_port, "--report-port") as reports, serving(Lake(lake_url), reports):
            _say(f"Starting on {redact(base_url) if database_url else 'the embedded PostgreSQL'} …")
            target = ["-w", str(workspace)]
            try:
                programs.start(
                    "webserver", [*_PYTHON, "dagster_webserver", "-h", HOST, "-p", str(port), *_FRESH, *target]
                )
                programs.start("daemon", [*_PYTHON, "dagster._daemon", "run", *target])
                if mlflow_port:
                    programs.start("mlflow", [*_PYTHON, "earlysignal_assets.mlflow_server", HOST, str(mlflow_port)])
                if _wait_until_ready(port, programs, stop):
                    _say(f"\n  Dagster  http://{HOST}:{port}\n  Reports  http://{HOST}:{report_port}")
                    if mlflow_port:
                        _say(f"  MLflow   http://{HOST}:{mlflow_port} (it takes a little longer)")
                    _say(f"  Logs     {folder / 'logs'}\n\nCtrl-C stops everything; the data stays in {folder}.")
                    _watch(programs, stop, None if database_url else home)
            finally:
                _say("Stopping …")
                programs.stop()
    _say("Stopped.")


def _watch(programs: Supervisor, stop: _Stop, embedded_home: Path | None) -> None:
    while not stop.wait(_TICK_SECONDS):
        if embedded_home is not None and not is_running(embedded_home):
            _say("PostgreSQL ended by itself; starting it again")
            ensure_running(embedded_home)
        programs.check()


def _wait_until_ready(port: int, programs: Supervisor, stop: _Stop) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while not stop.wait(_TICK_SECONDS):
        programs.check()
        if _answers(port):
            return True
        if time.monotonic() > deadline:
            raise UpError(
                f"the web server does not answer on port {port} after {_READY_SECONDS:.0f} s. Remedy: read "
                f"webserver.log."
            )
    return False


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)  # not urllib, which may ask a proxy
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


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
def _signals() -> Iterator[_Stop]:
    """Take the first of the usual signals as a request to stop; more of them change nothing, for stopping is short."""
    stop = _Stop()

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        for each in before:
            signal.signal(each, signal.SIG_IGN)

    before: dict[signal.Signals, Any] = {}
    for asks in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[asks] = signal.signal(asks, request)
    try:
        yield stop
    finally:
        for asks, handler in before.items():
            signal.signal(asks, handler)


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may have been closed, which is one of the reasons to stop
        typer.echo(text)
