"""False level shifts planted in clean price series, to measure what the detectors find of each kind and size.

``python tests/planted_shifts.py TAPE`` prints the tables of `docs/audit.md` for a tape, given its folder.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from earlysignal_core.audit.grid import BarGrid, bar_grid
from earlysignal_core.audit.level_shifts import price_breaks
from earlysignal_core.audit.moves import judged_moves
from earlysignal_core.trading_calendar import sessions

PRICES = ("open", "high", "low", "close")
FIRST, MARGIN = 150, 70
"""Plants lie at least so many sessions from the first and the last."""


@dataclass(frozen=True)
class Planted:
    """A grid with one plant in each row: the sessions at which its level changes, shape (n, changes)."""

    grid: BarGrid
    at: np.ndarray


def scaled(grid: BarGrid, where: np.ndarray, factor: float, *, shares: bool = False) -> BarGrid:
    """Multiply prices where told; with `shares`, divide the volume likewise, as before a split."""
    prices = {name: np.where(where, getattr(grid, name) * factor, getattr(grid, name)) for name in PRICES}
    return replace(grid, **prices, volume=np.where(where, grid.volume / factor, grid.volume) if shares else grid.volume)


def split(grid: BarGrid, random: np.random.Generator, ratio: float, *, shares: bool = True) -> Planted:
    """Leave a split of `ratio` new shares per old unadjusted: what lies before is `ratio` times too high."""
    at = _sessions_of_plants(grid, random)
    return Planted(scaled(grid, _before(grid, at), ratio, shares=shares), at)


def spin_off(grid: BarGrid, random: np.random.Generator, drop: float) -> Planted:
    """Leave a spin-off unadjusted: the price falls by `drop`, on a day as busy as such days are."""
    at = _sessions_of_plants(grid, random)
    planted = scaled(grid, _before(grid, at), 1 / (1 - drop))
    rows = np.arange(len(at))[:, None]
    volume, high, low = planted.volume.copy(), planted.high.copy(), planted.low.copy()
    volume[rows, at] *= random.uniform(1, 3.5, at.shape)
    wider = (random.uniform(1, 3, at.shape) - 1) / 2
    spread = np.log(high[rows, at] / low[rows, at])
    high[rows, at] *= np.exp(wider * spread)
    low[rows, at] *= np.exp(-wider * spread)
    return Planted(replace(planted, volume=volume, high=high, low=low), at)


def flip(grid: BarGrid, random: np.random.Generator, factor: float) -> Planted:
    """Let the series stand on another level for one to fifteen sessions."""
    at = _sessions_of_plants(grid, random)
    back = at + random.integers(1, 16, at.shape)
    session = np.arange(grid.close.shape[1])
    return Planted(scaled(grid, (session >= at) & (session < back), factor), np.concatenate([at, back], axis=1))


def reuse(grid: BarGrid, random: np.random.Generator, hole: int) -> Planted:
    """Glue another company of the grid on, after so many sessions without a bar, at least a fifth dearer or cheaper."""
    at = _sessions_of_plants(grid, random)
    rows, session = np.arange(len(at)), np.arange(grid.close.shape[1])
    other = random.permutation(len(at))
    glued = {
        name: np.where(session < at - hole, values, np.where(session >= at, values[other], np.nan))
        for name in (*PRICES, "volume")
        for values in [getattr(grid, name)]
    }
    old, new = grid.close[rows, at[:, 0] - hole - 1], grid.close[rows[other], at[:, 0]]
    keep = np.abs(np.log(new / old)) >= np.log(1.2)
    kept = {name: values[keep] for name, values in glued.items()}
    return Planted(replace(grid, symbols=grid.symbols[keep], **kept), at[keep])


PLANTS: dict[str, Callable[[BarGrid, np.random.Generator], Planted]] = {
    "split 2:1": lambda grid, random: split(grid, random, 2),
    "split 3:1": lambda grid, random: split(grid, random, 3),
    "split 7:1, prices only": lambda grid, random: split(grid, random, 7, shares=False),
    "split 3:2": lambda grid, random: split(grid, random, 1.5),
    "reverse split 1:10": lambda grid, random: split(grid, random, 0.1),
    "reverse split 1:10, prices only": lambda grid, random: split(grid, random, 0.1, shares=False),
    **{f"spin-off -{drop:.0%}": lambda g, r, drop=drop: spin_off(g, r, drop) for drop in (0.12, 0.15, 0.2, 0.3, 0.5)},
    "flip to ½ and back": lambda grid, random: flip(grid, random, 0.5),
    "flip by +135 % and back": lambda grid, random: flip(grid, random, 2.35),
    "flip by -30 % and back": lambda grid, random: flip(grid, random, 0.7),
    "flip by -15 % and back": lambda grid, random: flip(grid, random, 0.85),
    **{f"reuse after {hole} sessions": lambda g, r, hole=hole: reuse(g, r, hole) for hole in (3, 10, 25, 120)},
}


@dataclass(frozen=True)
class Found:
    """How many planted shifts there were, how many each detector found, and how many it raised elsewhere."""

    planted: int
    at_once: int
    hindsight: int
    elsewhere_at_once: int
    elsewhere_hindsight: int

    @property
    def recall_at_once(self) -> float:
        return self.at_once / self.planted

    @property
    def recall_hindsight(self) -> float:
        return self.hindsight / self.planted


def found(planted: Planted) -> Found:
    """Run both detectors over a planted grid."""
    grid = planted.grid
    breaks = price_breaks(grid.close, open_=grid.open, high=grid.high, low=grid.low, volume=grid.volume)
    breaks[np.arange(len(breaks)), np.argmax(grid.traded, axis=1)] = False
    moves = judged_moves(grid)
    false = moves[moves["false_shift"]]
    shifts = np.zeros_like(breaks)
    shifts[grid.symbols.get_indexer(false["symbol"]), grid.sessions.get_indexer(false["date"])] = True
    truth = np.zeros_like(breaks)
    np.put_along_axis(truth, planted.at, True, axis=1)
    truth &= grid.traded
    return Found(
        int(truth.sum()),
        int((breaks & truth).sum()),
        int((shifts & truth).sum()),
        int((breaks & ~truth).sum()),
        int((shifts & ~truth).sum()),
    )


def without_volume(grid: BarGrid) -> BarGrid:
    """Keep the close only."""
    missing = np.full_like(grid.close, np.nan)
    return replace(grid, open=missing, high=missing, low=missing, volume=missing)


def rows_of(grid: BarGrid, keep: np.ndarray) -> BarGrid:
    """Keep some symbols."""
    columns = {name: getattr(grid, name)[keep] for name in (*PRICES, "volume")}
    return replace(grid, symbols=grid.symbols[keep], **columns)


def random_walks(symbols: int = 150, length: int = 420, seed: int = 3) -> BarGrid:
    """Invent clean bars: heavy-tailed returns, and news that gaps overnight and is traded on.

    On days of news volume and range answer the move as they do on real tapes: about z^0.8 and z^0.5 times the usual,
    with a scatter of a third, where z is the move in daily standard deviations.
    """
    random = np.random.default_rng(seed)
    shape = (symbols, length)
    scale = random.uniform(0.009, 0.025, (symbols, 1))
    night, day = (0.75 * scale * random.standard_t(5, shape) for _ in range(2))
    news = np.where(random.random(shape) < 0.006, random.gamma(3, 2, shape) + 3, 0)
    night += random.choice([-1, 1], shape) * news * scale
    heard = np.maximum(np.abs(night) / scale, 1)
    day *= heard**0.5
    close = random.uniform(8, 300, (symbols, 1)) * np.exp(np.cumsum(night + day, axis=1))
    opening = close * np.exp(-day)
    spread = 1.3 * scale * random.gamma(9, 1 / 9, shape) * heard**0.5
    high = np.maximum(opening, close) * np.exp(spread / 2)
    low = np.minimum(opening, close) * np.exp(-spread / 2)
    volume = random.lognormal(13, 1, (symbols, 1)) * random.lognormal(0, 0.33, shape)
    volume *= heard**0.8
    names = pd.Index([f"S{i:03}" for i in range(symbols)], dtype="str")
    return BarGrid(names, sessions()[5000 : 5000 + length], opening, high, low, close, volume)


def measured(grid: BarGrid, seed: int = 11) -> Iterator[tuple[str, Found]]:
    """Plant every kind in turn and measure."""
    for number, (kind, plant) in enumerate(PLANTS.items()):
        yield kind, found(plant(grid, np.random.default_rng([seed, number])))


def _sessions_of_plants(grid: BarGrid, random: np.random.Generator) -> np.ndarray:
    return random.integers(FIRST, grid.close.shape[1] - MARGIN, (len(grid.symbols), 1))


def _before(grid: BarGrid, at: np.ndarray) -> np.ndarray:
    return np.arange(grid.close.shape[1]) < at


def _main(tape: Path) -> None:
    grid = bar_grid(pd.read_parquet(tape / "ohlcv.parquet"))
    seen = price_breaks(grid.close, open_=grid.open, high=grid.high, low=grid.low, volume=grid.volume).sum(axis=1)
    whole = grid.traded.sum(axis=1) > 0.95 * grid.close.shape[1]
    kinds = {
        "open, high, low, close and volume": (grid, whole & (np.nanmedian(np.nan_to_num(grid.volume), axis=1) > 0)),
        "close only": (without_volume(grid), whole),
    }
    for name, (bars, keep) in kinds.items():
        clean = rows_of(bars, keep & (seen == 1))
        sys.stdout.write(f"{name}: {len(clean.symbols)} clean series\n")
        for kind, result in measured(clean):
            sys.stdout.write(
                f"| {kind} | {result.planted} | {result.recall_at_once:.3f} | {result.recall_hindsight:.3f} | "
                f"{result.elsewhere_at_once} | {result.elsewhere_hindsight} |\n"
            )


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
