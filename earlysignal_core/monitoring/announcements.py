"""Whom a day concerns: its decisions and the limits that it broke, as alerts; one of a kind a day."""

from collections.abc import Mapping

import pandas as pd

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger.alerts import Alert, figures_told, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import DecisionKind, Severity, Urgency
from earlysignal_core.monitoring.action import SERIOUS
from earlysignal_core.monitoring.day_record import DayRecord, kinds
from earlysignal_core.monitoring.retrain_policy import Cause, RetrainDecision

_LISTED = 5
_REPEATED_AFTER = pd.Timedelta(days=7)
_WHAT_TO_DO = {
    "calibration": "Review the features: the probabilities no longer mean what they say.",
    "importance": "Investigate: the model looks at other features than in training.",
    "features_missing": "Look at the caches of the features that went missing.",
    "latency": "Look at the machine, or at the size of the model.",
}
_KINDS = {"measured": "cannot be measured"}
_TITLES_OF_LIMITS = {"evidently_agrees": "Evidently's page disagrees with our figures"}
_TITLES = {
    DecisionKind.PROMOTION: "{} serves",
    DecisionKind.REFUSAL: "{} is refused",
    DecisionKind.UNDECIDED: "{} stays in shadow",
    DecisionKind.AB_TEST: "{} is tested against the champion",
    DecisionKind.RAMP: "{} takes a growing share of the answers",
    DecisionKind.RETIREMENT: "{} is retired",
    DecisionKind.ROLL_BACK: "{} is rolled back",
}


def of_decision(ledger: Ledger, decision: RetrainDecision, request: RetrainRequest | None, at: pd.Timestamp) -> None:
    """Tell that a retrain has been asked for."""
    if request is not None:
        is_emergency = request.urgency is Urgency.EMERGENCY
        title = f"{'Emergency retrain' if is_emergency else 'Retrain'}: {request.cause}"
        severity = Severity.CRITICAL if is_emergency and request.cause != Cause.FIRST else Severity.INFO
        _raise(ledger, f"retrain:{request.cause}", severity, title, decision.reason, request.cause, at)


def of_challenger(ledger: Ledger, version: str | None, kind: DecisionKind, reason: str, at: pd.Timestamp) -> None:
    """Tell what has become of a challenger, or that a retrain has given none."""
    title = "No model yet" if version is None else _TITLES[kind].format(version)
    _raise(ledger, f"{kind}:{version or 'none'}", Severity.INFO, title, reason, str(kind), at)


def of_lost_champion(ledger: Ledger, version: str, at: pd.Timestamp) -> None:
    """Tell that the champion cannot be loaded: it answers for nothing, and nothing is measured."""
    told = "Nothing is measured, and its predecessor answers if there is one. Restore its files, or promote another."
    _raise(ledger, "lost_champion", Severity.CRITICAL, f"{version} cannot be loaded", told, "lost champion", at)


def of_cache(ledger: Ledger, cache: str, error: EarlySignalError, at: pd.Timestamp) -> None:
    """Tell that a cache could not be collected: what stands there grows old."""
    _raise(ledger, f"not_collected:{cache}", Severity.WARNING, f"{cache} is not collected", str(error), "refresh", at)


def of_limits(ledger: Ledger, record: DayRecord, before: DayRecord | None, at: pd.Timestamp) -> None:
    """Tell which limits a day has broken, once for each kind; what asks for a retrain is told by the decision too.

    A warning of what was broken the day before, and told, is repeated when it has changed by half, or after a week: who
    gets one every day reads none.

    Parameters
    ----------
    ledger : Ledger
    record : DayRecord
    before : DayRecord or None
        What the monitor said of the same champion the day before.
    at : Timestamp
        UTC.
    """
    fired = record.fired
    if fired.empty:
        return
    for kind, lines in fired.groupby(kinds(fired), sort=False):
        said = [f"{row.rule}: {row.reason}" for row in lines.head(_LISTED).itertuples()]
        if len(lines) > _LISTED:
            said.append(f"and {len(lines) - _LISTED} more")
        told = "; ".join([*said, *([_WHAT_TO_DO[str(kind)]] if str(kind) in _WHAT_TO_DO else [])])
        severity = Severity.CRITICAL if lines["action"].isin(SERIOUS).any() else Severity.WARNING
        key, broken = f"{record.monitor}:{kind}", dict(zip(lines["rule"], lines["value"], strict=True))
        if severity is Severity.WARNING and before is not None and broken.keys() <= set(before.fired["rule"]):
            told_of = figures_told(ledger, key, record.day - _REPEATED_AFTER + pd.Timedelta(days=1))
            if all(rule in told_of and _is_about(value, told_of[rule]) for rule, value in broken.items()):
                continue
        what = _KINDS.get(str(kind), str(kind).replace("_", " "))
        title = _TITLES_OF_LIMITS.get(str(kind), f"{record.monitor.replace('_', ' ').capitalize()}: {what}")
        _raise(ledger, key, severity, title, told, str(kind), at, broken)


def _is_about(value: float, told: float) -> bool:
    return not abs(value - told) > abs(told) / 2  # what is undefined was so before


def _raise(
    ledger: Ledger,
    key: str,
    severity: Severity,
    title: str,
    body: str,
    rule: str,
    at: pd.Timestamp,
    figures: Mapping[str, float] | None = None,
) -> None:
    day = at.tz_localize(None).normalize()
    raise_alert(ledger, Alert(key, day, at, severity, title, body, rule, figures or {}))
