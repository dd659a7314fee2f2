"""Gradient boosting, regularised and deterministic: the same rows give the same bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import lightgbm as lgb
import numpy as np

from earlysignal_core.models.algorithm import FloatArray
from earlysignal_core.quarters import Quarter

THREADS = 1

LIBRARY, REFUSAL = "lightgbm", lgb.basic.LightGBMError
# Chosen on the quarters up to 2016-Q4 of the long tape, the simplest within noise: see docs/datasets.md.
UNTOUCHED_FROM = Quarter(2017, 1)
PARAMS: MappingProxyType[str, Any] = MappingProxyType(
    {
        "objective": "binary",
        "learning_rate": 0.03,
        "num_leaves": 4,
        "min_child_samples": 50,
        "feature_fraction": 0.5,
        "seed": 0,
        # Sums in a fixed order: without these the last bits depend on the threads and on a timing of the layouts.
        "deterministic": True,
        "force_row_wise": True,
        # On so few rows a second thread gains little, and where the cores are busy it costs thirty times: threads that
        # wait for each other spin.
        "num_threads": THREADS,
        "verbosity": -1,
    }
)
MAX_TREES = 500
PATIENCE = 30


@dataclass(frozen=True)
class Trees:
    """Fitted trees."""

    booster: lgb.Booster

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the probability of each row before calibration, shape (n,)."""
        if len(X) == 0:
            return np.empty(0)
        return np.asarray(self.booster.predict(X, num_threads=THREADS))

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log odds of each row, shape (n, features + 1), the last being the base.

        Notes
        -----
        Exact SHAP values of trees: Lundberg et al., "Consistent Individualized Feature Attribution for Tree Ensembles"
        (2018). A row's values add up to its score before the sigmoid and before calibration.
        """
        if len(X) == 0:
            return np.empty((0, X.shape[1] + 1))
        return np.asarray(self.booster.predict(X, pred_contrib=True, num_threads=THREADS))

    def importance(self) -> FloatArray:
        """Return the gain of all splits of each feature, shape (features,)."""
        return np.asarray(self.booster.feature_importance("gain"), dtype="float64")

    def to_text(self) -> str:
        """Return LightGBM's own text form."""
        return str(self.booster.model_to_string())


def load(text: str) -> Trees:
    """Read what `Trees.to_text` gave."""
    return Trees(lgb.Booster(model_str=text))


def fit(X: FloatArray, y: FloatArray, features: list[str], size: int, params: Mapping[str, Any]) -> Trees:
    """Fit a given number of trees.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        NaN where a value is missing: trees learn from absence.
    y : ndarray, shape (n,)
        1 or 0.
    """
    return Trees(lgb.train(dict(params), lgb.Dataset(X, y, feature_name=features), num_boost_round=size))


def fit_until_worse(
    X: FloatArray,
    y: FloatArray,
    X_validation: FloatArray,
    y_validation: FloatArray,
    features: list[str],
    params: Mapping[str, Any],
) -> tuple[Trees, int]:
    """Fit until the validation log loss has not improved for `PATIENCE` trees; return with it where it was best.

    Log loss and not AUC: AUC is blind to how sure a model is, and stops at a few trees of badly calibrated scores.
    """
    training = lgb.Dataset(X, y, feature_name=features)
    booster = lgb.train(
        {**params, "metric": "binary_logloss"},
        training,
        num_boost_round=MAX_TREES,
        valid_sets=[training.create_valid(X_validation, y_validation)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return Trees(booster), booster.best_iteration
