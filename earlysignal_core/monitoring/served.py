"""What was served, as the monitors take it: one row an event, and nothing that was not known at the moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.audit.announcements import companies_of
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.evaluation.resampling import Figure, IntArray, one_a_company, undefined
from earlysignal_core.evaluation.test_part import auc_of_test_part
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.examples import are_among
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import deployments, outcomes, prediction_requests, predictions, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Fallback, OutcomeStatus, RetrainState
from earlysignal_core.models.bundle import BundleError, metadata_of
from earlysignal_core.monitoring import performance
from earlysignal_core.monitoring.announced import SEASONS_BACK, Announced
from earlysignal_core.monitoring.outcomes import EARNINGS, first_results, quarters_since
from earlysignal_core.monitoring.retrain_policy import OF_A_WINDOW, Cause
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import CACHES, KNOWABLE, UNIVERSE
from earlysignal_core.trading_calendar import Moments
from earlysignal_core.validation import no_rows

ARRIVAL_DAYS = 455
WALK_FORWARD_AUC, WALK_FORWARD_AUC_LOW = "walk_forward_auc", "walk_forward_auc_low"

_DAY = pd.Timedelta(days=1)
# An announcement of the window may be half a year late, and the top 10 % is told by the year before its prediction.
_HISTORY = 600 * _DAY
# `LOOK_BACK` sessions before the first window tell of false level shifts.
_PAST_OF_A_PRICE = 100 * _DAY
# Two years of announcements tell which symbols are share classes of one company.
_COMPANY_QUARTERS = 8
_RENAMED = {"predicted_probability": "probability"}
_EARLIER = ["event", "as_of", "predicted_probability"]
_PENDING = ["announced_on", "predicted_probability", "threshold"]
_NO_MOMENTS = np.empty(0, dtype="datetime64[ns]")
_NO_RESULTS = first_results(no_rows("earnings"))
_OF_A_ROW = ["id", "event", "symbol", "as_of", "prediction_date", "predicted_probability"]
_INNER = ("id", "prediction_date")
_OF_AN_EVENT = [*_OF_A_ROW, "announced_on", "model_version", "threshold"]


@dataclass(frozen=True)
class Judged:
    """What `production_performance` asks for, and what it does not see.

    Attributes
    ----------
    predictions : DataFrame
        One row an event: the announcements of the last 30 days that got a probability of a model, by the day on which
        they came, or were expected while they have not: ``event, symbol, company, announced_on, as_of, version,
        probability, threshold, never, label, return_7d, benchmark_7d``.
    earlier : DataFrame
        All other events that got one in the year before and since: ``event, as_of, probability``.
    positions : DataFrame
        From `outcome_returns`, of the announcements that have come.
    pending : DataFrame
        Events of which nothing is known yet, announced or still ahead: ``announced_on, probability, threshold``.
    counts : dict of str to int
        Of the rows: ``pending`` (nothing is known), ``no_event``, ``unlabelled`` (announced, but without a class),
        ``restated``, ``delisted``; and ``not_by_a_model``: further announcements, for which no model had an answer.
    """

    predictions: pd.DataFrame
    earlier: pd.DataFrame
    positions: pd.DataFrame
    pending: pd.DataFrame
    counts: dict[str, int]


@dataclass(frozen=True)
class Retrains:
    """Where retraining stands.

    Attributes
    ----------
    figures : dict of str to float
        ``running_retrains``, ``open_requests`` (pending or running), ``days_since_retrain`` (since the last one
        started; infinite where there has been none) and ``days_since_window_retrain`` (of `OF_A_WINDOW`), as
        `retrain_policy.decide` asks for.
    last_season_retrain : Timestamp or None
        The day on which the last retrain after a season was asked for, as `calendar_figures` asks for.
    """

    figures: dict[str, float]
    last_season_retrain: pd.Timestamp | None


def recent_rows(
    ledger: Ledger,
    now: pd.Timestamp,
    days: int,
    version: str | None = None,
    *,
    features: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the rows of the last days, one an event, as they were recorded.

    Parameters
    ----------
    ledger : Ledger
    now : Timestamp (UTC)
    days : int
    version : str, optional
        What this model said, as champion or in shadow, instead of what was served.
    features : sequence of str, optional
        Those that are asked for; by default all of the catalogue.

    Returns
    -------
    DataFrame
        ``event, symbol, as_of, probability`` (NaN where nothing could be served) and a float64 column for each
        feature (NaN where it is not known), in the order in which they were recorded. Of several predictions of one
        event it is the last that has a probability. One that was made without knowing any feature tells nothing of
        them and is left out.
    """
    chosen: dict[str, Any] = {"served": True} if version is None else {"versions": [version]}
    found = predictions.read(ledger, now - days * _DAY, now, features=True, columns=_OF_A_ROW, **chosen)
    recorded, values = found.columns[len(_OF_A_ROW) :], found.iloc[:, len(_OF_A_ROW) :].to_numpy(dtype="float64")
    last = np.sort(_last_of_each_event(found))  # in the order of the ids
    last = last[~np.isnan(values[last]).all(axis=1)]
    told = {_RENAMED.get(name, name): found[name].array.take(last) for name in _OF_A_ROW if name not in _INNER}
    names = list(catalogue()) if features is None else features
    # What no row has is missing in all, also where there are no rows: the column behind the last one.
    values = np.column_stack([values[last], np.full(len(last), np.nan)])[:, recorded.get_indexer(pd.Index(names))]
    rows: pd.DataFrame = pd.concat([pd.DataFrame(told), pd.DataFrame(values, columns=list(names))], axis=1)
    return rows


