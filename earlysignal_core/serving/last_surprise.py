"""The rule that answers where no model can: how often large beats came after a last surprise above 15 %."""

from dataclasses import dataclass

import pandas as pd

from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.lake import Lake
from earlysignal_core.models.baselines import LAST, LAST_SURPRISE_OVER
from earlysignal_core.quarters import Quarter
from earlysignal_core.tables import KNOWABLE

MIN_CASES = 30


@dataclass(frozen=True)
class Frequency:
    """How many announcements came after a last surprise above 15 %, and how many of them were large beats."""

    cases: int
    large_beats: int

    @property
    def probability(self) -> float | None:
        """Their share; None of fewer than 30 cases."""
        return self.large_beats / self.cases if self.cases >= MIN_CASES else None

    def __str__(self) -> str:
        return (
            f"last surprise above {LAST_SURPRISE_OVER:g} %: {self.large_beats} of {self.cases} such announcements "
            f"known at `as_of` were large beats"
        )


def frequency(lake: Lake, as_of: pd.Timestamp) -> Frequency:
    """Count the announcements after a last surprise above 15 % whose outcome was known at a moment (UTC).

    These are the rows of all history, which a dataset of that moment would hold: the models' own datasets may be as
    unreadable as the models.
    """
    quarters = [q for q in lake.quarters(FEATURES) if q <= Quarter.of(as_of) and lake.has(LABELS, q)]
    if not quarters:
        return Frequency(0, 0)
    of_event = ["event", "announced_on"]
    rows = lake.read(FEATURES, quarters, columns=[*of_event, LAST])
    labels = lake.read(LABELS, quarters, columns=[*of_event, "label", KNOWABLE])
    known = labels[(labels[KNOWABLE] <= as_of) & labels["label"].notna()]
    over = rows[rows[LAST] > LAST_SURPRISE_OVER].merge(known, on=of_event)
    return Frequency(len(over), int(over["label"].sum()))
