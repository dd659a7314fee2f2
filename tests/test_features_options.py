import numpy as np
import pytest
from knowable import NAN, bars, options, value

from earlysignal_core.features.interactions import iv_rank_x_volume_trend
from earlysignal_core.features.options import iv_rank, options_put_call_ratio_change
from earlysignal_core.features.sentiment import sentiment_options_shift


def test_the_put_call_ratio_of_5_sessions_against_20() -> None:
    put = [50.0] * 15 + [100.0] * 5
    assert value(options_put_call_ratio_change, options("A", put, 100.0)) == pytest.approx(1 - 12.5 / 20)
    assert value(options_put_call_ratio_change, options("A", put, 100.0), options("B", put, 1.0)) == pytest.approx(
        0.375
    )


def test_sessions_without_a_call_have_no_ratio() -> None:
    call = [100.0] * 15 + [0.0, NAN] + [100.0] * 3
    put = [50.0] * 15 + [7.0, 7.0] + [100.0] * 3
    assert value(options_put_call_ratio_change, options("A", put, call)) == pytest.approx(1 - (15 * 0.5 + 3) / 18)
    quiet = [100.0] * 15 + [0.0] * 3 + [100.0] * 2
    assert np.isnan(value(options_put_call_ratio_change, options("A", put, quiet)))


def test_the_rank_of_todays_volatility() -> None:
    volatility = np.r_[np.full(100, 0.20), np.full(50, 0.30), np.full(101, 0.40), 0.30]
    assert value(iv_rank, options("A", np.ones(252), 1.0, volatility)) == pytest.approx((100 + 50 / 2) / 251)
    older = options("A", np.ones(300), 1.0, np.r_[np.full(48, 9.0), volatility])
    assert value(iv_rank, older) == pytest.approx(125 / 251)
    few = np.r_[np.full(126, NAN), np.full(125, 0.2), 0.3]
    assert np.isnan(value(iv_rank, options("A", np.ones(252), 1.0, few)))
    assert value(iv_rank, options("A", np.ones(252), 1.0, np.r_[few[1:126], 0.4, few[126:]])) == pytest.approx(
        125 / 126
    )
    assert np.isnan(value(iv_rank, options("A", np.ones(252), 1.0, np.r_[volatility[:-1], NAN])))


def test_the_rank_times_the_trend_of_the_volume() -> None:
    risen = options("A", np.ones(252), 1.0, np.r_[np.full(251, 0.2), 0.3])
    volume = np.arange(1.0, 11)  # a slope of 1 a session, over a mean of 5.5
    assert value(iv_rank_x_volume_trend, risen, bars("A", np.full(10, 50.0), volume=volume)) == pytest.approx(1 / 5.5)


def test_the_shift_is_against_the_puts() -> None:
    put = [150.0, 1, 1, 1, 1, 50.0]
    assert value(sentiment_options_shift, options("A", put, 100.0)) == pytest.approx(1.0)
    assert np.isnan(value(sentiment_options_shift, options("A", put[1:], 100.0)))
