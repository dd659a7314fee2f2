"""What the judge of an A/B test can see: how often it errs without a difference, and how often it finds a true one.

`python benchmarks/ab_test.py`; ten minutes of processor time (``--runs 20`` for a glance). The scores of two models of
one market resemble each other: `alike` is their correlation given the outcome.
"""

import argparse
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import norm
from tqdm import tqdm

from earlysignal_core.evaluation.ab_test import LEVEL, judge, pair
from earlysignal_core.ledger.vocabulary import JudgedBy
from earlysignal_core.settings import PromotionLimits

CHAMPION, RATE, DAYS = 0.83, 0.104, 60  # AUC and base rate of the long tape; announcement days of four months
MARGIN = PromotionLimits().auc_margin
TOO_LOW = 0.21  # the champion calls one announcement in ten too many, as the first of the long tape does


def events(random: np.random.Generator, n: int, gain: float, alike: float, threshold: float) -> pd.DataFrame:
    """Return events of two models with normal scores: the champion's AUC, and the challenger's higher by `gain`."""
    label = (random.random(n) < RATE).astype(float)
    noise = random.multivariate_normal([0, 0], [[1, alike], [alike, 1]], n)
    apart = np.sqrt(2) * norm.ppf([CHAMPION, CHAMPION + gain])
    probability = norm.cdf(noise + label[:, None] * apart - 2)
    return pd.DataFrame(
        {
            "event": [f"e{i:05}" for i in range(n)],
            "company": [f"c{i % 500:03}" for i in range(n)],
            "announced_on": pd.Timestamp("2018-01-01") + pd.to_timedelta(random.integers(0, DAYS, n), "D"),
            "label": label,
            "probability_of_champion": probability[:, 0],
            "threshold_of_champion": threshold,
            "probability": probability[:, 1],
            "threshold": 0.5,
        }
    )


def wins(runs: int, *market: float) -> dict[JudgedBy, float]:
    """Return the share of tests that the challenger wins, by what judges them."""
    random = np.random.default_rng(0)
    found = [pair(events(random, *market)) for _ in tqdm(range(runs), str(market))]  # type: ignore[arg-type]
    return {by: np.mean([judge(each, by, MARGIN).effective for each in found]) for by in JudgedBy}


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    print(f"one-sided level {LEVEL:.0%}, {runs} runs a line (their own error: ± {np.sqrt(0.25 / runs):.1%} at most)")
    cases = [*product((400, 800), (0.0, 0.03), (0.9,), (0.5,)), *product((400,), (0.0, 0.03), (0.7,), (0.5,))]
    cases += [*product((200,), (0.0, 0.03), (0.9,), (0.5,)), *product((400, 800), (0.0,), (0.9, 0.98), (TOO_LOW,))]
    for n, gain, alike, threshold in cases:
        won = wins(runs, n, gain, alike, threshold)
        shares = " | ".join(f"{won[by]:.0%}" for by in JudgedBy)
        which = "as low as the challenger's" if threshold == 0.5 else "too low"
        print(f"| {alike} | {n} | {n * RATE:.0f} | {gain:+.2f} | {which} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
