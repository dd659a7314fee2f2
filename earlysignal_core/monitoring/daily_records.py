"""The three records of a day: drift, the quality of live data, performance."""

from collections.abc import Mapping
from functools import lru_cache, partial

import numpy as np
import pandas as pd

from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.monitoring import served
from earlysignal_core.monitoring.action import Action, MonitoringError, judge
from earlysignal_core.monitoring.day_record import DayRecord, verdict_rows
from earlysignal_core.monitoring.drift import detect_drift, kept_usual_psi
from earlysignal_core.monitoring.drift_report import PageError, drift_page
from earlysignal_core.monitoring.importance import Importance, importance, kept_training_importance, unknown_importance
from earlysignal_core.monitoring.live_quality import WINDOW_DAYS as WEEK
from earlysignal_core.monitoring.live_quality import live_quality
from earlysignal_core.monitoring.performance import CALIBRATION_RULE, LATENCY_RULE, operations, production_performance
from earlysignal_core.monitoring.reference import WINDOW_DAYS, Reference, ReferenceLostError
from earlysignal_core.rules import Rule, Verdict
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription

DRIFT, QUALITY, METRICS = "drift_report", "live_data_quality", "production_metrics"
MEASURED_RULE = Rule("measured", "measured", "<", 1, Action.REPAIR)
PAGE_RULE = Rule("evidently_agrees", "evidently_agrees", "<", 1, Action.REPAIR)
PAGES = "reports/drift"
PAGES_KEPT = 60  # several megabytes each; the figures are kept for ever


def drift_record(
    ledger: Ledger, lake: Lake, bundle: Bundle, at: pd.Timestamp, *, strict: bool = False, page: bool = True
) -> DayRecord:
    """Compare the rows of the last 30 days with those that the champion was trained on.

    Parameters
    ----------
    ledger : Ledger
    lake : Lake
        Takes Evidently's page, if one is wanted and there is anything to draw.
    bundle : Bundle
        The champion. It scores the rows anew: what an earlier model said of them is not what its reference holds.
    at : Timestamp
        UTC.
    strict, page : bool
    """
    day = at.tz_localize(None).normalize()
    recent = served.recent_rows(ledger, at, WINDOW_DAYS, features=bundle.features)
    answered = recent["probability"].notna().to_numpy()
    if answered.any():
        recent.loc[answered, "probability"] = bundle.predict(recent if answered.all() else recent[answered])
    try:
        reference = _reference(lake, str(bundle.version))
    except ReferenceLostError as error:
        return DayRecord(DRIFT, day, {MEASURED_RULE.figure: 0.0}, verdict_rows([_acts(MEASURED_RULE, error)]))
    usual_psi = kept_usual_psi(lake, bundle, reference)
    drift = detect_drift(recent, reference, catalogue(), usual_psi=usual_psi, strict=strict)
    tables, verdicts, figures = {"features": drift.features}, drift.verdicts, drift.figures
    try:
        drawn = drift_page(drift, recent, reference, day) if page else None
    except PageError as error:
        drawn = None
        verdicts, figures = [*verdicts, _acts(PAGE_RULE, error)], figures | {PAGE_RULE.figure: 0.0}
        if lake.exists(page_of(day)):  # of an earlier attempt
            lake.remove(page_of(day))
    if drawn is not None:
        tables["worst"] = drawn.worst
        lake.write_bytes(page_of(day), drawn.html)
        for old in lake.files(PAGES)[:-PAGES_KEPT]:
            lake.remove(old)
    return DayRecord(DRIFT, day, figures, verdict_rows(verdicts), tables)


@lru_cache(maxsize=2)
def _reference(lake: Lake, version: str) -> Reference:
    """Return what the champion was trained on; it never changes, and what it says of itself is counted once."""
    return Reference.load(lake, version)


def _moved(looked_at: Importance, rows: int, drift: DayRecord) -> pd.DataFrame:
    """Return how far what the model looks at, and its inputs, have moved, as rows of the table of `performance`."""
    divergence, distance = looked_at.divergence, drift.figures.get("mean_distance", np.nan)
    compared = drift.figures.get("features_compared", 0.0)
    why = "a mean over features, which are not drawn" if np.isfinite(distance) else "nothing could be compared"
    importance_row = ("importance_drift", divergence.value, divergence.low, divergence.high, rows)
    distance_row = ("distribution_drift", distance, np.nan, np.nan, int(np.nan_to_num(compared)))
    reason = (divergence.reason or "").replace("companies", "days")
    return pd.DataFrame(
        [(*importance_row, 0.0, "the training rows", reason), (*distance_row, 0.0, "the training rows", why)],
        columns=["figure", "value", "low", "high", "n", "base", "base_is", "reason"],
    )


