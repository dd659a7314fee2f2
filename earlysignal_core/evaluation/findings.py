"""What the figures say, in sentences: a claim is made only where its interval bears it."""

from typing import Literal, NamedTuple

import numpy as np

from earlysignal_core.evaluation.judge import Evaluation, WalkForward
from earlysignal_core.evaluation.resampling import Figure

NAMES = {
    "never": "“never”",
    "large_beat_rate_8q": "the share of large beats in the last 8 quarters",
    "last_surprise_over_15": "“the last surprise exceeded 15 %”",
    "logistic_history": "a logistic regression on six history features",
}
# A calibration error this many times the one by chance is no chance.
_BEYOND_CHANCE = 2.0
# Keeps a number and its sign on one line.
_NARROW = "\u202f"


class Finding(NamedTuple):
    """A claim, what it rests on, and whether it speaks for the model."""

    tone: Literal["good", "open", "bad"]
    claim: str
    grounds: str


def findings(judged: WalkForward) -> list[Finding]:
    """Return what a reader should take away, in order of weight."""
    pooled = judged.pooled
    found = (
        _ranking(pooled),
        _against_baselines(pooled),
        _top_decile(pooled),
        _returns(pooled),
        _calibration(pooled),
        _accuracy(pooled),
        _which_or_when(pooled),
        _direction(pooled),
        _steadiness(judged),
        _untouched(judged),
    )
    return [finding for finding in found if finding]


