"""`earlysignal up` as a user lives it: it starts, survives what is killed, and stops without orphans."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

SMALL = {"EARLYSIGNAL_SYNTHETIC__SYMBOLS": "5", "EARLYSIGNAL_SYNTHETIC__QUARTERS": "4"}
COMMAND = [sys.executable, "-c", "from earlysignal_assets.cli import main; main()", "up"]
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
ASSETS = "{ assetNodes { assetKey { path } groupName } }"
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"


class System:
    """A running `earlysignal up`."""

    def __init__(self, process: subprocess.Popen[str], home: Path, port: int, report_port: int, log: Path) -> None:
        self.process, self.home, self.port, self.report_port, self.log = process, home, port, report_port, log

    def said(self) -> str:
        return self.log.read_text()

    def programs(self) -> dict[str, psutil.Process]:
        """The web server and the daemon."""
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                command = " ".join(child.cmdline())
            except psutil.NoSuchProcess:
                continue
            found |= {name: child for name in ("dagster_webserver", "dagster._daemon") if name in command}
        return found

    def everything(self) -> list[psutil.Process]:
        """All that runs for it, PostgreSQL too."""
        postgres = int((self.home / "postgres" / "postmaster.pid").read_text().split()[0])
        whole = [psutil.Process(self.process.pid), psutil.Process(postgres)]
        return whole + [child for process in whole for child in process.children(recursive=True)]

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables})
        return json.loads(fetch(self.port, "POST", "/graphql", body))["data"]

    def launch(self, asset: str, location: str = "earlysignal_assets.definitions") -> str:
        selector = {
            "repositoryLocationName": location,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]}],
        }
        launched = self.ask(LAUNCH, params={"selector": selector, "mode": "default"})["launchRun"]
        assert "run" in launched, launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def runs(self) -> list[tuple[str, str]]:
        return [(run["runId"], run["status"]) for run in self.ask(RUNS)["runsOrError"]["results"]]

    def environment(self) -> dict[str, str]:
        return psutil.Process(self.process.pid).environ()

    def answers(self) -> bool:
        try:
            return bool(self.ask("{ version }")) and self.runs() is not None  # the second asks the database
        except (OSError, http.client.HTTPException):
            return False

    def healthy(self) -> bool:
        statuses = self.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        required = [status for status in statuses if status["required"]]
        return bool(required) and all(status["healthy"] for status in required)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def fetch(port: int, method: str, path: str, body: str | None = None) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read().decode()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(content[:300])
        return content
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@contextmanager
def starting(home: Path, command: Sequence[str] = COMMAND, workspace: Path | None = None) -> Iterator[System]:
    """A small synthetic system, ready; killed with all its children if a test leaves it running."""
    environment = os.environ | SMALL | {"EARLYSIGNAL_HOME": str(home)}
    log, port, report_port = home.with_suffix(".log"), free_port(), free_port()
    if workspace is None:
        command = [*command, "--port", str(port), "--report-port", str(report_port)]
    else:
        command = [*command, str(home), str(port), str(report_port), str(workspace)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    system = System(process, home, port, report_port, log)
    try:
        wait_for(lambda: process.poll() is not None or "Ctrl-C stops everything" in system.said())
        assert process.poll() is None, system.said()
        yield system
    finally:
        if process.poll() is None:
            left = system.everything()
            for member in left:
                member.kill()
            process.wait()


def another(environment: Mapping[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a second `up`, which is expected to be refused."""
    return subprocess.run(
        [*COMMAND, *options], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def stop(system: System, sign: signal.Signals, times: int = 1) -> None:
    """Send a signal, perhaps impatiently; everything ends in order within 15 seconds."""
    whole = system.everything()
    assert len(whole) > 4
    for _ in range(times):
        system.process.send_signal(sign)
    assert system.process.wait(timeout=15) == 0, system.said()
    wait_for(lambda: gone(whole), seconds=2)
    assert system.said().endswith("Stopped.\n")
    assert not (system.home / "postgres" / "postmaster.pid").exists()


def test_it_starts_brings_a_killed_daemon_back_and_stops_without_orphans(tmp_path: Path) -> None:
    with starting(tmp_path / "home") as system:
        # the graph is there, and so are the daemon and the reports
        assert len({node["groupName"] for node in system.ask(ASSETS)["assetNodes"]}) >= 5
        wait_for(system.healthy)
        assert "Reports" in fetch(system.report_port, "GET", "/")

        # a second one for the same source is refused
        again = another(system.environment(), "--port", str(free_port()))
        assert again.returncode == 1
        assert "already runs" in again.stdout

        # a killed daemon comes back
        before = system.programs()
        before["dagster._daemon"].kill()
        wait_for(lambda: system.programs().get("dagster._daemon") not in (None, before["dagster._daemon"]))
        assert "daemon ended by itself (killed by SIGKILL)" in system.said()

        stop(system, signal.SIGINT, times=50)


def test_a_port_in_use_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = another(os.environ | SMALL | {"EARLYSIGNAL_HOME": str(tmp_path)}, "--port", str(port))
    assert refused.returncode == 1
    assert f"port {port} on 127.0.0.1" in refused.stdout
    assert "choose another by `--port`" in refused.stdout
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


@pytest.mark.slow
def test_data_survive_and_whatever_is_killed_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with starting(home) as system:
        wait_for(system.healthy)
        system.launch("universe")
        wait_for(lambda: [status for _, status in system.runs()] == ["SUCCESS"])
        (run,) = system.runs()
        before = system.programs()
        for program in before.values():
            program.kill()
        wait_for(lambda: set(system.programs()) == set(before) and system.answers())
        wait_for(system.healthy)
        postmaster = system.everything()[1]
        postmaster.kill()
        wait_for(lambda: "PostgreSQL ended by itself" in system.said())
        wait_for(system.answers)
        assert system.runs() == [run]
        left = [process for process in system.everything() if process.name() != "postgres"]
        system.process.kill()
        system.process.wait()
        with starting(home) as second:
            assert gone(left)
            assert second.runs() == [run]
            stop(second, signal.SIGTERM)


SLOW_GRAPH = """
import time
import dagster as dg

@dg.asset
def waits(context) -> None:
    if context.retry_number == 0 and not context.run.parent_run_id:
        time.sleep(600)

defs = dg.Definitions(assets=[waits], executor=dg.in_process_executor)
"""
UP = """
import sys
from pathlib import Path
from earlysignal_assets.up import up
up(Path(sys.argv[1]), "slow", sys.argv[1] + "/lake", port=int(sys.argv[2]), report_port=int(sys.argv[3]),
   workspace=Path(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupted", "its process killed", "everything killed"])
def test_a_run_that_is_cut_off_is_reported_and_tried_again(tmp_path: Path, how: str) -> None:
    (tmp_path / "slow_graph.py").write_text(SLOW_GRAPH)
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(f"load_from: [python_module: {{module_name: slow_graph, working_directory: {tmp_path}}}]")
    command = [sys.executable, "-c", UP]
    home = tmp_path / "home"
    with starting(home, command, workspace) as system:
        wait_for(system.healthy)
        system.launch("waits", location="slow_graph")
        wait_for(lambda: [status for _, status in system.runs()] == ["STARTED"])
        if how == "interrupted":
            stop(system, signal.SIGINT)
        else:
            whole = system.everything()
            runs_process = next(p for p in whole if "multiprocessing.spawn" in " ".join(p.cmdline()))
            for process in [runs_process] if how == "its process killed" else whole:
                process.kill()
        if how != "its process killed":
            system.process.wait()
        with starting(home, command, workspace) if how != "its process killed" else nullcontext(system) as after:
            wait_for(lambda: sorted(status for _, status in after.runs()) == ["FAILURE", "SUCCESS"], seconds=150)


@pytest.mark.slow
def test_dagsters_own_commands_work_in_a_checkout(tmp_path: Path) -> None:
    """Without DAGSTER_HOME, in the repository's root."""
    root = Path(__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= SMALL | {"EARLYSIGNAL_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"}
    dagster = [sys.executable, "-m", "dagster"]
    validated = subprocess.run(
        [*dagster, "definitions", "validate", "-w", "workspace.yaml"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert validated.returncode == 0, validated.stderr
    port, log = free_port(), tmp_path / "dev.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*dagster, "dev", "-w", "workspace.yaml", "-p", str(port)],
            cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
    system = System(process, tmp_path, port, 0, log)
    wait_for(lambda: process.poll() is not None or system.answers())
    try:
        assert system.ask(ASSETS)["assetNodes"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
