"""The economy, rates and sectors, as published by `as_of`.

"30 days ago" is what was known 30 days before `as_of`. A daily series counts as current for 20 days after its last
value, a monthly one for 110 and a quarterly one for 250 after the period began: beyond that it has stopped, and is NaN.
"""

import numpy as np

from earlysignal_core.features._windows import ratio
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import BENCHMARK, PointInTime

FAMILY = "macro"
_DAILY, _MONTHLY, _QUARTERLY = 20, 110, 250
_CHANGE = 30
_CREDIT = ("BAA10Y", "BAMLC0A4CBBB", "BAMLC0A0CM")


@feature(
    family=FAMILY,
    unit="percentage points",
    needs={"macro": _MONTHLY + _CHANGE},
    requires=("macro:DFF|FEDFUNDS",),
    of_the_day=True,
)
def fed_rate_change_30d(at: PointInTime) -> Values:
    """DFF, the effective federal funds rate (its monthly mean FEDFUNDS where missing), now minus 30 days ago."""
    daily = _current(at, "DFF") - _current(at, "DFF", days_ago=_CHANGE)
    monthly = _current(at, "FEDFUNDS", _MONTHLY) - _current(at, "FEDFUNDS", _MONTHLY, days_ago=_CHANGE)
    return np.where(np.isnan(daily), monthly, daily)


@feature(
    family=FAMILY,
    unit="percentage points",
    needs={"macro": _MONTHLY + 31},
    requires=("macro:UNRATE",),
    of_the_day=True,
)
def unemployment_rate_change(at: PointInTime) -> Values:
    """Latest released UNRATE minus that of the month before, both as last published by `as_of`."""
    latest, before = _apart(at, "UNRATE", 1, _MONTHLY)
    return latest - before


@feature(family=FAMILY, unit="percent", needs={"macro": _MONTHLY + 366}, requires=("macro:CPIAUCSL",), of_the_day=True)
def cpi_inflation_rate(at: PointInTime) -> Values:
    """Latest released CPIAUCSL against that of twelve months before, both as last published by `as_of`."""
    latest, before = _apart(at, "CPIAUCSL", 12, _MONTHLY)
    return 100 * (ratio(latest, before) - 1)


@feature(
    family=FAMILY, unit="percent a year", needs={"macro": _QUARTERLY + 92}, requires=("macro:GDPC1",), of_the_day=True
)
def gdp_growth_rate(at: PointInTime) -> Values:
    """Latest released GDPC1 against the quarter before, both as last published by `as_of`, to the fourth power."""
    latest, before = _apart(at, "GDPC1", 3, _QUARTERLY)
    growth = ratio(latest, before)
    squared = growth * growth
    return 100 * (squared * squared - 1)


@feature(family=FAMILY, unit="percent", needs={"macro": _DAILY}, requires=("macro:DGS10",), of_the_day=True)
def treasury_yield_10y(at: PointInTime) -> Values:
    """DGS10, the yield of ten-year Treasury notes."""
    return _current(at, "DGS10")


@feature(
    family=FAMILY,
    unit="percentage points",
    needs={"macro": _DAILY + _CHANGE},
    requires=(f"macro:{'|'.join(_CREDIT)}",),
    of_the_day=True,
)
def credit_spread_change(at: PointInTime) -> Values:
    """BAA10Y (where missing BAMLC0A4CBBB, then BAMLC0A0CM), a corporate bond spread, now minus 30 days ago."""
    change = np.full(len(at), np.nan)
    for series in _CREDIT:
        change = np.where(np.isnan(change), _current(at, series) - _current(at, series, days_ago=_CHANGE), change)
    return change


@feature(family=FAMILY, unit="percent", needs={"macro": _DAILY}, requires=("macro:BAMLH0A0HYM2",), of_the_day=True)
def high_yield_spread(at: PointInTime) -> Values:
    """BAMLH0A0HYM2, the option-adjusted spread of high-yield bonds."""
    return _current(at, "BAMLH0A0HYM2")


