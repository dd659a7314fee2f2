"""The clock of a tape: moments and days of the source only, and none at all for a source that is live."""

import pandas as pd
import pytest
from made_up import source

from earlysignal_assets.clock import decision_time, expect_day, expect_within, refuse_live
from earlysignal_core.ledger import days
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.days import ClockError

TAPE, LIVE = source(), source(grows=True)


def test_a_live_source_has_no_clock_to_set() -> None:
    refuse_live(TAPE)
    with pytest.raises(ClockError, match="its clock is the wall's and cannot be set"):
        refuse_live(LIVE)


@pytest.mark.parametrize("day", ["1999-12-31", "2013-12-31", "2019-01-01", "2106-03-02"])
def test_a_slip_of_the_pen_is_no_day(day: str) -> None:
    with pytest.raises(ClockError, match="is no day of the source"):
        expect_day(TAPE, pd.Timestamp(day))
    assert expect_day(TAPE, pd.Timestamp("2018-12-31")) == pd.Timestamp("2018-12-31")


def test_a_decision_stands_between_what_was_lived_and_what_is_to_come(ledger: Ledger) -> None:
    last, ahead = pd.Timestamp("2016-03-01"), pd.Timestamp("2016-06-01", tz="UTC")
    days.finish_day(ledger, last, last.tz_localize("UTC"))
    days.move_clock(ledger, ahead)
    assert decision_time(ledger, TAPE) == pd.Timestamp("2016-03-02", tz="UTC")
    assert expect_within(TAPE, ahead) == ahead
    days.move_clock(ledger, pd.Timestamp("2106-01-01", tz="UTC"))  # by an older version, say
    assert decision_time(ledger, TAPE) == pd.Timestamp("2016-03-02", tz="UTC"), "a clock gone astray stops nobody"
