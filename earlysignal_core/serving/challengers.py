"""A challenger's way: in shadow until it is tested, promoted on a ramp, refused or overtaken."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from earlysignal_core.errors import LakeError
from earlysignal_core.evaluation.comparison import Deploy
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import ab_tests, decisions, deployments, freezes, ramps
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import Bundle, BundleError, NoModelYet, load
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving.judging import Judgement, NotJudged, backtest, judged
from earlysignal_core.serving.trials import TERMS
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription

_ACTS = {
    Deploy.DEPLOY: DecisionKind.RAMP,
    Deploy.AB_TEST_14_DAYS: DecisionKind.AB_TEST,
    Deploy.AB_TEST_7_DAYS: DecisionKind.AB_TEST,
    Deploy.KEEP_CHAMPION: DecisionKind.REFUSAL,
    Deploy.UNDECIDED: DecisionKind.UNDECIDED,
}


def carry_out(ledger: Ledger, judgement: Judgement | NotJudged, at: pd.Timestamp) -> tuple[DecisionKind, str]:
    """Do what a judgement says, and record it with its figures, in one transaction.

    A verdict to deploy begins a ramp, and ends the test of another challenger; one that asks for a test begins it. A
    verdict that finds promotions stopped, or another ramp (or, for a test, another test) under way, leaves the
    challenger in shadow, and so does what keeps it from being judged.

    Returns
    -------
    DecisionKind and str
        What was decided, and why.

    Raises
    ------
    ChampionChangedError
        If the champion is no longer the one that it was judged against.
    """
    if isinstance(judgement, NotJudged):
        said = f"{judgement.version} cannot be judged: {judgement.reason}"
        undecided = decisions.Decision(DecisionKind.UNDECIDED, at, said, "cannot be judged", subject=judgement.version)
        decisions.record(ledger, undecided)
        return DecisionKind.UNDECIDED, said
    kind, reason = _ACTS[judgement.decision.effective], judgement.decision.reason
    with ledger.transaction() as joined:
        if kind in (DecisionKind.RAMP, DecisionKind.AB_TEST) and (obstacle := _obstacle(joined, kind)):
            kind, reason = DecisionKind.UNDECIDED, f"{obstacle}: {reason}"
        record = _record(judgement, kind, reason, at)
        match kind:
            case DecisionKind.RAMP:
                _end_test(joined, judgement.version, at)
                ramps.begin(joined, judgement.version, record, over=judgement.over)
            case DecisionKind.AB_TEST:
                _begin_test(joined, judgement.version, record, judgement.decision.effective, over=judgement.over)
            case _:
                decisions.record(joined, record)
        if kind is DecisionKind.REFUSAL:
            deployments.retire(joined, judgement.version, _record(judgement, DecisionKind.RETIREMENT, reason, at))
    return kind, reason


def enter(
    ledger: Ledger, version: str, reason: str, at: pd.Timestamp, figures: Mapping[str, float] | None = None
) -> bool:
    """Let a new challenger score in shadow, in the place of older ones; False where it is deployed already.

    One that is being tested, or on a ramp, goes on.
    """
    champion, standing = deployments.champion(ledger), deployments.challengers(ledger)
    if version in [deployed.version for deployed in (champion, *standing) if deployed is not None]:
        return False
    test = ab_tests.running(ledger)
    tested = None if test is None else test.challenger_version
    with ledger.transaction() as joined:
        for older in (each for each in standing if not each.traffic_share and each.version != tested):
            overtaken = decisions.Decision(
                DecisionKind.RETIREMENT, at, f"overtaken by {version}", rule="one challenger"
            )
            deployments.retire(joined, older.version, overtaken)
        begins = decisions.Decision(DecisionKind.SHADOW, at, reason, "new challenger", figures or {})
        deployments.shadow(joined, version, begins)
    return True


def place(
    ledger: Ledger,
    lake: Lake,
    source: SourceDescription,
    settings: Settings,
    model: Bundle | NoModelYet,
    reason: str,
    at: pd.Timestamp,
    *,
    season: Quarter | None = None,
) -> tuple[DecisionKind, str]:
    """Give a new model its place: the first one serves, a later one enters the shadow and is judged at once.

    It serves at once, too, where the champion cannot be loaded: there is nothing to compare it with.

    Where a season that has ended is named, the champion is judged on it, for the record.

    Returns
    -------
    DecisionKind and str
        What was decided, and why.
    """
    if isinstance(model, NoModelYet):
        said = f"{reason}: no model yet, {model.reason}"
        decisions.record(ledger, decisions.Decision(DecisionKind.REFUSAL, at, said, "enough history"))
        return DecisionKind.REFUSAL, said
    version = str(model.version)
    champion = deployments.champion(ledger)
    if champion is None and freezes.is_frozen(ledger):
        said = f"{reason}: promotions are stopped, and no model serves"
        decisions.record(ledger, decisions.Decision(DecisionKind.REFUSAL, at, said, "freeze", subject=version))
        return DecisionKind.REFUSAL, said
    if champion is None:
        said = f"{reason}: there is no model to compare it with"
        rows = {"rows": float(model.metadata["rows"])}
        first = decisions.Decision(DecisionKind.PROMOTION, at, said, "first model", rows, "deploy", "deploy")
        deployments.promote(ledger, version, first, over=None)
        return DecisionKind.PROMOTION, said
    figures = {} if season is None else backtest(lake, source, champion.version, season, at)
    if not enter(ledger, version, reason, at, figures):
        said = f"{reason}: the same inputs gave {version}, which is deployed already"
        decisions.record(ledger, decisions.Decision(DecisionKind.REFUSAL, at, said, "new model", subject=version))
        return DecisionKind.REFUSAL, said
    lost = _why_lost(lake, champion.version)
    if lost is None:
        return carry_out(ledger, judged(ledger, lake, source, settings, version, at), at)
    kind, said = DecisionKind.PROMOTION, f"{champion.version} cannot be loaded, so {version} serves: {lost}"
    if freezes.is_frozen(ledger):
        kind, said = DecisionKind.UNDECIDED, f"promotions are stopped; otherwise it would serve: {said}"
    record = decisions.Decision(kind, at, said, "champion lost", subject=version)
    if kind is DecisionKind.PROMOTION:
        deployments.promote(ledger, version, record, over=champion.version)
    else:
        decisions.record(ledger, record)
    return kind, said


def is_to_be_judged(ledger: Ledger, deployed: Deployment) -> bool:
    """Say whether a challenger waits for its look: one that asks for an A/B test, or shares the answers, has had it.

    Whoever judges the same two models again and again, until one look says so, promotes by chance.
    """
    test = ab_tests.running(ledger)
    is_tested = test is not None and test.challenger_version == deployed.version
    return not (deployed.traffic_share or is_tested or _waiting_verdict(ledger, deployed.version) is not None)


def begin_waiting_test(ledger: Ledger, at: pd.Timestamp) -> decisions.Decision | None:
    """Begin the test of a challenger whose verdict asked for one when it could not be; None where none can begin."""
    if _obstacle(ledger, DecisionKind.AB_TEST):
        return None
    champion = deployments.champion(ledger)
    for waiting in deployments.challengers(ledger):
        verdict = _waiting_verdict(ledger, waiting.version)
        if champion is not None and verdict is not None:
            cause = f"its turn has come: {verdict.cause}"
            decision = replace(verdict, kind=DecisionKind.AB_TEST, at=at, cause=cause)
            _begin_test(ledger, waiting.version, decision, Deploy(str(decision.effective)), over=champion.version)
            return decision
    return None


def _waiting_verdict(ledger: Ledger, version: str) -> decisions.Decision | None:
    """Return the last verdict on a challenger against today's champion, if it asks for a test that has to wait."""
    champion, found = deployments.champion(ledger), decisions.read(ledger, kind=DecisionKind.UNDECIDED)
    found = found[found["subject"] == version]
    if champion is None or found.empty or found["effective"].iloc[-1] not in TERMS:
        return None
    last = found.iloc[-1]
    if last["at"] < champion.since:
        return None
    names = ("kind", "at", "cause", "rule", "figures", "raw", "effective", "decided_by", "subject")
    return decisions.Decision(**{name: last[name] for name in names})


