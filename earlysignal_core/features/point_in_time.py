"""The only door from features to tables: arrays of what could be known at each example's `as_of`."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.arrays import DAY, HOUR, NOT_THERE, Flags, Moments, Rows, Values
from earlysignal_core.features.catalogue import Feature, look_back
from earlysignal_core.features.known_table import MILLION, Choice, KnownTable
from earlysignal_core.features.peers import Among, Asker, Hit, Peers
from earlysignal_core.features.price_basis import SHIFT_LOOK_BACK, Bars, Splits, session_days
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.tables import TABLES, UNIVERSE, Axis, each_company, fiscal_quarter, next_fiscal_period
from earlysignal_core.trading_calendar import position

BENCHMARK = "benchmark"
NEXT_QUARTER = "next_quarter"
LATE_CLOSE_SESSIONS = 5
DAYS_IN_QUARTER = 92
_OF_AN_EXAMPLE = ("symbol", "sector_etf")


class PointInTime:
    """Tables as they could be read at each example's `as_of`.

    It hands out arrays, never rows. A row with ``available_at > as_of`` does not exist for that example, nor does one
    that lies further back than the feature declares; and an example's values are the same bits alone as among ten
    thousand others.

    Parameters
    ----------
    tables : mapping of str to DataFrame or KnownTable
        The rows of each table, at least as far back as the features look; `universe` as a DataFrame.
    examples : DataFrame
        As from `features.examples`; n rows.
    source : SourceDescription
    features : mapping of str to Feature
        Those that will be asked for; they set how far back prices are gathered.
    """

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame | KnownTable],
        examples: pd.DataFrame,
        source: SourceDescription,
        features: Mapping[str, Feature],
    ) -> None:
        self.examples = examples
        self._source = source
        given = dict(tables)
        universe = given.pop(UNIVERSE)
        companies = each_company(universe.frame if isinstance(universe, KnownTable) else universe)
        self._sectors = companies.set_index("symbol")["sector"]
        self._tables = {
            name: rows if isinstance(rows, KnownTable) else KnownTable(TABLES[name], rows)
            for name, rows in given.items()
        }
        self._sessions_back = look_back(features.values()).get("ohlcv", 0)
        self._moments: Moments = examples["as_of"].to_numpy("datetime64[ns]").astype(np.int64)
        self._quarter = fiscal_quarter(examples["fiscal_period"], examples["scheduled_on"])
        self._session = self._last_known_session()
        actions = self._tables.get("corporate_actions")
        self._splits = None if actions is None else Splits(actions.frame)
        self._bars: dict[str, tuple[Bars, Rows]] = {}
        self._found: dict[tuple[str, str, int, Choice | None], Rows] = {}
        self._values: dict[str, Values] = {}
        self._computing: list[Feature] = []
        self._read: dict[str, dict[str, list[Rows]]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def _explains(self) -> bool:
        """Whether to keep which rows were read: only `explain` asks, and it looks at a single example."""
        return len(self) == 1

    def value(self, feature: Feature) -> Values:
        """Return a feature's values, shape (n,), computed once; what is not finite is NaN."""
        if feature.name not in self._values:
            self._computing.append(feature)
            try:
                values = feature.compute(self)
            finally:
                self._computing.pop()
            if values.shape != (len(self),):
                raise EarlySignalError(
                    f"feature `{feature.name}` returns the shape {values.shape} for {len(self)} examples. "
                    f"Remedy: reduce the last axis, so that one value an example is left."
                )
            self._values[feature.name] = np.where(np.isfinite(values), values, np.nan)
        for table, rows in self._read.get(feature.name, {}).items():
            self._remember(table, *rows)
        return self._values[feature.name]

    def rows_read(self, feature: Feature) -> dict[str, pd.DataFrame]:
        """Return the rows that a feature was made from, by table; kept only where there is a single example."""
        return {
            table: self._tables[table].frame.iloc[np.unique(np.concatenate(rows))]
            for table, rows in self._read.get(feature.name, {}).items()
        }

    def has(self, table: str) -> bool:
        """Say whether the source has a table: for features that it only sharpens."""
        return table in self._source.tables

    def had(self, form: str, days_ago: int) -> Flags:
        """Say whether the source has had filings of a form since before some days ago.

        Of the quarter in which the first one became known that is not said: at its beginning nobody could tell.
        """
        first = self._source.first_quarters
        begun = first.get(f"sec_filings:{form}", first["sec_filings"]) + 1
        known: Flags = self._moments - days_ago * DAY >= pd.Timestamp(begun.start).value
        return known

    @property
    def prices_are_raw(self) -> bool:
        """Whether prices and volumes arrive on the share basis of their day; else later splits are worked in."""
        return self._source.prices == "raw"

    @property
    def as_of_day(self) -> Values:
        """The day of `as_of`, in days since the epoch, shape (n,)."""
        return (self._moments // DAY).astype(np.float64)

    @property
    def scheduled_day(self) -> Values:
        """The day for which the announcement was scheduled at `as_of`, in days since the epoch, shape (n,)."""
        return self.examples["scheduled_on"].to_numpy("datetime64[D]").astype(np.float64)

    @property
    def last_session(self) -> Rows:
        """`t`: the last session whose close was known, as a position in the trading calendar, shape (n,)."""
        return self._session

    def sessions_ago(self, days: Values) -> Values:
        """Return how many sessions before `t` the last session on or before each day lies (negative: after `t`).

        Parameters
        ----------
        days : ndarray, shape (n, …)
            Days since the epoch; NaN stays NaN.
        """
        there = np.isfinite(days)
        found = position(np.where(there, days, 0).astype("datetime64[D]").ravel()).reshape(days.shape)
        ago = self._session.reshape((-1,) + (1,) * (days.ndim - 1)) - found
        return np.where(there, ago, np.nan)

    def shares_since(self, days: Values, *, of_prices: bool = False) -> Values:
        """Return how many shares of `t` one share of each day became, by the splits known at `as_of`.

        Parameters
        ----------
        days : ndarray, shape (n, k)
            Days since the epoch: those on which figures per share were published. Dividing by the result puts them on
            the share basis of `t`.
        of_prices : bool
            Whether the figures share the prices' basis, like dividends: then spin-offs count too, which change a
            price but not earnings per share by their factor, and where prices arrive adjusted nothing is left to do.

        Returns
        -------
        ndarray of float64, shape (n, k)
            Ones where the source has no `corporate_actions`.
        """
        if self._splits is None or (of_prices and not self.prices_are_raw):
            return np.ones(days.shape)
        self._check_look_back("corporate_actions")
        splits = self._splits.known(self.examples["symbol"], self._moments, self._session)
        self._remember("corporate_actions", splits.rows)
        since = np.maximum(days, self._oldest_day("corporate_actions")[:, None])
        return splits.shares_since(since, spin_offs=of_prices)

    def latest(self, table: str, column: str, *, owner: str = "symbol", lag_days: int = 0) -> Values:
        """Return the last known value of a column, shape (n,): `window` with a length of one."""
        return self.window(table, column, 1, owner=owner, lag_days=lag_days)[:, 0]

    def window(
        self,
        table: str,
        column: str,
        length: int,
        *,
        owner: str = "symbol",
        lag_days: int = 0,
        only: Choice | None = None,
    ) -> Values:
        """Return the last known values of a column, oldest first.

        Parameters
        ----------
        table, column : str
            Prices come on the share basis of `t` and, before a false level shift, as NaN. Days come as days since
            the epoch, texts as numbers that are the same for the same text.
        length : int
            Steps of the table's axis: sessions up to `t`, fiscal quarters up to the one before the example's own,
            else rows.
        owner : str
            Whose rows: ``symbol``, ``sector_etf``, ``benchmark``, or a series' name; where rows are of an event
            ``next_quarter`` asks for those of the fiscal quarter after.
        lag_days : int
            Look from that many days before `as_of`; only for tables without a regular step.
        only : Choice, optional
            The rows that count, like filings of one form; not for prices.

        Returns
        -------
        ndarray of float64, shape (n, length), C-ordered
            Right-aligned; NaN where nothing was known.
        """
        if table == "ohlcv":
            self._check_look_back(table, length)
            bars, which = self._bars_of(owner)
            self._remember(table, bars.rows[:, -length:])
            return np.take(bars.last(column, length), which, axis=0)
        rows = self._locate(table, length, owner, lag_days, only)
        return self._tables[table].take(column, rows)

    def matches(self, table: str, column: str, value: str, length: int) -> Values:
        """Return, for the symbol's rows of `window`, 1 where a text column has a value, 0 where not, NaN for no row."""
        rows = self._locate(table, length, "symbol", 0)
        return self._tables[table].equals(column, value, rows)

    def means(self, table: str, column: str, hours_ago: Sequence[int], *, only: Choice) -> Values:
        """Return the means of a column over stretches of time in which the symbol's rows became known.

        Parameters
        ----------
        table, column : str
            Of small numbers: they are summed in whole millionths, so that no other row can move a bit.
        hours_ago : sequence of int, length k + 1
            Where the stretches begin and end, in hours before `as_of`, oldest first. What became known at the very
            beginning belongs to the stretch before.
        only : Choice
            The rows that count.

        Returns
        -------
        ndarray of float64, shape (n, k)
            NaN where no row became known.
        """
        self._check_look_back(table)
        days = 1 + -(-hours_ago[0] // 24)  # what became known on the day before counts by its own day
        if days > self._allowed(table):
            raise EarlySignalError(
                f"feature `{self._computing[-1].name}` reads {days} days of `{table}` but declares "
                f"{self._allowed(table)}. Remedy: declare it in `needs`."
            )
        bounds = self._moments[:, None] - np.array(hours_ago) * HOUR
        known = self._tables[table]
        owner = known.owners.get_indexer(pd.Index(self.examples["symbol"]))
        total, count = known.millionths(column, only).between(owner[:, None], bounds[:, :-1], bounds[:, 1:])
        if self._explains:
            within = (known.available > bounds[0, 0]) & (known.available <= bounds[0, -1]) & only(known.frame)
            self._remember(table, np.flatnonzero(within & (known.frame["symbol"] == self.examples["symbol"].iloc[0])))
        return total / np.where(count > 0, count, np.nan) / MILLION

    def counts(self, table: str, hit: Hit, days: int, among: Among) -> tuple[Values, Values]:
        """Count the rows that became known in the last days, of shape (n,) each: hits, and all that count.

        Parameters
        ----------
        table : str
        hit : Hit
        days : int
        among : Among
            NaN where an example has no sector and is asked for its own.
        """
        self._check_look_back(table, -(-days // DAYS_IN_QUARTER))
        after = self._moments - days * DAY
        asker = Asker(self.examples["symbol"], self.examples["sector"], after, self._moments)
        peers = Peers(self._tables[table], self._sectors, hit)
        if self._explains:
            self._remember(table, peers.rows(asker, among))
        return peers.count(asker, among)

    def _bars_of(self, owner: str) -> tuple[Bars, Rows]:
        """Return the bars over the deepest look-back and, for each example, which of them are its own."""
        if owner not in self._bars:
            owners = self._owners("ohlcv", owner)
            which = self._distinct(owners)
            first = np.unique(which, return_index=True)[1]
            asked = (owners.iloc[first], self._moments[first], self._session[first])
            length = self._sessions_back + SHIFT_LOOK_BACK
            shares = None
            if self._splits is not None and self.prices_are_raw:
                days = session_days(self._session[first], length)
                shares = self._splits.known(*asked).shares_since(days, spin_offs=True)
            self._bars[owner] = Bars(self._tables["ohlcv"], self._tables["ohlcv"].locate(*asked, length), shares), which
        return self._bars[owner]

    def _distinct(self, owners: pd.Series) -> Rows:
        """Return the number of each pair of owner and moment, shape (n,): those of one day share the market's bars."""
        pairs = pd.DataFrame({"owner": owners.to_numpy(), "moment": self._moments})
        return np.asarray(pairs.groupby(["owner", "moment"], sort=False, dropna=False).ngroup(), dtype=np.int64)

    def _last_known_session(self) -> Rows:
        """Return `t`: the last session whose close the market (the benchmark's bar) shows as known at `as_of`."""
        latest = position(self.examples["as_of"].dt.tz_localize(None).dt.normalize())
        if "ohlcv" not in self._tables:
            return latest
        owners = pd.Series(self._source.benchmark, index=self.examples.index)
        rows = self._tables["ohlcv"].locate(owners, self._moments, latest, LATE_CLOSE_SESSIONS)
        missing = (np.flip(rows, axis=1) == NOT_THERE).astype(np.int64)
        behind = np.multiply.accumulate(missing, axis=1).sum(axis=1)
        return np.where(behind == LATE_CLOSE_SESSIONS, latest, latest - behind)

    def _locate(self, table: str, length: int, owner: str, lag_days: int, only: Choice | None = None) -> Rows:
        self._check_look_back(table, length)
        rows = self._located(table, length, owner, lag_days, only)
        if TABLES[table].axis is not Axis.SESSION:  # older rows may be loaded or not: they must not count
            rows = self._tables[table].since(rows, self._oldest_day(table))
        self._remember(table, rows)
        return rows

    def _located(self, table: str, length: int, owner: str, lag_days: int, only: Choice | None) -> Rows:
        """Return the last known rows, however old: looked for once, also where several features ask for them."""
        key = (table, owner, lag_days, only)
        if key not in self._found or self._found[key].shape[1] < length:
            index = self._tables[table] if only is None else self._tables[table].only(only)
            owners, moments = self._owners(table, owner), self._moments - lag_days * DAY
            if TABLES[table].axis is Axis.FISCAL_QUARTER:
                self._found[key] = index.locate(owners, moments, self._quarter - 1, length)
            elif owner in _OF_AN_EXAMPLE or self._tables[table].of_an_event:
                self._found[key] = index.locate(owners, moments, self._session, length)
            else:  # what all examples share, those of one moment share at once
                first, which = self._by_moment
                rows = index.locate(owners.iloc[first], moments[first], self._session[first], length)
                self._found[key] = rows[which]
        return self._found[key][:, -length:]

    @cached_property
    def _by_moment(self) -> tuple[Rows, Rows]:
        """The first example of each moment, and which moment is an example's, shape (n,)."""
        _, first, which = np.unique(self._moments, return_index=True, return_inverse=True)
        return first, which

    def _owners(self, table: str, owner: str) -> pd.Series:
        if self._tables[table].of_an_event:
            return self._next_event if owner == NEXT_QUARTER else self.examples["event"]
        if owner in _OF_AN_EXAMPLE:
            return self.examples[owner]
        return pd.Series(self._source.benchmark if owner == BENCHMARK else owner, index=self.examples.index)

    @cached_property
    def _next_event(self) -> pd.Series:
        """The event of the fiscal quarter after each example's own; missing where its period has no successor."""
        return self.examples["symbol"] + ":" + next_fiscal_period(self.examples["fiscal_period"])

    def _oldest_day(self, table: str) -> Rows:
        """Return the first day that the feature being computed may look at, in days since the epoch, shape (n,)."""
        return self._moments // DAY - days_back(table, self._allowed(table))

    def _allowed(self, table: str) -> int:
        if not self._computing:
            raise EarlySignalError("a table was read outside a feature. Remedy: ask `PointInTime.value` for a feature.")
        feature = self._computing[-1]
        return max(feature.needs.get(table, 0), feature.may_use.get(table, 0))

    def _check_look_back(self, table: str, length: int = 1) -> None:
        allowed, axis = self._allowed(table), TABLES[table].axis
        if not allowed or (axis is not Axis.DAY and length > allowed):
            raise EarlySignalError(
                f"feature `{self._computing[-1].name}` reads {length} {axis}s of `{table}` but declares {allowed}. "
                f"Remedy: declare it in `needs`."
            )
        if table not in self._tables:
            raise EarlySignalError(
                f"feature `{self._computing[-1].name}` reads `{table}`, which the source does not have. "
                f"Remedy: ask `at.has` first, or move the table from `may_use` to `needs`."
            )

    def _remember(self, table: str, *rows: Rows) -> None:
        if self._explains:
            for feature in self._computing:
                read = self._read.setdefault(feature.name, {}).setdefault(table, [])
                read.extend(each[each != NOT_THERE] for each in rows)


def days_back(table: str, steps: int) -> int:
    """Return how many calendar days a look-back may reach, for a table of fiscal quarters or of days."""
    # A fiscal quarter may end and be announced almost two calendar quarters after the one before.
    return (steps + 2) * DAYS_IN_QUARTER if TABLES[table].axis is Axis.FISCAL_QUARTER else steps
