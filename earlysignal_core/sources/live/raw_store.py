"""What providers said, as they said it: kept for ever, so that a corrected parser needs no network."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.sources.live.messages import Answer, Request

_MOMENT = "%Y%m%dT%H%M%S.%fZ"
_KEPT, _AGAIN = ".gz", "again"


class RawStore:
    """The answers of all providers, in a lake under ``raw/<provider>/<question>/<fetched_at>.gz``.

    A file is never changed. Its first line is a JSON object with the question (which holds no key) and `fetched_at`;
    the body follows as it came. An answer that says the same as the last is not kept twice: a small file `again` says
    when it was given once more.

    Parameters
    ----------
    lake : Lake
    until : Timestamp, optional
        UTC. Answers that were given later are not seen.
    """

    def __init__(self, lake: Lake, until: pd.Timestamp | None = None) -> None:
        self._lake, self._until = lake, until

    def as_of(self, moment: pd.Timestamp) -> "RawStore":
        """Return what was kept at a moment (UTC)."""
        return RawStore(self._lake, moment)

    def keep(self, answer: Answer) -> None:
        """Keep an answer."""
        request, folder = answer.request, self.folder(answer.request)
        newest = next(self.as_first_given(request), None)
        if newest is not None and newest.body == answer.body:
            self._lake.write_bytes(f"{folder}/{_AGAIN}", answer.fetched_at.strftime(_MOMENT).encode())
            return
        head = {
            "fetched_at": answer.fetched_at.isoformat(),
            "path": request.path,
            "params": dict(request.params),
            "payload": request.payload,
            "host": request.host,
            "content_type": answer.headers.get("content-type"),
        }
        content = json.dumps(head, sort_keys=True).encode() + b"\n" + answer.body
        name = f"{answer.fetched_at.strftime(_MOMENT)}{_KEPT}"
        self._lake.write_bytes(f"{folder}/{name}", gzip.compress(content, mtime=0))

    def newest_first(self, request: Request) -> Iterator[Answer]:
        """Yield the answers to a question, the newest with the moment at which it was last given."""
        answers = self.as_first_given(request)
        newest = next(answers, None)
        if newest is not None:
            again = self._given_again(request)
            yield newest if again is None else replace(newest, fetched_at=max(again, newest.fetched_at))
            yield from answers

    def as_first_given(self, request: Request) -> Iterator[Answer]:
        """Yield the answers to a question, newest first, each with the moment at which it was first given."""
        for path in reversed(self._lake.files(self.folder(request))):
            if path.endswith(_KEPT) and self._sees(_moment_of(path)):
                try:
                    answer = self._read(request, path)
                except (EOFError, gzip.BadGzipFile, ValueError, zlib.error):
                    continue  # a power failure cut it off: as if it had never been given
                yield answer

    def moments(self, request: Request) -> list[pd.Timestamp]:
        """Return when (UTC) the answers to a question were first given, also those that cannot be read."""
        return [_moment_of(path) for path in self._lake.files(self.folder(request)) if path.endswith(_KEPT)]

    def last_given(self) -> pd.Timestamp | None:
        """Return when the newest of all answers was given (UTC), or None where there is none."""
        last = None
        for path in self._lake.files_below("raw"):
            name = path.rpartition("/")[2]
            written = self._lake.read_bytes(path).decode() if name == _AGAIN else name.removesuffix(_KEPT)
            given = _moment(written) if written else None
            last = given if last is None or (given is not None and given > last) else last
        return last

    def folder(self, request: Request) -> str:
        """Return the folder of a question's answers, within the lake."""
        return f"raw/{request.provider}/{request.digest[:2]}/{request.digest}"

    def _given_again(self, request: Request) -> pd.Timestamp | None:
        path = f"{self.folder(request)}/{_AGAIN}"
        written = self._lake.read_bytes(path).decode() if self._lake.exists(path) else ""
        moment = _moment(written) if written else None
        return moment if moment is not None and self._sees(moment) else None

    def _sees(self, moment: pd.Timestamp) -> bool:
        return self._until is None or moment <= self._until

    def _read(self, request: Request, path: str) -> Answer:
        head, _, body = gzip.decompress(self._lake.read_bytes(path)).partition(b"\n")
        content_type = json.loads(head)["content_type"] or ""
        return Answer(request, body, _moment_of(path), headers={"content-type": content_type})


def _moment_of(path: str) -> pd.Timestamp:
    return _moment(path.rpartition("/")[2].removesuffix(_KEPT))


def _moment(written: str) -> pd.Timestamp:
    return pd.Timestamp(pd.to_datetime(written, format=_MOMENT, utc=True)).as_unit("ns")
