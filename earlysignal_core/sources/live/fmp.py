"""Financial Modeling Prep: announcements, prices, splits, dividends, statements, grades, price targets.

The current (`/stable`) endpoints only. What the provider rewrites in place (estimates, statements) is known from the
day on which we saw it; docs/live-sources.md says what is known when.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd
from httpx import codes

from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live.clock import close_of, end_of_day, new_york, new_york_day, session_close
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    LegacyEndpointError,
    NotInPlanError,
    ProviderError,
    RateLimitedError,
    RefusedError,
    TruncatedAnswerError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import Fetcher, Kept
from earlysignal_core.sources.live.http import Answer, Provider, Request, key_as_parameter, retry_after
from earlysignal_core.sources.live.limits import Limit
from earlysignal_core.sources.live.records import Record, records

NAME = "fmp"
MOST_ROWS = 4000
"""Of a calendar: an answer with as many is cut off."""

Row = dict[str, Any]
Rows = list[Row]

_BACK_OFF = 60.0
_SAID = ("Error Message", "error", "message")
_MEANS: tuple[tuple[str, type[ProviderError]], ...] = (
    ("invalid api key", BadKeyError),
    ("limit reach", RateLimitedError),
    ("legacy endpoint", LegacyEndpointError),
    ("not available under", NotInPlanError),
    ("premium query parameter", NotInPlanError),
    ("restricted endpoint", NotInPlanError),
)
_BY_STATUS: dict[int, type[ProviderError]] = {
    codes.UNAUTHORIZED: BadKeyError,
    codes.PAYMENT_REQUIRED: NotInPlanError,
    codes.FORBIDDEN: NotInPlanError,
    codes.TOO_MANY_REQUESTS: RateLimitedError,
}
_KNOWN_AT = {"bmo": pd.Timedelta(hours=8), "amc": pd.Timedelta(hours=16, minutes=15)}
_ACTIONS = {"upgrade": "upgrade", "downgrade": "downgrade", "initiate": "initiate", "initialise": "initiate"}
_MOST_OF_IT = 0.95  # of the rows of the past: the provider corrects a few
_WITH_TIMES = {"includeReportTimes": "true"}
_PAGE = 100
_MOST_PAGES = 100


def provider(settings: LiveSettings) -> Provider | None:
    """Return how to speak with FMP, or None without a key."""
    if settings.fmp_key is None:
        return None
    limit = Limit(settings.fmp_per_minute, 60.0, settings.fmp_per_day)
    return Provider(NAME, {"": settings.fmp_url}, limit, judge, settings.fmp_key, key_as_parameter("apikey"))


def judge(answer: Answer) -> None:
    """Raise what FMP means: it reports failures under 200, and in plain text under a JSON type.

    Raises
    ------
    ProviderError
    """
    if answer.status >= codes.INTERNAL_SERVER_ERROR:
        return  # the status says enough
    if answer.is_html:
        raise answer.failure(UnreadableAnswerError, f"a page of HTML: {answer.shown}")
    said = _complaint(answer)
    if said is None:
        return
    kind = next((kind for words, kind in _MEANS if words in said.lower()), _BY_STATUS.get(answer.status))
    if kind is None and not said and answer.status == codes.OK:
        raise answer.failure(UnreadableAnswerError, "an empty body")
    if kind is None and answer.status == codes.OK and not isinstance(_json_or_none(answer), dict):
        raise answer.failure(UnreadableAnswerError, f"no JSON: {answer.shown}")
    wait = retry_after(answer, _BACK_OFF) if kind is RateLimitedError else None
    raise answer.failure(kind or RefusedError, f"status {answer.status}: {answer.shown}", wait)


def _complaint(answer: Answer) -> str | None:
    """Return what an answer that is no array says."""
    content = _json_or_none(answer)
    if isinstance(content, list):
        return None if answer.status == codes.OK else ""
    if isinstance(content, dict):
        return " ".join(str(content[name]) for name in _SAID if name in content)
    return answer.text.strip()


def _json_or_none(answer: Answer) -> Any:
    try:
        return answer.json
    except UnreadableAnswerError:
        return None


class Fmp:
    """Asks FMP for rows of the tables, each with `available_at`.

    Parameters
    ----------
    fetcher : Fetcher
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def announcements(self, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return what the earnings calendar says of some days, each row with the moment at which it was said.

        Rows have symbol, expected_on, session, fiscal_period, eps_estimate, eps_actual. A future row's estimate is
        the consensus of the moment; a past row's may have been rewritten since.
        """
        return self._calendar("/stable/earnings-calendar", first, last, since, _announcement, _WITH_TIMES)

    def splits(self, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return the splits of some days, as rows of `corporate_actions`, known at the close of the ex-date."""
        return self._calendar("/stable/splits-calendar", first, last, since, _split)

    def dividends(self, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return the dividends of some days, as rows of `corporate_actions`, known at the close of the ex-date."""
        return self._calendar("/stable/dividends-calendar", first, last, since, _dividend)

    def prices(self, symbol: str, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> Rows:
        """Return the bars of some days as they were traded, without a session that was not over when it was asked."""
        dates = {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}
        path = "/stable/historical-price-eod/non-split-adjusted"
        request = Request(NAME, path, {"symbol": symbol, **dates})
        return self._fetcher.fetch(request, since, lambda answer: _bars(answer, symbol), keeps=1.0)

    def statements(self, symbol: str, since: pd.Timestamp) -> Rows:
        """Return a company's quarterly statements.

        A statement is known from its acceptance on. One that reads otherwise than when we first saw it is a
        restatement, and known from the moment on at which we saw that.
        """
        request = _statements_request(symbol)
        self._fetcher.fetch(request, since, lambda answer: _statements(answer, symbol), _MOST_OF_IT)
        return list(_restated(self._fetcher.history(request, lambda answer: _statements(answer, symbol))))

    def newest_period(self, symbol: str) -> pd.Timestamp | None:
        """Return the end of the newest period of which a statement is kept, without asking."""
        kept = self._fetcher.history(_statements_request(symbol), lambda answer: _statements(answer, symbol))
        return max((row["period_end"] for row in kept[-1].content), default=None) if kept else None

    def grades(self, symbol: str, since: pd.Timestamp) -> Rows:
        """Return the grades that analysts gave a company, known at the end of the day."""
        request = Request(NAME, "/stable/grades", {"symbol": symbol})
        self._fetcher.fetch(request, since, lambda answer: _grades(answer, symbol), _MOST_OF_IT)
        seen = self._fetcher.history(request, lambda answer: _grades(answer, symbol))
        return _first_of_each(("graded_on", "firm"), (row for kept in seen for row in kept.content))

    def price_targets(self, symbol: str, since: pd.Timestamp) -> Rows:
        """Return the price targets for a company, known from their publication on.

        All pages are read once; later, from the newest on, until one holds what an earlier walk has seen.
        """
        pages = [_targets_page(symbol, page) for page in range(_MOST_PAGES)]

        def seen(page: Request) -> list[Kept[Rows]]:
            return self._fetcher.history(page, lambda answer: _targets(answer, symbol))

        earlier = [kept.content for page in _while_true(pages, seen) for kept in page if kept.fetched_at < since]
        known = {_identity(row) for rows in earlier for row in rows}
        reached_the_end = any(len(rows) < _PAGE for rows in earlier)
        for page in pages:
            rows = self._fetcher.fetch(page, since, lambda answer: _targets(answer, symbol))
            if len(rows) < _PAGE or (reached_the_end and any(_identity(row) in known for row in rows)):
                break
        newest = (kept.content for page in _while_true(pages, seen) for kept in reversed(page))
        targets = (row for rows in newest for row in rows if row["target"] > 0)
        return _first_of_each(("published_on", "firm"), targets)

    def estimates(self, symbol: str, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return the consensus for a company's fiscal quarters as it is now."""
        params = {"symbol": symbol, "period": "quarter", "page": "0", "limit": "12"}
        request = Request(NAME, "/stable/analyst-estimates", params)
        return self._fetcher.fetch(request, since, lambda answer: _estimates(answer, symbol))

    def constituents(self, since: pd.Timestamp) -> Rows:
        """Return the companies of the S&P 500 as of today, as rows of `universe` but for the sector's ETF."""
        return self._fetcher.fetch(Request(NAME, "/stable/sp500-constituent"), since, _constituents)

    def _calendar(
        self,
        path: str,
        first: pd.Timestamp,
        last: pd.Timestamp,
        since: pd.Timestamp,
        read: Callable[[Record], Row | None],
        more: Mapping[str, str] | None = None,
    ) -> list[Kept[Row]]:
        def parse(answer: Answer) -> list[Kept[Row] | None]:
            return [Kept(answer.fetched_at, row) if row else None for row in map(read, records(answer))]

        dates = {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}
        request = Request(NAME, path, {**dates, **(more or {})})
        over = last < new_york_day(since)  # the future may empty itself, the past may not
        found = self._fetcher.fetch(request, since, parse, _MOST_OF_IT if over else 0.0)
        if len(found) < MOST_ROWS:
            return [kept for kept in found if kept is not None]
        if first == last:
            raise TruncatedAnswerError(NAME, request.asked, f"{len(found)} rows for one day, as many as fit")
        middle = (first + (last - first) / 2).normalize()
        halves = ((first, middle), (middle + pd.Timedelta(days=1), last))
        return [kept for half in halves for kept in self._calendar(path, *half, since, read, more)]


def _announcement(record: Record) -> Row | None:
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


def _split(record: Record) -> Row | None:
    ratio = record.number("numerator") / record.number("denominator")
    return _action(record, "split", ratio)


def _dividend(record: Record) -> Row | None:
    return _action(record, "dividend", record.number("dividend"))


def _action(record: Record, kind: str, value: float) -> Row | None:
    if not (np.isfinite(value) and value > 0):
        return None
    day = record.day("date")
    symbol = record.needed("symbol")
    return {"symbol": symbol, "session": day, "kind": kind, "value": value, "available_at": close_of(day)}


def _bars(answer: Answer, symbol: str) -> Rows:
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
    return _first_of_each(("session",), rows)


def _statements(answer: Answer, symbol: str) -> Rows:
    rows = []
    for record in records(answer):
        filed = record.day("filingDate", "fillingDate")  # spelled so by the older generation
        accepted = record.optional("acceptedDate")
        known = new_york(str(accepted)) if accepted and len(str(accepted)) > len("2024-11-01") else end_of_day(filed)
        rows.append(
            {
                "symbol": symbol,
                "period_end": record.day("date"),
                "revenue": _not_zero(record.number("revenue")),
                "net_income": _not_zero(record.number("netIncome")),
                "total_assets": np.nan,
                "shares_outstanding": _positive(record.number("weightedAverageShsOut")),
                "available_at": known,
            }
        )
    return _first_of_each(("period_end",), rows)


def _restated(seen: Iterable[Kept[Rows]]) -> Iterator[Row]:
    last: dict[pd.Timestamp, Row] = {}
    for kept in seen:
        for row in kept.content:
            before = last.get(row["period_end"])
            if before is None:
                yield row
            elif _figures(before) != _figures(row):
                yield {**row, "available_at": max(kept.fetched_at, row["available_at"])}
            last[row["period_end"]] = row


def _figures(row: Row) -> tuple[Any, ...]:
    figures = (row["revenue"], row["net_income"], row["shares_outstanding"])
    return tuple(None if np.isnan(figure) else figure for figure in figures)


def _grades(answer: Answer, symbol: str) -> Rows:
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


def _targets(answer: Answer, symbol: str) -> Rows:
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


def _estimates(answer: Answer, symbol: str) -> list[Kept[Row]]:
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


def _constituents(answer: Answer) -> Rows:
    return [
        {"symbol": record.needed("symbol"), "name": record.text("name"), "sector": record.text("sector")}
        for record in records(answer)
    ]


def _statements_request(symbol: str) -> Request:
    return Request(NAME, "/stable/income-statement", {"symbol": symbol, "period": "quarter", "limit": "80"})


def _targets_page(symbol: str, page: int) -> Request:
    params = {"symbol": symbol, "page": str(page), "limit": str(_PAGE)}
    return Request(NAME, "/stable/price-target-news", params)


def _while_true(pages: Iterable[Request], seen: Callable[[Request], list[Kept[Rows]]]) -> Iterator[list[Kept[Rows]]]:
    return takewhile(bool, map(seen, pages))


def _identity(row: Row) -> tuple[Any, ...]:
    return row["published_on"], row["firm"], row["available_at"]


def _first_of_each(key: tuple[str, ...], rows: Iterable[Row]) -> Rows:
    chosen: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        chosen.setdefault(tuple(row[name] for name in key), row)
    return list(chosen.values())


def _positive(value: float) -> float:
    return value if value > 0 else np.nan


def _not_zero(value: float) -> float:
    """FMP writes 0 for an item that it does not have."""
    return value if value else np.nan
