"""Figures and their intervals: equal to scikit-learn's where it has them, honest where nothing is defined."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as sk

from earlysignal_core.evaluation.glossary import FIGURES
from earlysignal_core.evaluation.metrics import Figures, figures, measure, paired, watched
from earlysignal_core.evaluation.ranking import ranking, resampled_auc
from earlysignal_core.evaluation.resampling import Resamples, stationary_blocks


@st.composite
def forecasts(draw, least=2, both_classes=True):
    """(label, score, company): few distinct scores, so that ties are common."""
    n = draw(st.integers(least, 60))
    label = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=int)
    score = np.array(draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))) / 20
    company = np.array(draw(st.lists(st.sampled_from("ABCDEFGHIJKLM"), min_size=n, max_size=n)))
    if both_classes:
        label[:2] = 0, 1
    return label, score, company


def beats(n=600, companies=80, seed=0):
    """Companies differ in how often they beat; the forecast knows half of it."""
    random = np.random.default_rng(seed)
    company = np.arange(n) % companies
    habit = random.normal(-2.2, 1.2, companies)[company]
    probability = 1 / (1 + np.exp(-(habit + random.normal(0, 0.7, n))))
    label = (random.random(n) < 1 / (1 + np.exp(-habit))).astype(int)
    return label, probability, np.array([f"C{number:03}" for number in company])


def values(found: Figures):
    return {name: figure.value for name, figure in found.by_name.items()}


def intervals(found: Figures):
    return {name: (figure.low, figure.high) for name, figure in found.by_name.items()}


@given(forecasts())
@settings(max_examples=60, deadline=None)
def test_figures_equal_those_of_scikit_learn(sample):
    label, score, company = sample
    found = values(figures(label, score, 0.3, company, known_base_rate=0.1))
    expected = {
        "base_rate": label.mean(),
        "auc": sk.roc_auc_score(label, score),
        "average_precision": sk.average_precision_score(label, score),
        "accuracy_of_never": sk.accuracy_score(label, label * 0),
        "accuracy": sk.accuracy_score(label, score >= 0.3),
        "precision": sk.precision_score(label, score >= 0.3, zero_division=np.nan),
        "recall": sk.recall_score(label, score >= 0.3),
        "f1": sk.f1_score(label, score >= 0.3),
        "precision_at_half": sk.precision_score(label, score >= 0.5, zero_division=np.nan),
        "brier": sk.brier_score_loss(label, score),
        "brier_base_rate": sk.brier_score_loss(label, np.full(len(label), 0.1)),
    }
    for name, value in expected.items():
        assert_allclose(found[name], value, rtol=1e-9, err_msg=name)
    assert found["brier_skill"] == pytest.approx(1 - expected["brier"] / expected["brier_base_rate"])


@given(forecasts(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_resampled_ranking_equals_scikit_learn_with_multiplicities_as_weights(sample, seed):
    label, score, company = sample
    resamples = Resamples.draw(company, seed=seed, resamples=5)
    found = ranking(label, score, resamples)
    for index, counts in enumerate(resamples.counts):
        weight = counts[resamples.company]
        if weight[label == 1].sum() == 0 or weight[label == 0].sum() == 0:
            assert np.isnan(found.auc[index])
            continue
        assert found.auc[index] == pytest.approx(sk.roc_auc_score(label, score, sample_weight=weight))
        expected = sk.average_precision_score(label, score, sample_weight=weight)
        assert found.average_precision[index] == pytest.approx(expected)


@given(forecasts(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_days_are_watched_by_is_what_is_measured_bit_for_bit(sample, one_class):
    label, score, company = sample
    label = np.zeros_like(label) if one_class else label
    drawn = Resamples.draw(company, seed=0)
    assert np.array_equal(resampled_auc(label, score, drawn), ranking(label, score, drawn).auc, equal_nan=True)
    found, draws = watched(label, score, 0.3, 0.1, drawn)
    whole = measure(label, score, 0.3, 0.1, drawn)
    assert found.keys() < whole.figures.by_name.keys()
    assert {name: repr(figure) for name, figure in found.items()} == {name: repr(whole.figures[name]) for name in found}
    for name in ("auc", "brier", "accuracy"):
        assert np.array_equal(draws[name], whole.draws[name], equal_nan=True)


@given(forecasts())
@settings(max_examples=40, deadline=None)
def test_every_company_once_is_the_sample_itself(sample):
    label, score, company = sample
    drawn = Resamples.draw(company, seed=0)
    once = Resamples(drawn.company, np.ones((1, drawn.counts.shape[1])))
    found = ranking(label, score, once)
    assert found.auc[0] == pytest.approx(sk.roc_auc_score(label, score))
    assert found.average_precision[0] == pytest.approx(sk.average_precision_score(label, score))


@given(forecasts())
@settings(max_examples=40, deadline=None)
def test_ranking_figures_do_not_change_under_a_monotone_map(sample):
    label, score, company = sample
    plain = values(figures(label, score, None, company, known_base_rate=0.1))
    mapped = values(figures(label, np.exp(3 * score) - 7, None, company, known_base_rate=0.1))
    for name in ("auc", "average_precision", "auc_within_company"):
        assert_allclose(mapped[name], plain[name], rtol=1e-12)


@given(forecasts(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_is_irrelevant(sample, random):
    label, score, company = sample
    order = list(range(len(label)))
    random.shuffle(order)
    plain = figures(label, score, 0.3, company, known_base_rate=0.1)
    shuffled = figures(label[order], score[order], 0.3, company[order], known_base_rate=0.1)
    for name, value in values(plain).items():
        assert_allclose(values(shuffled)[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
        assert_allclose(intervals(shuffled)[name], intervals(plain)[name], rtol=1e-9, atol=1e-12, err_msg=name)


@given(forecasts())
@settings(max_examples=40, deadline=None)
def test_brier_is_reliability_less_resolution_plus_uncertainty(sample):
    label, score, company = sample
    rows = pd.DataFrame({"label": label, "score": score})
    groups = rows.groupby("score")["label"].agg(["size", "mean"])
    share, base = groups["size"] / len(rows), label.mean()
    reliability = (share * (groups.index - groups["mean"]) ** 2).sum()
    resolution = (share * (groups["mean"] - base) ** 2).sum()
    found = values(figures(label, score, None, company, known_base_rate=0.1))["brier"]
    assert found == pytest.approx(reliability - resolution + base * (1 - base))


def test_calibration_error_by_hand():
    # Two groups of forecasts: 0.2 (observed 1 of 4) and 0.6 (observed 3 of 4): 0.5 × 0.05 + 0.5 × 0.15.
    label, score = [1, 0, 0, 0, 1, 1, 1, 0], [0.2] * 4 + [0.6] * 4
    found = figures(label, score, 0.5, list("ABCDEFGH"), known_base_rate=0.5)
    assert found["ece"].value == pytest.approx(0.1)
    assert [(each.n, each.forecast, each.observed.value) for each in found.calibration] == [
        (4, pytest.approx(0.2), 0.25),
        (4, pytest.approx(0.6), 0.75),
    ]


def test_bins_are_of_equal_count_where_there_are_no_ties():
    random = np.random.default_rng(1)
    found = figures(random.random(1000) < 0.1, random.random(1000), 0.5, range(1000), known_base_rate=0.1)
    assert [each.n for each in found.calibration] == [100] * 10


def test_chance_calibration_error_is_that_of_perfect_forecasts():
    random = np.random.default_rng(2)
    probability = random.beta(1, 8, 2000)
    errors = []
    for _ in range(200):
        label = random.random(2000) < probability
        drawn = Resamples.draw(np.arange(2000), seed=0, resamples=2)
        found = measure(label, probability, None, 0.1, drawn).figures
        errors.append(found["ece"].value)
    assert found["ece_of_calibrated"].value == pytest.approx(np.mean(errors), rel=0.05)


@given(forecasts(both_classes=False, least=0))
@settings(max_examples=60, deadline=None)
def test_within_companies_only_pairs_of_one_company_count(sample):
    label, score, company = sample
    concordant = pairs = 0.0
    for i in np.flatnonzero(label == 1):
        for j in np.flatnonzero((label == 0) & (company == company[i])):
            pairs += 1
            concordant += 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
    found = figures(label, score, None, company, known_base_rate=0.1)["auc_within_company"]
    if pairs:
        assert found.value == pytest.approx(concordant / pairs)
    else:
        assert np.isnan(found.value)
        assert found.reason


def test_given_a_large_surprise_only_large_misses_stand_against_large_beats():
    label, score, company = beats()
    surprise = np.where(label == 1, 30.0, np.where(np.arange(len(label)) % 3 == 0, -30.0, 5.0))
    drawn = Resamples.draw(company, seed=0)
    found = measure(label, score, None, 0.1, drawn, surprise).figures
    large = np.abs(surprise) > 20
    expected = figures(label[large], score[large], None, company[large], known_base_rate=0.1)["auc"]
    assert found["auc_given_large_surprise"].value == pytest.approx(expected.value)
    assert found["auc_given_large_surprise"].low < expected.value < found["auc_given_large_surprise"].high
    assert found.rows_behind["auc_given_large_surprise"] == large.sum() < len(label)


def test_a_tie_is_no_large_surprise_and_what_is_about_how_many_rows_is_said():
    label, surprise = [1, 0, 0, 0], [25.0, -20.0 - 1e-12, -21.0, np.nan]
    found = measure(label, [0.5, 0.9, 0.1, 0.9], None, 0.1, Resamples.draw(list("AABB"), seed=0), surprise).figures
    assert found["auc_given_large_surprise"].value == 1
    assert found.rows_behind == {"auc_within_company": 2, "auc_given_large_surprise": 2}
    assert found["auc_within_company"].value == 0


def test_without_surprises_there_is_no_direction():
    label, score, company = beats()
    found = figures(label, score, None, company, known_base_rate=0.1)["auc_given_large_surprise"]
    assert found.reason == "needs a large beat and a large miss"


def test_share_classes_of_one_company_count_once():
    label, score, company = beats()
    once = figures(label, score, 0.2, company, known_base_rate=0.1)
    twice = figures(np.tile(label, 2), np.tile(score, 2), 0.2, np.tile(company, 2), known_base_rate=0.1)
    for name in ("base_rate", "auc", "average_precision", "precision", "brier", "ece"):
        assert_allclose(intervals(twice)[name], intervals(once)[name], err_msg=name)
    rows = figures(label, score, 0.2, np.arange(len(label)), known_base_rate=0.1)
    assert rows["base_rate"].high - rows["base_rate"].low < once["base_rate"].high - once["base_rate"].low


def test_intervals_contain_the_truth_about_as_often_as_they_say():
    hits = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        company = np.arange(300) % 60
        habit = random.choice([0.05, 0.35], 60)[company]
        label = random.random(300) < habit
        interval = figures(label, habit, None, company, known_base_rate=0.2)["base_rate"]
        hits += interval.low <= 0.2 <= interval.high
    assert 88 <= hits <= 99


def test_intervals_are_told_by_the_seed():
    label, score, company = beats()
    first = figures(label, score, 0.2, company, known_base_rate=0.1, seed=5)
    again = figures(label, score, 0.2, company, known_base_rate=0.1, seed=5)
    assert first.model_dump_json() == again.model_dump_json()
    assert first["auc"] != figures(label, score, 0.2, company, known_base_rate=0.1, seed=6)["auc"]


def test_resampled_sums_are_exact_whatever_the_order_of_addition():
    random = np.random.default_rng(0)
    drawn = Resamples.draw(random.integers(0, 300, 5000), seed=0)
    reversed_ = Resamples(drawn.counts.shape[1] - 1 - drawn.company, drawn.counts[:, ::-1])
    values_ = random.random((5000, 4))
    assert_array_equal(reversed_.sums(values_), drawn.sums(values_))
    assert_allclose(drawn.sums(values_)[0], drawn.counts[0][drawn.company] @ values_)


def test_the_interval_of_the_calibration_error_lies_about_it():
    # Forecasts that are perfect in every bin: each resample can only be worse, and lies above the error itself.
    probability = np.repeat([0.1, 0.3, 0.5], 100)
    label = np.concatenate([np.arange(100) < 10 + 1, np.arange(100) < 30, np.arange(100) < 50])
    error = figures(label, probability, None, range(300), known_base_rate=0.1)["ece"]
    assert error.value == pytest.approx(0.01 / 3)
    assert 0 <= error.low < error.value < error.high


def test_one_class_has_no_ranking_and_says_so():
    found = figures(np.zeros(20), np.linspace(0, 1, 20), 2.0, range(20), known_base_rate=0.1)
    for name in ("auc", "average_precision", "recall", "precision", "f1"):
        assert np.isnan(found[name].value), name
        assert found[name].reason, name
    assert found["accuracy"].value == 1
    assert (found["auc"].reason, found["precision"].reason) == ("one class only", "nothing was called a large beat")
    assert found.roc.x == []


def test_no_rows_leave_every_figure_undefined_with_a_reason():
    found = figures([], [], [], [], known_base_rate=[])
    assert {figure.reason for figure in found.by_name.values()} == {"no rows"}
    assert np.isnan(list(values(found).values())).all()
    text = json.loads(found.model_dump_json())
    assert text["by_name"]["auc"]["value"] is None
    assert Figures.model_validate_json(found.model_dump_json()).n == 0


def test_scores_that_are_no_probabilities_are_ranked_only():
    label, score, company = beats()
    found = figures(label, score * 30, None, company, known_base_rate=np.nan)
    assert found["auc"].value == pytest.approx(sk.roc_auc_score(label, score))
    assert found["brier"].reason == "the scores are not probabilities"
    assert found["brier_base_rate"].reason == "no base rate was known before"
    assert found["accuracy"].reason == "no stored threshold"
    assert found.confusion is None
    assert found.calibration == []


def test_few_companies_give_a_figure_but_no_interval():
    label, score, company = beats(n=90, companies=9)
    found = figures(label, score, 0.2, company, known_base_rate=0.1)["auc"]
    assert found.defined
    assert np.isnan(found.low)
    assert found.reason == "no interval from 9 companies (needs 10)"


def test_each_row_is_decided_by_the_threshold_of_its_own_model():
    found = figures([1, 1, 0, 0], [0.3, 0.3, 0.3, 0.3], [0.2, 0.4, 0.2, 0.4], list("ABCD"), known_base_rate=0.5)
    assert found.confusion is not None
    assert found.confusion.model_dump() == {
        "true_negative": 1,
        "false_positive": 1,
        "false_negative": 1,
        "true_positive": 1,
    }


def test_paired_differences_are_narrower_than_those_of_two_separate_intervals():
    label, score, company = beats()
    drawn = Resamples.draw(company, seed=0)
    model = measure(label, score, 0.2, 0.1, drawn)
    nearly = measure(label, score + np.random.default_rng(3).normal(0, 0.05, len(score)), 0.2, 0.1, drawn)
    guess = measure(label, np.random.default_rng(4).random(len(label)), 0.2, 0.1, drawn)
    difference = paired(model, nearly)["auc"]
    assert difference.value == pytest.approx(model.figures["auc"].value - nearly.figures["auc"].value)
    assert difference.high - difference.low < model.figures["auc"].high - model.figures["auc"].low
    assert paired(model, guess)["auc"].above(0)
    assert paired(model, guess)["brier"].below(0)
    assert paired(model, model)["auc"].reason == "no interval: all resamples agree"


def test_paired_differences_of_undefined_figures_are_undefined():
    drawn = Resamples.draw(range(20), seed=0)
    nothing = measure(np.zeros(20), np.linspace(0, 1, 20), 0.5, 0.1, drawn)
    assert paired(nothing, nothing)["auc"].reason == "one class only"


def test_every_figure_has_a_definition():
    label, score, company = beats()
    assert set(figures(label, score, 0.2, company, known_base_rate=0.1).by_name) == set(FIGURES)


@given(st.integers(0, 300), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_blocks_are_runs_of_neighbouring_days(length, block):
    drawn = stationary_blocks(length, seed=0, block=block, resamples=50)
    assert drawn.shape == (50, length)
    if length == 0:
        return
    assert drawn.min() >= 0
    assert drawn.max() < length
    if length == 300 and block > 1:
        continued = (drawn[:, 1:] == (drawn[:, :-1] + 1) % length).mean()
        assert continued == pytest.approx(1 - 1 / block, abs=0.03)
