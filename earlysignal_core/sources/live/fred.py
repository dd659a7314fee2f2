"""FRED and its archive ALFRED: economic series by vintage, so that a revision is known from its own day on."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from httpx import codes

from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live.clock import end_of_day
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    FutureDateError,
    NoVintagesError,
    ProviderError,
    RefusedError,
    TooManyVintagesError,
    UnknownSeriesError,
    UnusableSeriesError,
)
from earlysignal_core.sources.live.fetch import FOREVER, MOST_OF_IT, Fetcher
from earlysignal_core.sources.live.http import Provider, key_as_parameter
from earlysignal_core.sources.live.limits import Limit
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.records import Record, Row, records
from earlysignal_core.trading_calendar import sessions

NAME = "fred"
MOST_VINTAGES = 2000
"""In one answer; a question for more is refused."""

_ROWS = 100_000
_VINTAGE_DATES = 10_000
_ST_LOUIS = "America/Chicago"
_WINDOW = 1000  # vintages: half of what is allowed, and a window that is full never changes
_MISSING = "."
_OFTEN = pd.Timedelta(days=10)
_MEANS: tuple[tuple[str, type[ProviderError]], ...] = (
    ("api_key", BadKeyError),
    ("does not exist in alfred", NoVintagesError),
    ("series does not exist", UnknownSeriesError),
    ("maximum number of vintage dates", TooManyVintagesError),
    ("after today's date", FutureDateError),
)


def provider(settings: LiveSettings) -> Provider | None:
    """Return how to speak with FRED, or None without a key."""
    if settings.fred_key is None:
        return None
    limit = Limit(settings.fred_per_minute, 60.0)
    return Provider(NAME, {"": settings.fred_url}, limit, judge, settings.fred_key, key_as_parameter("api_key"))


def judge(answer: Answer) -> None:
    """Raise what FRED means: a wrong key is a 400 like every other refusal.

    Raises
    ------
    ProviderError
    """
    if answer.status == codes.OK:
        _ = answer.json
    elif answer.status == codes.BAD_REQUEST:
        said = " ".join(answer.text.split())
        kind = next((kind for words, kind in _MEANS if words in said.lower()), RefusedError)
        raise answer.failure(kind, answer.shown)


class Fred:
    """Asks FRED for rows of `macro`.

    Parameters
    ----------
    fetcher : Fetcher
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def series(self, name: str, first: pd.Timestamp, since: pd.Timestamp, now: pd.Timestamp) -> list[Row]:
        """Return every vintage of a series' observations since a day.

        Parameters
        ----------
        name : str
            Like ``UNRATE``.
        first : Timestamp
            The first observation that is wanted.
        since : Timestamp
            UTC. The list of vintages may not be older; an answer for vintages that are over serves for ever.
        now : Timestamp
            UTC.

        Returns
        -------
        list of dict
            Rows of `macro`. A vintage is known at the end of the New York day of its release: FRED gives no hour. A
            series without vintages in ALFRED is known at the end of the second session after its day.
        """
        try:
            dates = [day for day in self._vintages(name, since) if day <= _today(now)]
        except NoVintagesError:
            dates = []
        if not dates:
            return _of_days(name, self._without_vintages(name, first, since))
        # What was known at the beginning of `first` came with the vintage before it.
        begin = max(int(pd.DatetimeIndex(dates).searchsorted(first)) - 1, 0) // _WINDOW * _WINDOW
        rows: list[Row] = []
        for at in range(begin, len(dates), _WINDOW):
            window = dates[at : at + _WINDOW]
            rows += self._vintage_rows(name, first, window[0], window[-1])
        return _not_ahead(name, list(_changes(rows)))

    def _vintages(self, name: str, since: pd.Timestamp) -> list[pd.Timestamp]:
        params = {"series_id": name, "file_type": "json", "limit": str(_VINTAGE_DATES)}
        found: list[pd.Timestamp] = []
        while True:
            request = Request(NAME, "/fred/series/vintagedates", {**params, "offset": str(len(found))})
            page = self._fetcher.fetch(request, since, partial(_vintage_dates, offset=len(found)), keeps=1.0)
            found += page
            if len(page) < _VINTAGE_DATES:
                return found

    def _vintage_rows(self, name: str, first: pd.Timestamp, begin: pd.Timestamp, end: pd.Timestamp) -> list[Row]:
        """Return the observations of a window of vintages: its dates are the question, so it never changes."""
        window = {"realtime_start": f"{begin:%Y-%m-%d}", "realtime_end": f"{end:%Y-%m-%d}"}
        return [
            {
                "series": name,
                "period": record.day("date"),
                "value": record.number_in_text("value", missing=(_MISSING,)),
                "available_at": end_of_day(max(record.day("realtime_start"), begin)),
            }
            for record in self._observations(name, first, window, FOREVER)
        ]

    def _without_vintages(self, name: str, first: pd.Timestamp, since: pd.Timestamp) -> list[Row]:
        rows = []
        for record in self._observations(name, first, {}, since):
            day, value = record.day("date"), record.number_in_text("value", missing=(_MISSING,))
            if not np.isnan(value):
                known_on = sessions()[int(sessions().searchsorted(day, side="right")) + 1]
                rows.append({"series": name, "period": day, "value": value, "available_at": end_of_day(known_on)})
        return rows

    def _observations(
        self, name: str, first: pd.Timestamp, window: dict[str, str], since: pd.Timestamp
    ) -> Iterator[Record]:
        params = {
            "series_id": name,
            "file_type": "json",
            "observation_start": f"{first:%Y-%m-%d}",
            "limit": str(_ROWS),
            **window,
        }
        offset = 0
        while True:
            request = Request(NAME, "/fred/series/observations", {**params, "offset": str(offset)})
            found, count = self._fetcher.fetch(
                request, since, partial(_page, offset=offset), MOST_OF_IT, lambda page, _seen_at: len(page[0])
            )
            yield from found
            offset += len(found)
            if offset >= count:
                return


