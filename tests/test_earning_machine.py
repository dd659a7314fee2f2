"""Tests, ramps, promotions, roll-backs and freezes in any order, against a model of them; and several at once."""

from collections.abc import Callable
from typing import ClassVar

import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from ledgers import NOW, at_once, count, decision, die_after, empty

from earlysignal_core.ledger import ab_tests, deployments, freezes, prediction_requests, ramps
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import ConflictError, LedgerError
from earlysignal_core.ledger.prediction_requests import PredictionRequest
from earlysignal_core.ledger.vocabulary import ABTestStatus, Arm, DecisionKind, Fallback, JudgedBy
from earlysignal_core.serving import ramping
from earlysignal_core.serving.routing import route_at

A, B, C, D = VERSIONS = ("v1", "v2", "v3", "v4")
METRICS = {arm: {"auc": 0.8} for arm in Arm}


class Earning(RuleBasedStateMachine):
    """The ledger beside a model of it; what the model refuses must be refused, and leave nothing behind."""

    ledger: ClassVar[Ledger]

    @initialize()
    def nothing_yet(self) -> None:
        empty(self.ledger)
        self.now = NOW
        self.stack: list[str] = []
        self.shadow: set[str] = set()
        self.test: tuple[str, str] | None = None
        self.ramp: tuple[str, int] | None = None
        self.frozen = False
        self.completed = 0

    @property
    def champion(self) -> str | None:
        return self.stack[-1] if self.stack else None

    def attempt(self, allowed: bool, work: Callable[[], object]) -> bool:
        self.now += pd.Timedelta(minutes=1)
        before = count(self.ledger, "decisions")
        try:
            work()
        except LedgerError:
            assert not allowed
            assert count(self.ledger, "decisions") == before
            return False
        assert allowed
        assert count(self.ledger, "decisions") == before + 1
        return True

    def at(self, kind: DecisionKind) -> deployments.Decision:
        return decision(kind, self.now + pd.Timedelta(minutes=1))

    def leaves(self, version: str) -> None:
        self.shadow.discard(version)
        if self.test is not None and version in self.test:
            self.test = None
        if self.ramp is not None and self.ramp[0] == version:
            self.ramp = None

    def champion_ends(self) -> None:
        self.test = None
        if self.ramp is not None:
            self.shadow.add(self.ramp[0])
            self.ramp = None

    @rule(version=st.sampled_from(VERSIONS))
    def promote(self, version: str) -> None:
        promoted, over = self.at(DecisionKind.PROMOTION), self.champion
        allowed = not self.frozen and version != over
        if self.attempt(allowed, lambda: deployments.promote(self.ledger, version, promoted, over=over)):
            self.leaves(version)
            self.champion_ends()
            self.stack.append(version)

    @rule()
    def roll_back(self) -> None:
        back, of = self.at(DecisionKind.ROLL_BACK), self.champion
        if of is None:
            return
        if self.attempt(len(self.stack) > 1, lambda: deployments.roll_back(self.ledger, back, of=of)):
            self.stack.pop()
            self.leaves(self.stack[-1])
            self.champion_ends()

    @rule(version=st.sampled_from(VERSIONS))
    def enter(self, version: str) -> None:
        entered = self.at(DecisionKind.SHADOW)
        on_a_ramp = self.ramp is not None and self.ramp[0] == version
        allowed = version != self.champion and version not in self.shadow and not on_a_ramp
        if self.attempt(allowed, lambda: deployments.shadow(self.ledger, version, entered)):
            self.shadow.add(version)

    @rule(version=st.sampled_from(VERSIONS))
    def retire(self, version: str) -> None:
        retired = self.at(DecisionKind.RETIREMENT)
        allowed = version in self.shadow or (self.ramp is not None and self.ramp[0] == version)
        if self.attempt(allowed, lambda: deployments.retire(self.ledger, version, retired)):
            self.leaves(version)

    @rule(version=st.sampled_from(VERSIONS), split=st.sampled_from([25, 50]))
    def begin_test(self, version: str, split: int) -> None:
        begun, over = self.at(DecisionKind.AB_TEST), self.champion
        if over is None:
            return
        terms = {"over": over, "split": split, "days": 7, "judged_by": JudgedBy.AUC}
        allowed = not (self.frozen or self.test or self.ramp) and version in self.shadow
        if self.attempt(allowed, lambda: ab_tests.begin(self.ledger, version, begun, **terms)):
            self.test = (over, version)

    @rule(winner=st.sampled_from([*Arm, None]))
    def complete_test(self, winner: Arm | None) -> None:
        test = ab_tests.running(self.ledger)
        if test is None:
            return
        wins = winner is Arm.CHALLENGER
        ended = self.at(DecisionKind.PROMOTION if wins else DecisionKind.RETIREMENT)
        if self.attempt(
            not (wins and self.frozen), lambda: ab_tests.complete(self.ledger, test, ended, winner, METRICS)
        ):
            self.completed += 1
            self.leaves(test.challenger_version)
            if wins:
                self.champion_ends()
                self.stack.append(test.challenger_version)

    @rule(version=st.sampled_from(VERSIONS))
    def begin_ramp(self, version: str) -> None:
        begun, over = self.at(DecisionKind.RAMP), self.champion
        if over is None:
            return
        allowed = not (self.frozen or self.test or self.ramp) and version != over
        if self.attempt(allowed, lambda: ramps.begin(self.ledger, version, begun, over=over)):
            self.shadow.discard(version)
            self.ramp = (version, 10)

    @rule()
    def advance(self) -> None:
        step = ramps.running(self.ledger)
        if step is None:
            return
        on = self.at(DecisionKind.RAMP)
        if self.attempt(not self.frozen and step.traffic_share < 100, lambda: ramps.advance(self.ledger, step, on)):
            self.ramp = (step.version, {10: 25, 25: 50, 50: 100}[step.traffic_share])

    @rule()
    def roll_back_ramp(self) -> None:
        step = ramps.running(self.ledger)
        if step is not None:
            back = self.at(DecisionKind.ROLL_BACK)
            assert self.attempt(True, lambda: ramps.roll_back(self.ledger, step, back))
            self.ramp = None

    @rule()
    def freeze(self) -> None:
        stopped = self.at(DecisionKind.FREEZE)
        self.attempt(not self.frozen, lambda: freezes.freeze(self.ledger, stopped))
        self.frozen = True

    @rule()
    def unfreeze(self) -> None:
        lifted = self.at(DecisionKind.UNFREEZE)
        self.attempt(self.frozen, lambda: freezes.unfreeze(self.ledger, lifted))
        self.frozen = False

    @invariant()
    def the_ledger_is_what_the_model_says(self) -> None:
        serving, before = deployments.champion(self.ledger), deployments.previous_champion(self.ledger)
        assert (serving.version if serving else None) == self.champion
        assert (before.version if before else None) == (self.stack[-2] if len(self.stack) > 1 else None)
        standing = {each.version: each.traffic_share for each in deployments.challengers(self.ledger)}
        assert standing == dict.fromkeys(self.shadow, 0) | (dict([self.ramp]) if self.ramp else {})
        test = ab_tests.running(self.ledger)
        assert (None if test is None else (test.champion_version, test.challenger_version)) == self.test
        route = route_at(self.ledger, self.now + pd.Timedelta(minutes=2))
        shares = self.ramp or (None if test is None else (test.challenger_version, test.traffic_split))
        if test is None or self.now < test.assigned_until - pd.Timedelta(minutes=5):
            assert (None if route is None else (route.version, route.share)) == shares
        every = ab_tests.history(self.ledger)
        assert (every["status"] == ABTestStatus.COMPLETED).sum() == self.completed


