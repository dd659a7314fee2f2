"""A lake made by hand: the tables of `knowable`, written by quarter, and predictions of their announcements."""

from pathlib import Path

import knowable
import numpy as np
import pandas as pd
from ledgers import prediction

from earlysignal_core.lake import Lake
from earlysignal_core.ledger.predictions import Prediction
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import TABLES, own_date
from earlysignal_core.trading_calendar import as_of
from earlysignal_core.validation import checked

FIRST, LAST = Quarter(2018, 1), Quarter(2019, 1)
LAST_BAR = "2019-02-28"


def made(folder: Path, **tables: pd.DataFrame) -> tuple[Lake, SourceDescription]:
    """Write tables that reach from 2018-Q1 to 2019-Q1."""
    lake = Lake(str(folder))
    for name, frame in tables.items():
        rows = checked(name, frame)
        day = own_date(TABLES[name], rows)
        for quarter in Quarter.range(FIRST, LAST):
            inside = day.between(quarter.start, quarter.end)
            lake.write(name, quarter, rows[inside].reset_index(drop=True))
    limits = {"first": str(FIRST), "last": str(LAST), "first_event": str(FIRST), "last_event": str(LAST)}
    return lake, knowable.source(tables, **limits)


def prices(symbol: str, *, until: str = LAST_BAR, seed: int = 0) -> pd.DataFrame:
    """Bars from the beginning of 2018 without a jump, and a volume that tells news from splits."""
    days = knowable.days(290, LAST_BAR)
    days = days[days <= until]
    random = np.random.default_rng([seed, *symbol.encode()])
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, len(days))))
    return knowable.bars(symbol, close, until, high=close * 1.01, low=close * 0.99, volume=1e6)


def closes(bars: pd.DataFrame, *days: str) -> list[float]:
    return [float(bars.loc[bars["session"] == day, "close"].iloc[0]) for day in days]


def expected(symbol: str, announced_on: str, period: str = "18-Jun", **changes: object) -> Prediction:
    """A prediction at the close seven days before, recorded that night."""
    moment = as_of([pd.Timestamp(announced_on)])[0]
    content = {
        "event": f"{symbol}:{period}",
        "symbol": symbol,
        "announced_on": pd.Timestamp(announced_on),
        "as_of": moment,
        "prediction_date": moment + pd.Timedelta(hours=7),
    }
    return prediction(**content | changes)


def night(day: str) -> pd.Timestamp:
    """The moment at which a day's outcomes are collected."""
    return pd.Timestamp(f"{day} 04:00", tz="UTC")