def _page(answer: Answer, offset: int) -> tuple[list[Record], int]:
    content = answer.json
    if not isinstance(content, dict) or "observations" not in content or not isinstance(content.get("count"), int):
        raise answer.unexpected(f"no `observations` with their `count`: {answer.shown}")
    found = list(records(answer, content["observations"]))
    for record in found:  # what cannot be read is found before it is kept as good
        record.day("date"), record.day("realtime_start"), record.number_in_text("value", missing=(_MISSING,))
    if not found and offset < content["count"]:
        raise answer.unexpected(f"nothing from {offset} on where there are {content['count']} observations")
    return found, content["count"]


def _vintage_dates(answer: Answer, offset: int) -> list[pd.Timestamp]:
    content = answer.json
    dates = content.get("vintage_dates") if isinstance(content, dict) else None
    if not isinstance(dates, list) or not all(isinstance(day, str) for day in dates):
        raise answer.unexpected(f"no list of `vintage_dates`: {answer.shown}")
    if not dates and not offset:  # a series without any is refused, and not with an empty list
        raise answer.unexpected("an empty list of `vintage_dates`")
    return [pd.Timestamp(day).as_unit("ns") for day in dates]


def _changes(rows: list[Row]) -> Iterator[Row]:
    """Yield each value when it was first published: a window repeats, at its beginning, what held before it."""
    last: dict[pd.Timestamp, float] = {}
    for row in sorted(rows, key=lambda row: (row["available_at"], row["period"])):
        before, value = last.get(row["period"], np.nan), row["value"]
        if value == before or (np.isnan(value) and np.isnan(before)):
            continue
        last[row["period"]] = value
        yield row


def _of_days(name: str, rows: list[Row]) -> list[Row]:
    """Refuse a series that is rarer than weekly: without vintages nobody knows when a month's value came out."""
    days = [row["period"] for row in rows]
    apart = sorted(later - earlier for earlier, later in pairwise(days))
    if apart and apart[len(apart) // 2] > _OFTEN:
        problem = "its values are weeks apart and have no vintages: when each was published is not known"
        raise UnusableSeriesError(NAME, f"series {name}", problem)
    return rows


def _not_ahead(name: str, rows: list[Row]) -> list[Row]:
    """Refuse a projection: what speaks of days to come has no place in a table of what has been."""
    ahead = [row for row in rows if row["available_at"] < end_of_day(row["period"])]
    if ahead:
        problem = f"its value of {ahead[0]['period']:%Y-%m-%d} was published on {ahead[0]['available_at']:%Y-%m-%d}"
        raise UnusableSeriesError(NAME, f"series {name}", f"{problem}, before that day")
    return rows


def _today(now: pd.Timestamp) -> pd.Timestamp:
    return now.tz_convert(_ST_LOUIS).normalize().tz_localize(None)
