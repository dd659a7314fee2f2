"""Importance: SHAP values that add up, a divergence of 0 for the same rows, and a changed top five."""

import numpy as np
import pandas as pd
import pytest
from made_up import dataset

from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import load, save
from earlysignal_core.models.training import train
from earlysignal_core.monitoring.importance import (
    contributions,
    importance,
    kept_training_importance,
    training_importance,
)
from earlysignal_core.monitoring.reference import ReferenceLostError, keep_reference
from earlysignal_core.quarters import Quarter

WEEKLY = {"first_session_of_month": 1.0}


@pytest.fixture(scope="module")
def trained():
    data = dataset(Quarter(2017, 1))
    return train(data), data.frame


def test_contributions_sum_to_the_score(trained):
    bundle, rows = trained
    explained = contributions(bundle, rows)
    score = bundle.pool.predict(rows[bundle.features].to_numpy("float64"))
    raw = np.log(score / (1 - score)) - explained.sum(axis=1)
    assert explained.shape == (len(rows), len(bundle.features))
    assert np.ptp(raw) < 1e-9  # the rest is one constant, the expected score


def test_the_same_rows_have_moved_nowhere(trained):
    bundle, rows = trained
    found = importance(bundle, rows, training_importance(bundle, rows))
    assert found.divergence.value == pytest.approx(0, abs=1e-12)
    assert found.newcomers == found.leavers == []
    assert found.table["now"].sum() == pytest.approx(1)
    assert not found.verdict(WEEKLY).raw


def test_importance_in_training_is_counted_once_and_kept_beside_the_model(tmp_path, trained, monkeypatch):
    lake, (bundle, rows) = Lake(str(tmp_path)), trained
    saved = save(lake, bundle)
    with pytest.raises(ReferenceLostError, match=r"reference\.parquet"):
        kept_training_importance(lake, saved)
    keep_reference(lake, saved, rows)
    counted = kept_training_importance(lake, saved)
    assert counted.tobytes() == training_importance(saved, rows).tobytes()
    monkeypatch.setattr("earlysignal_core.monitoring.importance.contributions", lambda *_: pytest.fail("counted again"))
    assert kept_training_importance(lake, saved).tobytes() == counted.tobytes()
    assert load(lake, str(saved.version)) == saved  # its hashes do not mind the files beside it


def test_a_new_leader_is_named_and_acts_once_a_month(trained):
    bundle, rows = trained
    then = training_importance(bundle, rows)
    order = np.argsort(-then)
    swapped = then.copy()
    swapped[order[[0, -1]]] = swapped[order[[-1, 0]]]  # as if training had looked at the last and not at the first
    found = importance(bundle, rows, swapped)
    assert found.newcomers == [bundle.features[order[0]]]
    assert found.leavers == [bundle.features[order[-1]]]
    assert found.divergence.low > 0
    assert found.verdict(WEEKLY).effective
    assert not found.verdict({"first_session_of_month": 0.0}).effective


def test_divergence_by_hand(trained):
    bundle, rows = trained
    then = np.full(len(bundle.features), 1 / len(bundle.features))
    found = importance(bundle, rows, then)
    now = found.table["now"].clip(lower=1e-6)
    now = now / now.sum()
    assert found.divergence.value == pytest.approx(float((now * np.log(now * len(then))).sum()))


def test_without_rows_nothing_is_said(trained):
    bundle, rows = trained
    found = importance(bundle, rows.iloc[:0], training_importance(bundle, rows))
    assert np.isnan(found.divergence.value)
    assert not found.verdict(WEEKLY).raw
    assert isinstance(found.table, pd.DataFrame)
