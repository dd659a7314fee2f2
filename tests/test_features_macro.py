import numpy as np
import pandas as pd
import pytest
from knowable import FUND, MARKET, NAN, bars, companies, series, value

from earlysignal_core.features.macro import (
    cpi_inflation_rate,
    credit_spread_change,
    dollar_index_change,
    fed_rate_change_30d,
    gdp_growth_rate,
    high_yield_spread,
    oil_price_change,
    sector_funds_flow,
    sector_relative_strength,
    treasury_yield_10y,
    unemployment_rate_change,
    vix_change_30d,
    vix_term_structure,
)

# `as_of` is 2018-07-17 20:00 UTC; thirty days before it is 2018-06-17, a Sunday.


def daily(name: str, then: float, now: float, **late: float) -> pd.DataFrame:
    """A daily series, published the day after: one value for 15 June, one for 16 July, one that came too late."""
    rows = [("2018-06-15", then, "2018-06-16"), ("2018-07-16", now, "2018-07-17"), ("2018-07-17", 99.0, "2018-07-18")]
    return series(name, *rows)


@pytest.mark.parametrize(
    ("feature", "name"), [(fed_rate_change_30d, "DFF"), (credit_spread_change, "BAA10Y"), (vix_change_30d, "VIXCLS")]
)
def test_change_over_30_days(feature, name: str) -> None:
    assert value(feature, daily(name, 1.70, 1.95)) == pytest.approx(0.25)


def test_30_days_ago_is_what_was_known_then() -> None:
    released_late = series(
        "VIXCLS", ("2018-06-15", 10, "2018-06-16"), ("2018-06-16", 50, "2018-06-18"), ("2018-07-16", 14, "2018-07-17")
    )
    assert value(vix_change_30d, released_late) == 4


@pytest.mark.parametrize(("feature", "name"), [(treasury_yield_10y, "DGS10"), (high_yield_spread, "BAMLH0A0HYM2")])
def test_level(feature, name: str) -> None:
    assert value(feature, daily(name, 2.0, 2.9)) == 2.9


@pytest.mark.parametrize(("feature", "name"), [(dollar_index_change, "DTWEXBGS"), (oil_price_change, "DCOILWTICO")])
def test_relative_change_over_30_days(feature, name: str) -> None:
    assert value(feature, daily(name, 120.0, 126.0)) == pytest.approx(0.05)


def test_oil_below_zero_has_no_relative_change() -> None:
    assert np.isnan(value(oil_price_change, daily("DCOILWTICO", 20.0, -37.0)))
    assert np.isnan(value(oil_price_change, daily("DCOILWTICO", -37.0, 20.0)))


def test_vix_term_structure() -> None:
    assert value(vix_term_structure, daily("VXVCLS", 1, 15.0), daily("VIXCLS", 1, 12.0)) == pytest.approx(0.25)


def test_a_series_that_stopped_is_missing() -> None:
    stopped = series("DGS10", ("2018-06-26", 2.8, "2018-06-27"))
    assert np.isnan(value(treasury_yield_10y, stopped))
    assert value(treasury_yield_10y, series("DGS10", ("2018-06-27", 2.8, "2018-06-28"))) == 2.8
    assert np.isnan(value(vix_change_30d, series("VIXCLS", ("2018-06-15", 12, "2018-06-16"))))


def test_the_monthly_fed_rate_stands_in_for_the_daily_one() -> None:
    monthly = series("FEDFUNDS", ("2018-05-01", 1.70, "2018-06-02"), ("2018-06-01", 1.82, "2018-07-02"))
    assert value(fed_rate_change_30d, monthly) == pytest.approx(0.12)
    assert value(fed_rate_change_30d, monthly, daily("DFF", 1.70, 1.95)) == pytest.approx(0.25)


def test_the_next_credit_spread_stands_in() -> None:
    second, third = daily("BAMLC0A4CBBB", 1.5, 1.6), daily("BAMLC0A0CM", 1.0, 1.3)
    assert value(credit_spread_change, third) == pytest.approx(0.3)
    assert value(credit_spread_change, third, second) == pytest.approx(0.1)


def test_unemployment_of_the_latest_month_against_the_one_before_in_one_vintage() -> None:
    released = series("UNRATE", ("2018-05-01", 3.8, "2018-06-01"), ("2018-06-01", 4.0, "2018-07-06"))
    assert value(unemployment_rate_change, released) == pytest.approx(0.2)
    revised = series("UNRATE", ("2018-05-01", 3.9, "2018-07-06"), ("2018-06-01", 4.1, "2018-07-18"))
    assert value(unemployment_rate_change, released, revised) == pytest.approx(0.1), "the revision of May is known"


def test_a_month_without_figures_is_not_skipped() -> None:
    released = series("UNRATE", ("2018-04-01", 3.8, "2018-05-04"), ("2018-06-01", 4.0, "2018-07-06"))
    assert np.isnan(value(unemployment_rate_change, released))


def months(first: str, *values: float) -> list[tuple[str, float, str]]:
    starts = pd.date_range(first, periods=len(values), freq="MS")
    return [
        (f"{day:%Y-%m-%d}", v, f"{day + pd.Timedelta(days=44):%Y-%m-%d}") for day, v in zip(starts, values, strict=True)
    ]


def test_inflation_is_year_on_year() -> None:
    # The index of May 2018 came out on 14 June; that of June only on 15 July, after that of a year before it.
    index = months("2017-06-01", 250.0, *[251.0] * 11, 257.5)
    assert value(cpi_inflation_rate, series("CPIAUCSL", *index)) == pytest.approx(3.0)
    assert np.isnan(value(cpi_inflation_rate, series("CPIAUCSL", *index[1:])))


def test_inflation_finds_the_month_of_last_year_over_a_hole() -> None:
    index = months("2017-06-01", 250.0, *[251.0] * 11, 257.5)
    assert value(cpi_inflation_rate, series("CPIAUCSL", *index[:4], *index[5:])) == pytest.approx(3.0)


def test_gdp_growth_is_annualised() -> None:
    released = series(
        "GDPC1",
        ("2017-10-01", 100.0, "2018-01-26"),
        ("2018-01-01", 101.0, "2018-04-27"),
        ("2018-04-01", 150.0, "2018-07-27"),
    )
    assert value(gdp_growth_rate, released) == pytest.approx(100 * (1.01**4 - 1))


def test_sector_relative_strength() -> None:
    fund, market = bars(FUND, [100.0, *[101.0] * 19, 104.0]), bars(MARKET, [200.0, *[201.0] * 19, 202.0])
    assert value(sector_relative_strength, fund, market) == pytest.approx(0.04 - 0.01)
    homeless = companies(A=None).assign(sector_etf=None)
    assert np.isnan(value(sector_relative_strength, fund, market, homeless))


def test_sector_funds_flow() -> None:
    # Nineteen sessions without range count 0; on the last the close lies three quarters up its range: (3 - 1) / 4.
    high, low = np.r_[np.full(19, 100.0), 102.0], np.r_[np.full(19, 100.0), 98.0]
    fund = bars(FUND, np.r_[np.full(19, 100.0), 101.0], high=high, low=low, volume=np.r_[np.full(19, 100.0), 200.0])
    assert value(sector_funds_flow, fund, bars(MARKET, [1.0] * 20)) == pytest.approx(0.5 * 200 / 2100)
    assert np.isnan(value(sector_funds_flow, fund.assign(volume=NAN), bars(MARKET, [1.0] * 20)))
