"""Which model serves: one champion, changed with its decision or not at all, and of two at once one wins."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import NOW, at_once, count, decision, die_after, execute, later

from earlysignal_core.ledger import decisions, deployments, freezes
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import ChampionChangedError, Deployment
from earlysignal_core.ledger.errors import BrokenConstraintError, ConflictError, LedgerError
from earlysignal_core.ledger.freezes import FrozenError
from earlysignal_core.ledger.vocabulary import DecisionKind, Role

A, B, C = "v2018.3.0", "v2018.3.1", "v2018.4.0"
INSERT = """
    INSERT INTO deployments (role, version, traffic_share, since, decided_by) VALUES (:role, :version, 1, :now, 1)"""


def promote(ledger: Ledger, version: str, *, over: str | None, days: float = 0) -> Deployment:
    return deployments.promote(ledger, version, decision(DecisionKind.PROMOTION, later(days)), over=over)


def roll_back(ledger: Ledger, *, of: str, days: float = 0) -> Deployment:
    return deployments.roll_back(ledger, decision(DecisionKind.ROLL_BACK, later(days)), of=of)


def serving(ledger: Ledger) -> str | None:
    current = deployments.champion(ledger)
    return current.version if current else None


def kinds(ledger: Ledger) -> list[str]:
    return list(decisions.read(ledger)["kind"])


def test_a_promotion_ends_one_deployment_and_begins_another_by_one_decision(ledger: Ledger) -> None:
    assert deployments.champion(ledger) is None
    first = promote(ledger, A, over=None)
    second = promote(ledger, B, over=A, days=30)
    assert (second.version, second.role, second.traffic_share) == (B, Role.CHAMPION, 100)
    assert (second.since, second.until, second.predecessor) == (later(30), None, first.id)
    assert deployments.champion(ledger) == second
    history = deployments.history(ledger)
    assert history["version"].tolist() == [A, B]
    assert history["until"][0] == later(30)
    assert history.loc[0, "ended_by"] == history.loc[1, "decided_by"] == 2
    recorded = decisions.read(ledger, kind=DecisionKind.PROMOTION)
    assert recorded["subject"].tolist() == [A, B]
    assert recorded["figures"][1] == {"auc": 0.8}


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    results = at_once(*[lambda version=version: promote(ledger, version, over=A) for version in (B, C)])
    (won,) = [result for result in results if isinstance(result, Deployment)]
    (told,) = [result for result in results if isinstance(result, ChampionChangedError)]
    assert serving(ledger) == won.version
    assert f"judged against {A}, but the champion is {won.version}" in str(told)
    assert kinds(ledger) == ["promotion", "promotion"]


def test_of_the_first_promotions_at_once_one_wins_too(ledger: Ledger) -> None:
    results = at_once(*[lambda number=number: promote(ledger, f"v{number}", over=None) for number in range(6)])
    assert sum(isinstance(result, Deployment) for result in results) == 1
    assert sum(isinstance(result, ChampionChangedError) for result in results) == 5
    assert count(ledger, "decisions") == count(ledger, "deployments") == 1


def test_a_promotion_and_a_roll_back_at_once_do_not_mix(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    promote(ledger, B, over=A)
    results = at_once(lambda: promote(ledger, C, over=B), lambda: roll_back(ledger, of=B))
    assert sum(isinstance(result, ChampionChangedError) for result in results) == 1
    assert serving(ledger) in {A, C}


@pytest.mark.parametrize("role", ["champion", "challenger"])
def test_the_database_itself_allows_one_champion_and_one_open_deployment_of_a_model(ledger: Ledger, role: str) -> None:
    promote(ledger, A, over=None)
    version = B if role == "champion" else A
    with pytest.raises(BrokenConstraintError) as caught:
        execute(
            ledger,
            INSERT,
            role=role,
            version=version,
            now=NOW,
        )
    assert caught.value.constraint == ("one_champion" if role == "champion" else "one_open_deployment")


def test_no_deployment_without_a_decision(ledger: Ledger) -> None:
    with pytest.raises(BrokenConstraintError):
        execute(
            ledger,
            INSERT,
            role="champion",
            version=A,
            now=NOW,
        )


@pytest.mark.parametrize("statement", ["INSERT INTO decisions", "UPDATE deployments", "INSERT INTO deployments"])
def test_between_a_decision_and_its_effect_there_is_nothing(ledger_url: str, ledger: Ledger, statement: str) -> None:
    promote(ledger, A, over=None)
    die_after(ledger_url, ledger, statement, lambda it: promote(it, B, over=A))
    assert serving(ledger) == A
    assert kinds(ledger) == ["promotion"]
    assert promote(ledger, B, over=A).version == B


def test_a_roll_back_returns_to_what_served_before(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    promote(ledger, B, over=A, days=1)
    promote(ledger, C, over=B, days=2)
    before = deployments.previous_champion(ledger)
    assert before is not None
    assert before.version == B
    back = roll_back(ledger, of=C, days=3)
    assert (back.version, back.since) == (B, later(3))
    assert roll_back(ledger, of=B, days=4).version == A  # C does not come back
    assert deployments.previous_champion(ledger) is None
    with pytest.raises(LedgerError, match=f"no model has served before {A}"):
        roll_back(ledger, of=A, days=5)
    assert kinds(ledger) == ["promotion"] * 3 + ["roll_back"] * 2


def test_what_is_no_longer_champion_is_not_rolled_back(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    promote(ledger, B, over=A)
    with pytest.raises(ChampionChangedError, match=f"{A} is not rolled back.*champion is {B}"):
        roll_back(ledger, of=A)


def test_a_freeze_stops_promotions_until_it_is_lifted_but_no_roll_back(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    promote(ledger, B, over=A)
    freezes.freeze(ledger, decision(DecisionKind.FREEZE, cause="an audit", decided_by="Ada"))
    assert freezes.is_frozen(ledger)
    with pytest.raises(FrozenError, match=r"an audit.*earlysignal unfreeze"):
        promote(ledger, C, over=B)
    with pytest.raises(FrozenError):
        freezes.freeze(ledger, decision(DecisionKind.FREEZE))
    roll_back(ledger, of=B)
    freezes.unfreeze(ledger, decision(DecisionKind.UNFREEZE))
    with pytest.raises(ConflictError, match="not stopped"):
        freezes.unfreeze(ledger, decision(DecisionKind.UNFREEZE))
    assert promote(ledger, C, over=A).version == C
    assert kinds(ledger) == ["promotion", "promotion", "freeze", "roll_back", "unfreeze", "promotion"]


def test_a_freeze_and_a_promotion_at_once_come_one_after_the_other(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    results = at_once(lambda: freezes.freeze(ledger, decision(DecisionKind.FREEZE)), lambda: promote(ledger, B, over=A))
    refused = isinstance(results[1], FrozenError)
    assert kinds(ledger) == (["promotion", "freeze"] if refused else ["promotion", "promotion", "freeze"])
    assert serving(ledger) == (A if refused else B)


def test_a_challenger_scores_in_shadow_until_it_is_retired_or_promoted(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    for version in (B, C):
        shadow = deployments.shadow(ledger, version, decision(DecisionKind.SHADOW))
        assert (shadow.role, shadow.traffic_share) == (Role.CHALLENGER, 0)
    with pytest.raises(ConflictError, match="deployed already"):
        deployments.shadow(ledger, A, decision(DecisionKind.SHADOW))
    assert [challenger.version for challenger in deployments.challengers(ledger)] == [B, C]
    deployments.retire(ledger, B, decision(DecisionKind.RETIREMENT, later(1)))
    with pytest.raises(ConflictError, match="no challenger"):
        deployments.retire(ledger, B, decision(DecisionKind.RETIREMENT, later(1)))
    promote(ledger, C, over=A, days=2)
    assert deployments.challengers(ledger) == []
    assert serving(ledger) == C


def test_the_champion_is_not_promoted_again(ledger: Ledger) -> None:
    promote(ledger, A, over=None)
    with pytest.raises(LedgerError, match="champion already"):
        promote(ledger, A, over=A)
    assert kinds(ledger) == ["promotion"]


def test_a_decision_of_another_kind_causes_nothing(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="`refusal` cannot cause a promotion"):
        deployments.promote(ledger, A, decision(DecisionKind.REFUSAL), over=None)
    assert count(ledger, "decisions") == 0


def test_a_promotion_before_the_champion_began_is_refused(ledger: Ledger) -> None:
    promote(ledger, A, over=None, days=2)
    with pytest.raises(LedgerError, match=r"v2018\.3\.0 is the champion since .* Remedy: look whether"):
        promote(ledger, B, over=A, days=1)
    assert serving(ledger) == A
    assert kinds(ledger) == ["promotion"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([A, B, C, "back"]), max_size=8))
def test_promotions_and_roll_backs_are_a_stack(ledger: Ledger, steps: list[str]) -> None:
    """Against a model of three lines: a promotion pushes, a roll-back pops."""
    stack: list[str] = []

    class UndoError(Exception):
        """Leaves an empty ledger to the next example."""

    with pytest.raises(UndoError), ledger.transaction() as joined:  # noqa: PT012 - it ends all of this
        for step in steps:
            over = stack[-1] if stack else None
            if step == "back" and len(stack) > 1:
                assert roll_back(joined, of=stack.pop()).version == stack[-1]
            elif step not in ("back", over):
                promote(joined, step, over=over)
                stack.append(step)
            assert serving(joined) == (stack[-1] if stack else None)
        previous = deployments.previous_champion(joined)
        assert (previous.version if previous else None) == (stack[-2] if len(stack) > 1 else None)
        raise UndoError


def test_nothing_is_decided_before_what_it_ends_began(ledger: Ledger) -> None:
    assert deployments.not_before_what_is_deployed(ledger, NOW) == NOW
    deployments.shadow(ledger, "v9.0.0", decision(DecisionKind.SHADOW, later(3)))
    assert deployments.not_before_what_is_deployed(ledger, NOW) == later(3), "a challenger counts too"
    assert deployments.not_before_what_is_deployed(ledger, later(4)) == later(4)
