"""The PostgreSQL behind Dagster and the ledger: the server that a URL names, else the embedded one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from sqlalchemy import URL

from earlysignal_assets.embedded_postgres import embedded
from earlysignal_core.errors import PostgresError
from earlysignal_core.ledger.address import parse, redact, scrub

__all__ = ["ensure_database", "redact", "server"]

_logger = logging.getLogger(__name__)


@contextmanager
def server(home: Path, url: str | None = None) -> Iterator[str]:
    """Provide a PostgreSQL server for as long as the context lasts.

    Parameters
    ----------
    home : Path
        The folder that holds the embedded server's data, in ``postgres``; created if need be.
    url : str, optional
        A server to use instead of the embedded one, like ``postgresql://user:password@host:5432/postgres``.

    Yields
    ------
    str
        The server's URL, for SQLAlchemy with psycopg2. It may hold a password: show it only through `redact`.

    Raises
    ------
    PostgresError
        If the server cannot be started or reached.
    """
    if url is not None:
        named = parse(url)
        with _connect(named):
            pass
        yield _text(named)
    else:
        with embedded(home) as started:
            yield _text(started)


def ensure_database(base_url: str, name: str) -> str:
    """Create a database unless it is there, and return its URL.

    Raises
    ------
    PostgresError
        If the server cannot be reached, or its user may not create databases.
    """
    base = parse(base_url)
    with _connect(base) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if cursor.fetchone() is None:
            # template0, because two processes cannot copy template1 at the same time
            create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
            try:
                cursor.execute(create)
            except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
                _logger.debug("another process created the database %s meanwhile", name)
            except psycopg2.errors.InsufficientPrivilege:
                raise PostgresError(
                    f"user `{base.username}` may not create the database `{name}` on {redact(base_url)}. Remedy: have "
                    f'its administrator run CREATE DATABASE "{name}" OWNER "{base.username}".'
                ) from None
    return _text(base.set(database=name))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def _connect(url: URL) -> Iterator[Connection]:
    try:
        connection = psycopg2.connect(_text(url.set(drivername="postgresql")), connect_timeout=10)
    except psycopg2.Error as error:
        raise PostgresError(
            f"cannot reach PostgreSQL at {redact(_text(url))}: {scrub(' '.join(str(error).split()), _text(url))}. "
            f"Remedy: check the "
            f"address, the user and that the server runs; without EARLYSIGNAL_DATABASE_URL an embedded server is used."
        ) from None
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()
