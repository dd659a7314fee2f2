"""When the companies announce: fiscal periods, announcement dates, and dates that move."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.columns import Bools, Days, Floats, Ints, later, new_york, stream, text
from earlysignal_core.sources.synthetic.companies import Companies
from earlysignal_core.sources.synthetic.timeline import Timeline, first_positions, session_days
from earlysignal_core.trading_calendar import HORIZON_DAYS, position

MOVED_SHARE = 0.125
MOVES = np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6])  # in sessions
# Not by `strftime`, which would write them in the user's language.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SOONEST, LATEST = -7, 10  # in days


@dataclass(frozen=True)
class Events:
    """One announcement of each company in each scheduled quarter, arrays of shape (n, k).

    Attributes
    ----------
    period_end : ndarray of datetime64
        The last day of the fiscal quarter.
    expected : ndarray of int
        Position in the trading calendar of the day first scheduled.
    announced : ndarray of int
        Position of the day of the announcement: another one where the date moved.
    reaction : ndarray of int
        Position of the first session that trades on it.
    as_of : ndarray of int
        Position of the last session at least seven days before it.
    filed : ndarray of int
        Position of the day on which the periodic report is filed.
    season : ndarray of float
        Multiple of the usual earnings that the period is expected to bring.
    """

    period_end: Days
    expected: Ints
    announced: Ints
    reaction: Ints
    as_of: Ints
    filed: Ints
    season: Floats

    @classmethod
    def schedule(cls, spec: SyntheticSettings, timeline: Timeline, companies: Companies) -> "Events":
        """Schedule the announcements of a specification."""
        random = stream(spec.seed, "events")
        quarters = timeline.scheduled
        shape = (spec.symbols, len(quarters))
        starts = np.array([quarter.start.to_datetime64() for quarter in quarters]).astype("datetime64[M]")
        months = starts + companies.fiscal_offset[:, None].astype("timedelta64[M]")
        period_end = (months.astype("datetime64[D]") - np.timedelta64(1, "D")).astype("datetime64[ns]")
        lag = np.round(companies.report_lag[:, None] + 1.2 * random.standard_normal(shape)).astype("timedelta64[D]")
        expected = position((period_end + lag).ravel()).reshape(shape)

        moved = random.random(shape) < MOVED_SHARE
        bounds = first_positions([*quarters, quarters[-1] + 1])
        announced = expected + moved * random.choice(MOVES, size=shape)
        for earliest, latest in (_within_days(expected), (bounds[:-1], bounds[1:] - 1)):
            announced = np.clip(announced, earliest, latest)
        seven_days_before = later(session_days(announced), -HORIZON_DAYS)
        return cls(
            period_end=period_end,
            expected=expected,
            announced=announced,
            reaction=announced + ~companies.before_open[:, None],
            as_of=position(seven_days_before.ravel()).reshape(shape),
            filed=announced + random.integers(0, 6, shape),
            season=_season(random, shape),
        )

    @property
    def moved(self) -> Bools:
        """Whether the announcement's date differs from the one first scheduled."""
        moved: Bools = self.announced != self.expected
        return moved

    def known_at(self, companies: Companies, column: int) -> Ints:
        """Return the moments (nanoseconds, UTC) at which the results of one quarter come out, shape (n,)."""
        days = session_days(self.announced[:, column])
        return np.where(companies.before_open, new_york(days, 8, 0), new_york(days, 16, 15))


def fiscal_periods(period_end: Days) -> pa.Array:
    """Return fiscal periods as the month in which they end, like ``14-Mar``."""
    months, which = np.unique(period_end.astype("datetime64[M]"), return_inverse=True)
    return text(which, [f"{month.item():%y}-{MONTHS[month.item().month - 1]}" for month in months])


def _within_days(expected: Ints) -> tuple[Ints, Ints]:
    """Return the positions of the earliest and the latest session that a date may move to."""
    days = session_days(expected).ravel()
    earliest, latest = position(later(days, SOONEST - 1)) + 1, position(later(days, LATEST))
    return earliest.reshape(expected.shape), latest.reshape(expected.shape)


def _season(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    turn = np.arange(shape[1]) + random.integers(0, 4, (shape[0], 1))
    season: Floats = (1 + 0.12 * np.sin(np.pi / 2 * turn)) * np.exp(0.05 * random.standard_normal(shape))
    return season
