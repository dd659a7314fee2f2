"""Blue-green ramps: a challenger (green) takes a growing share of the champion's (blue's) answers, step by step.

A ramp has no table of its own: it is the open deployment of a challenger whose share is above 0. Every step is a
decision that ends one deployment and begins the next, so that the history of shares is that of the deployments. A ramp
is over with the promotion of green (`deployments.promote`), with its roll-back, or with another champion, which sends
green back into shadow.
"""

from sqlalchemy import Connection, select

from earlysignal_core.ledger import deployments, freezes, schema
from earlysignal_core.ledger.connection import Ledger, remembered
from earlysignal_core.ledger.decisions import Decision, expect, write
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.errors import ConflictError, NotPossibleError
from earlysignal_core.ledger.vocabulary import ABTestStatus, DecisionKind, Role

STEPS = (10, 25, 50, 100)
"""Per cent of the answers that are green's."""

_table = schema.deployments


@remembered(_table)
def running(ledger: Ledger) -> Deployment | None:
    """Return the step at which green stands, or None where no ramp runs."""
    with ledger.begin() as connection:
        return standing(connection)


def begin(ledger: Ledger, version: str, decision: Decision, *, over: str) -> Deployment:
    """Begin a ramp at its first step; the decision is a `RAMP`.

    Parameters
    ----------
    ledger : Ledger
    version : str
        Green; if it stands in shadow, that ends.
    decision : Decision
    over : str
        Blue: the champion that it was judged against.

    Raises
    ------
    ChampionChangedError
        If `over` is no longer the champion. Nothing is recorded, as in the following cases.
    FrozenError
        If promotions are stopped.
    ConflictError
        If a test or another ramp runs.
    LedgerError
        If green is the champion.
    """
    expect(decision, DecisionKind.RAMP)
    refusal = f"{version} begins no ramp"
    with ledger.begin() as connection:
        freezes.alone(connection)
        freezes.refuse_if_frozen(connection, refusal)
        deployments.expect_champion(connection, over, refusal)
        if version == over:
            raise NotPossibleError(f"{refusal}: it is the champion already.")
        if (other := standing(connection)) is not None:
            raise ConflictError(
                f"{refusal}: {other.version} stands at {other.traffic_share} % of one. Remedy: wait, or stop that one."
            )
        tests = schema.ml_ab_tests.c
        test = connection.scalar(select(tests.test_name).where(tests.status == ABTestStatus.RUNNING))
        if test is not None:
            raise ConflictError(f"{refusal}: the A/B test {test} runs. Remedy: wait until it is judged, or stop it.")
        decided_by = write(connection, decision, version)
        for shadow in deployments.standing(connection, _table.c.version == version):
            deployments.end(connection, shadow, decision, decided_by)
        return deployments.begin(connection, Role.CHALLENGER, version, decision, decided_by, share=STEPS[0])


def advance(ledger: Ledger, step: Deployment, decision: Decision) -> Deployment:
    """Go on to the next step; the decision is a `RAMP`.

    Raises
    ------
    ConflictError
        If the ramp does not stand at this step any more. Nothing is recorded, as in the following cases.
    FrozenError
        If promotions are stopped.
    LedgerError
        If it is the last step: what comes after that is the promotion.
    """
    expect(decision, DecisionKind.RAMP)
    with ledger.begin() as connection:
        freezes.alone(connection)
        freezes.refuse_if_frozen(connection, f"{step.version} stays at {step.traffic_share} %")
        _expect_step(connection, step)
        if step.traffic_share == STEPS[-1]:
            raise NotPossibleError(f"{step.version} has all answers already. Remedy: promote it.")
        decided_by = write(connection, decision, step.version)
        deployments.end(connection, step, decision, decided_by)
        share = STEPS[STEPS.index(step.traffic_share) + 1]
        return deployments.begin(connection, Role.CHALLENGER, step.version, decision, decided_by, share=share)


def roll_back(ledger: Ledger, step: Deployment, decision: Decision) -> None:
    """Give all answers back to blue and end green's deployment; a freeze does not stop it.

    Parameters
    ----------
    ledger : Ledger
    step : Deployment
        Of the ramp, as it was seen: another step of the same ramp does as well.
    decision : Decision
        A `ROLL_BACK`.

    Raises
    ------
    ConflictError
        If the ramp is over. Nothing is recorded.
    """
    expect(decision, DecisionKind.ROLL_BACK)
    with ledger.begin() as connection:
        freezes.alone(connection)
        current = standing(connection)
        if current is None or current.version != step.version:
            raise ConflictError(f"the ramp of {step.version} is over. Remedy: look at the deployments.")
        deployments.end(connection, current, decision, write(connection, decision, step.version))


def standing(connection: Connection) -> Deployment | None:
    """Return the step at which green stands, within a transaction; None where no ramp runs."""
    found = deployments.standing(connection, (_table.c.role == Role.CHALLENGER) & (_table.c.traffic_share > 0))
    return found[0] if found else None


def _expect_step(connection: Connection, step: Deployment) -> None:
    current = standing(connection)
    if current is None or current.id != step.id:
        where = "is over" if current is None else f"of {current.version} stands at {current.traffic_share} %"
        raise ConflictError(
            f"{step.version} does not go on from {step.traffic_share} %: the ramp {where}. Remedy: look at it again."
        )