def test_whatever_happens_the_ledger_is_what_the_model_says(ledger: Ledger) -> None:
    machine = type("Machine", (Earning,), {"ledger": ledger})
    run_state_machine_as_test(machine, settings=settings(max_examples=8, stateful_step_count=25, deadline=None))


@pytest.fixture
def tested(ledger: Ledger) -> ab_tests.ABTest:
    """The champion A, after B, and a test of C."""
    for version, over in ((B, None), (A, B)):
        deployments.promote(ledger, version, decision(DecisionKind.PROMOTION), over=over)
    deployments.shadow(ledger, C, decision(DecisionKind.SHADOW))
    begun = decision(DecisionKind.AB_TEST)
    return ab_tests.begin(ledger, C, begun, over=A, split=50, days=14, judged_by=JudgedBy.AUC)


@pytest.fixture
def step(ledger: Ledger) -> deployments.Deployment:
    """The champion A, after B, and C on the first step of a ramp."""
    for version, over in ((B, None), (A, B)):
        deployments.promote(ledger, version, decision(DecisionKind.PROMOTION), over=over)
    return ramps.begin(ledger, C, decision(DecisionKind.RAMP), over=A)


def complete(ledger: Ledger, test: ab_tests.ABTest, winner: Arm | None) -> None:
    kind = DecisionKind.PROMOTION if winner is Arm.CHALLENGER else DecisionKind.RETIREMENT
    ab_tests.complete(ledger, test, decision(kind), winner, METRICS)


