import numpy as np
import pandas as pd
import pytest
from knowable import MARKET, NAN, actions, bars, days, value

from earlysignal_core.features.price import (
    dividend_yield_change,
    macd_histogram_trend,
    market_beta_30d,
    price_change_5d,
    price_change_10d,
    price_change_20d,
    rsi_momentum,
    volume_ratio,
    volume_trend,
)


@pytest.mark.parametrize(
    ("feature", "sessions"), [(price_change_5d, 5), (price_change_10d, 10), (price_change_20d, 20)]
)
def test_price_change_is_the_return_over_its_sessions(feature, sessions: int) -> None:
    close = [90.0, 100.0, *[101.0] * (sessions - 1), 104.0]
    assert value(feature, bars("A", close)) == pytest.approx(0.04, rel=1e-12)


def test_a_missing_end_gives_no_change() -> None:
    assert np.isnan(
        value(price_change_5d, bars("A", [100.0, NAN, 101.0, 101.0, 101.0, 101.0, NAN]), bars(MARKET, [1.0]))
    )
    assert np.isnan(value(price_change_5d, bars("A", [NAN, 101.0, 101.0, 101.0, 101.0, 102.0])))
    assert value(price_change_5d, bars("A", [100.0, 101.0, NAN, NAN, 101.0, 102.0])) == pytest.approx(0.02)


def test_a_price_that_stopped_before_t_gives_no_change() -> None:
    stopped = bars("A", np.linspace(100, 110, 30), last="2018-07-16")
    assert np.isnan(value(price_change_5d, stopped, bars(MARKET, [1.0] * 30)))


def test_volume_ratio() -> None:
    volume = [100.0] * 15 + [200.0] * 5
    assert value(volume_ratio, bars("A", [10.0] * 20, volume=volume)) == pytest.approx(200 / 125)
    assert np.isnan(value(volume_ratio, bars("A", [10.0] * 20, volume=0.0)))


def test_volume_trend_is_the_slope_over_the_mean() -> None:
    volume = np.arange(100.0, 1100.0, 100.0)
    assert value(volume_trend, bars("A", [10.0] * 10, volume=volume)) == pytest.approx(100 / 550)


def test_rsi_momentum() -> None:
    # 26 gains of 1, so an RSI of 100 on 13 sessions, then a loss of 1: 100 · (13/14) / (13/14 + 1/14) = 1300/14.
    close = np.r_[np.arange(100.0, 127.0), 125.0]
    last = 1300 / 14
    assert value(rsi_momentum, bars("A", close)) == pytest.approx(last - (13 * 100 + last) / 14)
    assert np.isnan(value(rsi_momentum, bars("A", close[1:]))), "13 values are not 14"
    assert np.isnan(value(rsi_momentum, bars("A", [100.0] * 60))), "a price that stands still has no RSI"


def test_rsi_starts_afresh_after_a_gap_and_250_sessions_back() -> None:
    random = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, 300)))
    with_gap, after_gap = close.copy(), close.copy()
    with_gap[200], after_gap[:201] = NAN, NAN
    assert value(rsi_momentum, bars("A", with_gap)) == value(rsi_momentum, bars("A", after_gap))
    assert value(rsi_momentum, bars("A", close)) == value(rsi_momentum, bars("A", close[-250:]))
    assert value(rsi_momentum, bars("A", close)) != value(rsi_momentum, bars("A", close[-249:]))


def test_macd_histogram_trend() -> None:
    # A price of 100 that ends at 105: the averages move by 2/13 and 2/27 of 5, the signal by 1/5 of their difference.
    histogram = 0.8 * 5 * (2 / 13 - 2 / 27)
    close = [100.0] * 40 + [105.0]
    assert value(macd_histogram_trend, bars("A", close)) == pytest.approx(2 * histogram / 10 / 105)
    assert np.isfinite(value(macd_histogram_trend, bars("A", close[-38:])))
    assert np.isnan(value(macd_histogram_trend, bars("A", close[-37:]))), "five sessions after the 34th close"


def test_market_beta_is_two_for_twice_the_markets_returns() -> None:
    market_return = np.resize([0.01, -0.02, 0.005], 30)
    market, twice = (100 * np.cumprod(np.r_[1, 1 + k * market_return]) for k in (1, 2))
    assert value(market_beta_30d, bars("A", twice), bars(MARKET, market)) == pytest.approx(2)
    assert np.isnan(value(market_beta_30d, bars("A", twice), bars(MARKET, [100.0] * 31)))


def _doubled_in_a_year() -> pd.DataFrame:
    session = days(400)
    year_ago = int((session <= pd.Timestamp("2017-07-17")).sum())
    close = np.r_[np.full(year_ago, 50.0), np.geomspace(50, 100, len(session) - year_ago + 1)[1:]]
    return bars("A", close)


def test_dividend_yield_change() -> None:
    paid = actions(
        "A", ("2016-11-01", "dividend", 0.5), ("2017-11-01", "dividend", 1.0), ("2018-05-01", "dividend", 1.0)
    )
    assert value(dividend_yield_change, _doubled_in_a_year(), paid) == pytest.approx(100 * (2 / 100 - 0.5 / 50))
    too_old = actions("A", ("2016-07-15", "dividend", 9.0))
    assert value(dividend_yield_change, _doubled_in_a_year(), too_old) == 0


def test_dividends_are_put_on_the_share_basis_of_the_price() -> None:
    # Two for one on 2018-03-01: the old share cost twice as much and paid 1.00, the new one pays 0.50.
    after = _doubled_in_a_year()
    before = after["session"] < "2018-03-01"
    raw = after.assign(
        **{column: after[column].where(~before, 2 * after[column]) for column in ("open", "high", "low", "close")}
    )
    paid = actions(
        "A",
        ("2016-11-01", "dividend", 1.0),
        ("2017-11-01", "dividend", 1.0),
        ("2018-03-01", "split", 2.0),
        ("2018-05-01", "dividend", 0.5),
    )
    assert value(dividend_yield_change, raw, paid) == pytest.approx(100 * (1 / 100 - 0.5 / 50))
    adjusted = value(dividend_yield_change, after, paid, prices="adjusted")
    assert adjusted == pytest.approx(100 * (1.5 / 100 - 1 / 50)), "adjusted prices come with adjusted dividends"


def test_without_a_close_a_year_ago_there_is_no_yield_to_compare_with() -> None:
    close, paid = _doubled_in_a_year(), actions("A", ("2017-11-01", "dividend", 1.0))
    assert value(dividend_yield_change, close, paid) == pytest.approx(1.0)
    assert np.isnan(value(dividend_yield_change, close[close["session"] != "2017-07-17"], paid))
