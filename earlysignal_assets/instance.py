"""Where the Dagster instance of a source lives: its folder, its configuration and its database."""

import re
from pathlib import Path

from earlysignal_assets.postgres import ensure_database
from earlysignal_core.errors import EarlySignalError

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
    """Prepare the Dagster instance of a source, and return the environment that its processes need.

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
        Environment variables. One of them holds the database's URL, perhaps with a password.

    Raises
    ------
    EarlySignalError
        If the database cannot be created or the folder not written.
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
    database = re.sub(r"[^a-z0-9]", "_", f"dagster_{source_name}".lower())
    return {
        "EARLYSIGNAL_HOME": str(folder.parents[1]),
        "DAGSTER_HOME": str(folder),
        "EARLYSIGNAL_DAGSTER_URL": ensure_database(base_url, database),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
