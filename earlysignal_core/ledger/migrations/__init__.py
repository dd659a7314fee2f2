"""The steps by which the ledger's tables came to be; alembic runs those that a schema has not seen.

A new step is a file in `versions`, named after its revision, with `upgrade` and `downgrade` (a backup of an older
revision is restored at that revision and then upgraded). It names tables without a schema: the search path does.
"""

import threading

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from earlysignal_core.ledger.errors import LedgerError

VERSION_TABLE = "alembic_version"
_ONE_THREAD = threading.Lock()  # alembic keeps the running migration in global variables


def alone(connection: Connection, schema: str) -> None:
    """Wait until no other process migrates or restores this schema, and keep them out until the transaction ends."""
    key = f"earlysignal ledger {schema}"
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
    if connection.scalar(text("SELECT to_regnamespace(:schema) IS NULL"), {"schema": schema}):
        connection.execute(text(f"CREATE SCHEMA {schema}"))


def current(connection: Connection) -> str | None:
    """Return the revision of the schema that the connection sees, or None where it has no ledger."""
    if connection.scalar(text("SELECT to_regclass(:table) IS NULL"), {"table": VERSION_TABLE}):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return revision


def head() -> str:
    """Return the newest revision."""
    return _revisions()[0]


def is_known(revision: str) -> bool:
    """Say whether this version of the program has the steps to a revision."""
    return revision in _revisions()


def upgrade(connection: Connection, schema: str, revision: str | None = None) -> None:
    """Run the steps up to a revision, or to the newest."""
    now = current(connection)
    if now is not None and not is_known(now):
        raise LedgerError(
            f"the ledger `{schema}` is at revision {now}, which this version of EarlySignal does not know: a newer "
            f"one has upgraded it. Remedy: install that version, or name another database or schema."
        )
    if now != (revision or head()):
        with _ONE_THREAD:
            command.upgrade(_configuration(connection, schema), revision or "head")


def downgrade(connection: Connection, schema: str, revision: str) -> None:
    """Undo the steps after a revision."""
    with _ONE_THREAD:
        command.downgrade(_configuration(connection, schema), revision)


def _configuration(connection: Connection | None = None, schema: str | None = None) -> Config:
    configuration = Config(attributes={"connection": connection, "schema": schema})
    configuration.set_main_option("script_location", f"{__name__.rpartition('.')[0]}:migrations")
    return configuration


def _revisions() -> list[str]:
    """Return all revisions, newest first."""
    steps = ScriptDirectory.from_config(_configuration()).walk_revisions()
    return [step.revision for step in steps]
