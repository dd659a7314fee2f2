"""Prices: quarter by quarter, so that memory does not grow with the length of the tape.

A company's daily log return is beta times the market's, plus its sector's, plus its own; the planted momentum drifts
in over the 20 sessions before `as_of`, and the news of an announcement gaps in at the reaction session. Prices are raw:
a split divides them from its session on, a dividend is taken off on its ex-date.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.synthetic.columns import Days, Floats, Ints, stream
from earlysignal_core.sources.synthetic.companies import SECTORS
from earlysignal_core.sources.synthetic.timeline import FORESIGHT, first_positions, session_days
from earlysignal_core.sources.synthetic.world import World
from earlysignal_core.trading_calendar import closes

MOMENTUM_SESSIONS, MOMENTUM_DRIFT = 20, 0.0025  # a standard deviation of momentum is 5 % over 20 sessions
REACTION = 0.035  # return of a standard deviation of news
BROKEN_BETA, BROKEN_VOLUME = 1.0, 2.2
FUND_VOLATILITY, FUND_VOLUME = 0.006, 1e8
SPLIT_ABOVE, MERGE_BELOW = 120.0, 6.0  # dollars


@dataclass(frozen=True)
class Panel:
    """The prices of one quarter: n companies, t sessions.

    Attributes
    ----------
    index : int
        Of the quarter, in `Timeline.priced` and in the columns of `Events` and `Signal`.
    begin : int
        Position in the trading calendar of the first session.
    broken : bool
        Whether the quarter belongs to the other regime.
    days, close_at : ndarray, shape (t,)
        The sessions, and the moments (nanoseconds, UTC) at which they close.
    open, high, low, close, volume : ndarray, shape (n + 12, t)
        Raw, the companies first, then the sector ETFs and the benchmark.
    volatility : ndarray, shape (n, t)
        Daily standard deviation of the company's own return.
    basis : ndarray, shape (n, t + 1)
        Shares today for each share of the tape's first day; column 0 holds what came before the first session.
    anchor : ndarray, shape (n, FORESIGHT + 1)
        Price per share of the first day that earnings of this quarter and the following hang on.
    split, dividend : ndarray, shape (n, t)
        New shares per old (1 where none), and dollars a share (0 where none).
    """

    index: int
    quarter: Quarter
    begin: int
    broken: bool
    days: Days
    close_at: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    volatility: Floats
    basis: Floats
    anchor: Floats
    split: Floats
    dividend: Floats

    def basis_on(self, positions: Ints) -> Floats:
        """Return each company's share basis on sessions of the quarter, given by position, shape (n, m)."""
        return np.take_along_axis(self.basis, positions - self.begin + 1, axis=1)


def panels(world: World) -> Iterator[Panel]:
    """Yield the prices of a world, a quarter at a time, oldest first."""
    n, quarters = world.spec.symbols, world.timeline.priced
    price = np.concatenate([world.companies.first_price, np.linspace(30, 80, len(SECTORS)), [1800.0]])
    basis = np.ones(n)
    anchors = [price[:n]] * (FORESIGHT + 1)
    bounds = first_positions([*quarters, quarters[-1] + 1])
    for index in range(len(quarters)):
        anchors = [*anchors[1:], price[:n]]
        panel, price = _panel(world, index, bounds[index : index + 2], price, basis, np.stack(anchors, axis=1))
        basis = panel.basis[:, -1]
        yield panel


def _panel(
    world: World, index: int, bounds: Ints, price: Floats, basis: Floats, anchor: Floats
) -> tuple[Panel, Floats]:
    """Return a quarter and the prices that it ends on, per share of the tape's first day, shape (n + 12,)."""
    random = stream(world.spec.seed, "market", index)
    sessions, n = np.arange(*bounds), len(basis)
    stress = world.factors.stress[sessions - world.factors.begin]
    broken = bool(world.factors.broken[bounds[0] - world.factors.begin])

    split = _splits(random, price[:n] / basis, len(sessions))
    shares = basis[:, None] * np.cumprod(split, axis=1)
    dividend = _dividends(world, anchor[:, 0], len(sessions))
    volatility = world.companies.volatility[:, None] * stress
    returns, gap = _returns(world, random, index, sessions, broken, volatility)
    path = price[:, None] * np.exp(np.cumsum(returns, axis=1))
    paid = np.log1p(-dividend / path[:n])
    path[:n] *= np.exp(np.cumsum(paid, axis=1))

    before = np.concatenate([price[:, None], path[:, :-1]], axis=1)
    before[:n] *= np.exp(paid)
    spread = _with_funds(volatility, FUND_VOLATILITY * stress)
    opening = before * np.exp(gap + 0.3 * spread * random.standard_normal(path.shape))
    above, below = np.exp(0.4 * spread * np.abs(random.standard_normal((2, *path.shape))))
    bars = (opening, np.maximum(opening, path) * above, np.minimum(opening, path) / below, path)
    divisor = _with_funds(shares, np.ones(len(sessions)))
    raw = [np.maximum(np.round(prices / divisor, 2), 0.01) for prices in bars]
    panel = Panel(
        index=index,
        quarter=world.timeline.priced[index],
        begin=int(bounds[0]),
        broken=broken,
        days=session_days(sessions),
        close_at=closes()[sessions].as_unit("ns").asi8,
        open=raw[0],
        high=raw[1],
        low=raw[2],
        close=raw[3],
        volume=_volume(world, random, shares, np.abs(returns) / spread, broken),
        volatility=volatility,
        basis=np.concatenate([basis[:, None], shares], axis=1),
        anchor=anchor,
        split=split,
        dividend=np.round(dividend / shares, 4),
    )
    return panel, path[:, -1]


