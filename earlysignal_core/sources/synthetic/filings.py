"""What is filed with the SEC: insiders' trades, current and periodic reports, and institutions' holdings."""

import numpy as np
import pyarrow as pa

from earlysignal_core.sources.synthetic.columns import Days, Ints, end_of_day, later, new_york, stream, table, text
from earlysignal_core.sources.synthetic.companies import Companies
from earlysignal_core.sources.synthetic.market import Panel
from earlysignal_core.sources.synthetic.timeline import session_days
from earlysignal_core.sources.synthetic.world import World
from earlysignal_core.trading_calendar import position

FORMS = ("4", "8-K", "10-Q", "10-K")
CODES = ("P", "S")
OWNERS = tuple(f"{first} {last}" for last in ("Ash", "Brook", "Field", "Stone") for first in ("Kim", "Lee", "Max"))
# Expected number for a company and quarter, in the usual and in the other regime.
BUYS, SALES, INCIDENTS = (0.4, 0.4), (1.6, 5.0), (2.0, 7.0)
PLANNED_SHARE = 0.4  # of insiders' trades that follow a 10b5-1 plan
KNOWN_AFTER_DAYS = 45  # of the quarter's end: institutions' holdings


def sec_filings(world: World, panel: Panel) -> pa.Table:
    """Return the filings on what happened in a quarter: insiders' trades, incidents, and announced results."""
    random = stream(world.spec.seed, "sec_filings", panel.index)
    n, companies, events = world.spec.symbols, world.companies, world.events
    plans = stream(world.spec.seed, "10b5-1 plans", panel.index)
    trades = [
        _insider_trades(random, plans, companies, panel, code, rate[panel.broken])
        for code, rate in enumerate((BUYS, SALES))
    ]
    everyone, quarter = np.arange(n), panel.index
    reporter, happened = _scattered(random, n, len(panel.days), INCIDENTS[panel.broken])
    incidents = session_days(panel.begin + happened)
    filed = session_days(events.filed[:, quarter])
    # The fiscal year ends with the last fiscal quarter of the calendar year, or with that of the following January.
    month = events.period_end[:, quarter].astype("datetime64[M]").astype(np.int64) % 12
    form = np.where(month == (companies.fiscal_offset - 1) % 12, FORMS.index("10-K"), FORMS.index("10-Q"))
    announced = session_days(events.announced[:, quarter])
    eight_k = FORMS.index("8-K")
    return pa.concat_tables(
        [
            *trades,
            _reports(companies, reporter, np.full(len(reporter), eight_k), incidents, new_york(incidents, 18, 30)),
            _reports(companies, everyone, np.full(n, eight_k), announced, events.known_at(companies, quarter)),
            _reports(companies, everyone, form, filed, end_of_day(filed)),
        ]
    )


def institutional_holdings(world: World, panel: Panel) -> pa.Table:
    """Return what 13F filers together held at the end of a quarter; they sell out in the other regime."""
    random = stream(world.spec.seed, "institutional_holdings", panel.index)
    n, companies = world.spec.symbols, world.companies
    share = np.clip(0.7 * np.exp(0.04 * random.standard_normal(n)) * (0.8 if panel.broken else 1.0), 0, 1)
    last = np.full((n, 1), position([panel.quarter.end])[0])
    period_end = np.full(n, panel.quarter.end.to_datetime64().astype("datetime64[ns]"))
    return table(
        "institutional_holdings",
        {
            "symbol": pa.array(companies.symbol),
            "period_end": period_end,
            "shares_held": np.round(share * companies.shares * panel.basis_on(last)[:, 0]),
            "holders": np.round(40 * companies.coverage * np.exp(0.05 * random.standard_normal(n))),
            "available_at": end_of_day(later(period_end, KNOWN_AFTER_DAYS)),
        },
    )


def _insider_trades(
    random: np.random.Generator,
    plans: np.random.Generator,
    companies: Companies,
    panel: Panel,
    code: int,
    expected: float,
) -> pa.Table:
    owner, session = _scattered(random, len(companies.symbol), len(panel.days), expected)
    count = len(owner)
    low, high = panel.low[owner, session], panel.high[owner, session]
    # The law allows two business days.
    filed = session_days(panel.begin + session + random.integers(0, 3, count))
    return table(
        "sec_filings",
        {
            "symbol": text(owner, companies.symbol),
            "form": text(np.full(count, FORMS.index("4")), FORMS),
            "transaction_date": panel.days[session],
            "code": text(np.full(count, code), CODES),
            "shares": np.ceil(0.002 * panel.volume[owner, session] * np.exp(random.standard_normal(count))),
            "price": np.round(low + random.random(count) * (high - low), 2),
            "owner": text(random.integers(0, len(OWNERS), count), OWNERS),
            "planned": (plans.random(count) < PLANNED_SHARE).astype(np.float64),
            "available_at": new_york(filed, 18, 30),
        },
    )


def _reports(companies: Companies, owner: Ints, form: Ints, on: Days, available_at: Ints) -> pa.Table:
    count = len(owner)
    return table(
        "sec_filings",
        {
            "symbol": text(owner, companies.symbol),
            "form": text(form, FORMS),
            "transaction_date": on,
            "code": pa.nulls(count, pa.string()),
            "shares": pa.nulls(count, pa.float64()),
            "price": pa.nulls(count, pa.float64()),
            "owner": pa.nulls(count, pa.string()),
            "planned": pa.nulls(count, pa.float64()),
            "available_at": available_at,
        },
    )


def _scattered(random: np.random.Generator, n: int, sessions: int, expected: float) -> tuple[Ints, Ints]:
    """Return company and session of things that happen at random, by company."""
    owner = np.repeat(np.arange(n), random.poisson(expected, n))
    return owner, random.integers(0, sessions, len(owner))
