"""Tapes to hunt for leaks in, generated, synthetic and real, and the ways in which what is unknown may vary."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import knowable
import numpy as np
import pandas as pd

from earlysignal_core.features.catalogue import Feature
from earlysignal_core.features.examples import examples
from earlysignal_core.features.known_table import KnownTable
from earlysignal_core.features.point_in_time import PointInTime
from earlysignal_core.features.table import active_features
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings, SyntheticSettings
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.sources.synthetic import generate_tape
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import KNOWABLE, TABLES, UNIVERSE
from earlysignal_core.trading_calendar import closes as session_closes
from earlysignal_core.trading_calendar import position
from earlysignal_core.validation import checked

Tables = Mapping[str, pd.DataFrame | KnownTable]


@dataclass(frozen=True, eq=False)
class Tape:
    """Whole tables in memory, and examples of them."""

    tables: Tables
    source: SourceDescription
    examples: pd.DataFrame

    @property
    def features(self) -> dict[str, Feature]:
        return active_features(self.source)

    def indexed(self) -> "Tape":
        """The same tape, for many looks at it: its rows are found by indexes that are made once."""
        return replace(self, tables={name: KnownTable(TABLES[name], rows) for name, rows in self.tables.items()})

    def about(self, rows: pd.DataFrame) -> "Tape":
        return replace(self, examples=rows.reset_index(drop=True))

    def values(self, tables: Tables | None = None, features: Mapping[str, Feature] | None = None) -> pd.DataFrame:
        """Every active feature of every example, by event."""
        chosen = self.features if features is None else dict(features)
        at = PointInTime(self.tables if tables is None else tables, self.examples, self.source, chosen)
        return pd.DataFrame({name: at.value(each) for name, each in chosen.items()}, index=self.examples["event"])


def moved(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, list[str]]:
    """The features of which some bit moved, each with the events."""
    assert before.index.equals(after.index)
    assert before.columns.equals(after.columns)
    old, new = (np.ascontiguousarray(frame.to_numpy()).view(np.uint64) for frame in (before, after))
    return {
        name: before.index[old[:, i] != new[:, i]].tolist()
        for i, name in enumerate(before)
        if (old[:, i] != new[:, i]).any()
    }


# Variations of what was not known yet


def vary(tables: Tables, moment: pd.Timestamp, seed: int) -> dict[str, pd.DataFrame]:
    """Delete, change and add rows with ``available_at > moment`` in every table, and shuffle all."""
    random = np.random.default_rng(seed)
    return {
        name: frame if name == UNIVERSE else _varied(name, frame, moment, random)
        for name, frame in _frames(tables).items()
    }


def cut(tables: Tables, moment: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Drop every row that was not known at a moment."""
    return {
        name: frame if name == UNIVERSE else frame[frame[KNOWABLE] <= moment].reset_index(drop=True)
        for name, frame in _frames(tables).items()
    }


def _frames(tables: Tables) -> dict[str, pd.DataFrame]:
    return {name: rows.frame if isinstance(rows, KnownTable) else rows for name, rows in tables.items()}


def _varied(name: str, frame: pd.DataFrame, moment: pd.Timestamp, random: np.random.Generator) -> pd.DataFrame:
    future = (frame[KNOWABLE] > moment).to_numpy()
    known, unknown = frame[~future], frame[future]
    unknown = unknown[random.random(len(unknown)) < 0.7]
    changed = random.random(len(unknown)) < 0.5
    unknown = pd.concat([unknown[~changed], _other_values(name, unknown[changed], random)])
    added = _other_values(name, frame.sample(min(len(frame), 300), random_state=random.integers(2**31)), random)
    later = moment + pd.to_timedelta(random.choice([1, 3_600 * 10**9, 86_400 * 10**9 * 30], len(added)), "ns")
    # A row of what has long happened may arrive late: a revision, a correction, a forgotten bar.
    added = added.assign(**{KNOWABLE: np.maximum(added[KNOWABLE].to_numpy(), later.to_numpy())})
    whole = pd.concat([known, unknown, added]).sample(frac=1, random_state=random.integers(2**31))
    return whole.astype(frame.dtypes).reset_index(drop=True)


