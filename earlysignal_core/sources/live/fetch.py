"""Asks a provider only for what can have changed, and never trades a good answer for a worse one."""

import threading
from collections.abc import Callable, Sized
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import pandas as pd

from earlysignal_core.sources.live.errors import NotKeptError, ProviderError, ShrunkenAnswerError, UnexpectedShapeError
from earlysignal_core.sources.live.http import Http
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.sources.source import Tally

FOREVER = pd.Timestamp("1970-01-01", tz="UTC")
"""As `since`: an answer of any age will do, for what never changes."""

MOST_OF_IT = 0.95
"""Of what an answer held: providers correct a few rows of the past."""

T = TypeVar("T")
Size = Callable[[T, pd.Timestamp], int]


@dataclass(frozen=True)
class Kept(Generic[T]):
    """What an answer says, and when it was given (UTC)."""

    fetched_at: pd.Timestamp
    content: T


@dataclass(frozen=True)
class StaleAnswer:
    """An older answer that had to serve, and why."""

    request: Request
    fetched_at: pd.Timestamp
    error: ProviderError


class Fetcher:
    """Answers questions to one provider, from what is kept or from the provider.

    Parameters
    ----------
    store : RawStore
    http : Http or None
        None for a replay: only what is kept counts, of whatever age.
    """

    def __init__(self, store: RawStore, http: Http | None) -> None:
        self.store, self._http = store, http
        self._lock = threading.Lock()
        self._asked = self._kept = 0
        self._stale: list[StaleAnswer] = []

    def as_of(self, moment: pd.Timestamp) -> "Fetcher":
        """Return one that answers from what was kept at a moment (UTC), and asks nobody."""
        return Fetcher(self.store.as_of(moment), None)

    @property
    def tally(self) -> Tally:
        """What was asked so far."""
        with self._lock:
            return Tally(self._asked, self._kept)

    def take_stale(self) -> list[StaleAnswer]:
        """Return the older answers that had to serve since this was last called."""
        with self._lock:
            taken, self._stale = self._stale, []
        return taken

    def fetch(
        self,
        request: Request,
        since: pd.Timestamp,
        parse: Callable[[Answer], T],
        keeps: float = 0.0,
        size: Size[T] | None = None,
    ) -> T:
        """Return what an answer says that was given at `since` or later, or the newest where none can be had.

        Parameters
        ----------
        request : Request
        since : Timestamp
            UTC. An older answer may be out of date.
        parse : callable
            Reads an answer, or raises `UnexpectedShapeError`. An answer that cannot be read is kept all the same: a
            corrected parser finds it.
        keeps : float
            The share of what any answer so far has held that a new one must hold, for questions whose answers grow.
        size : callable, optional
            Counts what of an answer must stay, seen from a moment (UTC), that at which an answer was given; by default
            all of its rows.

        Raises
        ------
        ProviderError
            If the provider fails and never gave a usable answer before.
        """
        kept = self._newest_usable(request, parse)
        if kept is not None and (kept.fetched_at >= since or self._http is None):
            with self._lock:
                self._kept += 1
            return kept.content
        if self._http is None:
            raise NotKeptError(request.provider, request.asked, "no usable answer is kept")
        try:
            answer = self._http.ask(request)
            with self._lock:
                self._asked += 1
            return self._taken(answer, parse, keeps, size or _rows, kept)
        except ProviderError as error:
            if kept is None:
                raise
            with self._lock:
                self._stale.append(StaleAnswer(request, kept.fetched_at, error))
            return kept.content

    def history(self, request: Request, parse: Callable[[Answer], T]) -> list[Kept[T]]:
        """Return what every usable answer to a question says, oldest first, each as it was first given."""
        found = []
        for answer in self.store.as_first_given(request):
            with suppress(UnexpectedShapeError):
                found.append(Kept(answer.fetched_at, _read(parse, answer)))
        return found[::-1]

    def _taken(
        self, answer: Answer, parse: Callable[[Answer], T], keeps: float, size: Size[T], last: Kept[T] | None
    ) -> T:
        """Return what an answer says and keep it, unless it holds too little of what was there before."""
        request = answer.request
        try:
            content = _read(parse, answer)
        except UnexpectedShapeError:
            self.store.keep(answer)
            raise
        if keeps and last is not None and size(content, last.fetched_at) < size(last.content, last.fetched_at):
            every = [last, *self.history(request, parse)]  # a few less each time would add up
            sizes = [(size(kept.content, kept.fetched_at), size(content, kept.fetched_at)) for kept in every]
            before, new = max(sizes, key=lambda pair: pair[0] - pair[1])
            if new < keeps * before:
                where = self.store.folder(request)
                said = f"{new} row(s) where there were {before} before ({where})"
                raise answer.failure(ShrunkenAnswerError, said)
        self.store.keep(answer)
        return content

    def _newest_usable(self, request: Request, parse: Callable[[Answer], T]) -> Kept[T] | None:
        for answer in self.store.newest_first(request):
            with suppress(UnexpectedShapeError):
                return Kept(answer.fetched_at, _read(parse, answer))
        return None

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()


def _rows(content: object, _seen_at: pd.Timestamp) -> int:
    return len(content) if isinstance(content, Sized) else 0


def _read(parse: Callable[[Answer], T], answer: Answer) -> T:
    """Return what an answer says; whatever a parser stumbles over is an answer of an unexpected shape."""
    try:
        return parse(answer)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise answer.unexpected(f"it cannot be read ({type(error).__name__}: {error})") from error
