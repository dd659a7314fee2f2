"""Invented feature tables, labels and sources in the shapes that the rooms hand to each other."""

import numpy as np
import pandas as pd

from earlysignal_core.datasets.build import Dataset, build_dataset
from earlysignal_core.features.table import active_features
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings, TapeSettings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.trading_calendar import as_of

FIRST, LAST = Quarter(2014, 1), Quarter(2018, 4)
TABLES = ("universe", "earnings", "ohlcv", "macro")
SECTORS = ("Energy", "Financials", "Real Estate", "Utilities")


def source(**changes) -> SourceDescription:
    content = {
        "name": "made up",
        "benchmark": "^X",
        "universe": "sp500",
        "tables": TABLES,
        "first": str(FIRST),
        "last": str(LAST),
        "first_event": str(FIRST),
        "last_event": str(LAST),
        "since": dict.fromkeys(TABLES, str(FIRST - 20)),
        "prices": "adjusted",
        "provides": (),
        "assumptions": ("nothing here is real",),
        "settings": TapeSettings(),
    }
    return SourceDescription(**content | changes)


def quarter_rows(quarter: Quarter, companies: int = 120, *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One quarter's feature table and labels: every company announces once, and some beat more often than others."""
    random = np.random.default_rng([seed, quarter.year, quarter.number])
    symbol = pd.Series([f"C{i:03}" for i in range(companies)], dtype="str")
    habit = np.linspace(-5.5, 0.3, companies)
    announced = quarter.start + pd.to_timedelta(random.integers(8, 90, companies), "D")
    rows = pd.DataFrame(
        {
            "event": symbol + f":{quarter}",
            "symbol": symbol,
            "fiscal_period": pd.Series([str(quarter)] * companies, dtype="str"),
            "scheduled_on": announced,
            "announced_on": announced,
            "session": pd.Series(["amc"] * companies, dtype="str"),
            "as_of": as_of(announced),
            "sector": pd.Series([SECTORS[i % 4] for i in range(companies)], dtype="str"),
        }
    )
    names = list(active_features(source()))
    values = pd.DataFrame(random.normal(size=(companies, len(names))), columns=names)
    values[names[0]] += habit
    beats = random.random(companies) < 1 / (1 + np.exp(-habit))
    labels = rows[["event", "symbol", "announced_on"]].assign(
        surprise=np.where(beats, 30.0, 1.0),
        label=beats.astype("float64"),
        available_at=announced.tz_localize("UTC") + pd.Timedelta(hours=21),
    )
    order = rows.sort_values(["as_of", "symbol"]).index
    table = pd.concat([rows, values], axis=1).loc[order].reset_index(drop=True)
    return table, labels.sort_values(["announced_on", "symbol"], ignore_index=True)


def history(first: Quarter, last: Quarter, **kwargs) -> tuple[dict, dict]:
    """Feature tables and labels by quarter."""
    made = {quarter: quarter_rows(quarter, **kwargs) for quarter in Quarter.range(first, last)}
    return {q: table for q, (table, _) in made.items()}, {q: labels for q, (_, labels) in made.items()}


def dataset(quarter: Quarter, *, seed: int = 0, **settings) -> Dataset:
    tables, labels = history(FIRST, quarter - 1, seed=seed)
    return build_dataset(quarter, tables, labels, source(), Settings(**settings))