def test_of_two_ramps_at_once_one_begins(ledger: Ledger) -> None:
    deployments.promote(ledger, A, decision(DecisionKind.PROMOTION), over=None)
    begun = decision(DecisionKind.RAMP)
    given = at_once(*(lambda v=v: ramps.begin(ledger, v, begun, over=A) for v in (B, C, D)))
    assert sum(isinstance(each, ConflictError) for each in given) == 2
    assert [each.traffic_share for each in deployments.challengers(ledger)] == [10]
    assert count(ledger, "decisions") == 2


def test_a_roll_back_during_a_step_leaves_nothing_of_the_ramp(ledger: Ledger, step: deployments.Deployment) -> None:
    on, back = decision(DecisionKind.RAMP), decision(DecisionKind.ROLL_BACK)
    given = at_once(lambda: ramps.advance(ledger, step, on), lambda: ramps.roll_back(ledger, step, back))
    assert given[1] is None, "whichever came first"
    assert ramps.running(ledger) is None
    assert deployments.challengers(ledger) == []
    serving = deployments.champion(ledger)
    assert serving is not None
    assert serving.version == A


def test_a_step_is_taken_once(ledger: Ledger, step: deployments.Deployment) -> None:
    at = NOW + pd.Timedelta(minutes=20)
    record_requests(ledger, NOW + pd.Timedelta(minutes=1), [Arm.CHAMPION] * 18 + [Arm.CHALLENGER] * 2)
    given = at_once(*[lambda: ramping.act(ledger, at)] * 4)
    assert sum(each is not None for each in given) == 1
    running = ramps.running(ledger)
    assert running is not None
    assert running.traffic_share == 25
    with pytest.raises(ConflictError, match="stands at 25 %"):
        ramps.advance(ledger, step, decision(DecisionKind.RAMP, at))


@pytest.mark.parametrize("other", [Arm.CHAMPION, Arm.CHALLENGER, None])
def test_a_test_that_is_ended_twice_ends_once(ledger: Ledger, tested: ab_tests.ABTest, other: Arm | None) -> None:
    given = at_once(lambda: complete(ledger, tested, Arm.CHALLENGER), lambda: complete(ledger, tested, other))
    assert sum(isinstance(each, ConflictError) for each in given) == 1
    (ended,) = ab_tests.history(ledger).to_dict("records")
    assert ended["status"] == ABTestStatus.COMPLETED
    serving = deployments.champion(ledger)
    assert serving is not None
    assert (serving.version == C) == (ended["winner"] == Arm.CHALLENGER)
    assert deployments.challengers(ledger) == []
    assert count(ledger, "decisions") == 5


def test_a_promotion_that_comes_between_ends_the_test(ledger: Ledger, tested: ab_tests.ABTest) -> None:
    deployments.promote(ledger, D, decision(DecisionKind.PROMOTION), over=A)
    (ended,) = ab_tests.history(ledger).to_dict("records")
    assert (ended["status"], ended["winner"]) == (ABTestStatus.ROLLED_BACK, None) or pd.isna(ended["winner"])
    with pytest.raises(ConflictError, match="over already"):
        complete(ledger, tested, Arm.CHALLENGER)


EFFECTS = ["INSERT INTO decisions", "UPDATE deployments", "INSERT INTO deployments", "UPDATE ml_ab_tests"]


@pytest.mark.parametrize("statement", EFFECTS)
def test_who_is_killed_between_a_decision_and_its_effect_has_decided_nothing(
    ledger_url: str, ledger: Ledger, tested: ab_tests.ABTest, statement: str
) -> None:
    before = count(ledger, "decisions")
    die_after(ledger_url, ledger, statement, lambda other: complete(other, tested, Arm.CHALLENGER))
    assert count(ledger, "decisions") == before
    assert ab_tests.running(ledger) == tested
    complete(ledger, tested, Arm.CHALLENGER)
    serving = deployments.champion(ledger)
    assert serving is not None
    assert serving.version == C


@pytest.mark.parametrize("statement", EFFECTS[:3])
def test_who_is_killed_in_a_step_leaves_the_ramp_where_it_stood(
    ledger_url: str, ledger: Ledger, step: deployments.Deployment, statement: str
) -> None:
    die_after(ledger_url, ledger, statement, lambda other: ramps.advance(other, step, decision(DecisionKind.RAMP)))
    assert ramps.running(ledger) == step


