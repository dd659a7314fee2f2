"""FMP's tables by quarter: which questions make them, and how old an answer may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live.clock import Clock, StandingClock, end_of_day, new_york, new_york_day
from earlysignal_core.sources.live.fetch import FOREVER, Fetcher, Kept
from earlysignal_core.sources.live.fmp import NAME, Fmp
from earlysignal_core.sources.live.fmp_rows import announced_at
from earlysignal_core.sources.live.footing import apart
from earlysignal_core.sources.live.gather import gather
from earlysignal_core.sources.live.records import Row, Rows
from earlysignal_core.sources.source import Gap
from earlysignal_core.tables import KNOWABLE, TABLES
from earlysignal_core.trading_calendar import closes

_CALENDAR_SETTLES = pd.Timedelta(days=45)
_PRICES_SETTLE = pd.Timedelta(days=7)
_PRICES_COME = pd.Timedelta(hours=4)  # after the close
REPORTS_WITHIN = pd.Timedelta(days=100)
"""Of a fiscal period's end a company has announced."""

_STATEMENTS_AGE = pd.Timedelta(days=30)

Months = Callable[[pd.Timestamp, pd.Timestamp, pd.Timestamp], list[Kept[Row]]]


@dataclass(frozen=True)
class Collected:
    """Rows of a table, and what is missing from them."""

    rows: pd.DataFrame
    gaps: list[Gap]


def frame(table: str, rows: Rows) -> pd.DataFrame:
    """Return rows as a table's columns."""
    return pd.DataFrame(rows, columns=TABLES[table].column_names)


