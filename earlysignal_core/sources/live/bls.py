"""The Bureau of Labor Statistics: its values as of today, without vintages or days of publication.

For history take the FRED twin of a series: a value of the BLS is known from the moment at which we first saw it.
"""

import json
import re

import httpx
import numpy as np
import pandas as pd

from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live.errors import BadKeyError, ProviderError, QuotaExhaustedError, RefusedError
from earlysignal_core.sources.live.errors import ServerFailedError as OverCapacityError
from earlysignal_core.sources.live.fetch import Fetcher
from earlysignal_core.sources.live.http import Provider, changed
from earlysignal_core.sources.live.limits import Limit
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.records import Row, records

NAME = "bls"
FRED_TWINS = {"LNS14000000": "UNRATE", "CUSR0000SA0": "CPIAUCSL", "CES0000000001": "PAYEMS"}
MOST_SERIES, MOST_YEARS = 50, 20
"""In one question; a longer range is cut off with no more than a remark."""

_DONE = "REQUEST_SUCCEEDED"
_MONTH = re.compile(r"M(0[1-9]|1[0-2])")  # M13 is the year's average
_MISSING = "-"


def provider(settings: LiveSettings) -> Provider | None:
    """Return how to speak with the BLS, or None without a key."""
    if settings.bls_key is None:
        return None
    limit = Limit(50, 10.0, settings.bls_per_day)
    return Provider(NAME, {"": settings.bls_url}, limit, judge, settings.bls_key, _with_key)


def _with_key(request: httpx.Request, key: str) -> httpx.Request:
    request.read()
    return changed(request, content=json.dumps({**json.loads(request.content), "registrationkey": key}).encode())


def judge(answer: Answer) -> None:
    """Raise what the BLS means: its failures come under 200.

    Raises
    ------
    ProviderError
    """
    if answer.status != httpx.codes.OK:
        return
    content = answer.json
    if not isinstance(content, dict) or "status" not in content:
        raise answer.unexpected(f"no `status`: {answer.shown}")
    if content["status"] == _DONE:
        return
    said = f"{content['status']}: {' '.join(map(str, content.get('message') or []))}"
    if "threshold" in said.lower():
        kind: type[ProviderError] = QuotaExhaustedError
    elif "OVER_CAPACITY" in said:
        kind = OverCapacityError
    else:
        kind = BadKeyError if "key" in said.lower() else RefusedError
    raise answer.failure(kind, said)


class Bls:
    """Asks the BLS for monthly values.

    Parameters
    ----------
    fetcher : Fetcher
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def series(self, names: list[str], first_year: int, last_year: int, since: pd.Timestamp) -> list[Row]:
        """Return the monthly values of some series, as rows of `macro` under their FRED names.

        A value is known from the moment at which we first saw it; one that changed since is a new row. A series that
        the BLS does not know, or has no values of, has no rows: the BLS calls that a success.
        """
        rows: list[Row] = []
        for at in range(0, len(names), MOST_SERIES):
            for year in range(first_year, last_year + 1, MOST_YEARS):
                some, until = names[at : at + MOST_SERIES], min(year + MOST_YEARS - 1, last_year)
                self._fetcher.fetch(_question(some, year, until), since, _values)
                # Each year asks anew; what a value was when it was first seen stands in answers of the years before.
                questions = [_question(some, year, end) for end in range(year, until + 1)]
                seen = [kept for question in questions for kept in self._fetcher.history(question, _values)]
                last: dict[tuple[str, pd.Timestamp], float] = {}
                for kept in sorted(seen, key=lambda kept: kept.fetched_at):
                    for key, value in kept.content.items():
                        if not np.isnan(value) and last.get(key) != value:
                            last[key] = value
                            series, period = key
                            known = {"value": value, "available_at": kept.fetched_at}
                            rows.append({"series": FRED_TWINS.get(series, series), "period": period, **known})
        return rows


def _question(names: list[str], first_year: int, last_year: int) -> Request:
    payload = {"seriesid": names, "startyear": str(first_year), "endyear": str(last_year)}
    return Request(NAME, "/publicAPI/v2/timeseries/data/", payload=payload)


def _values(answer: Answer) -> dict[tuple[str, pd.Timestamp], float]:
    results = answer.json.get("Results")
    if isinstance(results, list):  # the older version wraps it
        results = results[0] if results else {}
    if not isinstance(results, dict):
        raise answer.unexpected(f"no `Results`: {answer.shown}")
    values = {}
    for series in records(answer, results.get("series")):
        name = series.needed("seriesID")
        for record in records(answer, series.get("data")):
            month = _MONTH.fullmatch(record.needed("period"))
            if month:
                period = pd.Timestamp(int(record.needed("year")), int(month[1]), 1)
                values[name, period] = record.number_in_text("value", missing=(_MISSING,))
    return values
