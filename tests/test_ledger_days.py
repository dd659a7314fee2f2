"""The clock goes forward, days finish in order, decisions stay, and an alert is raised once a day."""

import math

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import DAY, NOW, at_once, count, decision, die_after, execute, later

from earlysignal_core.ledger import alerts, days, decisions
from earlysignal_core.ledger.alerts import Alert, UnsentAlert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.days import ClockError
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError
from earlysignal_core.ledger.vocabulary import DecisionKind, Severity


def alert(key: str = "psi", day: pd.Timestamp = DAY, **changes: object) -> Alert:
    content = {"at": NOW, "severity": Severity.WARNING, "title": "PSI is high", "body": "0.3 > 0.2"}
    return Alert(key, day, **content | changes)


def test_a_live_ledger_has_no_clock(ledger: Ledger) -> None:
    assert days.clock(ledger) is None


def test_the_clock_goes_forward_only(ledger: Ledger) -> None:
    days.move_clock(ledger, NOW)
    days.move_clock(ledger, NOW)
    days.move_clock(ledger, later(3))
    with pytest.raises(ClockError, match=r"stands at 2018-07-06 03:00.*cannot go back.*Remedy"):
        days.move_clock(ledger, later(2))
    assert days.clock(ledger) == later(3)
    at_once(*[lambda number=number: days.move_clock(ledger, later(number)) for number in range(8)])
    assert days.clock(ledger) == later(7)
    assert count(ledger, "clock") == 1


def test_days_finish_in_order_each_once(ledger: Ledger) -> None:
    assert days.last_finished(ledger) is None
    assert days.finish_day(ledger, DAY, NOW)
    assert not days.finish_day(ledger, DAY, later(1))
    with pytest.raises(ClockError, match=r"2018-07-05 cannot be finished: the last finished day is 2018-07-03"):
        days.finish_day(ledger, later(2).tz_localize(None).normalize(), later(2))
    with pytest.raises(ClockError):
        days.finish_day(ledger, DAY - pd.Timedelta(days=1), NOW)
    assert days.finish_day(ledger, DAY + pd.Timedelta(days=1), later(1))
    assert days.last_finished(ledger) == pd.Timestamp("2018-07-04")


def test_the_database_itself_keeps_the_order_of_days(ledger: Ledger) -> None:
    days.finish_day(ledger, DAY, NOW)
    insert = "INSERT INTO finished_days (day, previous, finished_at) VALUES ('2018-07-05', :previous, '2018-07-05')"
    for previous in (None, "2018-07-04", "2018-07-03"):
        with pytest.raises(BrokenConstraintError):
            execute(ledger, insert, previous=previous)
    with pytest.raises(LedgerError, match="keeps what is recorded"):
        execute(ledger, "DELETE FROM finished_days")


def test_a_day_is_finished_once_by_many_at_once(ledger: Ledger) -> None:
    assert sorted(at_once(*[lambda: days.finish_day(ledger, DAY, NOW)] * 5)) == [False] * 4 + [True]
    different = [DAY + pd.Timedelta(days=number) for number in (1, 2)]
    results = at_once(*[lambda day=day: days.finish_day(ledger, day, NOW) for day in different])
    assert results[0] is True
    assert results[1] is True or isinstance(results[1], ClockError)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-2, 4), max_size=8))
def test_finished_days_have_no_gap(ledger: Ledger, offsets: list[int]) -> None:
    class UndoError(Exception):
        """Leaves an empty ledger to the next example."""

    with pytest.raises(UndoError), ledger.transaction() as joined:  # noqa: PT012 - it ends all of this
        finished: list[int] = []
        for offset in offsets:
            day = DAY + pd.Timedelta(days=offset)
            if not finished or offset == finished[-1] + 1:
                assert days.finish_day(joined, day, NOW)
                finished.append(offset)
            elif offset in finished:
                assert not days.finish_day(joined, day, NOW)
            else:
                with pytest.raises(ClockError):
                    days.finish_day(joined, day, NOW)
        assert count(joined, "finished_days") == len(finished)
        raise UndoError


