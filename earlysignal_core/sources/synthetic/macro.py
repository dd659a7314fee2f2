"""Macro series under their FRED names, each value known at the end of the New York day of its release."""

import numpy as np
import pyarrow as pa

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.columns import Days, Floats, end_of_day, later, stream, table, text
from earlysignal_core.sources.synthetic.factors import Factors, persistent
from earlysignal_core.sources.synthetic.timeline import session_days
from earlysignal_core.sources.synthetic.world import World

# series, mean, memory from day to day, standard deviation, what the other regime adds
CREDIT = (
    ("BAA10Y", 2.5, 0.99, 0.30, 1.0),
    ("BAMLC0A0CM", 1.3, 0.99, 0.20, 0.7),
    ("BAMLH0A0HYM2", 4.5, 0.99, 0.60, 2.5),
    ("DGS10", 2.5, 0.995, 0.40, -0.8),
)

MEETING_DAYS = 45  # between two decisions on the policy rate
POLICY_RATE, BROKEN_POLICY_RATE = 2.0, 1.0  # %
UNEMPLOYMENT, BROKEN_UNEMPLOYMENT = 5.0, 8.0  # %
GDP_RELEASES = ((29, 0.0015), (59, 0.0008), (89, 0.0))  # days after the quarter's end, error
Release = tuple[Days, Floats, Days]  # period, value, released on


def macro(world: World) -> pa.Table:
    """Return all series, first releases and revisions."""
    spec, factors = world.spec, world.factors
    series = _market_series(spec, factors) | _policy_series(spec, factors) | _economy_series(spec, factors)
    names = sorted(series)
    period, value, released = (np.concatenate([series[name][part] for name in names]) for part in range(3))
    codes = np.repeat(np.arange(len(names)), [len(series[name][0]) for name in names])
    return table(
        "macro",
        {
            "series": text(codes, names),
            "period": period.astype("datetime64[ns]"),
            "value": value,
            "available_at": end_of_day(released.astype("datetime64[ns]")),
        },
    )


def _market_series(spec: SyntheticSettings, factors: Factors) -> dict[str, Release]:
    random = stream(spec.seed, "macro market")
    at, count = factors.positions(), len(factors.market)
    days, next_session = session_days(at), session_days(at + 1)
    series: dict[str, Release] = {}
    for name, mean, memory, deviation, added in CREDIT:
        path = mean + added * factors.broken + persistent(random, count, memory, deviation)
        series[name] = (days, np.round(path, 2), next_session)
    fear = 10.5 * factors.stress * np.exp(persistent(random, count, 0.95, 0.12))
    # Three months ahead the market looks calmer than it is when it is nervous, and less calm when it is not.
    ahead = 1.08 * fear**0.8 * 10.5**0.2 * np.exp(0.02 * random.standard_normal(count))
    series["VIXCLS"] = (days, np.round(fear, 2), next_session)
    series["VXVCLS"] = (days, np.round(ahead, 2), next_session)
    dollar, oil = (np.exp(persistent(random, count, *moves)) for moves in ((0.997, 0.05), (0.995, 0.20)))
    # Published by the week: the dollar on the Monday after it, oil on the Wednesday after it.
    series["DTWEXBGS"] = (days, np.round(100 * dollar, 4), _following_weekday(days, "Mon"))
    series["DCOILWTICO"] = (days, np.round(60 * oil, 2), _following_weekday(later(days, 3), "Wed"))
    return series


def _policy_series(spec: SyntheticSettings, factors: Factors) -> dict[str, Release]:
    """Return the federal funds rate by day and as the month's mean."""
    random = stream(spec.seed, "macro policy")
    sessions = session_days(factors.positions()).astype("datetime64[D]")
    days = np.arange(sessions[0], sessions[-1] + 1)
    meeting = np.arange(len(days)) // MEETING_DAYS
    level = POLICY_RATE + persistent(random, int(meeting[-1]) + 1, 0.95, 0.7)[meeting]
    broken = factors.broken[np.searchsorted(sessions, days, side="right") - 1]
    target = np.maximum(np.round(4 * (level - BROKEN_POLICY_RATE * broken)) / 4, 0.25)
    rate = np.round(target - 0.12 + 0.01 * random.standard_normal(len(days)), 2)
    months, first, length = np.unique(days.astype("datetime64[M]"), return_index=True, return_counts=True)
    mean = np.add.reduceat(rate, first) / length
    return {
        "DFF": (days, rate, later(days, 1)),
        "FEDFUNDS": (months.astype("datetime64[D]"), np.round(mean, 2), (months + 1).astype("datetime64[D]")),
    }


def _economy_series(spec: SyntheticSettings, factors: Factors) -> dict[str, Release]:
    """Return unemployment, prices and output, with the later vintages of each."""
    random = stream(spec.seed, "macro economy")
    sessions = session_days(factors.positions())
    months = np.arange(sessions[0].astype("datetime64[M]"), sessions[-1].astype("datetime64[M]") + 1)
    following = (months + 1).astype("datetime64[D]")
    broken = factors.broken[np.searchsorted(sessions, months.astype(sessions.dtype))]
    jobless = np.where(broken, BROKEN_UNEMPLOYMENT, UNEMPLOYMENT) + persistent(random, len(months), 0.95, 0.5)
    prices = 235 * np.exp(np.cumsum(0.0018 + 0.001 * random.standard_normal(len(months))))

    quarters = months[::3]  # a tape begins with a quarter
    output = 16_000 * np.exp(np.cumsum(0.005 + 0.004 * random.standard_normal(len(quarters))))
    ends = later((quarters + 3).astype("datetime64[D]"), -1)
    errors = random.standard_normal((len(GDP_RELEASES), len(quarters)))
    vintages = [
        (quarters.astype("datetime64[D]"), output * (1 + size * error), later(ends, lag))
        for (lag, size), error in zip(GDP_RELEASES, errors, strict=True)
    ]
    gdp_period, gdp, gdp_released = (np.concatenate(parts) for parts in zip(*vintages, strict=True))
    return {
        "UNRATE": _revised(random, months, jobless, _following_weekday(later(following, -1), "Fri"), 1, 0.008),
        "CPIAUCSL": _revised(random, months, prices, later(following, 12), 3, 0.0003),
        "GDPC1": (gdp_period, np.round(gdp, 1), gdp_released),
    }


def _revised(
    random: np.random.Generator, months: Days, value: Floats, released: Days, decimals: int, error: float
) -> Release:
    """Return a monthly series with its yearly revision: with January's release, those of the year before change."""
    january = np.flatnonzero(months.astype(np.int64) % 12 == 0)
    revised, by = (each.ravel() for each in np.broadcast_arrays(january[:, None] - np.arange(1, 13), january[:, None]))
    revised, by = revised[revised >= 0], by[revised >= 0]
    which = np.concatenate([np.arange(len(months)), revised])
    noise = np.concatenate([error * random.standard_normal(len(months)), np.zeros(len(revised))])
    published = np.concatenate([released, released[by]])
    return months[which].astype("datetime64[D]"), np.round(value[which] * (1 + noise), decimals), published


def _following_weekday(days: Days, weekday: str) -> Days:
    """Return the first such day of the week after each day."""
    return np.busday_offset(later(days.astype("datetime64[D]"), 1), 0, roll="forward", weekmask=weekday)
