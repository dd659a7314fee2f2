"""EODHD's option chains at the end of a session: put and call volume, and implied volatility at the money."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from httpx import codes

from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live.clock import close_of
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    ProviderError,
    QuotaExhaustedError,
    TruncatedAnswerError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import MOST_OF_IT, Fetcher
from earlysignal_core.sources.live.http import Provider, key_as_parameter
from earlysignal_core.sources.live.limits import Limit
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.records import Record, Row, records

NAME = "eodhd"
MOST_ROWS = 10_000
"""That can be paged through; a longer answer is asked for in parts."""

_PAGE = 1000
_DAYS = 30.0
_AT_THE_MONEY = (0.35, 0.65)  # of |delta|: further away its volatility is that of another strike
_BY_STATUS: dict[int, type[ProviderError]] = {
    codes.UNAUTHORIZED: BadKeyError,
    codes.FORBIDDEN: BadKeyError,
    codes.PAYMENT_REQUIRED: QuotaExhaustedError,
}
_SETTLES = pd.Timedelta(hours=12)
_DAILY, _EMPTY_FOR = pd.Timedelta(hours=20), pd.Timedelta(days=7)
_LAST_EXPIRY = pd.Timestamp("2099-12-31")


def provider(settings: LiveSettings) -> Provider | None:
    """Return how to speak with EODHD, or None without a key."""
    if settings.eodhd_key is None:
        return None
    limit = Limit(settings.eodhd_per_minute, 60.0, settings.eodhd_per_day)
    return Provider(NAME, {"": settings.eodhd_url}, limit, judge, settings.eodhd_key, key_as_parameter("api_token"))


def judge(answer: Answer) -> None:
    """Raise what EODHD means.

    Raises
    ------
    ProviderError
    """
    kind = _BY_STATUS.get(answer.status)
    if kind is not None:
        raise answer.failure(kind, f"status {answer.status}: {answer.shown}")
    if answer.status == codes.OK:
        if answer.is_html:
            raise answer.failure(UnreadableAnswerError, f"a page of HTML: {answer.shown}")
        _ = answer.json


class Eodhd:
    """Asks EODHD for rows of `options`.

    A session is asked for when it is over, and once more where it was asked for within half a day of its close. One
    without any contract is asked for daily, for a week: an outage looks the same.

    Parameters
    ----------
    fetcher : Fetcher
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def session(self, symbol: str, day: pd.Timestamp, now: pd.Timestamp) -> Row | None:
        """Return a company's row of one past session, or None where nothing was traded; a session never changes."""
        settled, asked_last = close_of(day) + _SETTLES, close_of(day) + _EMPTY_FOR
        contracts = self._contracts(symbol, day, settled)
        if not contracts:
            contracts = self._contracts(symbol, day, min(max(settled, now - _DAILY), asked_last))
        if not contracts:
            return None
        return {
            "symbol": symbol,
            "session": day,
            "put_volume": _volume(contracts, "put"),
            "call_volume": _volume(contracts, "call"),
            "iv_30d": volatility_at_30_days(contracts, day),
            "available_at": close_of(day),
        }

    def _contracts(self, symbol: str, day: pd.Timestamp, since: pd.Timestamp) -> list[dict[str, Any]]:
        return [one for one in self._chain(symbol, day, day, _LAST_EXPIRY, since) if _observed_on(one) == day]

    def _chain(
        self, symbol: str, day: pd.Timestamp, first: pd.Timestamp, last: pd.Timestamp, since: pd.Timestamp
    ) -> Iterator[dict[str, Any]]:
        """Yield the contracts that were traded on a day and expire within some dates.

        The provider's filter goes by the last trade of a contract, so that every contract with volume is there.
        """
        filters = {
            "filter[underlying_symbol]": symbol,
            "filter[tradetime_eq]": f"{day:%Y-%m-%d}",
            "filter[exp_date_from]": f"{first:%Y-%m-%d}",
            "filter[exp_date_to]": f"{last:%Y-%m-%d}",
            "page[limit]": str(_PAGE),
        }
        offset = 0
        while True:
            request = Request(NAME, "/api/mp/unicornbay/options/eod", {**filters, "page[offset]": str(offset)})
            contracts, total = self._fetcher.fetch(
                request,
                since,
                partial(_page, offset=offset),
                MOST_OF_IT,
                lambda page, _seen_at: len(page[0]),
            )
            if total > MOST_ROWS:
                break
            yield from contracts
            offset += len(contracts)
            if offset >= total:
                return
        if first == last:
            raise TruncatedAnswerError(NAME, request.asked, f"{total} contracts for one expiry, {MOST_ROWS} can be had")
        near = min(first + pd.Timedelta(days=45), last) if last == _LAST_EXPIRY else first + (last - first) / 2
        middle = near.normalize()
        yield from self._chain(symbol, day, first, middle, since)
        yield from self._chain(symbol, day, middle + pd.Timedelta(days=1), last, since)