def number(value: float, digits: int = 3) -> str:
    """Return a figure as people write it; a dash where it is undefined."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def percent(value: float, digits: int = 1) -> str:
    """Return a fraction in percent; a dash where it is undefined."""
    return "–" if np.isnan(value) else f"{_in_percent(value, digits)}{_NARROW}%"


def interval(figure: Figure, *, share: bool = False, digits: int | None = None) -> str:
    """Return the bounds of a figure (in percent, if it is a share); empty where there are none."""
    if np.isnan(figure.low):
        return ""
    if share:
        low, high = (_in_percent(bound, 1 if digits is None else digits) for bound in (figure.low, figure.high))
        return f"{low} to {high}{_NARROW}%"
    low, high = (number(bound, 3 if digits is None else digits) for bound in (figure.low, figure.high))
    return f"{low} to {high}"


def _in_percent(value: float, digits: int) -> str:
    return f"{value * 100:.{digits}f}".replace("-", "−")


def _ranking(pooled: Evaluation) -> Finding | None:
    auc = pooled.model["auc"]
    if not auc.defined:
        return None
    grounds = (
        f"AUC {number(auc.value)} ({interval(auc) or auc.reason}) over {pooled.model.n:,} announcements of "
        f"{pooled.model.companies:,} companies: of a large beat and an announcement that was none, the large beat has "
        f"the higher forecast {percent(auc.value, 0)} of the time. A coin gives 50 %."
    )
    if auc.above(0.5):
        return Finding("good", "It tells likely large beats from unlikely ones.", grounds)
    if auc.below(0.5):
        return Finding("bad", "It ranks worse than a coin.", grounds)
    return Finding("open", "It does not reliably rank better than a coin.", grounds)


def _against_baselines(pooled: Evaluation) -> Finding | None:
    known = {name: each for name, each in pooled.baselines.items() if each.difference["auc"].defined}
    if not known:
        return None
    name, best = max(known.items(), key=lambda item: item[1].figures["auc"].value)
    difference = best.difference["auc"]
    grounds = (
        f"The strongest simple rule is {NAMES[name]}, with AUC {number(best.figures['auc'].value)}; the model has "
        f"{number(difference.value)} more ({interval(difference) or difference.reason}, on the same resamples)."
    )
    if difference.above(0):
        return Finding("good", "It knows more than the simple rules.", grounds)
    if difference.below(0):
        return Finding("bad", "A simple rule ranks better.", grounds)
    return Finding("open", "It is not reliably better than the best simple rule.", grounds)


def _top_decile(pooled: Evaluation) -> Finding | None:
    top = pooled.top_decile
    if not top.precision.defined:
        return None
    grounds = (
        f"Of the {top.labelled:,} announcements in the top 10 %, {percent(top.precision.value)} "
        f"({interval(top.precision, share=True) or top.precision.reason}) were large beats, against "
        f"{percent(top.base_rate.value)} of all that could be judged: {number(top.lift.value, 1)} times as many "
        f"({interval(top.lift, digits=1) or top.lift.reason}, both shares on the same resamples)."
    )
    if top.lift.above(1):
        return Finding("good", "Its top 10 % hold more large beats than usual.", grounds)
    if top.lift.below(1):
        return Finding("bad", "Its top 10 % hold fewer large beats than usual.", grounds)
    return Finding("open", "Whether its top 10 % hold more large beats than usual cannot be told.", grounds)


def _returns(pooled: Evaluation) -> Finding | None:
    net, sharpe = pooled.returns["reaction"].net, pooled.portfolio.figures["sharpe"]
    if not net.defined:
        return None
    grounds = (
        f"{percent(net.value, 2)} a position over the benchmark from the next open to after the reaction, net of "
        f"{pooled.portfolio.cost_bps:g} basis points a side "
        f"({interval(net, share=True, digits=2) or net.reason}, n = {pooled.returns['reaction'].n:,})"
    )
    if sharpe.defined:
        bounds = interval(sharpe, digits=2) or sharpe.reason
        grounds += f"; Sharpe ratio of the daily portfolio {number(sharpe.value, 2)} ({bounds})"
    if net.above(0) and sharpe.above(0):
        return Finding("good", "The top 10 % earned an excess return.", f"{grounds}.")
    if net.below(0):
        return Finding("bad", "The top 10 % lost against the benchmark.", f"{grounds}.")
    return Finding("open", "The top 10 % earned no reliable excess return.", f"{grounds}.")


def _calibration(pooled: Evaluation) -> Finding | None:
    error, chance, skill = (pooled.model[name] for name in ("ece", "ece_of_calibrated", "brier_skill"))
    if not error.defined or not skill.defined:
        return None
    grounds = (
        f"Forecast and observed rate differ by {percent(error.value)} on average; chance alone gives a perfect "
        f"forecaster {percent(chance.value)}. Brier skill {number(skill.value)} ({interval(skill) or skill.reason}): "
        f"the share of the base rate's squared error that the forecasts remove."
    )
    if skill.below(0):
        return Finding("bad", "Its probabilities are worse than naming the base rate.", grounds)
    if not skill.above(0):
        return Finding(
            "open", "Whether its probabilities are better than naming the base rate cannot be told.", grounds
        )
    if error.value > _BEYOND_CHANCE * chance.value:
        return Finding("open", "Its probabilities help, but are off by more than chance.", grounds)
    return Finding("good", "Its probabilities mean what they say.", grounds)


def _accuracy(pooled: Evaluation) -> Finding | None:
    accuracy, never = pooled.model["accuracy_at_half"], pooled.model["accuracy_of_never"]
    if not accuracy.defined:
        return None
    grounds = (
        f"Answering “never” is right {percent(never.value)} of the time; calling a large beat from 0.5 on, the model "
        f"is right {percent(accuracy.value)} of the time. With so few large beats accuracy cannot tell a model "
        "from none."
    )
    return Finding("open", "Accuracy says little here.", grounds)


def _which_or_when(pooled: Evaluation) -> Finding | None:
    within, auc = pooled.model["auc_within_company"], pooled.model["auc"]
    if not within.defined or np.isnan(within.low):
        return None
    grounds = (
        f"Among the announcements of one company the AUC is {number(within.value)} ({interval(within)}, n = "
        f"{pooled.model.rows_behind['auc_within_company']:,}), over all of them {number(auc.value)} "
        f"({interval(auc) or auc.reason}). A coin gives 0.5, "
        f"and so does any rule that knows only the company."
    )
    if within.above(0.5):
        return Finding("good", "It also knows something of when.", grounds)
    if within.below(0.5):
        return Finding("bad", "It is wrong about when a company beats.", grounds)
    if auc.low > within.high:
        return Finding("open", "It knows which companies beat, rather than when.", grounds)
    return Finding("open", "Whether it knows when, and not only which company, cannot be told.", grounds)


def _direction(pooled: Evaluation) -> Finding | None:
    name = "auc_given_large_surprise"
    direction = pooled.model[name]
    if not direction.defined or np.isnan(direction.low):
        return None
    best = max((each.figures[name].value, rule) for rule, each in pooled.baselines.items())
    grounds = (
        f"Among the {pooled.model.rows_behind[name]:,} announcements more than 20 % off the consensus a large beat has "
        f"the higher forecast than a large miss {percent(direction.value, 0)} of the time (AUC "
        f"{number(direction.value)}, {interval(direction)}; the best simple rule, {NAMES[best[1]]}, has "
        f"{number(best[0])})."
    )
    if direction.above(0.5) and best[0] >= direction.value:
        return Finding("open", "It knows of the direction of a large surprise no more than a simple rule.", grounds)
    if direction.above(0.5):
        return Finding("good", "It knows something of the direction of a large surprise.", grounds)
    if direction.below(0.5):
        return Finding("bad", "It is wrong about the direction of a large surprise.", grounds)
    return Finding("open", "Whether it knows the direction of a large surprise cannot be told.", grounds)


def _steadiness(judged: WalkForward) -> Finding | None:
    known = [quarter for quarter in judged.quarters if quarter.model["auc"].defined]
    if len(known) < 2:
        return None
    low, high = (pick(known, key=lambda quarter: quarter.model["auc"].value) for pick in (min, max))
    above = sum(quarter.model["auc"].above(0.5) for quarter in known)
    grounds = (
        f"In {above} of {len(known)} quarters the whole interval lies above 0.5. Lowest {_auc_of(low)}, highest "
        f"{_auc_of(high)}; a quarter alone says little."
    )
    if above == len(known):
        return Finding("good", "It held in every quarter.", grounds)
    return Finding("open", "It did not show in every quarter.", grounds)


def _auc_of(quarter: Evaluation) -> str:
    auc, n = quarter.model["auc"], quarter.model.n
    beats = round(quarter.model["base_rate"].value * n)
    return f"{quarter.name} with {number(auc.value)} ({interval(auc) or auc.reason}; {beats:,} large beats of {n:,})"


def _untouched(judged: WalkForward) -> Finding | None:
    untouched, pooled = judged.untouched.model["auc"], judged.pooled.model["auc"]
    if not untouched.defined or judged.untouched.model.n == judged.pooled.model.n:
        return None
    grounds = (
        f"From {judged.untouched_from} on, which no choice of hyperparameters has seen: AUC {number(untouched.value)} "
        f"({interval(untouched) or untouched.reason}), n = {judged.untouched.model.n:,}; all quarters "
        f"{number(pooled.value)}."
    )
    if untouched.below(pooled.value):
        return Finding("bad", "It is weaker on the untouched quarters.", grounds)
    return Finding("good" if untouched.above(0.5) else "open", "It holds up on the untouched quarters.", grounds)
