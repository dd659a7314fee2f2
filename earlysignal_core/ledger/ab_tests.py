"""A/B tests: one runs at a time, between the champion and a challenger in shadow; begun and ended by decisions.

A test ends with the deployment of either of its models, whoever ends that (`ledger.deployments`). So its judge ends the
loser's, or promotes the winner, and says how the test came out, in one transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, RowMapping, insert, select, update

from earlysignal_core.ledger import deployments, freezes, ramps, rows, schema
from earlysignal_core.ledger.connection import Ledger, remembered
from earlysignal_core.ledger.decisions import Decision, expect, write
from earlysignal_core.ledger.errors import ConflictError
from earlysignal_core.ledger.moments import from_database, utc
from earlysignal_core.ledger.vocabulary import ABTestStatus, Arm, DecisionKind, JudgedBy, Role

_table = schema.ml_ab_tests
_METRICS = ("champion_metrics", "challenger_metrics")
_COLUMNS = [column for column in _table.c if column.name not in {"created_at", *_METRICS}]
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class ABTest:
    """An A/B test.

    Attributes
    ----------
    id : int
    test_name : str
        The arm of an event follows from it.
    champion_version, challenger_version : str
    traffic_split : int
        Per cent of the events that the challenger answers for.
    start_date, assigned_until : Timestamp
        UTC; from then on the champion answers for every event again.
    end_date : Timestamp or None
    status : ABTestStatus
    winner : Arm or None
        None, too, where it was not decided.
    judged_by : JudgedBy
    decided_by : int
        The decision that began it.
    ended_by : int or None
    """

    id: int
    test_name: str
    champion_version: str
    challenger_version: str
    traffic_split: int
    start_date: pd.Timestamp
    assigned_until: pd.Timestamp
    end_date: pd.Timestamp | None
    status: ABTestStatus
    winner: Arm | None
    judged_by: JudgedBy
    decided_by: int
    ended_by: int | None


@remembered(_table)
def running(ledger: Ledger) -> ABTest | None:
    """Return the test that runs, or None."""
    with ledger.begin() as connection:
        return _running(connection)


def history(ledger: Ledger) -> pd.DataFrame:
    """Return every test, in the order in which they began: `ABTest`'s columns, and both models' figures."""
    columns = [column for column in _table.c if column.name != "created_at"]
    with ledger.begin() as connection:
        return rows.read(connection, select(*columns).order_by(_table.c.id))


def begin(
    ledger: Ledger, version: str, decision: Decision, *, over: str, split: int, days: int, judged_by: JudgedBy
) -> ABTest:
    """Begin a test of a challenger that stands in shadow; the decision is an `AB_TEST`.

    Parameters
    ----------
    ledger : Ledger
    version : str
    decision : Decision
    over : str
        The champion that it is set against.
    split : int
        Per cent of the events that the challenger answers for.
    days : int
        For which events are assigned.
    judged_by : JudgedBy

    Raises
    ------
    ChampionChangedError
        If `over` is no longer the champion. Nothing is recorded, as in the following cases.
    FrozenError
        If promotions are stopped.
    ConflictError
        If a test or a ramp runs already, or the challenger does not stand in shadow.
    """
    expect(decision, DecisionKind.AB_TEST)
    refusal = f"{version} is not tested"
    with ledger.begin() as connection:
        freezes.alone(connection)
        freezes.refuse_if_frozen(connection, refusal)
        deployments.expect_champion(connection, over, refusal)
        if (other := _running(connection)) is not None:
            raise ConflictError(f"{refusal}: {other.test_name} runs. Remedy: wait until it is judged, or stop it.")
        if (ramp := ramps.standing(connection)) is not None:
            raise ConflictError(f"{refusal}: {ramp.version} is on a ramp. Remedy: wait until it is over, or stop it.")
        of_it = (schema.deployments.c.version == version) & (schema.deployments.c.role == Role.CHALLENGER)
        if not deployments.standing(connection, of_it):
            raise ConflictError(f"{refusal}: it does not stand in shadow. Remedy: look at the deployments.")
        decided_by = write(connection, decision, version)
        values = {
            "test_name": f"{version} against {over}, {decided_by}",
            "champion_version": over,
            "challenger_version": version,
            "traffic_split": split,
            "start_date": utc(decision.at),
            "assigned_until": utc(pd.Timestamp(decision.at) + days * _DAY),
            "status": ABTestStatus.RUNNING,
            "judged_by": judged_by,
            "decided_by": decided_by,
        }
        return _test(connection.execute(insert(_table).values(values).returning(*_COLUMNS)).mappings().one())


def complete(
    ledger: Ledger,
    test: ABTest,
    decision: Decision,
    winner: Arm | None,
    metrics: Mapping[Arm, Mapping[str, float]],
) -> None:
    """End a test as its judge says: a winning challenger is promoted, any other is retired.

    Parameters
    ----------
    ledger : Ledger
    test : ABTest
    decision : Decision
        A `PROMOTION` where the challenger wins, else a `RETIREMENT`.
    winner : Arm or None
        None where it was not decided.
    metrics : mapping of Arm to mapping of str to float
        Of each model.

    Raises
    ------
    ConflictError
        If it is over already. Nothing is recorded.
    FrozenError
        If the challenger wins while promotions are stopped. Nothing is recorded.
    """
    with ledger.transaction() as joined, joined.begin() as connection:
        freezes.alone(connection)
        current = _running(connection)
        if current is None or current.id != test.id:
            raise ConflictError(f"{test.test_name} is over already. Remedy: look at the tests.")
        if winner is Arm.CHALLENGER:
            deployments.promote(joined, test.challenger_version, decision, over=test.champion_version)
        else:
            deployments.retire(joined, test.challenger_version, decision)
        told = {f"{arm}_metrics": dict(metrics[arm]) for arm in Arm}
        completed = update(_table).where(_table.c.id == test.id)
        connection.execute(completed.values(status=ABTestStatus.COMPLETED, winner=winner, **told))


def _running(connection: Connection) -> ABTest | None:
    found = connection.execute(select(*_COLUMNS).where(_table.c.status == ABTestStatus.RUNNING)).mappings().first()
    return None if found is None else _test(found)


def _test(row: RowMapping) -> ABTest:
    values = {name: from_database(value) for name, value in row.items()}
    words = {"status": ABTestStatus(values["status"]), "judged_by": JudgedBy(values["judged_by"])}
    return ABTest(**values | words | {"winner": None if values["winner"] is None else Arm(values["winner"])})