def _returns(
    world: World, random: np.random.Generator, index: int, sessions: Ints, broken: bool, volatility: Floats
) -> tuple[Floats, Floats]:
    """Return daily log returns and the part of them that comes overnight, each of shape (n + 12, t)."""
    companies, events, signal = world.companies, world.events, world.signal
    market = world.factors.market[sessions - world.factors.begin]
    sectors = world.factors.sectors[:, sessions - world.factors.begin]
    beta = companies.beta[:, None] + BROKEN_BETA * broken
    own = volatility * random.standard_normal(volatility.shape) - 0.5 * volatility**2
    returns = beta * market + sectors[companies.sector] + own
    for event in (index, index + 1):  # the momentum of early announcements begins in the quarter before
        last = events.as_of[:, event, None]
        building = (sessions <= last) & (sessions > last - MOMENTUM_SESSIONS)
        returns += building * (MOMENTUM_DRIFT * signal.momentum[:, event, None])
    gap = 0.3 * returns
    for event in range(max(index - 1, 0), index + 1):  # what comes after the last close is traded on in the next
        news = REACTION * (1 + broken) * signal.news[:, event, None]
        reaction = (sessions == events.reaction[:, event, None]) * news
        returns += reaction
        gap += 0.85 * reaction
    funds = np.concatenate([market + sectors, market[None]])
    return np.concatenate([returns, funds]), np.concatenate([gap, 0.3 * funds])


def _volume(world: World, random: np.random.Generator, shares: Floats, excitement: Floats, broken: bool) -> Floats:
    """Return shares traded, shape (n + 12, t): more on days of large returns, and in the other regime."""
    usual = np.full(excitement.shape, FUND_VOLUME)
    usual[: len(shares)] = (world.companies.shares * world.companies.turnover)[:, None] * shares
    noise = 0.2 * np.minimum(excitement, 6.0) + 0.25 * random.standard_normal(excitement.shape)
    volume: Floats = np.round(usual * np.exp(noise) * (BROKEN_VOLUME if broken else 1.0))
    return volume


def _dividends(world: World, anchor: Floats, t: int) -> Floats:
    """Return dividends per share of the tape's first day by session, shape (n, t)."""
    random = stream(world.spec.seed, "dividends")  # the same ex-date in every quarter
    on_ex_date = np.arange(t) == random.integers(10, 50, (len(anchor), 1))
    dividend: Floats = on_ex_date * (world.companies.dividend_yield * anchor / 4)[:, None]
    return dividend


def _splits(random: np.random.Generator, price: Floats, t: int) -> Floats:
    """Return new shares per old by session, shape (n, t): dear shares are split, cheap ones merged."""
    very_dear, dear, cheap = price > 4 * SPLIT_ABOVE, price > SPLIT_ABOVE, price < MERGE_BELOW
    happens = random.random(price.shape) < np.select([very_dear, dear, cheap], [0.8, 0.15, 0.5], 0.0)
    usual = random.choice([1.5, 2.0, 2.0, 3.0, 4.0], size=price.shape)
    ratio = np.select([very_dear, cheap], [10.0, 0.1], usual)
    session = random.integers(5, t - 5, price.shape)
    return np.where(happens[:, None] & (np.arange(t) == session[:, None]), ratio[:, None], 1.0)


def _with_funds(companies: Floats, funds: Floats) -> Floats:
    """Return rows of companies (n, t) with one more for each sector ETF and the benchmark, all alike (t,)."""
    return np.concatenate([companies, np.broadcast_to(funds, (len(SECTORS) + 1, len(funds)))])
