"""CatBoost: trees that ask one question at each depth, deterministic on one thread, missing values as they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import catboost as cb
import numpy as np
from scipy.special import expit

from earlysignal_core.models.algorithm import FloatArray
from earlysignal_core.models.boosters import MAX_TREES, PATIENCE, THREADS

LIBRARY, REFUSAL = "catboost", cb.CatBoostError
PARAMS: MappingProxyType[str, Any] = MappingProxyType(
    {
        "loss_function": "Logloss",
        "learning_rate": 0.03,
        "depth": 2,  # four leaves, as the other boosters have
        "rsm": 0.5,
        "random_seed": 0,
        "thread_count": THREADS,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }
)


@dataclass(frozen=True)
class Symmetric:
    """Fitted trees, as their text has them: JSON rounds the last bit, and who is read back must answer the same."""

    booster: cb.CatBoost
    text: str

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the probability of each row before calibration, shape (n,)."""
        if len(X) == 0:
            return np.empty(0)
        return np.asarray(expit(self.booster.predict(X, prediction_type="RawFormulaVal", thread_count=THREADS)))

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return exact SHAP values, shape (n, features + 1), the last being the base."""
        if len(X) == 0:
            return np.empty((0, X.shape[1] + 1))
        return np.asarray(self.booster.get_feature_importance(cb.Pool(X), type="ShapValues", thread_count=THREADS))

    def importance(self) -> FloatArray:
        """Return how far each feature moves the forecast on average, shape (features,)."""
        return np.asarray(self.booster.get_feature_importance(type="PredictionValuesChange"), dtype="float64")

    def to_text(self) -> str:
        """Return CatBoost's JSON."""
        return self.text


def fit(X: FloatArray, y: FloatArray, features: list[str], size: int, params: Mapping[str, Any]) -> Symmetric:  # noqa: ARG001 - the columns need no names
    """Fit a given number of trees."""
    return load(_text(cb.CatBoost({**params, "iterations": size}).fit(cb.Pool(X, y))))


def fit_until_worse(
    X: FloatArray,
    y: FloatArray,
    X_validation: FloatArray,
    y_validation: FloatArray,
    features: list[str],  # noqa: ARG001
    params: Mapping[str, Any],
) -> tuple[Symmetric, int]:
    """Fit until the validation log loss has not improved for `PATIENCE` trees; the trees up to the best one remain."""
    stopping = {"iterations": MAX_TREES, "od_type": "Iter", "od_wait": PATIENCE, "use_best_model": True}
    booster = cb.CatBoost({**params, **stopping}).fit(cb.Pool(X, y), eval_set=cb.Pool(X_validation, y_validation))
    return load(_text(booster)), booster.tree_count_


def load(text: str) -> Symmetric:
    """Read what `Symmetric.to_text` gave."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.json")
        file.write_text(text)
        return Symmetric(cb.CatBoost().load_model(str(file), format="json"), text)


def _text(booster: cb.CatBoost) -> str:
    """Return the JSON without the part that holds the moment of the fit and an identifier made of it."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.json")
        booster.save_model(str(file), format="json")
        model = json.loads(file.read_text())
    del model["model_info"]
    return json.dumps(model)
