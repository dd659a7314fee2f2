"""What several tests share: the real tapes, a PostgreSQL server, an environment without the developer's settings."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings

_TAPES = Path(os.environ.get("EARLYSIGNAL_TEST_TAPES", Path(__file__).parents[2] / "shared" / "tapes"))

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

for name in [name for name in os.environ if name.startswith(("EARLYSIGNAL_", "DAGSTER_"))]:
    del os.environ[name]  # at import time: definitions read the settings when they are loaded


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give root a folder of its own: every new session of root's closes pytest's usual one to PostgreSQL's user."""
    if os.geteuid() == 0 and config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = mkdtemp(prefix="earlysignal-test-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


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


def _tape(name: str) -> Path:
    path = _TAPES / name
    if not (path / "tape.json").exists():
        pytest.skip(f"no tape at {path}: set EARLYSIGNAL_TEST_TAPES to the folder that holds `{name}`")
    return path
