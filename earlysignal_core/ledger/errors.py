"""What the ledger refuses, and why."""

from earlysignal_core.errors import EarlySignalError, RefusalError


class LedgerError(EarlySignalError):
    """The ledger cannot do what is asked of it."""


class BrokenConstraintError(LedgerError):
    """A row that the database refuses.

    Attributes
    ----------
    constraint : str
        The name of the constraint that it would break.
    """

    def __init__(self, message: str, constraint: str) -> None:
        self.constraint = constraint
        super().__init__(message)


class NotPossibleError(LedgerError, RefusalError):
    """What is asked for does not follow from how things stand in the ledger."""


class ConflictError(LedgerError, RefusalError):
    """Somebody else was first: what this rests on is no longer so. What was to be recorded with it was not."""
