"""Programs that run together: started in groups of their own, started again when they die, stopped without orphans.

Each program leads a process group, because Dagster's programs start others (code servers, and one process a run) that
outlive them. A group gets an interrupt, upon which a run reports itself as failed and to be retried, and what is left
of it after a while is killed. The groups are noted in a file, so that a supervisor that was itself killed has them
stopped by the next one.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from earlysignal_core.errors import EarlySignalError

_STOP_SECONDS = 10.0
_MOST_DEATHS = 5
_WITHIN_SECONDS = 300.0


class SupervisorError(EarlySignalError):
    """A program that does not stay alive."""


@dataclass
class _Program:
    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Starts programs, watches them and stops them.

    Parameters
    ----------
    note : Path
        The file that remembers the groups; what it still names is stopped at once.
    logs : Path
        The folder of the programs' output, in ``<name>.log``; the previous one is kept as ``<name>.log.before``.
    environment : mapping of str to str
        The programs' environment.
    say : callable
        Tells the user of a death.
    """

    def __init__(self, note: Path, logs: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._note = note
        self._logs = logs
        self._environment = environment
        self._say = say
        self._programs: list[_Program] = []
        self._groups: dict[int, float] = {}  # the leader's process number, and when it started
        logs.mkdir(parents=True, exist_ok=True)
        if note.exists():
            _stop_groups(_ours(json.loads(note.read_text())))
            note.unlink()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program."""
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_name(f"{log.name}.before"))
        program = _Program(name, command, log)
        self._programs.append(program)
        self._launch(program)

    def check(self) -> None:
        """Start again what has died.

        Raises
        ------
        SupervisorError
            If a program dies too often.
        """
        for program in self._programs:
            if program.process is None or program.process.poll() is None:
                continue
            now = time.monotonic()
            program.deaths = [death for death in program.deaths if now - death < _WITHIN_SECONDS] + [now]
            ended = f"the {program.name} ended by itself ({_reason(program.process.returncode)})"
            if len(program.deaths) > _MOST_DEATHS:
                raise SupervisorError(
                    f"{ended}, for the {len(program.deaths)}th time in {_WITHIN_SECONDS / 60:.0f} minutes. Its last "
                    f"words: {_last_words(program.log)}. Remedy: read {program.log}."
                )
            self._say(f"{ended}; started again (log: {program.log})")
            self._launch(program)

    def stop(self) -> None:
        """Stop every program and all that they have started."""
        for program in self._programs:
            if program.process is not None:
                program.process.poll()
        _stop_groups(_ours(self._groups))
        for program in self._programs:
            if program.process is not None:
                program.process.wait()
        self._note.unlink(missing_ok=True)

    def _launch(self, program: _Program) -> None:
        with program.log.open("ab") as log:
            program.process = subprocess.Popen(  # noqa: S603 - commands of this package
                program.command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._groups[program.process.pid] = psutil.Process(program.process.pid).create_time()
        self._groups = {group: self._groups[group] for group in _ours(self._groups)}
        self._note.write_text(json.dumps(self._groups))


def _ours(noted: Mapping[int, float] | Mapping[str, float]) -> list[int]:
    """Return the noted groups that still have members: a leader that started at another moment is somebody else's."""
    groups: list[int] = []
    for group, started in ((int(key), value) for key, value in noted.items()):
        try:
            same = psutil.Process(group).create_time() == started
        except psutil.NoSuchProcess:
            same = True  # as long as a group has members, no other process gets its number
        if same and _members([group]):
            groups.append(group)
    return groups


def _stop_groups(groups: Iterable[int]) -> None:
    groups = list(groups)
    for sign in (signal.SIGINT, signal.SIGKILL):
        for group in groups:
            if _members([group]):
                os.killpg(group, sign)
        deadline = time.monotonic() + _STOP_SECONDS
        while _members(groups) and time.monotonic() < deadline:
            time.sleep(0.1)


def _members(groups: Iterable[int]) -> list[int]:
    """Return the living processes of some groups."""
    wanted = set(groups)
    living: list[int] = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) in wanted and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process.pid)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return living


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "none"
