"""SEC EDGAR: filings with the moment of their acceptance, and the trades of insiders.

Needs no key but a contact. Its JSON writes acceptance times with a `Z`, which is true for some filers and New York
time for others: a filing's own header decides, once for each filer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd
from defusedxml import ElementTree
from httpx import codes

from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live.clock import new_york
from earlysignal_core.sources.live.errors import (
    NotFoundError,
    ProviderError,
    RefusedError,
    TrafficLimitError,
    UndeclaredAgentError,
    UnexpectedShapeError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import FOREVER, Fetcher
from earlysignal_core.sources.live.http import Provider
from earlysignal_core.sources.live.limits import Limit
from earlysignal_core.sources.live.messages import Answer, Request
from earlysignal_core.sources.live.records import Row

NAME = "sec"
FORMS = ("8-K", "10-Q", "10-K")

Convention = Literal["UTC", "New York"]
Errors = list[ProviderError]

OF_ONE_DOCUMENT = (NotFoundError, UnexpectedShapeError, UnreadableAnswerError)
"""Failures that say nothing of other documents of the filer."""

_PAUSE = 600.0  # seconds: the SEC's own, longer where one goes on asking
_INSIDER = ("4", "4/A")
_TRADES = ("P", "S")
_ACCEPTED = re.compile(r"<ACCEPTANCE-DATETIME>\s*(\d{14})")
_AND = " & "
_XML = re.compile(r"<XML>\s*(.*?)\s*</XML>", re.DOTALL)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z?$")
_COLUMNS = ("accessionNumber", "filingDate", "acceptanceDateTime", "form", "size")


def provider(settings: LiveSettings) -> Provider | None:
    """Return how to speak with EDGAR, or None without a contact; lists of filings have a host of their own."""
    if settings.sec_contact is None:
        return None
    hosts = {"": settings.sec_url, "data": settings.sec_data_url}
    contact = {"User-Agent": settings.sec_contact}
    return Provider(NAME, hosts, Limit(settings.sec_per_second, 1.0), judge, headers=contact, back_off=_PAUSE)


def judge(answer: Answer) -> None:
    """Raise what EDGAR means: a 403 for who does not say who he is, and one for who asks too often.

    Raises
    ------
    ProviderError
    """
    if answer.status == codes.FORBIDDEN:
        said = answer.text.lower()
        if "undeclared automated tool" in said:
            raise answer.failure(UndeclaredAgentError, "the SEC does not know who asks")
        if "rate threshold" in said or "traffic limit" in said:
            raise answer.failure(TrafficLimitError, "too many requests from this address", _PAUSE)
        raise answer.failure(RefusedError, f"status 403: {answer.shown}")
    if answer.status != codes.OK:
        return
    if answer.is_html:
        raise answer.failure(UnreadableAnswerError, f"a page of HTML: {answer.shown}")
    if answer.request.path.endswith(".json"):
        _ = answer.json
    elif answer.request.path.endswith(".txt") and "</SEC-DOCUMENT>" not in answer.text[-200:]:
        raise answer.failure(UnreadableAnswerError, "a filing that is cut off, or none")


@dataclass(frozen=True)
class Filing:
    """One filing in the list of a filer.

    Attributes
    ----------
    cik : int
        Of the company whose list it is.
    accession : str
        With dashes.
    form : str
    filed_on : Timestamp
    accepted : str
        As the JSON writes it.
    size : int
        Bytes.
    """

    cik: int
    accession: str
    form: str
    filed_on: pd.Timestamp
    accepted: str
    size: int

    @property
    def document(self) -> Request:
        """The question for the whole filing, header and all."""
        folder = self.accession.replace("-", "")
        return Request(NAME, f"/Archives/edgar/data/{self.cik}/{folder}/{self.accession}.txt")


class Edgar:
    """Asks EDGAR for rows of `sec_filings`.

    Parameters
    ----------
    fetcher : Fetcher
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def ciks(self, since: pd.Timestamp) -> dict[str, int]:
        """Return the number of each company's filer by its ticker, as of today: ``BRK-B`` with a dash."""
        return self._fetcher.fetch(Request(NAME, "/files/company_tickers.json"), since, _tickers, keeps=0.9)

    def filings(self, cik: int, first: pd.Timestamp, since: pd.Timestamp) -> list[Filing]:
        """Return what a company filed since a day, in any order."""
        request = Request(NAME, f"/submissions/CIK{cik:010d}.json", host="data")
        recent, older = self._fetcher.fetch(request, since, lambda answer: _submissions(answer, cik))
        found = {filing.accession: filing for filing in recent}
        for name, last in older:
            if last >= first:
                # It grows while filings move into it: what is listed in neither is looked for once more.
                enough = max(since - pd.Timedelta(days=30), FOREVER)
                overflow = Request(NAME, f"/submissions/{name}", host="data")
                rows = self._fetcher.fetch(overflow, enough, lambda answer: _overflow(answer, cik), keeps=1.0)
                found |= {filing.accession: filing for filing in rows}
        return [filing for filing in found.values() if filing.filed_on >= first]

    def rows(self, symbol: str, cik: int, first: pd.Timestamp, since: pd.Timestamp) -> tuple[list[Row], Errors]:
        """Return the filings of a company and the trades of its insiders, known on acceptance.

        Returns
        -------
        list of dict
            Rows of `sec_filings`.
        list of ProviderError
            One for each form that is not there or cannot be read; the others are complete.
        """
        filings = self.filings(cik, first, since)
        rows: list[Row] = []
        errors: Errors = []
        named = [filing for filing in filings if filing.form in FORMS]
        if named:
            convention = self._convention(filings)
            rows += [_filing_row(symbol, filing, accepted_at(filing, convention)) for filing in named]
        insiders: list[Row] = []
        for filing in filings:
            if filing.form in _INSIDER:
                try:
                    insiders += self._trades(symbol, filing)
                except OF_ONE_DOCUMENT as error:
                    errors.append(error)
        return rows + without_amended_twins(insiders), errors

    def _trades(self, symbol: str, filing: Filing) -> list[Row]:
        return self._fetcher.fetch(filing.document, FOREVER, lambda answer: trades(answer, symbol, filing))

    def _convention(self, filings: list[Filing]) -> Convention | None:
        """Find out what the `Z` of a filer means: the header of one filing tells it for all, and for ever."""
        for filing in sorted(filings, key=lambda filing: (filing.size, filing.accession))[:3]:
            try:
                truth = self._fetcher.fetch(filing.document, FOREVER, header_accepted_at)
            except OF_ONE_DOCUMENT:
                continue
            if abs(truth - _as_utc(filing)) < pd.Timedelta(minutes=30):
                return "UTC"
            if abs(truth - _as_new_york(filing)) < pd.Timedelta(minutes=30):
                return "New York"
        return None


