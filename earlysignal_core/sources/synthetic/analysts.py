"""Analysts' grades and price targets."""

import numpy as np
import pyarrow as pa

from earlysignal_core.sources.synthetic.columns import Floats, Ints, end_of_day, stream, table, text
from earlysignal_core.sources.synthetic.market import Panel
from earlysignal_core.sources.synthetic.world import World

FIRMS = tuple(f"{name} Research" for name in ("Alder", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Larch", "Maple"))
FIRMS += tuple(f"{name} Securities" for name in ("Amber", "Basalt", "Chalk", "Flint", "Granite", "Marble", "Slate"))
ACTIONS = ("upgrade", "downgrade", "maintain", "initiate")
GRADES = ("Buy", "Sell", "Hold")
RATINGS, TARGETS = 3.0, 4.0  # expected number for a company and quarter


def analyst_ratings(world: World, panel: Panel) -> pa.Table:
    """Return the grades of a quarter; in the other regime most changes are downgrades."""
    random = stream(world.spec.seed, "analyst_ratings", panel.index)
    owner, session, firm = _publications(random, world.spec.symbols, len(panel.days), RATINGS)
    odds = (0.06, 0.34, 0.50, 0.10) if panel.broken else (0.15, 0.15, 0.60, 0.10)
    action = random.choice(len(ACTIONS), size=len(owner), p=odds)
    grade = np.where(action < len(GRADES) - 1, action, random.integers(0, len(GRADES), len(owner)))
    return table(
        "analyst_ratings",
        {
            "symbol": text(owner, world.companies.symbol),
            "graded_on": panel.days[session],
            "firm": text(firm, FIRMS),
            "action": text(action, ACTIONS),
            "grade": text(grade, GRADES),
            "available_at": end_of_day(panel.days[session]),
        },
    )


def price_targets(world: World, panel: Panel) -> pa.Table:
    """Return the price targets of a quarter: a year's hope over the last close."""
    random = stream(world.spec.seed, "price_targets", panel.index)
    owner, session, firm = _publications(random, world.spec.symbols, len(panel.days), TARGETS)
    hope: Floats = np.exp((0.0 if panel.broken else 0.10) + 0.12 * random.standard_normal(len(owner)))
    return table(
        "price_targets",
        {
            "symbol": text(owner, world.companies.symbol),
            "published_on": panel.days[session],
            "firm": text(firm, FIRMS),
            "target": np.maximum(np.round(panel.close[owner, session] * hope, 2), 0.01),
            "available_at": end_of_day(panel.days[session]),
        },
    )


def _publications(random: np.random.Generator, n: int, sessions: int, expected: float) -> tuple[Ints, Ints, Ints]:
    """Return company, session and firm of each publication, no two alike, in ascending order."""
    owner = np.repeat(np.arange(n), random.poisson(expected, n))
    session = random.integers(0, sessions, len(owner))
    firm = random.integers(0, len(FIRMS), len(owner))
    distinct = np.unique((owner * sessions + session) * len(FIRMS) + firm)
    rest, firm = np.divmod(distinct, len(FIRMS))
    owner, session = np.divmod(rest, sessions)
    return owner, session, firm
