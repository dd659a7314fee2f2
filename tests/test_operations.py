"""What a person decides is in the ledger with its reason and its effect, or not at all."""

from collections.abc import Callable

import pandas as pd
import pytest
from ledgers import NOW, at_once, count, decision, execute, later
from made_up import source

from earlysignal_core import operations
from earlysignal_core.errors import EarlySignalError, RefusalError
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import ab_tests, days, decisions, deployments, freezes, retrain_requests
from earlysignal_core.ledger.alerts import Alert, mark_sent, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.days import ClockError
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.deployments import ChampionChangedError, Deployment
from earlysignal_core.ledger.errors import ConflictError, LedgerError
from earlysignal_core.ledger.freezes import FrozenError
from earlysignal_core.ledger.retrain_requests import RetrainInFlightError, RetrainRequest
from earlysignal_core.ledger.vocabulary import DecisionKind, JudgedBy, RetrainState, Severity, Urgency
from earlysignal_core.models.bundle import FOLDER, METADATA, Bundle, BundleError, save
from earlysignal_core.operations import OperationError
from earlysignal_core.quarterly import SOURCE

A, B, C, OF_THE_FUTURE = "v2018.1.0", "v2018.2.0", "v2018.3.0", "v2018.4.0"
WHY = {"reason": "a test", "by": "a tester"}


@pytest.fixture
def lake(tmp_path) -> Lake:
    """A source's description and four models without trees: promoting reads and checks their files only."""
    made = Lake(str(tmp_path))
    made.write_bytes(SOURCE, source().model_dump_json().encode())
    for version in (A, B, C, OF_THE_FUTURE):
        quarter = f"{version[1:5]}-Q{version[6]}"
        save(made, Bundle("trees", {}, {}, {"quarter": quarter, "input_sha256": version}))
    return made


def promote(ledger: Ledger, lake: Lake, version: str, days: float = 0) -> Deployment:
    return operations.promote(ledger, lake, later(days), version, **WHY)


def scheduled(ledger: Ledger) -> RetrainRequest:
    return retrain_requests.request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN),
        day=pd.Timestamp("2018-07-02"),
        cause="monthly",
        urgency=Urgency.SCHEDULED,
        universe="sp500",
        window_months=24,
    )


def test_a_retrain_is_asked_for_with_its_reason_and_starts_at_once(ledger: Ledger, lake: Lake) -> None:
    now = pd.Timestamp("2018-07-03 23:30", tz="America/New_York")  # the 4th in UTC, which is the domain's day
    asked = operations.ask_for_retrain(ledger, lake, now, reason=" new vendor ", by="Ann", window_months=24)
    assert retrain_requests.in_flight(ledger) == asked
    assert (asked.cause, asked.urgency, asked.universe, asked.window_months) == ("on demand", "emergency", "sp500", 24)
    assert (asked.day, asked.state) == (pd.Timestamp("2018-07-04"), RetrainState.PENDING)
    (recorded,) = decisions.read(ledger).to_dict("records")
    assert (recorded["kind"], recorded["cause"], recorded["decided_by"]) == ("retrain", "new vendor", "Ann")
    assert recorded["at"] == now
    assert recorded["id"] == asked.decided_by
    assert pd.isna(recorded["rule"]), "no rule decided"


def test_a_retrain_takes_the_place_of_a_scheduled_one_but_not_of_one_under_way(ledger: Ledger, lake: Lake) -> None:
    waiting = scheduled(ledger)
    asked = operations.ask_for_retrain(ledger, lake, NOW, **WHY, universe="sp500")
    assert retrain_requests.get(ledger, waiting.id).state is RetrainState.SUPERSEDED
    retrain_requests.start(ledger, asked.id, 1, "a run", NOW)
    with pytest.raises(RetrainInFlightError, match=r"started .* Remedy: wait until it is over"):
        operations.ask_for_retrain(ledger, lake, later(), **WHY)
    assert count(ledger, "decisions") == 2


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"universe": "extended940"}, "universe `sp500`, not `extended940`. Remedy: ask for `sp500`"),
        ({"window_months": 2}, "2 months is out of bounds. Remedy: from 3 to 600"),
        ({"window_months": 100_000}, "100000 months is out of bounds"),
    ],
)
def test_a_retrain_that_the_source_cannot_give_is_refused(ledger: Ledger, lake: Lake, asked: dict, told: str) -> None:
    with pytest.raises(OperationError, match=told):
        operations.ask_for_retrain(ledger, lake, NOW, **WHY, **asked)
    assert count(ledger, "decisions") == 0


def test_a_retrain_without_a_source_is_refused(ledger: Ledger, tmp_path) -> None:
    with pytest.raises(OperationError, match="nothing has been collected yet to train on"):
        operations.ask_for_retrain(ledger, Lake(str(tmp_path / "empty")), NOW, **WHY)
    assert count(ledger, "decisions") == 0


