"""What a day of production works on, the hours at which its steps act, and which day is next."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import pandas as pd

from earlysignal_core.errors import LakeError
from earlysignal_core.evaluation.forward import Refits
from earlysignal_core.features.ahead import FeaturesAhead
from earlysignal_core.features.table import scheduled_examples
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import days, deployments, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.models.bundle import Bundle, BundleError
from earlysignal_core.monitoring import retrain_policy
from earlysignal_core.monitoring.retrain_policy import Cause
from earlysignal_core.quarterly import described
from earlysignal_core.serving.model_cache import ModelCache
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription


class Hour(IntEnum):
    """When, on the domain's clock (UTC), each step of a day acts."""

    REFRESH = 1
    PREDICT = 2
    DRIFT = 3
    OUTCOMES = 4
    MEASURE = 5
    DECIDE = 6
    CHALLENGE = 7

    def of(self, day: pd.Timestamp) -> pd.Timestamp:
        """Return the moment (UTC) of a day."""
        return day.tz_localize("UTC") + pd.Timedelta(hours=int(self))


@dataclass(frozen=True)
class Production:
    """What a day works on.

    Attributes
    ----------
    lake : Lake
    ledger : Ledger
    settings : Settings
    causes : frozenset of Cause
        The lines of the tree "when to retrain" that may act: all, but for a replay of another policy.
    is_lived_again : bool
        Whether the days are a replay's, over a lake that stands still: then the features of a quarter are made at
        once, and no latency is measured, since it would be this machine's of today and could roll a ramp back.
    """

    lake: Lake
    ledger: Ledger
    settings: Settings
    causes: frozenset[Cause] = frozenset(Cause)
    is_lived_again: bool = False

    @cached_property
    def source(self) -> SourceDescription:
        """What the lake was filled from."""
        return described(self.lake)

    @cached_property
    def models(self) -> ModelCache:
        """The models used last."""
        return ModelCache(self.lake)

    @cached_property
    def features_ahead(self) -> FeaturesAhead | None:
        """The features of the days to come, where they can be made ahead."""
        return FeaturesAhead(self.lake, self.source) if self.is_lived_again else None

    @cached_property
    def refits(self) -> Refits | None:
        """What the recipes of challengers were refitted to, which over a lake that stands still is the same again."""
        return {} if self.is_lived_again else None

    def scheduled(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        """Return `features.table.scheduled_examples` of these days."""
        if self.features_ahead is not None:
            return self.features_ahead.scheduled(first, last)
        return scheduled_examples(self.lake, self.source, first, last)

    def champion(self) -> Bundle | None:
        """Return the model that serves; None before the first promotion, and where it cannot be loaded.

        A champion that is lost answers for nothing, and nothing can be measured of it: but the day goes on.
        """
        serving = deployments.champion(self.ledger)
        if serving is None:
            return None
        try:
            return self.models.get(serving.version).bundle
        except (BundleError, LakeError):
            return None

    def recipe(self, window_months: int | None) -> Settings:
        """Return the settings under which a retrain trains."""
        if window_months is None:
            return self.settings
        return self.settings.model_copy(update={"window_months": window_months})

    def is_finished(self, day: pd.Timestamp) -> bool:
        """Say whether every step of a day is done."""
        last = days.last_finished(self.ledger)
        return last is not None and day <= last


@dataclass(frozen=True)
class NextDay:
    """Which day is to be lived, or why none is."""

    day: pd.Timestamp | None
    reason: str


def next_day(ledger: Ledger, source: SourceDescription, now: pd.Timestamp) -> NextDay:
    """Return the first day that is not finished, if all its moments have passed.

    Where the ledger has a clock of its own (on a tape), a day waits for a retrain that is due before it: how fast the
    days go by must not decide which model serves on them. Live, predictions wait for nothing.
    """
    last = days.last_finished(ledger)
    newest = (now - pd.Timedelta(hours=int(Hour.CHALLENGE))).tz_localize(None).normalize()
    day = newest if last is None else last + pd.Timedelta(days=1)
    if day > newest:
        return NextDay(None, f"the clock shows {now:%Y-%m-%d %H:%M} UTC: {day:%Y-%m-%d} is not over yet")
    begins, ends = source.event_quarters[0].start, source.quarters[-1].end
    if not begins <= day <= ends:
        return NextDay(None, f"the source has days from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, not {day:%Y-%m-%d}")
    request = retrain_requests.in_flight(ledger)
    if request is not None and days.clock(ledger) is not None and retrain_policy.may_start(request, last):
        return NextDay(None, f"retrain request {request.id} ({request.cause}) comes before {day:%Y-%m-%d}")
    return NextDay(day, f"{day:%Y-%m-%d} is due")
