"""How production stands now, on a page of its own."""

from typing import Any

import dagster as dg

from earlysignal_assets.clock import domain_now
from earlysignal_assets.describe import OWNER, Materialized, alerts_shown, decisions_shown, lines_of
from earlysignal_assets.production import GROUP
from earlysignal_assets.sharing import shared_answers
from earlysignal_assets.standing_facts import NO_CLOCK, NO_RETRAIN, facts_of
from earlysignal_core import operations
from earlysignal_core.datasets.lineage import json_digest
from earlysignal_core.ledger.connection import Ledger

STANDING = "production_status"


@dg.asset(name=STANDING, deps=[shared_answers, "promotion"], group_name=GROUP, kinds={"postgres"}, owners=[OWNER])
def production_status(ledger: dg.ResourceParam[Ledger]) -> Materialized:
    """How production stands: the champion and who is beside it, freeze, test, retrain, the last decisions and alerts.

    The status sensor shows it anew within seconds of every change, whoever makes it; *Materialize* does so at once.
    """
    return dg.MaterializeResult(metadata=stands(ledger))


def stands(ledger: Ledger) -> dict[str, Any]:
    """Return how production stands, ready to be shown."""
    status = operations.status(ledger, domain_now(ledger))
    facts = facts_of(status)
    return {
        **facts,
        NO_RETRAIN: lines_of(facts[NO_RETRAIN]),
        "last decisions": decisions_shown(status.decisions.iloc[::-1]),
        "last alerts": alerts_shown(status.alerts),
    }


def digest_of(shown: dict[str, Any]) -> str:
    """Return what differs when something has changed; that time goes by is no change."""
    texts = {name: value if isinstance(value, str) else value.value for name, value in shown.items()}
    if texts["Clock"].startswith(NO_CLOCK):
        del texts["Clock"]
    return json_digest(texts)
