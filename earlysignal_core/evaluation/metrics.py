"""Figures of one set of forecasts: how well they rank, decide, and mean what they say. Each with an interval."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from earlysignal_core.evaluation.calibration import (
    Bin,
    bins_of,
    by_bin,
    calibration_error,
    chance_error,
    observed_rates,
)
from earlysignal_core.evaluation.glossary import FIGURES
from earlysignal_core.evaluation.ranking import concordance_within, ranking, resampled_auc
from earlysignal_core.evaluation.resampling import (
    LEVEL,
    Figure,
    FloatArray,
    IntArray,
    Number,
    Record,
    Resamples,
    undefined,
    with_interval,
)
from earlysignal_core.features.surprise import large_misses

HALF = 0.5
# The figures that a model is compared with its baselines by.
PAIRED = ("auc", "average_precision", "brier")
# What is left of the ranking once the easy part, which companies surprise often, is taken out of it.
HARDER = ("auc_within_company", "auc_given_large_surprise")
# What the days of production are watched by.
WATCHED = (
    *("base_rate", "accuracy_of_never", "accuracy", "precision", "recall", "f1", "auc"),
    *("brier", "brier_base_rate", "brier_skill", "ece", "ece_of_calibrated"),
)
# Enough for a smooth line, few enough for a page that holds dozens.
_CURVE_POINTS = 101

_ONE_CLASS = "one class only"
_NOTHING_CALLED = "nothing was called a large beat"
_NO_LARGE_BEAT = "there was no large beat"
_NO_PROBABILITY = "the scores are not probabilities"
_WHY_UNDEFINED = {
    "auc": _ONE_CLASS,
    "auc_within_company": "no company has both a large beat and another announcement",
    "auc_given_large_surprise": "needs a large beat and a large miss",
    "average_precision": _ONE_CLASS,
    "precision": _NOTHING_CALLED,
    "precision_at_half": _NOTHING_CALLED,
    "recall": _NO_LARGE_BEAT,
    "recall_at_half": _NO_LARGE_BEAT,
    "f1": "there was no large beat, and none was called",
    "f1_at_half": "there was no large beat, and none was called",
    "brier": _NO_PROBABILITY,
    "ece": _NO_PROBABILITY,
    "ece_of_calibrated": _NO_PROBABILITY,
    "brier_base_rate": "no base rate was known before",
    "brier_skill": "needs probabilities, and a base rate that was known before and not perfect",
}
_AT_STORED_THRESHOLD = ("accuracy", "precision", "recall", "f1")


class Confusion(Record):
    """Counts of right and wrong answers at one threshold."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int


class Curve(Record):
    """A curve as two lists of equal length, thinned to a hundred points, and the area under all its points."""

    area: Number
    x: list[float]
    y: list[float]


class Figures(Record):
    """All figures of one set of forecasts; `by_name` has the keys of `glossary.FIGURES`.

    Attributes
    ----------
    n, positives, companies : int
    rows_behind : dict of str to int
        How many of the announcements the figures of `HARDER` are about: those of companies with both a large beat and
        another announcement, and those with a large surprise.
    """

    n: int
    positives: int
    companies: int
    rows_behind: dict[str, int]
    by_name: dict[str, Figure]
    confusion: Confusion | None
    confusion_at_half: Confusion | None
    roc: Curve
    precision_recall: Curve
    calibration: list[Bin]

    def __getitem__(self, name: str) -> Figure:
        return self.by_name[name]


@dataclass(frozen=True)
class Measured:
    """Figures together with their resampled values, from which differences are taken."""

    figures: Figures
    draws: dict[str, FloatArray]


def figures(
    label: Any, probability: Any, threshold: Any, companies: Any, *, known_base_rate: Any, seed: int = 0
) -> Figures:
    """Return every figure of a set of forecasts, with 95 % intervals from resampled companies.

    Parameters
    ----------
    label : array-like, shape (n,)
        1 for a large beat, 0 for none.
    probability : array-like, shape (n,)
        Forecasts, none missing. Scores outside [0, 1] are ranked, but have no Brier score and no calibration.
    threshold : float or array-like, shape (n,), or None
        From which forecast on a large beat is called (each row has that of the model that made it). None, as for a
        baseline: the figures at the stored threshold are undefined.
    companies : array-like of str, shape (n,)
        Rows of one company are drawn together; share classes carry one name.
    known_base_rate : float or array-like, shape (n,)
        Base rate of the training data: the naive forecast that was possible at the time.
    seed : int
        Of the resampling.
    """
    return measure(label, probability, threshold, known_base_rate, Resamples.draw(companies, seed=seed)).figures


