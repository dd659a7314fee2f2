"""What a model's own test part says of it: its AUC, with an interval from how many rows it was counted on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import norm

from earlysignal_core.evaluation.resampling import Figure, undefined


def auc_of_sizes(auc: float, n: float, base_rate: float) -> Figure:
    """Return an AUC with the 95 % interval that follows from its sizes alone, where the rows are not at hand.

    Parameters
    ----------
    auc, n, base_rate : float

    Notes
    -----
    Hanley & McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology
    143 (1982).
    """
    positives = n * base_rate
    negatives = n - positives
    if np.isnan(auc):
        return undefined("no AUC: it needs large beats and others")
    # Of an AUC of 0 or 1 the spread would be 0 however few the rows.
    if not (positives > 0 and negatives > 0 and 0 < auc < 1):
        return Figure(value=auc, reason="no interval: its sizes tell of none")
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (two_positives - auc**2) + (negatives - 1) * (two_negatives - auc**2)
    half = float(norm.ppf(0.975) * np.sqrt(spread / (positives * negatives)))
    return Figure(value=auc, low=auc - half, high=auc + half)


def auc_of_test_part(metadata: Mapping[str, Any]) -> Figure:
    """Return the AUC of a bundle's test part; undefined where it has only one class, or no rows."""
    test = metadata["test"]
    return auc_of_sizes(
        *(np.nan if test.get(name) is None else float(test[name]) for name in ("auc", "n", "base_rate"))
    )


def figures_of_test_part(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return what may be shown of a bundle's test part: ``n, base_rate, auc, auc_low, auc_high``, as far as defined.

    The other figures of the metadata have no interval, and a figure without one is not shown beside others.
    """
    test, auc = metadata["test"], auc_of_test_part(metadata)
    told = {
        "n": test["n"],
        "base_rate": test.get("base_rate"),
        "auc": auc.value,
        "auc_low": auc.low,
        "auc_high": auc.high,
    }
    return {name: float(value) for name, value in told.items() if value is not None and np.isfinite(value)}
