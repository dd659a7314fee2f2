"""Until when a model may know: the start of a quarter, for the models of history, or of a day, for a challenger."""

import re
from dataclasses import dataclass

import pandas as pd

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.quarters import Quarter
from earlysignal_core.trading_calendar import cutoff

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, order=True)
class Day:
    """A day on which a model is trained: it may know what was known when the day began (midnight UTC)."""

    date: pd.Timestamp

    @classmethod
    def parse(cls, text: str) -> "Day":
        """Read ``2018-07-15``."""
        if not _DAY.fullmatch(text):
            raise EarlySignalError(f"`{text}` is no day. Write it like 2018-07-15.")
        return cls(pd.Timestamp(text))

    @classmethod
    def after(cls, moment: pd.Timestamp) -> "Day":
        """Return the first day that begins at or after a moment (UTC)."""
        return cls(moment.ceil("D").tz_localize(None))

    def __str__(self) -> str:
        return f"{self.date:%Y-%m-%d}"


Cutoff = Quarter | Day


def parse_cutoff(text: str) -> Cutoff:
    """Read ``2018-Q3`` or ``2018-07-15``."""
    return Day.parse(text) if _DAY.fullmatch(text) else Quarter.parse(text)


def moment_of(until: Cutoff) -> pd.Timestamp:
    """Return the moment (UTC): what was not known then may not train the model."""
    return until.date.tz_localize("UTC") if isinstance(until, Day) else cutoff(until)


def last_quarter(until: Cutoff) -> Quarter:
    """Return the newest quarter that may hold examples with a known outcome."""
    return Quarter.of(until.date) if isinstance(until, Day) else until - 1


def version_stem(until: Cutoff) -> str:
    """Return the first two parts of a version: ``v2018.3`` of a quarter, ``v2018.715`` of the 15th of July."""
    if isinstance(until, Day):
        return f"v{until.date.year}.{until.date.month}{until.date.day:02d}"
    return f"v{until.year}.{until.number}"
