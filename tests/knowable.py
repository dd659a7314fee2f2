"""Small worlds that a reader can check: rows are tuples of what happened, its value, and when that could be known.

Everything is asked of one announcement of company A, scheduled for Tuesday 2018-07-24: `as_of` is the close of
2018-07-17, and the fiscal quarter before its own is that of March 2018.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.features.catalogue import Feature
from earlysignal_core.features.examples import examples
from earlysignal_core.features.point_in_time import PointInTime
from earlysignal_core.settings import TapeSettings
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.tables import TABLES
from earlysignal_core.trading_calendar import closes as session_closes
from earlysignal_core.trading_calendar import position, sessions
from earlysignal_core.validation import checked

ANNOUNCED_ON, LAST_SESSION, AS_OF = "2018-07-24", "2018-07-17", pd.Timestamp("2018-07-17 20:00", tz="UTC")
NAN = float("nan")
MARKET, FUND = "^M", "XLE"
SERIES = (
    *("DFF", "FEDFUNDS", "UNRATE", "CPIAUCSL", "GDPC1", "DGS10", "BAA10Y", "BAMLC0A4CBBB", "BAMLC0A0CM"),
    *("BAMLH0A0HYM2", "VIXCLS", "VXVCLS", "DTWEXBGS", "DCOILWTICO"),
)
FACTS = ("sec_filings:4", "sec_filings:8-K", *(f"sentiment:{c}" for c in ("news", "reddit", "stocktwits", "twitter")))


def days(count: int, last: str = LAST_SESSION) -> pd.DatetimeIndex:
    """The last sessions up to a day."""
    end = int(position([pd.Timestamp(last)])[0]) + 1
    return sessions()[end - count : end]


def bars(symbol: str, close: Any, last: str = LAST_SESSION, **columns: Any) -> pd.DataFrame:
    """Daily bars up to a session, known at its close; a NaN is a session without a bar."""
    close = np.asarray(close, dtype="float64")
    session = days(len(close), last)
    frame = pd.DataFrame({"symbol": symbol, "session": session, "open": close, "high": close, "low": close})
    frame = frame.assign(close=close, volume=1000.0, available_at=session_closes()[position(session)])
    return frame.assign(**columns)[~np.isnan(close)]


def announcements(symbol: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Announcements as (fiscal period, day, estimate, actual[, session]), known at 22:00 UTC of the day."""
    full = [(*row, "amc") if len(row) == 4 else row for row in rows]
    frame = pd.DataFrame(full, columns=["fiscal_period", "announced_on", "eps_estimate", "eps_actual", "session"])
    day = pd.to_datetime(frame["announced_on"])
    available = (day + pd.Timedelta(hours=22)).dt.tz_localize("UTC")
    return frame.assign(symbol=symbol, announced_on=day, available_at=available)


def surprises(symbol: str, *percent: float) -> pd.DataFrame:
    """Announcements of the fiscal quarters up to March 2018 with these surprises (estimate 1 dollar); NaN for none."""
    periods = pd.period_range(end="2018Q1", periods=len(percent), freq="Q")
    rows = [
        (period.strftime("%y-%b"), period.end_time.normalize() + pd.Timedelta(days=24), 1.0, 1 + surprise / 100)
        for period, surprise in zip(periods, percent, strict=True)
        if not np.isnan(surprise)
    ]
    return announcements(symbol, *rows)


