"""What several tests share: the real tapes, a PostgreSQL server, an environment without the developer's settings."""

import fcntl
import os
import shutil
import ssl
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from earlysignal_core.lake import Lake
    from earlysignal_core.ledger.connection import Ledger

_TAPES = Path(os.environ.get("EARLYSIGNAL_TEST_TAPES", Path(__file__).parents[2] / "shared" / "tapes"))

# Half a minute and more each, the longest first; the order matters to `--no-loadscope-reorder` only.
_LONGEST = (
    *("walk_forward", "up", "real_walk_forward", "daily", "leaks", "outcomes", "damaged_models", "live_source"),
    *("replay", "serving", "quarterly", "performance", "drift"),
)

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

_OURS = [name for name in os.environ if name.startswith(("EARLYSIGNAL_", "DAGSTER_"))]
for name in set(_OURS) - {"EARLYSIGNAL_TEST_TAPES"}:  # which every worker reads
    del os.environ[name]  # at import time: definitions read the settings when they are loaded


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give root a folder of its own: every new session of root's closes pytest's usual one to PostgreSQL's user."""
    if os.geteuid() == 0 and config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = mkdtemp(prefix="earlysignal-test-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take longest begin first, so that no worker is left alone with one of them at the end."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem.removeprefix("test_"), len(order)))


@pytest.fixture(scope="session", autouse=True)
def _authorities_are_read_once() -> Iterator[None]:
    """Each client of a provider reads all certificate authorities, which takes 50 ms, also to ask a stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def sp500() -> Path:
    """The long tape: 2012 to 2018."""
    return _tape("sp500")


@pytest.fixture(scope="session")
def sp500_recent() -> Path:
    """The recent tape."""
    return _tape("sp500-recent")


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An embedded PostgreSQL server for the whole session; make databases of your own with `ensure_database`."""
    from earlysignal_assets.postgres import server

    with server(tmp_path_factory.mktemp("postgres-home")) as url:
        yield url


@pytest.fixture(scope="session")
def ledger_url(postgres_url: str) -> str:
    """A database for ledgers, each in a schema of its own; its server need not survive a loss of power."""
    from sqlalchemy import create_engine

    from earlysignal_assets.postgres import ensure_database

    with create_engine(postgres_url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    return ensure_database(postgres_url, "ledgers")


@pytest.fixture(scope="session")
def _shared_ledger(ledger_url: str) -> "Iterator[Ledger]":
    from earlysignal_core.ledger.connection import Ledger

    with Ledger(ledger_url) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def ledger(_shared_ledger: "Ledger") -> "Ledger":
    """An empty ledger: emptying one takes a tenth of the time of making one."""
    from ledgers import empty

    empty(_shared_ledger)
    return _shared_ledger


@pytest.fixture
def new_ledger(ledger_url: str) -> "Iterator[Ledger]":
    """A ledger that is not there yet."""
    from earlysignal_core.ledger.connection import Ledger

    with Ledger(ledger_url, f"new_{uuid.uuid4().hex}") as opened:
        yield opened
        with opened.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {opened.schema} CASCADE")


@pytest.fixture(scope="session")
def production_lake(tmp_path_factory: pytest.TempPathFactory) -> "Lake":
    """A lake with history and the models of two quarters, to be read only: `production.copied` makes one to break.

    The first worker that asks for it makes it, and all read the same.
    """
    from production import make_lake

    from earlysignal_core.lake import Lake

    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "production"
    finished = folder / "finished"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed on the way
            make_lake(folder)
            finished.touch()
    return Lake(str(folder / "lake"))


def _tape(name: str) -> Path:
    path = _TAPES / name
    if not (path / "tape.json").exists():
        pytest.skip(f"no tape at {path}: set EARLYSIGNAL_TEST_TAPES to the folder that holds `{name}`")
    return path


@pytest.fixture(scope="session")
def samples() -> Path:
    """Real documents of the providers."""
    path = _TAPES.parent / "samples"
    if not path.is_dir():
        pytest.skip(f"no samples at {path}")
    return path
