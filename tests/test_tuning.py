"""The search for parameters: in time order, within the train part, and none the worse for a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import dataset
from sqlalchemy import create_engine, text

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.cutoff import Day
from earlysignal_core.datasets.splits import Part, expanding_folds, known_before
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake
from earlysignal_core.models.algorithm import algorithm
from earlysignal_core.models.hyperparameters import FILE, Tuned, ensemble_of, record
from earlysignal_core.models.search_spaces import SPACES, fixed_recipe
from earlysignal_core.models.tuning import SCHEMA, _name, _study, tune
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member, Settings

Q = Quarter(2015, 2)
LOGISTIC = Member(algorithm="logistic")
_SEARCH = """
import sys
from made_up import dataset
from earlysignal_core.models.tuning import tune
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Member
print(tune(dataset(Quarter(2015, 2)), Member(algorithm="logistic"), sys.argv[1], 14))
"""


@pytest.fixture(scope="module")
def made() -> Dataset:
    return dataset(Q)


@pytest.fixture
def database(postgres_url: str, request: pytest.FixtureRequest) -> str:
    from earlysignal_assets.postgres import ensure_database

    return ensure_database(postgres_url, f"tuning_{abs(hash(request.node.name)) % 10**9}")


def told(database: str) -> list[tuple[int, str, dict[str, float]]]:
    """Every trial: its number, its state and its parameters."""
    engine = create_engine(database, connect_args={"options": f"-csearch_path={SCHEMA}"})
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('trials') IS NULL")):
            return []
        trials = connection.execute(text("SELECT trial_id, number, state::text FROM trials ORDER BY number")).all()
        found = connection.execute(text("SELECT trial_id, param_name, param_value FROM trial_params")).all()
    engine.dispose()
    return [
        (number, state, {name: value for of, name, value in found if of == trial_id})
        for trial_id, number, state in trials
    ]


def test_a_fold_is_forecast_from_labels_that_were_known_an_embargo_before_it() -> None:
    day = pd.Timestamp("2016-01-01", tz="UTC") + pd.to_timedelta(np.arange(10), "D")
    frame = pd.DataFrame({"as_of": day, "label_available_at": day + pd.Timedelta(days=1)})
    folds = list(expanding_folds(frame["as_of"]))
    assert [(begin.day, np.flatnonzero(rows).tolist()) for begin, rows in folds] == [
        (5, [4, 5]),
        (7, [6, 7]),
        (9, [8]),  # the last moment ends the last fold
    ]
    # Known on the 2nd and the 3rd, two days before the 5th at the latest: strictly, only the first.
    assert np.flatnonzero(known_before(frame, folds[0][0], pd.Timedelta(days=2))).tolist() == [0]


@pytest.mark.parametrize("name", SPACES)
def test_the_fixed_recipe_is_a_point_of_its_space(name: str) -> None:
    for each, value in fixed_recipe(name).items():
        assert SPACES[name][each]._contains(SPACES[name][each].to_internal_repr(value))
    assert {each: value for each, value in fixed_recipe(name).items() if each in algorithm(name).PARAMS}


def test_the_search_begins_at_the_fixed_recipe_and_sees_the_train_part_alone(made: Dataset, database: str) -> None:
    found = tune(made, LOGISTIC, database, 6)
    assert found.trials == 6
    assert told(database)[0][2] == {"C": 0.01}
    assert found.log_loss <= found.log_loss_fixed
    spoiled, later = made.frame.copy(), made.frame["part"] != Part.TRAIN
    spoiled.loc[later, "label"] = 1 - spoiled.loc[later, "label"]
    spoiled.loc[later, made.features] = 99.0
    lineage = made.lineage | {"content_sha256": "another dataset, and so another study"}
    assert tune(Dataset(Q, spoiled, lineage), LOGISTIC, database, 6) == found
    early = made.frame["part"] == Part.TRAIN
    spoiled.loc[early, "label"] = np.roll(spoiled.loc[early, "label"], 7)
    other = Dataset(Q, spoiled, made.lineage | {"content_sha256": "a third"})
    assert tune(other, LOGISTIC, database, 6).log_loss > found.log_loss + 0.01


@pytest.mark.long
def test_a_killed_search_goes_on_and_loses_and_doubles_no_trial(made: Dataset, database: str) -> None:
    """The same trials in the end as of a search that nobody killed, whose study is in another database."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    search = subprocess.Popen([sys.executable, "-c", _SEARCH, database], env=environment)
    try:
        deadline = time.monotonic() + 900
        while sum(state != "RUNNING" for _, state, _ in told(database)) < 4:
            assert search.poll() is None, "it was over before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        search.send_signal(signal.SIGKILL)
        search.wait()
    halfway = told(database)
    assert len(halfway) < 14
    resumed = tune(made, LOGISTIC, database, 14)
    trials = told(database)
    assert [number for number, *_ in trials] == list(range(14))
    assert {state for _, state, _ in trials} <= {"COMPLETE", "PRUNED"}
    assert [params for *_, params in trials[: len(halfway)]] == [params for *_, params in halfway]
    undisturbed = tune(
        Dataset(Q, made.frame, made.lineage | {"content_sha256": "a study apart"}), LOGISTIC, database, 14
    )
    assert undisturbed == resumed
    assert tune(made, LOGISTIC, database, 14) == resumed  # and nothing is searched again
    assert len(told(database)) == 28