def _other_values(name: str, rows: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    keep = {KNOWABLE, TABLES[name].date, TABLES[name].owner, "fiscal_period"}
    changed = rows.copy()
    for column in rows.columns.difference(keep):
        if rows[column].dtype == np.float64:
            factor = (
                random.choice([-1.0, 0.5, 3.0, np.nan], len(rows))
                if name == "earnings"
                else random.choice([0.5, 3.0], len(rows))
            )
            changed[column] = rows[column] * factor
        else:
            changed[column] = random.permutation(rows[column].to_numpy())
    return changed.astype(rows.dtypes)


# The tapes


@cache
def generated(seed: int) -> Tape:
    """Three companies with everything that goes wrong: gaps, late bars, splits, revisions, moved quarters."""
    random = np.random.default_rng(seed)
    tables = {
        "universe": knowable.companies(A="Financials", B="Financials", C="Utilities", D=None),
        "ohlcv": pd.concat([_bars(symbol, random) for symbol in ("A", "B", "C", "D", knowable.FUND, knowable.MARKET)]),
        "earnings": pd.concat([_announcements(symbol, random) for symbol in "ABCD"]),
        "macro": pd.concat([_series(name, random) for name in knowable.SERIES]),
    }
    tables["earnings_estimates"] = _estimates(tables["earnings"], random)
    tables["corporate_actions"] = pd.concat([_actions(symbol, random) for symbol in "ABCD"])
    tables["income_statements"] = pd.concat([_statements(symbol, random) for symbol in "ABCD"])
    tables["sec_filings"] = pd.concat([_filings(symbol, random) for symbol in "ABCD"])
    tables["guidance"] = _guidance(tables["earnings"], random)
    by_company = {
        "analyst_ratings": _grades,
        "price_targets": _targets,
        "institutional_holdings": _holdings,
        "short_interest": _short_interest,
        "options": _options,
        "sentiment": _items,
    }
    for name, make in by_company.items():
        tables[name] = pd.concat([make(symbol, random) for symbol in "ABCD"], ignore_index=True)
    tables = {name: checked(name, frame) for name, frame in tables.items()}
    lately = tables["earnings"][tables["earnings"]["announced_on"] >= "2017-06-01"]
    return Tape(tables, knowable.source(tables), examples(lately, None, tables["universe"]))


@cache
def synthetic(folder: Path) -> Tape:
    generate_tape(SyntheticSettings(symbols=12, quarters=14), folder)
    return whole(folder, "2016-04-01", "2016-12-31")


@cache
def real(folder: Path) -> Tape:
    """Every seventh company, two quarters of the examples."""
    return whole(folder, "2017-04-01", "2017-09-30", every=7)


def whole(folder: Path, first: str, last: str, every: int = 1) -> Tape:
    """A tape with the examples announced between two days; of every company, or of every seventh say."""
    tape = TapeSource(folder, Settings())
    source, universe = tape.description, tape.universe()
    others = universe["symbol"].drop(universe.index[::every])
    tables = {UNIVERSE: universe}
    for name in source.tables:
        if name != UNIVERSE:
            rows = pd.read_parquet(folder / f"{name}.parquet")
            tables[name] = checked(name, rows if name == "macro" else rows[~rows["symbol"].isin(others)])
    announced = tables["earnings"]
    lately = announced[announced["announced_on"].between(first, last)]
    return Tape(tables, source, examples(lately, tables.get("earnings_calendar"), universe))


def quarters_of(tape: Tape) -> list[Quarter]:
    return sorted({Quarter.of(day) for day in tape.examples["announced_on"]})


def _bars(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    count = 560
    of_a_wild_company = symbol in ("B", "C", "D")
    jumps = np.where(random.random(count) < 0.005, random.choice([0.7, -0.7, 0.3], count), 0)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.015, count) + jumps * of_a_wild_company))
    close[random.random(count) < (0.003 if of_a_wild_company else 0.0005)] = np.nan
    volume = random.lognormal(8, 0.3, count)
    frame = knowable.bars(symbol, close, last="2018-07-31")
    there = ~np.isnan(close)
    frame = frame.assign(high=frame["close"] * 1.01, low=frame["close"] * 0.99, volume=volume[there])
    late = random.random(len(frame)) < (0.01 if of_a_wild_company else 0.001)
    delay = pd.to_timedelta(np.where(late, random.integers(1, 40, len(frame)), 0), "D")
    return frame.assign(available_at=frame["available_at"] + delay)


