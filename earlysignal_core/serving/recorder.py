"""The service's ledger: which models serve, what was asked and what was answered, and who is told."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from earlysignal_core.ledger import alerts, deployments, prediction_requests, predictions
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.prediction_requests import PredictionRequest
from earlysignal_core.ledger.predictions import NO_MODEL, RULE
from earlysignal_core.ledger.vocabulary import Fallback
from earlysignal_core.serving.answers import Answer
from earlysignal_core.serving.routing import Route, route_at


class LedgerRecorder:
    """A ledger as `EarlySignalService` needs it: a `DeploymentReader`, a `PredictionLog` and an `AlertSink`.

    Safe to be used by several threads.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def champion(self) -> str | None:
        """Return the version that serves, or None before the first promotion."""
        deployed = deployments.champion(self._ledger)
        return deployed.version if deployed else None

    def previous_champion(self) -> str | None:
        """Return the version that a roll-back would return to, or None where there is none."""
        deployed = deployments.previous_champion(self._ledger)
        return deployed.version if deployed else None

    def route(self, at: pd.Timestamp) -> Route | None:
        """Return how the answers are shared at a moment (UTC), or None where the champion has all of them."""
        return route_at(self._ledger, at)

    def record(self, answers: Sequence[Answer]) -> None:
        """Record requests, and what was said of the events among them; all or none.

        A request is recorded as often as it was made, and what a version says of an event at one `as_of` once. Where
        nothing answered, that is a prediction of the version `none`: it stands beside an answer that was given before
        or is given later, and takes the place of neither.
        """
        requests = [
            PredictionRequest(
                requested_at=answer.requested_at,
                symbol=answer.symbol,
                fallback=answer.fallback,
                latency_ms=answer.latency_ms,
                announced_on=answer.announced_on,
                as_of=answer.as_of,
                event=answer.event,
                model_version=_version(answer),
                error=answer.error,
                arm=answer.arm,
            )
            for answer in answers
        ]
        with self._ledger.transaction() as ledger:
            prediction_requests.record(ledger, requests)
            for alike, features in by_features(answer for answer in answers if answer.event is not None):
                predictions.record_frame(ledger, _predictions(alike), features)

    def raise_alert(self, alert: Alert) -> bool:
        """Record an alert and say whether it is new: it is not where one of its key has been raised that day."""
        return alerts.raise_alert(self._ledger, alert)


def by_features(answers: Iterable[Answer]) -> Iterator[tuple[list[Answer], pd.DataFrame]]:
    """Yield the answers for which the same features are known, with a float64 column for each feature.

    Answers without any come by themselves: "not known" is another thing than "missing", which is NaN. The order does
    not depend on that of the answers, so that those who record the same ones at once do not wait for each other.
    """
    alike: dict[tuple[str, ...], list[Answer]] = {}
    for answer in answers:
        alike.setdefault(tuple(answer.features), []).append(answer)
    for names in sorted(alike):
        group = alike[names]
        values = np.array([list(answer.features.values()) for answer in group], dtype="float64")
        yield group, pd.DataFrame(values.reshape(len(group), len(names)), columns=list(names))


def events(answers: Iterable[Answer]) -> pd.DataFrame:
    """Return what a prediction says of its event, whatever the model: columns of `predictions.Prediction`."""
    rows = [(answer.event, answer.symbol, answer.announced_on, answer.as_of) for answer in answers]
    return pd.DataFrame(rows, columns=["event", "symbol", "announced_on", "as_of"], dtype="object")


def _predictions(answers: Sequence[Answer]) -> pd.DataFrame:
    rows = [
        (
            answer.requested_at,
            _version(answer) or NO_MODEL,
            answer.probability,
            answer.predicted_class,
            answer.threshold,
            answer.model_sha256,
            answer.dataset_sha256,
            answer.confidence,
            answer.arm,
        )
        for answer in answers
    ]
    columns = [
        "prediction_date",
        "model_version",
        "predicted_probability",
        "predicted_class",
        "threshold",
        "model_sha256",
        "dataset_sha256",
        "confidence_level",
        "arm",
    ]
    said = pd.DataFrame(rows, columns=columns, dtype="object")
    return pd.concat([events(answers), said], axis=1).assign(served=True)


def _version(answer: Answer) -> str | None:
    return RULE if answer.fallback is Fallback.RULE else answer.model_version