def record_requests(
    ledger: Ledger, at: pd.Timestamp, arms: list[Arm | None], fallback: Fallback = Fallback.NONE, latency: float = 5.0
) -> None:
    requests = [PredictionRequest(at, f"C{i:03}", fallback, latency, arm=arm) for i, arm in enumerate(arms)]
    prediction_requests.record(ledger, requests)


MINUTE = pd.Timedelta(minutes=1)
TWENTY = [Arm.CHAMPION] * 18 + [Arm.CHALLENGER] * 2


def test_a_ramp_goes_to_the_end_in_steps_of_a_quarter_of_an_hour_and_twenty_predictions(
    ledger: Ledger, step: deployments.Deployment
) -> None:
    at = NOW
    for share in (25, 50, 100):
        record_requests(ledger, at + MINUTE, TWENTY[1:])
        assert ramping.act(ledger, at + 60 * MINUTE) is None, "nineteen are too few"
        record_requests(ledger, at + 2 * MINUTE, [Arm.CHALLENGER])
        assert ramping.act(ledger, at + 14 * MINUTE) is None, "it is too early"
        at += 15 * MINUTE
        gone_on = ramping.act(ledger, at)
        assert gone_on is not None
        assert gone_on.kind is DecisionKind.RAMP
        assert gone_on.figures["predictions"] == 20
        running = ramps.running(ledger)
        assert running is not None
        assert (running.traffic_share, running.since) == (share, at)
    record_requests(ledger, at + MINUTE, [Arm.CHALLENGER] * 20)
    promoted = ramping.act(ledger, at + 15 * MINUTE)
    assert promoted is not None
    assert promoted.kind is DecisionKind.PROMOTION
    assert promoted.figures["auc"] == 0.8, "what the verdict that began it had found"
    serving, before = deployments.champion(ledger), deployments.previous_champion(ledger)
    assert serving is not None
    assert before is not None
    assert (serving.version, before.version) == (C, A)
    assert deployments.challengers(ledger) == []
    assert deployments.history(ledger)["traffic_share"].tolist() == [100, 100, 10, 25, 50, 100, 100]


@pytest.mark.parametrize(
    ("quick", "arm", "fallback", "latency", "rolls_back"),
    [
        (4, Arm.CHALLENGER, Fallback.PREVIOUS_VERSION, 5, True),
        (0, Arm.CHALLENGER, Fallback.NO_ANSWER, 5, True),
        (4, Arm.CHALLENGER, Fallback.NONE, 5000, True),
        (4, Arm.CHALLENGER, Fallback.NONE, 4900, False),
        (3, Arm.CHALLENGER, Fallback.NONE, 9000, False),  # loading a model once is no latency
        (4, Arm.CHAMPION, Fallback.PREVIOUS_VERSION, 5, False),
        (4, Arm.CHAMPION, Fallback.NONE, 9000, False),
        (4, None, Fallback.NO_ANSWER, 5, False),
    ],
)
def test_any_error_of_green_and_a_mean_latency_above_a_second_roll_back(
    ledger: Ledger,
    step: deployments.Deployment,
    quick: int,
    arm: Arm | None,
    fallback: Fallback,
    latency: float,
    rolls_back: bool,
) -> None:
    record_requests(ledger, NOW + MINUTE, [Arm.CHALLENGER] * quick, latency=5.0)
    record_requests(ledger, NOW + MINUTE, [arm], fallback, latency)
    freezes.freeze(ledger, decision(DecisionKind.FREEZE))
    followed = ramping.act(ledger, NOW + 2 * MINUTE)
    assert (followed is not None) == rolls_back
    assert (ramps.running(ledger) is None) == rolls_back
    if followed is not None:
        assert followed.kind is DecisionKind.ROLL_BACK


def test_a_freeze_holds_a_ramp_where_it_stands(ledger: Ledger, step: deployments.Deployment) -> None:
    record_requests(ledger, NOW + MINUTE, TWENTY)
    freezes.freeze(ledger, decision(DecisionKind.FREEZE))
    assert ramping.act(ledger, NOW + 15 * MINUTE) is None
    assert ramps.running(ledger) == step
    freezes.unfreeze(ledger, decision(DecisionKind.UNFREEZE))
    assert ramping.act(ledger, NOW + 16 * MINUTE) is not None


def test_what_went_wrong_in_an_earlier_step_is_not_counted_again(ledger: Ledger, step: deployments.Deployment) -> None:
    record_requests(ledger, NOW, [Arm.CHALLENGER], Fallback.NO_ANSWER)  # at the moment at which it begins
    assert ramping.act(ledger, NOW + MINUTE) is None
