"""When to retrain: the strategy's decision tree as lines of one rule table, in its order, and what a line starts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, nan

import pandas as pd

from earlysignal_core.ledger import decisions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.retrain_requests import RetrainInFlightError, RetrainRequest, request_retrain
from earlysignal_core.ledger.vocabulary import DecisionKind, Urgency
from earlysignal_core.monitoring.action import Action, judge
from earlysignal_core.monitoring.drift import FEATURES_RULE, PREDICTIONS_RULE
from earlysignal_core.monitoring.importance import TOP_FIVE_RULE
from earlysignal_core.monitoring.performance import ACCURACY_RULE, AUC_RULE, CALIBRATION_RULE, SKILL_RULE, WINDOW_DAYS
from earlysignal_core.rules import Guard, Rule, Verdict, written
from earlysignal_core.trading_calendar import position, sessions

COOL_DOWN_DAYS = 7
SEASON_SHARE = 0.9
SEASON_WAIT = pd.Timedelta(days=7)
_SATURDAY = 5


class Cause(StrEnum):
    """Why a model is retrained; the run is tagged with it."""

    FIRST = "first model"
    MONTHLY = "monthly"
    ACCURACY = "accuracy"
    AUC = "auc"
    BRIER_SKILL = "brier skill"
    PREDICTION_DRIFT = "prediction drift"
    FEATURE_DRIFT = "feature drift"
    SEASON = "earnings season ended"
    CALIBRATION = "calibration"
    IMPORTANCE = "importance"
    ON_DEMAND = "on demand"


OF_A_WINDOW = (Cause.FEATURE_DRIFT, Cause.CALIBRATION, Cause.IMPORTANCE)
"""Causes that are seen in the rows of a window of `WINDOW_DAYS` and can wait."""


class When(StrEnum):
    """When a retrain starts."""

    AT_ONCE = "at once"
    TONIGHT = "tonight"
    WEEKEND = "at the weekend"

    def due(self, day: pd.Timestamp) -> pd.Timestamp:
        """Return the day on which a retrain that was decided on a day may start."""
        return day + pd.Timedelta(days=(_SATURDAY - day.weekday()) % 7 if self is When.WEEKEND else 0)


@dataclass(frozen=True)
class Line:
    """One line of the tree.

    Attributes
    ----------
    cause : Cause
    rule : Rule
        With the guards against noise.
    when : When
    window_months : int, optional
        The training window; None leaves it to the settings.
    of_the_strategy : bool
        Strict lets a rule of the strategy act without its guards against noise; our own lines keep theirs.
    """

    cause: Cause
    rule: Rule
    when: When
    window_months: int | None = None
    of_the_strategy: bool = True

    @property
    def operating(self) -> tuple[Guard, ...]:
        """What holds even a strict rule: one retrain at a time, and not the same alarm every day."""
        if self.when is When.WEEKEND:
            alone = (Guard("open_requests", "<=", 0, "a retrain is already asked for or running"), _COOLED_DOWN)
            return (*alone, _NEW_ROWS) if self.cause in OF_A_WINDOW else alone
        running = Guard("running_retrains", "<=", 0, "a retrain is running")
        return (running,) if self.cause is Cause.MONTHLY else (running, _COOLED_DOWN)


_NOT_IN_POLICY = "the policy leaves this line out"
_COOLED_DOWN = Guard(
    "days_since_retrain", ">=", COOL_DOWN_DAYS, f"the last retrain is less than {COOL_DOWN_DAYS} days ago"
)
# A champion that has drifted stays drifted. Without this it would ask for a retrain every weekend, each of which takes
# the place of the challenger before it, and none would stay long enough to show what it can.
_NEW_ROWS = Guard(
    "days_since_window_retrain", ">=", WINDOW_DAYS, "the last retrain for such a cause has seen most of these rows"
)
_NO_CHAMPION = Rule("no_champion", "champions", "<", 1, Action.EMERGENCY)
_FIRST_OF_MONTH = Rule("first_of_month", "first_session_of_month", ">=", 1, Action.SCHEDULE)
_SEASON_ENDED = Rule("season_ended", "season_due", ">=", 1, Action.SCHEDULE)

LINES = (
    Line(Cause.FIRST, _NO_CHAMPION, When.AT_ONCE, of_the_strategy=False),
    Line(Cause.MONTHLY, _FIRST_OF_MONTH, When.TONIGHT, window_months=24),
    Line(Cause.ACCURACY, ACCURACY_RULE, When.AT_ONCE),
    Line(Cause.AUC, AUC_RULE, When.AT_ONCE, of_the_strategy=False),
    Line(Cause.BRIER_SKILL, SKILL_RULE, When.AT_ONCE, of_the_strategy=False),
    Line(Cause.PREDICTION_DRIFT, PREDICTIONS_RULE, When.AT_ONCE),
    Line(Cause.FEATURE_DRIFT, FEATURES_RULE, When.WEEKEND),
    Line(Cause.SEASON, _SEASON_ENDED, When.WEEKEND, window_months=36),
    Line(Cause.CALIBRATION, CALIBRATION_RULE, When.WEEKEND, of_the_strategy=False),
    Line(Cause.IMPORTANCE, TOP_FIVE_RULE, When.WEEKEND, of_the_strategy=False),
)


_FIGURES_OF_THE_TREE = tuple(
    dict.fromkeys(
        figure
        for line in LINES
        for figure in (line.rule.figure, *(guard.figure for guard in (*line.rule.guards, *line.operating)))
    )
)


@dataclass(frozen=True)
class RetrainDecision:
    """What the tree says of one day.

    Attributes
    ----------
    verdicts : list of Verdict
        One a line, in the tree's order: all are judged, so that what a day's first line hides is on record too.
    raw : Line or None
        The first line whose rule fires as the strategy wrote it.
    effective : Line or None
        The first line that acts.
    due : Timestamp or None
        The day on which the retrain may start.
    reason : str
    """

    verdicts: list[Verdict]
    raw: Line | None
    effective: Line | None
    due: pd.Timestamp | None
    reason: str


def decide(
    day: pd.Timestamp,
    figures: Mapping[str, float],
    *,
    strict: bool = False,
    causes: Collection[Cause] = frozenset(Cause),
) -> RetrainDecision:
    """Walk down the tree.

    Parameters
    ----------
    day : Timestamp
        Without a time zone.
    figures : mapping of str to float
        Those of `calendar_figures`, of the day's `Drift`, `Performance` and `Importance`, and of the ledger:
        ``champions``, ``running_retrains``, ``open_requests`` (pending or running), ``days_since_retrain`` (since the
        last one started; infinite where there has been none) and ``days_since_window_retrain`` (of `OF_A_WINDOW`). A
        figure that is missing or NaN neither fires nor frees a rule.
    strict : bool
        Let the strategy's rules act as written.
    causes : collection of Cause
        Whose lines may act. The others are judged all the same, and say that the policy holds them back.
    """
    verdicts = [_verdict(line, figures, strict=strict) for line in LINES]
    verdicts = [
        found if line.cause in causes or not found.effective else _held_back_by_policy(found)
        for line, found in zip(LINES, verdicts, strict=True)
    ]
    pairs = list(zip(LINES, verdicts, strict=True))
    raw = next((line for line, verdict in pairs if verdict.raw and line.of_the_strategy), None)
    acting = next(((line, verdict) for line, verdict in pairs if verdict.effective), None)
    if acting is None:
        held_back = [verdict.reason for verdict in verdicts if verdict.raw]
        return RetrainDecision(verdicts, raw, None, None, "\n".join(held_back) or "no rule fires")
    line, verdict = acting
    return RetrainDecision(verdicts, raw, line, line.when.due(day), f"{line.cause}, {line.when}: {verdict.reason}")


def ask(
    ledger: Ledger,
    day: pd.Timestamp,
    decision: RetrainDecision,
    figures: Mapping[str, float],
    universe: str,
    at: pd.Timestamp,
) -> RetrainRequest | None:
    """Record what the tree decided and, if it asks for a retrain, the request with it.

    Returns
    -------
    RetrainRequest or None
        None where no line acts, or where another retrain was asked for meanwhile; the record then says so.
    """
    line, raw = decision.effective, decision.raw
    looked_at = {name: figures.get(name, nan) for name in _FIGURES_OF_THE_TREE}
    record = Decision(
        DecisionKind.RETRAIN if line else DecisionKind.NO_RETRAIN,
        at,
        decision.reason,
        line.rule.name if line else None,
        looked_at,
        raw=f"retrain ({raw.cause})" if raw else "no retrain",
        effective=f"retrain ({line.cause})" if line else "no retrain",
    )
    if line is None:
        decisions.record(ledger, record)
        return None
    urgency = Urgency.EMERGENCY if line.when is When.AT_ONCE else Urgency.SCHEDULED
    try:
        return request_retrain(
            ledger,
            record,
            day=day,
            cause=line.cause,
            urgency=urgency,
            universe=universe,
            window_months=line.window_months,
            is_earlier=line.when is When.TONIGHT,
        )
    except RetrainInFlightError as error:
        said = f"{decision.reason}; held back: {error}"
        decisions.record(ledger, replace(record, kind=DecisionKind.NO_RETRAIN, cause=said, effective="no retrain"))
        return None


def may_start(request: RetrainRequest, last_finished: pd.Timestamp | None) -> bool:
    """Say whether a request may start once a day is finished: an emergency and what a person asks for at once."""
    if last_finished is None:
        return False
    when = next((line.when for line in LINES if line.cause == request.cause), When.AT_ONCE)
    return when is When.AT_ONCE or when.due(request.day) <= last_finished


def calendar_figures(
    day: pd.Timestamp, season_ended: pd.Timestamp | None, last_season_retrain: pd.Timestamp | None
) -> dict[str, float]:
    """Return what the calendar says of a day, 1 for yes.

    Parameters
    ----------
    day : Timestamp
        Without a time zone.
    season_ended : Timestamp or None
        From `season_end`, of the latest season that has ended.
    last_season_retrain : Timestamp or None
        The day on which the last retrain of cause `Cause.SEASON` was asked for.

    Returns
    -------
    dict of str to float
        ``first_session_of_month``, ``first_session_of_week``; ``season_due``: a season ended at least a week ago and
        no retrain has been asked for since. It stays 1 until one is, so that no day missed or held back loses it.
    """
    place = int(position([day])[0])
    today, before = sessions()[place], sessions()[place - 1]
    is_session = today == day
    due = season_ended is not None and season_ended + SEASON_WAIT <= day
    if due and season_ended is not None and last_season_retrain is not None:
        due = last_season_retrain < season_ended + SEASON_WAIT
    return {
        "first_session_of_month": float(is_session and before.month != day.month),
        "first_session_of_week": float(is_session and before.weekday() >= day.weekday()),
        "season_due": float(due),
    }


def season_end(announced_on: pd.Series) -> pd.Timestamp | None:
    """Return the day on which an earnings season ended: 90 % of the expected announcements were in.

    Parameters
    ----------
    announced_on : Series of datetime64, shape (expected,)
        One row for each announcement that was expected in the season, missing where it has not come yet.
    """
    needed = ceil(SEASON_SHARE * len(announced_on))
    known = announced_on.dropna().sort_values()
    return None if needed == 0 or len(known) < needed else known.iloc[needed - 1]


def _held_back_by_policy(verdict: Verdict) -> Verdict:
    reason = f"{verdict.rule} ({written(verdict.value)}), held back: {_NOT_IN_POLICY}"
    return replace(verdict, effective=False, reason=reason)


def _verdict(line: Line, figures: Mapping[str, float], *, strict: bool) -> Verdict:
    against_noise = () if strict and line.of_the_strategy else line.rule.guards
    return judge((replace(line.rule, guards=against_noise + line.operating),), figures)[0]
