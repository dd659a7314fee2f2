"""What a person decides: a retrain, a promotion, a roll-back, a freeze, the clock; and how production stands.

Each decision and its effect are one transaction of the ledger. `by` says who decides, `now` is the domain's moment.
"""

from dataclasses import dataclass

import pandas as pd

from earlysignal_core.datasets.cutoff import moment_of
from earlysignal_core.errors import RefusalError
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import ab_tests, alerts, days, decisions, deployments, freezes, retrain_requests
from earlysignal_core.ledger.ab_tests import ABTest
from earlysignal_core.ledger.alerts import UnsentAlert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.days import ClockError
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.freezes import Freeze
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import DecisionKind, Urgency
from earlysignal_core.models import bundle as bundles
from earlysignal_core.monitoring.retrain_policy import Cause
from earlysignal_core.quarterly import SOURCE, described

DECISIONS_SHOWN, ALERTS_SHOWN = 10, 5
_SHORTEST_WINDOW, _LONGEST_WINDOW = 3, 600  # months; the settings know the same limits


class OperationError(RefusalError):
    """A decision that cannot be taken as it was asked for."""


@dataclass(frozen=True)
class Status:
    """How production stands.

    Attributes
    ----------
    now : Timestamp
        The domain's moment, UTC.
    clock : Timestamp or None
        What the ledger's clock shows; None where it has none and the wall clock holds.
    last_finished : Timestamp or None
        The last day whose every step is done.
    champion, previous_champion : Deployment or None
        The model that serves, and the one to which a roll-back would return.
    challengers : list of Deployment
    ab_test : ABTest or None
        The one that runs.
    freeze : Freeze or None
        What stops promotions.
    retrain : RetrainRequest or None
        The one that is asked for or under way.
    unsent_alerts : list of UnsentAlert
    alerts : DataFrame
        The last five by their moment, oldest first, as `ledger.alerts.read` returns them.
    no_retrain : str or None
        Why no retrain was asked for when that was last decided.
    decisions : DataFrame
        The last ten, oldest first, as `ledger.decisions.read` returns them; but for those that no retrain is needed,
        of which every day has one.
    """

    now: pd.Timestamp
    clock: pd.Timestamp | None
    last_finished: pd.Timestamp | None
    champion: Deployment | None
    previous_champion: Deployment | None
    challengers: list[Deployment]
    ab_test: ABTest | None
    freeze: Freeze | None
    retrain: RetrainRequest | None
    unsent_alerts: list[UnsentAlert]
    alerts: pd.DataFrame
    no_retrain: str | None
    decisions: pd.DataFrame


def ask_for_retrain(
    ledger: Ledger,
    lake: Lake,
    now: pd.Timestamp,
    *,
    reason: str,
    by: str,
    universe: str | None = None,
    window_months: int | None = None,
) -> RetrainRequest:
    """Ask for a retrain that starts at once; it takes the place of a scheduled one that has not started.

    Parameters
    ----------
    ledger : Ledger
    lake : Lake
        Knows the source.
    now : Timestamp
    reason, by : str
    universe : str, optional
        The source's, which is the default.
    window_months : int, optional
        How much history to train on, at least three months; None for all that the settings allow.

    Raises
    ------
    OperationError
        If there is no reason, nothing has been collected yet, the universe is another one than the source's or the
        window is too short.
    RetrainInFlightError
        If an urgent one is asked for already, or one is under way.
    """
    decision = reasoned(DecisionKind.RETRAIN, now, reason, by)
    if not lake.exists(SOURCE):
        raise OperationError(
            "nothing has been collected yet to train on. Remedy: begin production (`earlysignal days`), or materialise "
            "the caches, and ask again."
        )
    held = described(lake).universe
    if universe not in (None, held):
        raise OperationError(
            f"the source holds the universe `{held}`, not `{universe}`. Remedy: ask for `{held}`, or choose another "
            f"source."
        )
    if window_months is not None and not _SHORTEST_WINDOW <= window_months <= _LONGEST_WINDOW:
        raise OperationError(
            f"a training window of {window_months} months is out of bounds. Remedy: from {_SHORTEST_WINDOW} to "
            f"{_LONGEST_WINDOW} months."
        )
    return retrain_requests.request_retrain(
        ledger,
        decision,
        day=now.tz_convert("UTC").tz_localize(None).normalize(),
        cause=Cause.ON_DEMAND,
        urgency=Urgency.EMERGENCY,
        universe=held,
        window_months=window_months,
    )


def promote(ledger: Ledger, lake: Lake, now: pd.Timestamp, version: str, *, reason: str, by: str) -> Deployment:
    """Make a model the champion at once, whatever the comparison says; a ramp or a test that runs is over.

    Raises
    ------
    OperationError
        If there is no reason, or the model knows of what is still to come.
    BundleError
        If it is no version, or the model cannot be loaded.
    FrozenError
        If promotions are stopped.
    LedgerError
        If it is the champion already, or another champion came first.
    """
    decision = reasoned(DecisionKind.PROMOTION, now, reason, by)
    expect_ready(lake, now, version)
    with ledger.transaction() as joined:
        current = deployments.champion(joined)
        return deployments.promote(joined, version, decision, over=current.version if current else None)


