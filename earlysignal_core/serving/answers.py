"""What serving says, in the ledger's words, and what it needs of a ledger; `serving.recorder` has the ledger's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.vocabulary import Arm, Confidence, Fallback
from earlysignal_core.serving.routing import Route


@dataclass(frozen=True)
class Answer:
    """What a request got; class and probability are None where nothing could answer, and then `error` says why.

    Attributes
    ----------
    symbol : str
    requested_at : Timestamp
        On the domain's clock (UTC).
    as_of : Timestamp
        The moment (UTC) whose knowledge it rests on.
    announced_on : Timestamp
        The announcement's day as it was expected.
    fallback : Fallback
    latency_ms : float
        Measured; the requests of a batch share its time evenly.
    event : str or None
        None where the request named no announcement that is known.
    probability : float or None
        Of a large beat, in [0, 1].
    predicted_class : int or None
        1 where the probability reaches `threshold`; a rule that answers says 1 and has no threshold.
    threshold : float or None
    model_version, model_sha256, dataset_sha256 : str or None
        Of the model that answered.
    confidence : Confidence or None
    error : str or None
        What went wrong, be it that a fallback answered all the same.
    features : mapping of str to float
        All that was known of the announcement; empty where it could not be found out.
    arm : Arm or None
        Which of two models was asked first, where they share the answers and one was asked.
    """

    symbol: str
    requested_at: pd.Timestamp
    as_of: pd.Timestamp
    announced_on: pd.Timestamp
    fallback: Fallback
    latency_ms: float
    event: str | None = None
    probability: float | None = None
    predicted_class: int | None = None
    threshold: float | None = None
    model_version: str | None = None
    model_sha256: str | None = None
    dataset_sha256: str | None = None
    confidence: Confidence | None = None
    error: str | None = None
    features: Mapping[str, float] = field(default_factory=dict, repr=False)
    arm: Arm | None = None


class DeploymentReader(Protocol):
    """Which models serve."""

    def champion(self) -> str | None:
        """Return the version that serves, or None before the first promotion."""
        ...

    def previous_champion(self) -> str | None:
        """Return the version that a roll-back would return to, or None where there is none."""
        ...

    def route(self, at: pd.Timestamp) -> Route | None:
        """Return how the answers are shared at a moment (UTC), or None where the champion has all of them."""
        ...


class PredictionLog(Protocol):
    """Where every request is recorded, also those that failed."""

    def record(self, answers: Sequence[Answer]) -> None:
        """Record answers, all or none."""
        ...


class AlertSink(Protocol):
    """Who is told."""

    def raise_alert(self, alert: Alert) -> object:
        """Record an alert to be delivered; one of a key a day is enough."""
        ...