def _announcements(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    periods = pd.period_range("2009Q1", "2018Q1", freq="Q")
    kept = random.random(len(periods)) < 0.85
    end = pd.Series(periods[kept].end_time.normalize())
    day = end + pd.to_timedelta(random.integers(15, 130, len(end)), "D")
    estimate = np.round(random.normal(1, 0.7, len(end)), 2)
    rows = pd.DataFrame(
        {
            "symbol": symbol,
            "announced_on": day,
            "session": random.choice(["bmo", "amc", None], len(end)),
            "fiscal_period": end.dt.strftime("%y-%b"),
            "eps_estimate": np.where(random.random(len(end)) < 0.05, 0.0, estimate),
            "eps_actual": np.round(estimate * random.choice([1.0, 1.1, 1.2, 1.5, 0.6], len(end)), 2),
            KNOWABLE: (day + pd.Timedelta(hours=22)).dt.tz_localize("UTC"),
        }
    ).drop_duplicates("announced_on")
    corrected = rows.sample(4, random_state=random.integers(2**31))
    corrected = corrected.assign(
        announced_on=corrected["announced_on"] + pd.Timedelta(days=45),
        available_at=corrected[KNOWABLE] + pd.Timedelta(days=45),
        eps_actual=corrected["eps_actual"] + 0.5,
    )
    return pd.concat([rows, corrected]).drop_duplicates("announced_on")


def _estimates(earnings: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    parts = []
    for days_before in (150, 130, 110, 100, 60, 35, 20, 14, 9, 6):
        day = earnings["announced_on"] - pd.Timedelta(days=days_before)
        part = earnings[["symbol", "fiscal_period"]].assign(
            snapshot_on=day, eps_high=np.nan, eps_low=np.nan, analysts=3.0
        )
        part["eps_estimate"] = random.normal(1, 0.5, len(part))
        part["eps_high"], part["eps_low"] = part["eps_estimate"] + 0.2, part["eps_estimate"] - 0.1
        parts.append(part.assign(available_at=(day + pd.Timedelta(hours=16)).dt.tz_localize("UTC")))
    return pd.concat(parts).drop_duplicates(["symbol", "fiscal_period", "snapshot_on"])


def _actions(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    paid = pd.date_range("2015-02-10", "2018-07-20", freq="91D")
    split = pd.to_datetime(["2016-03-01", "2017-06-01", "2018-02-01"]) + pd.to_timedelta(random.integers(0, 60, 3), "D")
    frame = pd.DataFrame(
        {
            "symbol": symbol,
            "session": [*paid, *split],
            "kind": ["dividend"] * len(paid) + ["split"] * 3,
            "value": [*random.uniform(0.1, 1, len(paid)), *random.choice([2.0, 1.5, 0.1, 1.253], 3)],
        }
    )
    delay = pd.to_timedelta(np.where(random.random(len(frame)) < 0.2, 20, 0), "D")
    return frame.assign(available_at=session_closes()[position(frame["session"]) + 1] + delay)


def _statements(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    end = pd.date_range("2015-03-31", "2018-06-30", freq="QE")
    end = end[random.random(len(end)) < 0.93]
    filed = end + pd.to_timedelta(random.integers(20, 80, len(end)), "D")
    revenue = np.where(random.random(len(end)) < 0.05, np.nan, random.lognormal(5, 0.2, len(end)))
    first = knowable.statements(symbol, *zip(end, revenue, filed, strict=True))
    restated = first.sample(4, random_state=random.integers(2**31))
    return pd.concat([first, restated.assign(revenue=90.0, available_at=restated[KNOWABLE] + pd.Timedelta(days=60))])


def _filings(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    day = pd.Timestamp("2016-09-01") + pd.to_timedelta(random.integers(0, 690, 150), "D")
    code, owner = random.choice(["P", "S"], 150), random.choice(["Ash", "Brook"], 150)
    accepted = day + pd.to_timedelta(random.choice([0, 1, 2, 40], 150), "D")
    size, price = random.integers(1, 500, 150) * 10.0, random.uniform(40, 60, 150)
    trades = knowable.trades(symbol, *zip(day, code, size, price, owner, accepted, strict=True))
    jointly = trades.sample(30, random_state=random.integers(2**31)).assign(owner="Trust")
    reported = pd.Timestamp("2016-09-01") + pd.to_timedelta(random.integers(0, 690, 60), "D")
    reports = knowable.filings(symbol, *((random.choice(["8-K", "10-Q"]), day) for day in reported))
    return pd.concat([trades, jointly, reports])


def _guidance(earnings: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    guided = earnings.drop_duplicates(["symbol", "fiscal_period"]).sample(frac=0.8, random_state=random.integers(2**31))
    day = guided["announced_on"] - pd.to_timedelta(random.integers(1, 110, len(guided)), "D")
    low = random.normal(1, 0.5, len(guided))
    rows = guided[["symbol", "fiscal_period"]].assign(given_on=day, eps_low=low, eps_high=low + 0.1)
    return rows.assign(available_at=(day + pd.Timedelta(hours=22)).dt.tz_localize("UTC"))


def _some_days(count: int, random: np.random.Generator) -> pd.DatetimeIndex:
    return pd.Timestamp("2015-01-01") + pd.to_timedelta(np.sort(random.integers(0, 1300, count)), "D")


def _grades(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    day, firm = _some_days(200, random), random.choice([*"KLMNOPQRS"], 200)
    action = random.choice(["upgrade", "downgrade", "maintain", "initiate"], 200)
    rows = knowable.grades(symbol, *zip(day, firm, action, strict=True)).drop_duplicates(["graded_on", "firm"])
    return _some_come_late(rows, random)


def _targets(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    rows = zip(_some_days(150, random), random.choice([*"KLMNOPQRS"], 150), random.lognormal(4, 0.2, 150), strict=True)
    return _some_come_late(knowable.targets(symbol, *rows).drop_duplicates(["published_on", "firm"]), random)


def _holdings(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    end = pd.date_range("2015-03-31", "2018-06-30", freq="QE")
    end = end[random.random(len(end)) < 0.95]
    rows = zip(end, random.lognormal(9, 0.1, len(end)), end + pd.Timedelta(days=45), strict=True)
    return _some_come_late(knowable.holdings(symbol, *rows), random)


def _short_interest(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    day = pd.date_range("2016-01-15", "2018-07-15", freq="SMS")
    rows = zip(day, random.lognormal(7, 0.2, len(day)), day + pd.Timedelta(days=11), strict=True)
    return _some_come_late(knowable.short_interest(symbol, *rows), random)


def _options(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    put, call = random.integers(0, 40, (2, 560)).astype(float)
    volatility = np.round(random.lognormal(-1.2, 0.2, 560), 2)
    rows = knowable.options(symbol, put, call, volatility, last="2018-07-31")
    return _some_come_late(rows[random.random(560) < 0.95], random)


def _items(symbol: str, random: np.random.Generator) -> pd.DataFrame:
    count = 15_000 if symbol == "A" else 500  # one company is spoken of in nearly every hour
    moment = pd.Timestamp("2018-03-27", tz="UTC") + pd.to_timedelta(random.integers(0, 120 * 24 * 60, count), "min")
    channel = random.choice(["news", "reddit", "stocktwits", "twitter"], count, p=[0.1, 0.1, 0.4, 0.4])
    rows = {"symbol": symbol, "channel": channel, "score": random.uniform(-1, 1, count), KNOWABLE: moment}
    return pd.DataFrame(rows)


def _some_come_late(rows: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    delay = pd.to_timedelta(np.where(random.random(len(rows)) < 0.1, random.integers(1, 60, len(rows)), 0), "D")
    return rows.assign(**{KNOWABLE: rows[KNOWABLE] + delay})


def _series(name: str, random: np.random.Generator) -> pd.DataFrame:
    if name == "GDPC1":
        period, lag = pd.date_range("2015-01-01", "2018-04-01", freq="QS"), 119
    elif name in ("UNRATE", "CPIAUCSL", "FEDFUNDS"):
        period, lag = pd.date_range("2016-01-01", "2018-07-01", freq="MS"), 40
    else:
        period, lag = pd.bdate_range("2017-03-01", "2018-07-31"), 2
    kept = period[random.random(len(period)) < 0.97]
    value = np.exp(np.cumsum(random.normal(0, 0.01, len(kept)))) * 20
    first = pd.DataFrame({"series": name, "period": kept, "value": value, "known": kept + pd.Timedelta(days=lag)})
    revised = first.sample(frac=0.2, random_state=random.integers(2**31))
    revised = revised.assign(
        value=revised["value"] * 1.01,
        known=revised["known"] + pd.to_timedelta(random.integers(1, 60, len(revised)), "D"),
    )
    whole = pd.concat([first, revised])
    return whole.assign(available_at=(whole["known"] + pd.Timedelta(hours=16)).dt.tz_localize("UTC")).drop(
        columns="known"
    )
