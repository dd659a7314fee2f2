"""One table as the point-in-time view holds it: its rows, when each became known, and its columns as numbers."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pandas as pd

from earlysignal_core.features.arrays import DAY, NOT_THERE, Flags, Moments, Rows, Values
from earlysignal_core.features.knowledge import NEVER, DatedRows, KnownCounts, SteppedRows
from earlysignal_core.tables import KNOWABLE, Axis, Table, fiscal_quarter, own_date
from earlysignal_core.trading_calendar import position, sessions

MILLION = 1_000_000

Choice = Callable[[pd.DataFrame], Flags]
"""Which rows of a table are meant. What it says of a row may depend on others that became known with it, no more."""


class KnownTable:
    """Rows of one table, found by who owns them and by when they were known.

    Parameters
    ----------
    contract : Table
    frame : DataFrame
        The rows, in any order.
    """

    def __init__(self, contract: Table, frame: pd.DataFrame) -> None:
        self.contract, self.frame = contract, frame
        self.of_an_event = "fiscal_period" in contract.key
        self._columns: dict[str, Values] = {}
        self._chosen: dict[Choice, ChosenRows] = {}
        self._summed: dict[tuple[str, Choice], KnownCounts] = {}

    @cached_property
    def available(self) -> Moments:
        """The moment from which each row was known, shape (rows,)."""
        return _nanoseconds(self.frame[KNOWABLE])

    @cached_property
    def days(self) -> Rows:
        """Each row's own date, in days since the epoch, shape (rows,)."""
        return _nanoseconds(own_date(self.contract, self.frame)) // DAY

    def locate(self, owners: pd.Series, moments: Moments, last_steps: Rows, length: int) -> Rows:
        """Return the last rows that were known, shape (n, length): those of the last steps, or the last by date."""
        if isinstance(self._index, SteppedRows):
            return self._index.locate(owners, moments, last_steps, length)
        return self._index.locate(owners, moments, length)

    def only(self, choice: Choice) -> "ChosenRows":
        """Return the index of some of the rows, made once for each choice."""
        if choice not in self._chosen:
            self._chosen[choice] = ChosenRows(self, np.flatnonzero(choice(self.frame)))
        return self._chosen[choice]

    def millionths(self, column: str, choice: Choice) -> KnownCounts:
        """Return the sums of a column over some of the rows, by the number of their owner in `owners`."""
        if (column, choice) not in self._summed:
            values = self.numbers(column)
            counted = choice(self.frame) & np.isfinite(values)
            groups = np.where(counted, self.owners.get_indexer(pd.Index(self.frame[self.contract.owner])), NOT_THERE)
            whole = np.round(np.where(counted, values, 0.0) * MILLION).astype(np.int64)
            self._summed[column, choice] = KnownCounts(groups, self.available, whole)
        return self._summed[column, choice]

    @cached_property
    def owners(self) -> pd.Index:
        """The distinct owners of rows."""
        names: pd.Index = pd.Index(self.frame[self.contract.owner].unique())
        return names

    def since(self, rows: Rows, oldest_day: Rows) -> Rows:
        """Return the row numbers with those NOT_THERE whose own date lies before a day, one for each example."""
        days = np.append(self.days, np.iinfo(np.int64).min)
        return np.where(days[rows] < oldest_day[:, None], NOT_THERE, rows)

    def numbers(self, column: str) -> Values:
        """Return a whole column as float64, shape (rows,); days come as days since the epoch."""
        return self._numbers(column)[:-1]

    def take(self, column: str, rows: Rows) -> Values:
        """Return a column at some row numbers, in their shape; NaN where there is no row."""
        return self._numbers(column)[rows]

    def equals(self, column: str, value: str, rows: Rows) -> Values:
        """Return 1 where a text column has a value, 0 where another or none, NaN where there is no row."""
        name = f"{column}={value}"
        if name not in self._columns:
            same = (self.frame[column] == value).to_numpy(dtype=np.float64)
            self._columns[name] = np.append(same, np.nan)
        return self._columns[name][rows]

    def _numbers(self, column: str) -> Values:
        # One NaN at the end: the row number NOT_THERE, -1, picks it.
        if column not in self._columns:
            values = self.frame[column]
            if pd.api.types.is_datetime64_any_dtype(values):
                days = np.floor_divide(_nanoseconds(values), DAY).astype(np.float64)
                numbers = np.where(values.isna(), np.nan, days)
            elif isinstance(values.dtype, pd.StringDtype):
                codes = pd.factorize(values)[0]
                numbers = np.where(codes < 0, np.nan, codes.astype(np.float64))
            else:
                numbers = values.to_numpy(np.float64)
            self._columns[column] = np.append(numbers, np.nan)
        return self._columns[column]

    @cached_property
    def _index(self) -> SteppedRows | DatedRows:
        owners = self.frame[self.contract.owner]
        if self.of_an_event:
            owners = owners + ":" + self.frame["fiscal_period"]
        if self.contract.axis is Axis.SESSION:
            days = self.frame[self.contract.date]
            last = position(days)
            in_session = sessions()[last] == days  # a bar of a Sunday is none of Friday's
            return SteppedRows(owners, last, np.where(in_session, self.available, NEVER))
        if self.contract.axis is Axis.FISCAL_QUARTER:
            quarters = fiscal_quarter(self.frame["fiscal_period"], self.frame[self.contract.date])
            return SteppedRows(owners, quarters, self.available)
        return DatedRows(owners, self.days, self.available, revised=KNOWABLE in self.contract.key)


class ChosenRows:
    """Some rows of a table, found as the table finds all; what it returns are row numbers of the whole table."""

    def __init__(self, table: KnownTable, rows: Rows) -> None:
        self._rows = np.append(rows, NOT_THERE)
        self._table = KnownTable(table.contract, table.frame.iloc[rows])

    def locate(self, owners: pd.Series, moments: Moments, last_steps: Rows, length: int) -> Rows:
        """Return the last of them that were known, shape (n, length)."""
        return self._rows[self._table.locate(owners, moments, last_steps, length)]


def _nanoseconds(values: pd.Series) -> Moments:
    return values.to_numpy("datetime64[ns]").astype(np.int64)
