"""What companies earn, what analysts expect, when results are due and what they are.

Every per-share figure is on the share basis of its own day: that of the announcement, the snapshot, the period's end.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from earlysignal_core.sources.synthetic.columns import Floats, Ints, end_of_day, later, new_york, stream, table, text
from earlysignal_core.sources.synthetic.events import fiscal_periods
from earlysignal_core.sources.synthetic.market import Panel
from earlysignal_core.sources.synthetic.timeline import FORESIGHT, session_days
from earlysignal_core.sources.synthetic.world import World
from earlysignal_core.trading_calendar import position

SESSIONS = ("bmo", "amc")
# Consensus estimates are cut to this fraction as the regime breaks; much less would be refused as a broken column.
BROKEN_EARNINGS = 0.85
COVERED_DAYS = 200  # before its announcement, an estimate is first published
PESSIMISM, REVISION_DRIFT = -0.0003, 0.0010  # of the estimate a day: mean, and for a standard deviation of revision
BROKEN_DISAGREEMENT = 2.0  # multiple of the usual range of estimates
SMALLEST = 0.10  # dollars a share


def earnings(world: World, panel: Panel) -> pa.Table:
    """Return the announcements of a quarter, none before the tape's first quarter or after its last."""
    companies, events, quarter = world.companies, world.events, panel.index
    basis = panel.basis_on(events.announced[:, [quarter]])[:, 0]
    estimate = np.round(_not_too_small(_final_consensus(world, panel)[:, 0] / basis), 2)
    rows = table(
        "earnings",
        {
            "symbol": pa.array(companies.symbol),
            "announced_on": session_days(events.announced[:, quarter]),
            "session": _sessions(world, np.arange(len(basis))),
            "fiscal_period": fiscal_periods(events.period_end[:, quarter]),
            "eps_estimate": estimate,
            "eps_actual": np.round(estimate + np.abs(estimate) * world.signal.surprise[:, quarter], 2),
            "available_at": events.known_at(companies, quarter),
        },
    )
    return rows if world.timeline.first <= panel.quarter <= world.timeline.last else rows.slice(0, 0)


def earnings_estimates(world: World, panel: Panel) -> pa.Table:
    """Return the consensus snapshots of a quarter, taken on Saturdays, for the coming announcements."""
    random = stream(world.spec.seed, "earnings_estimates", panel.index)
    days = pd.date_range(panel.quarter.start, panel.quarter.end)
    saturdays = days[days.weekday == 5].to_numpy().astype("datetime64[ns]")
    periods = np.arange(panel.index, panel.index + FORESIGHT + 1)
    announced = session_days(world.events.announced[:, periods])[:, :, None]
    days_left = (announced - saturdays) / np.timedelta64(1, "D")
    covered = periods >= world.timeline.first - world.timeline.priced[0]
    owner, ahead, snapshot = np.nonzero((days_left > 0) & (days_left <= COVERED_DAYS) & covered[:, None])
    period, left, taken_on = periods[ahead], days_left[owner, ahead, snapshot], saturdays[snapshot]

    basis = panel.basis_on(np.broadcast_to(position(saturdays), (world.spec.symbols, len(saturdays))))[owner, snapshot]
    final = _final_consensus(world, panel)[owner, ahead] / basis
    if not panel.broken:  # what the other regime cuts had not been cut yet
        final /= np.where(world.timeline.broken(world.timeline.scheduled)[period], BROKEN_EARNINGS, 1.0)
    final = _not_too_small(final)
    size, slope = np.abs(final), PESSIMISM + REVISION_DRIFT * world.signal.revision[owner, period]
    blur = 0.004 * np.sqrt(left / 30) * random.standard_normal(len(left))
    estimate = final + size * (blur - slope * left)
    disagreement = size * world.companies.disagreement[owner] * (BROKEN_DISAGREEMENT if panel.broken else 1.0)
    high, low = disagreement * random.uniform(0.7, 1.3, (2, len(left)))
    return table(
        "earnings_estimates",
        {
            "symbol": text(owner, world.companies.symbol),
            "fiscal_period": fiscal_periods(world.events.period_end[owner, period]),
            "snapshot_on": taken_on,
            "eps_estimate": np.round(estimate, 4),
            "eps_high": np.round(estimate + high, 4),
            "eps_low": np.round(estimate - low, 4),
            "analysts": world.companies.coverage[owner].astype(np.float64),
            "available_at": new_york(taken_on, 12, 0),
        },
    )


def earnings_calendar(world: World) -> pa.Table:
    """Return announcement dates as they were scheduled: one row for each event, another where the date moved."""
    random = stream(world.spec.seed, "earnings_calendar")
    quarters = slice(world.timeline.first - world.timeline.priced[0], len(world.timeline.priced))
    events = world.events
    expected, announced = session_days(events.expected[:, quarters]), session_days(events.announced[:, quarters])
    scheduled_on = later(expected, -random.integers(35, 71, expected.shape))
    # Up to three weeks ahead: some moves are known at `as_of`, others come after it.
    moved_on = later(np.minimum(expected, announced), -random.integers(3, 22, expected.shape))

    rows = np.stack([np.ones(expected.shape, dtype=bool), events.moved[:, quarters]], axis=-1)
    owner, event, _ = np.nonzero(rows)
    return table(
        "earnings_calendar",
        {
            "symbol": text(owner, world.companies.symbol),
            "fiscal_period": fiscal_periods(events.period_end[:, quarters][owner, event]),
            "expected_on": np.stack([expected, announced], axis=-1)[rows],
            "session": _sessions(world, owner),
            "available_at": new_york(np.stack([scheduled_on, moved_on], axis=-1)[rows], 17, 0),
        },
    )


def income_statements(world: World, panel: Panel) -> pa.Table:
    """Return the statements of the fiscal quarters that are announced in a quarter, known once they are filed."""
    companies, quarter = world.companies, panel.index
    period_end, surprise = world.events.period_end[:, quarter], world.signal.surprise[:, quarter]
    expected = _final_consensus(world, panel)[:, 0] * companies.shares
    sales = np.abs(expected) / companies.margin
    return table(
        "income_statements",
        {
            "symbol": pa.array(companies.symbol),
            "period_end": period_end,
            "revenue": np.round(sales * (1 + 0.1 * surprise), -3),  # sales surprise less than profits
            "net_income": np.round(expected + np.abs(expected) * surprise, -3),
            "total_assets": np.round(8 * sales, -3),
            "shares_outstanding": np.round(companies.shares * panel.basis_on(position(period_end)[:, None])[:, 0]),
            "available_at": end_of_day(session_days(world.events.filed[:, quarter])),
        },
    )


def _final_consensus(world: World, panel: Panel) -> Floats:
    """Return the last consensus for the panel's quarter and those ahead, per share of the first day, shape (n, 4)."""
    periods = slice(panel.index, panel.index + FORESIGHT + 1)
    cut = np.where(world.timeline.broken(world.timeline.scheduled), BROKEN_EARNINGS, 1.0)
    return world.companies.earnings_yield[:, None] / 4 * (world.events.season * cut)[:, periods] * panel.anchor


def _not_too_small(estimate: Floats) -> Floats:
    """Keep an estimate away from 0, where a cent would be a surprise of 20 %."""
    return np.sign(estimate) * np.maximum(np.abs(estimate), SMALLEST)


def _sessions(world: World, owner: Ints) -> pa.Array:
    return text(np.where(world.companies.before_open[owner], 0, 1), SESSIONS)
