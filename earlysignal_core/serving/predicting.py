"""The predictions of a day: the champion's answers, the challengers' in shadow, a failing champion taken back."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pandas as pd

from earlysignal_core.errors import EarlySignalError, LakeError
from earlysignal_core.evaluation.top_decile import REFERENCE
from earlysignal_core.features.ahead import FeaturesAhead
from earlysignal_core.features.examples import event_id
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import predictions
from earlysignal_core.ledger.alerts import Alert, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.vocabulary import Arm, Fallback, Severity
from earlysignal_core.models.bundle import BundleError
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving.answers import Answer
from earlysignal_core.serving.model_cache import ModelCache
from earlysignal_core.serving.recorder import LedgerRecorder
from earlysignal_core.serving.selection import reasons, select
from earlysignal_core.serving.service import EarlySignalService
from earlysignal_core.serving.shadow import score_in_shadow
from earlysignal_core.serving.taking_back import stop_challenger_if_failing, take_back_if_failing
from earlysignal_core.settings import ServingSettings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

_LATEST = pd.Timedelta(days=90)  # how late a day may be lived and its predictions still be found


def answer_and_record(
    ledger: Ledger,
    lake: Lake,
    source: SourceDescription,
    models: ModelCache,
    examples: pd.DataFrame,
    at: pd.Timestamp,
    settings: ServingSettings,
    *,
    features_ahead: FeaturesAhead | None = None,
    timer: Callable[[], float] = perf_counter,
) -> Deployment | None:
    """Answer for some examples, let challengers score them in shadow, and take back whoever fails.

    All of it is one transaction.

    Parameters
    ----------
    ledger, lake, source, models, examples
    at : Timestamp
        On the domain's clock (UTC).
    settings, features_ahead, timer
        As for `EarlySignalService`.

    Returns
    -------
    Deployment or None
        The model to which production has been rolled back, if it has.
    """
    with ledger.transaction() as joined:
        recorder = LedgerRecorder(joined)
        service = EarlySignalService(
            lake,
            source,
            recorder,
            recorder,
            recorder,
            clock=lambda: at,
            timer=timer,
            settings=settings,
            models=models,
            features_ahead=features_ahead,
        )
        answers = service.predict_batch(examples)
        route, shadow = recorder.route(at), score_in_shadow(joined, models, answers, at)
        if route is not None:
            stop_challenger_if_failing(joined, route, answers, shadow.skipped.get(route.version), at)
        failed = _failures_of_the_champion(answers, recorder.champion(), models)
        back = take_back_if_failing(joined, failed, len(answers), at)
        if back is not None:
            told = f"The champion failed for {failed} of {len(answers)} requests; {back.version} serves again."
            day = at.tz_localize(None).normalize()
            raise_alert(
                joined, Alert("roll_back", day, at, Severity.CRITICAL, "The champion is rolled back", told, "roll_back")
            )
    return back


def _failures_of_the_champion(answers: list[Answer], champion: str | None, models: ModelCache) -> int:
    """Count the requests that its predecessor answered, unless it could only not be read for a moment.

    A champion that is taken back does not return by itself, and a disk that stumbled says nothing against it.
    """
    replaced = [
        answer
        for answer in answers
        if answer.fallback is Fallback.PREVIOUS_VERSION and answer.arm is not Arm.CHALLENGER
    ]
    if not replaced or champion is None:
        return 0
    try:
        models.get(champion)
    except BundleError:
        return len(replaced)
    except (OSError, EarlySignalError):
        return 0
    could_not_be_read = f"{champion} could not be loaded"
    return sum(could_not_be_read not in (answer.error or "") for answer in replaced)


def announced_already(lake: Lake, source: SourceDescription, examples: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """Return the examples whose announcement had come at a moment: those nobody can predict any more."""
    if examples.empty:
        return examples
    first, last = Quarter.of(examples["announced_on"].min()), Quarter.of(at)
    near = [q for q in Quarter.range(first - 1, last) if q in source.quarters and lake.has("earnings", q)]
    if not near:
        return examples.iloc[:0]
    came = lake.derive(_result_known_from, "earnings", near).reindex(examples["event"]) <= at
    return examples[came.to_numpy()]


def _result_known_from(earnings: pd.DataFrame) -> pd.Series:
    """Return the moment from which a result of each event is known."""
    told = earnings[earnings["eps_actual"].notna()]
    return told.groupby(event_id(told))[KNOWABLE].min()


def answered_between(ledger: Ledger, first: pd.Timestamp, last: pd.Timestamp) -> pd.Series:
    """Return the events with ``first < as_of <= last`` that have been answered for with a probability."""
    columns = ["event", "as_of", "predicted_probability"]
    rows = predictions.read(ledger, first, last + _LATEST, served=True, columns=columns)
    inside = (rows["as_of"] > first) & (rows["as_of"] <= last)
    return rows.loc[inside & rows["predicted_probability"].notna(), "event"]


def served_between(ledger: Ledger, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Return what was served of the events with ``first < as_of <= last``: of several answers the last with one.

    Returns
    -------
    DataFrame
        As of `ledger.predictions.read`, with features.
    """
    rows = predictions.read(ledger, first, last + _LATEST, served=True, features=True)
    inside = np.flatnonzero((rows["as_of"] > first) & (rows["as_of"] <= last))
    order = inside[np.argsort(rows["predicted_probability"].notna().to_numpy()[inside], kind="stable")]
    again = rows["event"].iloc[order].duplicated(keep="last").to_numpy()
    return rows.iloc[np.sort(order[~again])].reset_index(drop=True)


