"""How often the AUC emergency cries wolf, and how long it needs to see a fall, by what is known of the champion.

`python benchmarks/emergencies.py`; an hour of processor time (``--seeds 5`` for a glance).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from monitored import announcement_days
from test_performance import CHAMPION, FROM, NO_POSITIONS, RATE, forecasts, stationary

from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.evaluation.test_part import auc_of_sizes
from earlysignal_core.monitoring.performance import MIN_LABELLED, WINDOW_DAYS, production_performance

DAY = pd.Timedelta(days=1)
DRAWS, APART = 20, 30
Look = tuple[pd.Timestamp, float, float]
"""A day, the AUC of its window, and the upper bound of its 99 % interval."""


def looks(rows: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> Iterator[Look]:
    """Yield every day on which there is enough to judge."""
    announced = rows["announced_on"]
    for day in pd.date_range(first, last):
        window = rows[(announced > day - WINDOW_DAYS * DAY) & (announced <= day)]
        if len(window) >= MIN_LABELLED:
            nobody = Figure(value=np.nan)
            none = rows.iloc[:0]
            figures = production_performance(window, none, NO_POSITIONS, none, champion_auc=nobody).figures
            yield day, figures["auc"], figures["auc_upper"]


def fallen(seed: int, to: float) -> tuple[pd.Timestamp, list[Look]]:
    """Return a day on which the AUC falls, and the looks of the 400 days after it."""
    random = np.random.default_rng(seed)
    fall = pd.Timestamp("2014-06-01") + int(random.integers(0, 365)) * DAY
    rows = forecasts(announcement_days(random, 3), random, later=to, since=fall)
    return fall, list(looks(rows, fall, fall + 400 * DAY))


def quiet(seed: int) -> list[Look]:
    """Return the looks of five years without a fall."""
    rows = stationary(seed)
    return list(looks(rows, FROM, rows["announced_on"].max()))


def acting(found: list[Look], rule: Callable[[float, float, float, float], bool], events: float, seed: int) -> list:
    """Return the days on which a rule acts, for one draw of what was measured of the champion on so many events."""
    distance = 0.0 if np.isinf(events) else CHAMPION - auc_of_sizes(CHAMPION, events, RATE).low
    champion = CHAMPION + distance / norm.ppf(0.975) * np.random.default_rng(seed).normal()
    return [day for day, auc, upper in found if rule(auc, upper, champion, distance)]


def episodes(days: list[pd.Timestamp]) -> int:
    """Count emergencies; those less than `APART` days after one that counts belong to it."""
    counted: list[pd.Timestamp] = []
    for day in days:
        if not counted or day - counted[-1] >= APART * DAY:
            counted.append(day)
    return len(counted)


def of_the_difference(auc: float, upper: float, champion: float, distance: float) -> bool:
    """Say whether the rule in force acts."""
    return auc - champion + np.hypot(upper - auc, norm.ppf(0.995) / norm.ppf(0.975) * distance) < 0


def below_the_value(_: float, upper: float, champion: float, __: float) -> bool:
    """Say whether the plan's rule acts, which takes what was measured of the champion for the truth."""
    return upper < champion


def below_the_bound(_: float, upper: float, champion: float, distance: float) -> bool:
    """Say whether the two intervals are apart."""
    return upper < champion - distance


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    seeds = range(parser.parse_args().seeds)
    still = [quiet(seed) for seed in tqdm(seeds, "five quiet years")]
    falls = {to: [fallen(seed, to) for seed in tqdm(seeds, f"a fall to {to}")] for to in (0.70, 0.65)}
    for rule in (of_the_difference, below_the_value, below_the_bound):
        for events in (250, 1000, 3000, np.inf):
            false = [episodes(acting(each, rule, events, draw)) for each in still for draw in range(DRAWS)]
            share = np.mean(np.array(false) > 0)
            said = f"{rule.__name__:18} {events:6} events: {np.mean(false):.2f} false, in {share:.0%} of the runs"
            for to, found in falls.items():
                first = [
                    next((float((day - fall).days) for day in acting(each, rule, events, draw)), np.inf)
                    for fall, each in found
                    for draw in range(DRAWS)
                ]
                within = ", ".join(f"{np.mean(np.array(first) <= days):.0%}" for days in (100, 200, 400))
                said += f"; to {to}: {within} within 100, 200, 400 days, median {np.median(first):.0f}"
            print(said)


if __name__ == "__main__":
    main()
