import pandas as pd

from earlysignal_core.quarters import Quarter
from earlysignal_core.trading_calendar import as_of, cutoff, days_in_new_york, position, sessions


def moment(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def test_a_prediction_is_made_at_the_close_seven_days_before() -> None:
    assert as_of([pd.Timestamp("2016-04-21")])[0] == moment("2016-04-14 20:00")


def test_before_a_weekend_and_a_holiday_it_is_the_last_session_before() -> None:
    monday = pd.Timestamp("2016-04-25")  # seven days before is a Monday with a session
    sunday = pd.Timestamp("2016-04-24")
    after_good_friday = pd.Timestamp("2016-04-01")  # 25 March 2016 was Good Friday
    assert list(as_of([monday, sunday, after_good_friday])) == [
        moment("2016-04-18 20:00"),
        moment("2016-04-15 20:00"),
        moment("2016-03-24 20:00"),
    ]


def test_the_day_in_new_york_begins_at_its_own_midnight_in_winter_and_in_summer() -> None:
    around = [
        f"{day} {time}" for day in ("2016-01-15", "2016-07-15") for time in ("03:59:59", "04:00", "04:59", "05:00")
    ]
    moments = pd.Series(pd.to_datetime(around, utc=True, format="mixed")).dt.as_unit("ns")
    expected = moments.dt.tz_convert("America/New_York").dt.tz_localize(None).dt.normalize()
    assert pd.Series(days_in_new_york(moments)).dt.strftime("%m-%d").tolist() == expected.dt.strftime("%m-%d").tolist()


def test_an_early_close_counts_as_the_close() -> None:
    assert as_of([pd.Timestamp("2016-12-02")])[0] == moment("2016-11-25 18:00")  # the day after Thanksgiving


def test_the_cutoff_lies_seven_days_before_the_quarter() -> None:
    assert cutoff(Quarter(2018, 3)) == moment("2018-06-22 20:00")  # 24 June was a Sunday


def test_position_is_that_of_the_last_session_on_or_before() -> None:
    friday, sunday = position([pd.Timestamp("2018-06-22"), pd.Timestamp("2018-06-24")])
    assert friday == sunday
    assert sessions()[friday] == pd.Timestamp("2018-06-22")
