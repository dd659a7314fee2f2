import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.quarters import Quarter

quarters = st.builds(Quarter, st.integers(1990, 2030), st.integers(1, 4))


@given(quarters)
def test_name_and_key_are_read_back(quarter: Quarter) -> None:
    assert Quarter.parse(str(quarter)) == quarter
    assert Quarter.parse(quarter.key) == quarter


def test_third_quarter_of_2018() -> None:
    quarter = Quarter.parse("2018-Q3")
    assert (quarter.key, quarter.start, quarter.end) == (
        "2018-07",
        pd.Timestamp(2018, 7, 1),
        pd.Timestamp(2018, 9, 30),
    )


@given(quarters, st.integers(-40, 40))
def test_steps_add_up(quarter: Quarter, steps: int) -> None:
    assert (quarter + steps) - quarter == steps
    assert quarter + steps - steps == quarter
    assert (quarter + 1).start == quarter.end + pd.Timedelta(days=1)


@given(st.dates(dt.date(1990, 1, 1), dt.date(2030, 12, 31)))
def test_a_day_lies_in_its_quarter(day: dt.date) -> None:
    quarter = Quarter.of(day)
    assert quarter.start.date() <= day <= quarter.end.date()


def test_a_range_has_both_ends() -> None:
    assert [str(q) for q in Quarter.range(Quarter(2017, 4), Quarter(2018, 2))] == ["2017-Q4", "2018-Q1", "2018-Q2"]


@pytest.mark.parametrize("text", ["2018-Q5", "2018-08", "Q3 2018", "", "18-Q1"])
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(EarlySignalError, match="no quarter"):
        Quarter.parse(text)
