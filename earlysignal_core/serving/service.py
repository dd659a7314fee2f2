"""The service: one answer for each request, whatever fails on the way, and a record of every one of them."""

import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import pandas as pd

from earlysignal_core.features.ahead import FeaturesAhead
from earlysignal_core.features.table import active_features, features_of, scheduled_examples
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.vocabulary import Arm, Confidence, Fallback, Severity
from earlysignal_core.models.baselines import LAST, LAST_SURPRISE_OVER
from earlysignal_core.serving.answers import AlertSink, Answer, DeploymentReader, PredictionLog
from earlysignal_core.serving.cases import Cases, UnknownEventError
from earlysignal_core.serving.confidence import confidence
from earlysignal_core.serving.freshness import StaleCacheError, refuse_stale
from earlysignal_core.serving.last_surprise import frequency
from earlysignal_core.serving.model_cache import LoadedModel, ModelCache
from earlysignal_core.settings import ServingSettings
from earlysignal_core.sources import SourceDescription

_log = logging.getLogger(__name__)
_MILLISECONDS = 1000


class EarlySignalService:
    """Predicts large beats with the champion, or with the best that is left of it.

    Safe to be asked by several threads. What a step cannot do is recorded with the answer and told as an alert; no
    failure of data or models leaves as an exception. Those of the ledger do: an answer that cannot be recorded is not
    given.

    Parameters
    ----------
    lake : Lake
    source : SourceDescription
    deployments : DeploymentReader
    log : PredictionLog
    alerts : AlertSink
    clock : callable
        The domain's moment (UTC).
    timer : callable
        Seconds that only grow; for latencies.
    settings : ServingSettings
    models : ModelCache, optional
        The models that are loaded already.
    features_ahead : FeaturesAhead, optional
        Where the features of examples are taken from; by default each batch's are computed.
    """

    def __init__(
        self,
        lake: Lake,
        source: SourceDescription,
        deployments: DeploymentReader,
        log: PredictionLog,
        alerts: AlertSink,
        *,
        clock: Callable[[], pd.Timestamp],
        timer: Callable[[], float] = perf_counter,
        settings: ServingSettings | None = None,
        models: ModelCache | None = None,
        features_ahead: FeaturesAhead | None = None,
    ) -> None:
        self._lake, self._source = lake, source
        self._deployments, self._requests, self._alerts = deployments, log, alerts
        self._clock, self._timer = clock, timer
        self._settings = settings or ServingSettings()
        self._models = models or ModelCache(lake)
        self._features = active_features(source)
        by_itself = partial(features_of, lake, source, features=self._features)
        self._table: Callable[[pd.DataFrame], pd.DataFrame] = (
            by_itself if features_ahead is None else features_ahead.table
        )

    def predict(self, symbol: str, announced_on: pd.Timestamp, as_of: pd.Timestamp) -> Answer:
        """Answer for one announcement.

        Parameters
        ----------
        symbol : str
        announced_on : Timestamp
            The day for which the announcement was scheduled at `as_of`, without a time zone.
        as_of : Timestamp
            UTC; the close of the last session at least seven days before.
        """
        started = self._timer()
        asked = pd.DataFrame({"symbol": [symbol], "announced_on": [announced_on], "as_of": [as_of], "event": [None]})
        cases = Cases(asked, self._clock())
        try:
            if as_of > self._clock():
                raise UnknownEventError(f"`as_of` {as_of} has not come yet: it is {self._clock()}.")
            examples = scheduled_examples(self._lake, self._source, as_of, as_of)
            found = examples[(examples["symbol"] == symbol) & (examples["scheduled_on"] == announced_on)]
            if found.empty:
                raise UnknownEventError(
                    f"`{symbol}` has no announcement scheduled for {announced_on:%Y-%m-%d} predicted at {as_of}. "
                    f"Remedy: ask at the close of the last session at least seven days before the scheduled day."
                )
        except UnknownEventError as error:  # the caller's mistake: nobody on call can help
            cases.note([0], str(error))
        except Exception as error:  # the boundary: whatever went wrong, the request gets an answer and a record
            _log.exception("no example could be made for %s", symbol)
            cases.note([0], _told("feature extraction failed", error))
            cases.alert("features", Severity.WARNING, "Features could not be extracted", [symbol], str(error))
        else:
            cases = Cases(found, self._clock())
            self._answer(found.reset_index(drop=True), cases)
        return self._finish(cases, started)[0]

    def predict_batch(self, examples: pd.DataFrame) -> list[Answer]:
        """Answer for some announcements, in their order.

        Parameters
        ----------
        examples : DataFrame
            As of `features.table.scheduled_examples`.
        """
        started = self._timer()
        cases = Cases(examples, self._clock())
        self._answer(examples.reset_index(drop=True), cases)
        return self._finish(cases, started)

    def _answer(self, examples: pd.DataFrame, cases: Cases) -> None:
        tables = [self._extract(rows, cases) for _, rows in examples.groupby("as_of", sort=True)]
        if not tables:
            return
        table = self._valid(pd.concat(tables), cases)
        left, any_loaded = self._by_models(table, cases)
        if left.empty:
            return
        if any_loaded:
            self._by_rule(left, cases)
        else:
            cases.note(left.index, "no model could be loaded")
            cases.alert(
                "no_model", Severity.CRITICAL, "No model can be loaded", left["symbol"], "Nothing is predicted."
            )

    def _extract(self, rows: pd.DataFrame, cases: Cases) -> pd.DataFrame:
        """Return the feature table of the rows of one `as_of`, or of none of them."""
        try:
            refuse_stale(self._lake, self._source, rows["as_of"].iloc[0], self._settings.freshness_days)
            # The view numbers its rows from 0; the index tells them apart here.
            return self._table(rows.reset_index(drop=True)).set_index(rows.index)
        except StaleCacheError as error:
            cases.note(rows.index, str(error))
            cases.alert("stale", Severity.CRITICAL, "Stale caches block predictions", rows["symbol"], str(error))
        except Exception as error:  # the boundary, as above
            _log.exception("no features for %s", ", ".join(rows["symbol"]))
            cases.note(rows.index, _told("feature extraction failed", error))
            cases.alert("features", Severity.WARNING, "Features could not be extracted", rows["symbol"], str(error))
        return rows.iloc[:0].assign(**{name: np.empty(0) for name in self._features})

    def _valid(self, table: pd.DataFrame, cases: Cases) -> pd.DataFrame:
        """Return the rows of which at most a tenth of the active features is missing or not finite."""
        names = list(self._features)
        cases.remember(table, names)
        invalid = (~np.isfinite(table[names].to_numpy(dtype="float64"))).mean(axis=1) if names else np.zeros(len(table))
        refused = table[invalid > self._settings.invalid_features]
        for index, share in zip(refused.index, invalid[invalid > self._settings.invalid_features], strict=True):
            cases.note([index], f"{share:.0%} of the {len(names)} active features are invalid")
        if len(refused):
            limit = f"more than {self._settings.invalid_features:.0%} of the active features are missing"
            cases.alert("invalid", Severity.WARNING, "Too many features are invalid", refused["symbol"], limit)
        return table.drop(index=refused.index)

    def _by_models(self, table: pd.DataFrame, cases: Cases) -> tuple[pd.DataFrame, bool]:
        """Let the champion answer, then its predecessor; before them a challenger for its share of the events.

        Returns the rows that are left and whether a model loaded.
        """
        if table.empty:
            return table, False
        versions = [self._deployments.champion(), self._deployments.previous_champion()]
        route, chains = self._deployments.route(self._clock()), [(table, versions)]
        if route is not None:
            arms = [route.arm(event) for event in table["event"]]
            cases.assign(table.index, arms)
            is_challengers = np.array([arm is Arm.CHALLENGER for arm in arms])
            chains = [(table[is_challengers], [route.version, *versions]), (table[~is_challengers], versions)]
        left, any_loaded = [], False
        for rows, chain in chains:
            unanswered = rows
            for place, version in enumerate(chain):
                if unanswered.empty:
                    break
                asked, started = unanswered.index, self._timer()
                model = self._load(version, unanswered, cases)
                if model is not None:
                    any_loaded = True
                    fallback = Fallback.PREVIOUS_VERSION if place else Fallback.NONE
                    unanswered = self._by_model(model, fallback, unanswered, cases)
                cases.spend(asked, (self._timer() - started) * _MILLISECONDS)
            left.append(unanswered)
        return pd.concat(left), any_loaded

    def _load(self, version: str | None, table: pd.DataFrame, cases: Cases) -> LoadedModel | None:
        if version is None:
            return None
        try:
            return self._models.get(version)
        except Exception as error:  # the boundary, as above
            _log.exception("model %s cannot be loaded", version)
            cases.note(table.index, _told(f"{version} could not be loaded", error))
            cases.alert(f"load:{version}", Severity.WARNING, f"Model {version} cannot be loaded", [], str(error))
            return None

    def _by_model(self, model: LoadedModel, fallback: Fallback, table: pd.DataFrame, cases: Cases) -> pd.DataFrame:
        bundle, version = model.bundle, str(model.bundle.version)
        try:
            probability = bundle.predict(table)
        except Exception as error:  # the boundary, as above
            _log.exception("model %s fails", version)
            cases.note(table.index, _told(f"{version} fails", error))
            cases.alert(f"predict:{version}", Severity.WARNING, f"Model {version} fails", table["symbol"], str(error))
            return table
        sound = (probability >= 0) & (probability <= 1)
        for index, value in zip(table.index[~sound], probability[~sound], strict=True):
            cases.note([index], f"{version} gave the probability {value:g}")
        if not sound.all():
            told = f"{(~sound).sum()} of {len(table)}, the first {probability[~sound][0]:g}"
            title = f"Model {version} gives probabilities outside [0, 1]"
            cases.alert(f"probability:{version}", Severity.WARNING, title, table["symbol"][~sound], told)
        threshold = np.full(len(table), bundle.threshold)
        cases.answer(
            table.index[sound],
            probability[sound],
            (probability >= threshold).astype(int)[sound],
            confidence(probability, threshold)[sound],
            fallback=fallback,
            threshold=bundle.threshold,
            model_version=version,
            model_sha256=model.sha256,
            dataset_sha256=bundle.metadata.get("dataset_sha256"),
        )
        return table[~sound]

    def _by_rule(self, table: pd.DataFrame, cases: Cases) -> None:
        over = table[table[LAST] > LAST_SURPRISE_OVER]
        cases.note(table.index.difference(over.index), f"no last surprise above {LAST_SURPRISE_OVER:g} % for the rule")
        for _, rows in over.groupby("as_of"):
            try:
                found = frequency(self._lake, rows["as_of"].iloc[0])
            except Exception as error:  # the boundary, as above
                _log.exception("the rule cannot answer")
                cases.note(rows.index, _told("the rule fails", error))
                continue
            cases.note(rows.index, str(found))
            if found.probability is None:
                cases.note(rows.index, "too few cases for the rule")
            else:
                n = len(rows)
                level = np.full(n, Confidence.LOW, dtype=object)
                cases.answer(
                    rows.index, np.full(n, found.probability), np.ones(n, dtype=int), level, fallback=Fallback.RULE
                )

    def _finish(self, cases: Cases, started: float) -> list[Answer]:
        answers = cases.answers((self._timer() - started) * _MILLISECONDS)
        slowest = max((answer.latency_ms for answer in answers), default=0.0)
        if slowest > self._settings.slow_ms:
            _log.warning("slow: up to %.0f ms for each of %d (limit %g)", slowest, len(cases), self._settings.slow_ms)
        self._requests.record(answers)
        for alert in cases.alerts():
            self._alerts.raise_alert(alert)
        return answers


def _told(what: str, error: Exception) -> str:
    return f"{what}: {type(error).__name__}: {error}"
