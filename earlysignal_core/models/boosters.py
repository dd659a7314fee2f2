"""Gradient boosting, regularised and deterministic: the same rows give the same bytes."""

from types import MappingProxyType
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from earlysignal_core.quarters import Quarter

FloatArray = npt.NDArray[np.float64]
THREADS = 1

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


def fit(X: FloatArray, y: FloatArray, features: list[str], trees: int, params: dict[str, Any]) -> lgb.Booster:
    """Fit a given number of trees.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        NaN where a value is missing: trees learn from absence.
    y : ndarray, shape (n,)
        1 or 0.
    """
    return lgb.train(params, lgb.Dataset(X, y, feature_name=features), num_boost_round=trees)


def fit_until_validation_worsens(
    X: FloatArray,
    y: FloatArray,
    X_validation: FloatArray,
    y_validation: FloatArray,
    features: list[str],
    params: dict[str, Any],
) -> lgb.Booster:
    """Fit until the validation log loss has not improved for `PATIENCE` trees; `best_iteration` says where it was best.

    Log loss and not AUC: AUC is blind to how sure a model is, and stops at a few trees of badly calibrated scores.
    """
    training = lgb.Dataset(X, y, feature_name=features)
    return lgb.train(
        {**params, "metric": "binary_logloss"},
        training,
        num_boost_round=MAX_TREES,
        valid_sets=[training.create_valid(X_validation, y_validation)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )


def contributions(booster: lgb.Booster, X: FloatArray) -> FloatArray:
    """Return what each feature adds to the log odds of each row, shape (n, features + 1), the last being the base.

    Notes
    -----
    Exact SHAP values of trees: Lundberg et al., "Consistent Individualized Feature Attribution for Tree Ensembles"
    (2018). A row's values add up to its score before the sigmoid and before calibration.
    """
    if len(X) == 0:
        return np.empty((0, X.shape[1] + 1))
    return np.asarray(booster.predict(X, pred_contrib=True, num_threads=THREADS))


def predict(booster: lgb.Booster, X: FloatArray) -> FloatArray:
    """Return the probability of each row before calibration, shape (n,)."""
    if len(X) == 0:
        return np.empty(0)
    return np.asarray(booster.predict(X, num_threads=THREADS))
