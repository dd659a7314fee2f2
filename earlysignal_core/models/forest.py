"""A random forest: LightGBM's own, which takes missing values as they are and explains each row exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from earlysignal_core.models import boosters
from earlysignal_core.models.algorithm import FloatArray
from earlysignal_core.models.boosters import Trees

LIBRARY, REFUSAL = boosters.LIBRARY, boosters.REFUSAL
PARAMS: MappingProxyType[str, Any] = MappingProxyType(
    {
        **boosters.PARAMS,
        "boosting": "rf",
        "bagging_freq": 1,
        # A sample without replacement of this share has as many distinct rows as one of all with replacement.
        "bagging_fraction": 0.632,
        "num_leaves": 31,
        "min_child_samples": 20,
        "feature_fraction": 0.3,
    }
)
TREES = 100


@dataclass(frozen=True)
class Forest(Trees):
    """Fitted trees whose scores are averaged."""

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return the SHAP values as of `Trees`: LightGBM adds them up where its forecast is their mean."""
        return super().contributions(X) / self.booster.num_trees()


def fit(X: FloatArray, y: FloatArray, features: list[str], size: int, params: Mapping[str, Any]) -> Forest:
    """Fit a number of trees, each to its own sample of the rows."""
    return Forest(boosters.fit(X, y, features, size, params).booster)


def fit_until_worse(
    X: FloatArray,
    y: FloatArray,
    X_validation: FloatArray,  # noqa: ARG001 - more trees never make a forest worse
    y_validation: FloatArray,  # noqa: ARG001
    features: list[str],
    params: Mapping[str, Any],
) -> tuple[Forest, int]:
    """Fit the forest: its trees are averaged, so there is no number of them from which on it gets worse."""
    return fit(X, y, features, TREES, params), TREES


def load(text: str) -> Forest:
    """Read what `Forest.to_text` gave."""
    return Forest(boosters.load(text).booster)
