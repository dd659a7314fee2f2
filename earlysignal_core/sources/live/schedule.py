"""The coming announcements as they are scheduled and expected day by day: known only from our own snapshots."""

from contextlib import suppress
from functools import lru_cache

import numpy as np
import pandas as pd

from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.live.clock import end_of_day, new_york_day
from earlysignal_core.sources.live.errors import ProviderError, ShrunkenAnswerError
from earlysignal_core.sources.live.fetch import Kept
from earlysignal_core.sources.live.fmp import NAME
from earlysignal_core.sources.live.gather import gather
from earlysignal_core.sources.live.market import REPORTS_WITHIN, Collected, Market, frame, rows_of
from earlysignal_core.sources.live.records import Row
from earlysignal_core.sources.live.snapshots import Snapshots, changes
from earlysignal_core.sources.source import Gap
from earlysignal_core.tables import KNOWABLE, TABLES, next_fiscal_period

CALENDAR, ESTIMATES = "earnings_calendar", "earnings_estimates"

ASSUMED_AHEAD = pd.Timedelta(days=28)
"""How long before an announcement its date counts as known, where no snapshot of ours was taken in time."""

_HORIZON = pd.DateOffset(months=3)
_DUE = pd.Timedelta(days=40)  # ahead: those companies' estimates are taken in detail
_LEAST = 0.5
_IN_TIME = pd.Timedelta(days=8)  # a snapshot that was taken at least a week before the event


class Schedule:
    """What FMP says of announcements to come.

    Parameters
    ----------
    market : Market
    snapshots : Snapshots
    """

    def __init__(self, market: Market, snapshots: Snapshots) -> None:
        self._market, self._snapshots = market, snapshots

    def calendar(self, quarter: Quarter) -> Collected:
        """Return the schedule as it was seen in a quarter; before our first snapshot, as it is assumed to have been."""
        gaps = self._snapshot(quarter)
        parts = [self._assumed(quarter), changes(self._snapshots.read(CALENDAR, quarter))]
        filled = [part for part in parts if not part.empty]
        return Collected(pd.concat(filled, ignore_index=True) if filled else parts[0], gaps)

    def estimates(self, quarter: Quarter) -> Collected:
        """Return our snapshots of the consensus."""
        gaps = self._snapshot(quarter)
        return Collected(self._snapshots.read(ESTIMATES, quarter), gaps)

    def _snapshot(self, quarter: Quarter) -> list[Gap]:
        """Take today's snapshot, if the quarter is the running one, and those that could not be read on their day."""
        today = self._today()
        for day in self._missed(quarter, today):
            then = Schedule(self._market.as_of(end_of_day(day)), self._snapshots)
            with suppress(ProviderError):  # what was said of it cannot be read to this day
                then._add(then._coming(day), day)
        if Quarter.of(today) != quarter or self._market.settings.offline:
            return []
        try:
            coming = self._coming(today)
            self._refuse_emptied(coming, today)
            self._snapshots.follow(self._market.companies, self._market.clock.now())
            return self._add(coming, today)
        except ProviderError as error:
            return [Gap(CALENDAR, f"snapshot of {today:%Y-%m-%d}", NAME, str(error))]

    def _missed(self, quarter: Quarter, today: pd.Timestamp) -> list[pd.Timestamp]:
        """Return the days of a quarter of which answers are kept and no snapshot is: a parser has failed then."""
        told = self._market.days_of_announcements(quarter.start, quarter.end + _HORIZON)
        taken = self._snapshots.days(CALENDAR, quarter)
        followed = [new_york_day(since) for since in self._snapshots.followed().values()]
        begin = max(min(followed, default=today), quarter.start)
        return sorted(day for day in told - taken if begin < day < today and day <= quarter.end)

    def _add(self, coming: pd.DataFrame, day: pd.Timestamp) -> list[Gap]:
        """Add a day's snapshots, of the calendar and of the consensus behind it."""
        market = self._market
        if coming.empty or new_york_day(coming[KNOWABLE].max()) != day:
            return []  # nothing was said on it
        self._snapshots.add(CALENDAR, coming.drop(columns="eps_estimate"))
        detail = gather(
            ESTIMATES,
            sorted(set(coming.loc[coming["expected_on"] <= day + _DUE, "symbol"])),
            lambda symbol: market.fmp.estimates(symbol.replace(".", "-"), market.daily()),
            market.settings.workers,
            may_miss=1.0,  # the consensus itself comes with the calendar
        )
        self._snapshots.add(ESTIMATES, _estimates(coming, detail.answers))
        return detail.gaps

    def _refuse_emptied(self, coming: pd.DataFrame, today: pd.Timestamp) -> None:
        """Refuse a schedule that lacks most of the announcements that are still to come by the one before."""
        before = self._snapshots.newest(CALENDAR)
        due = set(before.loc[before["expected_on"] > today, "symbol"]) & set(self._market.companies)
        left = due & set(coming["symbol"])
        if len(left) < _LEAST * len(due):
            problem = f"{len(left)} of the {len(due)} companies whose announcements were to come in the snapshot before"
            problem += f" (snapshots/{CALENDAR})"
            raise ShrunkenAnswerError(NAME, CALENDAR, problem)

    def _coming(self, today: pd.Timestamp) -> pd.DataFrame:
        """Return the schedule from today on, with the consensus, as it is now; of a date that moved, the earlier."""
        rows = [
            {**kept.content, KNOWABLE: kept.fetched_at}
            for kept in self._market.announcements(today, today + _HORIZON)
            if kept.content["expected_on"] >= today and np.isnan(kept.content["eps_actual"])
        ]
        columns = [*TABLES[CALENDAR].column_names, "eps_estimate"]
        every = pd.DataFrame(rows, columns=columns).sort_values("expected_on", kind="stable")
        return every.drop_duplicates(["symbol", "fiscal_period"]).reset_index(drop=True)

    def _assumed(self, quarter: Quarter) -> pd.DataFrame:
        """Return the dates of announcements for which our first snapshot of a company came too late.

        They are taken as known four weeks ahead.
        """
        followed, now = self._snapshots.followed(), self._market.clock.now()
        since = {symbol: followed.get(symbol, now) for symbol in self._market.companies}
        covered = {symbol: new_york_day(moment) + _IN_TIME for symbol, moment in since.items()}
        latest = max(covered.values())
        rows = [
            {**row, "expected_on": row["announced_on"], KNOWABLE: end_of_day(row["announced_on"] - ASSUMED_AHEAD)}
            for near in (quarter, quarter + 1)
            if near.start < latest
            for row in rows_of(self._market.earnings(near).rows)
            if row["announced_on"] < covered[row["symbol"]]
        ]
        begins = quarter == Quarter.parse(self._market.settings.first)  # and holds what was known before it
        known = [(row, Quarter.of(new_york_day(row[KNOWABLE]))) for row in rows]
        in_quarter = [row for row, when in known if when == quarter or (begins and when < quarter)]
        return frame(CALENDAR, in_quarter).drop_duplicates(list(TABLES[CALENDAR].key)).reset_index(drop=True)

    def _today(self) -> pd.Timestamp:
        return new_york_day(self._market.clock.now())


