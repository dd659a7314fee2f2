"""FMP's records as rows of the tables, each with the moment from which it was known."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.live.clock import close_of, end_of_day, new_york, new_york_day, session_close
from earlysignal_core.sources.live.fetch import Kept
from earlysignal_core.sources.live.messages import Answer
from earlysignal_core.sources.live.records import Record, Row, Rows, records

_KNOWN_AT = {"bmo": pd.Timedelta(hours=8), "amc": pd.Timedelta(hours=16, minutes=15)}
_ACTIONS = {"upgrade": "upgrade", "downgrade": "downgrade", "initiate": "initiate", "initialise": "initiate"}


def announcement(record: Record) -> Row | None:
    """Read a record of the earnings calendar; fields of the time of day and of the period may be missing."""
    day = record.day("date")
    when = str(record.optional("time") or "").lower()
    session = when if when in _KNOWN_AT else None
    return {
        "symbol": record.needed("symbol"),
        "expected_on": day,
        "session": session,
        "fiscal_period": _fiscal_period(record, day),
        "eps_estimate": record.number("epsEstimated"),
        "eps_actual": record.number("epsActual", "eps"),
    }


def _fiscal_period(record: Record, announced_on: pd.Timestamp) -> str:
    """Name the fiscal period: by its end, by the company's count, or else by the calendar quarter that was over."""
    end = record.optional_day("periodEnding", "fiscalDateEnding")
    if end is not None:
        return f"{end:%y-%b}"
    number, year = record.optional("fiscalPeriod"), record.optional("fiscalYear")
    if number in {"Q1", "Q2", "Q3", "Q4"} and str(year).isdecimal():
        return f"{number} {year}"
    return _quarter_before(announced_on)


@lru_cache(maxsize=1 << 12)
def _quarter_before(announced_on: pd.Timestamp) -> str:
    return f"{(Quarter.of(announced_on - pd.Timedelta(days=7)) - 1).end:%y-%b}"


def announced_at(day: pd.Timestamp, session: str | None) -> pd.Timestamp:
    """Return when an announcement was known (UTC): 08:00 or 16:15 in New York, or the end of its day."""
    known = _KNOWN_AT.get(session or "")
    return end_of_day(day) if known is None else new_york(day + known)


def split(record: Record) -> Row | None:
    """Read a split; None where its ratio is none."""
    before = record.number("denominator")
    return _action(record, "split", record.number("numerator") / before if before else np.nan)


def dividend(record: Record) -> Row | None:
    """Read a dividend; None where nothing is paid."""
    return _action(record, "dividend", record.number("dividend"))


def _action(record: Record, kind: str, value: float) -> Row | None:
    if not (np.isfinite(value) and value > 0):
        return None
    day = record.day("date")
    symbol = record.needed("symbol")
    return {"symbol": symbol, "session": day, "kind": kind, "value": value, "available_at": close_of(day)}


def bars(answer: Answer, symbol: str) -> Rows:
    """Read daily prices, whatever their basis, without days that are no sessions or were not over."""
    rows = []
    for record in records(answer):
        day = record.day("date")
        known = session_close(day)
        close = record.number("adjClose", "close")
        if known is None or known > answer.fetched_at or not close > 0:
            continue
        rows.append(
            {
                "symbol": symbol,
                "session": day,
                "open": _positive(record.number("adjOpen", "open")),
                "high": _positive(record.number("adjHigh", "high")),
                "low": _positive(record.number("adjLow", "low")),
                "close": close,
                "volume": record.number("volume"),
                "available_at": known,
            }
        )
    return first_of_each(("session",), rows)


def statements(answer: Answer, symbol: str) -> Rows:
    """Read statements, known on acceptance by New York's clock, or else at the end of the day of filing."""
    rows = []
    for record in records(answer):
        filed = record.day("filingDate", "fillingDate")  # spelled so by the older generation
        period_end, known = record.day("date"), end_of_day(filed)
        if len(str(record.optional("acceptedDate") or "")) > len("2024-11-01"):
            accepted = record.moment("acceptedDate")
            known = new_york(accepted) if accepted.tzinfo is None else accepted.tz_convert("UTC")
        if known < end_of_day(period_end):
            raise record.unexpected(f"accepted on {known} and so before its period's end, {period_end:%Y-%m-%d}")
        rows.append(
            {
                "symbol": symbol,
                "period_end": period_end,
                "revenue": _not_zero(record.number("revenue")),
                "net_income": _not_zero(record.number("netIncome")),
                "total_assets": np.nan,
                "shares_outstanding": _positive(record.number("weightedAverageShsOut")),
                "available_at": known,
            }
        )
    return first_of_each(("period_end", "available_at"), rows)


