"""False level shifts of a price series, seen at the session itself: the causal half of the detector.

A split, spin-off or another company under the same ticker moves the price overnight and leaves the day's trading as it
was; news moves both. So a move is judged by its size in the series' own volatility, per unit of the day's activity
(dollar volume and range against their own past). Where volume is missing only size and simple split ratios are left.
`moves` adds the hindsight that an audit may use and a feature may not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LOOK_BACK = 60
"""Sessions before its own that a flag depends on."""

SMALLEST = 0.10
"""Log moves below this are not judged: an unseen shift of a few percent is within a week's ordinary trading."""

_RECENT, _SETTLED, _WILD = 10, 5, 8.0
_FEWEST_RETURNS = 10
_SCALE_FLOOR = 0.005
_CALM_JUMP, _CALM_JUMP_LARGE, _LARGE = 3.0, 2.0, 0.25
_JUMP = 4.0
_ABSENCE = 20
_LONG_HOLE, _JUMP_OVER_HOLE, _MOVE_OVER_HOLE = 5, 4.0, 0.2
_JUMP_WITHOUT_VOLUME, _BEYOND_NEWS, _RETURN_WITHOUT_VOLUME = 10.0, 0.8, 0.35
_UNSEEN_RANGE, _QUIET_RANGE = 4.0, 3.0
_SPLITS = np.log([2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50])
_THREE_FOR_TWO = float(np.log(1.5))


@dataclass(frozen=True)
class Moves:
    """Large moves between neighbouring bars, each with what its own past says of it; all arrays have shape (k,).

    Attributes
    ----------
    symbol, session : ndarray of int64
        Where in the grid; the move ends at this session.
    size, gap : ndarray
        Log move from the last close to the close, and to the open (to the close where there is no open).
    hole : ndarray of int64
        Sessions without a bar in between.
    scale : ndarray
        Daily volatility: 1.4826 × median |log return| of the look-back or of its last ten sessions, whichever is
        larger, times √(1 + hole). NaN with fewer than ten returns, or where most of them are zero: a series that
        mostly stands still has no volatility to measure by.
    calm_scale : ndarray
        The same of the whole look-back only, which a series that has just flipped does not inflate.
    turnover : ndarray
        Dollars traded over their median in the look-back, or since its last jump, whichever is less. NaN where there
        is no volume.
    day_range : ndarray
        ln(high / low) over its median; NaN where there is none, infinite where bars are usually mere points, so that
        nothing passes for calm in a series that hardly trades.
    impossible : ndarray of bool
        Open or close lie more than a tenth outside the day's range: the bar mixes two bases.
    returned : ndarray of bool
        The close is back where it was before an opposite large move of the look-back.
    """

    symbol: npt.NDArray[np.int64]
    session: npt.NDArray[np.int64]
    size: Grid
    gap: Grid
    hole: npt.NDArray[np.int64]
    scale: Grid
    calm_scale: Grid
    turnover: Grid
    day_range: Grid
    impossible: Flags
    returned: Flags

    @property
    def jump(self) -> Grid:
        """The overnight move, in the direction of the whole, in daily standard deviations."""
        return np.sign(self.size) * self.gap / self.scale

    @property
    def activity(self) -> Grid:
        """How much busier the day was than usual: turnover × √range. NaN where there is no volume."""
        seen = np.where(np.isnan(self.day_range), _UNSEEN_RANGE, self.day_range)
        return np.maximum(self.turnover, 0.5) * np.sqrt(np.maximum(seen, 0.5))


def price_breaks(
    close: Grid,
    *,
    open_: Grid | None = None,
    high: Grid | None = None,
    low: Grid | None = None,
    volume: Grid | None = None,
) -> Flags:
    """Flag the sessions at which a price series changes its basis, so that windows can be cut there.

    Parameters
    ----------
    close, open_, high, low, volume : ndarray of float64, shape (n symbols, m sessions)
        Prices in dollars on one basis as far as known, volume in shares; NaN = no bar or no value. Only the close is
        needed, but without volume only large shifts at split ratios, and very large ones, are seen.

    Returns
    -------
    ndarray of bool, shape (n, m)
        True at a session whose close is not comparable with the closes before it. A bar without any other in the
        twenty sessions before it is a break too: the first of a series, or whoever came back under its ticker.

    Notes
    -----
    The flag at session s depends on sessions s - 60 .. s of the same row and on nothing else. The first 60 columns
    have less than that, so load `LOOK_BACK` sessions more than the longest window that is to be cut.
    """
    breaks = _starts(close)
    found = large_moves(close, open_=open_, high=high, low=low, volume=volume)
    false = is_level_shift(found)
    breaks[found.symbol[false], found.session[false]] = True
    return breaks