def volatility_at_30_days(contracts: list[dict[str, Any]], day: pd.Timestamp) -> float:
    """Return the implied volatility at the money, 30 days ahead, annualised; NaN where the chain has none.

    Of each expiry the mean over the call and the put whose delta is nearest to a half; between the expiries around
    30 days the variance is interpolated linearly in time, as for an index of volatility. A volatility or delta of 0
    means that the provider did not compute it.
    """
    chosen: dict[pd.Timestamp, dict[str, tuple[float, float]]] = defaultdict(dict)
    for one in contracts:
        delta, volatility = abs(one["delta"]), one["volatility"]
        if not (volatility > 0 and _AT_THE_MONEY[0] <= delta <= _AT_THE_MONEY[1]):
            continue
        best = chosen[one["expires_on"]].get(one["type"])
        if best is None or abs(delta - 0.5) < best[0]:
            chosen[one["expires_on"]][one["type"]] = (abs(delta - 0.5), volatility)
    points = sorted(
        ((expiry - day).days, float(np.mean([volatility for _, volatility in sides.values()])))
        for expiry, sides in chosen.items()
        if expiry > day
    )
    if not points:
        return np.nan
    days, volatilities = np.array(points, dtype=np.float64).T
    if not days[0] <= _DAYS <= days[-1]:
        nearest = int(np.argmin(np.abs(days - _DAYS)))
        return float(volatilities[nearest]) if abs(days[nearest] - _DAYS) <= _DAYS / 2 else np.nan
    variance = np.interp(_DAYS, days, volatilities**2 * days)
    return float(np.sqrt(variance / _DAYS))


def _page(answer: Answer, offset: int) -> tuple[list[dict[str, Any]], int]:
    content = answer.json
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get("total"), int):
        raise answer.unexpected(f"no `meta` with its `total`: {answer.shown}")
    contracts = [_contract(record) for record in records(answer, content.get("data"))]
    if not contracts and offset < meta["total"]:
        raise answer.unexpected(f"nothing from {offset} on where there are {meta['total']} contracts")
    return contracts, meta["total"]


def _contract(record: Record) -> dict[str, Any]:
    attributes = record.get("attributes")
    if not isinstance(attributes, dict):
        raise record.unexpected("`attributes` is no object")
    said = Record(record.answer, record.position, attributes)
    kind = said.needed("type")
    if kind not in {"put", "call"}:
        raise record.unexpected(f"`type` is {kind!r}, neither put nor call")
    return {
        "id": record.needed("id"),
        "type": kind,
        "expires_on": said.day("exp_date"),
        "volume": said.number("volume"),
        "delta": said.number("delta"),
        "volatility": said.number("volatility", "implied_volatility"),
    }


def _observed_on(contract: dict[str, Any]) -> pd.Timestamp | None:
    """Return the session that a record describes: the date at the end of its `id`; its trade may be months old."""
    try:
        return pd.Timestamp(contract["id"][-10:]).as_unit("ns")
    except ValueError:
        return None


def _volume(contracts: list[dict[str, Any]], kind: str) -> float:
    volumes = [one["volume"] for one in contracts if one["type"] == kind]
    return float(np.nansum(volumes)) if not volumes or np.isfinite(volumes).any() else np.nan
