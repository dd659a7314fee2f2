"""A/B tests in production: begun by a verdict, looked at every day, judged once, ended with their effect."""

from dataclasses import dataclass, replace

import pandas as pd

from earlysignal_core.datasets.labels import NO_EVENT_AFTER
from earlysignal_core.evaluation.ab_test import FIGURES, Paired, judge, pair, rule_of
from earlysignal_core.evaluation.comparison import Deploy
from earlysignal_core.evaluation.resampling import one_a_company
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import ab_tests, freezes, predictions
from earlysignal_core.ledger.ab_tests import ABTest
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.vocabulary import Arm, DecisionKind, JudgedBy
from earlysignal_core.serving.judging import one_an_event, with_outcomes
from earlysignal_core.settings import PromotionLimits
from earlysignal_core.sources import SourceDescription

UNDECIDED_AFTER = pd.Timedelta(days=120)
"""From the beginning of a test: what has not been decided by then is not."""


@dataclass(frozen=True)
class Terms:
    """How a test is run: per cent of the events for the challenger, for how many days, and what judges it."""

    split: int
    days: int
    judged_by: JudgedBy


TERMS = {
    Deploy.AB_TEST_14_DAYS: Terms(50, 14, JudgedBy.AUC),
    Deploy.AB_TEST_7_DAYS: Terms(25, 7, JudgedBy.ACCURACY),
}
"""What each verdict of the tree "when to deploy" asks for."""


@dataclass(frozen=True)
class Look:
    """What a running test shows at a moment.

    Attributes
    ----------
    test : ABTest
    events : DataFrame
        One row for each event that both models have predicted since the test began: event, symbol, company,
        announced_on, ``arm`` (missing where none was assigned), label (NaN while it is not known), each model's
        probability and threshold, and ``open``: whether the outcome is still waited for.
    found : Paired
    waits_for : str
        What is missing, and when it is decided at the latest.
    """

    test: ABTest
    events: pd.DataFrame
    found: Paired
    waits_for: str


@dataclass(frozen=True)
class Ended:
    """How a test ends."""

    test: ABTest
    winner: Arm | None
    decision: Decision
    found: Paired


def look(
    ledger: Ledger, lake: Lake, source: SourceDescription, limits: PromotionLimits, test: ABTest, at: pd.Timestamp
) -> Look:
    """Return what a test shows at a moment (UTC). Looking decides nothing."""
    events = _events(ledger, lake, source, test, at)
    missing = _missing(test, events, limits, at)
    last = test.start_date + UNDECIDED_AFTER
    waits_for = "; ".join([*missing, f"undecided from {last:%Y-%m-%d} on"]) if missing else "nothing: it can be judged"
    return Look(test, events, pair(events), waits_for)


def ending(
    ledger: Ledger, lake: Lake, source: SourceDescription, limits: PromotionLimits, at: pd.Timestamp
) -> Ended | None:
    """Return how the running test ends at a moment (UTC), or None where it goes on or none runs.

    Whether it is judged depends on how many outcomes are known, never on which: it is looked at once. While promotions
    are stopped it is not judged.
    """
    test = ab_tests.running(ledger)
    if test is None or at < test.assigned_until:
        return None
    events = _events(ledger, lake, source, test, at)
    missing = _missing(test, events, limits, at)
    if not missing and not freezes.is_frozen(ledger):
        return _judged(test, pair(events), limits, at)
    if at < test.start_date + UNDECIDED_AFTER:
        return None
    why, found = "; ".join(missing) or "promotions are stopped", pair(events)
    cause = f"{test.test_name} is closed undecided after {UNDECIDED_AFTER.days} days: {why}"
    kind, subject = DecisionKind.RETIREMENT, test.challenger_version
    return Ended(test, None, Decision(kind, at, cause, "undecided in time", found.figures, subject=subject), found)


def close(ledger: Ledger, ended: Ended, at: pd.Timestamp) -> None:
    """End a test at a moment (UTC): the winner is promoted, or the challenger retired, with the decision.

    Raises
    ------
    ConflictError
        If it is over already.
    """
    metrics = {
        arm: {"n": float(ended.found.n), "large_beats": float(ended.found.large_beats)}
        | {name: ended.found.of[arm][name].value for name in FIGURES}
        for arm in Arm
    }
    ab_tests.complete(ledger, ended.test, replace(ended.decision, at=at), ended.winner, metrics)


def _missing(test: ABTest, events: pd.DataFrame, limits: PromotionLimits, at: pd.Timestamp) -> list[str]:
    """Say what keeps a test from being judged; nothing where it can be."""
    missing, large_beats = [], int(one_a_company(events)["label"].sum())
    if at < test.assigned_until:
        missing.append(f"events are assigned until {test.assigned_until:%Y-%m-%d %H:%M} UTC")
    if waiting := int((events["open"] & events["arm"].notna()).sum()):
        missing.append(f"{waiting} assigned events have no outcome yet")
    if large_beats < limits.ab_test_large_beats:
        missing.append(f"{large_beats} of {limits.ab_test_large_beats} large beats are known")
    return missing


def _judged(test: ABTest, found: Paired, limits: PromotionLimits, at: pd.Timestamp) -> Ended:
    verdict = judge(found, test.judged_by, limits.auc_margin)
    winner = Arm.CHALLENGER if verdict.effective else Arm.CHAMPION
    figures = found.figures
    if winner is Arm.CHALLENGER:  # what it is held to from now on
        auc = found.of[Arm.CHALLENGER]["auc"]
        figures |= {"walk_forward_auc": auc.value, "walk_forward_auc_low": auc.low}
    kind = DecisionKind.PROMOTION if verdict.effective else DecisionKind.RETIREMENT
    cause = f"A/B test {test.test_name}: {found.n} events, {found.large_beats} large beats: {verdict.reason}"
    raw, effective = ("challenger" if fires else "champion" for fires in (verdict.raw, verdict.effective))
    rule = rule_of(test.judged_by, limits.auc_margin).name
    subject = test.challenger_version
    return Ended(test, winner, Decision(kind, at, cause, rule, figures, raw, effective, subject=subject), found)


def _events(ledger: Ledger, lake: Lake, source: SourceDescription, test: ABTest, at: pd.Timestamp) -> pd.DataFrame:
    versions = [test.champion_version, test.challenger_version]
    said = predictions.read(ledger, test.start_date, at, versions=versions)
    mine = one_an_event(said[said["model_version"] == test.challenger_version])
    theirs = one_an_event(said[said["model_version"] == test.champion_version])
    told = ["probability", "threshold"]
    rows = mine[["event", "symbol", "announced_on", "as_of", *told]].merge(
        theirs[["event", *told]], on="event", suffixes=("", "_of_champion"), validate="1:1"
    )
    served = predictions.read(ledger, test.start_date, test.assigned_until, served=True)
    arms = served[served["arm"].notna()].drop_duplicates("event").set_index("event")["arm"]
    rows = with_outcomes(lake, source, rows.assign(arm=rows["event"].map(arms)), at)
    expected = rows["announced_on"].dt.tz_localize("UTC") + NO_EVENT_AFTER
    return rows.assign(open=rows["label"].isna() & (expected > at))
