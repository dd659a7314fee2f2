import numpy as np
import pandas as pd
import pytest
from knowable import (
    MARKET,
    NAN,
    actions,
    announcements,
    asked,
    bars,
    companies,
    days,
    estimates,
    surprises,
    value,
    world,
)

from earlysignal_core.features.history import (
    announcement_date_shift,
    announcement_return_abs_4q,
    beat_rate_8q,
    beat_streak,
    days_since_last_announcement,
    drift_since_last_announcement,
    eps_growth_yoy,
    eps_season,
    eps_volatility_to_price,
    estimate_to_price,
    large_beat_rate_8q,
    large_beat_rate_shrunk,
    large_miss_rate_8q,
    market_season_large_beat_rate,
    same_season_surprise_mean,
    sector_season_large_beat_rate,
    surprise_mean_4q,
    surprise_mean_8q,
    surprise_median_8q,
    surprise_std_8q,
    threshold_z,
)

EIGHT = surprises("A", 30, 10, -40, 0, 10, 20, 150, -30)  # the oldest first; 150 is winsorised to 100


def test_mean_median_and_deviation_of_surprises() -> None:
    assert value(surprise_mean_8q, EIGHT) == pytest.approx((30 + 10 - 40 + 0 + 10 + 20 + 100 - 30) / 8)
    assert value(surprise_mean_4q, EIGHT) == pytest.approx((10 + 20 + 100 - 30) / 4)
    assert value(surprise_median_8q, EIGHT) == pytest.approx(10)
    assert value(surprise_std_8q, surprises("A", 1, 3, 1, 3)) == pytest.approx(np.sqrt(4 / 3))


def test_rates() -> None:
    assert value(beat_rate_8q, EIGHT) == 5 / 8
    assert value(large_beat_rate_8q, EIGHT) == 2 / 8, "20 % sharp is a tie and no large beat"
    assert value(large_miss_rate_8q, EIGHT) == 2 / 8
    assert value(large_beat_rate_shrunk, EIGHT) == (2 + 0.5) / (8 + 5)
    assert value(large_beat_rate_shrunk, surprises("B", 30)) == 0.1, "nothing known is the prior"


def test_a_tie_in_awkward_decimals_is_neither_large_beat_nor_large_miss() -> None:
    quarters = [("17-Jun", "2017-07-24"), ("17-Sep", "2017-10-24"), ("17-Dec", "2018-01-24"), ("18-Mar", "2018-04-24")]
    actuals = (0.42, 0.28, 0.42, 0.28)
    rows = [(*quarter, 0.35, actual) for quarter, actual in zip(quarters, actuals, strict=True)]
    ties = announcements("A", *rows)
    assert value(large_beat_rate_8q, ties) == value(large_miss_rate_8q, ties) == 0


@pytest.mark.parametrize("feature", [beat_rate_8q, surprise_mean_8q, surprise_median_8q, surprise_std_8q])
def test_eight_quarters_need_four(feature) -> None:
    assert np.isnan(value(feature, surprises("A", 10, NAN, 10, NAN, 10, NAN, NAN, NAN)))
    assert np.isfinite(value(feature, surprises("A", 10, NAN, 10, NAN, 10, NAN, 10, NAN)))


def test_quarters_are_counted_not_rows() -> None:
    ninth_back = surprises("A", 80, 0, 0, NAN, 0, NAN, 0, NAN, 0)
    assert value(surprise_mean_8q, ninth_back) == 0
    assert value(surprise_mean_4q, surprises("A", 80, 10, NAN, 20, NAN)) == pytest.approx(15)


def test_an_estimate_of_zero_is_no_surprise() -> None:
    zero = announcements("A", ("18-Mar", "2018-04-24", 0.0, 1.0))
    assert value(surprise_mean_4q, surprises("A", 10, 20, NAN), zero) == pytest.approx(15)


def test_same_season() -> None:
    twelve = surprises("A", 3, 1, 1, 1, 6, 1, 1, 1, 300, 1, 1, 1)
    assert value(same_season_surprise_mean, twelve) == pytest.approx((3 + 6 + 100) / 3)
    assert value(same_season_surprise_mean, surprises("A", 3, 1, 1, 1, NAN, 1, 1, 1, 9, 1, 1, 1)) == pytest.approx(6)
    assert np.isnan(value(same_season_surprise_mean, surprises("A", 9, 1, 1, 1)))


def test_threshold_z() -> None:
    # Surprises of 10 cents in turn up and down but for a last 30: mean 0.05, mean square (7 · 0.01 + 0.09) / 8 = 0.02.
    history = surprises("A", 10, -10, 10, -10, 10, -10, 10, 30)
    actual_a_year_ago = 1.1
    assert value(threshold_z, history) == pytest.approx((0.2 * actual_a_year_ago - 0.05) / np.sqrt(0.02))
    known = estimates(("18-Jun", "2018-07-16", -2.0), ("18-Jun", "2018-07-18", 5.0), ("18-Sep", "2018-07-16", 7.0))
    assert value(threshold_z, history, known) == pytest.approx((0.2 * 2.0 - 0.05) / np.sqrt(0.02))
    assert value(threshold_z, surprises("A", 0, 0, 0, 0)) == pytest.approx(0.2 / 0.01), "the rms is at least a cent"