def accepted_at(filing: Filing, convention: Convention | None) -> pd.Timestamp:
    """Return when a filing was accepted (UTC); where the filer's convention is not known, the later reading."""
    readings = {"UTC": _as_utc(filing), "New York": _as_new_york(filing)}
    return max(readings.values()) if convention is None else readings[convention]


def header_accepted_at(answer: Answer) -> pd.Timestamp:
    """Return when a filing was accepted (UTC) by its own header, which is always New York time.

    Raises
    ------
    UnexpectedShapeError
        If the header does not say.
    """
    told = _ACCEPTED.search(answer.text[:2000])
    if told is None:
        raise answer.unexpected("the header has no ACCEPTANCE-DATETIME")
    return new_york(pd.Timestamp(told[1]))


def trades(answer: Answer, symbol: str, filing: Filing) -> list[Row]:
    """Return the open-market trades of a Form 4: one row a transaction, whatever the number of its owners.

    Only purchases (P) and sales (S) by the issuer's insiders; grants, exercises, gifts and tax withholding are none.
    ``planned`` is 1 where they followed a 10b5-1 plan, 0 where not, NaN where the form does not ask; ``amends`` says
    whether the form corrects another.

    Raises
    ------
    UnexpectedShapeError
        If the form cannot be read.
    """
    accepted = header_accepted_at(answer)
    document = _ownership(answer)
    issuer = _text(document, "issuer/issuerCik")
    if issuer is None or int(issuer) != filing.cik:
        return []  # the company itself owns shares of another
    owners = sorted(filter(None, (node.text for node in document.iter("rptOwnerName"))))
    plan = _flag(document, "aff10b5One")  # the form asks since April 2023
    rows = []
    for transaction in document.iterfind("nonDerivativeTable/nonDerivativeTransaction"):
        code = _text(transaction, "transactionCoding/transactionCode")
        if code not in _TRADES:
            continue
        day = _text(transaction, "transactionDate/value")
        if day is None:
            raise answer.unexpected("a transaction without a date")
        traded_on = _day(answer, day)
        if new_york(traded_on) > accepted:
            raise answer.unexpected(f"a transaction of {traded_on:%Y-%m-%d} in a form that was accepted on {accepted}")
        shares = _number(answer, transaction, "transactionAmounts/transactionShares/value")
        price = _number(answer, transaction, "transactionAmounts/transactionPricePerShare/value")
        rows.append(
            {
                "symbol": symbol,
                "form": "4",
                "transaction_date": traded_on,
                "code": code,
                "shares": shares,
                "price": price if price > 0 else np.nan,  # 0 where a footnote gives a range
                "owner": _AND.join(owners) or None,
                "available_at": accepted,
                "planned": plan,
                "amends": filing.form.endswith("/A"),
            }
        )
    return rows