def large_moves(
    close: Grid,
    *,
    open_: Grid | None = None,
    high: Grid | None = None,
    low: Grid | None = None,
    volume: Grid | None = None,
    hindsight: bool = False,
) -> Moves:
    """Find every move of at least `SMALLEST` between a bar and the one before it, and measure it by its past.

    Parameters as for `price_breaks`. That past is the 60 sessions before the move's own, and no bar before them counts;
    with hindsight it is the 60 sessions before a hole, and holes may be of any length.
    """
    n, m = close.shape
    missing = np.full((n, m), np.nan)
    high, low = (missing if high is None else high), (missing if low is None else low)
    opening = close if open_ is None else np.where(np.isnan(open_), close, open_)
    volume = missing if volume is None else volume

    before = _previous_bar(close, close.shape[1] if hindsight else LOOK_BACK)
    previous = np.where(before >= 0, np.take_along_axis(close, np.maximum(before, 0), axis=1), np.nan)
    returns = np.log(close / previous)
    spread = np.log(high / low)
    symbol, session = np.nonzero(np.abs(returns) >= SMALLEST)
    at = (symbol, session)

    columns = (before[at] + 1 if hindsight else session)[:, None] + np.arange(-LOOK_BACK, 0)
    rows = np.broadcast_to(symbol[:, None], columns.shape)

    def past(grid: Grid) -> Grid:
        return np.where(columns >= 0, grid[rows, np.maximum(columns, 0)], np.nan)

    # A return counts only where the bar that it starts from is in the look-back too.
    whole = past(before.astype(np.float64)) >= columns[:, :1]
    recent_returns = np.where(whole, past(returns), np.nan)
    hole = session - before[at] - 1
    bars, moved = np.sum(~np.isnan(recent_returns), axis=1), np.sum(np.abs(recent_returns) > 0, axis=1)
    enough = (moved >= _FEWEST_RETURNS) & (2 * moved >= bars)
    calm_scale = np.where(enough, robust_scale(recent_returns) * np.sqrt(1 + hole), np.nan)
    lately = robust_scale(without_jumps(recent_returns[:, -_RECENT:], calm_scale)) * np.sqrt(1 + hole)
    dollars, usual_spread = past(volume * close), median(past(spread))
    # Whatever followed the last jump stands on the present level, even if that jump was a shift itself.
    settled = np.where(_since_last_jump(recent_returns, calm_scale), dollars, np.nan)
    usual_dollars = np.fmin(median(dollars), median(settled))
    return Moves(
        symbol=symbol,
        session=session,
        size=returns[at],
        gap=np.log(opening[at] / previous[at]),
        hole=hole,
        scale=np.fmax(calm_scale, np.where(enough, lately, np.nan)),
        calm_scale=calm_scale,
        turnover=to_usual((volume * close)[at], usual_dollars),
        day_range=np.where(usual_spread == 0, np.inf, to_usual(spread[at], usual_spread)),
        impossible=_outside(opening[at], high[at], low[at]) | _outside(close[at], high[at], low[at]),
        returned=_returned(
            np.log(close[at]), returns[at], recent_returns, np.where(whole, past(np.log(previous)), np.nan)
        ),
    )


def is_level_shift(moves: Moves) -> Flags:
    """Judge each move by what is known at its own session; True where it is a change of basis, not of value."""
    size = np.abs(moves.size)
    calm_jump = calm_limit(size)
    with_volume = ~np.isnan(moves.activity)
    calm = (moves.jump >= _JUMP) & (moves.jump >= calm_jump * moves.activity) & ((moves.hole == 0) | (size >= _LARGE))
    overnight = np.sign(moves.size) * moves.gap >= 0.7 * size
    expected = moves.calm_scale * np.maximum(_JUMP, calm_jump * moves.activity)
    quiet_return = moves.returned & overnight & (moves.day_range <= _QUIET_RANGE) & (size >= expected)
    over_hole = (moves.hole >= _LONG_HOLE) & (size >= np.maximum(_JUMP_OVER_HOLE * moves.calm_scale, _MOVE_OVER_HOLE))
    seen = np.where(with_volume, calm | quiet_return, _without_volume(moves))
    return np.asarray(seen | over_hole | moves.impossible)


