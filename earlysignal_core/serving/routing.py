"""Which of two models answers for an event, while a challenger shares the champion's answers."""

import hashlib
from dataclasses import dataclass

import pandas as pd

from earlysignal_core.ledger import ab_tests, ramps
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Arm


@dataclass(frozen=True)
class Route:
    """How the answers are shared.

    Attributes
    ----------
    version : str
        The challenger.
    share : int
        Per cent of the events that it answers for.
    key : str
        Of the test or the ramp: another one shares the events out in another way.
    """

    version: str
    share: int
    key: str

    def arm(self, event: str) -> Arm:
        """Return the arm of an event: always the same, and the challenger's stays so as the share grows."""
        digest = hashlib.sha256(f"{self.key}\0{event}".encode()).digest()
        return Arm.CHALLENGER if int.from_bytes(digest[:8]) / 2**64 < self.share / 100 else Arm.CHAMPION


def route_at(ledger: Ledger, at: pd.Timestamp) -> Route | None:
    """Return how the answers are shared at a moment (UTC), or None where the champion has all of them."""
    ramp = ramps.running(ledger)
    if ramp is not None:
        return Route(ramp.version, ramp.traffic_share, f"ramp of {ramp.version}")
    test = ab_tests.running(ledger)
    if test is not None and at < test.assigned_until:
        return Route(test.challenger_version, test.traffic_split, test.test_name)
    return None
