"""Outcomes: what became of each prediction. A result that changes is a new revision; none is overwritten."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Boolean, ColumnElement, RowMapping, and_, case, func, or_, select, text, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.selectable import FromClause

from earlysignal_core.ledger import outcomes_kept, rows, schema
from earlysignal_core.ledger.connection import Ledger, RememberingLedger
from earlysignal_core.ledger.moments import utc
from earlysignal_core.ledger.rows import Incoming
from earlysignal_core.ledger.vocabulary import Horizon, OutcomeStatus

_table, _predictions = schema.ml_outcomes, schema.ml_predictions
_FIGURES = outcomes_kept.FIGURES
_GIVEN = ("prediction_id", "horizon", "status", "outcome_date", *_FIGURES)
_ADDED = [_table.c[name] for name in ("prediction_id", "horizon", "revision", "status", "outcome_date")]
_OF_PREDICTION = [column for column in _predictions.c if column.name not in {"created_at", "features"}]


@dataclass(frozen=True)
class Outcome:
    """What became of one prediction, as far as one horizon tells.

    Attributes
    ----------
    prediction_id : int
    horizon : Horizon
    status : OutcomeStatus
        `NO_EVENT` where no announcement came; it has no class and is not class 0.
    outcome_date : datetime
        The moment from which it could be known.
    actual_class : int or None
        Of the label's horizon: whether it was a large beat.
    earnings_surprise_pct : float or None
        Of the label's horizon, in per cent.
    actual_return_7d, actual_return_30d : float or None
        Of the horizon of that many days, as a fraction.
    """

    prediction_id: int
    horizon: Horizon
    status: OutcomeStatus
    outcome_date: datetime
    actual_class: int | None = None
    earnings_surprise_pct: float | None = None
    actual_return_7d: float | None = None
    actual_return_30d: float | None = None


def record(ledger: Ledger, outcomes: Iterable[Outcome]) -> int:
    """Record outcomes, and return how many of them are news: see `record_frame`."""
    contents = [asdict(outcome) for outcome in outcomes]
    return len(record_frame(ledger, pd.DataFrame(contents, dtype="object"))) if contents else 0


def record_frame(ledger: Ledger, frame: pd.DataFrame) -> pd.DataFrame:
    """Record outcomes in one statement: news is added as a revision, what is known already changes nothing.

    Parameters
    ----------
    ledger : Ledger
    frame : DataFrame
        `Outcome`'s columns, all of them; at most one row for a prediction and horizon.

    Returns
    -------
    DataFrame
        The revisions that were added: ``prediction_id, horizon, revision, status, outcome_date``. An observation that
        replaces a different one is `RESTATED`.

    Raises
    ------
    LedgerError
        If the frame lacks a column, or a row is no outcome; then none is recorded.

    Notes
    -----
    News is what differs from the newest revision in a figure, or in whether there was an event at all; that it was
    learned again at another moment is none, and neither is what could be known before the newest revision, so that a
    history can be told again from its beginning. Only an event that was taken for none is news whatever its moment.
    Writers wait for each other, so two that bring the same bring it once.
    """
    added: list[RowMapping] = []
    if len(frame):
        with ledger.begin() as connection:
            connection.execute(text("LOCK TABLE ml_outcomes IN SHARE ROW EXCLUSIVE MODE"))
            added += connection.execute(_RECORD, _INCOMING.values(frame)).mappings().all()
    told = pd.DataFrame(added, columns=[column.name for column in _ADDED])
    return told.assign(outcome_date=pd.to_datetime(told["outcome_date"], utc=True).dt.as_unit("ns"))


def standing(ledger: Ledger, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the predictions of ``since < prediction_date <= until`` and of which horizons something is known.

    Returns
    -------
    DataFrame
        ``id, event, symbol, announced_on, as_of, prediction_date``, oldest first; ``has_label``, ``has_7d`` and
        ``has_30d``, whether there is an outcome of the horizon, be it that there was no event; ``observed_at``, the
        moment of the label's newest revision, missing without an event.
    """
    if isinstance(ledger, RememberingLedger) and not ledger.is_joined:
        return outcomes_kept.standing(ledger, since, until)
    window = (_predictions.c.prediction_date > utc(since)) & (_predictions.c.prediction_date <= utc(until))
    with_event = (_table.c.horizon == Horizon.LABEL) & (_table.c.status != OutcomeStatus.NO_EVENT)
    observed = func.max(_table.c.outcome_date).filter(with_event).label("observed_at")
    has = [func.bool_or(_table.c.horizon == horizon, type_=Boolean()).label(f"has_{horizon}") for horizon in Horizon]
    statement = (
        select(*(_predictions.c[name] for name in outcomes_kept.STANDING), *has, observed)
        .outerjoin(_table, _table.c.prediction_id == _predictions.c.id)
        .where(window)
        .group_by(_predictions.c.id)
        .order_by(_predictions.c.id)
    )
    with ledger.begin() as connection:
        frame = rows.read(connection, statement)
    return frame.assign(**{flag.name: frame[flag.name].fillna(False).astype("bool") for flag in has})


