"""The companies, and the tables by session: bars, splits and dividends, options."""

import numpy as np
import pyarrow as pa

from earlysignal_core.sources.synthetic.columns import Floats, stream, table, text
from earlysignal_core.sources.synthetic.companies import BENCHMARK, SECTORS
from earlysignal_core.sources.synthetic.events import Events
from earlysignal_core.sources.synthetic.market import Panel
from earlysignal_core.sources.synthetic.world import World

CONTRACTS = 0.0008  # contracts traded for each share traded
PUT_CALL, BROKEN_PUT_CALL = 0.7, 1.2
EVENT_PREMIUM, EVENT_DECAY = 0.35, 12.0  # log implied volatility just before an announcement; sessions


def universe(world: World) -> pa.Table:
    """Return the companies, each priced from the tape's first session to its last."""
    companies = world.companies
    first, last = world.timeline.price_days
    return table(
        "universe",
        {
            "symbol": pa.array(companies.symbol),
            "name": pa.array([f"Synthetic {symbol} Inc." for symbol in companies.symbol]),
            "sector": text(companies.sector, list(SECTORS)),
            "sector_etf": text(companies.sector, list(SECTORS.values())),
            "first": np.repeat(first, len(companies.symbol)),
            "last": np.repeat(last, len(companies.symbol)),
        },
    )


def ohlcv(world: World, panel: Panel) -> pa.Table:
    """Return the daily bars of a quarter: companies, sector ETFs and benchmark."""
    owner, session = np.indices(panel.close.shape).reshape(2, -1)
    return table(
        "ohlcv",
        {
            "symbol": text(owner, [*world.companies.symbol, *SECTORS.values(), BENCHMARK]),
            "session": panel.days[session],
            "open": panel.open.ravel(),
            "high": panel.high.ravel(),
            "low": panel.low.ravel(),
            "close": panel.close.ravel(),
            "volume": panel.volume.ravel(),
            "available_at": panel.close_at[session],
        },
    )


def corporate_actions(world: World, panel: Panel) -> pa.Table:
    """Return the splits and dividends of a quarter, known at the close of their first session on the new basis."""
    happens = np.stack([panel.dividend > 0, panel.split != 1], axis=-1)
    owner, session, kind = np.nonzero(happens)
    return table(
        "corporate_actions",
        {
            "symbol": text(owner, world.companies.symbol),
            "session": panel.days[session],
            "kind": text(kind, ["dividend", "split"]),
            "value": np.stack([panel.dividend, panel.split], axis=-1)[happens],
            "available_at": panel.close_at[session],
        },
    )


def options(world: World, panel: Panel) -> pa.Table:
    """Return the options traded in a quarter; implied volatility climbs towards an announcement, then collapses."""
    random = stream(world.spec.seed, "options", panel.index)
    shape = panel.volatility.shape
    ratio = (BROKEN_PUT_CALL if panel.broken else PUT_CALL) * np.exp(0.25 * random.standard_normal(shape))
    contracts = CONTRACTS * panel.volume[: shape[0]] * np.exp(0.2 * random.standard_normal(shape))
    premium = EVENT_PREMIUM * np.exp(-_sessions_to_event(world.events, panel) / EVENT_DECAY)
    implied = np.sqrt(252) * panel.volatility * np.exp(premium + 0.05 * random.standard_normal(shape))
    owner, session = np.indices(shape).reshape(2, -1)
    return table(
        "options",
        {
            "symbol": text(owner, world.companies.symbol),
            "session": panel.days[session],
            "put_volume": np.round(contracts * ratio / (1 + ratio)).ravel(),
            "call_volume": np.round(contracts / (1 + ratio)).ravel(),
            "iv_30d": np.round(implied, 4).ravel(),
            "available_at": panel.close_at[session],
        },
    )


def _sessions_to_event(events: Events, panel: Panel) -> Floats:
    """Return the sessions until the next reaction to an announcement, shape (n, t)."""
    today = panel.begin + np.arange(len(panel.days))
    this, following = (events.reaction[:, panel.index + step, None] - today for step in (0, 1))
    return np.where(this > 0, this, following).astype(np.float64)
