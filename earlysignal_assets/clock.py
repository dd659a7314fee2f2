"""What time it is: the only place that reads the wall clock, and only where the ledger has no clock of its own."""

from datetime import UTC, datetime

import pandas as pd

from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.days import ClockError, clock, last_finished
from earlysignal_core.sources import SourceDescription


def domain_now(ledger: Ledger) -> pd.Timestamp:
    """Return the domain's moment (UTC): what the ledger's clock shows, else the wall clock."""
    shown = clock(ledger)
    return pd.Timestamp.now("UTC").as_unit("ns") if shown is None else shown


def decision_time(ledger: Ledger, source: SourceDescription) -> pd.Timestamp:
    """Return the domain's moment, for a decision that is to be recorded at it.

    Where the ledger's clock has been moved beyond the days that are lived, that is the end of the last of them: the
    decision stands between what was and what is still to come.

    Raises
    ------
    ClockError
        If it is no moment of the source. On a tape whose clock has never been set, a decision of today would stand
        years after every day that is still to be lived, and could not be followed by another.
    """
    now, last = domain_now(ledger), last_finished(ledger)
    if last is not None and clock(ledger) is not None:
        now = min(now, last.tz_localize("UTC") + pd.Timedelta(days=1))
    return expect_within(source, now)


def parse_moment(text: str) -> pd.Timestamp:
    """Read a moment: a day stands for its beginning (00:00 UTC), and a time without a zone is in UTC.

    Raises
    ------
    ClockError
        If it is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return pd.Timestamp(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise ClockError(f"`{text}` is no moment. Remedy: write it like 2016-03-01 or 2016-03-01T04:00.") from None


def parse_day(text: str) -> pd.Timestamp:
    """Read a day, like 2016-03-01.

    Raises
    ------
    ClockError
        If it is none.
    """
    moment = parse_moment(text)
    if moment != moment.normalize():
        raise ClockError(f"`{text}` is no day. Remedy: write it like 2016-03-01.")
    return moment.tz_localize(None)


def expect_day(source: SourceDescription, day: pd.Timestamp) -> pd.Timestamp:
    """Return a day of production: from the source's first announcements to its end.

    Raises
    ------
    ClockError
        If it is none.
    """
    first, end = source.event_quarters[0].start, source.quarters[-1].end
    if not first <= day <= end:
        raise ClockError(
            f"{day:%Y-%m-%d} is no day of the source `{source.name}`. Remedy: choose one from {first:%Y-%m-%d} to "
            f"{end:%Y-%m-%d}."
        )
    return day


def first_day_to_try(source: SourceDescription) -> str:
    """Return a day on which production may begin: that of the source's last year, before which lies history."""
    return f"{source.event_quarters[-4:][0].start:%Y-%m-%d}"


def refuse_live(source: SourceDescription) -> None:
    """Refuse to set the clock of a source whose time is the wall's.

    Raises
    ------
    ClockError
        A clock row could never be taken back, and the days would wait for it for ever.
    """
    if source.grows:
        raise ClockError(
            f"the source `{source.name}` is live: its clock is the wall's and cannot be set. Remedy: none is needed; "
            f"`earlysignal up` lives each day when it is due, and the days that it has missed."
        )


def expect_within(source: SourceDescription, moment: pd.Timestamp) -> pd.Timestamp:
    """Return a moment of the source's time: from its first quarter to the end of the one after its last.

    In that one the last outcomes are collected. A clock never goes back, so a slip of the pen must not move it away.

    Raises
    ------
    ClockError
        If it is none.
    """
    first, end = source.quarters[0].start, (source.quarters[-1] + 2).start
    if not first <= moment.tz_localize(None) < end:
        raise ClockError(
            f"{moment:%Y-%m-%d %H:%M} UTC is no moment of the source `{source.name}`, which holds {source.first} to "
            f"{source.last}. Remedy: set the clock (`earlysignal clock MOMENT`) from {first:%Y-%m-%d} on and before "
            f"{end:%Y-%m-%d}."
        )
    return moment
