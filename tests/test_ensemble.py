"""Every algorithm behind one interface, and members with windows and features of their own that vote as one model."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from made_up import dataset, quarter_rows
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.lineage import json_digest
from earlysignal_core.datasets.splits import Part
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.lake import Lake
from earlysignal_core.models.algorithm import algorithm
from earlysignal_core.models.base_models import FOLDER, fit_and_keep, kept_of
from earlysignal_core.models.boosters import PARAMS, fit, fit_until_worse
from earlysignal_core.models.bundle import Bundle, NoModelYet, load, save
from earlysignal_core.models.search_spaces import SPACES
from earlysignal_core.models.training import train, train_quarter
from earlysignal_core.monitoring.reference import Reference
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import PARAMETERS, EnsembleSettings, Member, Settings, SettingsError

Q = Quarter(2017, 1)
ALGORITHMS = ("lightgbm", "xgboost", "catboost", "random_forest", "logistic")
SMALL = {"random_forest": {"num_leaves": 7}}


def rows(n=400, features=6, seed=0):
    """The first feature decides, the second is missing at times, the third always, the fourth never changes."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, features))
    y = (random.random(n) < expit(1.5 * X[:, 0] - 1)).astype(float)
    X[random.random(n) < 0.3, 1] = np.nan
    X[:, 2], X[:, 3] = np.nan, 4.0
    return X, y


def ensemble(*members, voting="weighted"):
    return EnsembleSettings(members=members, voting=voting)


@pytest.fixture(scope="module")
def made() -> Dataset:
    return dataset(Q)


@pytest.fixture(scope="module")
def unseen() -> pd.DataFrame:
    return quarter_rows(Q, 150)[0]


@pytest.fixture(scope="module")
def mixed(made) -> Bundle:
    members = (Member(weight=3), Member(algorithm="xgboost", window_months=12), Member(algorithm="logistic"))
    return train(made, ensemble(*members))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_deterministic_explains_itself_and_is_read_back(name):
    (X, y), (later, after) = rows(), rows(seed=1)
    way, names = algorithm(name), [f"x{i}" for i in range(6)]
    params = {**way.PARAMS, **SMALL.get(name, {})}
    best, size = way.fit_until_worse(X, y, later, after, names, params)
    fitted = way.fit(X, y, names, size, params)
    assert way.fit(X, y, names, size, params).to_text() == fitted.to_text()
    probability = fitted.predict(later)
    assert_allclose(best.predict(later), probability, rtol=1e-6)  # the best size, and not a later one
    assert roc_auc_score(after, probability) > 0.7
    assert_array_equal(np.concatenate([fitted.predict(later[[i]]) for i in range(50)]), probability[:50])
    parts = fitted.contributions(later)
    assert parts.shape == (400, 7)
    assert_allclose(expit(parts.sum(axis=1)), probability, atol=1e-6)
    assert np.argmax(fitted.importance()) == 0
    assert_array_equal(way.load(fitted.to_text()).predict(later), probability)
    assert_array_equal(way.load(fitted.to_text()).contributions(later), parts)
    assert fitted.predict(later[:0]).shape == (0,)
    assert fitted.contributions(later[:0]).shape == (0, 7)


def test_the_straight_line_learns_ranges_and_medians_of_training_rows_only():
    X, y = rows()
    line = algorithm("logistic").fit(X, y, [], 1, {"C": 0.1})
    beyond = X[[0, 0, 0]].copy()
    beyond[:, 0] = [1e9, line.high[0], np.nan]
    beyond[:, 1] = np.nan
    far, edge, missing = line.predict(beyond)
    assert far == pytest.approx(edge)
    middle = beyond[[2]].copy()
    middle[0, 0] = np.nanmedian(X[:, 0])
    assert missing == pytest.approx(line.predict(middle)[0], rel=1e-6)


def test_the_default_is_the_single_model_that_it_always_was(made, unseen):
    frame, names = made.frame, made.features
    X, y = frame[names].to_numpy(), frame["label"].to_numpy()
    learned, validation = (frame["part"] == part for part in (Part.TRAIN, Part.VALIDATION))
    _, trees = fit_until_worse(X[learned], y[learned], X[validation], y[validation], names, PARAMS)
    assert train(made).model_text == fit(X, y, names, trees, PARAMS).to_text()


def test_weights_are_shares_of_the_log_odds_and_an_explanation_stays_exact(mixed, unseen):
    X = unseen[mixed.features].to_numpy("float64")
    single = [member.predict(X) for _, member in mixed.pool.members]
    expected = expit(np.average([logit(each) for each in single], axis=0, weights=[3, 1, 1]))
    assert_allclose(mixed.pool.predict(X), expected, rtol=1e-6)
    assert_allclose(expit(mixed.pool.contributions(X).sum(axis=1)), expected, rtol=1e-5)
    assert sum(mixed.metadata["importance"].values()) == pytest.approx(1)


