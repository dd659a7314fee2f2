"""Training gives the same bytes for the same inputs, learns what there is to learn, and says what it left out."""

import os
import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from made_up import FIRST, dataset, quarter_rows
from scipy.special import expit
from sklearn.metrics import f1_score, roc_auc_score

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.splits import Part
from earlysignal_core.models.baselines import HISTORY, baseline_scores
from earlysignal_core.models.bundle import Bundle, BundleError, NoModelYet
from earlysignal_core.models.calibration import best_threshold, choose_calibration
from earlysignal_core.models.training import train
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member

Q = Quarter(2017, 1)


@pytest.fixture(scope="module")
def made() -> Dataset:
    return dataset(Q)


@pytest.fixture(scope="module")
def model(made) -> Bundle:
    return train(made)


@pytest.fixture(scope="module")
def unseen() -> tuple[pd.DataFrame, pd.Series]:
    table, labels = quarter_rows(Q, 400)
    return table, table["event"].map(labels.set_index("event")["label"])


def test_the_same_dataset_gives_the_same_bytes(made, model):
    assert train(made).files() == model.files()


def test_another_process_gives_the_same_bytes(model):
    code = (
        "import hashlib; from made_up import dataset; from earlysignal_core.models.training import train;"
        "from earlysignal_core.quarters import Quarter;"
        "print(hashlib.sha256(b''.join(train(dataset(Quarter(2017, 1))).files().values())).hexdigest())"
    )
    here = Path(__file__).parent
    import hashlib

    expected = hashlib.sha256(b"".join(model.files().values())).hexdigest()
    path = ":".join([str(here), *sys.path])
    # What chooses the kernels of the linear algebra (OPENBLAS_CORETYPE, say) stays: their last digits differ.
    other = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=other)
    assert run.stdout.strip() == expected


def test_it_predicts_what_it_has_not_seen(model, unseen):
    table, label = unseen
    probability = model.predict(table)
    assert probability.shape == (400,)
    assert ((probability > 0) & (probability < 1)).all()
    assert roc_auc_score(label, probability) > 0.7


def test_a_row_alone_is_predicted_as_among_others(model, unseen):
    table, _ = unseen
    alone = np.concatenate([model.predict(table.iloc[[i]]) for i in range(40)])
    assert (alone == model.predict(table)[:40]).all()


def test_no_rows_no_predictions(model, unseen):
    assert model.predict(unseen[0].iloc[:0]).shape == (0,)


def test_a_missing_column_is_named(model, unseen):
    with pytest.raises(BundleError, match=model.features[0]):
        model.predict(unseen[0].drop(columns=model.features[0]))


def test_the_refit_uses_all_rows_and_the_test_part_is_told_apart(made, model):
    parts = made.frame["part"].value_counts()
    assert model.metadata["rows"] == len(made.frame)
    assert model.metadata["parts"] == {part: parts.get(part, 0) for part in Part}
    assert model.metadata["test"]["n"] == parts[Part.TEST]
    assert model.metadata["test"]["auc"] > 0.6
    booster = lgb.Booster(model_str=model.model_text)
    root_rows = int(booster.trees_to_dataframe().query("node_depth == 1")["count"].iloc[0])
    assert root_rows == len(made.frame)
    assert booster.num_trees() == model.model["trees"]


def test_no_choice_sees_the_test_part(made, model):
    frame = made.frame.copy()
    test = frame["part"] == Part.TEST
    frame.loc[test, "label"] = 1 - frame.loc[test, "label"]
    other = train(Dataset(Q, frame, made.lineage))
    assert {k: v for k, v in other.model.items() if k != "params"} == {
        k: v for k, v in model.model.items() if k != "params"
    }


def test_every_feature_has_its_reference_and_its_importance(made, model):
    assert set(model.normalizer) == set(model.features) == set(model.metadata["importance"])
    assert sum(model.metadata["importance"].values()) == pytest.approx(1)
    name = model.features[0]
    assert model.normalizer[name]["mean"] == pytest.approx(made.frame[name].mean())
    assert model.normalizer[name]["quantiles"]["0.5"] == pytest.approx(made.frame[name].median())
    assert model.normalizer[name]["missing"] == 0


def test_other_parameters_are_other_inputs(made, model):
    other = train(made, EnsembleSettings(members=(Member(params={"num_leaves": 3}),)))
    assert other.metadata["input_sha256"] != model.metadata["input_sha256"]
    assert other.model["params"]["num_leaves"] == 3