def test_a_decision_comes_back_with_its_figures(ledger: Ledger) -> None:
    figures = {"auc": 0.81, "psi": math.nan, "n": 7, "worst": math.inf}
    made = decision(
        DecisionKind.NO_RETRAIN, figures=figures, raw="emergency", effective="none", cause="n = 7 \0", subject="v1"
    )
    identity = decisions.record(ledger, made)
    (row,) = decisions.read(ledger).to_dict("records")
    assert row["id"] == identity
    assert (row["kind"], row["rule"], row["raw"], row["effective"]) == ("no_retrain", "a rule", "emergency", "none")
    assert (row["at"], row["day"], row["subject"], row["decided_by"]) == (NOW, DAY, "v1", "rule table")
    assert math.isnan(row["figures"].pop("psi"))
    assert row["figures"] == {"auc": 0.81, "n": 7.0, "worst": math.inf}


def test_decisions_are_read_by_time_and_kind_in_the_order_of_recording(ledger: Ledger) -> None:
    assert decisions.read(ledger).empty
    for offset, kind in [(2, DecisionKind.REFUSAL), (1, DecisionKind.UNDECIDED), (3, DecisionKind.REFUSAL)]:
        decisions.record(ledger, decision(kind, later(offset)))
    assert decisions.read(ledger)["at"].tolist() == [later(2), later(1), later(3)]
    assert decisions.read(ledger, since=later(1), until=later(2))["at"].tolist() == [later(2)]
    assert decisions.read(ledger, kind=DecisionKind.REFUSAL)["id"].tolist() == [1, 3]


@pytest.mark.parametrize(
    "change", ["UPDATE decisions SET cause = ''", "DELETE FROM decisions", "TRUNCATE decisions CASCADE"]
)
def test_a_decision_stays(ledger: Ledger, change: str) -> None:
    decisions.record(ledger, decision(DecisionKind.REFUSAL))
    with pytest.raises(LedgerError, match="keeps what is recorded"):
        execute(ledger, change)


def test_an_alert_of_a_key_is_raised_once_a_day(ledger: Ledger) -> None:
    assert alerts.raise_alert(ledger, alert())
    assert not alerts.raise_alert(ledger, alert(severity=Severity.CRITICAL))
    assert alerts.raise_alert(ledger, alert("ks"))
    assert alerts.raise_alert(ledger, alert(day=DAY + pd.Timedelta(days=1)))
    assert sorted(at_once(*[lambda: alerts.raise_alert(ledger, alert("auc"))] * 4)) == [False] * 3 + [True]
    assert alerts.read(ledger)["key"].tolist() == ["psi", "ks", "psi", "auc"]
    assert alerts.read(ledger, since=DAY + pd.Timedelta(days=1))["key"].tolist() == ["psi"]


def test_an_alert_is_unsent_until_it_is_delivered(ledger: Ledger) -> None:
    made = alert(rule="psi > 0.2", figures={"psi": 0.3})
    alerts.raise_alert(ledger, made)
    (waiting,) = alerts.unsent(ledger)
    assert waiting == UnsentAlert(waiting.id, 0, made)
    alerts.mark_undelivered(ledger, waiting.id, "no route to host")
    assert alerts.unsent(ledger)[0].attempts == 1
    alerts.mark_sent(ledger, waiting.id, later(1))
    assert alerts.unsent(ledger) == []
    alerts.mark_sent(ledger, waiting.id, later(2))
    (row,) = alerts.read(ledger).to_dict("records")
    assert (row["sent_at"], row["attempts"]) == (later(1), 1)
    assert pd.isna(row["error"])


def test_an_alert_raised_with_a_decision_shares_its_fate(ledger_url: str, ledger: Ledger) -> None:
    def both(joined: Ledger) -> None:
        with joined.transaction() as one:
            decisions.record(one, decision(DecisionKind.RETRAIN))
            alerts.raise_alert(one, alert())

    die_after(ledger_url, ledger, "INSERT INTO alerts", both)
    assert count(ledger, "decisions") == count(ledger, "alerts") == 0
    both(ledger)
    assert count(ledger, "decisions") == count(ledger, "alerts") == 1
