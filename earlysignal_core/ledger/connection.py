"""A ledger: one schema of a PostgreSQL database, and the transactions in which it is read and written."""

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import psycopg2
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - it is a class
from sqlalchemy import Connection, Table, UpdateBase, create_engine, event, text
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.exc import DBAPIError

from earlysignal_core.errors import PostgresError
from earlysignal_core.ledger import migrations
from earlysignal_core.ledger.address import parse, redact, scrub
from earlysignal_core.ledger.encoding import to_json
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LOST = ("08", "57P")  # classes of SQLSTATE: the connection broke, the server was stopped
_CHANGES_NOTHING = ("SELECT", "SAVEPOINT", "RELEASE", "LOCK")
_NOT_THERE = ("42P01", "3F000")  # no such table, no such schema
_EVERY_TABLE = "*"
_WRITTEN = "written"  # within this transaction, by the name of the table


class Ledger:
    """The ledger in one schema of a database.

    Connections are pooled and opened when first needed. Everything that writes takes a ledger and runs in a
    transaction of its own, or in that of `transaction`.

    Parameters
    ----------
    url : str
        Like ``postgresql://user:password@host:5432/database``.
    schema : str
        Where its tables are: a replay has a schema of its own.

    Raises
    ------
    PostgresError
        If the URL cannot be understood.
    LedgerError
        If the schema's name is not made of lower-case letters, digits and underscores.
    """

    _may_outlive_the_server = True

    def __init__(self, url: str, schema: str = "ledger") -> None:
        if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
            raise LedgerError(
                f"`{schema}` cannot be the schema of a ledger. Remedy: use lower-case letters, digits and underscores, "
                f"at most 63, a letter first, and not `pg_` (which PostgreSQL keeps for itself)."
            )
        self.schema = schema
        self._url, self._shown = url, redact(url)
        self._joined: Connection | None = None
        self._engine = create_engine(
            parse(url),
            pool_pre_ping=self._may_outlive_the_server,  # noticed before a statement is sent to it
            hide_parameters=True,
            json_serializer=to_json,
            connect_args={"connect_timeout": 10, "application_name": "earlysignal ledger", "client_encoding": "utf8"},
        )
        event.listen(self._engine, "connect", self._settle)

    def migrate(self) -> None:
        """Bring the schema and its tables to the newest revision; create them if need be.

        Does nothing where they are; of several processes at once one works and the others wait for it.

        Raises
        ------
        LedgerError
            If a newer version of this program has been here.
        """
        with self.begin() as connection:
            migrations.alone(connection, self.schema)
            migrations.upgrade(connection, self.schema)

    def drop(self) -> None:
        """Remove the schema with all that is recorded in it; one that is not there is no error."""
        with self.begin() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE"))

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """Provide this ledger with everything done through it in one transaction: all of it happens, or nothing.

        A function that fails within it undoes only its own part, so that the caller may go on.
        """
        with self.begin() as connection:
            joined = copy.copy(self)
            joined._joined = connection
            yield joined

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Provide a connection within a transaction, which is committed unless an exception leaves the context.

        Raises
        ------
        PostgresError
            If the server cannot be reached, or is lost on the way.
        BrokenConstraintError
            If a row breaks a constraint of the database.
        LedgerError
            If the database refuses for another reason; names it.
        """
        try:
            if self._joined is None:
                with self._engine.begin() as connection:
                    yield connection
            else:
                with self._joined.begin_nested():
                    yield self._joined
        except (DBAPIError, psycopg2.Error) as error:
            original = error.orig if isinstance(error, DBAPIError) else error
            if not isinstance(original, psycopg2.Error):
                raise
            raise self._explained(original) from None

    @property
    def is_joined(self) -> bool:
        """Whether it is within a transaction, so that what is read may still be undone."""
        return self._joined is not None

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self._shown!r}, schema={self.schema!r})"

    def _settle(self, connection: DriverConnection, _record: Any) -> None:
        """Let every new connection see this schema only, and write moments in UTC."""
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('search_path', %s, false), set_config('timezone', 'UTC', false)", [self.schema]
            )
        connection.autocommit = False

    def _explained(self, error: psycopg2.Error) -> PostgresError | LedgerError:
        where = f"the ledger `{self.schema}` at {self._shown}"
        said = " ".join(str(error).split())
        if error.pgcode is None:  # it comes from the driver, which may repeat the address
            said = scrub(said, self._url)
        code = error.pgcode or _LOST[0]  # no code: there was no server to give one
        if code.startswith(_LOST):
            return PostgresError(
                f"cannot reach {where}: {said}. Remedy: check the address, the user and that the server runs."
            )
        if code in _NOT_THERE:
            return LedgerError(f"{where} is not prepared ({said}). Remedy: run its migrations (`Ledger.migrate`).")
        if isinstance(error, psycopg2.IntegrityError):
            return BrokenConstraintError(f"{where} refuses the row: {said}.", error.diag.constraint_name or "")
        return LedgerError(f"{where} refuses: {said}.")


class RememberingLedger(Ledger):
    """A ledger that keeps in memory what it has read of a table until it writes there: for who lives years of days.

    Only for one who writes alone, and through this object: what others write is not seen.

    Parameters
    ----------
    url, schema : str
        As for `Ledger`.
    """

    _may_outlive_the_server = False

    def __init__(self, url: str, schema: str) -> None:
        super().__init__(url, schema)
        self.memory = Memory()
        event.listen(self._engine, "begin", self._note_begin)
        event.listen(self._engine, "before_cursor_execute", self._note_statement)
        for end in ("commit", "rollback", "rollback_savepoint"):
            event.listen(self._engine, end, self._note_end)

    def _settle(self, connection: DriverConnection, record: Any) -> None:
        super()._settle(connection, record)
        with connection.cursor() as cursor:  # what a loss of power takes can be lived again
            cursor.execute("SET synchronous_commit = off")
        connection.commit()

    def _note_begin(self, connection: Connection) -> None:
        connection.info[_WRITTEN] = set()

    def _note_statement(
        self, connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: ExecutionContext, *_: Any
    ) -> None:
        changes = context.compiled.statement if context.compiled is not None else None
        if isinstance(changes, UpdateBase):
            table = changes.entity_description["table"].name
        elif statement.lstrip().startswith(_CHANGES_NOTHING):
            return
        else:
            table = _EVERY_TABLE
        self.memory.forget(table)
        connection.info[_WRITTEN].add(table)

    def _note_end(self, connection: Connection, *_: Any) -> None:
        """Forget what was written once more: from now on others see it, or it is undone."""
        for table in connection.info[_WRITTEN]:
            self.memory.forget(table)


class Memory:
    """What has been read of each table since it was last written.

    Attributes
    ----------
    lasting : dict of str to Any
        What a module keeps longer, of rows that nobody can change.
    """

    def __init__(self) -> None:
        self.lasting: dict[str, Any] = {}
        self._writes: Counter[str] = Counter()
        self._answers: dict[Any, tuple[int, Any]] = {}

    def writes(self, table: str) -> int:
        """Return a number that grows with all that may have changed a table."""
        return self._writes[table] + self._writes[_EVERY_TABLE]

    def forget(self, table: str) -> None:
        """Read a table anew when it is asked for: it is written, or what was written there is undone."""
        self._writes[table] += 1

    def answer(self, question: Any, table: str, read: Callable[[], Any]) -> Any:
        """Return the answer to a question about a table, read if it has not been asked since the last write."""
        known = self._answers.get(question)
        if known is None or known[0] != self.writes(table):
            known = self._answers[question] = (self.writes(table), read())
        return known[1]


Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def remembered(
    table: Table,
) -> Callable[[Callable[Concatenate[Ledger, Asked], Answer]], Callable[Concatenate[Ledger, Asked], Answer]]:
    """Let a ledger that remembers answer a function of one table from memory; what it returns must be immutable."""

    def remembering(
        read: Callable[Concatenate[Ledger, Asked], Answer],
    ) -> Callable[Concatenate[Ledger, Asked], Answer]:
        @wraps(read)
        def reading(ledger: Ledger, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
            if not isinstance(ledger, RememberingLedger):
                return read(ledger, *args, **kwargs)
            question = (read, args, tuple(sorted(kwargs.items())))
            answer: Answer = ledger.memory.answer(question, table.name, lambda: read(ledger, *args, **kwargs))
            return answer

        return reading

    return remembering
