"""False level shifts told from genuine moves: what is planted is found, what is genuine stays, nothing looks ahead."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_shifts import PLANTS, found, random_walks, rows_of, without_volume

from earlysignal_core.audit.level_shifts import LOOK_BACK, large_moves, price_breaks
from earlysignal_core.audit.moves import judged_moves

BARS = ("open", "high", "low", "close", "volume")

# What each detector must find, with bars and volume, and with the close alone; docs/audit.md has the figures measured.
FLOORS = {
    "split 2:1": (0.97, 0.88),
    "split 3:1": (0.97, 0.97),
    "split 7:1, prices only": (0.97, 0.97),
    "split 3:2": (0.95, 0.80),
    "reverse split 1:10": (0.97, 0.97),
    "reverse split 1:10, prices only": (0.95, 0.97),
    "spin-off -15%": (0.25, 0.0),
    "spin-off -30%": (0.95, 0.2),
    "spin-off -50%": (0.97, 0.88),
    "flip to ½ and back": (0.97, 0.95),
    "flip by +135 % and back": (0.97, 0.95),
    "flip by -30 % and back": (0.95, 0.2),
    "reuse after 10 sessions": (0.90, 0.90),
    "reuse after 25 sessions": (0.95, 0.95),
}


@pytest.fixture(scope="module")
def walks():
    return random_walks()


def breaks_of(grid, volume: bool = True):
    others = {"open_": grid.open, "high": grid.high, "low": grid.low, "volume": grid.volume} if volume else {}
    return price_breaks(grid.close, **others)


def some_bars(seed: int, symbols: int = 4, length: int = 200):
    """Short walks with shifts, holes and missing values thrown in."""
    random = np.random.default_rng(seed)
    grid = random_walks(symbols, length, seed)
    bars = {name: getattr(grid, name).copy() for name in BARS}
    for row in range(symbols):
        at = random.integers(1, length, 3)
        for name in BARS[:4]:
            bars[name][row, : at[0]] *= random.choice([0.1, 0.5, 0.8, 1, 2, 10])
            bars[name][row, at[1] : at[1] + random.integers(0, 90)] = np.nan
        bars["volume"][row, at[2] : at[2] + 40] = random.choice([0, np.nan, 5e6])
    bars["volume"][np.isnan(bars["close"])] = np.nan
    return bars


def others_of(bars):
    return {"open_": bars["open"], "high": bars["high"], "low": bars["low"], "volume": bars["volume"]}


def flags(bars):
    return price_breaks(bars["close"], **others_of(bars))


def measures(bars):
    return large_moves(bars["close"], **others_of(bars))


@pytest.mark.parametrize("kind", FLOORS)
def test_planted_shifts_are_found_and_little_else(walks, kind):
    random = np.random.default_rng(5)
    result = found(PLANTS[kind](walks, random))
    floor = FLOORS[kind][0]
    assert result.recall_at_once >= floor
    assert result.recall_hindsight >= floor
    precision = result.at_once / (result.at_once + result.elsewhere_at_once)
    assert precision >= 0.9


@pytest.mark.parametrize("kind", FLOORS)
def test_the_close_alone_shows_large_shifts(walks, kind):
    result = found(PLANTS[kind](without_volume(walks), np.random.default_rng(5)))
    floor = FLOORS[kind][1]
    assert result.recall_at_once >= floor
    assert result.recall_hindsight >= floor


@pytest.mark.parametrize("volume", [True, False])
def test_clean_series_with_news_stay_whole(walks, volume):
    grid = walks if volume else without_volume(walks)
    moves = judged_moves(grid)
    assert len(moves) > 400, "the walks hold enough large genuine moves to be wrong about"
    assert moves["false_shift"].mean() < 0.03
    assert moves["seen_at_once"].mean() < 0.03


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), session=st.integers(LOOK_BACK, 199))
def test_a_flag_depends_on_its_look_back_and_on_nothing_else(seed, session):
    bars = some_bars(seed)
    expected = flags(bars)[:, session]

    alone = {name: values[:, session - LOOK_BACK : session + 1] for name, values in bars.items()}
    np.testing.assert_array_equal(flags(alone)[:, -1], expected)

    other = np.random.default_rng(seed + 1)
    for outside in (slice(0, session - LOOK_BACK), slice(session + 1, None)):
        changed = {name: values.copy() for name, values in bars.items()}
        for values in changed.values():
            values[:, outside] = np.where(other.random(values[:, outside].shape) < 0.5, np.nan, 7.0)
        np.testing.assert_array_equal(flags(changed)[:, session], expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_measure_of_a_move_is_taken_from_its_look_back_to_the_last_bit(seed):
    bars = some_bars(seed)
    whole = measures(bars)
    moves = list(zip(whole.symbol, whole.session, strict=True))
    for k in range(0, len(moves), max(1, len(moves) // 12)):
        row, session = moves[k]
        first = max(session - LOOK_BACK, 0)
        alone = measures({name: values[row : row + 1, first : session + 1] for name, values in bars.items()})
        assert alone.session[-1] == session - first
        for field in fields(whole)[2:]:
            there, here = getattr(whole, field.name)[k], getattr(alone, field.name)[-1]
            np.testing.assert_array_equal(here, there, err_msg=field.name)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_series_alone_has_the_flags_it_has_among_others(seed):
    bars = some_bars(seed)
    together = flags(bars)
    for row in range(len(together)):
        alone = {name: values[row : row + 1] for name, values in bars.items()}
        np.testing.assert_array_equal(flags(alone)[0], together[row])


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 0), (3, 1)])
def test_empty_and_tiny_grids(shape):
    close = np.full(shape, 10.0)
    breaks = price_breaks(close)
    assert breaks.shape == shape
    assert breaks.sum() == (shape[0] if shape[1] else 0), "the first bar of a series is a break, the rest is not"


def test_whoever_returns_after_a_month_is_not_taken_for_the_same(walks):
    grid = rows_of(walks, np.arange(1))
    close = grid.close.copy()
    close[:, 100:119] = np.nan
    assert not price_breaks(close)[0, 119], "nineteen sessions away, the same price: the same company"
    close[:, 100:120] = np.nan
    assert price_breaks(close)[0, 120]


def test_a_series_that_hardly_trades_is_not_judged_by_its_ticks():
    """A price of a tenth of a cent moves by a third when it moves, and a thinly traded one has no volatility."""
    close = np.full((1, 200), 0.003)
    close[:, 150:] = 0.004
    volume = np.zeros((1, 200))
    volume[:, 150] = 3000
    assert not price_breaks(close, volume=volume)[0, 1:].any()
    assert not price_breaks(close)[0, 1:].any()


def test_cheap_and_wild_closes_raise_few_flags():
    """Daily volatility of six percent around one dollar, rounded to the cent, and no volume."""
    random = np.random.default_rng(2)
    close = np.round(np.exp(np.cumsum(0.06 * random.standard_t(5, (60, 500)) - 0.002, axis=1)), 2) + 0.01
    assert price_breaks(close)[:, 1:].sum() <= 2


def test_an_unadjusted_split_is_judged_by_its_ratio_not_by_its_direction(walks):
    """The mirrored series must be flagged where the series is."""
    planted = PLANTS["split 3:1"](walks, np.random.default_rng(1))
    mirrored = PLANTS["split 3:1"](without_volume(walks), np.random.default_rng(1))
    upside_down = price_breaks(1 / mirrored.grid.close)
    rows = np.arange(len(planted.at))
    assert price_breaks(mirrored.grid.close)[rows, planted.at[:, 0]].mean() > 0.95
    assert upside_down[rows, planted.at[:, 0]].mean() > 0.95


def test_a_crash_that_is_traded_is_no_shift(walks):
    """The same overnight fall by half: quiet it is a shift, at twenty times the volume and eight the range a crash."""
    planted = PLANTS["spin-off -50%"](walks, np.random.default_rng(8))
    rows, at = np.arange(len(planted.at)), planted.at[:, 0]
    grid = planted.grid
    quiet = breaks_of(grid)[rows, at].mean()
    volume, high, low = grid.volume.copy(), grid.high.copy(), grid.low.copy()
    volume[rows, at] *= 20
    spread = np.log(high[rows, at] / low[rows, at])
    high[rows, at] *= np.exp(3.5 * spread)
    low[rows, at] *= np.exp(-3.5 * spread)
    loud = price_breaks(grid.close, open_=grid.open, high=high, low=low, volume=volume)[rows, at].mean()
    assert quiet > 0.95
    assert loud < 0.1
