"""13F: what large managers hold at the end of a quarter, summed over those that a user names.

The SEC lists holdings by CUSIP and no free source maps those to tickers, so the user gives that map as well. Values are
not read: before 2023 they are in thousands of dollars, and the table has no use for them.
"""

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd
from defusedxml import ElementTree

from earlysignal_core.sources.live.clock import end_of_day
from earlysignal_core.sources.live.edgar import OF_ONE_DOCUMENT, Edgar, Errors, Filing, header_accepted_at
from earlysignal_core.sources.live.fetch import FOREVER, Fetcher
from earlysignal_core.sources.live.messages import Answer
from earlysignal_core.sources.live.records import Row
from earlysignal_core.trading_calendar import sessions

FORMS = ("13F-HR", "13F-HR/A")

_DAYS_TO_FILE = 45
_XML = re.compile(r"<XML>\s*(.*?)\s*</XML>", re.DOTALL)
_SHARES = "SH"


@dataclass(frozen=True)
class Report:
    """One 13F report.

    Attributes
    ----------
    manager : int
        The filer's number.
    period_end, accepted_at : Timestamp
    adds : bool
        Whether it adds holdings to an earlier report, instead of replacing it.
    shares : dict of str to float
        Shares by CUSIP, without options and debt.
    """

    manager: int
    period_end: pd.Timestamp
    accepted_at: pd.Timestamp
    adds: bool
    shares: dict[str, float]


def report(answer: Answer, manager: int) -> Report:
    """Read a 13F filing.

    Raises
    ------
    UnexpectedShapeError
        If it lacks its period or its table.
    """
    period, kind, shares = None, "", None
    for document in _XML.findall(answer.text):
        try:
            root = ElementTree.fromstring(document.encode())
        except ElementTree.ParseError as error:
            raise answer.unexpected(f"XML that cannot be read: {error}") from None
        if root.tag.endswith("edgarSubmission"):
            period = root.findtext(".//{*}filerInfo/{*}periodOfReport")
            kind = root.findtext(".//{*}amendmentInfo/{*}amendmentType") or ""
        elif root.tag.endswith("informationTable"):
            shares = _shares(answer, root)
    if period is None or shares is None:
        raise answer.unexpected("no period or no information table")
    try:
        end = pd.to_datetime(period, format="%m-%d-%Y").as_unit("ns")
    except ValueError:
        raise answer.unexpected(f"the period is {period!r}, not MM-DD-YYYY") from None
    accepted = header_accepted_at(answer)
    if end_of_day(end) > accepted:
        raise answer.unexpected(f"accepted on {accepted} and so before its period's end, {end:%Y-%m-%d}")
    return Report(manager, end, accepted, kind.upper() == "NEW HOLDINGS", shares)


def _shares(answer: Answer, table: Element) -> dict[str, float]:
    shares: dict[str, float] = {}
    for holding in table.iterfind("{*}infoTable"):
        if holding.findtext("{*}putCall") or holding.findtext("{*}shrsOrPrnAmt/{*}sshPrnamtType") != _SHARES:
            continue
        cusip, amount = holding.findtext("{*}cusip"), holding.findtext("{*}shrsOrPrnAmt/{*}sshPrnamt")
        try:
            shares[(cusip or "").upper()] = shares.get((cusip or "").upper(), 0.0) + float(amount or "")
        except ValueError:
            raise answer.unexpected(f"{cusip}: {amount!r} shares") from None
    return shares


def deadline(period_end: pd.Timestamp) -> pd.Timestamp:
    """Return the moment (UTC) by which reports on a quarter are due: 45 days later, or the next session's end."""
    due = period_end + pd.Timedelta(days=_DAYS_TO_FILE)
    return end_of_day(sessions()[int(sessions().searchsorted(due))])


def holdings(reports: list[Report], symbols: dict[str, str], now: pd.Timestamp) -> list[Row]:
    """Return rows of `institutional_holdings`: what was held, by the reports that came in time, known at the deadline.

    Where other managers reported than for the quarter before, a sum would pass for purchases or sales that nobody made:
    the shares held are NaN.

    Parameters
    ----------
    reports : list of Report
        Of some managers.
    symbols : dict of str to str
        The symbol of each CUSIP that matters.
    now : Timestamp
        UTC. A quarter whose deadline is to come has no row yet.
    """
    in_force: dict[tuple[int, pd.Timestamp], dict[str, float]] = {}
    for one in sorted(reports, key=lambda one: one.accepted_at):
        if one.accepted_at <= deadline(one.period_end) <= now:
            key = (one.manager, one.period_end)
            before = in_force.get(key, {}) if one.adds else {}
            in_force[key] = {c: before.get(c, 0.0) + one.shares.get(c, 0.0) for c in {*before, *one.shares}}
    held = [
        {"symbol": symbols[cusip], "period_end": end, "manager": manager, "shares_held": shares}
        for (manager, end), by_cusip in in_force.items()
        for cusip, shares in by_cusip.items()
        if cusip in symbols
    ]
    if not held:
        return []
    sums = pd.DataFrame(held).groupby(["symbol", "period_end"], as_index=False)
    rows = sums.agg(shares_held=("shares_held", "sum"), holders=("manager", "nunique"))
    reported: dict[pd.Timestamp, set[int]] = {}
    for manager, end in in_force:
        reported.setdefault(end, set()).add(manager)
    first = min(reported)
    others = [end for end in reported if end > first and reported.get(_quarter_before(end)) != reported[end]]
    rows["shares_held"] = rows["shares_held"].mask(rows["period_end"].isin(others))
    rows["holders"] = rows["holders"].astype(np.float64)
    rows["available_at"] = pd.DatetimeIndex([deadline(end) for end in rows["period_end"]])
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _quarter_before(period_end: pd.Timestamp) -> pd.Timestamp:
    before: pd.Timestamp = (period_end - pd.offsets.QuarterEnd()).as_unit("ns")
    return before


class ThirteenF:
    """Asks EDGAR for the reports of some managers.

    Parameters
    ----------
    fetcher : Fetcher
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher, self._edgar = fetcher, Edgar(fetcher)

    def reports(self, manager: int, first: pd.Timestamp, since: pd.Timestamp) -> tuple[list[Report], Errors]:
        """Return the reports that a manager filed since a day, and an error for each that cannot be had or read."""
        reports: list[Report] = []
        errors: Errors = []
        for filing in self._edgar.filings(manager, first, since):
            if filing.form in FORMS:
                try:
                    reports.append(self._report(filing))
                except OF_ONE_DOCUMENT as error:
                    errors.append(error)
        return reports, errors

    def _report(self, filing: Filing) -> Report:
        return self._fetcher.fetch(filing.document, FOREVER, lambda answer: report(answer, filing.cik))
