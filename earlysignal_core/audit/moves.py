"""Large moves of prices judged with hindsight: a false level shift, or a genuine move that stays.

What `level_shifts` sees at the session itself is joined by what stood around it and what followed: the market's own
move, announcements and recorded corporate actions, the volatility of the next month, a later return to the old level.
Each line of evidence is worth points, positive for a false shift; their sum decides, and their words are the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.audit.grid import BarGrid, Values
from earlysignal_core.audit.level_shifts import (
    LOOK_BACK,
    SMALLEST,
    Moves,
    at_split_ratio,
    calm_limit,
    large_moves,
    median,
    price_breaks,
    robust_scale,
    to_usual,
    without_jumps,
)

Flags = npt.NDArray[np.bool_]

_AFTER = 20
_LONG_HOLE, _BEYOND_DRIFT, _WORTH_GLUING, _ANOTHER_SIZE = 5, 2.0, 0.18, 3.0
_FEWEST_NEIGHBOURS = 30
_WILD_DAY = 1.5
_LEAST_JUMP = 3.5


@dataclass(frozen=True)
class _Evidence:
    """One line of evidence on all moves: its points, shape (k,), and its words for one move."""

    points: Values
    words: Callable[[int], str]


def judged_moves(
    grid: BarGrid, earnings: pd.DataFrame | None = None, corporate_actions: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Judge every move of at least a tenth (in logs) between neighbouring bars.

    Parameters
    ----------
    grid : BarGrid
        Bars on one basis as far as the tape declares.
    earnings, corporate_actions : DataFrame, optional
        The tables of those names.

    Returns
    -------
    DataFrame
        One row per move in order of symbol and date: symbol, date, move (fraction), points, false_shift (points > 0),
        seen_at_once (`price_breaks` flags it too), evidence (words and numbers).
    """
    others = {"open_": grid.open, "high": grid.high, "low": grid.low, "volume": grid.volume}
    moves = large_moves(grid.close, hindsight=True, **others)
    lines = [
        *_of_the_day(grid, moves),
        _return_to_old_level(grid, moves),
        *_over_a_hole(grid, moves),
        _impossible_bar(moves),
        _announcement(grid, moves, earnings),
        _recorded_action(grid, moves, corporate_actions),
    ]
    points = np.sum([line.points for line in lines], axis=0)
    return pd.DataFrame(
        {
            "symbol": grid.symbols[moves.symbol],
            "date": grid.sessions[moves.session],
            "move": np.expm1(moves.size),
            "points": points,
            "false_shift": points > 0,
            "seen_at_once": price_breaks(grid.close, **others)[moves.symbol, moves.session],
            "evidence": [
                "; ".join([_what(grid, moves, k), *(line.words(k) for line in lines if line.points[k])])
                for k in range(len(points))
            ],
        }
    )


def _what(grid: BarGrid, moves: Moves, k: int) -> str:
    close = grid.close[moves.symbol[k], moves.session[k]]
    return f"close {close / np.exp(moves.size[k]):.4g} → {close:.4g} ({np.expm1(moves.size[k]):+.1%})"


