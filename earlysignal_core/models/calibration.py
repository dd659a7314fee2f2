"""From scores to probabilities and from probabilities to a decision, both chosen on the validation part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import precision_recall_curve

FloatArray = npt.NDArray[np.float64]

# Twice the gain in log likelihood that a map must bring. The textbook's 1 % for Platt's two parameters (chi-squared, 2
# degrees of freedom) is 9.2, but announcements of one season are not independent: their base rate moves together, up to
# 12 was seen where correcting made the next quarter worse (docs/datasets.md), and real miscalibration brings far more.
MIN_EVIDENCE = 25.0
_FOLDS = 5
_BINS = 10
_CLIP = 1e-6


@dataclass(frozen=True)
class Calibration:
    """A map of probabilities to probabilities that keeps their order, with the reason for it.

    Attributes
    ----------
    kind : str
        ``none``, or how it was fitted.
    slope, intercept : float
        ``platt``: ``expit(slope * logit(p) + intercept)``. ``beta``: ``expit(slope * log(p) - slope_of_misses *
        log(1 - p) + intercept)``.
    evidence : float
        Twice the gain in log likelihood on rows that the map was not fitted on; of ``none``, the most that a map had.
    slope_of_misses : float
        Of ``beta``.
    forecast, observed : sequence of float
        ``isotonic``: what is forecast, and the rate to put in its place; between them a straight line.
    """

    kind: Literal["none", "platt", "beta", "isotonic"]
    slope: float
    intercept: float
    evidence: float
    slope_of_misses: float = 1.0
    forecast: Sequence[float] = ()
    observed: Sequence[float] = ()

    def apply(self, probability: FloatArray) -> FloatArray:
        """Return calibrated probabilities, shape (n,)."""
        if self.kind == "none":
            return probability
        if self.kind == "isotonic":
            return np.asarray(np.interp(probability, self.forecast, self.observed))
        if self.kind == "beta":
            beats, misses = _logs(probability)
            return np.asarray(expit(self.slope * beats - self.slope_of_misses * misses + self.intercept))
        return np.asarray(expit(self.slope * log_odds(probability) + self.intercept))

    def __str__(self) -> str:
        if self.kind == "none":
            return f"none: a map gains {self.evidence:+.1f} at most by cross-fitting, and {MIN_EVIDENCE:g} is asked"
        maps = {
            "platt": f"log odds × {self.slope:.3f} {self.intercept:+.3f}",
            "beta": f"ln p × {self.slope:.3f} − ln(1 − p) × {self.slope_of_misses:.3f} {self.intercept:+.3f}",
            "isotonic": f"{len(self.forecast)} points joined by straight lines",
        }
        return f"{self.kind}: {maps[self.kind]}; gains {self.evidence:.1f} by cross-fitting"


UNCHANGED = Calibration("none", 1.0, 0.0, 0.0)


def choose_calibration(probability: FloatArray, label: FloatArray) -> Calibration:
    """Return the simplest map that the validation part proves to be needed: none, Platt, beta or isotonic.

    Parameters
    ----------
    probability, label : ndarray, shape (n,)
        Of the validation part, in time order.

    Notes
    -----
    Each map is cross-fitted: five stretches of time are each corrected by a map of the other four, and the log
    likelihood must gain `MIN_EVIDENCE` over the simpler one that was chosen before it. The map that serves is then
    fitted on all rows.
    """
    loss = _log_loss(probability, label)
    chosen, least, most = UNCHANGED, loss, -np.inf
    for fit in _MAPS:
        crossed = _log_loss(_cross_fitted(fit, probability, label), label)
        most = max(most, 2 * (loss - crossed))
        if 2 * (least - crossed) >= MIN_EVIDENCE:
            chosen, least = replace(fit(probability, label), evidence=2 * (loss - crossed)), crossed
    return chosen if chosen.kind != "none" else replace(UNCHANGED, evidence=float(most))


def _cross_fitted(
    fit: Callable[[FloatArray, FloatArray], Calibration], probability: FloatArray, label: FloatArray
) -> FloatArray:
    corrected = probability.copy()
    for rows in np.array_split(np.arange(len(label)), _FOLDS):
        others = np.delete(np.arange(len(label)), rows)
        if len(np.unique(label[others])) == 2:
            corrected[rows] = fit(probability[others], label[others]).apply(probability[rows])
    return corrected


def _platt(probability: FloatArray, label: FloatArray) -> Calibration:
    """Platt, *Probabilistic Outputs for Support Vector Machines* (1999), on the log odds."""
    slope, intercept = _fitted(log_odds(probability)[:, None], label, np.array([1.0, 0.0]))
    return replace(UNCHANGED, kind="platt", slope=slope, intercept=intercept) if slope > 0 else UNCHANGED


def _beta(probability: FloatArray, label: FloatArray) -> Calibration:
    """Kull, Silva Filho & Flach, "Beta calibration", AISTATS 2017: for scores that are wrong at one end only."""
    beats, misses = _logs(probability)
    slope, of_misses, intercept = _fitted(np.column_stack([beats, -misses]), label, np.array([1.0, 1.0, 0.0]))
    if min(slope, of_misses) < 0 or slope + of_misses == 0:  # the order would turn round
        return UNCHANGED
    return replace(UNCHANGED, kind="beta", slope=slope, slope_of_misses=of_misses, intercept=intercept)


def _isotonic(probability: FloatArray, label: FloatArray) -> Calibration:
    """Zadrozny & Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", KDD 2002."""
    # No rate is certain: at each end one row more of the other kind.
    least = 1 / (len(label) + 2)
    steps = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(probability, label)
    forecast, observed = steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist()
    return replace(UNCHANGED, kind="isotonic", forecast=forecast, observed=observed)


_MAPS = (_platt, _beta, _isotonic)


def _fitted(inputs: FloatArray, label: FloatArray, start: FloatArray) -> list[float]:
    """Return the weights, and last the intercept, of a logistic regression without regularisation."""

    def log_loss(weights: FloatArray) -> float:
        score = inputs @ weights[:-1] + weights[-1]
        return float(np.sum(np.logaddexp(0, score) - label * score))

    return [float(weight) for weight in minimize(log_loss, start, method="BFGS").x]


def _log_loss(probability: FloatArray, label: FloatArray) -> float:
    beats, misses = _logs(probability)
    return float(-np.sum(label * beats + (1 - label) * misses))


def _logs(probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    clipped = np.clip(probability, _CLIP, 1 - _CLIP)
    return np.log(clipped), np.log1p(-clipped)


def reliability(probability: FloatArray, label: FloatArray) -> dict[str, Any]:
    """Return mean forecast and observed rate in ten bins of equal count, and their mean distance, the ECE."""
    bins = [rows for rows in np.array_split(np.argsort(probability, kind="stable"), _BINS) if len(rows)]
    forecast, observed = ([float(values[rows].mean()) for rows in bins] for values in (probability, label))
    sizes = [len(rows) for rows in bins]
    ece = float(np.average(np.abs(np.subtract(forecast, observed)), weights=sizes)) if bins else None
    return {"ece": ece, "forecast": forecast, "observed": observed}


def best_threshold(probability: FloatArray, label: FloatArray) -> float:
    """Return the probability from which calling a beat gives the highest F1 on the validation part."""
    precision, recall, thresholds = precision_recall_curve(label, probability)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def log_odds(probability: FloatArray) -> FloatArray:
    """Return ``log(p / (1 - p))``, shape (n,), of probabilities kept a millionth away from 0 and 1."""
    return np.asarray(logit(np.clip(probability, _CLIP, 1 - _CLIP)))
