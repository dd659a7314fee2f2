"""Which quarters a synthetic tape spans, and where its regime breaks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from earlysignal_core.errors import SourceError
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.columns import Bools, Days, Ints
from earlysignal_core.trading_calendar import position, sessions

PRICE_LEAD = 5  # quarters of prices before the first announcement: features look back 252 sessions
MACRO_LEAD = 12  # quarters of macro series before it: inflation looks back a year and is released late
PRICE_TAIL = 1  # quarters of prices after the last one
FORESIGHT = 3  # quarters ahead that analysts estimate


@dataclass(frozen=True)
class Timeline:
    """The quarters of a synthetic tape.

    Attributes
    ----------
    first, last : Quarter
        Of the announcements.
    broken_from : Quarter or None
        The first quarter of the other regime.
    """

    first: Quarter
    last: Quarter
    broken_from: Quarter | None

    @classmethod
    def of(cls, spec: SyntheticSettings) -> "Timeline":
        """Read the quarters of a specification.

        Raises
        ------
        SourceError
            If the tape would leave the trading calendar, or breaks outside of itself.
        """
        first = Quarter.parse(spec.first)
        timeline = cls(
            first, first + (spec.quarters - 1), Quarter.parse(spec.break_quarter) if spec.break_quarter else None
        )
        begin, end = timeline.first - MACRO_LEAD, timeline.last + (PRICE_TAIL + FORESIGHT)
        known = sessions()
        if begin.start < known[0] or end.end > known[-1]:
            raise SourceError(
                f"the synthetic tape {timeline.first} to {timeline.last} needs the trading calendar from {begin} to "
                f"{end}, which knows {Quarter.of(known[0])} to {Quarter.of(known[-1])}. Remedy: move "
                f"`synthetic.first` or ask for fewer `synthetic.quarters`."
            )
        if timeline.broken_from and not timeline.first <= timeline.broken_from <= timeline.last:
            raise SourceError(
                f"`synthetic.break_quarter` {timeline.broken_from} lies outside the tape's quarters "
                f"{timeline.first} to {timeline.last}. Remedy: choose one of them, or none."
            )
        return timeline

    @cached_property
    def priced(self) -> list[Quarter]:
        """The quarters with prices, oldest first; every array over quarters is aligned to them."""
        return Quarter.range(self.first - PRICE_LEAD, self.last + PRICE_TAIL)

    @cached_property
    def scheduled(self) -> list[Quarter]:
        """The priced quarters and those beyond, whose announcements cast their shadow before them."""
        return Quarter.range(self.priced[0], self.priced[-1] + FORESIGHT)

    @property
    def final_day(self) -> Days:
        """The last day of the tape, shape (1,): nothing that became known later is on it."""
        return np.array([self.priced[-1].end.to_datetime64()]).astype("datetime64[ns]")

    @property
    def price_days(self) -> Days:
        """The first session with a price and the last, shape (2,)."""
        begin, stop = first_positions([self.priced[0], self.priced[-1] + 1])
        return session_days(np.array([begin, stop - 1]))

    def broken(self, quarters: list[Quarter]) -> Bools:
        """Say which quarters belong to the other regime, shape (k,)."""
        return np.array([self.broken_from is not None and quarter >= self.broken_from for quarter in quarters])


def first_positions(quarters: list[Quarter]) -> Ints:
    """Return the position in the trading calendar of each quarter's first session, shape (k,)."""
    return position([quarter.start - np.timedelta64(1, "D") for quarter in quarters]) + 1


def session_days(positions: Ints) -> Days:
    """Return the days of sessions."""
    days: Days = sessions().to_numpy()[positions].astype("datetime64[ns]")
    return days
