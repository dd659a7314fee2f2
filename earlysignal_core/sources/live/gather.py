"""One question for each of many companies: side by side, stopped early where it is hopeless, with every gap named."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from earlysignal_core.sources.live.errors import BreakerOpenError, IncompleteError, ProviderError
from earlysignal_core.sources.source import Gap

_HOPELESS = 10
"""Failures from the beginning on, without one success: what is asked for is not to be had at all."""

T = TypeVar("T")


@dataclass(frozen=True)
class Gathered(Generic[T]):
    """What was answered, by what was asked, and what was not."""

    answers: dict[str, T]
    gaps: list[Gap]


def gather(table: str, items: Iterable[str], ask: Callable[[str], T], workers: int, may_miss: float) -> Gathered[T]:
    """Ask for every item.

    Parameters
    ----------
    table : str
        For messages.
    items : iterable of str
        Like symbols.
    ask : callable
        Asks for one.
    workers : int
        Side by side: the provider's limit is shared, a slow answer holds up only one.
    may_miss : float
        The share that may be missing.

    Raises
    ------
    IncompleteError
        If more is missing; names it and the first cause.
    """
    wanted = list(items)
    course = _Course()

    def attempt(item: str) -> tuple[str, T] | tuple[str, ProviderError]:
        try:
            course.check(table, item)
            answer = ask(item)
        except ProviderError as error:
            course.failed(error)
            return item, error
        course.succeeded()
        return item, answer

    if workers == 1 or len(wanted) == 1:
        outcomes = [attempt(item) for item in wanted]
    else:
        with ThreadPoolExecutor(workers, thread_name_prefix=f"gather-{table}") as pool:
            outcomes = list(pool.map(attempt, wanted))
    errors = {item: outcome for item, outcome in outcomes if isinstance(outcome, ProviderError)}
    answers = {item: outcome for item, outcome in outcomes if not isinstance(outcome, ProviderError)}
    if errors and len(errors) > may_miss * len(wanted):
        causes = sorted(errors.values(), key=lambda error: isinstance(error, BreakerOpenError))
        raise IncompleteError(table, len(wanted), list(errors), causes)
    return Gathered(answers, [Gap(table, item, error.provider, str(error)) for item, error in errors.items()])


class _Course:
    """How it goes: whether anything was answered at all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures, self._succeeded = 0, False
        self._cause: ProviderError | None = None

    def check(self, table: str, item: str) -> None:
        with self._lock:
            hopeless = self._failures >= _HOPELESS and not self._succeeded
            cause = self._cause
        if hopeless and cause is not None:
            raise BreakerOpenError(cause.provider, f"{table} of {item}", f"not asked any more, since {cause}")

    def succeeded(self) -> None:
        with self._lock:
            self._succeeded = True

    def failed(self, error: ProviderError) -> None:
        with self._lock:
            self._failures += 1
            self._cause = self._cause or error
