"""The judge of an A/B test: the figure that asked for the test decides, and none without an interval."""

import numpy as np
import pandas as pd
import pytest

from earlysignal_core.evaluation.ab_test import judge, pair
from earlysignal_core.ledger.vocabulary import Arm, JudgedBy
from earlysignal_core.serving.routing import Route

N = 200


def events(challenger: np.ndarray, champion: np.ndarray, *, threshold: float = 0.5) -> pd.DataFrame:
    """Twenty large beats among two hundred events of as many companies, on 23 days."""
    number = np.arange(N)
    return pd.DataFrame(
        {
            "event": [f"C{i:03}:Q1" for i in number],
            "company": [f"C{i:03}" for i in number],
            "announced_on": pd.Timestamp("2018-01-01") + pd.to_timedelta(number * 7 % 23, "D"),
            "label": (number % 10 == 0).astype(float),
            "probability": challenger,
            "threshold": threshold,
            "probability_of_champion": champion,
            "threshold_of_champion": 0.5,
        }
    )


def scores(quality: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random(N)
    return np.clip(0.4 * noise + quality * (np.arange(N) % 10 == 0), 0, 1)


@pytest.mark.parametrize("judged_by", JudgedBy)
def test_a_model_does_not_win_against_itself_nor_a_worse_one_against_a_better(judged_by: JudgedBy) -> None:
    same = judge(pair(events(scores(0.2), scores(0.2))), judged_by, 0.02)
    assert not same.effective
    assert np.isnan(same.value), "without a difference there is no interval"
    assert not judge(pair(events(scores(0.0), scores(0.5))), judged_by, 0.02).effective


@pytest.mark.parametrize("judged_by", JudgedBy)
def test_a_clearly_better_one_wins(judged_by: JudgedBy) -> None:
    found = pair(events(scores(0.6), scores(0.0, seed=1)))
    assert (found.n, found.large_beats) == (200, 20)
    assert found.of[Arm.CHALLENGER]["auc"].value == 1
    assert found.of[Arm.CHALLENGER]["accuracy"].value == 1
    assert found.of[Arm.CHAMPION]["accuracy"].value == pytest.approx(0.9), "it calls nothing"
    assert found.difference["accuracy"].value == pytest.approx(0.1)
    assert judge(found, judged_by, 0.02).effective


def test_one_that_only_calls_less_is_more_accurate_but_does_not_win_where_it_ranks_worse() -> None:
    calls_all = scores(0.3) * 0.1 + 0.9  # right in one case of ten, and ranks well
    calls_nothing = np.random.default_rng(3).random(N) * 0.1  # right in nine, and knows nothing
    verdict = judge(pair(events(calls_nothing, calls_all)), JudgedBy.ACCURACY, 0.02)
    assert verdict.raw
    assert not verdict.effective
    assert "loss of more than 0.02" in verdict.reason


def test_what_is_not_known_yet_does_not_count() -> None:
    rows = events(scores(0.6), scores(0.0, seed=1))
    rows.loc[:99, "label"] = np.nan
    found = pair(rows)
    assert (found.n, found.large_beats) == (100, 10)


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = events(scores(0.3), scores(0.2, seed=1))
    assert pair(rows) == pair(rows.sample(frac=1, random_state=5))


def test_arms_are_sticky_shared_as_asked_and_other_for_another_test() -> None:
    names = [f"C{i:04}:2018-Q{i % 4 + 1}" for i in range(4000)]
    arms = {share: [Route("v2", share, "one").arm(name) for name in names] for share in (0, 10, 25, 50, 100)}
    for share, assigned in arms.items():
        assert assigned == [Route("v2", share, "one").arm(name) for name in names]
        assert np.mean([arm is Arm.CHALLENGER for arm in assigned]) == pytest.approx(share / 100, abs=0.025)
    for less, more in ((10, 25), (25, 50), (50, 100)):
        assert all(b is Arm.CHALLENGER for a, b in zip(arms[less], arms[more], strict=True) if a is Arm.CHALLENGER)
    other = [Route("v2", 50, "two").arm(name) for name in names]
    assert np.mean([a is b for a, b in zip(arms[50], other, strict=True)]) == pytest.approx(0.5, abs=0.025)
