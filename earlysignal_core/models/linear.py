"""Regularised logistic regression, the honest small model: all that it learns of a feature is one number."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from earlysignal_core.models.algorithm import FloatArray

LIBRARY, REFUSAL = "scikit-learn", ValueError
PARAMS: MappingProxyType[str, Any] = MappingProxyType({"C": 0.01})
_TAIL = 0.01


@dataclass(frozen=True)
class Linear:
    """Per feature a range, a median that stands in for what is missing, a scale and a weight; all of training rows.

    Attributes
    ----------
    low, high : list of float
        The 1st and 99th percentile: what lies beyond counts as lying there, for ratios have no bounds.
    middle, mean, scale, weight : list of float
    missing : list of float
        Weight of a value's absence.
    intercept : float
    """

    low: list[float]
    high: list[float]
    middle: list[float]
    mean: list[float]
    scale: list[float]
    weight: list[float]
    missing: list[float]
    intercept: float

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the probability of each row before calibration, shape (n,)."""
        return np.asarray(expit(self.contributions(X).sum(axis=1)))

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return weight times distance from the mean of the training rows, shape (n, features + 1)."""
        standard, absent = self._inputs(X)
        parts = standard * self.weight + absent * self.missing
        # C-ordered and along the rows, so that a row alone is summed as it is among others.
        return np.ascontiguousarray(np.column_stack([parts, np.full(len(X), self.intercept)]))

    def importance(self) -> FloatArray:
        """Return the absolute weight of each standardised feature, shape (features,)."""
        return np.abs(self.weight)

    def to_text(self) -> str:
        """Return JSON."""
        return json.dumps(asdict(self))

    def _inputs(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        return _standardised(X, self.low, self.high, self.middle, self.mean, self.scale), np.isnan(X).astype(np.float64)


def fit(X: FloatArray, y: FloatArray, features: list[str], size: int, params: Mapping[str, Any]) -> Linear:  # noqa: ARG001
    """Fit the weights; everything else is a figure of these rows, too."""
    known = np.where(np.isnan(X).all(axis=0), 0.0, X)
    low, high = np.nanquantile(known, [_TAIL, 1 - _TAIL], axis=0)
    middle = np.nanmedian(known, axis=0)
    filled = _standardised(X, low, high, middle, np.zeros(X.shape[1]), np.ones(X.shape[1]))
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    inputs = np.hstack([(filled - mean) / scale, np.isnan(X).astype(np.float64)])
    model = LogisticRegression(C=params["C"], max_iter=1000).fit(inputs, y)
    weight, missing = np.split(model.coef_[0], 2)
    low, high, middle, mean, scale, weight, missing = (
        figure.tolist() for figure in (low, high, middle, mean, scale, weight, missing)
    )
    return Linear(low, high, middle, mean, scale, weight, missing, float(model.intercept_[0]))


def fit_until_worse(
    X: FloatArray,
    y: FloatArray,
    X_validation: FloatArray,  # noqa: ARG001 - nothing is left to choose
    y_validation: FloatArray,  # noqa: ARG001
    features: list[str],
    params: Mapping[str, Any],
) -> tuple[Linear, int]:
    """Fit; a straight line has no size to choose."""
    return fit(X, y, features, 1, params), 1


def load(text: str) -> Linear:
    """Read what `Linear.to_text` gave."""
    return Linear(**json.loads(text))


def _standardised(X: FloatArray, low: Any, high: Any, middle: Any, mean: Any, scale: Any) -> FloatArray:
    within = np.clip(X, low, high)
    return np.asarray((np.where(np.isnan(within), middle, within) - mean) / scale)