def judged_events(ledger: Ledger, lake: Lake, source: SourceDescription, now: pd.Timestamp) -> Judged:
    """Return the announcements of the last 30 days, what was said of them and what became of them.

    Parameters
    ----------
    ledger : Ledger
    lake : Lake
    source : SourceDescription
    now : Timestamp (UTC)
        Rows with a later `available_at`, and outcomes with a later date, do not exist.

    Notes
    -----
    Where what a model says of itself (its base rate) is lost or damaged, ``never`` is NaN, and so is what needs it.
    Only what was served counts, of several answers for one event the last one of a model. The label is that of the
    announcement itself, as in the models' training: what corrects it later was not to be predicted, so a restated
    result counts with its first class. Nothing of `no_event` is class 0. Share classes of one company have one result,
    which counts once.
    """
    served = predictions.read(ledger, now - _HISTORY, now, served=True, columns=_OF_AN_EVENT)
    answered = served["predicted_probability"].notna() & (served["model_version"] != predictions.RULE)
    quarters = quarters_since(lake, source, "earnings", now - _COMPANY_QUARTERS * 91 * _DAY, now)
    announcements = lake.derive(first_results, "earnings", quarters, EARNINGS) if quarters else _NO_RESULTS
    asked = _by_event(served, announcements, now)
    events = asked if answered.all() else _by_event(served[answered], announcements, now)
    inside = _within(events["announced_on"], now)
    rows, others = _some(events, inside), _some(events, ~inside)
    first, newest = _outcomes(ledger, rows["id"], now)
    frame = pd.DataFrame(rows)
    returns, positions = _returns(lake, source, now, frame)
    classes = Announced.of(lake, quarters).share_classes(now)
    judged = {
        "event": rows["event"],
        "symbol": rows["symbol"],
        "company": companies_of(frame["symbol"], classes),
        "announced_on": rows["announced_on"],
        "as_of": rows["as_of"],
        "version": rows["model_version"],
        "probability": rows["predicted_probability"],
        "threshold": rows["threshold"],
        "never": np.array([_never(lake, version) for version in rows["model_version"]], dtype="float64"),
        "label": first["actual_class"],
        "return_7d": first["actual_return_7d"],
        "benchmark_7d": returns["benchmark_7d"],
    }
    status, unlabelled, is_pending = first["status"], first["actual_class"].isna(), first["status"].isna().to_numpy()
    pending = _some(rows, is_pending)
    ahead = _some(events, events["announced_on"] > now.tz_localize(None).to_datetime64())
    without_model = 0
    if asked is not events:
        seen = _some(asked, _within(asked["announced_on"], now))["event"]
        without_model = int((~are_among(seen, events["event"])).sum())
    came = are_among(positions["event"], rows["event"][rows["came"]])
    return Judged(
        predictions=one_a_company(pd.DataFrame(judged)),
        earlier=pd.DataFrame({_RENAMED.get(name, name): others[name] for name in _EARLIER}),
        positions=positions[came].reset_index(drop=True),
        pending=pd.DataFrame(
            {_RENAMED.get(name, name): np.concatenate([pending[name], ahead[name]]) for name in _PENDING}
        ),
        counts={
            "pending": int(is_pending.sum()),
            "no_event": int((status == OutcomeStatus.NO_EVENT).sum()),
            "unlabelled": int((status.isin([OutcomeStatus.OBSERVED, OutcomeStatus.RESTATED]) & unlabelled).sum()),
            "restated": int((newest["status"] == OutcomeStatus.RESTATED).sum()),
            "delisted": int(first["delisted"].fillna(False).sum()),
            "not_by_a_model": without_model,
        },
    )