def test_an_ensemble_is_saved_read_back_and_predicts_a_row_alone_as_among_others(mixed, made, unseen, tmp_path):
    lake = Lake(str(tmp_path))
    read = load(lake, str(save(lake, mixed).version))
    probability = mixed.predict(unseen)
    assert_array_equal(read.predict(unseen), probability)
    assert_array_equal([read.predict(unseen.iloc[[i]])[0] for i in range(20)], probability[:20])
    held_out = Reference.of(read, made.frame).held_out(read)
    assert len(held_out) == (made.frame["part"] != Part.TRAIN).sum()
    assert held_out["probability"].between(0, 1).all()


@pytest.mark.parametrize("voting", ["weighted", "stacked"])
def test_members_that_were_fitted_before_give_the_same_bytes_and_are_not_fitted_again(made, tmp_path, voting):
    members = ensemble(Member(algorithm="logistic"), Member(algorithm="logistic", window_months=12), voting=voting)
    here, there = Lake(str(tmp_path / "here")), Lake(str(tmp_path / "there"))
    alone = train_quarter(here, made, members)
    kept = fit_and_keep(there, made, members)
    assert train_quarter(there, made, members).files() == alone.files()
    file = f"{FOLDER}/{Q}.json"
    assert not here.exists(file)  # a model that finds no members fits them, and keeps nothing but itself
    marked = asdict(kept) | {"refitted": "read, and not fitted"}
    there.write_bytes(file, json.dumps(marked | {"content_sha256": json_digest(marked)}).encode())
    assert fit_and_keep(there, made, members).refitted == "read, and not fitted"
    other = ensemble(Member(algorithm="logistic", params={"C": 0.5}))
    assert kept_of(there, made, other) is None
    assert fit_and_keep(there, made, other).input_sha256 != kept.input_sha256


def test_a_window_holds_the_months_before_the_cutoff_and_nothing_older(made, unseen):
    members = ensemble(Member(algorithm="logistic", window_months=12))
    model = train(made, members)
    old = made.frame["as_of"] <= made.cutoff - pd.DateOffset(months=24)
    spoiled = made.frame.assign(**{name: made.frame[name].where(~old, 99.0) for name in made.features})
    assert old.sum() > 0
    assert_array_equal(
        train(Dataset(Q, spoiled, made.lineage), members).pool.predict(unseen[model.features].to_numpy()),
        model.pool.predict(unseen[model.features].to_numpy()),
    )
    recent = made.frame["as_of"] > made.cutoff - pd.DateOffset(months=12)
    spoiled = made.frame.assign(**{name: made.frame[name].where(~recent, 99.0) for name in made.features})
    assert train(Dataset(Q, spoiled, made.lineage), members).model_text != model.model_text


def test_a_member_reads_only_its_families(made):
    model = train(made, ensemble(Member(algorithm="logistic", families=("macro",))))
    assert model.features
    assert {catalogue()[name].family for name in model.features} == {"macro"}
    assert set(model.normalizer) == set(model.features)
    with pytest.raises(EarlySignalError, match=r"no family of features astrology.*price"):
        train(made, ensemble(Member(families=("astrology",))))


def test_a_choice_of_families_has_one_name():
    assert Member(families=("technical", "fundamental", "macro")) == Member(families=("price", "fundamentals", "macro"))
    assert Member(families=("all",)) == Member(families=("all", "macro")) == Member()


def test_the_stack_learns_from_forecasts_of_the_train_part_alone(made):
    members = (Member(algorithm="logistic"), Member(algorithm="logistic", families=("macro",)))
    model = train(made, ensemble(*members, voting="stacked"))
    skilled, blind = model.model["coefficients"]
    assert skilled > 0.3 > abs(blind)
    frame, later = made.frame.copy(), made.frame["part"] != Part.TRAIN
    frame.loc[later, "label"] = 1 - frame.loc[later, "label"]
    other = train(Dataset(Q, frame, made.lineage), ensemble(*members, voting="stacked"))
    assert other.model["coefficients"] == model.model["coefficients"]


def test_the_stack_trusts_no_member_for_what_it_has_memorised(made):
    """A member that knows its own training rows by heart is worth nothing, and only rows after them show it."""
    random = np.random.default_rng(0)
    dealt = made.frame.assign(label=random.permutation(made.frame["label"]))
    heart = Member(params={"num_leaves": 63, "min_child_samples": 1, "learning_rate": 0.5, "feature_fraction": 1.0})
    model = train(Dataset(Q, dealt, made.lineage), ensemble(heart, Member(algorithm="logistic"), voting="stacked"))
    assert np.abs(model.model["coefficients"]).max() < 0.5


