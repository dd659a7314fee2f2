"""The judge of an A/B test: both models on the same events, by the figure for whose sake the test was begun."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from earlysignal_core.evaluation.metrics import measure, paired
from earlysignal_core.evaluation.resampling import Figure, Resamples, one_a_company, wider
from earlysignal_core.ledger.vocabulary import Arm, JudgedBy
from earlysignal_core.rules import Guard, Rule, Verdict, evaluate

LEVEL = 0.05
"""One-sided: how often a challenger that is no better may win."""

FIGURES = ("auc", "accuracy", "brier")


class Winner(StrEnum):
    """What the judge's rules ask for."""

    CHALLENGER = "challenger"


@dataclass(frozen=True)
class Paired:
    """Two models on the events that both have predicted and whose outcome is known.

    Attributes
    ----------
    n, large_beats : int
    of : dict of Arm to dict of str to Figure
        `FIGURES` of each model; 95 % intervals by company.
    difference : dict of str to Figure
        Challenger less champion; 90 % intervals, whose lower bound errs in one case of twenty: the wider of those by
        company and by announcement day.
    """

    n: int
    large_beats: int
    of: dict[Arm, dict[str, Figure]]
    difference: dict[str, Figure]

    @property
    def figures(self) -> dict[str, float]:
        """What the rules look at."""
        return {
            "events": float(self.n),
            "large_beats": float(self.large_beats),
            **{f"{name}_difference": self.difference[name].value for name in FIGURES},
            **{f"{name}_difference_low": self.difference[name].low for name in FIGURES},
        }


def rule_of(judged_by: JudgedBy, auc_margin: float) -> Rule:
    """Return the rule by which the challenger wins a test; where it does not fire, the champion stays.

    Accuracy alone would reward a model that calls nothing, so the ranking must not be worse by more than a margin.
    """
    if judged_by is JudgedBy.AUC:
        return Rule("ranks better", "auc_difference_low", ">", 0, Winner.CHALLENGER)
    loss = f"the interval of the AUC difference holds a loss of more than {auc_margin:g}"
    no_loss = Guard("auc_difference_low", ">=", -auc_margin, loss)
    return Rule("more accurate", "accuracy_difference_low", ">", 0, Winner.CHALLENGER, (no_loss,))


def pair(rows: pd.DataFrame, *, seed: int = 0) -> Paired:
    """Measure two models on the same events; of the share classes of a company on one.

    Parameters
    ----------
    rows : DataFrame
        One row an event: company, announced_on, label (NaN where it is not known), and each model's ``probability``
        and ``threshold``, the champion's as ``probability_of_champion`` and ``threshold_of_champion``.
    seed : int
        Of the resampling.
    """
    known = one_a_company(rows[rows["label"].notna()].sort_values(["announced_on", "event"]))
    suffix = {Arm.CHALLENGER: "", Arm.CHAMPION: "_of_champion"}
    differences, of = [], {}
    for unit in (known["announced_on"].dt.strftime("%Y-%m-%d"), known["company"]):
        drawn = Resamples.draw(unit, seed=seed)
        measured = {
            arm: measure(known["label"], known[f"probability{end}"], known[f"threshold{end}"], np.nan, drawn)
            for arm, end in suffix.items()
        }
        of = {arm: {name: measured[arm].figures[name] for name in FIGURES} for arm in Arm}  # at last those by company
        differences.append(paired(measured[Arm.CHALLENGER], measured[Arm.CHAMPION], FIGURES, level=1 - 2 * LEVEL))
    by_day, by_company = differences
    difference = {name: wider(by_company[name], by_day[name]) for name in FIGURES}
    return Paired(len(known), int(known["label"].sum()), of, difference)


def judge(found: Paired, judged_by: JudgedBy, auc_margin: float) -> Verdict:
    """Say whether the challenger has won (`effective`); a figure without an interval never lets it win."""
    return evaluate(rule_of(judged_by, auc_margin), found.figures)
