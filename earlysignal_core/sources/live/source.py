"""The live source: the same questions as a tape's, answered by the providers that the settings name."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Literal

import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import LiveSettings, Settings, TapeSettings
from earlysignal_core.sources.live import bls, edgar, eodhd, fmp, fred, thirteenf
from earlysignal_core.sources.live.clock import Clock, StandingClock, new_york, new_york_day
from earlysignal_core.sources.live.companies import cusips_from_file, from_file
from earlysignal_core.sources.live.constituents import sp500
from earlysignal_core.sources.live.errors import BreakerOpenError, LiveSettingsError, NotFoundError, ProviderError
from earlysignal_core.sources.live.fetch import Fetcher
from earlysignal_core.sources.live.gather import gather
from earlysignal_core.sources.live.http import Http
from earlysignal_core.sources.live.limits import Limits
from earlysignal_core.sources.live.market import Collected, Market, frame
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.sources.live.records import Rows
from earlysignal_core.sources.live.schedule import ASSUMED_AHEAD, CALENDAR, ESTIMATES, Schedule
from earlysignal_core.sources.live.snapshots import Snapshots
from earlysignal_core.sources.source import CONSENSUS_ASSUMED, Gap, Source, SourceDescription, Tally
from earlysignal_core.sources.tape import MEMBERSHIP_ASSUMED, SECTORS_ASSUMED
from earlysignal_core.tables import TABLES, UNIVERSE, each_company, own_date
from earlysignal_core.trading_calendar import closes, sessions
from earlysignal_core.validation import checked, no_rows

NAME = "live"
ESTIMATES_ASSUMED = (
    "earnings: the estimate of an announcement is the provider's present figure for it, which it may have rewritten."
)
STATEMENTS_ASSUMED = "income_statements: what was restated before we first looked carries the date of the first filing."

_PROVIDERS: tuple[ModuleType, ...] = (fmp, fred, bls, edgar, eodhd)
_MACRO_BEFORE = pd.DateOffset(years=2)  # year-on-year changes of the first quarter, and of revisions
_OPTIONS_HISTORY = pd.Timedelta(days=730)
_OPTIONS_COME = pd.Timedelta(hours=4)
_MONTH = pd.Timedelta(days=30)
_LISTED = "sp500"  # the one universe that a provider lists
_MOST_SERIES_MISSING = 0.5  # each is a feature of its own: one that is missing misleads nobody

_OF_FMP = (
    "earnings",
    ESTIMATES,
    CALENDAR,
    "ohlcv",
    "corporate_actions",
    "income_statements",
    "analyst_ratings",
    "price_targets",
)
_REMEMBERED = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class _Remembered:
    at: pd.Timestamp
    first: Quarter
    collected: Collected


class LiveSource:
    """Collects from providers, and asks only for what can have changed.

    A table has a provider where the settings give its key or contact; a tape, where one is given, has the others.

    Parameters
    ----------
    settings : Settings
    limits : Limits
        Shared by all who ask the same providers.
    clock : Clock
    tape : Source, optional

    Raises
    ------
    LiveSettingsError
        If there is no provider of announcements and no tape.
    """

    def __init__(self, settings: Settings, limits: Limits, clock: Clock, tape: Source | None = None) -> None:
        where = f"{settings.lake.rstrip('/')}/{NAME}" if settings.lake else str(settings.home.absolute() / NAME)
        self._lake = Lake(where)
        store = RawStore(self._lake)
        last = store.last_given() if settings.live.offline else None
        if last is not None:  # what can be asked for depends on the day: offline it is that of the last answer
            clock = StandingClock(last)
        self._settings, self._live, self._clock, self._tape = settings, settings.live, clock, tape
        self._fetchers = _connect(self._live, store, limits, clock)
        self._snapshots = Snapshots(self._lake)
        self._remembered: dict[str, _Remembered] = {}
        self._gaps: dict[tuple[str, Quarter], list[Gap]] = {}
        self._tallies: dict[tuple[str, Quarter], Tally] = {}
        self._lock = threading.RLock()
        unknown = sorted(set(self._live.tables or ()) - set(TABLES))
        if unknown:
            raise LiveSettingsError(
                f"EARLYSIGNAL_LIVE__TABLES names the unknown table(s) {', '.join(unknown)}. Known: {', '.join(TABLES)}."
            )
        if tape is None and self._live.companies is None and settings.universe not in (None, _LISTED):
            raise LiveSettingsError(
                f"no provider lists the companies of `{settings.universe}`. Remedy: name a file that does in "
                f"EARLYSIGNAL_LIVE__COMPANIES, or choose `{_LISTED}`."
            )
        if "earnings" not in self._given and tape is None:
            raise LiveSettingsError(
                "nothing gives announcements: no EARLYSIGNAL_LIVE__FMP_KEY is set, or EARLYSIGNAL_LIVE__TABLES leaves "
                "`earnings` out, and there is no tape. Remedy: set the key, or name a tape in EARLYSIGNAL_TAPE for the "
                "tables that no provider gives."
            )

    @cached_property
    def description(self) -> SourceDescription:
        """What it holds: from the quarter that the settings name to the running one."""
        theirs = self._tape.description if self._tape is not None else None
        tables = [UNIVERSE, *self._given]
        first, last = self._live.first, str(Quarter.of(self._today()))
        snapshot = self._snapshots.first(CALENDAR)
        since = dict.fromkeys(self._given, first)
        if ESTIMATES in since:
            since[ESTIMATES] = str(Quarter.of(new_york_day(snapshot or self._clock.now())))
        provides = [f"macro:{name}" for name in self._series] if "macro" in tables else []
        provides += ["ohlcv:etf_volume"] if "ohlcv" in tables else []
        provides += [f"sec_filings:{form}" for form in (*edgar.FORMS, "4")] if "sec_filings" in tables else []
        since |= dict.fromkeys(provides, first)
        if theirs is not None:
            given = [table for table in theirs.tables if table not in tables]
            since |= {fact: when for fact, when in theirs.since.items() if fact.partition(":")[0] in given}
            provides += [fact for fact in theirs.provides if fact.partition(":")[0] in given]
            tables += given
        return SourceDescription(
            name=NAME,
            benchmark=self._live.benchmark if theirs is None or "ohlcv" in self._given else theirs.benchmark,
            universe=self._settings.universe or (self._live.companies.stem if self._live.companies else _LISTED),
            tables=tuple(tables),
            first=first,
            last=last,
            first_event=first,
            last_event=last,
            since=since,
            prices="raw" if theirs is None or "ohlcv" in self._given else theirs.prices,
            provides=tuple(provides),
            assumptions=self._assumptions(snapshot, theirs),
            membership=self._membership(theirs),
            settings=self._settings.over(theirs.settings if theirs is not None else TapeSettings()),
            grows=True,
        )

    def universe(self) -> pd.DataFrame:
        """Return the companies: the user's own list, the tape's, or the S&P 500, with dates where the plan has them."""
        if self._live.companies is not None:
            return from_file(self._live.companies)
        if self._tape is not None:
            return self._tape.universe()
        since = self._clock.now() - _MONTH
        first = Quarter.parse(self._live.first).start
        companies = sp500(fmp.Fmp(self._fetchers[fmp.NAME]), first, since, self._live.workers)
        self.__dict__.pop("description", None)  # which says whether membership is dated, and asks nobody
        return companies

    def read(self, table: str, quarter: Quarter) -> pd.DataFrame:
        """Return a table's rows of one quarter; the first quarter also holds what came before it.

        Raises
        ------
        SourceError
            If so much is missing that the table would mislead; names it, and the first cause.
        """
        if table not in self._given:
            return self._tape.read(table, quarter) if self._tape is not None else no_rows(table)
        with self._lock:
            for fetcher in self._fetchers.values():
                fetcher.take_stale()
            before = self._tally_so_far()
            collected = self._collect(table, quarter)
            self._tallies[table, quarter] = self._tally_so_far() - before
            self._gaps[table, quarter] = [*collected.gaps, *self._stale(table)]
        rows = collected.rows
        if rows.empty:
            return no_rows(table)
        dates = own_date(TABLES[table], rows)
        first = quarter == Quarter.parse(self._live.first)
        within = (dates < (quarter + 1).start) & (dates >= quarter.start if not first else True)
        return checked(table, rows[within], str(quarter))

    def gaps(self, table: str, quarter: Quarter) -> list[Gap]:
        """Return what the table lacked, or had to take from an older answer, when the quarter was last read."""
        return self._gaps.get((table, quarter), [])

    def tally(self, table: str, quarter: Quarter) -> Tally:
        """Return what was asked when the quarter was last read; what spans quarters counts for the first that is."""
        return self._tallies.get((table, quarter), Tally())

    def close(self) -> None:
        """Close the connections."""
        for fetcher in self._fetchers.values():
            fetcher.close()

    @cached_property
    def _given(self) -> list[str]:
        """The tables that are collected: those that have a provider, as far as the settings want them."""
        tables = [*_OF_FMP] if fmp.NAME in self._fetchers else []
        if edgar.NAME in self._fetchers:
            tables.append("sec_filings")
            if self._live.managers and self._live.cusips is not None:
                tables.append("institutional_holdings")
        if eodhd.NAME in self._fetchers:
            tables.append("options")
        if fred.NAME in self._fetchers or bls.NAME in self._fetchers:
            tables.append("macro")
        return [table for table in tables if self._live.tables is None or table in self._live.tables]

    @property
    def _series(self) -> list[str]:
        """Return the economic series that a provider has: the BLS has few of them."""
        known = self._live.series if fred.NAME in self._fetchers else bls.FRED_TWINS.values()
        return [name for name in self._live.series if name in known]

    def _tally_so_far(self) -> Tally:
        return sum((fetcher.tally for fetcher in self._fetchers.values()), Tally())

    def _collect(self, table: str, quarter: Quarter) -> Collected:
        if table in _OF_FMP:
            return self._by_fmp(table, quarter)
        if table == "sec_filings":
            return self._remember(table, quarter, lambda: self._filings(quarter.start))
        if table == "institutional_holdings":
            return self._remember(table, quarter, lambda: self._holdings(quarter.start))
        if table == "options":
            return self._options(quarter)
        return self._remember(table, quarter, self._by_fred if fred.NAME in self._fetchers else self._by_bls)

    def _by_fmp(self, table: str, quarter: Quarter) -> Collected:
        market, schedule = self._market, self._schedule
        if table == "ohlcv":
            return self._remember(f"{table} {quarter.year}", quarter, lambda: market.ohlcv(quarter.year))
        by_quarter = {
            "earnings": market.earnings,
            CALENDAR: schedule.calendar,
            ESTIMATES: schedule.estimates,
            "corporate_actions": market.corporate_actions,
        }
        if table in by_quarter:
            return by_quarter[table](quarter)
        whole = {
            "income_statements": market.income_statements,
            "analyst_ratings": market.analyst_ratings,
            "price_targets": market.price_targets,
        }
        return self._remember(table, quarter, whole[table])

    @cached_property
    def _market(self) -> Market:
        companies = each_company(self.universe())
        others = sorted({*companies["sector_etf"].dropna(), self._live.benchmark} - set(companies["symbol"]))
        fetcher = self._fetchers[fmp.NAME]
        return Market(fetcher, self._live, self._clock, companies["symbol"].tolist(), others)

    @cached_property
    def _schedule(self) -> Schedule:
        return Schedule(self._market, self._snapshots)

    def _remember(self, key: str, quarter: Quarter, collect: Callable[[], Collected]) -> Collected:
        """Collect what spans quarters once: a backfill from the oldest on reads the later ones from the same rows."""
        now, before = self._clock.now(), self._remembered.get(key)
        if before is not None and now - before.at < _REMEMBERED and before.first <= quarter:
            return before.collected
        collected = collect()
        self._remembered[key] = _Remembered(now, quarter, collected)
        return collected

    def _filings(self, first: pd.Timestamp) -> Collected:
        """Return what the companies and their insiders filed since a day: a trade is filed after it happened."""
        client = edgar.Edgar(self._fetchers[edgar.NAME])
        ciks = client.ciks(self._clock.now() - _MONTH)
        unreadable: list[Gap] = []
        stays = self.universe()
        companies = each_company(stays)
        former = set(companies["symbol"]) - set(stays.loc[~(stays["last"] < self._today()), "symbol"])

        def ask(symbol: str) -> Rows:
            cik = ciks.get(symbol.replace(".", "-"))
            if cik is None:
                error = NotFoundError(edgar.NAME, f"ticker {symbol}", "is in no list of filers")
                if symbol not in former:
                    raise error
                unreadable.append(_gap("sec_filings", symbol, error))  # the list holds the tickers of today alone
                return []
            rows, errors = client.rows(symbol, cik, first, self._daily())
            unreadable.extend(_gap("sec_filings", symbol, error) for error in errors)
            return rows

        collected = self._of_each("sec_filings", companies["symbol"].tolist(), ask)
        return Collected(collected.rows, [*collected.gaps, *unreadable])

    def _holdings(self, first: pd.Timestamp) -> Collected:
        client = thirteenf.ThirteenF(self._fetchers[edgar.NAME])
        table, managers = "institutional_holdings", [str(manager) for manager in self._live.managers]
        gathered = gather(
            table,
            managers,
            lambda manager: client.reports(int(manager), first, self._daily()),
            self._live.workers,
            self._live.may_miss,
        )
        reports = [report for found, _ in gathered.answers.values() for report in found]
        gaps = [_gap(table, name, error) for name, (_, errors) in gathered.answers.items() for error in errors]
        symbols = cusips_from_file(self._live.cusips) if self._live.cusips is not None else {}
        rows = frame(table, thirteenf.holdings(reports, symbols, self._clock.now()))
        return Collected(rows, [*gathered.gaps, *gaps])

    def _options(self, quarter: Quarter) -> Collected:
        now, client = self._clock.now(), eodhd.Eodhd(self._fetchers[eodhd.NAME])
        over = sessions()[closes() + _OPTIONS_COME <= now]
        begin = max(quarter.start, new_york_day(now) - _OPTIONS_HISTORY)
        days = over[(over >= begin) & (over <= quarter.end)]

        missing: list[Gap] = []

        def ask(symbol: str) -> Rows:
            rows, errors = [], {}
            for day in days:
                try:
                    rows.append(client.session(symbol, day, now))
                except ProviderError as error:
                    if error.hopeless or isinstance(error, BreakerOpenError):
                        raise
                    errors[day] = error
            if errors and not rows:
                raise next(iter(errors.values()))
            missing.extend(_gap("options", f"{symbol} {day:%Y-%m-%d}", error) for day, error in errors.items())
            return [row for row in rows if row is not None]

        symbols = each_company(self.universe())["symbol"].tolist() if len(days) else []
        collected = self._of_each("options", symbols, ask)
        return Collected(collected.rows, [*collected.gaps, *missing])

    def _by_fred(self) -> Collected:
        client = fred.Fred(self._fetchers[fred.NAME])
        first = Quarter.parse(self._live.first).start - _MACRO_BEFORE
        now = self._clock.now()
        return self._of_each(
            "macro",
            list(self._live.series),
            lambda name: client.series(name, first, self._daily(), now),
            max(self._live.may_miss, _MOST_SERIES_MISSING),
        )

    def _by_bls(self) -> Collected:
        """Return the series of which the BLS has a twin, known from when we first saw each value."""
        names = {twin: name for name, twin in bls.FRED_TWINS.items() if twin in self._series}
        year = Quarter.parse(self._live.first).year - 1
        client = bls.Bls(self._fetchers[bls.NAME])
        rows = client.series(list(names.values()), year, self._today().year, self._daily())
        missing = set(self._live.series) - {row["series"] for row in rows}
        gaps = [Gap("macro", series, bls.NAME, "the BLS has no such values") for series in sorted(missing)]
        return Collected(frame("macro", rows), gaps)

    def _of_each(
        self, table: str, items: list[str], ask: Callable[[str], Rows], may_miss: float | None = None
    ) -> Collected:
        share = self._live.may_miss if may_miss is None else may_miss
        gathered = gather(table, items, ask, self._live.workers, share)
        return Collected(frame(table, [row for found in gathered.answers.values() for row in found]), gathered.gaps)

    def _stale(self, table: str) -> list[Gap]:
        return [
            _gap(table, stale.request.asked, stale.error, stale.fetched_at)
            for fetcher in self._fetchers.values()
            for stale in fetcher.take_stale()
        ]

    def _membership(self, theirs: SourceDescription | None) -> Literal["today", "dated"]:
        """Return what a list of the user's means, by whether it has dates; else what the tape or the provider says."""
        if self._live.companies is not None:
            return "dated" if self.universe()[["first", "last"]].notna().any(axis=None) else "today"
        if theirs is not None:
            return theirs.membership
        return "dated" if fmp.Fmp(self._fetchers[fmp.NAME]).knows_index_changes() else "today"

    def _assumptions(self, snapshot: pd.Timestamp | None, theirs: SourceDescription | None) -> tuple[str, ...]:
        of_members = SECTORS_ASSUMED if self._membership(theirs) == "dated" else MEMBERSHIP_ASSUMED
        lines = list(theirs.assumptions) if theirs is not None else [of_members]
        if self._live.companies is not None:  # the tape's are not read
            others = (line for line in lines if line not in (MEMBERSHIP_ASSUMED, SECTORS_ASSUMED))
            lines = [of_members, *others]
        if ESTIMATES in self._given:  # nor is an assumed consensus
            lines = [line for line in lines if line != CONSENSUS_ASSUMED]
        if CALENDAR in self._given:
            until = f"our first snapshot on {new_york_day(snapshot):%Y-%m-%d}" if snapshot else "our first snapshot"
            ahead = f"are taken as known {ASSUMED_AHEAD.days} days ahead"
            lines.append(f"assume_dates_known: dates of announcements up to a week after {until} {ahead}.")
        lines += [ESTIMATES_ASSUMED] if "earnings" in self._given else []
        lines += [STATEMENTS_ASSUMED] if "income_statements" in self._given else []
        return tuple(dict.fromkeys(lines))

    def _daily(self) -> pd.Timestamp:
        return new_york(self._today())

    def _today(self) -> pd.Timestamp:
        return new_york_day(self._clock.now())


def _connect(settings: LiveSettings, store: RawStore, limits: Limits, clock: Clock) -> dict[str, Fetcher]:
    """Return a fetcher for each provider that the settings name; offline, only what is kept of it."""
    fetchers = {}
    for module in _PROVIDERS:
        provider = module.provider(settings)
        if provider is not None:
            fetchers[module.NAME] = Fetcher(store, None if settings.offline else Http(provider, limits, clock))
    return fetchers


def _gap(table: str, what: str, error: ProviderError, served: pd.Timestamp | None = None) -> Gap:
    return Gap(table, what, error.provider, str(error), served)