def test_a_model_of_the_future_and_what_is_no_version_cannot_serve(ledger: Ledger, lake: Lake) -> None:
    with pytest.raises(OperationError, match="a model of the future cannot serve"):
        promote(ledger, lake, OF_THE_FUTURE)
    assert promote(ledger, lake, OF_THE_FUTURE, days=90).version == OF_THE_FUTURE
    with pytest.raises(BundleError, match="is no version"):
        promote(ledger, lake, f"{A}/../{B}", days=91)


def test_promotions_and_roll_backs_by_hand(ledger: Ledger, lake: Lake) -> None:
    promote(ledger, lake, A)
    deployments.shadow(ledger, B, decision(DecisionKind.SHADOW, later(1)))
    began = promote(ledger, lake, B, days=2)
    assert (began.version, began.since) == (B, later(2))
    assert deployments.challengers(ledger) == [], "a challenger that is promoted no longer runs beside"
    back = operations.roll_back(ledger, lake, later(3), reason="worse", by="Ann")
    assert deployments.champion(ledger) == back
    assert back.version == A
    recorded = decisions.read(ledger, last=1).to_dict("records")[0]
    assert (recorded["kind"], recorded["subject"], recorded["cause"]) == ("roll_back", B, "worse")
    with pytest.raises(LedgerError, match=f"no model has served before {A}"):
        operations.roll_back(ledger, lake, later(4), **WHY)


def test_a_roll_back_where_no_model_serves_is_refused(ledger: Ledger, lake: Lake) -> None:
    with pytest.raises(OperationError, match=r"no model serves.*Remedy"):
        operations.roll_back(ledger, lake, NOW, **WHY)


def test_a_model_that_cannot_be_loaded_is_not_promoted(ledger: Ledger, lake: Lake) -> None:
    with pytest.raises(BundleError, match=f"no finished model v9.9.9.*{A}, {B}"):
        promote(ledger, lake, "v9.9.9")
    lake.write_bytes(f"{FOLDER}/{A}/model.txt", b"other trees")
    with pytest.raises(BundleError, match="is not what was written"):
        promote(ledger, lake, A)
    lake.write_bytes(f"{FOLDER}/{B}/{METADATA}", b"{")
    with pytest.raises(BundleError, match="is not what was written"):
        promote(ledger, lake, B)
    assert deployments.champion(ledger) is None
    assert count(ledger, "decisions") == 0


def test_the_champion_is_not_promoted_again(ledger: Ledger, lake: Lake) -> None:
    promote(ledger, lake, A)
    with pytest.raises(LedgerError, match="is the champion already"):
        promote(ledger, lake, A, days=1)
    assert count(ledger, "decisions") == 1


def test_of_two_promotions_at_once_none_is_lost_in_silence(ledger: Ledger, lake: Lake) -> None:
    promote(ledger, lake, A)
    results = at_once(*[lambda version=version: promote(ledger, lake, version, days=1) for version in (B, C)])
    won = [result for result in results if isinstance(result, Deployment)]
    assert all(isinstance(result, Deployment | ChampionChangedError) for result in results)
    assert count(ledger, "decisions") == 1 + len(won)
    assert deployments.champion(ledger) in won


def test_a_roll_back_to_damaged_files_is_refused_and_is_an_outage(ledger: Ledger, lake: Lake) -> None:
    promote(ledger, lake, A)
    promote(ledger, lake, B, days=1)
    lake.write_bytes(f"{FOLDER}/{A}/model.txt", b"another")
    with pytest.raises(BundleError, match=f"{A}.*Remedy") as refused:
        operations.roll_back(ledger, lake, later(2), **WHY)
    assert not isinstance(refused.value, RefusalError), "somebody else should know of it"
    serving = deployments.champion(ledger)
    assert serving is not None
    assert serving.version == B


def test_a_freeze_stops_promotions_until_it_is_lifted_but_no_roll_back(ledger: Ledger, lake: Lake) -> None:
    promote(ledger, lake, A)
    promote(ledger, lake, B, days=1)
    operations.freeze(ledger, later(2), reason="vendor is down", by="Ann")
    with pytest.raises(FrozenError, match=r"vendor is down.*earlysignal unfreeze"):
        promote(ledger, lake, C, days=3)
    with pytest.raises(FrozenError, match="nothing changes"):
        operations.freeze(ledger, later(3), **WHY)
    assert operations.roll_back(ledger, lake, later(4), **WHY).version == A
    operations.unfreeze(ledger, later(5), **WHY)
    with pytest.raises(ConflictError, match="not stopped"):
        operations.unfreeze(ledger, later(6), **WHY)
    assert promote(ledger, lake, C, days=7).version == C
    assert decisions.read(ledger)["kind"].tolist()[2:] == ["freeze", "roll_back", "unfreeze", "promotion"]