def measure(
    label: Any, probability: Any, threshold: Any, known_base_rate: Any, resamples: Resamples, surprise: Any = None
) -> Measured:
    """Return figures and their resampled values; what shares `resamples` can be compared in pairs.

    Parameters
    ----------
    label, probability, threshold, known_base_rate
        As for `figures`.
    resamples : Resamples
    surprise : array-like, shape (n,), optional
        In percent; without it the AUC given a large surprise is undefined.
    """
    positive, score = np.asarray(label, dtype=np.int64), np.asarray(probability, dtype=np.float64)
    sums, drawn, plain = _summed(positive, score, threshold, known_base_rate, resamples)
    roc, precision_recall = _roc(positive, score), _precision_recall(positive, score)
    plain |= {"auc": roc.area, "average_precision": precision_recall.area}
    draws = _figures_of(drawn) | ranking(positive, score, resamples)._asdict()
    large = np.zeros(len(score), dtype=bool) if surprise is None else (positive == 1) | large_misses(surprise)
    plain["auc_given_large_surprise"] = _roc(positive[large], score[large]).area
    draws["auc_given_large_surprise"] = ranking(positive[large], score[large], resamples.of(large)).auc
    draws["ece"] = _centred(draws["ece"], plain["ece"])
    units = resamples.companies
    rows, forecasts, hits = (sums[name][0] for name in ("bin_rows", "bin_forecasts", "bin_hits"))
    calibration = observed_rates(rows, forecasts, hits, drawn["bin_rows"], drawn["bin_hits"], units)
    return Measured(
        Figures(
            n=len(positive),
            positives=int(positive.sum()),
            companies=units,
            rows_behind={
                "auc_within_company": _rows_of_mixed_companies(positive, resamples.company),
                "auc_given_large_surprise": int(large.sum()),
            },
            by_name=_with_intervals(FIGURES, plain, draws, resamples, threshold),
            confusion=_confusion(sums, ""),
            confusion_at_half=_confusion(sums, "_at_half"),
            roc=roc,
            precision_recall=precision_recall,
            calibration=[] if np.isnan(plain["ece"]) else calibration,
        ),
        {name: draws[name] for name in (*PAIRED, *HARDER, "accuracy")},
    )


def watched(
    label: Any, probability: Any, threshold: Any, known_base_rate: Any, resamples: Resamples
) -> tuple[dict[str, Figure], dict[str, FloatArray]]:
    """Return the figures of `WATCHED`, bit for bit as `measure` does, and their resampled values.

    A day of production asks for them several times: what takes `measure` longest, curves and figures of rankings that
    nobody looks at daily, is left out.

    Parameters
    ----------
    label, probability, threshold, known_base_rate, resamples
        As for `measure`.
    """
    positive, score = np.asarray(label, dtype=np.int64), np.asarray(probability, dtype=np.float64)
    _, drawn, plain = _summed(positive, score, threshold, known_base_rate, resamples)
    plain["auc"] = _roc(positive, score).area
    draws = _figures_of(drawn) | {"auc": resampled_auc(positive, score, resamples)}
    draws["ece"] = _centred(draws["ece"], plain["ece"])
    return _with_intervals(WATCHED, plain, draws, resamples, threshold), draws


def paired(
    model: Measured, other: Measured, names: Sequence[str] = PAIRED, *, level: float = LEVEL
) -> dict[str, Figure]:
    """Return what the model has over other forecasts of the same rows, from the same resamples.

    Parameters
    ----------
    model, other : Measured
        With the same `Resamples`.
    names : sequence of str
        Of `PAIRED`, `HARDER` and ``accuracy``.
    level : float
        Of the intervals.

    Returns
    -------
    dict of Figure
        Model minus other: AUC and average precision (above 0 is better), Brier score (below 0 is better).
    """
    differences = {}
    for name in names:
        mine, theirs = model.figures[name], other.figures[name]
        differences[name] = (
            with_interval(
                mine.value - theirs.value,
                model.draws[name] - other.draws[name],
                model.figures.companies,
                level=level,
            )
            if mine.defined and theirs.defined
            else undefined(mine.reason or theirs.reason or "")
        )
    return differences


def _summed(
    positive: IntArray, score: FloatArray, threshold: Any, known_base_rate: Any, resamples: Resamples
) -> tuple[dict[str, FloatArray], dict[str, FloatArray], dict[str, float]]:
    """Return the sums of `_columns` over the rows and over those of each resample, and the figures that follow."""
    known = np.broadcast_to(np.asarray(known_base_rate, dtype=np.float64), score.shape)
    stored = np.broadcast_to(np.asarray(np.nan if threshold is None else threshold, dtype=np.float64), score.shape)
    columns = _columns(positive, score, known, stored, bins_of(score), resamples.company)
    widths = np.cumsum([column.shape[1] for column in columns.values()])[:-1]
    stacked = np.hstack(list(columns.values()))

    def by_name(sums: FloatArray) -> dict[str, FloatArray]:
        return dict(zip(columns, np.split(sums, widths, axis=1), strict=True))

    sums = by_name(stacked.sum(axis=0, keepdims=True))
    plain = {name: float(value[0]) for name, value in _figures_of(sums).items()}
    return sums, by_name(resamples.sums(stacked)), plain


def _centred(draws: FloatArray, value: float) -> FloatArray:
    """Return a calibration error's resampled values about the figure.

    Resampling adds noise to every bin, and so to this sum of distances: what it adds is taken off.
    """
    return np.asarray(np.maximum(draws - draws.mean() + value, 0))


