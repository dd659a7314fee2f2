"""From scores to probabilities and from probabilities to a decision, both chosen on the validation part."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.metrics import precision_recall_curve

FloatArray = npt.NDArray[np.float64]

# Twice the gain in log likelihood that two parameters must bring. The textbook's 1 % (chi-squared, 2 degrees of
# freedom) is 9.2, but announcements of one season are not independent: their base rate moves together, up to 12 was
# seen where correcting made the next quarter worse (docs/datasets.md), and real miscalibration brings far more.
MIN_EVIDENCE = 25.0
_CLIP = 1e-6


@dataclass(frozen=True)
class Calibration:
    """A map of probabilities to probabilities, ``expit(slope * logit(p) + intercept)``, with the reason for it."""

    kind: Literal["none", "platt"]
    slope: float
    intercept: float
    evidence: float

    def apply(self, probability: FloatArray) -> FloatArray:
        """Return calibrated probabilities, shape (n,)."""
        if self.kind == "none":
            return probability
        return np.asarray(expit(self.slope * log_odds(probability) + self.intercept))


def choose_calibration(probability: FloatArray, label: FloatArray) -> Calibration:
    """Return Platt scaling where the validation part proves that it is needed, else none.

    Parameters
    ----------
    probability, label : ndarray, shape (n,)
        Of the validation part.

    Notes
    -----
    Platt, *Probabilistic Outputs for Support Vector Machines* (1999), on the log odds; the proof is a
    likelihood-ratio test against leaving the probabilities as they are.
    """
    odds = log_odds(probability)

    def log_loss(line: FloatArray) -> float:
        score = line[0] * odds + line[1]
        return float(np.sum(np.logaddexp(0, score) - label * score))

    unchanged = np.array([1.0, 0.0])
    fitted = minimize(log_loss, unchanged, method="BFGS").x
    evidence = 2 * (log_loss(unchanged) - log_loss(fitted))
    if evidence < MIN_EVIDENCE or fitted[0] <= 0:  # a negative slope would turn the ranking round
        return Calibration("none", 1.0, 0.0, evidence)
    return Calibration("platt", float(fitted[0]), float(fitted[1]), evidence)


def best_threshold(probability: FloatArray, label: FloatArray) -> float:
    """Return the probability from which calling a beat gives the highest F1 on the validation part."""
    precision, recall, thresholds = precision_recall_curve(label, probability)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def log_odds(probability: FloatArray) -> FloatArray:
    """Return ``log(p / (1 - p))``, shape (n,), of probabilities kept a millionth away from 0 and 1."""
    return np.asarray(logit(np.clip(probability, _CLIP, 1 - _CLIP)))
