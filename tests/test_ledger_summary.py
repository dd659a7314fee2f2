"""What was recorded between two days is counted by the domain's days, both ends included, and printed."""

import pandas as pd
from ledgers import DAY, NOW, decision, later, prediction
from rich.console import Console

from earlysignal_assets.tables_shown import print_summary
from earlysignal_core.ledger import alerts, decisions, outcomes, predictions, retrain_requests, summary
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.outcomes import Outcome
from earlysignal_core.ledger.vocabulary import DecisionKind, Horizon, OutcomeStatus, Severity, Urgency


def fill(ledger: Ledger) -> None:
    """Six predictions from the day before to the day after, one of them in shadow; three outcomes, one restated."""
    called = {"predicted_probability": 0.5, "predicted_class": 1}
    silent = {"predicted_probability": None, "predicted_class": None, "threshold": None}
    made = [
        prediction(0, prediction_date=later(-1), **called),
        prediction(1, **called),
        prediction(2, **silent),
        prediction(3, served=False, **called),
        prediction(4),
        prediction(5, prediction_date=later(1), **called),
    ]
    predictions.record(ledger, made)
    ids = predictions.read(ledger, later(-2), later(2))["id"].tolist()
    label = {"horizon": Horizon.LABEL, "status": OutcomeStatus.OBSERVED}
    outcomes.record(ledger, [Outcome(ids[0], outcome_date=NOW, actual_class=0, **label)])
    outcomes.record(
        ledger,
        [
            Outcome(ids[0], outcome_date=later(0.1), actual_class=1, **label),
            Outcome(ids[3], outcome_date=NOW, actual_class=1, **label),
            Outcome(ids[4], outcome_date=NOW, actual_class=1, **label),
            Outcome(ids[1], Horizon.LABEL, OutcomeStatus.NO_EVENT, NOW),
            Outcome(ids[5], outcome_date=later(1), actual_class=1, **label),
        ],
    )
    for day in (-1, 0, 1):
        at = later(day)
        for kind in (DecisionKind.NO_RETRAIN, DecisionKind.REFUSAL):
            decisions.record(ledger, decision(kind, at, cause=f"on day {day}", subject="v2018.2.0"))
        calendar = DAY + pd.Timedelta(days=day)
        alerts.raise_alert(ledger, Alert("psi", calendar, at, Severity.WARNING, "It drifts", "by much"))
    retrain_requests.request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN),
        day=DAY,
        cause="monthly",
        urgency=Urgency.SCHEDULED,
        universe="sp500",
        window_months=24,
    )


def test_a_day_is_counted_and_its_neighbours_are_not(ledger: Ledger) -> None:
    fill(ledger)
    found = summary.between(ledger, DAY, DAY)
    assert (found.predictions, found.answered, found.calls) == (3, 2, 1)
    assert (found.outcomes, found.beats, found.right_calls) == (2, 2, 1), "the newest revision, of what was served"
    assert found.about_models["cause"].tolist() == ["on day 0"]
    assert found.alerts["day"].tolist() == [DAY]
    assert found.retrains["cause"].tolist() == ["monthly"]
    wide = summary.between(ledger, DAY - pd.Timedelta(days=1), DAY + pd.Timedelta(days=1))
    assert (wide.predictions, wide.outcomes, len(wide.about_models), len(wide.alerts)) == (5, 3, 3, 3)


def test_it_is_printed_with_where_to_look(ledger: Ledger) -> None:
    fill(ledger)
    empty = summary.between(ledger, DAY + pd.Timedelta(days=5), DAY + pd.Timedelta(days=6))
    shown, said = [], Console(width=110)
    for found in (summary.between(ledger, DAY, DAY), empty):
        with said.capture() as captured:
            print_summary(said, found, 61.4)
        shown.append(captured.get())
    for fact in (
        "1 day(s), 2018-07-03 to 2018-07-03, in 61 s",
        "3 announcement(s): 2 answered, 1 called a large beat",
        "2 became known: 2 large beat(s), 1 of them called",
        "1 monthly (pending)",
        "1 warning",
        "on day 0",
        "`earlysignal status`",
    ):
        assert fact in shown[0]
    assert "none was asked for" in shown[1]
    assert "2 day(s)" in shown[1]
