"""A running `earlysignal up`, asked over GraphQL like the UI asks it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

DEFINITIONS = "earlysignal_assets.definitions"
TINY = {"EARLYSIGNAL_SYNTHETIC__SYMBOLS": "5", "EARLYSIGNAL_SYNTHETIC__QUARTERS": "4"}
COMMAND = [sys.executable, "-c", "from earlysignal_assets.cli import main; main()", "up"]
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"
RUNS_OF = """query($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results {
  runId status startTime endTime tags { key value } } } } }"""
EVENTS = """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
  __typename ... on MessageEvent { stepKey message } } } } }"""


@dataclass(frozen=True)
class Run:
    """A run as the UI shows it."""

    id: str
    status: str
    started: float | None
    ended: float | None
    tags: Mapping[str, str]


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
        whole = [psutil.Process(self.process.pid)]
        postmaster = self.home / "postgres" / "postmaster.pid"
        if postmaster.exists():
            whole.append(psutil.Process(int(postmaster.read_text().split()[0])))
        return whole + [child for process in whole for child in process.children(recursive=True)]

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables})
        return json.loads(fetch(self.port, "POST", "/graphql", body))["data"]

    def launch(self, asset: str, location: str = DEFINITIONS) -> str:
        return self._launch({"jobName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]}, location, {}, {})

    def launch_job(self, job: str, config: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> str:
        return self._launch({"jobName": job}, DEFINITIONS, config, tags or {})

    def _launch(
        self, what: Mapping[str, Any], location: str, config: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        params = {
            "selector": {"repositoryLocationName": location, "repositoryName": "__repository__", **what},
            "mode": "default",
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self.ask(LAUNCH, params=params)["launchRun"]
        assert "run" in launched, launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def runs(self) -> list[tuple[str, str]]:
        return [(run["runId"], run["status"]) for run in self.ask(RUNS)["runsOrError"]["results"]]

    def runs_of(self, job: str) -> list[Run]:
        """The runs of a job, in the order in which they were asked for."""
        found = self.ask(RUNS_OF, job=job)["runsOrError"]["results"]
        return [
            Run(
                run["runId"],
                run["status"],
                run["startTime"],
                run["endTime"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in reversed(found)
        ]

    def done(self, run: str) -> set[str]:
        """The assets that a run has materialised so far."""
        events = self.ask(EVENTS, run=run)["logsForRun"]["events"]
        return {event["stepKey"] for event in events if event["__typename"] == "MaterializationEvent"}

    def workers_of(self, run: str) -> list[psutil.Process]:
        """The process in which a run's assets are made, if it has begun."""
        events = self.ask(EVENTS, run=run)["logsForRun"]["events"]
        said = {found[1] for event in events if (found := re.search(r"pid: (\d+)", event.get("message", "")))}
        return [psutil.Process(int(pid)) for pid in said if psutil.pid_exists(int(pid))]

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
    def holds() -> bool:
        try:
            return condition()
        except (OSError, http.client.HTTPException):  # what is asked is just being started again
            return False

    deadline = time.monotonic() + seconds
    while not holds():
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
def starting(
    home: Path,
    command: Sequence[str] = COMMAND,
    workspace: Path | None = None,
    settings: Mapping[str, str] = TINY,
) -> Iterator[System]:
    """A small synthetic system, ready; killed with all its children if a test leaves it running."""
    environment = {**os.environ, **settings, "EARLYSIGNAL_HOME": str(home)}
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
        wait_for(lambda: process.poll() is not None or "Ctrl-C stops everything" in system.said(), seconds=150)
        assert process.poll() is None, system.said()
        yield system
    finally:
        if process.poll() is None:
            left = system.everything()
            for member in left:
                with suppress(psutil.NoSuchProcess):  # a child may end with its parent before this loop reaches it
                    member.kill()
            process.wait()


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