def roll_back(ledger: Ledger, lake: Lake, now: pd.Timestamp, *, reason: str, by: str) -> Deployment:
    """Return to the model that served before the champion; a freeze does not stop it.

    Raises
    ------
    OperationError
        If there is no reason, or no model serves.
    BundleError
        If the files of the one before are damaged.
    LedgerError
        If no model has served before.
    """
    decision = reasoned(DecisionKind.ROLL_BACK, now, reason, by)
    with ledger.transaction() as joined:
        current, before = deployments.champion(joined), deployments.previous_champion(joined)
        if current is None:
            raise OperationError("no model serves, so none can be rolled back. Remedy: promote one.")
        if before is not None:
            bundles.load(lake, before.version)
        return deployments.roll_back(joined, decision, of=current.version)


def freeze(ledger: Ledger, now: pd.Timestamp, *, reason: str, by: str) -> None:
    """Stop promotions until `unfreeze`.

    Raises
    ------
    OperationError
        If there is no reason.
    FrozenError
        If they are stopped already.
    """
    freezes.freeze(ledger, reasoned(DecisionKind.FREEZE, now, reason, by))


def unfreeze(ledger: Ledger, now: pd.Timestamp, *, reason: str, by: str) -> None:
    """Allow promotions again.

    Raises
    ------
    OperationError
        If there is no reason.
    ConflictError
        If they are not stopped.
    """
    freezes.unfreeze(ledger, reasoned(DecisionKind.UNFREEZE, now, reason, by))


def move_clock(ledger: Ledger, to: pd.Timestamp) -> None:
    """Set the ledger's clock, forward or for the first time.

    Raises
    ------
    ClockError
        If that lies before what the clock shows, or before the last finished day.
    """
    with ledger.transaction() as joined:
        finished = days.last_finished(joined)
        if finished is not None and to < finished.tz_localize("UTC"):
            raise ClockError(
                f"the clock cannot be set to {to}: the day {finished:%Y-%m-%d} is finished. Remedy: choose a later "
                f"moment."
            )
        days.move_clock(joined, to)


def status(ledger: Ledger, now: pd.Timestamp) -> Status:
    """Return how production stands."""
    with ledger.transaction() as joined:
        no_retrain = decisions.read(joined, kind=DecisionKind.NO_RETRAIN, last=1)
        return Status(
            now=now,
            clock=days.clock(joined),
            last_finished=days.last_finished(joined),
            champion=deployments.champion(joined),
            previous_champion=deployments.previous_champion(joined),
            challengers=deployments.challengers(joined),
            ab_test=ab_tests.running(joined),
            freeze=freezes.standing(joined),
            retrain=retrain_requests.in_flight(joined),
            unsent_alerts=alerts.unsent(joined),
            alerts=alerts.read(joined).sort_values(["at", "id"]).tail(ALERTS_SHOWN),
            no_retrain=f"{no_retrain['day'].iloc[0]:%Y-%m-%d}:\n{no_retrain['cause'].iloc[0]}"
            if len(no_retrain)
            else None,
            decisions=decisions.read(joined, without=DecisionKind.NO_RETRAIN, last=DECISIONS_SHOWN),
        )


def expect_ready(lake: Lake, now: pd.Timestamp, version: str) -> None:
    """Refuse a model that cannot serve now.

    Raises
    ------
    OperationError
        If it knows of what is still to come.
    BundleError
        If it is no version, or cannot be loaded.
    """
    bundles.check_version(version)
    cutoff = moment_of(bundles.load(lake, version).until)
    if cutoff > now:
        raise OperationError(
            f"{version} knows what was known on {cutoff:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M} UTC: a "
            f"model of the future cannot serve. Remedy: choose one whose cutoff has passed, or train one."
        )


def models_missing(ledger: Ledger, lake: Lake) -> list[str]:
    """Return the deployed models whose files are not in the lake: after a ledger was restored beside another one."""
    with ledger.transaction() as joined:
        deployed = [
            deployments.champion(joined),
            deployments.previous_champion(joined),
            *deployments.challengers(joined),
        ]
    held = set(bundles.versions(lake))
    return [each.version for each in deployed if each is not None and each.version not in held]


def reasoned(kind: DecisionKind, now: pd.Timestamp, reason: str, by: str) -> Decision:
    """Return a person's decision.

    Raises
    ------
    OperationError
        If there is no reason.
    """
    if not reason.strip():
        raise OperationError(
            f"a decision ({kind}) needs a reason, which the ledger keeps with it. Remedy: say in a few words why."
        )
    return Decision(kind, now, reason.strip(), decided_by=by)