def _begin_test(ledger: Ledger, version: str, decision: decisions.Decision, verdict: Deploy, *, over: str) -> None:
    terms = TERMS[verdict]
    ab_tests.begin(ledger, version, decision, over=over, split=terms.split, days=terms.days, judged_by=terms.judged_by)


def _obstacle(ledger: Ledger, kind: DecisionKind) -> str | None:
    """Say what keeps a challenger from sharing the answers now; None where nothing does."""
    if freezes.is_frozen(ledger):
        return "promotions are stopped; otherwise it would serve"
    if (ramp := ramps.running(ledger)) is not None:
        return f"{ramp.version} is on a ramp; otherwise it would serve"
    if kind is DecisionKind.AB_TEST and (test := ab_tests.running(ledger)) is not None:
        return f"{test.challenger_version} is being tested; otherwise it would be"
    return None


def _end_test(ledger: Ledger, version: str, at: pd.Timestamp) -> None:
    """End the test that runs: its own, or that of a challenger which this one overtakes."""
    test = ab_tests.running(ledger)
    if test is not None:
        told = f"{version} is to serve at once"
        overtaken = decisions.Decision(DecisionKind.RETIREMENT, at, told, rule="one shares the answers")
        deployments.retire(ledger, test.challenger_version, overtaken)


def _record(judgement: Judgement, kind: DecisionKind, reason: str, at: pd.Timestamp) -> decisions.Decision:
    comparison, decision = judgement.comparison, judgement.decision
    auc = comparison.difference["auc"]
    figures = decision.figures | {
        "auc_difference_high": auc.high,
        "walk_forward_auc": comparison.challenger["auc"],
        "walk_forward_auc_low": comparison.challenger_auc.low,
        "champion_auc": comparison.champion["auc"],
        "companies": float(comparison.companies),
        "days": float(comparison.days),
    }
    fired = next((verdict.rule.name for verdict in decision.verdicts if verdict.raw), "none of the lines")
    cause = f"{judgement.version} against {judgement.over} on {comparison.n} events: {reason}"
    return decisions.Decision(
        kind, at, cause, fired, figures, str(decision.raw), str(decision.effective), subject=judgement.version
    )


def _why_lost(lake: Lake, version: str) -> str | None:
    """Say why a model cannot be loaded; None where it can."""
    try:
        load(lake, version)
    except (BundleError, LakeError) as error:
        return str(error)
    return None
