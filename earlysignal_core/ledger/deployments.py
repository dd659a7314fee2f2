"""Deployments: which model serves, since when and by which decision. Champion and decision change together or not.

Whoever changes them works alone: a lock on the table makes others wait, so that of two promotions at once the second
sees what the first has done. Behind that the database itself allows one open champion.

An A/B test ends with the first of its models that does, by the same decision; and with the champion ends what shares
its answers on a ramp, which goes back into shadow. So nobody ever takes answers away from a champion that it was not
set against, whatever changed the champion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd
from sqlalchemy import ColumnElement, Connection, RowMapping, insert, or_, select, true, update

from earlysignal_core.ledger import freezes, rows, schema
from earlysignal_core.ledger.connection import Ledger, remembered
from earlysignal_core.ledger.decisions import Decision, expect, write
from earlysignal_core.ledger.encoding import numbers
from earlysignal_core.ledger.errors import ConflictError, LedgerError, NotPossibleError
from earlysignal_core.ledger.moments import from_database, utc
from earlysignal_core.ledger.vocabulary import ABTestStatus, DecisionKind, Role

_table = schema.deployments
_COLUMNS = [column for column in _table.c if column.name != "created_at"]


class ChampionChangedError(ConflictError):
    """The champion is no longer the one on which the decision rests."""


@dataclass(frozen=True)
class Deployment:
    """A model in a role for a time.

    Attributes
    ----------
    id : int
    role : Role
    version : str
    traffic_share : int
        Per cent of the answers that are its own; 0 in shadow.
    since : Timestamp
        UTC.
    until : Timestamp or None
        None while it lasts.
    decided_by : int
        The decision that began it.
    ended_by : int or None
        The decision that ended it.
    predecessor : int or None
        The deployment to whose model a roll-back returns.
    """

    id: int
    role: Role
    version: str
    traffic_share: int
    since: pd.Timestamp
    until: pd.Timestamp | None
    decided_by: int
    ended_by: int | None
    predecessor: int | None


def champion(ledger: Ledger) -> Deployment | None:
    """Return the model that serves, or None before the first promotion."""
    return next((deployed for deployed in _standing(ledger) if deployed.role is Role.CHAMPION), None)


@remembered(_table)
def previous_champion(ledger: Ledger) -> Deployment | None:
    """Return the deployment to which a roll-back would return, or None where there is none."""
    with ledger.begin() as connection:
        current = _champion(connection)
        return _by_id(connection, current.predecessor) if current and current.predecessor else None


@remembered(_table)  # every promotion begins a deployment
def promoted_with(ledger: Ledger, version: str) -> Mapping[str, float]:
    """Return the figures of the decision by which a model was promoted last; none where it never was."""
    table = schema.decisions.c
    statement = select(table.figures).where(table.kind == DecisionKind.PROMOTION, table.subject == version)
    with ledger.begin() as connection:
        found = connection.scalar(statement.order_by(table.id.desc()).limit(1))
    return MappingProxyType(numbers(found or {}))


def not_before_what_is_deployed(ledger: Ledger, at: pd.Timestamp) -> pd.Timestamp:
    """Return a moment, or the latest beginning of what is deployed where that is later: nothing ends before it began.

    A day's steps act at moments of their own, and a person may have promoted a model since.
    """
    return max([at, *(deployed.since for deployed in _standing(ledger))])


def challengers(ledger: Ledger) -> list[Deployment]:
    """Return the models that score beside the champion, oldest first."""
    return [deployed for deployed in _standing(ledger) if deployed.role is Role.CHALLENGER]


def history(ledger: Ledger) -> pd.DataFrame:
    """Return every deployment, in the order in which they began: the columns are `Deployment`'s."""
    with ledger.begin() as connection:
        return rows.read(connection, select(*_COLUMNS).order_by(_table.c.id))


def promote(ledger: Ledger, version: str, decision: Decision, *, over: str | None) -> Deployment:
    """Make a model the champion.

    Parameters
    ----------
    ledger : Ledger
    version : str
        If it runs as a challenger, that ends.
    decision : Decision
        A `PROMOTION`; the old champion ends and the new one begins at its moment.
    over : str or None
        The champion that it was judged against, or None if there was none.

    Raises
    ------
    ChampionChangedError
        If `over` is no longer the champion: somebody else was first. Nothing is recorded.
    FrozenError
        If promotions are stopped. Nothing is recorded.
    """
    expect(decision, DecisionKind.PROMOTION)
    with ledger.begin() as connection:
        freezes.alone(connection)
        freezes.refuse_if_frozen(connection, f"{version} is not promoted")
        current = expect_champion(connection, over, f"{version} is not promoted")
        if current is not None and current.version == version:
            raise NotPossibleError(f"{version} is the champion already, since {current.since:%Y-%m-%d %H:%M} UTC.")
        decided_by = write(connection, decision, version)
        for challenger in standing(connection, _table.c.version == version):
            end(connection, challenger, decision, decided_by)
        if current is not None:
            _end_champion(connection, current, decision, decided_by)
        return begin(connection, Role.CHAMPION, version, decision, decided_by, current.id if current else None)


