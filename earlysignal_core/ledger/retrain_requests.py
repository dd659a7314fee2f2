"""Retrain requests: written with the decision that causes them, picked up by a sensor, one in flight at a time.

A request is pending, then started by a run, then done; or its attempt failed, and it is pending again or failed for
good. Every step is bound to an attempt, so that a step which is told twice, or too late, changes nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, RowMapping, insert, select, text, update

from earlysignal_core.ledger import rows, schema
from earlysignal_core.ledger.connection import Ledger, remembered
from earlysignal_core.ledger.decisions import Decision, expect, write
from earlysignal_core.ledger.encoding import legible
from earlysignal_core.ledger.errors import ConflictError
from earlysignal_core.ledger.moments import from_database, plain_day, utc
from earlysignal_core.ledger.vocabulary import DecisionKind, RetrainState, Urgency

_table = schema.retrain_requests
_COLUMNS = [column for column in _table.c if column.name != "created_at"]
_IN_FLIGHT = (RetrainState.PENDING, RetrainState.STARTED)


class RetrainInFlightError(ConflictError):
    """Another retrain is asked for or under way."""


class RetrainStateError(ConflictError):
    """The request is not where this step could follow: another run has it, or it is over."""


@dataclass(frozen=True)
class RetrainRequest:
    """A retrain that was asked for.

    Attributes
    ----------
    id : int
    day : Timestamp
        The domain's day on which it was asked for.
    cause : str
        Like ``monthly`` or ``psi``: runs are tagged with it.
    urgency : Urgency
    universe : str
    window_months : int or None
        How much history to train on; None for all.
    state : RetrainState
    attempts : int
        How many have begun, or failed to.
    run_id : str or None
        Of the last attempt that began.
    requested_at : Timestamp
        UTC, like the next two.
    started_at, finished_at : Timestamp or None
    error : str or None
        Of the last attempt that failed.
    decided_by : int
        The decision that asked for it.
    """

    id: int
    day: pd.Timestamp
    cause: str
    urgency: Urgency
    universe: str
    window_months: int | None
    state: RetrainState
    attempts: int
    run_id: str | None
    requested_at: pd.Timestamp
    started_at: pd.Timestamp | None
    finished_at: pd.Timestamp | None
    error: str | None
    decided_by: int

    @property
    def next_attempt(self) -> int:
        """The number of the attempt that is due while it is pending."""
        return self.attempts + 1

    @property
    def run_key(self) -> str:
        """A key under which an orchestrator starts the attempt that is due, once."""
        return f"retrain-{self.day:%Y-%m-%d}-{self.id}-{self.next_attempt}"


def request_retrain(
    ledger: Ledger,
    decision: Decision,
    *,
    day: date,
    cause: str,
    urgency: Urgency,
    universe: str,
    window_months: int | None,
    is_earlier: bool = False,
) -> RetrainRequest:
    """Ask for a retrain; an emergency takes the place of a scheduled one that has not started, as does an earlier one.

    Parameters
    ----------
    ledger : Ledger
    decision : Decision
        A `RETRAIN`.
    day, cause, urgency, universe, window_months
        As in `RetrainRequest`.
    is_earlier : bool
        Whether it starts before a scheduled one that waits for the weekend.

    Raises
    ------
    RetrainInFlightError
        If another one is in flight. Nothing is recorded.
    """
    expect(decision, DecisionKind.RETRAIN)
    with ledger.begin() as connection:
        connection.execute(text("LOCK TABLE retrain_requests IN SHARE ROW EXCLUSIVE MODE"))
        standing = _in_flight(connection)
        if standing is not None:
            has_not_started = standing.state is RetrainState.PENDING
            waits_longer = standing.urgency is Urgency.SCHEDULED and (is_earlier or urgency is Urgency.EMERGENCY)
            if not (has_not_started and waits_longer):
                raise RetrainInFlightError(
                    f"no retrain ({cause}) is asked for: request {standing.id} ({standing.cause}, {standing.urgency}) "
                    f"is {standing.state} since {standing.started_at or standing.requested_at}. "
                    f"Remedy: wait until it is over."
                )
            _change(connection, standing.id, state=RetrainState.SUPERSEDED, finished_at=utc(decision.at))
        values = {
            "day": plain_day(day),
            "cause": cause,
            "urgency": urgency,
            "universe": universe,
            "window_months": window_months,
            "requested_at": utc(decision.at),
            "decided_by": write(connection, decision, cause),
        }
        return _request(connection.execute(insert(_table).values(values).returning(*_COLUMNS)).mappings().one())


@remembered(_table)
def in_flight(ledger: Ledger) -> RetrainRequest | None:
    """Return the request that is pending or started, if there is one."""
    with ledger.begin() as connection:
        return _in_flight(connection)


def get(ledger: Ledger, request_id: int) -> RetrainRequest:
    """Return one request.

    Raises
    ------
    RetrainStateError
        If there is none of this id.
    """
    with ledger.begin() as connection:
        return _locked(connection, request_id, lock=False)


def history(ledger: Ledger) -> pd.DataFrame:
    """Return every request in the order in which they were made: the columns are `RetrainRequest`'s."""
    with ledger.begin() as connection:
        return rows.read(connection, select(*_COLUMNS).order_by(_table.c.id))


