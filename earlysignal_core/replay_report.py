"""The report of a replay: one HTML page that sets the policies side by side and says what the figures bear."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.findings import interval, number, percent
from earlysignal_core.evaluation.report import figure, share
from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.encoding import to_json
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.monitoring.retrain_policy import Cause
from earlysignal_core.replay import EMERGENCIES, Policy, Replay

REPORT = "reports/replay.html"


class Verdict(NamedTuple):
    """Whether a policy pays, as far as the figures bear it."""

    policy: Policy
    tone: str
    claim: str
    auc: Figure
    brier: Figure


def verdicts(replays: Sequence[Replay]) -> list[Verdict]:
    """Hold each policy against `never` on the same events; nothing where `never` was not replayed.

    A policy pays where the whole 95 % interval of its AUC less that of `never` lies above 0, and costs where it lies
    below.
    """
    never = next((each for each in replays if each.policy is Policy.NEVER), None)
    if never is None:
        return []
    found = []
    for each in replays:
        if each.policy is Policy.NEVER:
            continue
        gained = each.over(never)
        auc = gained["auc"]
        told = f"AUC {number(auc.value)} against “never” ({interval(auc) or auc.reason})"
        if auc.above(0):
            tone, claim = "good", f"“{each.policy}” pays: {told}."
        elif auc.below(0):
            tone, claim = "bad", f"“{each.policy}” costs: {told}."
        else:
            tone, claim = "open", f"“{each.policy}” can be told neither to pay nor to cost: {told}."
        found.append(Verdict(each.policy, tone, claim, auc, gained["brier"]))
    return found


def comparison(replays: Sequence[Replay]) -> pd.DataFrame:
    """Return one row a policy, for a table in words."""
    gained = {verdict.policy: verdict.auc for verdict in verdicts(replays)}
    return pd.DataFrame(
        [
            {
                "policy": str(each.policy),
                "retrains": len(each.retrains),
                "promotions": each.count(DecisionKind.PROMOTION),
                "roll-backs": each.count(DecisionKind.ROLL_BACK),
                "emergencies": int(each.retrains["cause"].isin(EMERGENCIES).sum()),
                "false alarms": each.false_alarms,
                "n": each.score.labelled,
                "base rate": percent(each.score.base_rate.value),
                "AUC": _in_words(each.score.auc),
                "less never": _in_words(gained[each.policy]) if each.policy in gained else "–",
                "Brier skill": _in_words(each.score.brier_skill),
                "top 10 %": _in_words(each.score.precision),
                "training s": round(each.training_seconds, 1),
            }
            for each in replays
        ]
    )


def picture(replays: Sequence[Replay]) -> bytes:
    """Draw the timelines of the policies, as PNG."""
    return plots.timelines(
        {str(each.policy): each.watched for each in replays}, {str(each.policy): each.retrains for each in replays}
    )


def render(replays: Sequence[Replay], source: str) -> str:
    """Return the report as one HTML page without any outside reference.

    Parameters
    ----------
    replays : sequence of Replay
        Of the same days.
    source : str
        The source's name.
    """
    environment = Environment(
        loader=PackageLoader("earlysignal_core"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "share": share}
    return environment.get_template("replay.html").render(
        replays=replays,
        source=source,
        verdicts=verdicts(replays),
        picture=b64encode(picture(replays)).decode(),
        kinds=DecisionKind,
        causes=[str(cause) for cause in Cause if any(cause in each.by_cause for each in replays)],
        acts={str(each.policy): _acts(each) for each in replays},
    )


def write(lake: Lake, replays: Sequence[Replay], source: str) -> None:
    """Write the report to the lake's reports."""
    lake.write_bytes(REPORT, render(replays, source).encode())


def as_json(replays: Sequence[Replay], source: str) -> str:
    """Return all decisions in order, and a table per policy, as JSON."""
    return to_json(
        {
            "source": source,
            "policies": {str(each.policy): each.table() for each in replays},
            "against_never": {
                str(verdict.policy): {
                    "claim": verdict.claim,
                    "auc": verdict.auc.model_dump(mode="json"),
                    "brier": verdict.brier.model_dump(mode="json"),
                }
                for verdict in verdicts(replays)
            },
            "decisions": [
                {"policy": str(each.policy), **row} for each in replays for row in each.decisions.to_dict("records")
            ],
        }
    )


def _acts(each: Replay) -> list[Mapping[str, Any]]:
    """Return the decisions that did something: all but the daily “no retrain”."""
    shown = each.decisions[each.decisions["kind"] != DecisionKind.NO_RETRAIN]
    return [{str(name): value for name, value in row.items()} for row in shown.to_dict("records")]


def _in_words(found: Figure) -> str:
    within = interval(found)
    return f"{number(found.value)} ({within})" if within else number(found.value)