def estimates(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Consensus snapshots for A's coming quarter, as (fiscal period, day taken, estimate), known that day at noon."""
    frame = pd.DataFrame(rows, columns=["fiscal_period", "snapshot_on", "eps_estimate"])
    day = pd.to_datetime(frame["snapshot_on"])
    available = (day + pd.Timedelta(hours=16)).dt.tz_localize("UTC")
    return frame.assign(symbol="A", snapshot_on=day, eps_high=NAN, eps_low=NAN, analysts=NAN, available_at=available)


def series(name: str, *rows: tuple[str, float, str]) -> pd.DataFrame:
    """A macro series as (period, value, day of release), known at noon of that day in New York."""
    frame = pd.DataFrame(rows, columns=["period", "value", "released"])
    available = (pd.to_datetime(frame["released"]) + pd.Timedelta(hours=16)).dt.tz_localize("UTC")
    return pd.DataFrame(
        {"series": name, "period": pd.to_datetime(frame["period"]), "value": frame["value"], "available_at": available}
    )


def actions(symbol: str, *rows: tuple[str, str, float]) -> pd.DataFrame:
    """Corporate actions as (session, kind, value), known at the session's close."""
    frame = pd.DataFrame(rows, columns=["session", "kind", "value"])
    session = pd.to_datetime(frame["session"])
    return frame.assign(symbol=symbol, session=session, available_at=session_closes()[position(session)])


def statements(symbol: str, *rows: tuple[str, float, str]) -> pd.DataFrame:
    """Income statements as (period's end, revenue, day of filing), known at 22:00 UTC of that day."""
    frame = pd.DataFrame(rows, columns=["period_end", "revenue", "filed"])
    available = (pd.to_datetime(frame["filed"]) + pd.Timedelta(hours=22)).dt.tz_localize("UTC")
    others = dict.fromkeys(["net_income", "total_assets", "shares_outstanding"], NAN)
    return frame.assign(symbol=symbol, period_end=pd.to_datetime(frame["period_end"]), available_at=available, **others)


def trades(symbol: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Form 4 trades as (day, code, shares, price, owner, day of acceptance), known at 22:00 UTC of that day."""
    frame = pd.DataFrame(rows, columns=["transaction_date", "code", "shares", "price", "owner", "accepted"])
    available = (pd.to_datetime(frame["accepted"]) + pd.Timedelta(hours=22)).dt.tz_localize("UTC")
    day = pd.to_datetime(frame["transaction_date"])
    frame = frame.assign(symbol=symbol, form="4", transaction_date=day, planned=NAN, available_at=available)
    return frame.astype({"code": "str", "owner": "str"})


def filings(symbol: str, *rows: tuple[str, str]) -> pd.DataFrame:
    """Filings as (form, day of acceptance), known at 22:00 UTC of that day."""
    full = [(None, None, NAN, NAN, None, accepted) for _, accepted in rows]
    return trades(symbol, *full).assign(form=[form for form, _ in rows])


def snapshots(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Consensus snapshots of A as (fiscal period, day taken, estimate, high, low), known that day at noon."""
    frame = pd.DataFrame(rows, columns=["fiscal_period", "snapshot_on", "eps_estimate", "eps_high", "eps_low"])
    return estimates(*frame.iloc[:, :3].itertuples(index=False)).assign(
        eps_high=frame["eps_high"], eps_low=frame["eps_low"]
    )


def grades(symbol: str, *rows: tuple[str, str, str]) -> pd.DataFrame:
    """Grades as (day, firm, action), known at 22:00 UTC of the day."""
    frame = pd.DataFrame(rows, columns=["graded_on", "firm", "action"])
    return _dated(frame, "graded_on").assign(symbol=symbol, grade="Buy")


def targets(symbol: str, *rows: tuple[str, str, float]) -> pd.DataFrame:
    """Price targets as (day, firm, target), known at 22:00 UTC of the day."""
    frame = pd.DataFrame(rows, columns=["published_on", "firm", "target"])
    return _dated(frame, "published_on").assign(symbol=symbol)


def guidance(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """A's guidance as (fiscal period, day, low, high), known at 22:00 UTC of the day."""
    frame = pd.DataFrame(rows, columns=["fiscal_period", "given_on", "eps_low", "eps_high"])
    return _dated(frame, "given_on").assign(symbol="A")


def holdings(symbol: str, *rows: tuple[str, float, str]) -> pd.DataFrame:
    """13F holdings as (quarter's end, shares, day of the deadline), known at 22:00 UTC of that day."""
    frame = pd.DataFrame(rows, columns=["period_end", "shares_held", "known"])
    return _dated(frame, "period_end", frame.pop("known")).assign(symbol=symbol, holders=NAN)


def short_interest(symbol: str, *rows: tuple[str, float, str]) -> pd.DataFrame:
    """Short interest as (settlement, shares, day of dissemination), known at 22:00 UTC of that day."""
    frame = pd.DataFrame(rows, columns=["settled_on", "shares_short", "known"])
    return _dated(frame, "settled_on", frame.pop("known")).assign(symbol=symbol)


def options(symbol: str, put: Any, call: Any, volatility: Any = NAN, last: str = LAST_SESSION) -> pd.DataFrame:
    """Options traded by session, up to one, known at its close."""
    session = days(len(np.atleast_1d(put)), last)
    frame = pd.DataFrame({"symbol": symbol, "session": session, "put_volume": put, "call_volume": call})
    return frame.assign(iv_30d=volatility, available_at=session_closes()[position(session)]).astype(
        {"put_volume": "float64", "call_volume": "float64", "iv_30d": "float64"}
    )


def items(symbol: str, channel: str, *rows: tuple[str, float]) -> pd.DataFrame:
    """Scored items as (moment in UTC, score)."""
    frame = pd.DataFrame(rows, columns=["available_at", "score"])
    moments = pd.to_datetime(frame["available_at"], utc=True)
    return frame.assign(symbol=symbol, channel=channel, available_at=moments)


def _dated(frame: pd.DataFrame, date: str, known: pd.Series | None = None) -> pd.DataFrame:
    day = pd.to_datetime(frame[date])
    on = day if known is None else pd.to_datetime(known)
    return frame.assign(**{date: day}, available_at=(on + pd.Timedelta(hours=22)).dt.tz_localize("UTC"))


def companies(**sectors: str | None) -> pd.DataFrame:
    """Companies by symbol and sector, all with the same sector fund."""
    frame = pd.DataFrame({"symbol": list(sectors), "sector": list(sectors.values())})
    return frame.assign(name=frame["symbol"], sector_etf=FUND, first=pd.NaT, last=pd.NaT)


def source(tables: Mapping[str, Any], **changes: Any) -> SourceDescription:
    content: dict[str, Any] = {
        "name": "small world",
        "benchmark": MARKET,
        "universe": "sp500",
        "tables": tuple(tables),
        "first": "2000-Q1",
        "last": "2018-Q4",
        "first_event": "2000-Q1",
        "last_event": "2018-Q4",
        "since": dict.fromkeys(tables, "2000-Q1"),
        "prices": "raw" if "corporate_actions" in tables else "adjusted",
        "provides": (*(f"macro:{name}" for name in SERIES), "ohlcv:etf_volume", *FACTS),
        "assumptions": (),
        "settings": TapeSettings(),
    }
    return SourceDescription(**content | changes)


def asked(announced_on: str = ANNOUNCED_ON, fiscal_period: str | None = "18-Jun", symbol: str = "A") -> pd.DataFrame:
    """The announcement that is asked about, as a row of `earnings` whose outcome nobody knows yet."""
    return announcements(symbol, (fiscal_period, announced_on, NAN, NAN))


def world(
    *frames: pd.DataFrame, about: pd.DataFrame | None = None, features: Mapping[str, Feature] = {}, **changes: Any
) -> PointInTime:
    """A view of tables (told apart by their columns) for one announcement, or for those given as `about`."""
    known: dict[str, list[pd.DataFrame]] = {}
    for frame in frames:
        known.setdefault(_name_of(frame), []).append(frame)
    universe = known.setdefault("universe", [companies(A="Energy")])
    tables = {name: checked(name, pd.concat(parts, ignore_index=True)) for name, parts in known.items()}
    rows = checked("earnings", asked() if about is None else about)
    return PointInTime(
        tables, examples(rows, None, checked("universe", universe[0])), source(tables, **changes), features
    )


def value(feature: Feature, *frames: pd.DataFrame, **changes: Any) -> float:
    """A feature's value for the announcement that is asked about."""
    return float(world(*frames, features={feature.name: feature}, **changes).value(feature)[0])


def probe(compute: Callable[[PointInTime], Any], **needs: int) -> Feature:
    """A feature that is in no catalogue."""
    return Feature("probe", "tests", "", needs, compute, {}, (), False, "")


def _name_of(frame: pd.DataFrame) -> str:
    return next(name for name, table in TABLES.items() if {*table.columns} <= {*frame.columns})
