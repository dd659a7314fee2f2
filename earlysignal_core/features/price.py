"""Price, volume and technical features, from daily bars on the share basis of `t`, cut at false level shifts."""

import numpy as np

from earlysignal_core.features._recursions import RSI_SESSIONS, macd_histogram, wilder_rsi
from earlysignal_core.features._windows import beta, mean, pick, ratio, returns, slope
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import BENCHMARK, PointInTime

FAMILY = "price"
RECURSION = 250
_YEAR = 365
_YEAR_OF_SESSIONS = 262
_MOST_ACTIONS = 80  # a monthly dividend over two years, with room for special ones


@feature(family=FAMILY, unit="fraction", needs={"ohlcv": 6})
def price_change_5d(at: PointInTime) -> Values:
    """Return over 5 sessions: C[t] / C[t-5] - 1."""
    return _change(at, 5)


@feature(family=FAMILY, unit="fraction", needs={"ohlcv": 11})
def price_change_10d(at: PointInTime) -> Values:
    """Return over 10 sessions: C[t] / C[t-10] - 1."""
    return _change(at, 10)


@feature(family=FAMILY, unit="fraction", needs={"ohlcv": 21})
def price_change_20d(at: PointInTime) -> Values:
    """Return over 20 sessions: C[t] / C[t-20] - 1."""
    return _change(at, 20)


@feature(family=FAMILY, unit="ratio", needs={"ohlcv": 20})
def volume_ratio(at: PointInTime) -> Values:
    """Mean volume of 5 sessions over that of 20: mean(V, 5) / mean(V, 20)."""
    volume = at.window("ohlcv", "volume", 20)
    return ratio(mean(volume[:, -5:]), mean(volume))


@feature(family=FAMILY, unit="fraction per session", needs={"ohlcv": 10})
def volume_trend(at: PointInTime) -> Values:
    """Least-squares slope of the volume over 10 sessions, divided by their mean."""
    volume = at.window("ohlcv", "volume", 10)
    return ratio(slope(volume), mean(volume))


@feature(family=FAMILY, unit="RSI points", needs={"ohlcv": RECURSION})
def rsi_momentum(at: PointInTime) -> Values:
    """Wilder's RSI-14 at `t` minus its own mean over the 14 sessions up to `t`.

    The recursion starts 250 sessions back, or after the last session without a close.
    """
    rsi = wilder_rsi(at.window("ohlcv", "close", RECURSION), RSI_SESSIONS)
    return rsi[:, -1] - mean(rsi)


@feature(family=FAMILY, unit="fraction per session", needs={"ohlcv": RECURSION})
def macd_histogram_trend(at: PointInTime) -> Values:
    """Least-squares slope over 5 sessions of the MACD(12, 26, 9) histogram, divided by C[t].

    The recursion starts 250 sessions back, or after the last session without a close.
    """
    close = at.window("ohlcv", "close", RECURSION)
    return slope(macd_histogram(close, 5)) / close[:, -1]


@feature(family=FAMILY, unit="ratio", needs={"ohlcv": 31})
def market_beta_30d(at: PointInTime) -> Values:
    """Least-squares beta of the daily returns to the benchmark's over 30 sessions."""
    market = at.window("ohlcv", "close", 31, owner=BENCHMARK)
    return beta(returns(at.window("ohlcv", "close", 31)), returns(market))


@feature(
    family=FAMILY,
    unit="percentage points",
    needs={"ohlcv": _YEAR_OF_SESSIONS, "corporate_actions": 2 * _YEAR},
)
def dividend_yield_change(at: PointInTime) -> Values:
    """Dividends of the trailing 365 days over the price, now minus one year ago.

    Now is the day of `as_of` with C[t]; a year ago is 365 days earlier with the close of the last session until then.
    No dividend is 0.
    """
    close = at.window("ohlcv", "close", _YEAR_OF_SESSIONS)
    paid_on = at.window("corporate_actions", "session", _MOST_ACTIONS)
    per_share = at.window("corporate_actions", "value", _MOST_ACTIONS) / at.shares_since(paid_on, of_prices=True)
    dividend = np.where(at.matches("corporate_actions", "kind", "dividend", _MOST_ACTIONS) == 1, per_share, 0.0)
    age = at.as_of_day[:, None] - paid_on
    paid, paid_before = (
        np.where((age >= ended) & (age < ended + _YEAR), dividend, 0.0).sum(axis=1) for ended in (0, _YEAR)
    )
    year_ago = pick(close, at.sessions_ago(at.as_of_day[:, None] - _YEAR))[:, 0]
    change: Values = 100 * (paid / close[:, -1] - paid_before / year_ago)
    return change


def _change(at: PointInTime, sessions: int) -> Values:
    close = at.window("ohlcv", "close", sessions + 1)
    return close[:, -1] / close[:, 0] - 1
