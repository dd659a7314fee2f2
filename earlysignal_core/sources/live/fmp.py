"""Financial Modeling Prep: announcements, prices, splits, dividends, statements, grades, price targets.

The current (`/stable`) endpoints only. What the provider rewrites in place (estimates, statements) is known from the
day on which we saw it; docs/live-sources.md says what is known when.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd
from httpx import codes

from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live import fmp_rows as rows_of
from earlysignal_core.sources.live.clock import new_york_day
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
from earlysignal_core.sources.live.fetch import FOREVER, MOST_OF_IT, Fetcher, Kept
from earlysignal_core.sources.live.http import Provider, key_as_parameter, retry_after
from earlysignal_core.sources.live.limits import Limit
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.records import Record, Row, Rows, records

Identity = tuple[Any, ...]

NAME = "fmp"
MOST_ROWS = 4000
"""Of a calendar: an answer with as many is cut off."""

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
_ANNOUNCEMENTS = "/stable/earnings-calendar"
_WITH_TIMES = {"includeReportTimes": "true"}
_INDEX_CHANGES = Request(NAME, "/stable/historical-sp500-constituent")
_PAGE = 100
_IDENTITY = ("published_on", "firm", "available_at")  # of a price target
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
    companies : container of str, optional
        Whose records of a calendar, which lists those of the whole world, are read; by default all.
    """

    def __init__(self, fetcher: Fetcher, companies: Container[str] | None = None) -> None:
        self._fetcher, self._companies = fetcher, companies

    def announcements(self, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return what the earnings calendar says of some days, each row with the moment at which it was said.

        Rows have symbol, expected_on, session, fiscal_period, eps_estimate, eps_actual. A future row's estimate is
        the consensus of the moment; a past row's may have been rewritten since.
        """
        return self._calendar(_ANNOUNCEMENTS, first, last, since, rows_of.announcement, _announced_on, _WITH_TIMES)

    def moments_of_announcements(self, first: pd.Timestamp, last: pd.Timestamp) -> list[pd.Timestamp]:
        """Return when (UTC) something was said of the announcements of some days, readable or not."""
        return self._fetcher.store.moments(_calendar_request(_ANNOUNCEMENTS, first, last, _WITH_TIMES))

    def splits(self, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return the splits of some days, as rows of `corporate_actions`, known at the close of the ex-date."""
        return self._calendar("/stable/splits-calendar", first, last, since, rows_of.split, _acted_on)

    def dividends(self, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return the dividends of some days, as rows of `corporate_actions`, known at the close of the ex-date."""
        return self._calendar("/stable/dividends-calendar", first, last, since, rows_of.dividend, _acted_on)

    def prices(self, symbol: str, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp) -> Rows:
        """Return the bars of some days as they were traded, without a session that was not over when it was asked."""
        dates = {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}
        path = "/stable/historical-price-eod/non-split-adjusted"
        request = Request(NAME, path, {"symbol": symbol, **dates})
        return self._fetcher.fetch(request, since, lambda answer: rows_of.bars(answer, symbol), keeps=1.0)

    def statements(self, symbol: str, since: pd.Timestamp) -> Rows:
        """Return a company's quarterly statements.

        A statement is known from its acceptance on. One that reads otherwise than when we first saw it is a
        restatement, and known from the moment on at which we saw that.
        """
        request = _statements_request(symbol)
        self._fetcher.fetch(request, since, lambda answer: rows_of.statements(answer, symbol), MOST_OF_IT)
        return list(rows_of.restated(self._fetcher.history(request, lambda answer: rows_of.statements(answer, symbol))))

    def newest_period(self, symbol: str) -> pd.Timestamp | None:
        """Return the end of the newest period of which a statement is kept, without asking."""
        kept = self._fetcher.history(_statements_request(symbol), lambda answer: rows_of.statements(answer, symbol))
        return max((row["period_end"] for row in kept[-1].content), default=None) if kept else None

    def grades(self, symbol: str, since: pd.Timestamp) -> Rows:
        """Return the grades that analysts gave a company, known at the end of the day."""
        request = Request(NAME, "/stable/grades", {"symbol": symbol})
        self._fetcher.fetch(request, since, lambda answer: rows_of.grades(answer, symbol), MOST_OF_IT)
        seen = self._fetcher.history(request, lambda answer: rows_of.grades(answer, symbol))
        return rows_of.first_of_each(("graded_on", "firm"), (row for kept in seen for row in kept.content))

    def price_targets(self, symbol: str, since: pd.Timestamp) -> Rows:
        """Return the price targets for a company, known from their publication on, as they first read.

        Of several of one firm and day the first counts, which no later one may take away. All pages are read once;
        later, from the newest on, until one holds what a walk that came to its end has seen.
        """
        pages = [_targets_page(symbol, page) for page in range(_MOST_PAGES)]

        def seen(page: Request) -> list[Kept[Rows]]:
            return self._fetcher.history(page, lambda answer: rows_of.targets(answer, symbol))

        known = _of_whole_walks(_while_true(pages, seen), since)
        for page in pages:
            rows = self._fetcher.fetch(page, since, lambda answer: rows_of.targets(answer, symbol))
            if _ends(rows, known):
                break
        first = (kept.content for page in _while_true(pages, seen) for kept in page)
        targets = (row for rows in first for row in rows if row["target"] > 0)
        as_read = rows_of.first_of_each(_IDENTITY, targets)
        return rows_of.first_of_each(("published_on", "firm"), sorted(as_read, key=lambda row: row["available_at"]))

    def estimates(self, symbol: str, since: pd.Timestamp) -> list[Kept[Row]]:
        """Return the consensus for a company's fiscal quarters as it is now."""
        params = {"symbol": symbol, "period": "quarter", "page": "0", "limit": "12"}
        request = Request(NAME, "/stable/analyst-estimates", params)
        return self._fetcher.fetch(request, since, lambda answer: rows_of.estimates(answer, symbol))

    def constituents(self, since: pd.Timestamp) -> Rows:
        """Return the companies of the S&P 500 as of today, as rows of `universe` but for the sector's ETF."""
        return self._fetcher.fetch(Request(NAME, "/stable/sp500-constituent"), since, rows_of.constituents, MOST_OF_IT)

    def index_changes(self, since: pd.Timestamp) -> Rows:
        """Return who came into the S&P 500 and who went: rows with day, added, removed."""
        return self._fetcher.fetch(_INDEX_CHANGES, since, rows_of.index_changes, MOST_OF_IT)

    def knows_index_changes(self) -> bool:
        """Say whether the changes of the S&P 500 are kept, without asking."""
        return any(kept.content for kept in self._fetcher.history(_INDEX_CHANGES, rows_of.index_changes))

    def profile(self, symbol: str) -> Row:
        """Return a company's name and sector; asked for once."""
        return self._fetcher.fetch(Request(NAME, "/stable/profile", {"symbol": symbol}), FOREVER, rows_of.profile)

    def _wants(self, record: Record) -> bool:
        return self._companies is None or record.text("symbol") in self._companies

    def _calendar(
        self,
        path: str,
        first: pd.Timestamp,
        last: pd.Timestamp,
        since: pd.Timestamp,
        read: Callable[[Record], Row | None],
        happened_on: Callable[[Row], pd.Timestamp | None],
        more: Mapping[str, str] | None = None,
    ) -> list[Kept[Row]]:
        def parse(answer: Answer) -> list[Kept[Row] | None]:
            # Records of others are counted, since a calendar is cut off by its length, and not read.
            rows = (read(record) if self._wants(record) else None for record in records(answer))
            return [Kept(answer.fetched_at, row) if row else None for row in rows]

        def past(rows: list[Kept[Row] | None], seen_at: pd.Timestamp) -> int:
            # Of the companies that are followed: the future may empty itself, the past may not.
            days, today = [happened_on(kept.content) for kept in rows if kept is not None], new_york_day(seen_at)
            return sum(day is not None and day < today for day in days)

        request = _calendar_request(path, first, last, more)
        found = self._fetcher.fetch(request, since, parse, MOST_OF_IT, past)
        if len(found) < MOST_ROWS:
            return [kept for kept in found if kept is not None]
        if first == last:
            raise TruncatedAnswerError(NAME, request.asked, f"{len(found)} rows for one day, as many as fit")
        middle = (first + (last - first) / 2).normalize()
        halves = ((first, middle), (middle + pd.Timedelta(days=1), last))
        return [kept for half in halves for kept in self._calendar(path, *half, since, read, happened_on, more)]


def _calendar_request(
    path: str, first: pd.Timestamp, last: pd.Timestamp, more: Mapping[str, str] | None = None
) -> Request:
    return Request(NAME, path, {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}", **(more or {})})


def _announced_on(row: Row) -> pd.Timestamp | None:
    """Return the day of an announcement that has come; one that has not may be moved away."""
    day: pd.Timestamp | None = None if np.isnan(row["eps_actual"]) else row["expected_on"]
    return day


def _acted_on(row: Row) -> pd.Timestamp | None:
    day: pd.Timestamp = row["session"]
    return day


def _statements_request(symbol: str) -> Request:
    return Request(NAME, "/stable/income-statement", {"symbol": symbol, "period": "quarter", "limit": "80"})


def _targets_page(symbol: str, page: int) -> Request:
    params = {"symbol": symbol, "page": str(page), "limit": str(_PAGE)}
    return Request(NAME, "/stable/price-target-news", params)


def _while_true(pages: Iterable[Request], seen: Callable[[Request], list[Kept[Rows]]]) -> Iterator[list[Kept[Rows]]]:
    return takewhile(bool, map(seen, pages))


def _of_whole_walks(pages: Iterable[list[Kept[Rows]]], since: pd.Timestamp) -> set[Identity]:
    """Return the targets that earlier walks have seen which came to their end: behind others may lie a hole."""
    answers = [(kept.fetched_at, number, kept.content) for number, page in enumerate(pages) for kept in page]
    known: set[Identity] = set()
    walk: set[Identity] = set()
    for fetched_at, number, rows in sorted(answers, key=lambda answer: answer[:2]):
        if fetched_at >= since:
            break
        walk = _identities(rows) | (walk if number else set())
        if _ends(rows, known):
            known |= walk
    return known


def _ends(rows: Rows, known: set[Identity]) -> bool:
    """Say whether a walk from the newest target on ends with a page."""
    return len(rows) < _PAGE or not known.isdisjoint(_identities(rows))


def _identities(rows: Rows) -> set[Identity]:
    return {tuple(row[name] for name in _IDENTITY) for row in rows}