def test_a_window_of_one_outcome_is_no_model_yet_and_says_which(made):
    frame = made.frame.copy()
    frame.loc[frame["as_of"] > made.cutoff - pd.DateOffset(months=3), "label"] = 0.0
    outcome = train(Dataset(Q, frame, made.lineage), ensemble(Member(window_months=3)))
    assert isinstance(outcome, NoModelYet)
    assert "for lightgbm (3 months) do not hold both outcomes" in outcome.reason


def test_settings_come_from_the_environment_and_are_checked(monkeypatch):
    monkeypatch.setenv("EARLYSIGNAL_ENSEMBLE", '{"members": [{}, {"algorithm": "xgboost", "window_months": 12}]}')
    assert Settings().ensemble == ensemble(Member(), Member(algorithm="xgboost", window_months=12))
    for wrong in ({"members": []}, {"members": [{"algorithm": "oracle"}]}, {"members": [{"window_months": 7}]}):
        with pytest.raises(ValidationError):
            EnsembleSettings.model_validate(wrong)


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [
        ("lightgbm", {"num_leaf": 31}),  # misspelt: the library would ignore it in silence
        ("lightgbm", {"objective": "regression"}),  # the explanation would not be in log odds
        ("lightgbm", {"n_estimators": 5}),  # early stopping chooses
        ("lightgbm", {"reg_lambda": 1.0}),  # another name of lambda_l2, which a search would not know
        ("xgboost", {"eval_metric": "error"}),
        ("random_forest", {"learning_rate": 0.1}),
        ("logistic", {"c": 100.0}),
        ("lightgbm", {"learning_rate": "fast"}),
        ("lightgbm", {"learning_rate": float("nan")}),
        ("lightgbm", {"num_leaves": True}),
    ],
)
def test_a_parameter_that_may_not_be_set_is_refused(algorithm: str, params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Member(algorithm=algorithm, params=params)


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_what_is_searched_may_be_set_and_all_of_it_at_once(made, name: str) -> None:
    assert set(SPACES[name]) <= set(PARAMETERS[name])
    whole = {"max_bin", "seed", "random_seed", "depth", "max_depth", "bagging_freq", "max_leaves", "num_leaves"}
    params = {each: 2 if each in whole | {"min_child_samples"} else 0.5 for each in PARAMETERS[name]}
    assert isinstance(train(made, ensemble(Member(algorithm=name, params=params))), Bundle)


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [
        ("lightgbm", {"num_leaves": 1}),
        ("xgboost", {"learning_rate": -1}),
        ("catboost", {"depth": 99}),
        ("logistic", {"C": -1}),
    ],
)
def test_a_member_that_its_library_refuses_is_named(made, algorithm: str, params: dict[str, float]) -> None:
    with pytest.raises(EarlySignalError, match=rf"a {algorithm} cannot be fitted with .*{next(iter(params))}.*Remedy"):
        train(made, ensemble(Member(algorithm=algorithm, params=params)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b"leaf_value", b"leaf_valve", 1),
        lambda _: b"{}",
        lambda _: b"[]",
    ],
)
def test_kept_members_that_are_damaged_are_fitted_anew(made, tmp_path, spoil) -> None:
    lake = Lake(str(tmp_path))
    first = fit_and_keep(lake, made, EnsembleSettings())
    path = f"models/members/{made.until}.json"
    whole = lake.read_bytes(path)
    assert kept_of(lake, made, EnsembleSettings()) == first
    lake.write_bytes(path, spoil(whole))
    assert kept_of(lake, made, EnsembleSettings()) is None
    assert fit_and_keep(lake, made, EnsembleSettings()) == first
    assert lake.read_bytes(path) == whole


def test_outcomes_dealt_out_at_random_teach_nothing():
    found = []
    for seed in range(4):
        made = dataset(Q, seed=seed)
        random = np.random.default_rng(seed)
        model = train(Dataset(Q, made.frame.assign(label=random.permutation(made.frame["label"])), made.lineage))
        table, labels = quarter_rows(Q, 1500, seed=seed)
        dealt = random.permutation(labels["label"])
        found.append(roc_auc_score(dealt, model.predict(table)))
    assert np.mean(found) == pytest.approx(0.5, abs=0.01)


def test_a_member_that_is_wrong_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARLYSIGNAL_ENSEMBLE", '{"members": [{"algorithm": "svm"}]}')
    with pytest.raises(SettingsError, match=r"^EARLYSIGNAL_ENSEMBLE__MEMBERS__0__ALGORITHM: [^;]*\. Remedy"):
        Settings()