def without_amended_twins(rows: list[Row]) -> list[Row]:
    """Leave out the trades of an amendment that an earlier form reports alike: they were known before.

    Equal trades within one form are several trades.
    """
    kept: list[Row] = []
    reported: dict[tuple[Any, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["available_at"], row["amends"])):
        alike = reported.setdefault((row["transaction_date"], row["code"], row["shares"]), [])
        earlier = [one for one in alike if one["available_at"] < row["available_at"] and _owners(one) & _owners(row)]
        if not (row["amends"] and earlier):
            kept.append(row)
        alike.append(row)
    return kept


def _owners(row: Row) -> set[str]:
    """Return who reports a trade: an amendment may name one more."""
    return set((row["owner"] or "").split(_AND))


def _filing_row(symbol: str, filing: Filing, accepted: pd.Timestamp) -> Row:
    return {
        "symbol": symbol,
        "form": filing.form,
        "transaction_date": pd.NaT,
        "code": None,
        "shares": np.nan,
        "price": np.nan,
        "owner": None,
        "planned": np.nan,
        "available_at": accepted,
    }


def _as_utc(filing: Filing) -> pd.Timestamp:
    moment: pd.Timestamp = pd.Timestamp(filing.accepted.removesuffix("Z")).as_unit("ns").tz_localize("UTC")
    return moment


def _as_new_york(filing: Filing) -> pd.Timestamp:
    return new_york(pd.Timestamp(filing.accepted.removesuffix("Z")))


def _tickers(answer: Answer) -> dict[str, int]:
    content = answer.json
    if not isinstance(content, dict):
        raise answer.unexpected(f"no object of companies: {answer.shown}")
    found: dict[str, int] = {}
    for company in content.values():
        if not isinstance(company, dict) or not isinstance(company.get("cik_str"), int):
            raise answer.unexpected(f"a company without its `cik_str`: {str(company)[:80]}")
        found.setdefault(str(company.get("ticker")), company["cik_str"])
    return found


def _submissions(answer: Answer, cik: int) -> tuple[list[Filing], list[tuple[str, pd.Timestamp]]]:
    content = answer.json
    filings = content.get("filings") if isinstance(content, dict) else None
    if not isinstance(filings, dict):
        raise answer.unexpected(f"no `filings`: {answer.shown}")
    older = [(str(file["name"]), _day(answer, file["filingTo"])) for file in filings.get("files", [])]
    return list(_listed(answer, filings.get("recent"), cik)), older


def _overflow(answer: Answer, cik: int) -> list[Filing]:
    return list(_listed(answer, answer.json, cik))


def _listed(answer: Answer, columns: Any, cik: int) -> Iterator[Filing]:
    if not isinstance(columns, dict) or not all(isinstance(columns.get(name), list) for name in _COLUMNS):
        raise answer.unexpected(f"a list of filings without one of {', '.join(_COLUMNS)}")
    if len({len(columns[name]) for name in _COLUMNS}) != 1:
        raise answer.unexpected("a list of filings whose columns differ in length")
    for accession, filed, accepted, form, size in zip(*(columns[name] for name in _COLUMNS), strict=True):
        if not (isinstance(accepted, str) and _MOMENT.match(accepted)):
            raise answer.unexpected(f"{accession}: `acceptanceDateTime` is {str(accepted)[:40]!r}")
        yield Filing(cik, accession, form, _day(answer, filed), accepted, int(size))


def _ownership(answer: Answer) -> Element:
    for document in _XML.findall(answer.text):
        try:
            root = ElementTree.fromstring(document)
        except ElementTree.ParseError as error:
            raise answer.unexpected(f"XML that cannot be read: {error}") from None
        if root.tag == "ownershipDocument":
            found: Element = root
            return found
    raise answer.unexpected("no ownershipDocument in the filing")


def _text(element: Element, path: str) -> str | None:
    found = element.findtext(path)
    return found.strip() or None if found is not None else None


def _flag(element: Element, path: str) -> float:
    said = _text(element, path)
    return np.nan if said is None else float(said.lower() in {"1", "true"})


def _number(answer: Answer, element: Element, path: str) -> float:
    said = _text(element, path)
    if said is None:
        return np.nan
    try:
        return float(said)
    except ValueError:
        raise answer.unexpected(f"`{path}` is {said[:40]!r} where a number is due") from None


def _day(answer: Answer, said: Any) -> pd.Timestamp:
    try:
        return pd.Timestamp(str(said)[:10]).as_unit("ns")  # Form 4 may write an offset behind the day
    except ValueError:
        raise answer.unexpected(f"{str(said)[:40]!r} where a date is due") from None