def rank_and_explain(ledger: Ledger, models: ModelCache, rows: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """Rank what was served, select the top 10 %, and say what moved the model.

    Returns
    -------
    DataFrame
        event, symbol, announced_on, as_of, model_version, probability, threshold, predicted_class,
        confidence_level, rank, limit, selected, and ``reasons``: the leading SHAP contributions in words.
    """
    since = at - REFERENCE - pd.Timedelta(days=7)
    asked = ["as_of", "predicted_probability"]
    history = predictions.read(ledger, since, at, served=True, columns=asked) if len(rows) else rows
    renamed = {"predicted_probability": "probability"}
    told_of = ["event", "symbol", "announced_on", "as_of", "model_version", "predicted_probability", "threshold"]
    answers = rows[[*told_of, "predicted_class", "confidence_level"]].rename(columns=renamed)
    chosen = select(answers, history.rename(columns=renamed))
    told: dict[str, str] = {}
    for version, answered in rows[rows["model_sha256"].notna()].groupby("model_version"):
        try:
            why = reasons(models.get(str(version)).bundle, answered)
        except (BundleError, LakeError):
            continue  # what was said stands; only why can no longer be told
        said: dict[str, list[str]] = {}
        columns = (why[name].tolist() for name in ("event", "feature", "value", "contribution"))
        for event, feature, value, contribution in zip(*columns, strict=True):
            said.setdefault(event, []).append(f"{feature} = {value:.3g} ({contribution:+.2f})")
        told |= {event: ", ".join(words) for event, words in said.items()}
    chosen = chosen[[*answers.columns, "rank", "limit", "selected"]]
    return chosen.assign(reasons=pd.array([told.get(event, "") for event in chosen["event"]], dtype="str"))


@dataclass(frozen=True)
class Parity:
    """Whether what was served is what a later feature table says, bit for bit.

    Attributes
    ----------
    compared, without_row : int
        Predictions with a row of the same event and `as_of`, and without (a moved date has another `as_of`).
    different : dict of str to str
        By event, the features that differ.
    """

    compared: int
    without_row: int
    different: dict[str, str]


def compare_with_tables(served: pd.DataFrame, tables: pd.DataFrame, features: list[str]) -> Parity:
    """Compare served features with the rows of feature tables."""
    key = ["event", "as_of"]
    known = [name for name in features if name in served]
    rows = served[served[known].notna().any(axis=1)] if known else served.iloc[:0]
    both = rows[[*key, *known]].merge(tables[[*key, *known]], on=key, suffixes=("", "_now"))
    then, now = (both[[f"{name}{end}" for name in known]].to_numpy("float64") for end in ("", "_now"))
    differs = (then.view("int64") != now.view("int64")) & ~(np.isnan(then) & np.isnan(now))
    different = {
        str(event): ", ".join(name for name, off in zip(known, row, strict=True) if off)
        for event, row in zip(both["event"], differs, strict=True)
        if row.any()
    }
    return Parity(len(both), len(rows) - len(both), different)