def _estimates(coming: pd.DataFrame, detail: dict[str, list[Kept[Row]]]) -> pd.DataFrame:
    """Join the consensus of the calendar with the range behind it, and with that of the quarters after."""
    rows: dict[tuple[str, str], Row] = {}
    due = {row["symbol"]: row for row in reversed(rows_of(coming))}  # of two of one company the nearer
    for symbol, estimates in detail.items():
        recent = [e for e in estimates if e.content["period_end"] > new_york_day(e.fetched_at) - REPORTS_WITHIN]
        for kept, period in zip(recent, _periods([kept.content for kept in recent], due[symbol]), strict=True):
            row = {**kept.content, "symbol": symbol, "fiscal_period": period, KNOWABLE: kept.fetched_at}
            rows[symbol, period] = row
    for row in rows_of(coming.dropna(subset=["eps_estimate"])):
        key = (row["symbol"], row["fiscal_period"])
        range_ = rows.get(key, {})
        rows[key] = {**range_, **row, KNOWABLE: max(row[KNOWABLE], range_.get(KNOWABLE, row[KNOWABLE]))}
    return frame(ESTIMATES, [{**row, "snapshot_on": new_york_day(row[KNOWABLE])} for row in rows.values()])


def _periods(estimates: list[Row], due: Row) -> list[str]:
    """Return the names of the estimates' fiscal periods as the calendar has them, by the end of each.

    The coming announcement is that of the last period that ends before it; those after follow one another.
    """
    by_end = sorted(range(len(estimates)), key=lambda place: estimates[place]["period_end"])
    names: list[str] = [estimate["fiscal_period"] for estimate in estimates]
    over = [place for place in by_end if estimates[place]["period_end"] < due["expected_on"]]
    if not over or estimates[over[-1]]["period_end"] < due["expected_on"] - REPORTS_WITHIN:
        return names
    following: str | None = due["fiscal_period"]
    for place in by_end[len(over) - 1 :]:
        if following is None:
            break
        names[place] = following
        following = _after(following)
    return names


@lru_cache(maxsize=1 << 10)
def _after(period: str) -> str | None:
    following = next_fiscal_period(pd.Series([period], dtype="str")).iloc[0]
    return following if isinstance(following, str) else None
