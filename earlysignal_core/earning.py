"""A challenger's way to the answers, by hand: a person begins and stops an A/B test or a ramp, and watches both.

Each decision and its effect are one transaction of the ledger, as in `operations`.
"""

from dataclasses import dataclass, field

import pandas as pd

from earlysignal_core.evaluation.ab_test import FIGURES, LEVEL, judge, rule_of
from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import ab_tests, deployments, ramps
from earlysignal_core.ledger.ab_tests import ABTest
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.vocabulary import Arm, DecisionKind, JudgedBy
from earlysignal_core.operations import OperationError, expect_ready, reasoned
from earlysignal_core.serving import ramping, trials
from earlysignal_core.serving.trials import Look
from earlysignal_core.settings import PromotionLimits
from earlysignal_core.sources import SourceDescription

NOTHING = "no A/B test and no ramp runs: the champion has all answers"
_LONGEST_TEST = trials.UNDECIDED_AFTER.days


@dataclass(frozen=True)
class Watched:
    """How the answers are shared, ready to be shown.

    Attributes
    ----------
    facts : dict of str to str
    tables : dict of str to DataFrame
        Each arm with its figures, their differences, the rules of a ramp.
    figures : dict of str to float
        To be plotted.
    """

    facts: dict[str, str]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def start_test(
    ledger: Ledger, lake: Lake, now: pd.Timestamp, version: str, *, split: int, days: int, reason: str, by: str
) -> ABTest:
    """Begin an A/B test of a model against the champion, judged by AUC; it enters the shadow if it is not there.

    Raises
    ------
    OperationError
        If there is no reason, the model knows of what is still to come, no model serves, or the test is none.
    BundleError
        If it is no version, or the model cannot be loaded.
    FrozenError
        If promotions are stopped.
    LedgerError
        If a test or a ramp runs already, or it is the champion.
    """
    decision = reasoned(DecisionKind.AB_TEST, now, reason, by)
    expect_ready(lake, now, version)
    if not (0 < split < 100 and 0 < days <= _LONGEST_TEST):
        raise OperationError(
            f"a test with {split} % of the events for the challenger, for {days} days, tells nothing. Remedy: give it "
            f"1 to 99 %, for 1 to {_LONGEST_TEST} days."
        )
    with ledger.transaction() as joined:
        over = _champion(joined)
        if version not in [each.version for each in deployments.challengers(joined)]:
            deployments.shadow(joined, version, reasoned(DecisionKind.SHADOW, now, reason, by))
        return ab_tests.begin(joined, version, decision, over=over, split=split, days=days, judged_by=JudgedBy.AUC)


def stop_test(ledger: Ledger, now: pd.Timestamp, *, reason: str, by: str) -> ABTest:
    """Stop the A/B test that runs, and retire its challenger.

    Raises
    ------
    OperationError
        If there is no reason, or no test runs.
    """
    decision = reasoned(DecisionKind.RETIREMENT, now, reason, by)
    with ledger.transaction() as joined:
        test = ab_tests.running(joined)
        if test is None:
            raise OperationError("no A/B test runs, so none can be stopped. Remedy: none is needed.")
        deployments.retire(joined, test.challenger_version, decision)
        return test


def start_ramp(ledger: Ledger, lake: Lake, now: pd.Timestamp, version: str, *, reason: str, by: str) -> Deployment:
    """Begin to give a model a growing share of the champion's answers, whatever the comparison says.

    Raises
    ------
    OperationError
        If there is no reason, the model knows of what is still to come, or no model serves.
    BundleError
        If it is no version, or the model cannot be loaded.
    FrozenError
        If promotions are stopped.
    LedgerError
        If a test or another ramp runs, or it is the champion.
    """
    decision = reasoned(DecisionKind.RAMP, now, reason, by)
    expect_ready(lake, now, version)
    with ledger.transaction() as joined:
        return ramps.begin(joined, version, decision, over=_champion(joined))