def requests(ledger: Ledger, now: pd.Timestamp, days: int = performance.WINDOW_DAYS) -> pd.DataFrame:
    """Return the prediction requests of the last days, for `operations`: requested_at, latency_ms, failed."""
    found = prediction_requests.read(ledger, now - days * _DAY, now, ["requested_at", "latency_ms", "fallback"])
    return found.assign(failed=found.pop("fallback") == Fallback.NO_ANSWER)


def retrain_figures(ledger: Ledger, day: pd.Timestamp) -> Retrains:
    """Return where retraining stands, seen from a day (without a time zone); what came after it does not count."""
    history = [request for request in retrain_requests.every(ledger) if request.day <= day]
    running = sum(request.state is RetrainState.STARTED for request in history)
    pending = sum(request.state is RetrainState.PENDING for request in history)
    # One that has failed, or gave way to another before it began, is as if it had not been asked for.
    made = [request for request in history if request.state not in (RetrainState.FAILED, RetrainState.SUPERSEDED)]
    started = [(r.started_at.tz_localize(None).normalize(), r.cause) for r in made if r.started_at is not None]
    since = [((day - start) / _DAY, cause) for start, cause in started if start <= day]
    # A first model has learned of every season that had ended.
    after_season = [request.day for request in made if request.cause in (Cause.SEASON, Cause.FIRST)]
    return Retrains(
        figures={
            "running_retrains": float(running),
            "open_requests": float(running + pending),
            "days_since_retrain": min((days for days, _ in since), default=np.inf),
            "days_since_window_retrain": min((days for days, cause in since if cause in OF_A_WINDOW), default=np.inf),
        },
        last_season_retrain=max(after_season, default=None),
    )


def season_end_of(lake: Lake, source: SourceDescription, now: pd.Timestamp) -> pd.Timestamp | None:
    """Return the day on which the latest season that has ended did so (`Announced.season_end`)."""
    since = (Quarter.of(now) - 4 - SEASONS_BACK).start
    return Announced.of(lake, quarters_since(lake, source, "earnings", since, now)).season_end(now)


def arrivals(lake: Lake, source: SourceDescription, now: pd.Timestamp) -> dict[str, pd.Series]:
    """Return when the rows of each cache's main table became known, as far as that lies in the last 455 days.

    A quarter that is not in the lake has no rows: its cache is stale. Of the caches whose main table the source has.
    """
    since = now - ARRIVAL_DAYS * _DAY
    # What becomes known is at most a quarter old, or so rare that its volume does not depend on it.
    quarters = Quarter.range(Quarter.of(since) - 1, Quarter.of(now))
    found = {}
    for cache in CACHES:  # its main table bears its name: a dead feed does not hide behind what else is collected
        if cache == UNIVERSE or cache not in source.tables:
            continue
        held = [quarter for quarter in quarters if lake.has(cache, quarter)]
        times = [lake.derive(_arrived, cache, held, [KNOWABLE])] if held else []
        ends = np.array([since.to_datetime64(), now.to_datetime64()])
        near = [each[slice(*np.searchsorted(each, ends, side="right"))] for each in times]
        found[cache] = pd.Series(pd.DatetimeIndex(np.concatenate([_NO_MOMENTS, *near]), tz="UTC"))
    return found