def read(
    ledger: Ledger,
    since: datetime,
    until: datetime,
    *,
    known_at: datetime,
    as_announced: bool = False,
    ids: Sequence[int] | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the predictions of ``since < prediction_date <= until`` with what was known of their outcomes at a moment.

    Parameters
    ----------
    ledger : Ledger
    since, until : datetime
    known_at : datetime
    as_announced : bool
        Return what was first known instead of the newest revision: the first that has a class, else the first of an
        event.
    ids : sequence of int, optional
        Only these predictions.
    columns : sequence of str, optional
        Of the predictions' columns only these.

    Returns
    -------
    DataFrame
        The columns of `predictions.read` without features, then of that revision of each horizon:
        ``status`` (the label's; missing while it is pending), ``actual_class, earnings_surprise_pct,
        actual_return_7d, actual_return_30d, correct_prediction``, and ``delisted`` (whether its prices stopped;
        missing with the returns).
    """
    if isinstance(ledger, RememberingLedger) and not ledger.is_joined:
        return outcomes_kept.read(
            ledger, since, until, known_at=known_at, as_announced=as_announced, ids=ids, columns=columns
        )
    window = (_predictions.c.prediction_date > utc(since)) & (_predictions.c.prediction_date <= utc(until))
    if ids is not None:
        window &= _predictions.c.id.in_(ids)
    no_class, no_event = _table.c.actual_class.is_(None), _table.c.status == OutcomeStatus.NO_EVENT
    order = (no_event, no_class, _table.c.revision) if as_announced else (_table.c.revision.desc(),)
    age = func.row_number().over(partition_by=(_table.c.prediction_id, _table.c.horizon), order_by=order)
    aged = (
        select(_table, age.label("age"))
        .join(_predictions, _predictions.c.id == _table.c.prediction_id)
        .where(window, _table.c.outcome_date <= utc(known_at))
        .subquery()
    )
    # A figure belongs to one horizon, so the greatest over the horizons is that one.
    figures = [func.max(aged.c[name]).label(name) for name in _FIGURES]
    status = func.max(aged.c.status).filter(aged.c.horizon == Horizon.LABEL).label("status")
    correct = func.bool_or(aged.c.correct_prediction, type_=Boolean()).label("correct_prediction")
    of_prices = aged.c.horizon != Horizon.LABEL
    delisted = func.bool_or(aged.c.status == OutcomeStatus.DELISTED, type_=Boolean()).filter(of_prices)
    newest = select(aged.c.prediction_id, status, *figures, correct, delisted.label("delisted")).where(aged.c.age == 1)
    known = newest.group_by(aged.c.prediction_id).subquery()
    of_prediction = _OF_PREDICTION if columns is None else [_predictions.c[name] for name in columns]
    statement = (
        select(*of_prediction, *(column for column in known.c if column.name != "prediction_id"))
        .outerjoin(known, known.c.prediction_id == _predictions.c.id)
        .where(window)
        .order_by(_predictions.c.id)
    )
    with ledger.begin() as connection:
        return rows.read(connection, statement)


def revisions(ledger: Ledger, prediction_id: int) -> pd.DataFrame:
    """Return every outcome of one prediction, by horizon and revision."""
    columns = [column for column in _table.c if column.name != "created_at"]
    statement = select(*columns).where(_table.c.prediction_id == prediction_id)
    with ledger.begin() as connection:
        return rows.read(connection, statement.order_by(_table.c.horizon, _table.c.revision))


def _add_what_is_news(incoming: FromClause) -> ReturningInsert[Any]:
    """Return the statement that adds those of the incoming outcomes that differ from what is known."""
    of_row = and_(_table.c.prediction_id == incoming.c.prediction_id, _table.c.horizon == incoming.c.horizon)
    newest = select(_table).where(of_row).order_by(_table.c.revision.desc()).limit(1).lateral("newest")
    before, given = _without_restatement(newest.c.status), _without_restatement(incoming.c.status)
    observed_again = and_(before == OutcomeStatus.OBSERVED, given == OutcomeStatus.OBSERVED)
    added = {
        "prediction_id": incoming.c.prediction_id,
        "symbol": _predictions.c.symbol,
        "prediction_date": _predictions.c.prediction_date,
        "horizon": incoming.c.horizon,
        "revision": func.coalesce(newest.c.revision, 0) + 1,
        "status": case((observed_again, OutcomeStatus.RESTATED), else_=incoming.c.status),
        "outcome_date": incoming.c.outcome_date,
        **{name: incoming.c[name] for name in _FIGURES},
        "correct_prediction": _predictions.c.predicted_class == incoming.c.actual_class,
    }
    # The joins are outer, so that an outcome of an unknown prediction is refused by the table and does not vanish.
    of_prediction = _predictions.c.id == incoming.c.prediction_id
    joined = incoming.outerjoin(_predictions, of_prediction).outerjoin(newest, true())
    figures = [newest.c[name].is_distinct_from(incoming.c[name]) for name in _FIGURES]
    differs = or_(before.is_distinct_from(given), *figures)
    later = or_(
        newest.c.id.is_(None), before == OutcomeStatus.NO_EVENT, incoming.c.outcome_date >= newest.c.outcome_date
    )
    chosen = select(*added.values()).select_from(joined).where(differs, later)
    return insert(_table).from_select(list(added), chosen).returning(*_ADDED)


def _without_restatement(status: ColumnElement[str]) -> ColumnElement[str]:
    """Return a status as its source gave it: that an observation replaced another one is the ledger's to say."""
    return case((status == OutcomeStatus.RESTATED, OutcomeStatus.OBSERVED), else_=status)


_INCOMING = Incoming(_table, _GIVEN)
_RECORD = _add_what_is_news(_INCOMING.rows)