def stop_ramp(ledger: Ledger, now: pd.Timestamp, *, reason: str, by: str) -> Deployment:
    """Give the champion all answers back, at once; a freeze does not stop it.

    Raises
    ------
    OperationError
        If there is no reason, or no ramp runs.
    """
    decision = reasoned(DecisionKind.ROLL_BACK, now, reason, by)
    with ledger.transaction() as joined:
        step = ramps.running(joined)
        if step is None:
            raise OperationError("no ramp runs, so none can be stopped. Remedy: none is needed.")
        ramps.roll_back(joined, step, decision)
        return step


def watch(ledger: Ledger, lake: Lake, source: SourceDescription, limits: PromotionLimits, now: pd.Timestamp) -> Watched:
    """Return how the answers are shared at a moment (UTC), what that has shown, what decides, and when."""
    step, test = ramps.running(ledger), ab_tests.running(ledger)
    if step is not None:
        return _of_ramp(ledger, step, now)
    if test is not None:
        return _of_test(trials.look(ledger, lake, source, limits, test, now), limits)
    return Watched({"now": NOTHING})


def _of_test(seen: Look, limits: PromotionLimits) -> Watched:
    test, found = seen.test, seen.found
    versions = {Arm.CHAMPION: test.champion_version, Arm.CHALLENGER: test.challenger_version}
    arms = [
        {
            "arm": str(arm),
            "model": version,
            "answers for": int((seen.events["arm"] == arm).sum()),
            "scored by both": len(seen.events),
            "n": found.n,
            "large beats": found.large_beats,
            **{name: _told(found.of[arm][name]) for name in FIGURES},
        }
        for arm, version in versions.items()
    ]
    differences = [{"figure": name, "challenger less champion": _told(found.difference[name])} for name in FIGURES]
    verdict = judge(found, test.judged_by, limits.auc_margin)
    rule = rule_of(test.judged_by, limits.auc_margin)
    guards = "".join(f", and not if {guard.reason}" for guard in rule.guards)
    return Watched(
        {
            "A/B test": f"{test.challenger_version} against {test.champion_version}, {test.traffic_split} % of the "
            f"events for the challenger, since {test.start_date:%Y-%m-%d %H:%M} UTC",
            "events are assigned until": f"{test.assigned_until:%Y-%m-%d %H:%M} UTC",
            "rule": f"{rule.name}: the challenger wins if {rule}{guards}; otherwise the champion stays",
            "says now": f"{verdict.reason} (it decides once, when it is due)",
            "waits for": seen.waits_for,
            "intervals": f"models 95 %, differences {1 - 2 * LEVEL:.0%}: the lower bound errs in {LEVEL:.0%} of cases",
        },
        {"arms": pd.DataFrame(arms), "differences": pd.DataFrame(differences)},
        found.figures,
    )


def _of_ramp(ledger: Ledger, step: Deployment, now: pd.Timestamp) -> Watched:
    blue, shown = deployments.champion(ledger), ramping.figures(ledger, step, now)
    lines = [
        {"rule": verdict.rule.name, "then": str(verdict.rule.action), "says now": verdict.reason}
        for verdict in ramping.verdicts(shown)
    ]
    return Watched(
        {
            "ramp": f"{step.version} has {step.traffic_share} % of the answers of {blue.version if blue else 'none'} "
            f"since {step.since:%Y-%m-%d %H:%M} UTC",
            "steps": f"{', '.join(map(str, ramps.STEPS))} %, then it serves",
        },
        {"rules": pd.DataFrame(lines)},
        shown,
    )


def _told(figure: Figure) -> str:
    if not figure.defined:
        return "–"
    if pd.isna(figure.low):
        return f"{figure.value:.3f} ({figure.reason})"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _champion(ledger: Ledger) -> str:
    champion = deployments.champion(ledger)
    if champion is None:
        raise OperationError("no model serves, so none can be set against it. Remedy: promote one.")
    return champion.version
