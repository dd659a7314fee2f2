"""What every algorithm answers, and where each is found: training, bundles and monitoring know no other door."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
_MODULES = {
    "lightgbm": "boosters",
    "random_forest": "forest",
    "xgboost": "extreme",
    "catboost": "symmetric",
    "logistic": "linear",
}


class Fitted(Protocol):
    """A fitted model; rows come as an (n, features) array with NaN where a value is missing."""

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the probability of each row, (n,): the same bits for a row alone as among others."""

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log odds, (n, features + 1), the last column being the base."""

    def importance(self) -> FloatArray:
        """Return each feature's weight in the model, (features,), on any scale."""

    def to_text(self) -> str:
        """Return the text that `Algorithm.load` reads."""


class Algorithm(Protocol):
    """A way to fit, deterministic: the same rows give the same text."""

    @property
    def LIBRARY(self) -> str:  # noqa: N802 - a constant of the module
        """The package that fits."""

    @property
    def REFUSAL(self) -> type[Exception]:  # noqa: N802 - a constant of the module
        """What the package raises where it cannot fit with some parameters."""

    @property
    def PARAMS(self) -> Mapping[str, Any]:  # noqa: N802 - a constant of the module
        """The parameters where a member names no others."""

    def fit(self, X: FloatArray, y: FloatArray, features: list[str], size: int, params: Mapping[str, Any]) -> Fitted:
        """Fit a model of a given size (its number of trees)."""

    def fit_until_worse(
        self,
        X: FloatArray,
        y: FloatArray,
        X_validation: FloatArray,
        y_validation: FloatArray,
        features: list[str],
        params: Mapping[str, Any],
    ) -> tuple[Fitted, int]:
        """Fit until the validation log loss gets worse; return the best model and its size."""

    def load(self, text: str) -> Fitted:
        """Read what `Fitted.to_text` gave."""


def algorithm(name: str) -> Algorithm:
    """Return an algorithm by the name that settings and bundles use; what is not used is not imported."""
    return cast("Algorithm", import_module(f"{__package__}.{_MODULES[name]}"))
