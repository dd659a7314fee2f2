"""Requests on their way to an answer: what was found out about each, what went wrong, and who is to be told."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.arrays import Values
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.vocabulary import Arm, Fallback, Severity
from earlysignal_core.serving.answers import Answer

_NAMED = 5


class UnknownEventError(EarlySignalError):
    """A request for an announcement that is not known, or not at that moment."""


class Cases:
    """The requests of one call; a row is told by its position.

    Parameters
    ----------
    rows : DataFrame
        symbol, announced_on, as_of and event of each request.
    now : Timestamp
        On the domain's clock (UTC).
    """

    def __init__(self, rows: pd.DataFrame, now: pd.Timestamp) -> None:
        self._now = now
        given = ["symbol", "announced_on", "as_of", "event"]
        self._asked = [dict(zip(given, row, strict=True)) for row in rows[given].itertuples(index=False)]
        self._found: list[dict[str, Any]] = [{"fallback": Fallback.NO_ANSWER} for _ in self._asked]
        self._notes: list[list[str]] = [[] for _ in self._asked]
        self._alerts: dict[str, Alert] = {}
        self._own_ms = np.zeros(len(self._asked))

    def __len__(self) -> int:
        return len(self._asked)

    def note(self, rows: Iterable[int], problem: str) -> None:
        """Note what went wrong, be it that something else still answers."""
        for row in rows:
            self._notes[row].append(problem)

    def remember(self, table: pd.DataFrame, features: list[str]) -> None:
        """Keep what was known of each announcement; the index of the table tells the rows."""
        values = table[features].to_numpy(dtype="float64").tolist()
        for row, known in zip(table.index, values, strict=True):
            self._found[row]["features"] = dict(zip(features, known, strict=True))

    def assign(self, rows: Iterable[int], arms: Iterable[Arm]) -> None:
        """Keep whose some requests are, where two models share the answers."""
        for row, arm in zip(rows, arms, strict=True):
            self._found[row]["arm"] = arm

    def answer(
        self, rows: Iterable[int], probability: Values, predicted_class: Any, levels: Any, **common: Any
    ) -> None:
        """Answer some requests; `common` are fields of `Answer` that they share."""
        for row, p, called, level in zip(rows, probability, predicted_class, levels, strict=True):
            self._found[row] |= {"probability": float(p), "predicted_class": int(called), "confidence": level} | common

    def spend(self, rows: Iterable[int], ms: float) -> None:
        """Count the milliseconds that a model took for some requests to these: the others did not wait for it."""
        asked = list(rows)
        self._own_ms[asked] += ms / len(asked)

    def alert(self, key: str, severity: Severity, title: str, symbols: Iterable[str], body: str) -> None:
        """Tell somebody, once a call for each kind of trouble."""
        affected = list(symbols)
        named = ", ".join(affected[:_NAMED]) + (f" and {len(affected) - _NAMED} more" if len(affected) > _NAMED else "")
        self._alerts.setdefault(
            key,
            Alert(
                key=f"serving:{key}",
                day=self._now.tz_localize(None).normalize(),
                at=self._now,
                severity=severity,
                title=title,
                body=f"{named}: {body}" if named else body,
                figures={"requests": float(len(affected) or len(self))},
            ),
        )

    def alerts(self) -> list[Alert]:
        """Return who is to be told of what."""
        return list(self._alerts.values())

    def answers(self, whole_ms: float) -> list[Answer]:
        """Return the answers, in the order of the requests: each took its model's time and its share of the rest."""
        latency_ms = self._own_ms + (whole_ms - self._own_ms.sum()) / max(len(self), 1)
        return [
            Answer(
                requested_at=self._now,
                latency_ms=float(latency),
                error="; ".join(notes) or None,
                **asked,
                **found,
            )
            for asked, found, notes, latency in zip(self._asked, self._found, self._notes, latency_ms, strict=True)
        ]
