"""How production stands, in words: for the terminal and for the Dagster UI."""

from typing import TYPE_CHECKING, Any

from earlysignal_core.ledger.vocabulary import Role

if TYPE_CHECKING:  # its page is heavy to import
    from earlysignal_core.ledger.ab_tests import ABTest
    from earlysignal_core.ledger.deployments import Deployment
    from earlysignal_core.operations import Status

NO_CLOCK, NO_RETRAIN = "none of its own", "No retrain"


def facts_of(status: "Status") -> dict[str, str]:
    """Return what a person wants to know first, by name."""
    facts = {
        "Clock": shown_clock(status),
        "Last day": f"{status.last_finished:%Y-%m-%d}" if status.last_finished is not None else "none is finished",
        "Champion": _model(status.champion),
        "Previous": _model(status.previous_champion),
        "Beside it": ", ".join(map(_model, status.challengers)) or "none",
        "A/B test": _ab_test(status.ab_test),
        "Promotions": "allowed",
        "Retrain": "none is asked for",
        NO_RETRAIN: status.no_retrain or "never judged",
        "Alerts": f"{len(status.unsent_alerts)} not delivered",
    }
    if (freeze := status.freeze) is not None:
        facts["Promotions"] = f"stopped since {shown_moment(freeze.since)} by {freeze.decided_by}: {freeze.cause}"
    if (retrain := status.retrain) is not None:
        facts["Retrain"] = (
            f"{retrain.id} ({retrain.cause}, {retrain.urgency}) is {retrain.state}; {retrain.attempts} attempt(s)"
        )
    return facts


def shown_clock(status: "Status") -> str:
    """Say what time it is, and by which clock."""
    told = shown_moment(status.now)
    return told if status.clock is not None else f"{NO_CLOCK}; the time of day: {told}"


def shown_moment(moment: Any) -> str:
    """Write a moment (UTC) to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _model(deployment: "Deployment | None") -> str:
    if deployment is None:
        return "none"
    shares = deployment.role == Role.CHALLENGER and deployment.traffic_share > 0
    share = f", {deployment.traffic_share} % of the answers" if shares else ""
    return f"{deployment.version} since {shown_moment(deployment.since)}{share}"


def _ab_test(test: "ABTest | None") -> str:
    if test is None:
        return "none runs"
    return (
        f"{test.challenger_version} against {test.champion_version}: answers {test.traffic_split} % of the events "
        f"until {shown_moment(test.assigned_until)}, judged by {test.judged_by}; see `earlysignal ab-test watch`"
    )