def _acts(rule: Rule, error: MonitoringError) -> Verdict:
    """Return what a rule says of something that could not be done."""
    return Verdict(rule, 0.0, raw=True, effective=True, reason=str(error))


def page_of(day: pd.Timestamp) -> str:
    """Return where Evidently's page of a day is in the lake."""
    return f"{PAGES}/{day:%Y-%m-%d}.html"


def quality_record(
    ledger: Ledger, lake: Lake, source: SourceDescription, bundle: Bundle, at: pd.Timestamp, settings: Settings
) -> DayRecord:
    """Hold the rows of a week, and the caches behind them, to what the champion knows."""
    rows = served.recent_rows(ledger, at, WEEK, features=bundle.features)
    arrivals = served.arrivals(lake, source, at)
    freshness, strict = settings.serving.freshness_days, settings.strict_rules
    found = live_quality(rows, bundle.normalizer, catalogue(), arrivals, at, freshness, strict=strict)
    figures = {"rows": float(len(rows)), "features_shifted": float(found.features["shifted"].sum())}
    for name in ("age_days", "volume_share"):
        values = found.caches[name].astype("float64")
        figures |= {f"{name}_{cache}": value for cache, value in zip(found.caches["cache"], values, strict=True)}
    tables = {"features": found.features, "caches": found.caches}
    return DayRecord(QUALITY, at.tz_localize(None).normalize(), figures, verdict_rows(found.verdicts), tables)


def metrics_record(
    ledger: Ledger,
    lake: Lake,
    source: SourceDescription,
    bundle: Bundle,
    at: pd.Timestamp,
    calendar: Mapping[str, float],
    drift: DayRecord,
    settings: Settings,
) -> DayRecord:
    """Measure how production does: the model, the portfolio, what the model looks at, and the service.

    Parameters
    ----------
    calendar : mapping of str to float
        From `retrain_policy.calendar_figures`: what is judged weekly and monthly asks it.
    drift : DayRecord
        The day's: its mean distance is the distribution drift.
    settings : Settings

    Notes
    -----
    The table tells how what was *served* did. The rules ask how the *champion* does, by its own predictions: after a
    promotion those of the model before would raise the same alarm again.
    """
    judged = served.judged_events(ledger, lake, source, at)
    version = str(bundle.version)
    auc = served.champion_auc(ledger, lake, version)
    own = judged.predictions[judged.predictions["version"] == version]
    measured = partial(
        production_performance,
        earlier=judged.earlier,
        positions=judged.positions,
        pending=judged.pending,
        champion_auc=auc,
        cost_bps=settings.cost_bps,
        strict=settings.strict_rules,
    )
    by_champion = measured(own)
    performance = by_champion if len(own) == len(judged.predictions) else measured(judged.predictions)
    service = operations(served.requests(ledger, at))
    recent = served.recent_rows(ledger, at, WINDOW_DAYS, features=bundle.features)
    lost = []
    try:
        looked_at = importance(bundle, recent, kept_training_importance(lake, bundle))
    except ReferenceLostError as error:
        looked_at, lost = unknown_importance(bundle, str(error)), [_acts(MEASURED_RULE, error)]
    of_service = dict(zip(service["figure"], service["value"], strict=True))
    moved = {"distribution_drift": drift.figures.get("mean_distance", np.nan)}
    asked = by_champion.figures | of_service | looked_at.figures | moved | dict(calendar)
    verdicts = [*by_champion.verdicts, *judge((CALIBRATION_RULE,), asked), looked_at.verdict(dict(calendar))]
    verdicts += [*judge((LATENCY_RULE,), asked), *lost]
    return DayRecord(
        METRICS,
        at.tz_localize(None).normalize(),
        {name: value for name, value in asked.items() if name not in calendar}
        | {name: float(count) for name, count in judged.counts.items()},
        verdict_rows(verdicts),
        {
            "served": pd.concat([performance.table, service, _moved(looked_at, len(recent), drift)], ignore_index=True),
            "importance": looked_at.table,
        },
    )