def rows_of(frame: pd.DataFrame) -> Rows:
    """Return a table's columns as rows."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


class Market:
    """What FMP gives.

    Parameters
    ----------
    fetcher : Fetcher
    settings : LiveSettings
    clock : Clock
    companies : sequence of str
    others : sequence of str
        Of which only prices are wanted: the benchmark and the sector ETFs.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        settings: LiveSettings,
        clock: Clock,
        companies: Sequence[str],
        others: Sequence[str],
    ) -> None:
        self.settings, self.clock, self.companies = settings, clock, list(companies)
        self._fetcher, self._prices_only = fetcher, list(others)
        self._own = {symbol.replace(".", "-"): symbol for symbol in companies}  # FMP and EDGAR write BRK-B
        self.fmp = Fmp(fetcher, self._own)
        self._others = {symbol: symbol for symbol in others}

    def as_of(self, moment: pd.Timestamp) -> "Market":
        """Return what FMP had given at a moment (UTC), by what is kept."""
        fetcher, clock = self._fetcher.as_of(moment), StandingClock(moment)
        return Market(fetcher, self.settings, clock, self.companies, self._prices_only)

    def earnings(self, quarter: Quarter) -> Collected:
        """Return a quarter's announcements that have an actual.

        Where estimate and actual lie on both sides of a split, the estimate is left out and the gap says why; of a
        split that came later, which nobody knew of, the gap alone tells.
        """
        now = self.clock.now()
        announced: dict[tuple[str, pd.Timestamp], Row] = {}
        for row in (kept.content for kept in self.announcements(quarter.start, quarter.end)):
            known = announced_at(row["expected_on"], row["session"])
            if row["eps_actual"] == row["eps_actual"] and known <= now:
                day = row["expected_on"]
                announced[row["symbol"], day] = {**row, "announced_on": day, KNOWABLE: known}
        rows = frame("earnings", list(announced.values()))
        until = min(quarter + 1, Quarter.of(new_york_day(now)))
        split = apart(rows, frame("corporate_actions", self._actions(quarter - 1, until, self.fmp.splits)))
        outcomes = {"before": "the estimate is left out", "after": "it came later, so both stay as they are"}
        gaps = [
            Gap(
                "earnings",
                f"{row['symbol']} {row['announced_on']:%Y-%m-%d}",
                NAME,
                f"estimate {row['eps_estimate']:g} and actual {row['eps_actual']:g} lie on both sides of a split of "
                f"{row[when]:g} for 1: {outcome}",
            )
            for when, outcome in outcomes.items()
            for row in rows_of(rows.join(split)[split[when].notna()])
        ]
        return Collected(rows.assign(eps_estimate=rows["eps_estimate"].where(split["before"].isna())), gaps)

    def ohlcv(self, year: int) -> Collected:
        """Return a year's bars as they were traded, of the companies, the benchmark and the sector ETFs."""
        first, last = pd.Timestamp(year, 1, 1), pd.Timestamp(year, 12, 31)
        since = self._since(last, _PRICES_SETTLE, self._prices_since())
        wanted = self._own | self._others
        return self._of_each("ohlcv", wanted, lambda symbol: self.fmp.prices(symbol, first, last, since))

    def corporate_actions(self, quarter: Quarter) -> Collected:
        """Return a quarter's splits and dividends."""
        now = self.clock.now()
        rows = [row for ask in (self.fmp.splits, self.fmp.dividends) for row in self._actions(quarter, quarter, ask)]
        return Collected(frame("corporate_actions", [row for row in rows if row[KNOWABLE] <= now]), [])

    def income_statements(self) -> Collected:
        """Return all statements of the companies; those that have announced since are asked for until it is there."""
        announced = self._latest_announcements()
        return self._of_each(
            "income_statements",
            self._own,
            lambda symbol: self.fmp.statements(symbol, self._statements_since(symbol, announced.get(symbol))),
        )

    def analyst_ratings(self) -> Collected:
        """Return all grades of the companies."""
        return self._of_each("analyst_ratings", self._own, lambda symbol: self.fmp.grades(symbol, self.daily()))

    def price_targets(self) -> Collected:
        """Return all price targets for the companies."""
        return self._of_each("price_targets", self._own, lambda symbol: self.fmp.price_targets(symbol, self.daily()))

    def daily(self) -> pd.Timestamp:
        """Return the beginning (UTC) of the day in New York: what can change on any day is asked for once in each."""
        return new_york(new_york_day(self.clock.now()))

    def _of_each(self, table: str, wanted: dict[str, str], ask: Callable[[str], Rows]) -> Collected:
        gathered = gather(table, wanted, ask, self.settings.workers, self.settings.may_miss)
        rows = [{**row, "symbol": wanted[symbol]} for symbol, found in gathered.answers.items() for row in found]
        now = self.clock.now()
        return Collected(frame(table, [row for row in rows if row[KNOWABLE] <= now]), gathered.gaps)

    def announcements(self, first: pd.Timestamp, last: pd.Timestamp) -> list[Kept[Row]]:
        """Return what the earnings calendar says of our companies on some days and the rest of their months."""
        every = self._by_month(first, last, self.fmp.announcements)
        return [Kept(kept.fetched_at, self._named(kept.content)) for kept in every]

    def days_of_announcements(self, first: pd.Timestamp, last: pd.Timestamp) -> set[pd.Timestamp]:
        """Return the days (New York's) on which the calendar told something new of some months, readable or not."""
        moments = (self.fmp.moments_of_announcements(*month) for month in _months(first, last))
        return {new_york_day(moment) for of_month in moments for moment in of_month}

    def _actions(self, first: Quarter, last: Quarter, ask: Months) -> Rows:
        every = (self._named(kept.content) for kept in self._by_month(first.start, last.end, ask))
        by_session: dict[tuple[str, pd.Timestamp], dict[float, Row]] = {}
        for row in every:  # the same record may come twice; a special dividend beside the regular one is another
            by_session.setdefault((row["symbol"], row["session"]), {})[row["value"]] = row
        return [_together(list(rows.values())) for rows in by_session.values()]

    def _by_month(
        self, first: pd.Timestamp, last: pd.Timestamp, ask: Callable[..., list[Kept[Row]]]
    ) -> list[Kept[Row]]:
        return [
            kept
            for begin, end in _months(first, last)
            for kept in ask(begin, end, self._since(end, _CALENDAR_SETTLES, self.daily()))
        ]

    def _since(self, last: pd.Timestamp, settles: pd.Timedelta, otherwise: pd.Timestamp) -> pd.Timestamp:
        return min(end_of_day(last) + settles, otherwise)

    def _prices_since(self) -> pd.Timestamp:
        """Return when the prices of the last session had come."""
        over = closes() + _PRICES_COME
        moment: pd.Timestamp = over[int(over.searchsorted(self.clock.now(), side="right")) - 1]
        return moment

    def _statements_since(self, symbol: str, announced_on: pd.Timestamp | None) -> pd.Timestamp:
        if announced_on is None:
            return self.clock.now() - _STATEMENTS_AGE
        newest = self.fmp.newest_period(symbol)
        return FOREVER if newest is not None and newest > announced_on - REPORTS_WITHIN else self.daily()

    def _latest_announcements(self) -> dict[str, pd.Timestamp]:
        """Return the last announcement of each company within some months, by FMP's symbol."""
        today = new_york_day(self.clock.now())
        latest: dict[str, pd.Timestamp] = {}
        for kept in self.announcements(today - REPORTS_WITHIN, today):
            if kept.content["expected_on"] <= today:
                symbol = kept.content["symbol"].replace(".", "-")
                latest[symbol] = max(kept.content["expected_on"], latest.get(symbol, kept.content["expected_on"]))
        return latest

    def _named(self, row: Row) -> Row:
        return {**row, "symbol": self._own[row["symbol"]]}


def _months(first: pd.Timestamp, last: pd.Timestamp) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Return the first and the last day of each month of some days."""
    return [
        (month.start_time.as_unit("ns"), month.end_time.normalize().as_unit("ns"))
        for month in pd.period_range(first, last, freq="M")
    ]


def _together(rows: Rows) -> Row:
    """Return what several actions of one kind and day come to: dividends add up, of splits the last counts."""
    return {**rows[-1], "value": sum(row["value"] for row in rows)} if rows[-1]["kind"] == "dividend" else rows[-1]
