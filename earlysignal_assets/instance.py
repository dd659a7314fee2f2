"""Where the Dagster instance and the ledger of a source live: a folder, a configuration and two databases."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earlysignal_assets.postgres import ensure_database, server
from earlysignal_assets.workspace import Workspace
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger.connection import Ledger, RememberingLedger

_CONFIGURATION = Path(__file__).parents[1] / "dagster.yaml"
_STORAGE = b"""
storage:
  postgres:
    postgres_url:
      env: EARLYSIGNAL_DAGSTER_URL
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")  # a folder and a part of a database's name (at most 63 bytes)


class InstanceError(EarlySignalError):
    """A Dagster instance that cannot be prepared."""


def source_folder(home: Path, source_name: str) -> Path:
    """Return the absolute folder of a source: its lake, its reports, its Dagster instance and its logs."""
    if not _NAME.fullmatch(source_name):
        raise InstanceError(
            f"`{source_name}` cannot be the name of a source, since a folder and a database are called by it. Remedy: "
            f"use letters, digits, `-`, `_` and `.` only, at most 50 and a letter or digit first (`name` in tape.json)."
        )
    return home.expanduser().resolve() / source_name


def prepare(home: Path, source_name: str, base_url: str) -> dict[str, str]:
    """Prepare the Dagster instance and the ledger's database, and return the environment that their processes need.

    Parameters
    ----------
    home : Path
        The folder of all sources.
    source_name : str
        The source's name.
    base_url : str
        The PostgreSQL server, from `earlysignal_assets.postgres.server`.

    Returns
    -------
    dict of str to str
        Environment variables. Two of them hold a database's URL, perhaps with a password.

    Raises
    ------
    EarlySignalError
        If a database cannot be created or the folder not written.
    """
    folder = source_folder(home, source_name) / "dagster"
    try:
        configuration = _CONFIGURATION.read_bytes() + _STORAGE
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "dagster.yaml"
        if not target.exists() or target.read_bytes() != configuration:
            target.write_bytes(configuration)
    except OSError as error:
        raise InstanceError(
            f"cannot prepare {folder}: {error.strerror}. Remedy: check free space and permissions, or choose another "
            f"folder by EARLYSIGNAL_HOME."
        ) from error
    return {
        "EARLYSIGNAL_HOME": str(folder.parents[1]),
        "DAGSTER_HOME": str(folder),
        "EARLYSIGNAL_DAGSTER_URL": _database(base_url, f"dagster_{source_name}"),
        "EARLYSIGNAL_LEDGER_URL": _database(base_url, f"ledger_{source_name}"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def ledger_of(workspace: Workspace) -> Iterator[Ledger]:
    """Start PostgreSQL if need be and open the workspace's ledger, at its newest revision.

    Raises
    ------
    EarlySignalError
        If PostgreSQL cannot be started or reached, or a newer version of this program has been here.
    """
    url = workspace.settings.database_url
    source_folder(workspace.home, workspace.name)  # refuses a name that cannot be a database's
    with (
        server(workspace.home, url.get_secret_value() if url else None) as base_url,
        Ledger(_database(base_url, f"ledger_{workspace.name}")) as ledger,
    ):
        ledger.migrate()
        yield ledger


@contextmanager
def replay_ledger_of(workspace: Workspace, name: str) -> Iterator[RememberingLedger]:
    """Start PostgreSQL if need be and open an empty ledger for a replay, in the schema ``replay_<name>``.

    What an earlier replay of that name has left is removed; what this one leaves stays to be looked at.

    Raises
    ------
    EarlySignalError
        As for `ledger_of`.
    """
    url = workspace.settings.database_url
    source_folder(workspace.home, workspace.name)
    with (
        server(workspace.home, url.get_secret_value() if url else None) as base_url,
        RememberingLedger(_database(base_url, f"ledger_{workspace.name}"), f"replay_{name}") as ledger,
    ):
        ledger.drop()
        ledger.migrate()
        yield ledger


def tracking_database(base_url: str) -> dict[str, str]:
    """Prepare the database of the experiments, which all workspaces of a server share, and return its variable.

    Raises
    ------
    PostgresError
        If it cannot be created.
    """
    return {"EARLYSIGNAL_TRACKING_URL": _database(base_url, "earlysignal_experiments")}


def _database(base_url: str, name: str) -> str:
    return ensure_database(base_url, re.sub(r"[^a-z0-9]", "_", name.lower()))