def test_threshold_z_puts_earnings_on_the_share_basis_of_today() -> None:
    history = surprises("A", 10, -10, 10, -10, 10, -10, 10, 30)
    split = actions("A", ("2018-05-01", "split", 4.0))
    assert value(threshold_z, history, split) == pytest.approx((0.2 * 1.1 / 4 - 0.05 / 4) / (np.sqrt(0.02) / 4))
    one_before = actions("A", ("2017-09-01", "split", 10.0), ("2017-12-01", "split", 1.253))
    # The five quarters before are in tenths, their surprises too: rows of 1, -1, 1, -1, 1 cents, then -10, 10, 30.
    mean, square = (0.01 + 0.30) / 8, (5 * 0.0001 + 2 * 0.01 + 0.09) / 8
    assert value(threshold_z, history, one_before) == pytest.approx((0.2 * 0.11 - mean) / np.sqrt(square))


def test_growth_and_season_of_eps() -> None:
    history = surprises("A", 0, 10, 20, 30, 50)  # of an estimate of 1: EPS 1.0, 1.1, 1.2, 1.3, 1.5
    assert value(eps_growth_yoy, history) == pytest.approx(0.5 / 1.25)
    assert value(eps_season, history) == pytest.approx((1.1 - 1.275) / 1.275)
    turned = surprises("A", -300, -100, -100, -100, 0)  # EPS -2, 0, 0, 0, 1
    assert value(eps_growth_yoy, turned) == pytest.approx(3 / 1.5)
    assert value(eps_season, turned) == pytest.approx(-0.25 / 0.25)
    assert np.isnan(value(eps_season, surprises("A", -100, -100, -100, -100))), "nothing earned, nothing to divide by"
    assert np.isnan(value(eps_growth_yoy, surprises("A", 10, 10, 10, 10)))


def test_growth_and_season_of_eps_are_on_the_share_basis_of_today() -> None:
    history = surprises("A", 0, 10, 20, 30, 50)
    halved = actions("A", ("2018-01-02", "split", 2.0))  # the oldest three count half
    assert value(eps_growth_yoy, history, halved) == pytest.approx((1.5 - 0.5) / 1.0)
    assert value(eps_season, history, halved) == pytest.approx((0.55 - 0.9875) / 0.9875)


def test_estimate_to_price() -> None:
    known = estimates(("18-Jun", "2018-07-01", -1.5))
    assert value(estimate_to_price, known, bars("A", [50.0]), actions("A")) == pytest.approx(0.03)
    split = actions("A", ("2018-07-10", "split", 2.0))
    assert value(estimate_to_price, known, bars("A", [25.0]), split) == pytest.approx(0.03)
    stale = estimates(("18-Jun", "2018-04-01", 1.5))
    assert np.isnan(value(estimate_to_price, stale, bars("A", [50.0]), actions("A")))


def test_eps_volatility_to_price() -> None:
    # Year-on-year changes of 1 and 3 dollars in turn: a sample deviation of √(8/7) over a price of 20.
    level = np.r_[np.zeros(4), np.tile([1.0, 3.0], 2), np.tile([2.0, 6.0], 2)]
    rows = [
        (period.strftime("%y-%b"), period.end_time.normalize() + pd.Timedelta(days=24), 1.0, eps)
        for period, eps in zip(pd.period_range(end="2018Q1", periods=12, freq="Q"), level, strict=True)
    ]
    frames = announcements("A", *rows), bars("A", [20.0])
    assert value(eps_volatility_to_price, *frames, actions("A")) == pytest.approx(np.sqrt(8 / 7) / 20)
    split = actions("A", ("2018-06-01", "split", 2.0))
    assert value(eps_volatility_to_price, *frames, split) == pytest.approx(np.sqrt(8 / 7) / 2 / 20)


@pytest.mark.parametrize(
    ("past", "streak"),
    [((10, 10, -1, 5, 5), 2), ((5, 0), 0), ((-1, 5, NAN, 5, NAN), 2), ((5, 5, NAN, NAN, NAN, NAN), NAN), ((-5,), 0)],
)
def test_beat_streak(past: tuple[float, ...], streak: float) -> None:
    assert value(beat_streak, surprises("A", *past)) == pytest.approx(streak, nan_ok=True)


# Announcements on 2018-04-24, a Tuesday, and the closes of that day, the next and the eve.
CLOSE = pd.Series(100.0, index=days(70))
CLOSE["2018-04-24":] = 101.0
CLOSE["2018-04-25":] = 103.02
CLOSE["2018-07-17"] = 105.0
QUIET = bars(MARKET, [50.0] * 70)


