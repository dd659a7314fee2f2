"""Has the world moved away from what the model was trained on? Features by KS distance, predictions by PSI."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.datasets.comparison import CHANCE_DISTANCE, MIN_DISTANCE, FloatArray, ks_distance
from earlysignal_core.features.catalogue import Feature
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.monitoring.action import Action, MonitoringError, judge
from earlysignal_core.monitoring.reference import MIN_VALUES, Reference, counted_once, sample, samples, usual
from earlysignal_core.rules import Guard, Rule, Verdict

USUAL_PSI = "usual_psi.json"
MAX_PSI = 0.2
BINS = 10
# 99.9 % of a chi-squared variable with nine degrees of freedom, which PSI / (1/n + 1/m) is where nothing has moved;
# and how far that lies above its mean: what chance may add to a distance that is usual.
CHANCE_PSI = 27.9
CHANCE_ABOVE_USUAL = CHANCE_PSI - (BINS - 1)
MIN_FEATURES = 3
# A feature goes missing when its missing share rises by more than this, and by more than chance explains.
MAX_MISSING_RISE = 0.25
CHANCE_MISSING = 3.5

FEATURE_RULE = Rule(
    "feature_drift",
    "distance",
    ">",
    MIN_DISTANCE,
    Action.SHOW,
    (
        Guard("counted", ">=", 1, "one value a day for all companies, or of the calendar"),
        Guard("n", ">=", MIN_VALUES, f"fewer than {MIN_VALUES} values"),
        Guard("above_chance", ">", 0, "so few values lie so far apart by chance"),
        Guard("above_usual", ">", 0, "months of the training period lay as far from the rest of it"),
    ),
)
MISSING_RULE = Rule(
    "feature_missing",
    "missing_rise",
    ">",
    MAX_MISSING_RISE,
    Action.SHOW,
    (Guard("missing_above_chance", ">", 0, "so few rows differ so much by chance"),),
)
PREDICTIONS_RULE = Rule(
    "prediction_drift",
    "psi",
    ">",
    MAX_PSI,
    Action.EMERGENCY,
    (
        Guard("psi_above_chance", ">", 0, "so few predictions differ so much by chance"),
        Guard(
            "psi_above_usual",
            ">",
            0,
            "months held out of the training lay as far from it, but for chance, or are too few to tell",
        ),
    ),
)
FEATURES_RULE = Rule(
    "feature_drift",
    "features_above_limit",
    ">=",
    MIN_FEATURES,
    Action.SCHEDULE,
    (Guard("features_drifted", ">=", MIN_FEATURES, f"fewer than {MIN_FEATURES} features are left after the guards"),),
)
MISSING_FEATURES_RULE = Rule("features_missing", "features_missing", ">=", 1, Action.ALERT)
RULES = (PREDICTIONS_RULE, FEATURES_RULE, MISSING_FEATURES_RULE)


@dataclass(frozen=True)
class Drift:
    """How far the recent rows lie from a model's training rows.

    Attributes
    ----------
    version : str
        The model's.
    features : DataFrame
        One row a feature, the farthest first: ``feature, group, counted, n, missing, missing_reference, distance,
        limit, usual, season_distance, season_limit, raw, drifted, reason, gone_missing``. `limit` holds chance;
        `usual` is what 95 % of the months of the training period kept within; the season's are against the same
        season of earlier years, for the reader. Distances are NaN without values, `usual` with too short a history.
    figures : dict of str to float
    verdicts : list of Verdict
        Of `RULES`.
    """

    version: str
    features: pd.DataFrame
    figures: dict[str, float]
    verdicts: list[Verdict]


def detect_drift(
    recent: pd.DataFrame,
    reference: Reference,
    catalogue: Mapping[str, Feature],
    *,
    usual_psi: float = np.nan,
    strict: bool = False,
) -> Drift:
    """Compare recent rows with a model's training rows.

    Parameters
    ----------
    recent : DataFrame
        The rows served in the last 30 days: ``as_of``, ``probability`` (missing where nothing could be served) and
        the model's features.
    reference : Reference
    catalogue : mapping of str to Feature
        Says which features are counted.
    usual_psi : float
        What the predictions of 95 % of the months that were held out of the training kept within; NaN, unknown, holds
        the rule back.
    strict : bool
        Let the strategy's rules act as written, without their guards.

    Raises
    ------
    MonitoringError
        If a feature of the model is not among the columns, or not in the catalogue.
    """
    if unknown := [name for name in reference.features if name not in catalogue]:
        raise MonitoringError(
            f"model {reference.version} reads feature(s) that the catalogue no longer holds: {', '.join(unknown)}. "
            f"Remedy: train a new model."
        )
    if absent := [name for name in ("as_of", "probability", *reference.features) if name not in recent]:
        raise MonitoringError(
            f"the recent rows lack the column(s) {', '.join(absent)} of model {reference.version}. "
            f"Remedy: hand over the rows as they were served."
        )
    season = reference.season(_middle(recent["as_of"])) if len(recent) else reference.frame.iloc[:0]
    names = reference.features
    now, of_season = (samples(rows[names].to_numpy("float64")) for rows in (recent, season))
    told = [
        _feature_row(name, values, others, len(recent), reference, catalogue[name], strict=strict)
        for name, values, others in zip(names, now, of_season, strict=True)
    ]
    features = pd.DataFrame({column: [row[column] for row in told] for column in told[0]})
    features = features.sort_values("distance", ascending=False, kind="stable", ignore_index=True)
    counted = features["counted"]
    predictions, trained = sample(recent["probability"]), reference.forecasts
    moved = psi(predictions, trained)
    limit, usual_limit = (
        psi_limit(len(predictions), len(trained)),
        usual_psi_limit(usual_psi, len(predictions), len(trained)),
    )
    figures = {
        "rows": float(len(recent)),
        "reference_rows": float(len(reference.frame)),
        "predictions": float(len(predictions)),
        "psi": moved,
        "psi_limit": limit,
        "psi_above_chance": moved - limit,
        "psi_usual": usual_psi,
        # NaN where too few months were held out to tell: an emergency is not declared on a model that young.
        "psi_usual_limit": usual_limit,
        "psi_above_usual": moved - usual_limit,
        "psi_of_season": psi(predictions, sample(season["probability"])),
        "features_compared": float((counted & features["distance"].notna()).sum()),
        "features_above_limit": float(features["raw"].sum()),
        "features_drifted": float(features["drifted"].sum()),
        "features_missing": float(features["gone_missing"].sum()),
        "missing_share": float(features["missing"].mean()),
        "mean_distance": float(features.loc[counted, "distance"].mean()),
        "max_distance": float(features.loc[counted, "distance"].max()),
    }
    return Drift(reference.version, features, figures, judge(RULES, figures, strict=strict))


def kept_usual_psi(lake: Lake, bundle: Bundle, reference: Reference) -> float:
    """Return how far the predictions of held-out months usually lie from those of the training rows, as PSI.

    What a model says of rows that it has learned from is surer than what it says of others, the more so the younger it
    is: without this guard a quiet month of a young model looks like drift. It costs a fit, so it is counted when it is
    first asked for and then kept beside the model.
    """

    def count() -> dict[str, float]:
        trained = reference.forecasts
        return {"usual_psi": usual(reference.held_out(bundle), "probability", lambda window: psi(window, trained))}

    return counted_once(lake, bundle, USUAL_PSI, ["usual_psi"], count)["usual_psi"]


def psi(values: FloatArray, reference: FloatArray) -> float:
    """Return the population stability index of two sorted samples over ten bins of the reference's deciles.

    Equal deciles share a bin. Half a count is added to every bin, so that an empty one is finite; NaN where either
    sample is empty.

    Notes
    -----
    Σ (p − q) · ln(p / q); Yurdakul, "Statistical Properties of Population Stability Index" (2018): in bins of fixed
    number B it is (1/n + 1/m) · χ² with B − 1 degrees of freedom where nothing has moved.
    """
    if not len(values) or not len(reference):
        return np.nan
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    counts = (
        np.diff(np.searchsorted(sample, edges, "left"), prepend=0, append=len(sample)) + 0.5
        for sample in (values, reference)
    )
    new, old = (count / count.sum() for count in counts)
    return float(((new - old) * np.log(new / old)).sum())


def psi_limit(n: int, m: int) -> float:
    """Return what the PSI of n and m values must exceed: 0.2, or more where chance gives more."""
    return max(MAX_PSI, CHANCE_PSI * (1 / n + 1 / m)) if n and m else np.nan


def usual_psi_limit(usual_psi: float, n: int, m: int) -> float:
    """Return what the PSI of n and m values must exceed where 95 % of months kept within `usual_psi`.

    Few values lie farther apart by chance than the months did that told what is usual, so chance comes on top of it.
    """
    return usual_psi + CHANCE_ABOVE_USUAL * (1 / n + 1 / m) if n and m else np.nan


def distance_limit(n: int, m: int) -> float:
    """Return what the KS distance of n and m values must exceed: 0.15, or more where chance gives more."""
    return float(max(MIN_DISTANCE, CHANCE_DISTANCE * np.sqrt(1 / n + 1 / m))) if n and m else np.nan


def _feature_row(
    name: str,
    values: FloatArray,
    of_season: FloatArray,
    rows: int,
    reference: Reference,
    feature: Feature,
    *,
    strict: bool,
) -> dict[str, object]:
    trained = reference.samples[name]
    n, m, trained_rows = len(values), len(trained), len(reference.frame)
    distance, limit, usual = _distance(values, trained), distance_limit(n, m), reference.usual[name]
    missing = 1 - n / rows if rows else np.nan
    missing_reference = 1 - m / trained_rows if trained_rows else np.nan
    figures = {
        "counted": float(feature.of_the_company),
        "n": float(n),
        "distance": distance,
        "above_chance": distance - limit,
        # Too short a history to say what is usual holds nothing back.
        "above_usual": distance - np.nan_to_num(usual),
        "missing_rise": missing - missing_reference,
        "missing_above_chance": missing - missing_reference - _missing_by_chance(missing_reference, rows, trained_rows),
    }
    drifted, gone = judge((FEATURE_RULE, MISSING_RULE), figures, strict=strict)
    return {
        "feature": name,
        "group": feature.family,
        "counted": feature.of_the_company,
        "n": n,
        "missing": missing,
        "missing_reference": missing_reference,
        "distance": distance,
        "limit": limit,
        "usual": usual,
        "season_distance": _distance(values, of_season),
        "season_limit": distance_limit(n, len(of_season)),
        "raw": drifted.raw,
        "drifted": drifted.effective,
        "reason": drifted.reason,
        "gone_missing": gone.effective,
    }


def _distance(values: FloatArray, trained: FloatArray) -> float:
    return ks_distance(values, trained) if len(values) and len(trained) else np.nan


def _missing_by_chance(share: float, n: int, m: int) -> float:
    # One missing value more on either side, so that a share of 0 has an error too.
    return float(CHANCE_MISSING * np.sqrt((share * (1 - share) + 1 / (m + 1)) * (1 / n + 1 / m))) if n and m else np.nan


def _middle(time: pd.Series) -> pd.Timestamp:
    middle: pd.Timestamp = time.min() + (time.max() - time.min()) / 2
    return middle
