"""How production stands now, on a page of its own; whatever changes it shows it anew."""

from typing import Any

import dagster as dg

from earlysignal_assets.clock import domain_now
from earlysignal_assets.describe import OWNER, Materialized, alerts_shown, decisions_shown
from earlysignal_assets.production import GROUP
from earlysignal_assets.sharing import shared_answers
from earlysignal_assets.standing_facts import facts_of
from earlysignal_core import operations
from earlysignal_core.ledger.connection import Ledger

STANDING = "production_status"


@dg.asset(name=STANDING, deps=[shared_answers, "promotion"], group_name=GROUP, kinds={"postgres"}, owners=[OWNER])
def production_status(ledger: dg.ResourceParam[Ledger]) -> Materialized:
    """How production stands: the champion and who is beside it, freeze, test, retrain, the last decisions and alerts.

    Every day, every retrain and every job of a person shows it anew; *Materialize* does so at any time.
    """
    return dg.MaterializeResult(metadata=stands(ledger))


def show_standing(context: dg.OpExecutionContext, ledger: Ledger) -> None:
    """Show how production stands after what a person has decided."""
    context.log_event(dg.AssetMaterialization(STANDING, metadata=stands(ledger)))


def stands(ledger: Ledger) -> dict[str, Any]:
    """Return how production stands, ready to be shown."""
    status = operations.status(ledger, domain_now(ledger))
    return {
        **facts_of(status),
        "last decisions": decisions_shown(status.decisions.iloc[::-1]),
        "last alerts": alerts_shown(status.alerts),
    }
