"""Errors that a user can act on: each says what is wrong, where, and what to do about it."""


class EarlySignalError(Exception):
    """Base of every error that this system raises on purpose."""


class RefusalError(EarlySignalError):
    """What is asked for cannot be done as things stand. Nothing is broken: only who has asked needs to know."""


class TableError(EarlySignalError):
    """A table that does not keep its contract.

    Parameters
    ----------
    table : str
        The table's name.
    problem : str
        What is wrong with it.
    remedy : str
        What the user can do.
    row : str, optional
        The offending row, as its key or its content.
    partition : str, optional
        The quarter being written or read, like ``2018-Q3``.
    """

    def __init__(
        self, table: str, problem: str, remedy: str, row: str | None = None, partition: str | None = None
    ) -> None:
        self.table = table
        self.row = row
        where = f"table `{table}`" + (f", partition {partition}" if partition else "") + (f", row {row}" if row else "")
        super().__init__(f"{where}: {problem}. Remedy: {remedy}.")


class SourceError(EarlySignalError):
    """A source that cannot be read: a missing folder, a broken description, a setting that contradicts it."""


class LakeError(EarlySignalError):
    """The lake cannot be read or written."""


class MissingPartitionError(LakeError):
    """A partition was asked for that the lake does not hold."""

    def __init__(self, table: str, partition: str) -> None:
        super().__init__(
            f"table `{table}` has no partition {partition} in the lake. Remedy: materialise it first "
            f"(`earlysignal backfill`, or the asset in the Dagster UI)."
        )


class PostgresError(EarlySignalError):
    """PostgreSQL cannot be started or reached, or refuses what is asked of it."""
