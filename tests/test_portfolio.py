"""The top 10 % and what it earned: hand-made prices, hand-computed returns, and no look ahead."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.evaluation.portfolio import calendar_time_portfolio, portfolio_values, window_return
from earlysignal_core.evaluation.resampling import Resamples
from earlysignal_core.evaluation.top_decile import limits, top_decile
from earlysignal_core.trading_calendar import as_of, sessions

MARKET = "^MARKET"


def bars(symbol, first, closes, opens=None, **columns):
    opens = closes if opens is None else opens
    days = sessions()[sessions().get_loc(first) :][: len(closes)]
    empty = dict.fromkeys(("high", "low", "volume"), np.nan) | columns
    return pd.DataFrame({"symbol": symbol, "session": days, "open": opens, "close": closes, **empty})


def event(symbol, announced_on, session=None):
    day = pd.Timestamp(announced_on)
    row = {"event": f"{symbol}:{announced_on}", "symbol": symbol, "announced_on": day, "session": session}
    return pd.DataFrame([row]).assign(as_of=as_of([day]))


# Wednesday 2018-04-18 to Thursday 2018-04-26: seven sessions.
CLOSES = [100.0, 102.0, 104.0, 106.0, 108.0, 120.0, 130.0]
OPENS = [99.0, 101.0, 103.0, 105.0, 107.0, 110.0, 121.0]
MARKET_BARS = bars(MARKET, "2018-04-18", [1000.0, 1000, 1010, 1010, 1010, 1020, 1020], [1000.0, 990, *[1000.0] * 5])
PRICES = pd.concat([bars("AAA", "2018-04-18", CLOSES, OPENS), MARKET_BARS])


@pytest.mark.parametrize(
    ("session", "reaction", "market"),
    [("bmo", 120 / 101, 1020 / 990), ("amc", 130 / 101, 1020 / 990), (None, 130 / 101, 1020 / 990)],
)
def test_returns_of_an_announcement_by_hand(session, reaction, market):
    found = outcome_returns(event("AAA", "2018-04-25", session), PRICES, MARKET).returns.iloc[0]
    assert found["return_7d"] == pytest.approx(120 / 100 - 1)  # close of the 18th to close of the 25th
    assert found["benchmark_7d"] == pytest.approx(1020 / 1000 - 1)
    assert found["return_reaction"] == pytest.approx(reaction - 1)  # open of the 19th
    assert found["benchmark_reaction"] == pytest.approx(market - 1)


def each_its_own(events: list[str]) -> pd.Series:
    """Each event of a company of its own."""
    return pd.Series(events, index=events, dtype="str")


def test_a_weekend_announcement_is_reacted_to_on_monday():
    # Saturday 2018-04-21 is seven days after Saturday the 14th, whose last session is Friday the 13th.
    prices = pd.concat([bars("AAA", "2018-04-13", [100.0, 110, 120, 130, 140, 150, 160]), MARKET_BARS])
    for session in ("bmo", "amc", None):
        found = outcome_returns(event("AAA", "2018-04-21", session), prices, MARKET).returns.iloc[0]
        assert found["return_reaction"] == pytest.approx(160 / 110 - 1)  # Monday the 16th to Monday the 23rd
        assert found["return_7d"] == pytest.approx(150 / 100 - 1)  # Friday the 13th to Friday the 20th


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -5.0])
def test_a_missing_price_is_no_return_and_never_a_guess(bad):
    opens = [99.0, bad, *OPENS[2:]]
    prices = pd.concat([bars("AAA", "2018-04-18", CLOSES, opens), MARKET_BARS])
    found = outcome_returns(event("AAA", "2018-04-25", "bmo"), prices, MARKET)
    assert np.isnan(found.returns["return_reaction"].iloc[0])
    assert found.returns["return_7d"].iloc[0] == pytest.approx(0.2)
    assert found.positions.empty


def test_a_symbol_without_prices_and_a_quarter_without_announcements_have_no_returns():
    found = outcome_returns(event("ZZZ", "2018-04-25"), PRICES, MARKET)
    assert found.returns[["return_7d", "return_reaction"]].isna().all(axis=None)
    nothing = outcome_returns(event("AAA", "2018-04-25").iloc[:0], PRICES, MARKET)
    assert (len(nothing.returns), len(nothing.positions)) == (0, 0)
    assert outcome_returns(event("AAA", "2018-04-25"), PRICES.iloc[:0], MARKET).returns.isna().all(axis=None)


def test_bars_of_a_day_without_a_session_are_ignored():
    sunday = PRICES[:1].assign(session=pd.Timestamp("2018-04-22"), close=1.0, open=1.0)
    found = outcome_returns(event("AAA", "2018-04-25"), pd.concat([PRICES, sunday]), MARKET).returns
    assert_allclose(found, outcome_returns(event("AAA", "2018-04-25"), PRICES, MARKET).returns)


def test_a_window_across_an_unadjusted_split_has_no_return():
    random = np.random.default_rng(0)
    days = 90
    closes = 100 * np.exp(np.cumsum(random.normal(0, 0.01, days)))
    announced_on = sessions()[sessions().get_loc("2018-01-02") + 80]

    def returns(basis):
        prices = bars("AAA", "2018-01-02", closes * basis, closes * basis, volume=1e6)
        prices = prices.assign(high=prices["close"] * 1.01, low=prices["close"] * 0.99)
        market = bars(MARKET, "2018-01-02", np.full(days, 1000.0))
        return outcome_returns(event("AAA", announced_on), pd.concat([prices, market]), MARKET)

    split = np.where(np.arange(days) < 78, 1.0, 0.25)
    assert returns(np.ones(days)).returns.notna().all(axis=None)
    assert returns(split).returns[["return_7d", "return_reaction"]].isna().all(axis=None)
    assert returns(split).positions.empty
    before = np.where(np.arange(days) < 60, 1.0, 0.25)
    assert_allclose(returns(before).returns, returns(np.ones(days)).returns)


def test_daily_returns_compound_to_the_window_even_over_a_missing_close():
    closes = [*CLOSES[:3], np.nan, *CLOSES[4:]]
    prices = pd.concat([bars("AAA", "2018-04-18", closes, OPENS), MARKET_BARS])
    found = outcome_returns(event("AAA", "2018-04-25", "amc"), prices, MARKET)
    positions = found.positions
    assert positions["session"].dt.strftime("%m-%d").tolist() == ["04-19", "04-20", "04-23", "04-24", "04-25", "04-26"]
    assert positions["sides"].tolist() == [1, 0, 0, 0, 0, 1]
    assert positions["gross"].iloc[2] == 0
    assert (1 + positions["gross"]).prod() - 1 == pytest.approx(found.returns["return_reaction"].iloc[0])
    assert (1 + positions["benchmark"]).prod() - 1 == pytest.approx(found.returns["benchmark_reaction"].iloc[0])


def positions(*rows):
    columns = ["event", "session", "gross", "benchmark", "sides"]
    return pd.DataFrame(rows, columns=columns).assign(session=lambda frame: pd.to_datetime(frame["session"]))


TWO = positions(
    ("A", "2018-04-19", 0.030, 0.01, 1.0),
    ("A", "2018-04-20", 0.010, 0.00, 1.0),
    ("B", "2018-04-20", -0.020, 0.00, 1.0),
    ("B", "2018-04-23", 0.050, 0.02, 1.0),
    ("C", "2018-04-25", 0.040, 0.01, 2.0),
    ("ignored", "2018-04-26", 0.500, 0.01, 2.0),
)


def test_portfolio_by_hand():
    found = calendar_time_portfolio(TWO, each_its_own(["A", "B", "C"]), cost_bps=10)
    # 19th: 3 % − 0.1 % − 1 %; 20th: mean of (1 % − 0.1 %) and (−2 % − 0.1 %); 23rd: 5 % − 0.1 % − 2 %;
    # 24th: nothing is held; 25th: 4 % − 0.2 % − 1 %.
    excess = np.array([0.019, -0.006, 0.029, 0.0, 0.028])
    assert (found.events, found.sessions, found.invested) == (3, 5, 4)
    assert found.mean_positions == pytest.approx(5 / 4)
    assert found.dates == ["2018-04-19", "2018-04-20", "2018-04-23", "2018-04-24", "2018-04-25"]
    assert_allclose(found.cumulative, np.cumprod(1 + excess) - 1, atol=1e-6)
    value = {name: figure.value for name, figure in found.figures.items()}
    assert value["annual_excess"] == pytest.approx(252 * excess.mean())
    assert value["sharpe"] == pytest.approx(np.sqrt(252) * excess.mean() / excess.std(ddof=1))
    assert value["max_drawdown"] == pytest.approx(-0.006)
    own, market = np.array([0.029, -0.006, 0.049, 0.038]), np.array([0.01, 0.0, 0.02, 0.01])
    beta, alpha = np.polyfit(market, own, 1)
    assert value["beta"] == pytest.approx(beta)
    residual = np.sqrt(((own - alpha - beta * market) ** 2).sum() / 2)
    assert value["information_ratio"] == pytest.approx(np.sqrt(252) * alpha / residual)
    assert found.figures["sharpe"].reason == "no interval from 1 blocks of 5 sessions (needs 10)"


def test_the_figures_of_a_portfolio_can_be_had_without_their_intervals():
    for chosen in (["A", "B", "C"], []):
        whole = calendar_time_portfolio(TWO, each_its_own(chosen), cost_bps=10)
        alone = portfolio_values(TWO, each_its_own(chosen), cost_bps=10)
        assert_array_equal([alone[name] for name in whole.figures], [f.value for f in whole.figures.values()])


def test_costs_are_charged_once_on_each_side():
    free = calendar_time_portfolio(TWO, each_its_own(["C"]), cost_bps=0)
    paid = calendar_time_portfolio(TWO, each_its_own(["C"]), cost_bps=25)
    assert free.cumulative[-1] - paid.cumulative[-1] == pytest.approx(2 * 0.0025)


def test_a_portfolio_that_holds_nothing_has_no_figures():
    found = calendar_time_portfolio(TWO, each_its_own([]), cost_bps=10)
    assert (found.events, found.sessions, found.dates) == (0, 0, [])
    assert {figure.reason for figure in found.figures.values()} == {"no position"}
    assert np.isnan([figure.value for figure in found.figures.values()]).all()
    one_day = calendar_time_portfolio(TWO, each_its_own(["C"]), cost_bps=10).figures
    assert one_day["sharpe"].reason == "too few days, or none differs from another"
    assert one_day["annual_excess"].value == pytest.approx(252 * 0.028)


def test_an_edge_that_is_there_is_found_and_one_that_is_not_is_not():
    random = np.random.default_rng(1)
    days = sessions()[sessions().get_loc("2016-01-04") :][:500]
    noise, names = random.normal(0, 0.01, 500), [f"E{i:02d}" for i in range(20)]
    rows = pd.DataFrame({"event": names * 25, "session": days, "benchmark": 0.0, "sides": 0.0})
    companies = each_its_own(names)
    edge = calendar_time_portfolio(rows.assign(gross=noise - noise.mean() + 0.002), companies, cost_bps=10)
    none = calendar_time_portfolio(rows.assign(gross=noise - noise.mean()), companies, cost_bps=10)
    assert edge.figures["sharpe"].above(0)
    assert none.figures["sharpe"].low < 0 < none.figures["sharpe"].high
    again = calendar_time_portfolio(rows.assign(gross=noise - noise.mean() + 0.002), companies, cost_bps=10)
    assert again.model_dump_json() == edge.model_dump_json()


def test_the_interval_knows_that_one_companys_returns_resemble_each_other():
    days = sessions()[sessions().get_loc("2016-01-04") :][:100]
    names = [f"E{i:02d}" for i in range(20)]
    own = np.random.default_rng(2).normal(0, 0.01, 20)  # all are held on every day, and each always returns its own
    rows = pd.DataFrame({"event": np.repeat(names, 100), "session": np.tile(days, 20), "benchmark": 0.0, "sides": 0.0})
    rows["gross"] = np.repeat(own, 100) + np.random.default_rng(3).normal(0, 0.001, 2000)
    apart, together = each_its_own(names), pd.Series([name[:2] for name in names], index=names, dtype="str")
    figure = calendar_time_portfolio(rows, apart, cost_bps=0).figures["annual_excess"]
    spread = 252 * own.std() / np.sqrt(20)
    assert figure.high - figure.low > 3 * spread
    assert "no interval from 2 companies" in str(
        calendar_time_portfolio(rows, together, cost_bps=0).figures["annual_excess"].reason
    )


def test_event_returns_are_net_of_two_sides_and_beside_the_rest():
    excess = np.array([0.02, 0.04, np.nan, 0.01, -0.01, 0.5])
    selected = np.array([True, True, True, False, False, False])
    judged = np.array([True, True, True, True, True, False])
    found = window_return(excess, selected, judged, Resamples.draw(range(6), seed=0), cost_bps=10)
    assert (found.n, found.missing, found.n_rest) == (2, 1, 2)
    assert found.selected.value == pytest.approx(0.03)
    assert found.net.value == pytest.approx(0.028)
    assert found.rest.value == pytest.approx(0)
    assert found.edge.value == pytest.approx(0.03)


def moments(days):
    return pd.Series(pd.Timestamp("2016-01-04 21:00", tz="UTC") + pd.to_timedelta(days, unit="D"))


def test_the_limit_is_the_90th_percentile_of_the_year_before():
    days = np.arange(800)
    score = np.random.default_rng(0).random(800)
    found = limits(moments(days), moments(days), score[:, None])[:, 0]
    assert np.isnan(found[:50]).all()
    assert found[50] == pytest.approx(np.quantile(score[:50], 0.9))
    assert found[799] == pytest.approx(np.quantile(score[799 - 365 : 799], 0.9))


def test_forecasts_of_the_same_moment_do_not_judge_each_other():
    days = np.r_[np.arange(50), [60, 60]]
    score = np.r_[np.linspace(0, 1, 50), [5.0, 6.0]]
    found = limits(moments(days), moments(days), score[:, None])[-2:, 0]
    assert_allclose(found, np.quantile(score[:50], 0.9))


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 30)), min_size=60, max_size=300), st.integers(0, 900))
@settings(max_examples=50, deadline=None)
def test_later_forecasts_change_nothing(rows, now):
    days, score = np.array(rows).T
    known = days <= now
    everything = limits(moments(days), moments(days), score[:, None] / 30)
    then = limits(moments(days[known]), moments(days[known]), score[known, None] / 30)
    assert_array_equal(everything[known], then)


def test_precision_of_the_top_decile_counts_known_outcomes_only():
    label = np.array([1, 0, np.nan, 1, 0, 0, 0, 1])
    selected = np.array([True, True, True, False, False, False, False, False])
    judged = np.array([True] * 7 + [False])
    found = top_decile(label, selected, judged, Resamples.draw(range(8), seed=0))
    assert (found.judged, found.not_judged, found.selected, found.labelled) == (7, 1, 3, 2)
    assert found.precision.value == pytest.approx(1 / 2)
    assert found.base_rate.value == pytest.approx(2 / 6)
    assert found.lift.value == pytest.approx(1.5)


def test_a_top_decile_that_cannot_be_told_is_undefined():
    nobody = np.zeros(12, dtype=bool)
    found = top_decile(np.zeros(12), nobody, nobody, Resamples.draw(range(12), seed=0))
    assert np.isnan(found.precision.value)
    assert found.precision.reason == "nothing could be judged"
