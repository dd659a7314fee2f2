"""Blue-green ramps in production: what a step shows, and what follows from it by the rules.

A ramp goes by the domain's clock, like all decisions: live that is the wall's, and a sensor looks at it; on a tape each
day's decision does, so that a replay lives the same ramp. There the 60 minutes are nothing, and it is the number of
predictions that makes a step last.
"""

from enum import StrEnum

import numpy as np
import pandas as pd

from earlysignal_core.ledger import decisions, deployments, freezes, prediction_requests, ramps
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.vocabulary import Arm, DecisionKind, Fallback
from earlysignal_core.rules import Guard, Rule, Verdict, evaluate

MINUTES, PREDICTIONS, SLOWEST_MS, FEWEST_TIMED = 60 / len(ramps.STEPS), 20, 1000.0, 5


class Then(StrEnum):
    """What follows from what a step shows."""

    ROLL_BACK = "roll_back"
    ADVANCE = "advance"


# Green scores every event, in shadow what blue answers: each prediction of a step tries it, whosever the answer was.
_TIMED = Guard(
    "green_requests", ">=", FEWEST_TIMED, f"fewer than {FEWEST_TIMED} answers: the first pays for loading the model"
)
_ENOUGH = Guard("predictions", ">=", PREDICTIONS, f"fewer than {PREDICTIONS} predictions in this step")
RULES = (
    Rule("green errs", "green_errors", ">", 0, Then.ROLL_BACK),
    Rule("green is slow", "mean_latency_ms", ">", SLOWEST_MS, Then.ROLL_BACK, given=(_TIMED,)),
    Rule("step is over", "minutes", ">=", MINUTES, Then.ADVANCE, given=(_ENOUGH,)),
)
"""In their order: the first that acts decides."""


def figures(ledger: Ledger, step: Deployment, at: pd.Timestamp) -> dict[str, float]:
    """Return what a step has shown up to a moment (UTC).

    Returns
    -------
    dict of str to float
        ``minutes``; ``predictions`` (answered requests that a model was asked for); ``green_requests``,
        ``green_errors`` (those that another had to answer, or nobody) and their ``mean_latency_ms``.
    """
    asked = prediction_requests.read(ledger, step.since, at)
    shared = asked[asked["arm"].notna()]
    green = shared[shared["arm"] == Arm.CHALLENGER]
    return {
        "share": float(step.traffic_share),
        "minutes": (at - step.since) / pd.Timedelta(minutes=1),
        "predictions": float((shared["fallback"] != Fallback.NO_ANSWER).sum()),
        "green_requests": float(len(green)),
        "green_errors": float((green["fallback"] != Fallback.NONE).sum()),
        "mean_latency_ms": float(green["latency_ms"].mean()) if len(green) else np.nan,
    }


def verdicts(shown: dict[str, float]) -> list[Verdict]:
    """Return what each rule says of a step."""
    return [evaluate(rule, shown) for rule in RULES]


def act(ledger: Ledger, at: pd.Timestamp) -> Decision | None:
    """Do what follows from what the ramp shows at a moment (UTC): go on, promote green, roll back, or nothing.

    One transaction, alone with the deployments: of two that act at once the second sees what the first has done. While
    promotions are stopped a ramp does not go on.

    Returns
    -------
    Decision or None
        Of kind `RAMP`, `PROMOTION` or `ROLL_BACK`; None where nothing follows or no ramp runs.
    """
    if ramps.running(ledger) is None:  # most days: no lock is taken that a retrain would have to wait for
        return None
    with ledger.transaction() as joined, joined.begin() as connection:
        freezes.alone(connection)
        step = ramps.running(joined)
        if step is None:
            return None
        shown = figures(joined, step, at)
        acting = next((verdict for verdict in verdicts(shown) if verdict.effective), None)
        if acting is None or (acting.rule.action is Then.ADVANCE and freezes.is_frozen(joined)):
            return None
        if acting.rule.action is Then.ROLL_BACK:
            decision = _decision(DecisionKind.ROLL_BACK, step, acting, shown, at)
            ramps.roll_back(joined, step, decision)
        elif step.traffic_share < ramps.STEPS[-1]:
            decision = _decision(DecisionKind.RAMP, step, acting, shown, at)
            ramps.advance(joined, step, decision)
        else:
            blue = deployments.champion(joined)
            decision = _decision(DecisionKind.PROMOTION, step, acting, _begun_with(joined, step) | shown, at)
            deployments.promote(joined, step.version, decision, over=blue.version if blue else None)
        return decision


def _decision(
    kind: DecisionKind, step: Deployment, acting: Verdict, shown: dict[str, float], at: pd.Timestamp
) -> Decision:
    cause = f"{step.version} at {step.traffic_share} % of the answers: {acting.reason}"
    action = str(acting.rule.action)
    return Decision(kind, at, cause, acting.rule.name, shown, action, action, subject=step.version)


def _begun_with(ledger: Ledger, step: Deployment) -> dict[str, float]:
    """Return the figures of the verdict that began a ramp: what green, once it serves, is held to."""
    begun = decisions.read(ledger, kind=DecisionKind.RAMP)
    begun = begun[(begun["subject"] == step.version) & (begun["raw"] != Then.ADVANCE)]
    return dict(begun["figures"].iloc[-1]) if len(begun) else {}
