"""Products of other features, and what the calendar says of the coming announcement."""

import numpy as np

from earlysignal_core.features._announcements import per_share
from earlysignal_core.features._recursions import wilder_rsi
from earlysignal_core.features._statements import days_back as days_of_statements
from earlysignal_core.features._statements import revenue, year_on_year
from earlysignal_core.features._windows import beta, deviation, ratio, returns
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.fundamentals import earnings_surprise
from earlysignal_core.features.macro import (
    fed_rate_change_30d,
    gdp_growth_rate,
    sector_relative_strength,
)
from earlysignal_core.features.options import iv_rank
from earlysignal_core.features.point_in_time import BENCHMARK, PointInTime, days_back
from earlysignal_core.features.price import (
    RECURSION,
    macd_histogram_trend,
    price_change_20d,
    volume_ratio,
    volume_trend,
)
from earlysignal_core.features.sentiment import sentiment_news_delta, social_stocktwits_24h_change
from earlysignal_core.trading_calendar import sessions

FAMILY = "interactions"
_CYCLICAL = (
    "Consumer Discretionary",
    "Financials",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
)
_SESSIONS_A_YEAR = 252
_NEAR = 10


@feature(family=FAMILY, unit="percent × fraction", of=(earnings_surprise, price_change_20d))
def earnings_surprise_x_price_momentum(at: PointInTime) -> Values:
    """earnings_surprise × price_change_20d."""
    return earnings_surprise(at) * price_change_20d(at)


@feature(family=FAMILY, unit="percent × ratio", of=(earnings_surprise, volume_ratio))
def earnings_surprise_x_volume(at: PointInTime) -> Values:
    """earnings_surprise × volume_ratio."""
    return earnings_surprise(at) * volume_ratio(at)


@feature(family=FAMILY, unit="fraction × ratio", needs={"ohlcv": 21}, of=(volume_ratio,))
def volatility_x_volume_ratio(at: PointInTime) -> Values:
    """Sample standard deviation of 20 daily returns, annualised by √252, × volume_ratio."""
    volatility = deviation(returns(at.window("ohlcv", "close", 21))) * np.sqrt(_SESSIONS_A_YEAR)
    return np.asarray(volatility * volume_ratio(at))


@feature(family=FAMILY, unit="percentage points × ratio", needs={"ohlcv": 121}, of=(fed_rate_change_30d,))
def fed_rate_x_sector_beta(at: PointInTime) -> Values:
    """fed_rate_change_30d × least-squares beta of the sector ETF's daily returns to the benchmark's, 120 sessions."""
    sector, market = (at.window("ohlcv", "close", 121, owner=owner) for owner in ("sector_etf", BENCHMARK))
    return fed_rate_change_30d(at) * beta(returns(sector), returns(market))


@feature(family=FAMILY, unit="percent a year", of=(gdp_growth_rate,))
def gdp_growth_x_cyclical_exposure(at: PointInTime) -> Values:
    """gdp_growth_rate × 1 for a cyclical sector, else × 0; NaN without a sector.

    Cyclical are Consumer Discretionary, Financials, Industrials, Information Technology, Materials and Real Estate.
    """
    sector = at.examples["sector"]
    exposure = np.where(sector.isna(), np.nan, sector.isin(_CYCLICAL))
    return gdp_growth_rate(at) * exposure


@feature(
    family=FAMILY,
    unit="ratio × fraction",
    needs={"earnings": 4, "corporate_actions": days_back("earnings", 4), "ohlcv": 1},
    requires=("prices:raw",),
    of=(price_change_20d,),
)
def pe_ratio_x_price_momentum(at: PointInTime) -> Values:
    """C[t] over the EPS of the last four fiscal quarters, on one share basis, × price_change_20d.

    NaN where one of the four is missing, or their sum is not positive.
    """
    earned = per_share(at, "eps_actual", 4).sum(axis=1)
    return ratio(at.latest("ohlcv", "close"), earned) * price_change_20d(at)


@feature(
    family=FAMILY,
    unit="fraction × fraction",
    needs={"income_statements": days_of_statements(4)},
    of=(sector_relative_strength,),
)
def revenue_growth_x_relative_strength(at: PointInTime) -> Values:
    """Year-on-year revenue growth of the latest filed quarter × sector_relative_strength."""
    return year_on_year(revenue(at, 4))[:, 0] * sector_relative_strength(at)


@feature(family=FAMILY, unit="fraction × fraction/session", of=(iv_rank, volume_trend))
def iv_rank_x_volume_trend(at: PointInTime) -> Values:
    """iv_rank × volume_trend."""
    return iv_rank(at) * volume_trend(at)


@feature(family=FAMILY, unit="score × RSI points", needs={"ohlcv": RECURSION}, of=(sentiment_news_delta,))
def sentiment_x_rsi(at: PointInTime) -> Values:
    """sentiment_news_delta × Wilder RSI-14 at `t`, over 250 sessions."""
    return sentiment_news_delta(at) * wilder_rsi(at.window("ohlcv", "close", RECURSION), 1)[:, 0]


@feature(family=FAMILY, unit="score × fraction/session", of=(social_stocktwits_24h_change, macd_histogram_trend))
def social_momentum_x_macd(at: PointInTime) -> Values:
    """social_stocktwits_24h_change × macd_histogram_trend."""
    return social_stocktwits_24h_change(at) * macd_histogram_trend(at)


@feature(family=FAMILY, unit="days")
def days_to_earnings(at: PointInTime) -> Values:
    """Calendar days from `as_of` to the announcement as it was scheduled then."""
    return at.scheduled_day - at.as_of_day


@feature(family=FAMILY, unit="fraction", of_the_day=True)
def quarter_end_effect(at: PointInTime) -> Values:
    """Nearness of a calendar quarter's end: 1 - d / 10, d being the sessions from `t` to the nearest, at most 10.

    A quarter ends with its last session.
    """
    quarter = sessions().quarter.to_numpy()
    ends = np.flatnonzero(np.diff(quarter))
    next_end = np.searchsorted(ends, at.last_session)
    distance = np.minimum(np.abs(ends[next_end] - at.last_session), np.abs(at.last_session - ends[next_end - 1]))
    return np.asarray(1 - np.minimum(distance, _NEAR) / _NEAR)
