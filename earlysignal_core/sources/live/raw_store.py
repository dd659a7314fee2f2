"""What providers said, as they said it: kept for ever, so that a corrected parser needs no network."""

import gzip
import json
from collections.abc import Iterator

import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.sources.live.http import Answer, Request

_MOMENT = "%Y%m%dT%H%M%S.%fZ"


class RawStore:
    """The answers of all providers, in a lake under ``raw/<provider>/<question>/<fetched_at>.gz``.

    A file is never changed. Its first line is a JSON object with the question (which holds no key) and `fetched_at`;
    the body follows as it came.

    Parameters
    ----------
    lake : Lake
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def keep(self, answer: Answer) -> None:
        """Keep an answer."""
        request = answer.request
        head = {
            "fetched_at": answer.fetched_at.isoformat(),
            "path": request.path,
            "params": dict(request.params),
            "payload": request.payload,
            "host": request.host,
            "content_type": answer.headers.get("content-type"),
        }
        content = json.dumps(head, sort_keys=True).encode() + b"\n" + answer.body
        name = f"{answer.fetched_at.strftime(_MOMENT)}.gz"
        self._lake.write_bytes(f"{self.folder(request)}/{name}", gzip.compress(content, mtime=0))

    def newest_first(self, request: Request) -> Iterator[Answer]:
        """Yield the answers to a question."""
        for path in reversed(self._lake.files(self.folder(request))):
            yield self._read(request, path)

    def folder(self, request: Request) -> str:
        """Return the folder of a question's answers, within the lake."""
        return f"raw/{request.provider}/{request.digest[:2]}/{request.digest}"

    def _read(self, request: Request, path: str) -> Answer:
        head, _, body = gzip.decompress(self._lake.read_bytes(path)).partition(b"\n")
        content_type = json.loads(head)["content_type"] or ""
        return Answer(request, body, _moment_of(path), headers={"content-type": content_type})


def _moment_of(path: str) -> pd.Timestamp:
    name = path.rpartition("/")[2].removesuffix(".gz")
    return pd.Timestamp(pd.to_datetime(name, format=_MOMENT, utc=True)).as_unit("ns")
