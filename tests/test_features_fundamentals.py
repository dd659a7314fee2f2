import numpy as np
import pytest
from knowable import announcements, surprises, value

from earlysignal_core.features.fundamentals import earnings_surprise


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
