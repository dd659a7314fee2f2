import numpy as np
import pytest
from knowable import (
    FUND,
    MARKET,
    NAN,
    actions,
    announcements,
    asked,
    bars,
    companies,
    series,
    statements,
    surprises,
    value,
    world,
)

from earlysignal_core.features.interactions import (
    days_to_earnings,
    earnings_surprise_x_price_momentum,
    earnings_surprise_x_volume,
    fed_rate_x_sector_beta,
    gdp_growth_x_cyclical_exposure,
    pe_ratio_x_price_momentum,
    quarter_end_effect,
    revenue_growth_x_relative_strength,
    volatility_x_volume_ratio,
)

RISEN = bars("A", [100.0, *[101.0] * 19, 104.0], volume=[NAN, *[100.0] * 15, *[200.0] * 5])
GDP = series("GDPC1", ("2017-10-01", 100.0, "2018-01-26"), ("2018-01-01", 101.0, "2018-04-27"))
GROWTH = 100 * (1.01**4 - 1)


def test_earnings_surprise_times_momentum_and_volume() -> None:
    assert value(earnings_surprise_x_price_momentum, surprises("A", 30), RISEN) == pytest.approx(30 * 0.04)
    assert value(earnings_surprise_x_volume, surprises("A", 30), RISEN) == pytest.approx(30 * 200 / 125)
    assert np.isnan(value(earnings_surprise_x_volume, surprises("A", NAN, 30, NAN), RISEN)), "either missing is missing"


def test_volatility_is_annualised() -> None:
    # Returns of +1 % and -1 % in turn: a sample deviation of 0.01 · √(20/19).
    close = 100 * np.cumprod(np.r_[1, np.tile([1.01, 0.99], 10)])
    assert value(volatility_x_volume_ratio, bars("A", close)) == pytest.approx(0.01 * np.sqrt(20 / 19 * 252))


def test_fed_rate_times_the_funds_beta() -> None:
    rate = series("DFF", ("2018-06-15", 1.70, "2018-06-16"), ("2018-07-16", 1.95, "2018-07-17"))
    market_return = np.resize([0.01, -0.02, 0.005], 120)
    market, half = (100 * np.cumprod(np.r_[1, 1 + k * market_return]) for k in (1, 0.5))
    assert value(fed_rate_x_sector_beta, rate, bars(FUND, half), bars(MARKET, market)) == pytest.approx(0.25 * 0.5)


@pytest.mark.parametrize(("sector", "expected"), [("Industrials", GROWTH), ("Utilities", 0.0), (None, NAN)])
def test_gdp_growth_for_cyclical_sectors(sector: str | None, expected: float) -> None:
    assert value(gdp_growth_x_cyclical_exposure, GDP, companies(A=sector)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("day", "expected"), [("2018-07-24", 7), ("2018-07-11", 8), ("2018-01-08", 10)])
def test_days_to_earnings(day: str, expected: int) -> None:
    # 4 July is a holiday; 1 January is one too, and follows a weekend.
    at = world(surprises("A", 1), about=asked(day), features={days_to_earnings.name: days_to_earnings})
    assert at.value(days_to_earnings)[0] == expected


@pytest.mark.parametrize(
    ("day", "sessions"),
    [("2018-07-06", 0), ("2018-07-09", 1), ("2018-07-05", 1), ("2018-07-24", 11), ("2018-07-20", 9)],
)
def test_quarter_end_effect(day: str, sessions: int) -> None:
    # The second quarter of 2018 ended on Friday 29 June; the sessions after it are 2, 3, 5, 6, 9 … 13 July.
    at = world(surprises("A", 1), about=asked(day), features={quarter_end_effect.name: quarter_end_effect})
    assert at.value(quarter_end_effect)[0] == pytest.approx(1 - min(sessions, 10) / 10)


def test_price_to_trailing_earnings_times_momentum_is_on_one_share_basis() -> None:
    quarters = [("17-Jun", "2017-07-24"), ("17-Sep", "2017-10-24"), ("17-Dec", "2018-01-24"), ("18-Mar", "2018-04-24")]
    earned = [
        announcements("A", (*quarter, 1.0, eps)) for quarter, eps in zip(quarters, [2.0, 2.0, 2.0, 1.0], strict=True)
    ]
    split = actions("A", ("2018-03-01", "split", 2.0))  # the first three became 1 dollar a share
    assert value(pe_ratio_x_price_momentum, *earned, split, RISEN) == pytest.approx(104 / 4 * 0.04)
    assert np.isnan(value(pe_ratio_x_price_momentum, *earned[1:], split, RISEN)), "one of the four is missing"
    loss = announcements("A", ("18-Mar", "2018-04-24", 1.0, -3.0))
    assert np.isnan(value(pe_ratio_x_price_momentum, *earned[:3], loss, split, RISEN)), "no earnings to divide by"


def test_revenue_growth_times_the_sectors_strength() -> None:
    sold = statements("A", ("2017-03-31", 100.0, "2017-05-01"), ("2018-03-31", 125.0, "2018-05-01"))
    fund, market = bars(FUND, [100.0] * 20 + [106.0]), bars(MARKET, [100.0] * 20 + [102.0])
    assert value(revenue_growth_x_relative_strength, sold, fund, market) == pytest.approx(0.25 * 0.04)
