"""Challengers in shadow: each scores every event of a batch, and none of it is served.

Where a challenger has answered, it is the champion that scores in shadow: of every event both are known.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.ledger import alerts, deployments, predictions
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Arm, Severity
from earlysignal_core.models.bundle import BundleError
from earlysignal_core.serving.answers import Answer
from earlysignal_core.serving.confidence import confidence
from earlysignal_core.serving.model_cache import LoadedModel, ModelCache
from earlysignal_core.serving.recorder import by_features, events

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShadowScores:
    """What the models beside those that answered did, by version.

    Attributes
    ----------
    recorded : mapping of str to int
        How many predictions are new, of each model that scored.
    skipped : mapping of str to str
        Why the others did not.
    """

    recorded: Mapping[str, int]
    skipped: Mapping[str, str]


def score_in_shadow(ledger: Ledger, models: ModelCache, answers: Iterable[Answer], now: pd.Timestamp) -> ShadowScores:
    """Let every open challenger score the events of a batch whose features are known, answered or not.

    The champion scores those that were assigned to a challenger. A model that cannot be loaded, or fails at any of
    them, records nothing and is told as an alert; the others go on. Failures of the ledger leave as exceptions.
    Repeating is safe: what is recorded stays.

    Parameters
    ----------
    ledger : Ledger
    models : ModelCache
    answers : iterable of Answer
    now : Timestamp
        On the domain's clock (UTC).
    """
    known = [answer for answer in answers if answer.event is not None and answer.features]
    to_score = {challenger.version: known for challenger in deployments.challengers(ledger)}
    champion = deployments.champion(ledger)
    if champion is not None and (assigned := [answer for answer in known if answer.arm is Arm.CHALLENGER]):
        to_score[champion.version] = assigned
    recorded, skipped = {}, {}
    for version, scored in to_score.items():
        batch = list(by_features(scored))
        try:
            model = models.get(version)
            said = [(_scored(model, alike, features, now), features) for alike, features in batch]
        except Exception as error:  # the boundary: a challenger on trial never keeps the day from going on
            _log.exception("challenger %s cannot score", version)
            skipped[version] = f"{type(error).__name__}: {error}"
            alerts.raise_alert(ledger, _alert(version, now, skipped[version]))
        else:
            with ledger.transaction() as joined:
                recorded[version] = sum(predictions.record_frame(joined, *pair) for pair in said)
    return ShadowScores(recorded, skipped)


def _scored(model: LoadedModel, answers: list[Answer], features: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return the rows for `ledger.predictions.record_frame`."""
    bundle = model.bundle
    probability = bundle.predict(features)
    sound = (probability >= 0) & (probability <= 1)
    if not sound.all():
        raise BundleError(f"model {bundle.version} gave the probability {probability[~sound][0]:g}.")
    threshold = np.full(len(probability), bundle.threshold)
    return events(answers).assign(
        prediction_date=now,
        model_version=bundle.version,
        predicted_probability=probability,
        predicted_class=(probability >= threshold).astype(int),
        threshold=threshold,
        model_sha256=model.sha256,
        dataset_sha256=bundle.metadata.get("dataset_sha256"),
        confidence_level=confidence(probability, threshold),
        served=False,
        arm=None,
    )


def _alert(version: str, now: pd.Timestamp, problem: str) -> Alert:
    return Alert(
        key=f"shadow:{version}",
        day=now.tz_convert("UTC").tz_localize(None).normalize(),
        at=now,
        severity=Severity.WARNING,
        title=f"{version} cannot score in shadow",
        body=problem,
    )
