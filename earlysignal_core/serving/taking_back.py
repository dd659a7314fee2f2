"""Who fails while others answer is taken back: the champion, or a challenger that shares its answers."""

from collections.abc import Sequence

import pandas as pd

from earlysignal_core.ledger import deployments, ramps
from earlysignal_core.ledger.alerts import Alert, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.vocabulary import Arm, DecisionKind, Fallback, Severity
from earlysignal_core.serving.answers import Answer
from earlysignal_core.serving.routing import Route


def take_back_if_failing(ledger: Ledger, failed: int, asked: int, at: pd.Timestamp) -> Deployment | None:
    """Roll back a champion that could not be loaded or has erred, where another model has answered in its place."""
    if not failed:
        return None
    current = deployments.champion(ledger)
    if current is None or current.predecessor is None:
        return None
    figures = {"requests": float(asked), "champion_failures": float(failed)}
    cause = f"{current.version} failed for {failed} of {asked} requests, and its predecessor answered"
    decision = Decision(
        DecisionKind.ROLL_BACK, at, cause, "champion_failures > 0", figures, raw="roll back", effective="roll back"
    )
    return deployments.roll_back(ledger, decision, of=current.version)


def stop_challenger_if_failing(
    ledger: Ledger, route: Route, answers: Sequence[Answer], in_shadow: str | None, at: pd.Timestamp
) -> None:
    """Give the champion all answers back where a challenger that shares them has erred, be it in shadow only.

    Parameters
    ----------
    ledger : Ledger
    route : Route
    answers : sequence of Answer
        Of one batch.
    in_shadow : str or None
        Why it could not score what the champion answered.
    at : Timestamp
        UTC.
    """
    asked = [answer for answer in answers if answer.arm is Arm.CHALLENGER]
    failed = [answer for answer in asked if answer.fallback is not Fallback.NONE]
    if not failed and in_shadow is None:
        return
    why = failed[0].error if failed else in_shadow
    cause = f"{route.version} failed for {len(failed)} of {len(asked)} requests, the champion answers: {why}"
    figures = {"requests": float(len(asked)), "challenger_failures": float(len(failed))}
    ramp = ramps.running(ledger)
    kind = DecisionKind.RETIREMENT if ramp is None else DecisionKind.ROLL_BACK
    decision = Decision(kind, at, cause, "challenger errs", figures, raw="roll back", effective="roll back")
    if ramp is None:
        deployments.retire(ledger, route.version, decision)
    else:
        ramps.roll_back(ledger, ramp, decision)
    day, title = at.tz_localize(None).normalize(), f"{route.version} errs and is taken back"
    raise_alert(ledger, Alert("challenger_errs", day, at, Severity.WARNING, title, cause, "challenger errs"))
