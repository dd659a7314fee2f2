"""Stops asking a provider that will not answer."""

import threading

from earlysignal_core.sources.live.errors import BreakerOpenError, ProviderError


class Breaker:
    """Opens after several failures in a row, or at the first that makes every other question hopeless.

    Only failures of the provider count: that it does not cover one symbol says nothing of the next.

    Parameters
    ----------
    after : int
        Failures in a row.
    """

    def __init__(self, after: int = 5) -> None:
        self._after = after
        self._in_a_row = 0
        self._cause: ProviderError | None = None
        self._lock = threading.Lock()

    def check(self, provider: str, asked: str) -> None:
        """Refuse where it is open.

        Raises
        ------
        BreakerOpenError
            Names the failure that opened it.
        """
        with self._lock:
            cause = self._cause
        if cause is not None:
            raise BreakerOpenError(provider, asked, f"not asked any more, since {cause}") from cause

    def succeeded(self) -> None:
        """Count an answer."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: ProviderError) -> None:
        """Count a failure that all retries did not mend."""
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if error.may_pass or error.hopeless else 0
            if self._cause is None and (error.hopeless or self._in_a_row >= self._after):
                self._cause = error