@pytest.mark.parametrize(
    ("hour", "day", "reaction", "end"),
    [
        ("bmo", "2018-04-24", 0.01, 101.0),
        ("amc", "2018-04-24", 0.02, 103.02),
        (None, "2018-04-24", 0.0302, 103.02),
        ("bmo", "2018-04-22", 0.0, 100.0),
        (None, "2018-04-22", 0.0, 100.0),
    ],
)
def test_reaction_session(hour: str | None, day: str, reaction: float, end: float) -> None:
    told = announcements("A", ("18-Mar", day, 1.0, 1.0, hour))
    earlier = announcements("A", ("17-Dec", "2018-05-15", 1.0, 1.0, hour))  # another quiet one, for two of four
    assert value(announcement_return_abs_4q, told, earlier, bars("A", CLOSE), QUIET) == pytest.approx(reaction / 2)
    drift = value(drift_since_last_announcement, told, bars("A", CLOSE), QUIET)
    assert drift == pytest.approx(105.0 / end - 1)


def test_reactions_are_taken_over_the_benchmark_and_in_size() -> None:
    told = announcements("A", ("18-Mar", "2018-04-24", 1.0, 1.0, "amc"), ("17-Dec", "2018-05-15", 1.0, 1.0, "amc"))
    market = CLOSE.copy()
    market["2018-04-25":] = 103.02 * 1.05
    assert value(announcement_return_abs_4q, told, bars("A", CLOSE), bars(MARKET, market)) == pytest.approx(0.051 / 2)


def test_a_reaction_that_is_not_over_is_missing() -> None:
    told = announcements("A", ("18-Mar", "2018-07-17", 1.0, 1.0, "bmo"))
    told["available_at"] = pd.Timestamp("2018-07-17 12:00", tz="UTC")
    assert value(drift_since_last_announcement, told, bars("A", CLOSE), QUIET) == 0
    assert np.isnan(value(drift_since_last_announcement, told.assign(session="amc"), bars("A", CLOSE), QUIET))


def test_days_since_last_announcement() -> None:
    assert value(days_since_last_announcement, announcements("A", ("18-Mar", "2018-04-24", 1.0, 1.0))) == 84
    assert np.isnan(value(days_since_last_announcement, announcements("A", ("17-Mar", "2017-04-24", 1.0, 1.0))[:0]))


def test_announcement_date_shift() -> None:
    last_year = announcements("A", ("17-Jun", "2017-07-24", 1.0, 1.0), ("18-Mar", "2018-04-24", 1.0, 1.0))
    assert value(announcement_date_shift, last_year) == 365 - 364


def season(symbol: str, percent: float, day: str = "2018-07-10") -> pd.DataFrame:
    return announcements(symbol, ("18-Jun", day, 1.0, 1 + percent / 100))


def test_the_season_so_far() -> None:
    world_ = companies(A="Energy", B="Energy", C="Energy", D="Utilities", E=None)
    told = [
        season("B", 50),
        season("C", 5),
        season("D", 30),
        season("E", 5),
        season("A", 90, "2018-07-01"),  # its own: in the rate of all, among the others of nobody
        season("B", 25, "2018-04-10"),  # before the season of 35 days
        season("C", 99, "2018-07-17"),  # after the close at which is asked
    ]
    told[-1]["fiscal_period"] = told[-2]["fiscal_period"] = "18-Mar"
    rate = 4 / 6
    assert value(sector_season_large_beat_rate, world_, *told) == pytest.approx((1 + 5 * rate) / (2 + 5))
    assert value(market_season_large_beat_rate, world_, *told) == pytest.approx((2 + 5 * rate) / (4 + 5))


def test_a_company_without_a_sector_has_no_season_of_its_sector() -> None:
    frames = [companies(A=None, B="Energy"), season("B", 50)]
    assert np.isnan(value(sector_season_large_beat_rate, *frames))
    assert value(market_season_large_beat_rate, *frames) == 1


def test_what_became_known_a_quarter_late_is_news_of_no_season() -> None:
    late = season("B", 50, "2018-01-10").assign(available_at=pd.Timestamp("2018-07-10", tz="UTC"))
    assert np.isnan(value(market_season_large_beat_rate, companies(A="Energy", B="Energy"), late))


def test_ten_years_are_so_far() -> None:
    old = announcements("A", ("08-Mar", "2008-04-24", 1.0, 2.0))
    assert value(large_beat_rate_shrunk, old) == 0.1
    assert value(large_beat_rate_shrunk, announcements("A", ("08-Jun", "2008-07-24", 1.0, 2.0))) == 1.5 / 6
    assert np.isnan(value(market_season_large_beat_rate, old))


def test_the_announcement_asked_about_is_never_looked_at() -> None:
    about = asked().assign(eps_estimate=1.0, eps_actual=9.0)
    at = world(EIGHT, about, about=about, features={f.name: f for f in (surprise_mean_4q, beat_streak)})
    assert at.value(surprise_mean_4q)[0] == value(surprise_mean_4q, EIGHT)
    assert at.value(beat_streak)[0] == 0