def _of_the_day(grid: BarGrid, moves: Moves) -> list[_Evidence]:
    """Weigh the move against volatility before and after, the market, and the activity of its day."""
    size, market = np.abs(moves.size), _market_gap(grid)[moves.session]
    wildness = _wildness(grid)[moves.session]
    scale = np.fmax(moves.scale, _scale_after(grid, moves)) * np.maximum(wildness / _WILD_DAY, 1)
    overnight = np.sign(moves.size) * (moves.gap - market)
    of_one_day = moves.hole < _LONG_HOLE
    unseen = np.isnan(moves.activity)
    jump = overnight / scale
    calm = np.log(np.where(jump >= _LEAST_JUMP, jump, 0.01) / (calm_limit(size) * np.minimum(moves.activity, 1e6)))
    quiet = (overnight >= 0.2) & (overnight >= 8 * moves.scale) & (moves.turnover < 2.5) & (wildness < 2)
    loud = np.log(size / (15 * scale))
    at_split = at_split_ratio(size, moves.scale)
    by_close = 2 * np.clip(loud, -2, 1) + np.where(at_split, 1.5, -1) + 1.0 * (size >= 0.8)
    by_close -= np.where(~at_split & (size < 0.4), 2.0, 0.0)
    return [
        _Evidence(np.where(np.isnan(moves.scale), -1.5, 0), lambda _: "little or no trading before"),
        _Evidence(
            np.where(unseen | ~of_one_day, 0, 2 * np.clip(np.nan_to_num(calm, nan=-0.5, neginf=-2), -2, 2)),
            lambda k: (
                f"{jump[k]:.1f} daily standard deviations overnight beyond the market's "
                f"{market[k]:+.1%}, on {moves.turnover[k]:.2g} × the usual volume and "
                f"{moves.day_range[k]:.2g} × the usual range"
            ),
        ),
        _Evidence(np.where(quiet & of_one_day, 2.5, 0), lambda _: "hardly anyone traded on so large a move"),
        _Evidence(
            np.where(unseen & of_one_day, np.nan_to_num(by_close, nan=-1), 0),
            lambda k: (
                f"no volume to judge by; {size[k] / scale[k]:.1f} daily standard deviations, "
                f"{'at' if at_split[k] else 'not at'} a simple split ratio"
            ),
        ),
    ]


def _return_to_old_level(grid: BarGrid, moves: Moves) -> _Evidence:
    """Look for an opposite move that restores the old level within `LOOK_BACK` sessions, before or after."""
    later = _window(_log_returns(grid), moves, 1, LOOK_BACK + 1)
    level = _window(np.log(grid.close), moves, 1, LOOK_BACK + 1)
    old_level = np.log(grid.close[moves.symbol, moves.session]) - moves.size
    opposite = (np.sign(later) == -np.sign(moves.size)[:, None]) & (np.abs(later) >= SMALLEST)
    near = np.abs(level - old_level[:, None]) <= 0.25 * np.abs(moves.size)[:, None]
    back = (opposite & near).any(axis=1)
    return _Evidence(
        np.where(back | moves.returned, 0.5, 0.0),
        lambda k: "an opposite jump restores the old level" if back[k] else "it undoes an opposite jump before it",
    )


def _over_a_hole(grid: BarGrid, moves: Moves) -> list[_Evidence]:
    """Weigh a move over a hole against what the price may have drifted meanwhile, and who trades after it."""
    size, over = np.abs(moves.size), moves.hole >= _LONG_HOLE
    drift = size / moves.calm_scale
    dollars = grid.volume * grid.close
    since = median(_window(dollars, moves, 0, _AFTER + 1))
    trade = to_usual(since, median(_window(dollars, moves, -LOOK_BACK, 0, before_hole=True)))
    another = np.maximum(trade, 1 / np.maximum(trade, 1e-9)) >= _ANOTHER_SIZE
    glued = np.where((drift >= _BEYOND_DRIFT) & (size >= _WORTH_GLUING), 2.0, -1.0)
    return [
        _Evidence(
            np.where(over, glued, 0),
            lambda k: f"after {moves.hole[k]} sessions without a bar, {drift[k]:.1f} times what such a time moves it",
        ),
        _Evidence(np.where(over & another, 1.5, 0), lambda k: f"{trade[k]:.2g} times the money changes hands since"),
    ]


def _impossible_bar(moves: Moves) -> _Evidence:
    return _Evidence(
        np.where(moves.impossible, 4.0, 0.0), lambda _: "the bar mixes two levels: open or close outside its range"
    )


def _announcement(grid: BarGrid, moves: Moves, earnings: pd.DataFrame | None) -> _Evidence:
    """Find the moves that are the first reaction to an announcement."""
    reacts = np.zeros(grid.close.shape, dtype=bool)
    if earnings is not None:
        rows, columns = grid.locate(earnings["symbol"], earnings["announced_on"])
        for delay, session in ((0, "amc"), (1, "bmo")):
            inside = (rows >= 0) & (columns >= 0) & (columns + delay < len(grid.sessions))
            inside &= earnings["session"].ne(session).to_numpy(dtype=bool, na_value=True)
            reacts[rows[inside], (columns + delay)[inside]] = True
    return _Evidence(
        np.where(reacts[moves.symbol, moves.session], -1.0, 0.0), lambda _: "earnings had just been announced"
    )


