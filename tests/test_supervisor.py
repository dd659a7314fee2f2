"""Programs come back when they die, do not come back for ever, and leave no orphans."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from earlysignal_assets.supervisor import Supervisor, SupervisorError

# Starts a child that ignores interrupts and then tells its number; both wait.
CHILD = "import os, signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(os.getpid(), flush=True)"
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "{CHILD}; time.sleep(600)"])
time.sleep(600)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def programs(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr("earlysignal_assets.supervisor._STOP_SECONDS", 1.0)
    supervisor = Supervisor(tmp_path / "note.json", tmp_path / "logs", dict(os.environ), said.append)
    yield supervisor
    supervisor.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def child_of(log: Path) -> int:
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    return int(log.read_text().split()[-1])


def test_a_killed_program_is_started_again_and_the_user_told(
    programs: Supervisor, said: list[str], tmp_path: Path
) -> None:
    programs.start("sleeper", [sys.executable, "-c", PARENT])
    first = psutil.Process(child_of(tmp_path / "logs" / "sleeper.log")).ppid()
    programs.check()
    assert said == []
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not running(first))
    programs.check()
    assert "sleeper ended by itself (killed by SIGKILL)" in said[0]
    log = tmp_path / "logs" / "sleeper.log"
    wait_for(lambda: len(log.read_text().split()) == 2)
    assert running(int(log.read_text().split()[-1]))


def test_a_program_that_keeps_dying_is_given_up_with_its_last_words(programs: Supervisor, said: list[str]) -> None:
    programs.start("failing", [sys.executable, "-S", "-c", "raise SystemExit('no such luck')"])

    def check() -> bool:
        programs.check()
        return False

    with pytest.raises(SupervisorError, match=r"failing .*exit code 1.*6th time.*no such luck.*Remedy"):
        wait_for(check)
    assert len(said) == 5


def test_stopping_leaves_no_grandchildren_even_of_a_program_that_was_killed(
    programs: Supervisor, tmp_path: Path
) -> None:
    programs.start("stopped", [sys.executable, "-c", PARENT])
    programs.start("killed", [sys.executable, "-c", PARENT])
    children = [child_of(tmp_path / "logs" / f"{name}.log") for name in ("stopped", "killed")]
    os.kill(psutil.Process(children[1]).ppid(), signal.SIGKILL)
    programs.stop()
    wait_for(lambda: not any(map(running, children)), seconds=2)
    assert not (tmp_path / "note.json").exists()


def test_what_a_killed_supervisor_left_is_stopped_by_the_next(programs: Supervisor, tmp_path: Path) -> None:
    programs.start("left", [sys.executable, "-c", PARENT])
    child = child_of(tmp_path / "logs" / "left.log")
    Supervisor(tmp_path / "note.json", tmp_path / "logs", dict(os.environ), print)
    wait_for(lambda: not running(child), seconds=2)


def test_a_group_number_that_is_somebody_elses_by_now_is_left_alone(programs: Supervisor, tmp_path: Path) -> None:
    programs.start("innocent", [sys.executable, "-c", PARENT])
    child = child_of(tmp_path / "logs" / "innocent.log")
    note = tmp_path / "note.json"
    note.write_text(note.read_text().replace(": ", ": 1"))  # it started at another moment
    Supervisor(note, tmp_path / "logs", dict(os.environ), print)
    assert running(child)