def restated(seen: Iterable[Kept[Rows]]) -> Iterator[Row]:
    """Yield the statements as they were first seen, and again, known from that moment, what read otherwise later.

    An amendment that stands beside the original from the first is known from its own acceptance on.
    """
    known: dict[pd.Timestamp, list[Row]] = {}
    for kept in seen:
        earlier = set(known)
        for row in sorted(kept.content, key=lambda row: row["available_at"]):
            versions = known.setdefault(row["period_end"], [])
            if row["period_end"] not in earlier:
                yield row
            elif _figures(row) not in [_figures(version) for version in _standing(versions, row)]:
                yield {**row, "available_at": max(kept.fetched_at, row["available_at"])}
            versions.append(row)


def _standing(versions: Rows, row: Row) -> Rows:
    """Return what a row repeats where it says the same: its own filing as last seen, else the newest of its period."""
    return [version for version in versions if version["available_at"] == row["available_at"]][-1:] or versions[-1:]


def _figures(row: Row) -> tuple[Any, ...]:
    figures = (row["revenue"], row["net_income"], row["shares_outstanding"])
    return tuple(None if np.isnan(figure) else figure for figure in figures)


def grades(answer: Answer, symbol: str) -> Rows:
    """Read grades; `hold`, `reiterated` and the like maintain one."""
    rows = []
    for record in records(answer):
        day = record.day("date")
        action = record.needed("action").lower()
        rows.append(
            {
                "symbol": symbol,
                "graded_on": day,
                "firm": record.text("gradingCompany") or "unknown",
                "action": _ACTIONS.get(action, "maintain"),  # `hold`, `reiterated` and the like
                "grade": record.text("newGrade"),
                "available_at": end_of_day(day),
            }
        )
    return rows


def targets(answer: Answer, symbol: str) -> Rows:
    """Read price targets as they were published."""
    rows = []
    for record in records(answer):
        published = record.moment("publishedDate")
        moment = published.tz_localize("UTC") if published.tzinfo is None else published.tz_convert("UTC")
        target = record.number("priceTarget")  # of its day; `adjPriceTarget` is re-based after splits
        firm = record.optional("analystCompany", "newsPublisher")
        rows.append(
            {
                "symbol": symbol,
                "published_on": new_york_day(moment),
                "firm": str(firm or "unknown"),
                "target": target,
                "available_at": moment,
            }
        )
    return rows


def estimates(answer: Answer, symbol: str) -> list[Kept[Row]]:
    """Read the consensus for fiscal periods, each with the moment at which it was seen."""
    return [
        Kept(
            answer.fetched_at,
            {
                "symbol": symbol,
                "period_end": record.day("date"),
                "fiscal_period": f"{record.day('date'):%y-%b}",
                "eps_estimate": record.number("epsAvg", "estimatedEpsAvg"),
                "eps_high": record.number("epsHigh", "estimatedEpsHigh"),
                "eps_low": record.number("epsLow", "estimatedEpsLow"),
                "analysts": record.number("numAnalystsEps", "numberAnalystsEstimatedEps"),
            },
        )
        for record in records(answer)
    ]


def constituents(answer: Answer) -> Rows:
    """Read the members of an index, of which there are some."""
    rows = [
        {"symbol": record.needed("symbol"), "name": record.text("name"), "sector": record.text("sector")}
        for record in records(answer)
    ]
    if not rows:
        raise answer.unexpected("an index without members")
    return rows


def index_changes(answer: Answer) -> Rows:
    """Read who came into an index and who went, each in force from `day` on; None where it is one of the two only."""
    rows = []
    for record in records(answer):
        came, went = record.text("symbol"), record.text("removedTicker")
        joined = record.text("addedSecurity") is not None  # else `symbol` repeats who went
        # `date` may be the eve: of a company that came on July 9 it says 2025-07-08 beside "July 9, 2025".
        day = record.optional_day("dateAdded") or record.day("date")
        rows.append({"day": day, "added": came if joined else None, "removed": went})
    return rows


def profile(answer: Answer) -> Row:
    """Read a company's name and sector; None where nothing is said of it."""
    record = next(records(answer), None)
    if record is None:
        return {"name": None, "sector": None}
    return {"name": record.text("companyName"), "sector": record.text("sector")}


def first_of_each(key: tuple[str, ...], rows: Iterable[Row]) -> Rows:
    """Return the first row with each key."""
    chosen: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        chosen.setdefault(tuple(row[name] for name in key), row)
    return list(chosen.values())


def _positive(value: float) -> float:
    return value if value > 0 else np.nan


def _not_zero(value: float) -> float:
    """FMP writes 0 for an item that it does not have."""
    return value if value else np.nan
