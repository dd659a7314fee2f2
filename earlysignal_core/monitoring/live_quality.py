"""Is what arrives live still what the model knows? Means of a week, and each cache's age and volume."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.evaluation.resampling import FloatArray
from earlysignal_core.features.catalogue import Feature
from earlysignal_core.monitoring.action import Action, judge
from earlysignal_core.monitoring.reference import samples
from earlysignal_core.rules import Guard, Rule, Verdict

Moments = npt.NDArray[np.datetime64]

WINDOW_DAYS = 7
# The mean of ten values lies within 2/√10 of its standard deviations, so 2 are more than six times that.
MIN_VALUES = 10
MAX_SHIFT = 2.0

SHIFT_RULE = Rule(
    "mean_shift",
    "shift",
    ">",
    MAX_SHIFT,
    Action.ALERT,
    (
        Guard("counted", ">=", 1, "one value a day for all companies, or of the calendar"),
        Guard("n", ">=", MIN_VALUES, f"fewer than {MIN_VALUES} values"),
    ),
)


@dataclass(frozen=True)
class CacheLimits:
    """What a cache must keep to be trusted.

    Attributes
    ----------
    stale_days : int
        Its newest row may be so old, in days, where serving does not ask it (`ServingSettings.freshness_days` says how
        old the others may be).
    volume_days, compared_days_ago : int
        The rows that arrived in the last `volume_days` are compared with those of as many days, so long ago: a week
        ago for prices, a year ago for what comes by the season.
    least_share : float
        The share of them that must have arrived.
    """

    stale_days: float
    volume_days: int
    compared_days_ago: int
    least_share: float = 0.5


# A weekend with a holiday closes the exchange for at most four days.
_DAILY = CacheLimits(stale_days=5, volume_days=7, compared_days_ago=7)
_SEASONAL = CacheLimits(stale_days=14, volume_days=91, compared_days_ago=364)
CACHE_LIMITS: Mapping[str, CacheLimits] = {
    "ohlcv": _DAILY,
    "options": _DAILY,
    "sentiment": _DAILY,
    "macro": CacheLimits(stale_days=21, volume_days=28, compared_days_ago=28),
    "earnings": _SEASONAL,
    "income_statements": CacheLimits(stale_days=45, volume_days=91, compared_days_ago=364),
    "analyst_ratings": _SEASONAL,
    "sec_filings": _SEASONAL,
}


@dataclass(frozen=True)
class LiveQuality:
    """What the checks of a day's live data say.

    Attributes
    ----------
    features : DataFrame
        One row a feature, the farthest first: ``feature, group, counted, n, mean, training_mean, training_std, shift,
        raw, shifted, reason``; shifts in standard deviations of the training rows.
    caches : DataFrame
        One row a cache: ``cache, newest, age_days, stale_days, rows, rows_before, volume_share, stale, thin, reason``.
    verdicts : list of Verdict
        Of every cache, and of the features whose raw verdict fired (of the farthest one where none did), those that
        fired first. A rule's name ends with its feature's or cache's.
    """

    features: pd.DataFrame
    caches: pd.DataFrame
    verdicts: list[Verdict]


def cache_rules(cache: str, freshness_days: Mapping[str, float]) -> tuple[Rule, Rule]:
    """Return the two rules of a cache: old rows block predictions if serving asks for them, else alert; few alert.

    Parameters
    ----------
    cache : str
    freshness_days : mapping of str to float
        By table, how old its newest row may be for serving to predict (`ServingSettings.freshness_days`).
    """
    limits, blocks = CACHE_LIMITS[cache], cache in freshness_days
    stale_days = freshness_days.get(cache, limits.stale_days)
    return (
        Rule(f"stale:{cache}", "age_days", ">", stale_days, Action.BLOCK if blocks else Action.ALERT),
        Rule(
            f"volume:{cache}",
            "volume_share",
            "<",
            limits.least_share,
            Action.ALERT,
            (Guard("rows_before", ">=", 30, "fewer than 30 rows to compare with"),),
        ),
    )


def live_quality(
    recent: pd.DataFrame,
    normalizer: Mapping[str, Mapping[str, Any]],
    catalogue: Mapping[str, Feature],
    arrivals: Mapping[str, pd.Series],
    moment: pd.Timestamp,
    freshness_days: Mapping[str, float],
    *,
    strict: bool = False,
) -> LiveQuality:
    """Judge a week of served rows and the caches behind them.

    Parameters
    ----------
    recent : DataFrame
        Rows served in the last 7 days, a column for each feature.
    normalizer : mapping
        The bundle's: mean and standard deviation of each feature.
    catalogue : mapping of str to Feature
    arrivals : mapping of str to Series of datetime64[ns, UTC]
        By cache, the `available_at` of its rows of at least the last 455 days; those after `moment` are ignored.
    moment : Timestamp (UTC)
    freshness_days : mapping of str to float
        As for `cache_rules`.
    strict : bool
        Let the strategy's rule (2 standard deviations) act as written.
    """
    features, verdicts, caches = [], [], []
    known = samples(recent[list(normalizer)].to_numpy("float64"))
    for (name, trained), values in zip(normalizer.items(), known, strict=True):
        row, verdict = _feature_row(name, values, trained, catalogue[name], strict=strict)
        features.append(row)
        verdicts.append(verdict)
    far = [v for v in verdicts if v.raw] or sorted(verdicts, key=lambda v: np.nan_to_num(v.value, nan=-1))[-1:]
    of_caches = []
    for cache, times in arrivals.items():
        row, judged = _cache_row(cache, times.to_numpy("datetime64[ns]"), moment, freshness_days)
        caches.append(row)
        of_caches += judged
    columns = ["feature", "group", "counted", "n", "mean", "training_mean", "training_std", "shift"]
    shown = pd.DataFrame(features, columns=[*columns, "raw", "shifted", "reason"])
    return LiveQuality(
        shown.sort_values("shift", ascending=False, kind="stable", ignore_index=True),
        pd.DataFrame(caches),
        far + sorted(of_caches, key=lambda verdict: not verdict.raw),
    )


def _feature_row(
    name: str, known: FloatArray, trained: Mapping[str, Any], feature: Feature, *, strict: bool
) -> tuple[dict[str, Any], Verdict]:
    mean = float(known.mean()) if len(known) else np.nan
    shift = _shift(mean, _number(trained["mean"]), _number(trained["std"]))
    figures = {"shift": shift, "n": float(len(known)), "counted": float(feature.of_the_company)}
    verdict = judge((replace(SHIFT_RULE, name=f"{SHIFT_RULE.name}:{name}"),), figures, strict=strict)[0]
    row = {
        "feature": name,
        "group": feature.family,
        "counted": feature.of_the_company,
        "n": len(known),
        "mean": mean,
        "training_mean": trained["mean"],
        "training_std": trained["std"],
        "shift": shift,
        "raw": verdict.raw,
        "shifted": verdict.effective,
        "reason": verdict.reason,
    }
    return row, verdict


def _shift(mean: float, trained: float, deviation: float) -> float:
    if deviation > 0:
        return abs(mean - trained) / deviation
    # A feature that never moved in training: any other value is infinitely many deviations away.
    return 0.0 if mean == trained else (np.nan if np.isnan(mean) or np.isnan(trained) else np.inf)


def _cache_row(
    cache: str, times: Moments, moment: pd.Timestamp, freshness_days: Mapping[str, float]
) -> tuple[dict[str, Any], list[Verdict]]:
    limits = CACHE_LIMITS[cache]
    times = times[times <= moment.to_datetime64()]
    newest: Any = pd.Timestamp(times.max(), tz="UTC") if len(times) else pd.NaT
    # A cache without any row is as stale as can be.
    age = (moment - newest) / pd.Timedelta(days=1) if len(times) else np.inf
    end = moment - pd.Timedelta(days=limits.compared_days_ago)
    rows, before = (_count(times, until, limits.volume_days) for until in (moment, end))
    share = rows / before if before else np.nan
    figures = {"age_days": age, "volume_share": share, "rows_before": float(before)}
    stale, thin = verdicts = judge(cache_rules(cache, freshness_days), figures)
    row = {
        "cache": cache,
        "newest": newest,
        "age_days": age,
        "stale_days": stale.rule.limit,
        "rows": rows,
        "rows_before": before,
        "volume_share": share,
        "stale": stale.effective,
        "thin": thin.effective,
        "reason": f"{stale.reason}; {thin.reason}",
    }
    return row, verdicts


def _count(times: Moments, until: pd.Timestamp, days: int) -> int:
    after = until - pd.Timedelta(days=days)
    return int(((times > after.to_datetime64()) & (times <= until.to_datetime64())).sum())


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
