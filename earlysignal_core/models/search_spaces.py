"""What may be tuned of each algorithm, and between which bounds; its number of trees is found by early stopping."""

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from earlysignal_core.models.algorithm import algorithm

_RATE = FloatDistribution(0.01, 0.1, log=True)
_SHARE_OF_FEATURES = FloatDistribution(0.1, 1.0)
SPACES: dict[str, dict[str, BaseDistribution]] = {
    "lightgbm": {
        "learning_rate": _RATE,
        "num_leaves": IntDistribution(3, 31, log=True),
        "min_child_samples": IntDistribution(10, 200, log=True),
        "feature_fraction": _SHARE_OF_FEATURES,
        "lambda_l2": FloatDistribution(1e-3, 30.0, log=True),
    },
    "xgboost": {
        "learning_rate": _RATE,
        "max_leaves": IntDistribution(3, 31, log=True),
        "min_child_weight": FloatDistribution(0.5, 20.0, log=True),
        "colsample_bytree": _SHARE_OF_FEATURES,
        "lambda": FloatDistribution(1e-3, 30.0, log=True),
    },
    "catboost": {
        "learning_rate": _RATE,
        "depth": IntDistribution(1, 6),
        "rsm": _SHARE_OF_FEATURES,
        "l2_leaf_reg": FloatDistribution(0.1, 30.0, log=True),
    },
    "random_forest": {
        "num_leaves": IntDistribution(7, 63, log=True),
        "min_child_samples": IntDistribution(5, 100, log=True),
        "feature_fraction": _SHARE_OF_FEATURES,
    },
    "logistic": {"C": FloatDistribution(1e-4, 1.0, log=True)},
}
# What the libraries do where the fixed recipe is silent, as near as the bounds allow.
_SILENT = {"lambda_l2": 1e-3, "lambda": 1.0, "l2_leaf_reg": 3.0}


def fixed_recipe(name: str) -> dict[str, Any]:
    """Return the point of an algorithm's space that it has without tuning."""
    return {each: algorithm(name).PARAMS.get(each, _SILENT.get(each)) for each in SPACES[name]}
