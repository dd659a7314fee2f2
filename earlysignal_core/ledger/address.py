"""The address of a PostgreSQL server: read without ever showing its password."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from earlysignal_core.errors import PostgresError

DRIVER = "postgresql+psycopg2"  # what dagster-postgres needs; a bare postgresql:// is psycopg 3 in SQLAlchemy 2.1


def parse(url: str) -> URL:
    """Read a URL like ``postgresql://user:password@host:5432/database``.

    Raises
    ------
    PostgresError
        If it is not of that form. Neither the URL nor the parser's complaint is shown: both may hold the password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in {"postgres", "postgresql", DRIVER}:
        raise PostgresError(
            "the database URL is not of the form postgresql://user:password@host:5432/database (it is not shown, as it "
            "may hold a password). Remedy: correct EARLYSIGNAL_DATABASE_URL (or EARLYSIGNAL_LEDGER_URL); special "
            "characters of a password are written as in an address, `@` as %40 and `/` as %2F."
        )
    return parsed.set(drivername=DRIVER, database=parsed.database or "postgres")


def scrub(said: str, url: str) -> str:
    """Return what a driver said of an address without its password.

    A driver that cannot read an address repeats it; then nothing of what it said is kept.
    """
    if "://" in said or "dsn" in said:
        return "the address cannot be understood (it is not shown, as it may hold a password)"
    password = parse(url).password
    return said.replace(str(password), "***") if password else said


def redact(url: str) -> str:
    """Return a URL that can be shown: without its password, or ``***`` if it cannot be understood."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "***"
    shown = {key: "***" if "password" in key.lower() else value for key, value in parsed.query.items()}
    return parsed.set(query=shown).render_as_string(hide_password=True)
