"""What a rule of monitoring asks for, and how a rule table is judged."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.rules import Rule, Verdict, evaluate


class MonitoringError(EarlySignalError):
    """Frames that cannot be compared or shown."""


class Action(StrEnum):
    """What happens when a rule acts."""

    SHOW = "show"
    ALERT = "alert"
    SCHEDULE = "schedule retrain"
    EMERGENCY = "emergency retrain"
    BLOCK = "block predictions"
    REPAIR = "repair"


SERIOUS = (Action.EMERGENCY, Action.BLOCK, Action.REPAIR)


def judge(rules: Iterable[Rule], figures: Mapping[str, float], *, strict: bool = False) -> list[Verdict]:
    """Apply a rule table to figures; `strict` lets the raw verdicts act."""
    verdicts = [evaluate(rule, figures) for rule in rules]
    return [as_written(verdict) for verdict in verdicts] if strict else verdicts


def as_written(verdict: Verdict) -> Verdict:
    """Return a verdict that acts on its rule as written, without the guards."""
    if verdict.raw == verdict.effective:
        return verdict
    return replace(verdict, effective=verdict.raw, reason=f"{verdict.reason}; acts all the same (strict)")
