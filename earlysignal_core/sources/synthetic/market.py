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
BROKEN_BETA, BROKEN_VOLUME = 0.8, 2.2
SPLIT_ABOVE, REVERSE_BELOW = 120.0, 6.0


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


class Market:
    """The prices of a world, generated a quarter at a time."""

    def __init__(self, world: World) -> None:
        self._seed, self._timeline, self._factors = world.spec.seed, world.timeline, world.factors
        self._companies, self._events, self._signal = world.companies, world.events, world.signal

    def panels(self) -> Iterator[Panel]:
        """Yield the quarters, oldest first."""
        companies, n = self._companies, len(self._companies.symbol)
        price = np.concatenate([companies.first_price, np.linspace(30, 80, len(SECTORS)), [1800.0]])
        basis = np.ones(n)
        anchors = [price[:n]] * (FORESIGHT + 1)
        bounds = first_positions([*self._timeline.priced, self._timeline.priced[-1] + 1])
        for index, quarter in enumerate(self._timeline.priced):
            anchors = [*anchors[1:], price[:n]]
            panel, price = self._panel(index, quarter, bounds[index : index + 2], price, basis, np.stack(anchors, 1))
            basis = panel.basis[:, -1]
            yield panel

    def _panel(
        self, index: int, quarter: Quarter, bounds: Ints, price: Floats, basis: Floats, anchor: Floats
    ) -> tuple[Panel, Floats]:
        """Return a quarter and the prices that it ends on, per share of the tape's first day, shape (n + 12,)."""
        random = stream(self._seed, "market", index)
        begin, t, n = int(bounds[0]), int(bounds[1] - bounds[0]), len(basis)
        factors = slice(begin - self._factors.begin, begin - self._factors.begin + t)
        stress, broken = self._factors.stress[factors], bool(self._factors.broken[factors][0])

        split = _splits(random, price[:n] / basis, t)
        shares = basis[:, None] * np.cumprod(split, axis=1)
        dividend = self._dividends(anchor[:, 0], t)
        volatility = self._companies.volatility[:, None] * stress
        returns, gap = self._returns(random, index, begin, broken, factors, volatility)
        path = price[:, None] * np.exp(np.cumsum(returns, axis=1))
        paid = np.log1p(-dividend / path[:n])
        path[:n] *= np.exp(np.cumsum(paid, axis=1))

        before = np.concatenate([price[:, None], path[:, :-1]], axis=1)
        before[:n] *= np.exp(paid)
        spread = np.concatenate([volatility, np.broadcast_to(0.006 * stress, (len(SECTORS) + 1, t))])
        opening = before * np.exp(gap + 0.3 * spread * random.standard_normal(path.shape))
        above, below = np.exp(0.4 * spread * np.abs(random.standard_normal((2, *path.shape))))
        adjusted = (opening, np.maximum(opening, path) * above, np.minimum(opening, path) / below, path)
        divisor = np.concatenate([shares, np.ones((len(SECTORS) + 1, t))])
        bars = [np.maximum(np.round(each / divisor, 2), 0.01) for each in adjusted]
        panel = Panel(
            index=index,
            quarter=quarter,
            begin=begin,
            broken=broken,
            days=session_days(np.arange(begin, begin + t)),
            close_at=closes()[begin : begin + t].as_unit("ns").asi8,
            open=bars[0],
            high=bars[1],
            low=bars[2],
            close=bars[3],
            volume=self._volume(random, shares, returns, spread, broken),
            volatility=volatility,
            basis=np.concatenate([basis[:, None], shares], axis=1),
            anchor=anchor,
            split=split,
            dividend=np.round(dividend / shares, 4),
        )
        return panel, path[:, -1]

    def _returns(
        self,
        random: np.random.Generator,
        index: int,
        begin: int,
        broken: bool,
        factors: slice,
        volatility: Floats,
    ) -> tuple[Floats, Floats]:
        """Return daily log returns and the part of them that comes overnight, each of shape (n + 12, t)."""
        market, sectors = self._factors.market[factors], self._factors.sectors[:, factors]
        companies = self._companies
        beta = companies.beta[:, None] + BROKEN_BETA * broken
        own = volatility * random.standard_normal(volatility.shape) - 0.5 * volatility**2
        returns = beta * market + sectors[companies.sector] + own
        column = np.arange(begin, begin + volatility.shape[1])
        for event in (index, index + 1):  # the momentum of early announcements begins in the quarter before
            last = self._events.as_of[:, event, None]
            building = (column <= last) & (column > last - MOMENTUM_SESSIONS)
            returns += building * (MOMENTUM_DRIFT * self._signal.momentum[:, event, None])
        gap = 0.3 * returns
        for event in (index - 1, index):  # and one after the last close is traded on in the next
            if event >= 0:
                news = REACTION * (1 + broken) * self._signal.news[:, event, None]
                reaction = (column == self._events.reaction[:, event, None]) * news
                returns += reaction
                gap += 0.85 * reaction
        funds = np.concatenate([market + sectors, market[None]])
        return np.concatenate([returns, funds]), np.concatenate([gap, 0.3 * funds])

    def _dividends(self, anchor: Floats, t: int) -> Floats:
        """Return dividends per share of the tape's first day by session, shape (n, t)."""
        random = stream(self._seed, "dividends")  # the same ex-date in every quarter
        session = random.integers(10, 50, len(anchor))
        on_ex_date = np.arange(t) == session[:, None]
        dividend: Floats = on_ex_date * (self._companies.dividend_yield * anchor / 4)[:, None]
        return dividend

    def _volume(
        self, random: np.random.Generator, shares: Floats, returns: Floats, spread: Floats, broken: bool
    ) -> Floats:
        """Return shares traded, shape (n + 12, t): more on days of large returns, and in the other regime."""
        usual = np.concatenate(
            [
                (self._companies.shares * self._companies.turnover)[:, None] * shares,
                np.full((len(SECTORS), shares.shape[1]), 1e7),
                np.full((1, shares.shape[1]), 3e9),
            ]
        )
        excitement = np.minimum(np.abs(returns) / spread, 6.0)
        noise = 0.2 * excitement + 0.25 * random.standard_normal(returns.shape)
        volume: Floats = np.round(usual * np.exp(noise) * (BROKEN_VOLUME if broken else 1.0))
        return volume


def _splits(random: np.random.Generator, price: Floats, t: int) -> Floats:
    """Return new shares per old by session, shape (n, t): dear shares are split, cheap ones merged."""
    chance, draw = random.random(price.shape), random.random(price.shape)
    session = random.integers(5, t - 5, price.shape)
    dear = (price > SPLIT_ABOVE) & (chance < np.where(price > 4 * SPLIT_ABOVE, 0.8, 0.15))
    cheap = (price < REVERSE_BELOW) & (chance < 0.5)
    larger = np.where(price > 4 * SPLIT_ABOVE, 10.0, 4.0)
    ratio = np.select([dear & (draw < 0.5), dear, cheap], [2.0, larger, 0.1], 1.0)
    ratio = np.where(dear & (draw > 0.85), 1.5, ratio)
    return np.where(np.arange(t) == session[:, None], ratio[:, None], 1.0)
