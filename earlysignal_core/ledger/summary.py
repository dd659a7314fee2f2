"""What was recorded on some days, counted: what a person reads who has had them lived."""

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
from sqlalchemy import select

from earlysignal_core.ledger import alerts, decisions, predictions, retrain_requests, rows, schema
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.moments import utc
from earlysignal_core.ledger.vocabulary import DecisionKind, Horizon

_outcomes, _predictions = schema.ml_outcomes.c, schema.ml_predictions.c
_ABOUT_MODELS = (
    DecisionKind.PROMOTION,
    DecisionKind.REFUSAL,
    DecisionKind.UNDECIDED,
    DecisionKind.AB_TEST,
    DecisionKind.RAMP,
    DecisionKind.RETIREMENT,
    DecisionKind.ROLL_BACK,
)


@dataclass(frozen=True)
class Summary:
    """What was recorded from one day to another.

    Attributes
    ----------
    first, last : Timestamp
        The days, without a time zone.
    predictions, answered, calls : int
        Events that were asked for, those that were answered, and those of them that were called a large beat.
    outcomes, beats, right_calls : int
        Served predictions whose label became known, those of them that were a large beat, and those that had been
        called one.
    retrains : DataFrame
        Those asked for, as of `retrain_requests.history`.
    about_models : DataFrame
        Promotions, refusals, roll-backs, retirements, tests, ramps and verdicts that decide nothing yet, as of
        `decisions.read`.
    alerts : DataFrame
        As of `alerts.read`.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    predictions: int
    answered: int
    calls: int
    outcomes: int
    beats: int
    right_calls: int
    retrains: pd.DataFrame
    about_models: pd.DataFrame
    alerts: pd.DataFrame


def between(ledger: Ledger, first: date, last: date) -> Summary:
    """Count what was recorded from one day to another, both included."""
    since, until = pd.Timestamp(first), pd.Timestamp(last) + timedelta(days=1)
    begins, ends = (utc(day.tz_localize("UTC") - timedelta(microseconds=1)) for day in (since, until))
    statement = (
        select(_outcomes.prediction_id, _outcomes.actual_class, _predictions.predicted_class)
        .join(schema.ml_predictions, _predictions.id == _outcomes.prediction_id)
        .where(_outcomes.horizon == Horizon.LABEL, _predictions.served)
        .where(_outcomes.outcome_date > begins, _outcomes.outcome_date <= ends)
        .order_by(_outcomes.id)
    )
    with ledger.transaction() as joined:
        served = predictions.read(joined, begins, ends, served=True)
        with joined.begin() as connection:
            known = rows.read(connection, statement).drop_duplicates("prediction_id", keep="last")
        requests, raised = retrain_requests.history(joined), alerts.read(joined, since=since)
        made = decisions.read(joined, since=begins, until=ends)
    beat, called = known["actual_class"] == 1, known["predicted_class"] == 1
    return Summary(
        first=since,
        last=pd.Timestamp(last),
        predictions=len(served),
        answered=int(served["predicted_probability"].notna().sum()),
        calls=int((served["predicted_class"] == 1).sum()),
        outcomes=int(known["actual_class"].notna().sum()),
        beats=int(beat.sum()),
        right_calls=int((beat & called).sum()),
        retrains=requests[requests["day"].between(since, pd.Timestamp(last))],
        about_models=made[made["kind"].isin(_ABOUT_MODELS)],
        alerts=raised[raised["day"] < until],
    )