def test_too_little_history_is_an_outcome_and_no_failure():
    outcome = train(dataset(FIRST + 2))
    assert outcome == NoModelYet(
        FIRST + 2, "too little history: 2 of the 10 quarters with announcements that are needed"
    )


def calibrated(n=2000, seed=1):
    random = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-random.normal(-2, 1.5, n)))
    return probability, (random.random(n) < probability).astype(float)


def test_good_probabilities_are_left_alone():
    probability, label = calibrated()
    chosen = choose_calibration(probability, label)
    assert chosen.kind == "none"
    assert (chosen.apply(probability) == probability).all()
    assert str(chosen) == f"none: a map gains {chosen.evidence:+.1f} at most by cross-fitting, and 25 is asked"


def test_overconfident_probabilities_are_corrected():
    probability, label = calibrated()
    odds = np.log(probability / (1 - probability))
    overconfident = 1 / (1 + np.exp(-2.5 * odds - 1))
    chosen = choose_calibration(overconfident, label)
    assert chosen.kind == "platt"
    np.testing.assert_allclose(chosen.apply(overconfident).mean(), label.mean(), rtol=0.02)
    np.testing.assert_allclose(chosen.slope, 1 / 2.5, rtol=0.15)
    assert str(chosen).startswith(f"platt: log odds × {chosen.slope:.3f} {chosen.intercept:+.3f}; gains ")


def test_scores_wrong_at_one_end_need_beta_and_steps_need_isotonic():
    """What makes the map wrong is planted, so that the right one is known."""
    random = np.random.default_rng(2)
    score = random.uniform(0.01, 0.99, 12_000)
    true = expit(3 * np.log(score) - 0.3 * np.log1p(-score) + 1)
    chosen = choose_calibration(score, (random.random(12_000) < true).astype(float))
    assert chosen.kind == "beta"
    np.testing.assert_allclose(chosen.apply(score), true, atol=0.03)
    true = np.where(score < 0.5, 0.1, np.where(score < 0.6, 0.9, 0.92))
    chosen = choose_calibration(score, (random.random(12_000) < true).astype(float))
    assert chosen.kind == "isotonic"
    np.testing.assert_allclose(chosen.apply(np.array([0.2, 0.8])), [0.1, 0.92], atol=0.05)
    assert (np.diff(chosen.apply(np.sort(score))) >= 0).all()


def test_a_map_is_chosen_by_rows_that_it_was_not_fitted_on():
    """On forty rows isotonic steps explain chance itself; nothing is gained on other rows."""
    random = np.random.default_rng(3)
    probability = random.uniform(0.2, 0.8, 40)
    label = (random.random(40) < probability).astype(float)
    assert choose_calibration(probability, label).kind == "none"


def test_the_threshold_has_the_highest_f1():
    probability, label = calibrated(300)
    best = max(f1_score(label, probability >= t) for t in np.unique(probability))
    assert f1_score(label, probability >= best_threshold(probability, label)) == pytest.approx(best)


def test_baselines(made, unseen):
    table, _ = unseen
    table = table.assign(earnings_surprise=np.where(np.arange(400) < 100, 20.0, np.nan))
    training = made.frame.assign(earnings_surprise=np.where(made.frame["label"] == 1, 16.0, 15.0))
    training.loc[training.index[::3], list(HISTORY)] = np.nan
    table.loc[5, "large_beat_rate_8q"] = np.nan
    scores = baseline_scores(training, table)
    base_rate = training["label"].mean()
    assert scores["never"].eq(base_rate).all()
    assert scores.loc[5, "large_beat_rate_8q"] == base_rate
    assert scores["last_surprise_over_15"].tolist() == [1.0] * 100 + [0.0] * 300
    assert scores["logistic_history"].between(0, 1).all()
    assert scores.notna().all().all()
    pd.testing.assert_frame_equal(scores, baseline_scores(training, table))


def test_baselines_do_without_columns_and_without_both_outcomes(made, unseen):
    table, _ = unseen
    bare = baseline_scores(made.frame.drop(columns=[*HISTORY, "earnings_surprise"]), table[["event"]])
    np.testing.assert_allclose(bare, made.frame["label"].mean(), rtol=1e-3)
    one_sided = baseline_scores(made.frame.assign(label=0.0), table)
    assert (one_sided["logistic_history"] == 0).all()