def calm_limit(size: Grid) -> Grid:
    """Return the jump per unit of activity from which a move is taken for a false shift.

    Lower for large moves, of which news makes far fewer.
    """
    return np.where(size < _LARGE, _CALM_JUMP, _CALM_JUMP_LARGE)


def at_split_ratio(size: Grid, scale: Grid) -> Flags:
    """Say whether a log move is that of a simple split, give or take an ordinary day.

    3:2 lies where news still reaches, so less is given there.
    """
    from_multiple = np.min(np.abs(size[:, None] - _SPLITS), axis=1, initial=np.inf)
    return np.asarray((from_multiple <= np.minimum(3 * scale, 0.05)) | (np.abs(size - _THREE_FOR_TWO) <= 1.5 * scale))


def _without_volume(moves: Moves) -> Flags:
    """Judge by the close alone: a move out of all proportion that is a split's, or larger than any news."""
    size, scale = np.abs(moves.size), moves.scale
    back = moves.returned & (size >= _RETURN_WITHOUT_VOLUME)
    out_of_proportion = size >= _JUMP_WITHOUT_VOLUME * scale
    return np.asarray(out_of_proportion & (at_split_ratio(size, scale) | back | (size >= _BEYOND_NEWS)))


def _starts(close: Grid) -> Flags:
    """Return the bars that follow an absence, or nothing at all."""
    before = _previous_bar(close, LOOK_BACK)
    return np.asarray(~np.isnan(close) & ((before < 0) | (np.arange(close.shape[1]) - before > _ABSENCE)))


def _previous_bar(close: Grid, reach: int) -> npt.NDArray[np.int64]:
    """Return, for each cell, the column of the last bar before it; -1 where there is none within reach."""
    session = np.arange(close.shape[1])
    last = np.maximum.accumulate(np.where(np.isnan(close), -1, session), axis=1)
    before = np.full(close.shape, -1, dtype=np.int64)
    before[:, 1:] = last[:, :-1]
    return np.where(session - before > reach, -1, before)


def _returned(log_close: Grid, size: Grid, past_returns: Grid, past_previous: Grid) -> Flags:
    """Say whether the close is again what it was before an opposite large move of the look-back."""
    opposite = np.sign(past_returns) == -np.sign(size)[:, None]
    large = np.abs(past_returns) >= SMALLEST
    near = np.abs(log_close[:, None] - past_previous) <= 0.2 * np.abs(size)[:, None]
    return np.asarray((opposite & large & near).any(axis=1))


def _outside(price: Grid, high: Grid, low: Grid) -> Flags:
    return np.asarray((price > 1.1 * high) | (price < 0.9 * low))


def robust_scale(returns: Grid) -> Grid:
    """Robust standard deviation of daily returns, which single jumps do not move."""
    return np.maximum(1.4826 * median(np.abs(returns)), _SCALE_FLOOR)


def without_jumps(returns: Grid, scale: Grid) -> Grid:
    """Leave out the returns that are jumps themselves, so that a series that flips does not pass for a wild one."""
    return np.where(np.abs(returns) > _WILD * scale[:, None], np.nan, returns)


def _since_last_jump(returns: Grid, scale: Grid) -> Flags:
    """Return the sessions after the last jump, whose volumes are on the present basis; all where they are few."""
    jumped = np.abs(returns) > np.maximum(_WILD * scale, _LARGE)[:, None]
    since = np.flip(np.cumsum(np.flip(jumped, axis=1), axis=1), axis=1) == 0
    enough = np.sum(since & ~np.isnan(returns), axis=1) >= _SETTLED
    return np.asarray(since | ~enough[:, None])


def to_usual(value: Grid, usual: Grid) -> Grid:
    """Return value / usual, NaN where there is no usual: a series that mostly does not trade has no activity."""
    return np.asarray(np.divide(value, usual, out=np.full(value.shape, np.nan), where=usual > 0))


def median(values: Grid) -> Grid:
    """Return the median of each row's numbers; NaN for a row without any."""
    ordered = np.sort(values, axis=-1)  # NaN sorts last
    count = np.sum(~np.isnan(values), axis=-1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    return np.asarray(np.take_along_axis(ordered, np.minimum(middle, values.shape[-1] - 1), axis=-1).mean(axis=-1))