def test_who_died_in_the_first_round_leaves_one_fixed_recipe_and_no_half_trial(made: Dataset, database: str) -> None:
    space = SPACES["logistic"]
    with _study(database, _name(made, LOGISTIC)) as study:
        study.enqueue_trial(fixed_recipe("logistic"))
        study.ask(space)
        study.ask()  # its parameters were not asked yet
    found = tune(made, LOGISTIC, database, 3)
    trials = told(database)
    assert [state for _, state, _ in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [params.get("C") == 0.01 for *_, params in trials] == [True, False, False, False]
    assert found.trials == 3


def test_parameters_are_written_by_version_and_used_where_the_user_says_so(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    record(lake, Quarter(2016, 1), [Tuned(Member(), {"num_leaves": 7, "learning_rate": 0.05}, 0.3, 0.31, 0.8, 60, 20)])
    record(lake, Quarter(2016, 3), [Tuned(LOGISTIC, {"C": 0.5}, 0.3, 0.31, 0.8, 60, 0)])
    written = json.loads(lake.read_bytes(FILE))
    assert list(written) == ["v2016.1", "v2016.3"]
    assert written["v2016.1"]["members"][0]["params"] == {"num_leaves": 7, "learning_rate": 0.05}
    assert written["v2016.1"]["members"][0]["validation_auc"] == 0.8

    def params(until: Quarter | Day, **settings: object) -> list[dict[str, object]]:
        return [member.params for member in ensemble_of(lake, Settings(**settings), until).members]

    assert params(Quarter(2016, 2)) == [{}]  # the fixed recipe, unless the user chose otherwise
    assert params(Quarter(2016, 1), tuned=True) == [{}]  # its own quarter's are not of before
    assert params(Quarter(2016, 2), tuned=True) == [{"num_leaves": 7, "learning_rate": 0.05}]
    assert params(Day(pd.Timestamp("2016-02-01")), tuned=True) == [{"num_leaves": 7, "learning_rate": 0.05}]
    assert params(Quarter(2017, 1), tuned=True) == [{}]  # the newest knows nothing of this member
    chosen = EnsembleSettings(members=(Member(weight=2), Member(window_months=12)))
    assert params(Quarter(2016, 3), tuned=True, ensemble=chosen) == [{"num_leaves": 7, "learning_rate": 0.05}, {}]


def test_members_that_differ_in_what_they_fix_take_what_was_found_for_each(tmp_path: Path) -> None:
    lake, few, many = Lake(str(tmp_path)), Member(params={"num_leaves": 4}), Member(params={"num_leaves": 31})
    found = [Tuned(each, {"learning_rate": rate}, 0.3, 0.3, 0.8, 60, 20) for each, rate in ((few, 0.01), (many, 0.1))]
    record(lake, Quarter(2016, 1), found)
    tuned = ensemble_of(lake, Settings(tuned=True, ensemble=EnsembleSettings(members=(few, many))), Quarter(2016, 2))
    assert [member.params for member in tuned.members] == [
        {"learning_rate": 0.01, "num_leaves": 4},
        {"learning_rate": 0.1, "num_leaves": 31},
    ]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"members": [{"algorithm": "lightgbm"}]}'])
def test_a_damaged_record_of_a_search_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    lake = Lake(str(tmp_path))
    lake.write_bytes("models/hyperparameters/2016-Q1.json", content)
    with pytest.raises(
        EarlySignalError, match=r"2016-Q1.json is damaged.*Remedy: `earlysignal tune --quarter 2016-Q1`"
    ):
        ensemble_of(lake, Settings(tuned=True), Quarter(2016, 2))