@feature(
    family=FAMILY, unit="index points", needs={"macro": _DAILY + _CHANGE}, requires=("macro:VIXCLS",), of_the_day=True
)
def vix_change_30d(at: PointInTime) -> Values:
    """VIXCLS now minus 30 days ago."""
    return _current(at, "VIXCLS") - _current(at, "VIXCLS", days_ago=_CHANGE)


@feature(
    family=FAMILY,
    unit="fraction",
    needs={"macro": _DAILY},
    requires=("macro:VXVCLS", "macro:VIXCLS"),
    of_the_day=True,
)
def vix_term_structure(at: PointInTime) -> Values:
    """Implied volatility of three months over that of one: VXVCLS / VIXCLS - 1."""
    return ratio(_current(at, "VXVCLS"), _current(at, "VIXCLS")) - 1


@feature(
    family=FAMILY, unit="fraction", needs={"macro": _DAILY + _CHANGE}, requires=("macro:DTWEXBGS",), of_the_day=True
)
def dollar_index_change(at: PointInTime) -> Values:
    """DTWEXBGS, the trade-weighted dollar, over its value of 30 days ago, minus 1."""
    return ratio(_current(at, "DTWEXBGS"), _current(at, "DTWEXBGS", days_ago=_CHANGE)) - 1


@feature(
    family=FAMILY, unit="fraction", needs={"macro": _DAILY + _CHANGE}, requires=("macro:DCOILWTICO",), of_the_day=True
)
def oil_price_change(at: PointInTime) -> Values:
    """DCOILWTICO, the price of WTI crude, over that of 30 days ago, minus 1; NaN if either is not positive."""
    now, then = _current(at, "DCOILWTICO"), _current(at, "DCOILWTICO", days_ago=_CHANGE)
    return ratio(np.where(now > 0, now, np.nan), then) - 1


@feature(family=FAMILY, unit="fraction", needs={"ohlcv": 21})
def sector_relative_strength(at: PointInTime) -> Values:
    """Return over 20 sessions of the stock's sector ETF minus the benchmark's."""
    etf, market = (at.window("ohlcv", "close", 21, owner=owner) for owner in ("sector_etf", BENCHMARK))
    return etf[:, -1] / etf[:, 0] - market[:, -1] / market[:, 0]


@feature(family=FAMILY, unit="ratio", needs={"ohlcv": 20}, requires=("ohlcv:etf_volume",))
def sector_funds_flow(at: PointInTime) -> Values:
    """Chaikin money flow of the stock's sector ETF over 20 sessions: a stand-in for fund flows.

    The sum of volume times ((C - L) - (H - C)) / (H - L) over the sum of volume; a session without range counts 0.
    """
    high, low, close, volume = (
        at.window("ohlcv", column, 20, owner="sector_etf") for column in ("high", "low", "close", "volume")
    )
    span = high - low
    multiplier = np.where(span == 0, 0.0, (2 * close - low - high) / np.where(span == 0, 1.0, span))
    return ratio((multiplier * volume).sum(axis=1), volume.sum(axis=1))


def _current(at: PointInTime, series: str, current_days: int = _DAILY, days_ago: int = 0) -> Values:
    """Return a series' value as it was known some days ago; NaN where it was out of date even then."""
    value = at.latest("macro", "value", owner=series, lag_days=days_ago)
    period = at.latest("macro", "period", owner=series, lag_days=days_ago)
    return np.where(at.as_of_day - days_ago - period <= current_days, value, np.nan)


def _apart(at: PointInTime, series: str, months: int, current_days: int) -> tuple[Values, Values]:
    """Return the latest value of a monthly or quarterly series and that of the period some months before."""
    values = at.window("macro", "value", months + 1, owner=series)
    periods = at.window("macro", "period", months + 1, owner=series)
    there = np.isfinite(periods)
    days = np.where(there, periods, 0).astype(np.int64).astype("datetime64[D]")
    number = days.astype("datetime64[M]").astype(np.int64)
    wanted = there & (number == number[:, -1:] - months)
    before = np.where(wanted.any(axis=1), np.where(wanted, values, 0.0).sum(axis=1), np.nan)
    current = at.as_of_day - periods[:, -1] <= current_days
    return np.where(current, values[:, -1], np.nan), before
