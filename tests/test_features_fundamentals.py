import numpy as np
import pandas as pd
import pytest
from knowable import NAN, announcements, statements, surprises, value

from earlysignal_core.features.fundamentals import earnings_surprise, revenue_growth_accel

QUARTERS = [
    ("2016-12-31", 80.0, "2017-02-01"),
    ("2017-03-31", 100.0, "2017-05-01"),
    ("2017-06-30", 100.0, "2017-08-01"),
    ("2017-09-30", 100.0, "2017-11-01"),
    ("2017-12-31", 100.0, "2018-02-01"),
    ("2018-03-31", 110.0, "2018-05-01"),
]


def test_earnings_surprise_is_that_of_the_latest_past_announcement() -> None:
    assert value(earnings_surprise, surprises("A", 5, 300)) == pytest.approx(300), "not winsorised"
    assert value(earnings_surprise, announcements("A", ("18-Mar", "2018-04-24", -0.5, -0.4))) == pytest.approx(20)


def test_it_is_at_most_120_days_old() -> None:
    assert np.isfinite(value(earnings_surprise, announcements("A", ("18-Mar", "2018-03-19", 1.0, 1.2))))
    assert np.isnan(value(earnings_surprise, announcements("A", ("18-Mar", "2018-03-18", 1.0, 1.2))))


def test_an_estimate_of_zero_gives_none_rather_than_an_older_one() -> None:
    rows = [("17-Dec", "2018-04-01", 1.0, 1.2), ("18-Mar", "2018-04-24", 0.0, 1.2)]
    assert np.isnan(value(earnings_surprise, announcements("A", *rows)))


def test_it_is_not_known_before_it_was_announced() -> None:
    told = (
        surprises("A", 5)
        .assign(available_at="2018-07-17 20:00:01+00:00")
        .astype({"available_at": "datetime64[ns, UTC]"})
    )
    assert np.isnan(value(earnings_surprise, told))


def test_revenue_growth_is_against_the_same_quarter_a_year_ago() -> None:
    # From 80 to 100 are 25 %, from 100 to 110 are 10 %.
    assert value(revenue_growth_accel, statements("A", *QUARTERS)) == pytest.approx(10 - 25)


def test_a_quarter_is_found_by_its_end_and_not_by_its_row() -> None:
    without = [row for row in QUARTERS if row[0] != "2017-09-30"]
    assert value(revenue_growth_accel, statements("A", *without)) == pytest.approx(10 - 25), "none of the four"
    for needed in ("2016-12-31", "2017-03-31", "2017-12-31"):
        without = [row for row in QUARTERS if row[0] != needed]
        assert np.isnan(value(revenue_growth_accel, statements("A", *without))), needed
    # Quarters of thirteen weeks, one year of 53 weeks among them, end on a weekday that drifts.
    retail = [
        ("2016-10-29", 80.0, "2016-12-01"),
        ("2017-01-28", 100.0, "2017-03-01"),
        ("2017-10-28", 100.0, "2017-12-01"),
        ("2018-02-03", 110.0, "2018-03-01"),
    ]
    assert value(revenue_growth_accel, statements("A", *retail)) == pytest.approx(10 - 25)


def test_a_statement_counts_from_its_filing_and_a_restatement_from_its_own() -> None:
    late = [*QUARTERS[:-1], ("2018-03-31", 110.0, "2018-07-18")]
    assert np.isnan(value(revenue_growth_accel, statements("A", *late))), "the quarter before has none before it"
    restated = [*QUARTERS, ("2018-03-31", 120.0, "2018-07-16"), ("2018-03-31", 500.0, "2018-07-18")]
    assert value(revenue_growth_accel, statements("A", *restated)) == pytest.approx(20 - 25)


def test_missing_revenue_and_an_old_latest_quarter_give_none() -> None:
    latest = [*QUARTERS[:-1], ("2018-03-31", NAN, "2018-05-01")]
    assert np.isnan(value(revenue_growth_accel, statements("A", *latest)))
    for none_sold in (0.0, -80.0):
        rows = [("2016-12-31", none_sold, "2017-02-01"), *QUARTERS[1:]]
        assert np.isnan(value(revenue_growth_accel, statements("A", *rows)))
    # 2017-12-29 lies 200 days before 2018-07-17.
    for end, there in (("2017-12-29", True), ("2017-12-28", False)):
        first = pd.Timestamp(end)
        rows = [(first - pd.Timedelta(days=91 * back), 100.0 + back, first) for back in range(6)]
        assert np.isfinite(value(revenue_growth_accel, statements("A", *rows))) == there, end
