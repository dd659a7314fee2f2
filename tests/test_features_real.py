"""The features on the long real tape: sane figures, and a second opinion from a plain script."""

import sys
from pathlib import Path

import leaks
import numpy as np
import pandas as pd
import pytest

from earlysignal_core.features.surprise import is_large_beat, surprise_percent

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from plain_features import plain_features

SHARES = ("beat_rate_8q", "large_beat_rate_8q", "large_miss_rate_8q", "large_beat_rate_shrunk", "quarter_end_effect")


@pytest.fixture(scope="module")
def tape(sp500: Path) -> leaks.Tape:
    return leaks.whole(sp500, "2012-01-01", "2018-12-31")


@pytest.fixture(scope="module")
def values(tape: leaks.Tape) -> pd.DataFrame:
    return tape.values()


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """The chance that a positive scores higher than a negative, ties counting half."""
    rank = pd.Series(score).rank().to_numpy()
    positives = label.sum()
    return (rank[label].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives))


def test_every_announcement_has_its_46_features(values: pd.DataFrame) -> None:
    assert values.shape == (11_024, 46)


def test_little_is_missing_once_there_is_history(tape: leaks.Tape, values: pd.DataFrame) -> None:
    missing = values[(tape.examples["announced_on"] >= "2015-01-01").to_numpy()].isna().mean()
    assert missing.max() < 0.13, "one company in twelve has no sector, and no fund of it"
    of_companies = missing.drop([name for name in missing.index if "sector" in name or "cyclical" in name])
    assert of_companies.max() < 0.05


def test_values_lie_where_they_can(values: pd.DataFrame) -> None:
    for name in SHARES:
        assert values[name].min() >= 0
        assert values[name].max() <= 1
    assert values["days_to_earnings"].between(7, 11).all()
    assert values["rsi_momentum"].abs().max() < 100
    assert values["price_change_20d"].abs().max() < 1, "larger ones are false level shifts"
    assert values["surprise_mean_8q"].abs().max() <= 100
    assert values["treasury_yield_10y"].between(1, 4).all()


def test_a_feature_of_the_day_is_shared_by_all(tape: leaks.Tape, values: pd.DataFrame) -> None:
    by_day = values.groupby(tape.examples["as_of"].to_numpy())
    spread = (by_day.max() - by_day.min()).max()
    shared = {name for name in values if spread[name] == 0}
    assert shared == {name for name, feature in tape.features.items() if feature.of_the_day}


def test_history_ranks_as_the_reference_says_and_nothing_knows_the_future(
    tape: leaks.Tape, values: pd.DataFrame
) -> None:
    announced = tape.examples["announced_on"].between("2015-01-01", "2018-09-30").to_numpy()
    outcome = tape.tables["earnings"].set_index(["symbol", "announced_on"])
    outcome = outcome.loc[pd.MultiIndex.from_frame(tape.examples[["symbol", "announced_on"]])]
    actual, estimate = outcome["eps_actual"], outcome["eps_estimate"]
    judged = announced & ~np.isnan(surprise_percent(actual, estimate))
    label = is_large_beat(actual, estimate)[judged]
    assert len(label) == 7005
    ranks = {name: auc(values[name].fillna(values[name].mean()).to_numpy()[judged], label) for name in values}
    assert ranks["large_beat_rate_8q"] == pytest.approx(0.765, abs=0.005)
    assert max(max(rank, 1 - rank) for rank in ranks.values()) < 0.82


def test_a_plain_script_finds_the_same(tape: leaks.Tape, values: pd.DataFrame) -> None:
    """It starts its averages with the tape, sees no false level shifts, and closes early where the tape does not."""
    plain = plain_features(dict(tape.tables), tape.examples, tape.source.benchmark)
    assert {*plain} == {*values}
    for name in values:
        ours, theirs = values[name].to_numpy(), plain[name].to_numpy()
        same = np.isclose(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True)
        assert same.mean() > (0.82 if name == "rsi_momentum" else 0.98), name
        assert np.isfinite(theirs[np.isfinite(ours)]).all(), name