@remembered(_table)
def every(ledger: Ledger) -> tuple[RetrainRequest, ...]:
    """Return every request in the order in which they were made."""
    with ledger.begin() as connection:
        return tuple(_request(row) for row in connection.execute(select(*_COLUMNS).order_by(_table.c.id)).mappings())


def start(ledger: Ledger, request_id: int, attempt: int, run_id: str, now: datetime) -> RetrainRequest:
    """Note that a run has begun an attempt; told again by the same run, it changes nothing.

    Raises
    ------
    RetrainStateError
        If another run has it, or another attempt is due: this run must not go on.
    """
    with ledger.begin() as connection:
        request = _locked(connection, request_id)
        if (request.state, request.attempts, request.run_id) == (RetrainState.STARTED, attempt, run_id):
            return request
        if (request.state, request.next_attempt) != (RetrainState.PENDING, attempt):
            raise _not_now(request, f"run {run_id} cannot start attempt {attempt}")
        changes = {"state": RetrainState.STARTED, "attempts": attempt, "run_id": run_id, "started_at": utc(now)}
        return _change(connection, request_id, **changes)


def finish(ledger: Ledger, request_id: int, attempt: int, now: datetime) -> RetrainRequest:
    """Note that an attempt has succeeded; told again, it changes nothing.

    Raises
    ------
    RetrainStateError
        If that attempt is not the one under way.
    """
    with ledger.begin() as connection:
        request = _locked(connection, request_id)
        if (request.state, request.attempts) == (RetrainState.DONE, attempt):
            return request
        if (request.state, request.attempts) != (RetrainState.STARTED, attempt):
            raise _not_now(request, f"attempt {attempt} cannot finish")
        return _change(connection, request_id, state=RetrainState.DONE, finished_at=utc(now), error=None)


def fail(
    ledger: Ledger,
    request_id: int,
    attempt: int,
    error: str,
    now: datetime,
    *,
    attempts_allowed: int,
    run_id: str | None = None,
) -> RetrainRequest:
    """Note that an attempt has failed, be it under way or not even begun: then the next is due, or it was the last.

    Told again, about an attempt that is over, or by another run (`run_id`) than has the attempt, it changes nothing:
    a run that came second has failed because the first is at work.

    Returns
    -------
    RetrainRequest
        `PENDING` where another attempt is due, `FAILED` where not.
    """
    with ledger.begin() as connection:
        request = _locked(connection, request_id)
        theirs = run_id in (None, request.run_id)
        under_way = (request.state, request.attempts) == (RetrainState.STARTED, attempt) and theirs
        not_begun = (request.state, request.next_attempt) == (RetrainState.PENDING, attempt)
        if not (under_way or not_begun):
            return request
        last = attempt >= attempts_allowed
        return _change(
            connection,
            request_id,
            state=RetrainState.FAILED if last else RetrainState.PENDING,
            attempts=attempt,
            error=legible(error),
            finished_at=utc(now) if last else None,
        )


def _in_flight(connection: Connection) -> RetrainRequest | None:
    found = connection.execute(select(*_COLUMNS).where(_table.c.state.in_(_IN_FLIGHT))).mappings().one_or_none()
    return None if found is None else _request(found)


def _locked(connection: Connection, request_id: int, *, lock: bool = True) -> RetrainRequest:
    statement = select(*_COLUMNS).where(_table.c.id == request_id)
    found = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if found is None:
        raise RetrainStateError(f"there is no retrain request {request_id}.")
    return _request(found)


def _change(connection: Connection, request_id: int, **changes: Any) -> RetrainRequest:
    statement = update(_table).where(_table.c.id == request_id).values(**changes).returning(*_COLUMNS)
    return _request(connection.execute(statement).mappings().one())


def _not_now(request: RetrainRequest, refusal: str) -> RetrainStateError:
    return RetrainStateError(
        f"{refusal} of retrain request {request.id}: it is {request.state} after {request.attempts} attempt(s)"
        f"{f', the last by run {request.run_id}' if request.run_id else ''}. Remedy: end this run."
    )


def _request(row: RowMapping) -> RetrainRequest:
    values = {name: from_database(value) for name, value in row.items()}
    return RetrainRequest(**values | {"urgency": Urgency(values["urgency"]), "state": RetrainState(values["state"])})
