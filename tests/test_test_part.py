"""What is shown of a model's own test part: nothing without n, base rate and interval."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from earlysignal_core.evaluation.test_part import auc_of_sizes, auc_of_test_part, figures_of_test_part


def test_the_bounds_of_an_auc_by_its_sizes() -> None:
    random = np.random.default_rng(0)
    label = np.r_[np.ones(25), np.zeros(225)]
    lift = np.sqrt(2) * norm.ppf(0.83)
    drawn = [roc_auc_score(label, random.normal(size=250) + lift * label) for _ in range(2000)]
    told = auc_of_sizes(0.83, 250, 0.1)
    # For scores that are normal it is on the cautious side.
    assert 0 <= 0.83 - 1.96 * np.std(drawn) - told.low <= 0.03
    assert told.high - 0.83 == pytest.approx(0.83 - told.low)
    assert auc_of_sizes(0.83, 2500, 0.1).low > told.low


@pytest.mark.parametrize(("auc", "n", "rate"), [(0.83, 250, 0.0), (0.83, 250, 1.0), (0.83, 0, 0.1), (np.nan, 250, 0.1)])
def test_without_both_classes_there_is_no_interval(auc: float, n: float, rate: float) -> None:
    assert np.isnan(auc_of_sizes(auc, n, rate).low)


@pytest.mark.parametrize("auc", [0.0, 1.0])
def test_few_rows_that_are_ranked_without_a_fault_claim_no_certainty(auc: float) -> None:
    told = auc_of_sizes(auc, 8, 0.25)
    assert told.value == auc
    assert np.isnan(told.low)
    assert "no interval" in str(told.reason)


def test_only_what_has_an_interval_is_shown_beside_n_and_base_rate() -> None:
    metadata = {"test": {"n": 150, "base_rate": 0.12, "auc": 0.75, "brier": 0.09, "precision": 0.4}}
    shown, auc = figures_of_test_part(metadata), auc_of_test_part(metadata)
    assert shown == {"n": 150, "base_rate": 0.12, "auc": 0.75, "auc_low": auc.low, "auc_high": auc.high}
    assert shown["auc_low"] < 0.75 < shown["auc_high"]
    assert figures_of_test_part({"test": {"n": 3, "base_rate": 0.0}}) == {"n": 3, "base_rate": 0.0}
    assert figures_of_test_part({"test": {"n": 0, "base_rate": None}}) == {"n": 0}
