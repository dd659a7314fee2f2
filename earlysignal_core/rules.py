"""The one evaluator of rules: a rule is one line, figure, comparison, limit, action and guard."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Guard:
    """A condition on another figure than the rule's own, with what is to be said where it does not hold."""

    figure: str
    comparison: str
    limit: float
    reason: str

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Say whether the guard lets the rule act; an unknown figure does not."""
        return _compare(figures.get(self.figure, math.nan), self.comparison, self.limit)


@dataclass(frozen=True)
class Rule:
    """One line of a rule table: when `figure` `comparison` `limit`, then `action`, unless a guard holds it back.

    `given` are conditions of the rule itself: unlike guards they are part of its raw verdict.
    """

    name: str
    figure: str
    comparison: str
    limit: float
    action: StrEnum
    guards: tuple[Guard, ...] = ()
    given: tuple[Guard, ...] = ()

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {self.limit:g}"


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the figures: without its guards (`raw`) and with them (`effective`)."""

    rule: Rule
    value: float
    raw: bool
    effective: bool
    reason: str


def evaluate(rule: Rule, figures: Mapping[str, float]) -> Verdict:
    """Apply one rule to a set of figures; a figure that is missing or NaN never fires it.

    Parameters
    ----------
    rule : Rule
    figures : mapping of str to float
        Must hold the rule's figure and those of its conditions and guards.
    """
    value = figures.get(rule.figure, math.nan)
    reached = _compare(value, rule.comparison, rule.limit)
    not_given = [condition.reason for condition in rule.given if not condition.holds(figures)]
    raw = reached and not not_given
    held_back = [guard.reason for guard in rule.guards if not guard.holds(figures)]
    if math.isnan(value):
        reason = f"{rule.figure} could not be computed"
    elif reached and not_given:
        reason = f"{rule} ({written(value)}), but {'; '.join(not_given)}"
    elif raw and held_back:
        reason = f"{rule} ({written(value)}), held back: {'; '.join(held_back)}"
    elif raw:
        reason = f"{rule.figure} is {written(value)}: {rule} fires"
    else:
        reason = f"{rule.figure} is {written(value)}; the rule fires when {rule}"
    return Verdict(rule, value, raw, raw and not held_back, reason)


def written(value: float) -> str:
    """Write a figure in four digits, and all of them before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _compare(value: float, comparison: str, limit: float) -> bool:
    return not math.isnan(value) and _COMPARISONS[comparison](value, limit)