DECIDING: dict[str, Callable[[Ledger, Lake, str], object]] = {
    "retrain": lambda ledger, lake, reason: operations.ask_for_retrain(ledger, lake, NOW, reason=reason, by="Ann"),
    "promotion": lambda ledger, lake, reason: operations.promote(ledger, lake, NOW, B, reason=reason, by="Ann"),
    "roll_back": lambda ledger, lake, reason: operations.roll_back(ledger, lake, NOW, reason=reason, by="Ann"),
    "freeze": lambda ledger, lake, reason: operations.freeze(ledger, NOW, reason=reason, by="Ann"),
    "unfreeze": lambda ledger, lake, reason: operations.unfreeze(ledger, NOW, reason=reason, by="Ann"),
}


@pytest.mark.parametrize("kind", DECIDING)
def test_nothing_is_decided_without_a_reason(ledger: Ledger, lake: Lake, kind: str) -> None:
    for reason in ("", " \n"):
        with pytest.raises(OperationError, match=rf"\({kind}\) needs a reason.*Remedy"):
            DECIDING[kind](ledger, lake, reason)
    assert count(ledger, "decisions") == 0


def test_the_clock_goes_forward_only(ledger: Ledger) -> None:
    operations.move_clock(ledger, NOW)
    operations.move_clock(ledger, NOW)
    with pytest.raises(ClockError, match="cannot go back"):
        operations.move_clock(ledger, later(-1))
    assert days.clock(ledger) == NOW


def test_a_clock_is_not_set_before_days_that_were_lived_without_one(ledger: Ledger) -> None:
    days.finish_day(ledger, pd.Timestamp("2018-07-02"), NOW)
    with pytest.raises(ClockError, match=r"2018-07-02 is finished\. Remedy"):
        operations.move_clock(ledger, pd.Timestamp("2018-07-01 23:59", tz="UTC"))
    assert days.clock(ledger) is None
    operations.move_clock(ledger, pd.Timestamp("2018-07-02", tz="UTC"))


def test_the_status_of_a_new_ledger_is_empty(ledger: Ledger) -> None:
    stands = operations.status(ledger, NOW)
    assert (stands.now, stands.clock, stands.last_finished) == (NOW, None, None)
    assert (stands.champion, stands.previous_champion, stands.challengers) == (None, None, [])
    assert (stands.ab_test, stands.freeze, stands.retrain, stands.unsent_alerts) == (None, None, None, [])
    assert (len(stands.decisions), len(stands.alerts), stands.no_retrain) == (0, 0, None)


def test_the_status_tells_all_that_stands(ledger: Ledger, lake: Lake) -> None:
    operations.move_clock(ledger, NOW)
    days.finish_day(ledger, pd.Timestamp("2018-07-02"), NOW)
    promote(ledger, lake, A)
    promote(ledger, lake, B)
    deployments.shadow(ledger, C, decision(DecisionKind.SHADOW))
    terms = {"over": B, "split": 50, "days": 14, "judged_by": JudgedBy.AUC}
    test = ab_tests.begin(ledger, C, decision(DecisionKind.AB_TEST), **terms)
    operations.ask_for_retrain(ledger, lake, NOW, **WHY)
    for key in ("psi", "auc"):
        raise_alert(ledger, Alert(key, pd.Timestamp("2018-07-02"), NOW, Severity.WARNING, "a title", "a body"))
    mark_sent(ledger, 1, NOW)
    for _ in range(4):
        operations.freeze(ledger, NOW, **WHY)
        operations.unfreeze(ledger, NOW, **WHY)
    for reason in ("nothing fires", "still nothing"):
        decisions.record(ledger, Decision(DecisionKind.NO_RETRAIN, NOW, reason))
    operations.freeze(ledger, later(1), reason="the last", by="Ann")
    stands = operations.status(ledger, later(2))
    assert (stands.clock, stands.now) == (NOW, later(2))
    assert stands.last_finished == pd.Timestamp("2018-07-02")
    assert stands.champion is not None
    assert stands.previous_champion is not None
    assert (stands.champion.version, stands.previous_champion.version) == (B, A)
    assert [model.version for model in stands.challengers] == [C]
    assert stands.ab_test == test
    assert stands.freeze == freezes.Freeze(later(1), "the last", "Ann")
    assert stands.retrain == retrain_requests.in_flight(ledger)
    assert [unsent.alert.key for unsent in stands.unsent_alerts] == ["auc"]
    assert stands.alerts["key"].tolist() == ["psi", "auc"]
    assert stands.no_retrain == f"{NOW:%Y-%m-%d}:\nstill nothing"
    assert stands.decisions["kind"].tolist() == ["retrain", *["freeze", "unfreeze"] * 4, "freeze"]


def test_a_decision_that_fails_on_the_way_leaves_nothing(ledger: Ledger, lake: Lake) -> None:
    """The effect is refused by the database after the decision is written: both are undone."""
    promote(ledger, lake, A, days=5)
    with pytest.raises(EarlySignalError):
        promote(ledger, lake, B, days=0)  # before the champion began
    assert count(ledger, "decisions") == 1
    assert execute(ledger, "SELECT version FROM deployments") == [(A,)]