def _recorded_action(grid: BarGrid, moves: Moves, corporate_actions: pd.DataFrame | None) -> _Evidence:
    """Find the moves that a split or dividend recorded for their session explains."""
    expected = {kind: np.full(grid.close.shape, np.nan) for kind in ("split", "dividend")}
    if corporate_actions is not None:
        rows, columns = grid.locate(corporate_actions["symbol"], corporate_actions["session"])
        inside = (rows >= 0) & (columns >= 0)
        for kind, values in expected.items():
            those = inside & (corporate_actions["kind"] == kind).to_numpy()
            values[rows[those], columns[those]] = corporate_actions["value"].to_numpy()[those]
    at = (moves.symbol, moves.session)
    previous = grid.close[at] / np.exp(moves.size)
    split, dividend = expected["split"][at], expected["dividend"][at]
    shares = -np.log(split)
    paid = np.log1p(-np.minimum(dividend / previous, 0.99))
    tolerance = np.fmax(0.03, 3 * np.nan_to_num(moves.scale))
    by_split, by_dividend = (
        np.minimum(np.abs(moves.size - expected_move), np.abs(moves.gap - expected_move)) <= tolerance
        for expected_move in (shares, np.where(np.abs(paid) >= SMALLEST / 2, paid, np.nan))
    )
    return _Evidence(
        np.where(by_split | by_dividend, 6.0, 0.0),
        lambda k: (
            f"a split of {split[k]:g} is recorded that day"
            if by_split[k]
            else f"a dividend of {dividend[k]:g} is recorded that day"
        ),
    )


def _log_returns(grid: BarGrid) -> Values:
    """Log moves between sessions that follow each other; NaN beside a hole."""
    close = np.log(grid.close)
    return np.diff(close, axis=1, prepend=np.nan)


def _window(values: Values, moves: Moves, first: int, beyond: int, *, before_hole: bool = False) -> Values:
    """Return the values of sessions `first` to `beyond - 1` counted from each move; NaN outside the grid.

    With `before_hole` they are counted from the session after the last bar before.
    """
    start = moves.session - moves.hole if before_hole else moves.session
    columns = start[:, None] + np.arange(first, beyond)
    inside = (columns >= 0) & (columns < values.shape[1])
    return np.where(inside, values[moves.symbol[:, None], np.clip(columns, 0, values.shape[1] - 1)], np.nan)


def _scale_after(grid: BarGrid, moves: Moves) -> Values:
    """Daily volatility of the month after each move, beyond the market's and with further jumps left out."""
    returns = _log_returns(grid)
    enough = np.sum(~np.isnan(returns), axis=0) >= _FEWEST_NEIGHBOURS
    beyond_market = returns - np.where(enough, median(returns.T), 0.0)
    return robust_scale(without_jumps(_window(beyond_market, moves, 1, _AFTER + 1), moves.calm_scale))


def _market_gap(grid: BarGrid) -> Values:
    """Median overnight log move of all symbols, shape (m,); 0 where too few have both prices."""
    close = np.log(grid.close)
    gap = np.log(np.where(np.isnan(grid.open), grid.close, grid.open))[:, 1:] - close[:, :-1]
    enough = np.sum(~np.isnan(gap), axis=0) >= _FEWEST_NEIGHBOURS
    return np.concatenate([[0.0], np.where(enough, median(gap.T), 0.0)])


def _wildness(grid: BarGrid) -> Values:
    """Spread of a session's moves over all symbols, over its median of the 60 sessions before, shape (m,)."""
    returns = _log_returns(grid).T
    spread = 1.4826 * median(np.abs(returns - median(returns)[:, None]))
    spread[np.sum(~np.isnan(returns), axis=1) < _FEWEST_NEIGHBOURS] = np.nan
    usual = pd.Series(spread).shift(1).rolling(LOOK_BACK, min_periods=5).median().to_numpy()
    return np.asarray(np.nan_to_num(spread / usual, nan=1.0))
