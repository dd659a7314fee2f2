import numpy as np
import pytest
from knowable import actions, holdings, short_interest, value

from earlysignal_core.features.institutions import (
    institutional_ownership_momentum,
    sec_institutional_ownership_change,
    short_interest_change,
)

# `as_of` is 2018-07-17 20:00 UTC: the holdings of March are known, those of June not before the middle of August.
SEPTEMBER, DECEMBER = ("2017-09-30", 80.0, "2017-11-14"), ("2017-12-31", 100.0, "2018-02-14")
MARCH, JUNE = ("2018-03-31", 120.0, "2018-05-15"), ("2018-06-30", 999.0, "2018-08-14")


def test_the_latest_known_quarter_over_the_one_before() -> None:
    every = holdings("A", SEPTEMBER, DECEMBER, MARCH, JUNE)
    assert value(sec_institutional_ownership_change, every, holdings("B", MARCH)) == pytest.approx(0.2)
    assert value(institutional_ownership_momentum, every) == pytest.approx(20 / 100)


def test_a_missing_quarter_is_a_gap() -> None:
    assert np.isnan(value(sec_institutional_ownership_change, holdings("A", SEPTEMBER, MARCH)))
    assert np.isnan(value(institutional_ownership_momentum, holdings("A", SEPTEMBER, MARCH)))
    assert np.isnan(value(institutional_ownership_momentum, holdings("A", DECEMBER, MARCH)))
    assert np.isnan(value(sec_institutional_ownership_change, holdings("A", SEPTEMBER, DECEMBER))), "too old"


def test_shares_are_on_one_basis() -> None:
    split = actions("A", ("2018-02-20", "split", 2.0), ("2018-05-02", "split", 3.0))
    seen = holdings("A", ("2017-12-31", 50.0, "2018-02-14"), ("2018-03-31", 120.0, "2018-05-15"))
    assert value(sec_institutional_ownership_change, seen, split) == pytest.approx(0.2)


def test_short_interest_is_known_on_dissemination() -> None:
    first, second = ("2018-05-31", 40.0, "2018-06-11"), ("2018-06-15", 50.0, "2018-06-26")
    later = ("2018-06-29", 99.0, "2018-07-18")
    assert value(short_interest_change, short_interest("A", first, second, later)) == pytest.approx(0.25)
    split = actions("A", ("2018-06-05", "split", 2.0))
    assert value(short_interest_change, short_interest("A", first, second), split) == pytest.approx(50 / 80 - 1)
    assert np.isnan(value(short_interest_change, short_interest("A", second)))
    older = short_interest("A", ("2018-05-15", 1.0, "2018-05-24"), first)
    assert np.isnan(value(short_interest_change, older)), "settled 47 days ago"
