"""XGBoost with the same few leaves, deterministic on one thread, missing values as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import xgboost as xgb

from earlysignal_core.models.algorithm import FloatArray
from earlysignal_core.models.boosters import MAX_TREES, PATIENCE, THREADS

LIBRARY, REFUSAL = "xgboost-cpu", xgb.core.XGBoostError
PARAMS: MappingProxyType[str, Any] = MappingProxyType(
    {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "learning_rate": 0.03,
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": 4,
        # About fifty rows a leaf at a base rate of a tenth: a row weighs p (1 - p).
        "min_child_weight": 5,
        "colsample_bytree": 0.5,
        "seed": 0,
        "nthread": THREADS,
    }
)


@dataclass(frozen=True)
class Extreme:
    """Fitted trees, of which the first `size` count."""

    booster: xgb.Booster
    features: int

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the probability of each row before calibration, shape (n,)."""
        if len(X) == 0:
            return np.empty(0)
        return np.asarray(self.booster.predict(xgb.DMatrix(X, nthread=THREADS)), dtype=np.float64)

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return the exact SHAP values of each row, shape (n, features + 1), the last being the base."""
        if len(X) == 0:
            return np.empty((0, self.features + 1))
        shap = self.booster.predict(xgb.DMatrix(X, nthread=THREADS), pred_contribs=True)
        return np.asarray(shap, dtype=np.float64)

    def importance(self) -> FloatArray:
        """Return the gain of all splits of each feature, shape (features,)."""
        gain = self.booster.get_score(importance_type="total_gain")
        return np.array([float(gain.get(f"f{i}", 0.0)) for i in range(self.features)])  # type: ignore[arg-type]

    def to_text(self) -> str:
        """Return XGBoost's JSON."""
        return bytes(self.booster.save_raw("json")).decode()


def fit(X: FloatArray, y: FloatArray, features: list[str], size: int, params: Mapping[str, Any]) -> Extreme:
    """Fit a given number of trees."""
    return Extreme(xgb.train(dict(params), xgb.DMatrix(X, y, nthread=THREADS), num_boost_round=size), len(features))


def fit_until_worse(
    X: FloatArray,
    y: FloatArray,
    X_validation: FloatArray,
    y_validation: FloatArray,
    features: list[str],
    params: Mapping[str, Any],
) -> tuple[Extreme, int]:
    """Fit until the validation log loss has not improved for `PATIENCE` trees; the trees up to the best one remain."""
    booster = xgb.train(
        dict(params),
        xgb.DMatrix(X, y, nthread=THREADS),
        num_boost_round=MAX_TREES,
        evals=[(xgb.DMatrix(X_validation, y_validation, nthread=THREADS), "validation")],
        early_stopping_rounds=PATIENCE,
        verbose_eval=False,
    )
    size = booster.best_iteration + 1
    return Extreme(booster[:size], len(features)), size


def load(text: str) -> Extreme:
    """Read what `Extreme.to_text` gave."""
    booster = xgb.Booster()
    booster.load_model(bytearray(text.encode()))
    booster.set_param({"nthread": THREADS})
    return Extreme(booster, booster.num_features())
