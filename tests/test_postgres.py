"""The embedded server starts anywhere, is shared, survives whatever is killed, and never shows a password."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from earlysignal_assets.embedded_postgres import PostgresError, ensure_running, is_running
from earlysignal_assets.postgres import ensure_database, redact, server

HOLD = """
import sys, time
from pathlib import Path
from earlysignal_assets.postgres import server
with server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is deep (longer than a socket's name may be) and odd, with a database in it."""
    folder = tmp_path_factory.mktemp("deep") / ("a folder of Zoë's, 100 %" + "/deep" * 20)
    with server(folder) as url:
        query(url, "CREATE TABLE kept (value int)", "INSERT INTO kept VALUES (42)")
    assert not is_running(folder)
    return folder


def query(url: str, *statements: str) -> list[object]:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        results = [connection.execute(text(statement)) for statement in statements]
        return list(results[-1].scalars()) if results[-1].returns_rows else []


def postmaster(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@contextmanager
def another_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the server until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql+psycopg2://")
        yield process


def test_data_survive_a_restart_and_the_users_own_postgres_settings_do_not_matter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with server(home) as url:
        assert query(url, "SELECT value FROM kept") == [42]


def test_the_server_listens_on_a_private_socket_only(home: Path) -> None:
    with server(home) as url:
        assert query(url, "SHOW listen_addresses") == [""]
        (folder,) = query(url, "SHOW unix_socket_directories")
        assert Path(str(folder)).stat().st_mode & 0o077 == 0


def test_the_last_of_several_processes_stops_the_server(home: Path) -> None:
    with another_process(home) as other:
        with server(home) as url:
            assert query(url, "SELECT value FROM kept") == [42]
        assert is_running(home)
        other.communicate("")
    assert not is_running(home)


def test_a_killed_process_does_not_keep_the_server_for_ever(home: Path) -> None:
    with another_process(home) as other:
        other.kill()
    assert is_running(home)
    with server(home):
        pass
    assert not is_running(home)


def test_a_killed_server_comes_back_with_what_was_committed(home: Path) -> None:
    with server(home) as url:
        query(url, "CREATE TABLE IF NOT EXISTS committed (value int)", "INSERT INTO committed VALUES (7)")
        postmaster(home).kill()
        wait_for(lambda: not is_running(home))
        assert ensure_running(home).render_as_string(hide_password=False) == url
        assert query(url, "SELECT value FROM committed") == [7]


@pytest.mark.parametrize("now", ["something else", "a dead server that nobody has buried"])
def test_a_process_number_that_is_no_server_any_more(home: Path, monkeypatch: pytest.MonkeyPatch, now: str) -> None:
    """As after a power cut: the note still says `ready`, and its number belongs to a process of the same user."""
    monkeypatch.setattr("earlysignal_assets.embedded_postgres._START_SECONDS", 1)
    with another_process(home):
        note = home / "postgres" / "postmaster.pid"
        left = note.read_text().splitlines()
    (home / "programs").mkdir(exist_ok=True)
    program = shutil.copy("/bin/sleep", home / "programs" / ("postgres" if "dead" in now else "innocent"))
    seconds = "0" if "dead" in now else "60"
    owner = (home / "postgres").stat()
    with subprocess.Popen([program, seconds], user=owner.st_uid, group=owner.st_gid) as process:
        if "dead" in now:
            wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        note.write_text("\n".join([str(process.pid), *left[1:]]))
        with server(home) as url:
            assert query(url, "SELECT value FROM kept") == [42]
        process.kill()


def test_a_server_that_is_not_ready_yet_is_waited_for(home: Path) -> None:
    with another_process(home):
        note = home / "postgres" / "postmaster.pid"
        ready = note.read_text()
        note.write_text(ready.replace("ready", "starting"))
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(ensure_running, home)
            time.sleep(0.5)
            assert not starting.done()
            note.write_text(ready)
            starting.result(timeout=10)


def test_half_an_initialisation_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with server(tmp_path) as url:
        assert query(url, "SELECT 1") == [1]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(PostgresError, match=r"could not start in .*Remedy"), server(tmp_path):
        pass


def test_a_home_that_is_no_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PostgresError, match="Remedy: choose another by EARLYSIGNAL_HOME"), server(tmp_path / "file"):
        pass


def test_too_long_a_name_for_the_socket_is_explained(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/" + "x" * 90)
    with pytest.raises(PostgresError, match="Remedy: set TMPDIR"), server(home):
        pass


def test_a_database_is_made_once_however_many_ask(postgres_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        urls = set(pool.map(lambda _: ensure_database(postgres_url, "made-once"), range(6)))
    (url,) = urls
    assert query(url, "SELECT current_database()") == ["made-once"]
    assert ensure_database(postgres_url, "made-once") == url


def test_who_may_not_make_databases_is_told_what_to_ask_for(postgres_url: str) -> None:
    query(postgres_url, "CREATE ROLE humble LOGIN PASSWORD 'secret'")
    humble = postgres_url.replace("postgres@", "humble:secret@")
    with pytest.raises(PostgresError, match=r'CREATE DATABASE "ledger" OWNER "humble"') as caught:
        ensure_database(humble, "ledger")
    assert "secret" not in str(caught.value)


def test_a_named_server_is_used_instead_of_the_embedded_one(postgres_url: str, tmp_path: Path) -> None:
    plain = postgres_url.replace("postgresql+psycopg2", "postgresql")
    with server(tmp_path, plain) as url:
        assert url == postgres_url
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:1/db",
        "postgresql://me:hunter2@127.0.0.1:1/db?sslpassword=hunter2",
        "postgresql://me:hun/ter2@host/db",
        "postgresql://me:p@hunter2:x/db",
        "mysql://me:hunter2@host/db",
        "hunter2",
    ],
)
def test_a_server_out_of_reach_or_no_server_at_all_is_explained_without_the_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match="Remedy") as caught, server(tmp_path, url):
        pass
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(password=st.text(min_size=4).map(lambda drawn: f"PW{drawn}PW"))
def test_redacted_urls_hold_no_password(password: str) -> None:
    url = URL.create("postgresql", "me", password, "host", 5432, "db", {"sslpassword": password})
    shown = redact(url.render_as_string(hide_password=False))
    assert "PW" not in shown
    assert "me:***@host" in shown


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_anothers_database_is_explained(home: Path) -> None:
    (home / "postgres").chmod(0)
    try:
        with pytest.raises(PostgresError, match="another user"), server(home):
            pass
    finally:
        (home / "postgres").chmod(0o700)


def test_an_interrupt_of_the_terminal_does_not_reach_the_server(home: Path) -> None:
    with another_process(home) as other:
        other.send_signal(signal.SIGINT)
        other.wait(30)
    assert not is_running(home), "the interrupted process has stopped the server in order"