def roll_back(ledger: Ledger, decision: Decision, *, of: str) -> Deployment:
    """Return to the model that served before the champion; a freeze does not stop it.

    A roll-back of what came back by a roll-back returns one step further: what was taken back never serves again
    unless it is promoted.

    Parameters
    ----------
    ledger : Ledger
    decision : Decision
        A `ROLL_BACK`.
    of : str
        The champion that is taken back.

    Raises
    ------
    ChampionChangedError
        If it is not the champion (any more). Nothing is recorded.
    LedgerError
        If there is nothing to return to.
    """
    expect(decision, DecisionKind.ROLL_BACK)
    with ledger.begin() as connection:
        freezes.alone(connection)
        current = expect_champion(connection, of, f"{of} is not rolled back")
        if current is None or current.predecessor is None:
            raise NotPossibleError(f"no model has served before {of}. Remedy: train another one and promote it.")
        target = _by_id(connection, current.predecessor)
        decided_by = write(connection, decision, of)
        for challenger in standing(connection, _table.c.version == target.version):
            end(connection, challenger, decision, decided_by)
        _end_champion(connection, current, decision, decided_by)
        return begin(connection, Role.CHAMPION, target.version, decision, decided_by, target.predecessor)


def shadow(ledger: Ledger, version: str, decision: Decision) -> Deployment:
    """Let a challenger score every event without serving; the decision is a `SHADOW`.

    Raises
    ------
    ConflictError
        If it is deployed already.
    """
    expect(decision, DecisionKind.SHADOW)
    with ledger.begin() as connection:
        freezes.alone(connection)
        if standing(connection, _table.c.version == version):
            raise ConflictError(f"{version} is deployed already. Remedy: look at the deployments.")
        decided_by = write(connection, decision, version)
        return begin(connection, Role.CHALLENGER, version, decision, decided_by)


def retire(ledger: Ledger, version: str, decision: Decision) -> None:
    """Let a challenger score no more; the decision is a `RETIREMENT`.

    Raises
    ------
    ConflictError
        If it is no challenger (any more).
    """
    expect(decision, DecisionKind.RETIREMENT)
    with ledger.begin() as connection:
        freezes.alone(connection)
        found = standing(connection, (_table.c.version == version) & (_table.c.role == Role.CHALLENGER))
        if not found:
            raise ConflictError(f"{version} is no challenger. Remedy: look at the deployments.")
        end(connection, found[0], decision, write(connection, decision, version))


def expect_champion(connection: Connection, expected: str | None, refusal: str) -> Deployment | None:
    """Return the champion, within the transaction of what rests on it.

    Raises
    ------
    ChampionChangedError
        If it is not the expected one; begins with `refusal`.
    """
    current = _champion(connection)
    version = current.version if current else None
    if version != expected:
        raise ChampionChangedError(
            f"{refusal}: it was judged against {expected or 'no champion'}, but the champion is {version or 'none'}"
            f"{f' since {current.since}' if current else ''}. Remedy: compare with that one, and decide again."
        )
    return current


def standing(connection: Connection, condition: ColumnElement[bool]) -> list[Deployment]:
    """Return the deployments that last and meet a condition on `schema.deployments`, oldest first."""
    statement = select(*_COLUMNS).where(condition, _table.c.until.is_(None)).order_by(_table.c.id)
    return [_deployment(row) for row in connection.execute(statement).mappings()]


def begin(
    connection: Connection,
    role: Role,
    version: str,
    decision: Decision,
    decided_by: int,
    predecessor: int | None = None,
    share: int | None = None,
) -> Deployment:
    """Begin a deployment within the transaction of its decision; by default a champion has all answers, others none."""
    values = {
        "role": role,
        "version": version,
        "traffic_share": (100 if role is Role.CHAMPION else 0) if share is None else share,
        "since": utc(decision.at),
        "decided_by": decided_by,
        "predecessor": predecessor,
    }
    return _deployment(connection.execute(insert(_table).values(values).returning(*_COLUMNS)).mappings().one())


def end(connection: Connection, deployment: Deployment, decision: Decision, ended_by: int) -> None:
    """End a deployment, and with it the A/B test that it takes part in, within the transaction of its decision.

    Raises
    ------
    LedgerError
        If it began after the decision.
    """
    if decision.at < deployment.since:
        raise LedgerError(
            f"{deployment.version} is the {deployment.role} since {deployment.since:%Y-%m-%d %H:%M:%S} UTC, and the "
            f"decision that would end it ({decision.kind}) is of {decision.at:%Y-%m-%d %H:%M:%S} UTC. Remedy: look "
            f"whether this machine's clock has been set back, and decide again when that moment has passed."
        )
    statement = update(_table).where(_table.c.id == deployment.id)
    connection.execute(statement.values(until=utc(decision.at), ended_by=ended_by))
    tests = schema.ml_ab_tests
    of_it = or_(tests.c.champion_version == deployment.version, tests.c.challenger_version == deployment.version)
    connection.execute(
        update(tests)
        .where(tests.c.status == ABTestStatus.RUNNING, of_it)
        .values(status=ABTestStatus.ROLLED_BACK, end_date=utc(decision.at), ended_by=ended_by)
    )


def _end_champion(connection: Connection, champion: Deployment, decision: Decision, ended_by: int) -> None:
    end(connection, champion, decision, ended_by)
    on_a_ramp = (_table.c.role == Role.CHALLENGER) & (_table.c.traffic_share > 0)
    for green in standing(connection, on_a_ramp):
        end(connection, green, decision, ended_by)
        begin(connection, Role.CHALLENGER, green.version, decision, ended_by)


@remembered(_table)
def _standing(ledger: Ledger) -> tuple[Deployment, ...]:
    with ledger.begin() as connection:
        return tuple(standing(connection, true()))


def _champion(connection: Connection) -> Deployment | None:
    found = standing(connection, _table.c.role == Role.CHAMPION)
    return found[0] if found else None


def _by_id(connection: Connection, identity: int) -> Deployment:
    return _deployment(connection.execute(select(*_COLUMNS).where(_table.c.id == identity)).mappings().one())


def _deployment(row: RowMapping) -> Deployment:
    values = {name: from_database(value) for name, value in row.items()}
    return Deployment(**values | {"role": Role(values["role"])})