def champion_auc(ledger: Ledger, lake: Lake, version: str) -> Figure:
    """Return the AUC that a champion is held to, with the lower bound of its 95 % interval.

    Of its walk-forward, as its last promotion recorded it (`WALK_FORWARD_AUC`), else of its own test part, whose bound
    is counted from how many events it has; undefined where there is neither.
    """
    walked = deployments.promoted_with(ledger, version)
    if np.isfinite(walked.get(WALK_FORWARD_AUC, np.nan)):
        return Figure(value=walked[WALK_FORWARD_AUC], low=walked.get(WALK_FORWARD_AUC_LOW, np.nan))
    try:
        return auc_of_test_part(metadata_of(lake, version))
    except BundleError as error:
        return undefined(str(error))


def _arrived(rows: pd.DataFrame) -> npt.NDArray[np.datetime64]:
    """Return when some rows became known (UTC), in order."""
    return np.sort(rows[KNOWABLE].to_numpy("datetime64[ns]"))


def _last_of_each_event(found: pd.DataFrame) -> IntArray:
    """Return where, of each event, the last prediction with a probability is, or the last; in the order of these."""
    made, answered = found["prediction_date"].to_numpy("datetime64[ns]"), found["predicted_probability"].notna()
    order = np.lexsort([found["id"].to_numpy(), made, answered.to_numpy()])
    again = found["event"].take(order).duplicated(keep="last").to_numpy()
    return np.asarray(order[~again], dtype=np.int64)


def _outcomes(ledger: Ledger, ids: IntArray, now: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what became of some predictions, in the order of their ids: as announced, and as it stands."""
    chosen: dict[str, Any] = {"known_at": now, "ids": ids.tolist(), "columns": ["id"]}
    first, newest = (
        outcomes.read(ledger, now - _HISTORY, now, as_announced=as_announced, **chosen)
        for as_announced in (True, False)
    )
    return first, newest


def _within(days: Moments, now: pd.Timestamp) -> npt.NDArray[np.bool_]:
    """Say which days lie in the window that is judged."""
    today = now.tz_localize(None).normalize()
    first = today - performance.WINDOW_DAYS * _DAY
    return np.asarray((days > first.to_datetime64()) & (days <= today.to_datetime64()))


def _by_event(rows: pd.DataFrame, announcements: pd.DataFrame, now: pd.Timestamp) -> dict[str, Any]:
    """Return one row an event, with the day on which it was announced in place of the expected one, and its session.

    By column. ``came`` says whether it has been announced.
    """
    last = np.sort(_last_of_each_event(rows))
    chosen = {name: rows[name].array.take(last) for name in ("event", "symbol", "as_of", "model_version")}
    numbers = {name: rows[name].to_numpy()[last] for name in ("id", "predicted_probability", "threshold")}
    place = announcements.index.get_indexer(pd.Index(chosen["event"]))
    came = announcements[KNOWABLE].array.take(place, allow_fill=True) <= now
    announced_on = rows["announced_on"].to_numpy()[last]
    announced_on[came] = announcements["announced_on"].to_numpy()[place[came]]
    session = announcements["session"].array.take(np.where(came, place, -1), allow_fill=True)
    return {**chosen, **numbers, "announced_on": announced_on, "session": session, "came": came}


def _some(columns: dict[str, Any], which: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return some rows of all columns."""
    places = np.flatnonzero(which)
    return {name: values.take(places) for name, values in columns.items()}


def _returns(
    lake: Lake, source: SourceDescription, now: pd.Timestamp, rows: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    # A quarter more than the windows need: false level shifts are seen by their past.
    first = rows["as_of"].min() if len(rows) else now
    quarters = quarters_since(lake, source, "ohlcv", first - 92 * _DAY, now) if "ohlcv" in source.tables else []
    needed = [*rows["symbol"].unique(), source.benchmark]
    known = Prices.load(lake, source, quarters).since((first - _PAST_OF_A_PRICE).tz_localize(None)).known(now, needed)
    prices = known.on_one_basis()
    found = outcome_returns(rows, prices, source.benchmark)
    return found.returns, found.positions


def _never(lake: Lake, version: str) -> float:
    try:
        return _base_rate(lake, version)
    except BundleError:
        return np.nan


@lru_cache(maxsize=64)
def _base_rate(lake: Lake, version: str) -> float:
    """Return the share of large beats among a model's training rows; a bundle never changes."""
    return float(metadata_of(lake, version)["base_rate"])