def _with_intervals(
    names: Iterable[str],
    plain: dict[str, float],
    draws: dict[str, FloatArray],
    resamples: Resamples,
    threshold: Any,
) -> dict[str, Figure]:
    n, units = len(resamples.company), resamples.companies
    return {
        name: undefined(_why_undefined(name, n, threshold))
        if np.isnan(plain[name])
        else with_interval(plain[name], draws[name], units)
        for name in names
    }


def _columns(
    positive: IntArray, score: FloatArray, known: FloatArray, stored: FloatArray, bins: IntArray, company: IntArray
) -> dict[str, FloatArray]:
    """Return what is summed over rows, each (n, width); an input that is missing or unfit makes its sum NaN."""
    outcome = positive.astype(np.float64)
    probability = np.where((score >= 0) & (score <= 1), score, np.nan)
    called = np.where(np.isnan(stored), np.nan, score >= stored)
    called_at_half = (score >= HALF).astype(np.float64)
    columns = {
        "n": np.ones(len(score)),
        "positives": outcome,
        "called": called,
        "hits": called * outcome,
        "called_at_half": called_at_half,
        "hits_at_half": called_at_half * outcome,
        "squared": (probability - outcome) ** 2,
        "squared_base_rate": (known - outcome) ** 2,
    }
    return {name: values[:, None] for name, values in columns.items()} | {
        "pairs": concordance_within(positive, score, company),
        "bin_rows": by_bin(np.ones(len(score)), bins),
        "bin_forecasts": by_bin(probability, bins),
        "bin_hits": by_bin(outcome, bins),
        "gaps": by_bin(probability - outcome, bins),
        "variances": by_bin(probability * (1 - probability), bins),
    }


def _figures_of(sums: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Turn sums, each (resamples, width), into the figures that depend on nothing else, each (resamples,)."""
    n, positives = sums["n"][:, 0], sums["positives"][:, 0]
    base_rate = _ratio(positives, n)
    brier, brier_base_rate = _ratio(sums["squared"][:, 0], n), _ratio(sums["squared_base_rate"][:, 0], n)
    found = {
        "base_rate": base_rate,
        "accuracy_of_never": 1 - base_rate,
        "auc_within_company": _ratio(sums["pairs"][:, 0], sums["pairs"][:, 1]),
        "brier": brier,
        "brier_base_rate": brier_base_rate,
        "brier_skill": 1 - _ratio(brier, brier_base_rate),
        "ece": _ratio(calibration_error(sums["gaps"]), n),
        "ece_of_calibrated": _ratio(chance_error(sums["variances"]), n),
    }
    for suffix in ("", "_at_half"):
        called, hits = sums[f"called{suffix}"][:, 0], sums[f"hits{suffix}"][:, 0]
        found |= {
            f"accuracy{suffix}": _ratio(n - positives - called + 2 * hits, n),
            f"precision{suffix}": _ratio(hits, called),
            f"recall{suffix}": _ratio(hits, positives),
            f"f1{suffix}": _ratio(2 * hits, called + positives),
        }
    return found


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    undefined_value = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=undefined_value, where=denominator != 0)


def _why_undefined(name: str, n: int, threshold: Any) -> str:
    if n == 0:
        return "no rows"
    if name in _AT_STORED_THRESHOLD and threshold is None:
        return "no stored threshold"
    return _WHY_UNDEFINED[name]


def _rows_of_mixed_companies(positive: IntArray, company: IntArray) -> int:
    rows, beats = np.bincount(company), np.bincount(company, weights=positive)
    return int(rows[(beats > 0) & (beats < rows)].sum())


def _confusion(sums: dict[str, FloatArray], suffix: str) -> Confusion | None:
    n, positives, called, hits = (sums[name].item() for name in ("n", "positives", f"called{suffix}", f"hits{suffix}"))
    if np.isnan(called):
        return None
    return Confusion(
        true_negative=int(n - positives - called + hits),
        false_positive=int(called - hits),
        false_negative=int(positives - hits),
        true_positive=int(hits),
    )


def _roc(positive: IntArray, score: FloatArray) -> Curve:
    if len(np.unique(positive)) < 2:
        return _NO_CURVE
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, score)
    return _thinned(false_positive_rate, true_positive_rate, auc(false_positive_rate, true_positive_rate))


def _precision_recall(positive: IntArray, score: FloatArray) -> Curve:
    if len(np.unique(positive)) < 2:
        return _NO_CURVE
    precision, recall, _ = precision_recall_curve(positive, score)
    return _thinned(recall[::-1], precision[::-1], average_precision_score(positive, score))


def _thinned(x: FloatArray, y: FloatArray, area: float) -> Curve:
    """Keep points that lie about equally far apart in x, and both ends."""
    wanted = np.linspace(x[0], x[-1], _CURVE_POINTS)
    kept = np.unique(np.r_[0, np.searchsorted(x, wanted).clip(max=len(x) - 1), len(x) - 1])
    return Curve(area=float(area), x=x[kept].round(6).tolist(), y=y[kept].round(6).tolist())


_NO_CURVE = Curve(area=np.nan, x=[], y=[])
