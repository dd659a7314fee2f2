"""What the top 10 % would have earned: per event, and as a portfolio held day by day. Net of a stated cost."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.evaluation.resampling import (
    Figure,
    FloatArray,
    IntArray,
    Number,
    Record,
    Resamples,
    stationary_blocks,
    undefined,
    wider,
    with_interval,
)
from earlysignal_core.trading_calendar import position, sessions

SESSIONS_A_YEAR = 252
# About one holding period, so that a block keeps the days that one position links.
BLOCK = 5
WINDOWS = ("7d", "reaction")
_BASIS_POINT = 1e-4
# Daily returns that differ by less do so by rounding; a ratio to that would be huge and mean nothing.
_FLOAT_NOISE = 1e-12


class WindowReturn(Record):
    """Mean excess return over the benchmark per event, in one window (fractions).

    Attributes
    ----------
    n, missing : int
        Selected events with a return, and without one (a missing price, or a false level shift).
    n_rest : int
        Judged events that were not selected and have a return.
    selected, net, rest, edge : Figure
        Of the selected; the same net of a cost on both sides; of the rest; selected less rest.
    """

    n: int
    missing: int
    n_rest: int
    selected: Figure
    net: Figure
    rest: Figure
    edge: Figure


class Portfolio(Record):
    """A portfolio of every open reaction window at equal weight, measured daily against the benchmark.

    Attributes
    ----------
    events, sessions, invested : int
        Positions taken, sessions from the first entry to the last exit, and those with at least one position.
    mean_positions : float
        Per invested session.
    cost_bps : float
        Cost of each trade (in and out), in basis points.
    figures : dict of Figure
        annual_excess, sharpe, information_ratio, beta, max_drawdown (see `glossary.RETURNS`).
    dates, cumulative : list
        Sessions, and the compounded excess return so far (fraction).
    """

    events: int
    sessions: int
    invested: int
    mean_positions: Number
    cost_bps: float
    figures: dict[str, Figure]
    dates: list[str]
    cumulative: list[float]


def window_return(
    excess: FloatArray,
    selected: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    resamples: Resamples,
    *,
    cost_bps: float,
) -> WindowReturn:
    """Return what the selected events earned over the benchmark in one window, beside the rest of the judged ones.

    Parameters
    ----------
    excess : ndarray, shape (n,)
        Return less the benchmark's, NaN where there is none.
    selected, judged : ndarray of bool, shape (n,)
    resamples : Resamples
        Of the companies of the same rows.
    cost_bps : float
        Per side; a window has two.
    """
    priced = ~np.isnan(excess)
    taken, left = selected & priced, judged & ~selected & priced
    value = np.where(priced, excess, 0.0)
    columns = np.column_stack([value * taken, taken, value * left, left]).astype(np.float64)

    def means(sums: FloatArray) -> FloatArray:
        of_both = np.full((len(sums), 2), np.nan)
        np.divide(sums[:, ::2], sums[:, 1::2], out=of_both, where=sums[:, 1::2] > 0)
        selected_mean, rest_mean = of_both.T
        return np.column_stack([of_both, selected_mean - 2 * cost_bps * _BASIS_POINT, selected_mean - rest_mean])

    values, draws = means(columns.sum(axis=0, keepdims=True))[0], means(resamples.sums(columns))
    of_selected, rest, net, edge = (
        undefined("no event with a return")
        if np.isnan(value)
        else with_interval(float(value), draws[:, index], resamples.companies)
        for index, value in enumerate(values)
    )
    return WindowReturn(
        n=int(taken.sum()),
        missing=int((selected & ~priced).sum()),
        n_rest=int(left.sum()),
        selected=of_selected,
        net=net,
        rest=rest,
        edge=edge,
    )


def calendar_time_portfolio(
    positions: pd.DataFrame, companies: pd.Series, *, cost_bps: float, seed: int = 0
) -> Portfolio:
    """Return how a portfolio of chosen events did, day by day.

    Parameters
    ----------
    positions : DataFrame
        From `outcomes.outcome_returns`; unchosen events are left out.
    companies : Series of str
        The company of each chosen event; the index holds the events.
    cost_bps : float
        Per side, charged to the position on its first and last session.
    seed : int
        Of the intervals.

    Notes
    -----
    An interval is the wider of two. Resampled companies know that one company's returns resemble each other, and miss
    what moves all positions of a day together; days resampled in blocks (mean length five sessions) know that, and
    miss the companies.

    Calendar-time portfolios: Fama, "Market efficiency, long-term returns, and behavioral finance", Journal of
    Financial Economics 49 (1998). Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994).
    """
    held = _held(positions, companies, cost_bps)
    series, length = held.series, held.length
    values = _figures(series[:, None, :])
    by_days = _figures(series[:, stationary_blocks(length, seed=seed, block=BLOCK)])
    drawn = Resamples.draw(held.company, seed=seed)
    by_companies = _figures(_of_companies(drawn, held.day, length, held.net, held.market))
    own, market, _ = series
    invested = held.number[held.number > 0]
    return Portfolio(
        events=len(np.unique(held.event)),
        sessions=length,
        invested=len(invested),
        mean_positions=float(invested.mean()) if len(invested) else float("nan"),
        cost_bps=cost_bps,
        figures={
            name: undefined("no position" if length == 0 else "too few days, or none differs from another")
            if np.isnan(value[0])
            else wider(
                with_interval(float(value[0]), by_days[name], length // BLOCK, unit=f"blocks of {BLOCK} sessions"),
                with_interval(float(value[0]), by_companies[name], drawn.companies),
            )
            for name, value in values.items()
        },
        dates=sessions()[held.first : held.first + length].strftime("%Y-%m-%d").tolist(),
        cumulative=(np.cumprod(1 + own - market) - 1).round(6).tolist(),
    )


def portfolio_values(positions: pd.DataFrame, companies: pd.Series, *, cost_bps: float) -> dict[str, float]:
    """Return the figures of `calendar_time_portfolio` alone, without their intervals; NaN where undefined."""
    series = _held(positions, companies, cost_bps).series
    return {name: float(value[0]) for name, value in _figures(series[:, None, :]).items()}


def sharpe_difference(
    positions: pd.DataFrame, mine: pd.Series, theirs: pd.Series, *, cost_bps: float, seed: int = 0
) -> tuple[float, float, Figure]:
    """Return the Sharpe ratios of two portfolios over the same sessions, and the first less the second.

    Parameters
    ----------
    positions : DataFrame
        From `outcomes.outcome_returns`; unchosen events are left out.
    mine, theirs : Series of str
        The company of each event that either portfolio chose; the index holds the events.
    cost_bps : float
        Per side.
    seed : int
        Of the intervals.

    Notes
    -----
    Both stretch from the first entry of either to the last exit. The interval is the wider of two in which both
    portfolios meet the same draws: of companies, and of blocks of sessions.
    """
    companies = pd.concat([mine, theirs])
    companies = companies[~companies.index.duplicated()]
    held = _held(positions, companies, cost_bps)
    if not held.length:
        return float("nan"), float("nan"), undefined("no position")
    length, drawn = held.length, Resamples.draw(held.company, seed=seed)
    blocks = stationary_blocks(length, seed=seed, block=BLOCK)
    values, by_days, by_companies = [], [], []
    for chosen in (mine, theirs):
        inside = companies.index.isin(chosen.index)[held.event]
        part = (held.day[inside], length, held.net[inside], held.market[inside])
        once = Resamples(drawn.company[inside], np.ones((1, drawn.counts.shape[1])))
        series = _of_companies(once, *part)
        values.append(float(_figures(series)["sharpe"][0]))
        by_days.append(_figures(series[:, 0][:, blocks])["sharpe"])
        by_companies.append(_figures(_of_companies(drawn.of(inside), *part))["sharpe"])
    difference = values[0] - values[1]
    return (
        values[0],
        values[1],
        undefined("a portfolio has too few days, or none differs from another")
        if np.isnan(difference)
        else wider(
            with_interval(difference, by_days[0] - by_days[1], length // BLOCK, unit=f"blocks of {BLOCK} sessions"),
            with_interval(difference, by_companies[0] - by_companies[1], drawn.companies),
        ),
    )


class _Held(NamedTuple):
    """The positions of chosen events in one order, since sums of floats depend on it.

    Of each position the place of its event among the chosen ones, the number of its company, its day (from 0 on, the
    session `first`), what it returned net and what the benchmark did; and for each of `length` sessions how many
    there were.
    """

    event: IntArray
    company: IntArray
    day: IntArray
    net: FloatArray
    market: FloatArray
    first: int
    length: int
    number: IntArray

    @property
    def series(self) -> FloatArray:
        """Return (3, sessions): the portfolio's own and the benchmark's return, and whether it is invested."""
        own, market = (
            np.bincount(self.day, weights=returns, minlength=self.length) / np.maximum(self.number, 1)
            for returns in (self.net, self.market)
        )
        return np.stack([own, market, self.number > 0])


def _held(positions: pd.DataFrame, companies: pd.Series, cost_bps: float) -> _Held:
    event = companies.index.get_indexer(pd.Index(positions["event"]))
    chosen = np.flatnonzero(event >= 0)
    in_order = np.empty(len(companies), dtype=np.int64)
    in_order[companies.index.argsort()] = np.arange(len(companies))
    session = positions["session"].to_numpy("datetime64[ns]")
    order = chosen[np.lexsort([in_order[event[chosen]], session[chosen]])]
    number, _ = pd.factorize(companies, sort=True)
    gross, sides, market = (positions[name].to_numpy()[order] for name in ("gross", "sides", "benchmark"))
    place = position(session[order])
    first = int(place[0]) if len(place) else 0
    length = int(place[-1]) - first + 1 if len(place) else 0
    return _Held(
        event=event[order],
        company=number[event[order]].astype(np.int64),
        day=place - first,
        net=gross - sides * cost_bps * _BASIS_POINT,
        market=market,
        first=first,
        length=length,
        number=np.bincount(place - first, minlength=length),
    )


def _of_companies(drawn: Resamples, day: IntArray, length: int, net: FloatArray, market: FloatArray) -> FloatArray:
    """Return (3, resamples, sessions) like the series of the portfolio itself, of resampled companies."""
    shape = (drawn.counts.shape[1], length)
    cell = drawn.company * length + day

    def of_days(weights: FloatArray) -> FloatArray:
        sums = np.bincount(cell, weights=weights, minlength=shape[0] * shape[1]).astype(np.float64)
        return drawn.weighted(sums.reshape(shape))

    number = of_days(np.ones(len(day)))
    own, benchmark = (of_days(returns) / np.maximum(number, 1) for returns in (net, market))
    return np.stack([own, benchmark, number > 0])


def _figures(series: FloatArray) -> dict[str, FloatArray]:
    """Return the figures, each (resamples,), of (3, resamples, sessions): own and the benchmark's return, invested."""
    own, market, invested = series
    excess = own - market
    days, positions = excess.shape[-1], invested.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = excess.sum(axis=-1) / days
        deviation = np.sqrt(((excess - mean[:, None]) ** 2).sum(axis=-1) / (days - 1))
        own_mean, market_mean = own.sum(axis=-1) / positions, market.sum(axis=-1) / positions
        own_moved = (own - own_mean[:, None]) * invested
        market_moved = (market - market_mean[:, None]) * invested
        beta = (own_moved * market_moved).sum(axis=-1) / (market_moved**2).sum(axis=-1)
        alpha = own_mean - beta * market_mean
        residual = np.sqrt(((own_moved - beta[:, None] * market_moved) ** 2).sum(axis=-1) / (positions - 2))
        level = np.cumprod(1 + excess, axis=-1)
        peak = np.maximum(np.maximum.accumulate(level, axis=-1), 1)
        year = np.sqrt(SESSIONS_A_YEAR)
        return {
            "annual_excess": mean * SESSIONS_A_YEAR,
            "sharpe": year * np.where(deviation > _FLOAT_NOISE, mean / deviation, np.nan),
            "information_ratio": year * np.where(residual > _FLOAT_NOISE, alpha / residual, np.nan),
            "beta": np.where(np.isfinite(beta), beta, np.nan),
            "max_drawdown": (level / peak - 1).min(axis=-1, initial=0) if days else np.full(len(level), np.nan),
        }
