"""`earlysignal up` as a user lives it: it starts, survives what is killed, and stops without orphans."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil
import pytest
from system import COMMAND, TINY, System, fetch, free_port, gone, starting, stop, wait_for

ASSETS = "{ assetNodes { assetKey { path } groupName } }"


def another(environment: Mapping[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a second `up`, which is expected to be refused."""
    return subprocess.run(
        [*COMMAND, *options], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
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
        refused = another(os.environ | TINY | {"EARLYSIGNAL_HOME": str(tmp_path)}, "--port", str(port))
    assert refused.returncode == 1
    assert f"port {port} on 127.0.0.1" in refused.stdout
    assert "choose another by `--port`" in refused.stdout
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


@pytest.mark.long
def test_with_mlflow_its_page_is_served_and_the_address_of_its_database_is_on_no_command_line(tmp_path: Path) -> None:
    port = free_port()
    with starting(tmp_path / "home", [*COMMAND, "--mlflow", "--mlflow-port", str(port)]) as system:
        wait_for(lambda: "MLflow" in fetch(port, "GET", "/"), seconds=240)
        assert "experiments" in fetch(port, "POST", "/api/2.0/mlflow/experiments/search", '{"max_results": 10}')
        assert not [p for p in system.everything() if "postgresql" in " ".join(p.cmdline()) and p.name() != "postgres"]
        everything = system.everything()
        stop(system, signal.SIGINT)
        assert gone(everything)


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
                with suppress(psutil.NoSuchProcess):  # a child may be gone with its parent before this loop reaches it
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
    environment |= TINY | {"EARLYSIGNAL_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"}
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
