"""History lived again: the same as if it had been lived, the same every time, and nothing of it outside."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from living import SMALL, contents, files_of, live_day, retrain
from production import copied

from earlysignal_core import replay_report
from earlysignal_core.lake import Lake, Overlay, RememberingLake
from earlysignal_core.ledger import days, decisions, deployments, outcomes, predictions, retrain_requests
from earlysignal_core.ledger.connection import Ledger, RememberingLedger
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.monitoring import retrain_policy
from earlysignal_core.monitoring.retrain_policy import LINES, Cause
from earlysignal_core.production import Production
from earlysignal_core.quarterly import SOURCE
from earlysignal_core.replay import DECISION_COLUMNS, Policy, Replay, ReplayError, replay

# The first model on the Friday, the monthly one on the Monday after it, in a season.
FIRST, LAST, WEEK_LATER = pd.Timestamp("2015-10-30"), pd.Timestamp("2015-11-05"), pd.Timestamp("2015-11-12")
LONG_AGO, LONG_AFTER = pd.Timestamp("2015-01-01", tz="UTC"), WEEK_LATER.tz_localize("UTC") + pd.Timedelta(days=1)
Replayed = Callable[[Policy, pd.Timestamp], tuple[Replay, Ledger]]


def nothing(_what: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture(scope="module")
def lake(production_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return copied(production_lake, tmp_path_factory.mktemp("replayed"))


@pytest.fixture(scope="module")
def before(lake: Lake) -> dict[str, bytes]:
    return {path: lake.read_bytes(path) for path in files_of(lake)}


@pytest.fixture(scope="module")
def replayed(lake: Lake, before: dict[str, bytes], ledger_url: str) -> Iterator[Replayed]:
    opened: list[RememberingLedger] = []

    def make(policy: Policy, last: pd.Timestamp) -> tuple[Replay, Ledger]:
        ledger = RememberingLedger(ledger_url, f"replay_{policy}_{len(opened)}")
        opened.append(ledger)
        ledger.migrate()
        return replay(lake, ledger, SMALL, policy, FIRST, last, nothing), ledger

    yield make
    for ledger in opened:
        ledger.drop()
        ledger.close()


@pytest.fixture(scope="module")
def of_all(replayed: Replayed) -> tuple[Replay, Ledger]:
    return replayed(Policy.ALL, LAST)


@pytest.fixture(scope="module")
def of_never(replayed: Replayed) -> tuple[Replay, Ledger]:
    return replayed(Policy.NEVER, WEEK_LATER)


def test_a_replay_is_what_living_the_days_would_have_been(
    of_all: tuple[Replay, Ledger], production_lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    found, told = of_all
    lived = Production(RememberingLake(_data_of(production_lake, tmp_path).url), ledger, SMALL)
    for day in pd.date_range(FIRST, LAST):
        live_day(day, lived)
        request = retrain_requests.in_flight(ledger)
        if request is not None and retrain_policy.may_start(request, day):
            retrain(lived)
    then, now = contents(ledger), contents(told)
    for table in then:
        for row in then[table] + now[table]:
            row.pop("run_id", None)
        assert then[table] == now[table], table
    assert found.decisions["kind"].tolist() == [row["kind"] for row in then["decisions"]]
    assert {"retrain", "promotion", "shadow"} <= set(found.decisions["kind"])


def test_two_replays_give_the_same_decisions_row_for_row(of_all: tuple[Replay, Ledger], replayed: Replayed) -> None:
    again, _ = replayed(Policy.ALL, LAST)
    pd.testing.assert_frame_equal(of_all[0].decisions, again.decisions)
    assert told_by(of_all[0]) == told_by(again)
    pd.testing.assert_frame_equal(of_all[0].watched, again.watched)


def test_the_live_lake_is_read_and_nothing_of_it_is_touched(
    of_all: tuple[Replay, Ledger], lake: Lake, before: dict[str, bytes]
) -> None:
    assert of_all[0].retrains["version"].notna().all()
    assert {path: lake.read_bytes(path) for path in files_of(lake) if not path.startswith("replays/")} == before
    assert lake.exists("replays/all/monitoring/drift_report/2015-11-05/record.json")


def test_never_trains_the_first_model_only_and_says_what_it_leaves_out(of_never: tuple[Replay, Ledger]) -> None:
    found, ledger = of_never
    assert found.retrains["cause"].tolist() == ["first model"]
    assert found.by_cause == {"first model": 1}
    assert found.retrains["came_to"].tolist() == ["promoted"]
    champion = deployments.champion(ledger)
    assert champion is not None
    assert found.watched["champion"].tolist()[1:] == [champion.version] * 13
    held_back = found.decisions[found.decisions["day"] == "2015-11-02"]
    assert held_back["raw"].tolist() == ["retrain (monthly)"]
    assert held_back["effective"].tolist() == ["no retrain"]
    assert "the policy leaves this line out" in held_back["cause"].iloc[0]


@pytest.mark.parametrize(
    ("policy", "causes"),
    [
        (Policy.NEVER, {Cause.FIRST}),
        (Policy.MONTHLY, {Cause.FIRST, Cause.MONTHLY}),
        (Policy.QUARTERLY, {Cause.FIRST, Cause.SEASON}),
        (Policy.DRIFT, {line.cause for line in LINES} - {Cause.MONTHLY, Cause.SEASON}),
    ],
)
def test_a_policy_lets_its_lines_act_and_no_other(policy: Policy, causes: set[Cause]) -> None:
    """Whatever fires, what acts is a line of the policy; what all of them hold back, it holds back too."""
    guarded = {line: (*line.rule.guards, *line.operating) for line in LINES}
    asked = [line.rule.figure for line in LINES] + [guard.figure for guards in guarded.values() for guard in guards]
    everything = dict.fromkeys(asked, 0.0)
    day = pd.Timestamp("2016-02-01")
    for line in LINES:
        figures = {
            **everything,
            "champions": 1.0,
            "days_since_retrain": 30.0,
            "days_since_window_retrain": 30.0,
            "labelled": 500.0,
        }
        figures |= {"accuracy": 1.0, "auc_less_champion": 0.1, "brier_skill": 0.1}
        firing = line.rule
        for guard in guarded[line]:
            figures[guard.figure] = guard.limit + {">": 1, ">=": 0, "<": -1, "<=": 0}[guard.comparison]
        figures[firing.figure] = firing.limit + {">": 1, ">=": 0, "<": -1, "<=": 0}[firing.comparison]
        acted = retrain_policy.decide(day, figures, causes=policy.causes).effective
        assert (acted.cause if acted else Cause.FIRST) in causes, line.cause
        assert acted is not None or line.cause not in causes
        assert retrain_policy.decide(day, figures).effective is not None


def test_what_was_served_is_judged_by_what_was_known_when_the_last_day_ended(of_never: tuple[Replay, Ledger]) -> None:
    found, ledger = of_never
    rows = predictions.read(ledger, LONG_AGO, LONG_AFTER, served=True)
    assert found.score.served == rows["event"].nunique() > found.score.labelled > 0
    assert found.score.labelled == len(found.answers)
    known = outcomes.read(ledger, LONG_AGO, LONG_AFTER, known_at=LONG_AFTER, as_announced=True).set_index("event")
    told = found.answers.set_index("event")["label"]
    assert told.to_dict() == known.loc[told.index, "actual_class"].to_dict()
    assert found.score.base_rate.value == pytest.approx(told.mean())


def answered(found: Replay, policy: Policy, skill: float) -> Replay:
    """A replay that has answered for two hundred events, more or less well."""
    random = np.random.default_rng(0)
    label = (np.arange(200) % 5 == 0).astype("float64")
    told = pd.DataFrame({"event": [f"E{n}" for n in range(200)], "label": label, "threshold": 0.5, "base_rate": 0.2})
    probability = 1 / (1 + np.exp(-skill * (label - 0.5) - random.normal(size=200)))
    answers = told.assign(company=[f"C{n % 50}" for n in range(200)], probability=probability)
    return Replay(**{**vars(found), "policy": policy, "answers": answers})


def test_a_policy_pays_where_the_whole_interval_says_so(of_never: tuple[Replay, Ledger]) -> None:
    never = answered(of_never[0], Policy.NEVER, 1)
    chosen = ((Policy.ALL, 3.0), (Policy.DRIFT, -1.0), (Policy.MONTHLY, 1.0))
    better, worse, same = (answered(of_never[0], *each) for each in chosen)
    told = {each.policy: each for each in replay_report.verdicts([worse, never, better, same])}
    assert {str(policy): each.tone for policy, each in told.items()} == {
        "drift": "bad",
        "all": "good",
        "monthly": "open",
    }
    assert told[Policy.MONTHLY].auc.value == 0
    assert "“all” pays: AUC 0." in told[Policy.ALL].claim
    assert replay_report.verdicts([better, worse]) == [], "there is nothing to hold them against"


def test_the_json_and_the_report_tell_all_of_it(
    of_all: tuple[Replay, Ledger], of_never: tuple[Replay, Ledger], lake: Lake
) -> None:
    both = [of_never[0], of_all[0]]
    told = json.loads(replay_report.as_json(both, "synthetic"))
    assert [row["policy"] for row in told["decisions"]] == ["never"] * len(both[0].decisions) + ["all"] * len(
        both[1].decisions
    )
    assert set(DECISION_COLUMNS) < set(told["decisions"][0])
    assert told["policies"]["all"]["retrains_by_cause"] == {"first model": 1, "monthly": 1}
    assert told["policies"]["never"]["retrains"] == 1
    assert replay_report.comparison(both)["policy"].tolist() == ["never", "all"]
    page = replay_report.render(both, "synthetic <tape>")
    assert "synthetic &lt;tape&gt;" in page
    assert page.count("<details>") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_a_ledger_with_days_and_days_without_data_are_refused(of_never: tuple[Replay, Ledger], lake: Lake) -> None:
    _, ledger = of_never
    with pytest.raises(ReplayError, match="is not empty"):
        replay(lake, ledger, SMALL, Policy.NEVER, FIRST, LAST, nothing)
    with pytest.raises(ReplayError, match=r"comes after .* Remedy: begin with the earlier day"):
        replay(lake, ledger, SMALL, Policy.NEVER, LAST, FIRST, nothing)
    for first, last in ((pd.Timestamp("1999-01-01"), LAST), (FIRST, pd.Timestamp("2030-01-01"))):
        with pytest.raises(ReplayError, match="cannot be replayed"):
            replay(lake, ledger, SMALL, Policy.NEVER, first, last, nothing)


def test_an_emergency_that_came_to_nothing_is_a_false_alarm(of_never: tuple[Replay, Ledger]) -> None:
    found = of_never[0]
    rows = [
        (Cause.PREDICTION_DRIFT, "nothing"),
        (Cause.AUC, "promoted"),
        (Cause.AUC, "in shadow"),
        (Cause.MONTHLY, "nothing"),
        (Cause.ACCURACY, "nothing"),
    ]
    told = [(FIRST, str(cause), "v", "refusal", came_to) for cause, came_to in rows]
    retrains = pd.DataFrame(told, columns=found.retrains.columns)
    again = Replay(**{**vars(found), "retrains": retrains})
    assert again.false_alarms == 2
    assert again.count(DecisionKind.PROMOTION) == 1


# What a replay stands on


def test_an_overlay_shows_the_data_below_and_keeps_everything_else_apart(lake: Lake) -> None:
    above = Overlay(lake.url, [SOURCE, "labels"], "replays/test")
    quarter = lake.quarters("labels")[0]
    pd.testing.assert_frame_equal(above.read("labels", [quarter]), lake.read("labels", [quarter]))
    assert above.quarters("labels") == lake.quarters("labels")
    assert above.read_bytes(SOURCE) == lake.read_bytes(SOURCE)
    assert above.folders("models/early-signal") == []
    assert not above.exists("models/claims/v2015.4.0")
    with pytest.raises(Exception, match="is only read here"):
        above.write("labels", quarter, pd.DataFrame({"x": [1]}))
    above.write("stock_selection", FIRST.date(), pd.DataFrame({"x": [1]}))
    assert above.read("stock_selection", [FIRST.date()])["x"].tolist() == [1]
    assert not lake.has("stock_selection", FIRST.date())
    assert lake.has("replays/test/stock_selection", FIRST.date())
    lake.remove_folder("replays/test")
    assert not above.has("stock_selection", FIRST.date())


def test_a_ledger_that_remembers_reads_what_stands_after_each_write(new_ledger: Ledger, ledger_url: str) -> None:
    with RememberingLedger(ledger_url, new_ledger.schema) as ledger:
        ledger.migrate()
        assert days.last_finished(ledger) is None
        days.finish_day(ledger, FIRST, FIRST.tz_localize("UTC"))
        assert days.last_finished(ledger) == FIRST == days.last_finished(new_ledger)
        with pytest.raises(ZeroDivisionError):
            finish_and_fail(ledger, FIRST + pd.Timedelta(days=1))
        assert days.last_finished(ledger) == FIRST
        assert decisions.read(ledger).empty


def told_by(found: Replay) -> str:
    return json.dumps({**found.table(), "training_seconds": None})


def finish_and_fail(ledger: Ledger, day: pd.Timestamp) -> None:
    with ledger.transaction() as joined:
        days.finish_day(joined, day, day.tz_localize("UTC"))
        assert days.last_finished(joined) == day
        assert 1 / 0


def _data_of(lake: Lake, folder: Path) -> Lake:
    """A copy of a lake without its models."""
    data = copied(lake, folder)
    for name in ("models", "dataset", "dataset_lineage"):
        data.remove_folder(name)
    return data
