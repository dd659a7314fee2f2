"""The companies of the S&P 500 with the days on which each came and went, as far as the account's plan tells."""

from collections.abc import Iterable

import pandas as pd

from earlysignal_core.sources.live.companies import from_constituents
from earlysignal_core.sources.live.errors import NotFoundError, NotInPlanError, NotKeptError
from earlysignal_core.sources.live.fmp import Fmp
from earlysignal_core.sources.live.gather import gather
from earlysignal_core.sources.live.records import Row, Rows
from earlysignal_core.tables import UNIVERSE

_DAY = pd.Timedelta(days=1)


def sp500(client: Fmp, first: pd.Timestamp, since: pd.Timestamp, workers: int) -> pd.DataFrame:
    """Return the members of today and those that have left since a day, as rows of `universe`.

    Where the plan does not tell the changes, the members of today alone, without dates.

    Parameters
    ----------
    client : Fmp
    first : Timestamp
        Who left before it is of no interest.
    since : Timestamp
        UTC. Older lists are asked for again.
    workers : int
    """
    today = client.constituents(since)
    try:
        changes = client.index_changes(since)
    except (NotInPlanError, NotFoundError, NotKeptError):
        return from_constituents(today)
    rows = members([row["symbol"] for row in today], changes, first)
    known = {row["symbol"]: row for row in today}
    former = sorted({row["symbol"] for row in rows} - set(known))
    # Of a sector that nobody tells the report says how many lack it: no reason to be without the company.
    known |= gather(UNIVERSE, former, client.profile, workers, may_miss=1.0).answers if former else {}
    return from_constituents([{**known.get(row["symbol"], {}), **row} for row in rows])


def members(today: Iterable[str], changes: Rows, first: pd.Timestamp) -> Rows:
    """Return when each company was a member, a row for each of its stays.

    Parameters
    ----------
    today : iterable of str
    changes : list of dict
        With `day`, `added` and `removed`; a change of a day is in force on it.
    first : Timestamp
        Stays that ended before it are left out.

    Returns
    -------
    list of dict
        With `symbol`, `first` and `last`, both included; None where there was no change.
    """
    stays: Rows = [{"symbol": symbol, "first": None, "last": None} for symbol in today]
    # Back in time: of these stays the end is known, and the beginning is still to come.
    begin: dict[str, Row] = {stay["symbol"]: stay for stay in stays}
    for change in sorted(changes, key=lambda change: change["day"], reverse=True):
        came, went = begin.pop(change["added"], None), change["removed"]
        if came is not None:
            came["first"] = change["day"]
        if went is not None and went not in begin:
            begin[went] = {"symbol": went, "first": None, "last": change["day"] - _DAY}
            stays.append(begin[went])
    return [stay for stay in stays if stay["last"] is None or stay["last"] >= first]
