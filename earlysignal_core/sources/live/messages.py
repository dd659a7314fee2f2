"""Questions to providers and their answers; a question never holds a key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from earlysignal_core.sources.live.errors import ProviderError, UnexpectedShapeError, UnreadableAnswerError

_SHOWN = 200  # characters of a provider's message


@dataclass(frozen=True)
class Request:
    """A question to a provider, without any key: safe to show, to keep and to name a file by.

    Attributes
    ----------
    provider, path : str
    params : mapping of str to str
    payload : mapping, optional
        Sent as JSON by POST.
    host : str
        Which of the provider's hosts, where it has several.
    """

    provider: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] | None = None
    host: str = ""

    @property
    def asked(self) -> str:
        """The question in words."""
        shown = dict(self.params) | (dict(self.payload) if self.payload else {})
        return " ".join([self.path, *(f"{name}={value}" for name, value in shown.items())])

    @cached_property
    def digest(self) -> str:
        """A name for the question: the same for the same question."""
        said = json.dumps([self.host, self.path, sorted(self.params.items()), self.payload], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Answer:
    """What a provider said.

    Attributes
    ----------
    request : Request
    body : bytes
        Unpacked.
    fetched_at : Timestamp
        UTC; when it was complete.
    status : int
    headers : mapping of str to str
        By lower-case name.
    """

    request: Request
    body: bytes = field(repr=False)
    fetched_at: pd.Timestamp
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", errors="replace")

    @cached_property
    def json(self) -> Any:
        """The body as JSON.

        Raises
        ------
        UnreadableAnswerError
            If it is none; shows how it begins.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = "a page of HTML" if self.is_html else "no JSON"
            raise self.failure(UnreadableAnswerError, f"{kind}: {self.shown}") from None

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people, whatever its content type says."""
        begin = self.body[:300].lstrip().lower()
        return begin.startswith((b"<!doctype html", b"<html"))

    @property
    def shown(self) -> str:
        """How the body begins, on one line."""
        words = " ".join(self.text[: 4 * _SHOWN].split())
        return f"`{words[:_SHOWN]}`" + (" …" if len(words) > _SHOWN else "") if words else "an empty body"

    def failure(self, kind: type[ProviderError], problem: str, wait: float | None = None) -> ProviderError:
        """Return an error about this answer."""
        return kind(self.request.provider, self.request.asked, problem, wait)

    def unexpected(self, problem: str) -> ProviderError:
        """Return the error of an answer that can be read and lacks what is needed."""
        return self.failure(UnexpectedShapeError, problem)
