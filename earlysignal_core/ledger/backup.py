"""Backup and restore: the whole ledger in one file, by any program that can read a zip archive of CSV."""

import json
import uuid
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from psycopg2 import sql
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - it is a class
from sqlalchemy import Connection, column, func, literal, select, text
from sqlalchemy import table as table_named

from earlysignal_core.ledger import migrations
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.schema import metadata

_MANIFEST = "ledger.json"
_FORMAT = 1


class BackupError(LedgerError):
    """A backup that cannot be written, or read back."""


def backup(ledger: Ledger, path: Path) -> dict[str, int]:
    """Write the ledger, as it is at one moment, to a new file; those who write meanwhile are not held up.

    Returns
    -------
    dict of str to int
        The rows of each table.

    Raises
    ------
    BackupError
        If the file exists, or cannot be written.
    LedgerError
        If the ledger is not at the newest revision.

    Notes
    -----
    The archive holds ``<table>.csv`` for each table, in an order in which they can be read back, and `ledger.json`:
    the revision of the schema, and the columns and number of rows of each table.
    """
    if path.exists():
        raise BackupError(f"{path} exists already and is not overwritten. Remedy: choose another name.")
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive, ledger.begin() as connection:
            tables = _write(connection, archive)
        unfinished.rename(path)
    except OSError as error:
        raise BackupError(
            f"cannot write {path}: {error.strerror}. Remedy: check the folder, free space and permissions."
        ) from error
    finally:
        with suppress(OSError):  # where it could not be made, it is not there
            unfinished.unlink()
    return {name: table["rows"] for name, table in tables.items()}


def restore(ledger: Ledger, path: Path) -> dict[str, int]:
    """Read a backup into an empty ledger, or one that is not there yet: all of it, or nothing.

    A backup of an older revision is upgraded in the same transaction.

    Returns
    -------
    dict of str to int
        The rows of each table.

    Raises
    ------
    BackupError
        If the file is no backup, is damaged, or comes from a newer version of this program; or if the ledger holds
        anything.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is damaged")
            manifest = _manifest(archive, path)
            with ledger.begin() as connection:
                _read(connection, ledger.schema, archive, manifest)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BackupError(
            f"{path} cannot be read as a backup ({error}); the ledger is as it was. Remedy: use another copy of it."
        ) from error
    return {name: table["rows"] for name, table in manifest["tables"].items()}


def _write(connection: Connection, archive: zipfile.ZipFile) -> dict[str, Any]:
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    revision = migrations.current(connection)
    if revision != migrations.head():
        raise BackupError(
            f"the ledger is at revision {revision}, not {migrations.head()}. Remedy: run its migrations first."
        )
    tables: dict[str, Any] = {}
    for table in metadata.sorted_tables:
        columns = [column.name for column in table.columns]
        with archive.open(f"{table.name}.csv", "w", force_zip64=True) as file:
            tables[table.name] = {"columns": columns, "rows": _copy(connection, table.name, columns, "TO STDOUT", file)}
    manifest = {"format": _FORMAT, "revision": revision, "tables": tables}
    archive.writestr(_MANIFEST, json.dumps(manifest, indent=2))
    return tables


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
        revision, written_as = manifest["revision"], manifest["format"]
        missing = {f"{name}.csv" for name in manifest["tables"]} - set(archive.namelist())
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BackupError(f"{path} is no backup of a ledger. Remedy: name the right file.") from error
    if written_as != _FORMAT or not migrations.is_known(revision):
        raise BackupError(
            f"{path} holds a ledger of revision {revision}, which this version of EarlySignal does not know: a newer "
            f"one has written it. Remedy: install that version."
        )
    if missing:
        raise BackupError(f"{path} lacks {', '.join(sorted(missing))}. Remedy: use another copy of it.")
    return manifest


def _read(connection: Connection, schema: str, archive: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
    migrations.alone(connection, schema)
    now = migrations.current(connection)
    if now is not None:
        if not migrations.is_known(now):
            raise BackupError(
                f"the ledger `{schema}` is at revision {now}, which this version of EarlySignal does not know. Remedy: "
                f"restore into another schema or database, or install that version."
            )
        _refuse_if_filled(connection, schema)
    if now not in (None, manifest["revision"]):
        migrations.downgrade(connection, schema, manifest["revision"])
    migrations.upgrade(connection, schema, manifest["revision"])
    for name, table in manifest["tables"].items():
        with archive.open(f"{name}.csv") as file:
            rows = _copy(connection, name, table["columns"], "FROM STDIN", file)
        if rows != table["rows"]:
            raise BackupError(
                f"table `{name}` has {rows} rows where {table['rows']} were written. Remedy: another copy."
            )
        if "id" in table["columns"]:
            highest = select(func.max(column("id"))).select_from(table_named(name)).scalar_subquery()
            connection.execute(select(func.setval(func.pg_get_serial_sequence(name, "id"), highest)))
    migrations.upgrade(connection, schema)


def _refuse_if_filled(connection: Connection, schema: str) -> None:
    listed = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema AND tablename <> :version ORDER BY 1")
    for name in connection.scalars(listed, {"schema": schema, "version": migrations.VERSION_TABLE}).all():
        connection.execute(text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))
        if connection.scalar(select(select(literal(1)).select_from(table_named(name)).exists())):
            raise BackupError(
                f"the ledger `{schema}` is not empty: table `{name}` has rows. Nothing is changed. Remedy: restore "
                f"into an empty one: another EARLYSIGNAL_HOME, or another database."
            )


def _copy(connection: Connection, table: str, columns: list[str], direction: str, file: IO[bytes]) -> int:
    driver = cast("DriverConnection", connection.connection.driver_connection)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) {} (FORMAT csv, HEADER)").format(sql.Identifier(table), names, sql.SQL(direction))
    with driver.cursor() as cursor:
        cursor.copy_expert(statement, file)
        return cursor.rowcount
