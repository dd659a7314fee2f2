"""The contract of every table: its columns, key, dates and axis. `validation` holds rows to it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from earlysignal_core.trading_calendar import NEW_YORK

KNOWABLE = "available_at"


class Axis(StrEnum):
    """What one step back in a table means: the unit in which features declare their look-back."""

    SESSION = "session"
    FISCAL_QUARTER = "fiscal quarter"
    DAY = "day"


@dataclass(frozen=True)
class Table:
    """The contract of one table.

    Attributes
    ----------
    name : str
    cache : str
        The cache (and Dagster asset) that holds it.
    owner : str
        The column whose value a series of rows belongs to: ``symbol`` or ``series``.
    date : str
        The column of the row's own date, which decides its quarter.
    key : tuple of str
        The columns that identify a row; empty where rows have no natural key.
    columns : mapping of str to pandera column
    axis : Axis
    late : int
        Days after its own date for which a row may still become known: so long its quarter is collected again.
    """

    name: str
    cache: str
    owner: str
    date: str
    key: tuple[str, ...]
    columns: dict[str, pa.Column]
    axis: Axis = Axis.DAY
    late: int = 30

    @property
    def schema(self) -> dict[str, pa.Column]:
        """The columns with `available_at`, from which only the universe is exempt: it is declared as known today."""
        knowable = {} if self.name == UNIVERSE else {KNOWABLE: pa.Column("datetime64[ns, UTC]", nullable=False)}
        return {**self.columns, **knowable}

    @property
    def column_names(self) -> list[str]:
        """All columns in order, `available_at` last."""
        return list(self.schema)


UNIVERSE = "universe"
TEXT = pd.StringDtype(na_value=np.nan)  # what pandas 3 calls `str`; pandera's "str" is another

_text = pa.Column(TEXT, nullable=False)
_optional_text = pa.Column(TEXT, nullable=True)
_day = pa.Column("datetime64[ns]", nullable=False)
_optional_day = pa.Column("datetime64[ns]", nullable=True)
_finite = pa.Check(np.isfinite, error="is not finite")
_positive = pa.Check(lambda s: (s > 0) & np.isfinite(s), error="is not a positive number")
_not_negative = pa.Check(lambda s: (s >= 0) & np.isfinite(s), error="is negative or not finite")
_number = pa.Column("float64", _finite, nullable=True)
_price = pa.Column("float64", _positive, nullable=False)
_optional_price = pa.Column("float64", _positive, nullable=True)
_count = pa.Column("float64", _not_negative, nullable=True)
_score = pa.Column("float64", pa.Check.in_range(-1, 1, error="is not between -1 and 1"), nullable=False)
_later_flag = pa.Column(
    "float64", pa.Check.isin((0, 1), error="is neither 0 nor 1"), nullable=True, required=False
)  # a column that older tapes do not have


def _one_of(*values: str, nullable: bool = False) -> pa.Column:
    return pa.Column(TEXT, pa.Check.isin(values, error=f"is none of {', '.join(values)}"), nullable=nullable)


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            UNIVERSE,
            UNIVERSE,
            "symbol",
            "first",
            ("symbol", "first"),
            {
                "symbol": _text,
                "name": _optional_text,
                "sector": _optional_text,
                "sector_etf": _optional_text,
                "first": _optional_day,
                "last": _optional_day,
            },
        ),
        Table(
            "earnings",
            "earnings",
            "symbol",
            "announced_on",
            ("symbol", "announced_on"),
            {
                "symbol": _text,
                "announced_on": _day,
                "session": _one_of("bmo", "amc", nullable=True),
                "fiscal_period": _optional_text,
                "eps_estimate": _number,
                "eps_actual": _number,
            },
            Axis.FISCAL_QUARTER,
        ),
        Table(
            "earnings_estimates",
            "earnings",
            "symbol",
            "snapshot_on",
            ("symbol", "fiscal_period", "snapshot_on"),
            {
                "symbol": _text,
                "fiscal_period": _text,
                "snapshot_on": _day,
                "eps_estimate": _number,
                "eps_high": _number,
                "eps_low": _number,
                "analysts": _count,
            },
        ),
        Table(
            "earnings_calendar",
            "earnings",
            "symbol",
            KNOWABLE,  # a schedule speaks of the future: its own date is the day on which it was published
            ("symbol", "fiscal_period", KNOWABLE),
            {
                "symbol": _text,
                "fiscal_period": _text,
                "expected_on": _day,
                "session": _one_of("bmo", "amc", nullable=True),
            },
        ),
        Table(
            "guidance",
            "earnings",
            "symbol",
            "given_on",
            ("symbol", "fiscal_period", "given_on"),
            {"symbol": _text, "fiscal_period": _text, "given_on": _day, "eps_low": _number, "eps_high": _number},
        ),
        Table(
            "ohlcv",
            "ohlcv",
            "symbol",
            "session",
            ("symbol", "session"),
            {
                "symbol": _text,
                "session": _day,
                "open": _optional_price,
                "high": _optional_price,
                "low": _optional_price,
                "close": _price,
                "volume": _count,
            },
            Axis.SESSION,
        ),
        Table(
            "corporate_actions",
            "ohlcv",
            "symbol",
            "session",
            ("symbol", "session", "kind"),
            {"symbol": _text, "session": _day, "kind": _one_of("split", "dividend"), "value": _price},
        ),
        Table(
            "income_statements",
            "income_statements",
            "symbol",
            "period_end",
            ("symbol", "period_end", KNOWABLE),
            {
                "symbol": _text,
                "period_end": _day,
                "revenue": _number,
                "net_income": _number,
                "total_assets": _number,
                "shares_outstanding": _number,
            },
            late=400,  # a year's report comes after three months, and is compared with a year ago
        ),
        Table(
            "analyst_ratings",
            "analyst_ratings",
            "symbol",
            "graded_on",
            ("symbol", "graded_on", "firm"),
            {
                "symbol": _text,
                "graded_on": _day,
                "firm": _text,
                "action": _one_of("upgrade", "downgrade", "maintain", "initiate"),
                "grade": _optional_text,
            },
        ),
        Table(
            "price_targets",
            "analyst_ratings",
            "symbol",
            "published_on",
            ("symbol", "published_on", "firm"),
            {"symbol": _text, "published_on": _day, "firm": _text, "target": _price},
        ),
        Table(
            "sec_filings",
            "sec_filings",
            "symbol",
            "transaction_date",
            (),
            {
                "symbol": _text,
                "form": _one_of("4", "8-K", "10-Q", "10-K"),
                "transaction_date": _optional_day,
                "code": _one_of("P", "S", nullable=True),
                "shares": _count,
                "price": _count,
                "owner": _optional_text,
                "planned": _later_flag,
            },
        ),
        Table(
            "institutional_holdings",
            "sec_filings",
            "symbol",
            "period_end",
            ("symbol", "period_end"),
            {"symbol": _text, "period_end": _day, "shares_held": _count, "holders": _count},
            late=140,  # reports are due after 45 days, and somebody may have been away
        ),
        Table(
            "short_interest",
            "sec_filings",
            "symbol",
            "settled_on",
            ("symbol", "settled_on"),
            {"symbol": _text, "settled_on": _day, "shares_short": _count},
        ),
        Table(
            "options",
            "options",
            "symbol",
            "session",
            ("symbol", "session"),
            {
                "symbol": _text,
                "session": _day,
                "put_volume": _count,
                "call_volume": _count,
                "iv_30d": _optional_price,
            },
            Axis.SESSION,
        ),
        Table(
            "sentiment",
            "sentiment",
            "symbol",
            KNOWABLE,  # a score speaks of its moment
            (),
            {"symbol": _text, "channel": _one_of("news", "reddit", "stocktwits", "twitter"), "score": _score},
        ),
        Table(
            "macro",
            "macro",
            "series",
            "period",
            ("series", "period", KNOWABLE),
            {"series": _text, "period": _day, "value": _number},
            late=400,  # revisions, which changes over a year compare
        ),
    )
}

CACHES: dict[str, tuple[str, ...]] = {}
for _table in TABLES.values():
    CACHES[_table.cache] = (*CACHES.get(_table.cache, ()), _table.name)

ROW_ID = "row_id"


def own_date(table: Table, frame: pd.DataFrame) -> pd.Series:
    """Return the day that decides a row's quarter: its own date, else the New York day on which it became known."""
    if table.date != KNOWABLE and not frame[table.date].isna().any():
        return frame[table.date]
    known_on = frame[KNOWABLE].dt.tz_convert(NEW_YORK).dt.normalize().dt.tz_localize(None)
    return known_on if table.date == KNOWABLE else frame[table.date].fillna(known_on)


def each_company(universe: pd.DataFrame) -> pd.DataFrame:
    """Return ``symbol, name, sector, sector_etf`` of each company of `universe`, of the first stay that tells."""
    in_order = universe.sort_values(["symbol", "first"], kind="stable", na_position="first")  # no date: from the first
    return in_order.groupby("symbol", as_index=False)[["name", "sector", "sector_etf"]].first()


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NAMED = r"^(?P<year>\d{2})-(?P<month>[A-Z][a-z]{2})$"
_NUMBERED = r"^Q(?P<quarter>[1-4]) (?P<year>\d{4})$"


def fiscal_quarter(fiscal_period: pd.Series, announced_on: pd.Series) -> npt.NDArray[np.int64]:
    """Return the count of quarters since year 0 of each fiscal period, so that neighbours differ by one.

    Parameters
    ----------
    fiscal_period : Series of str, shape (n,)
        ``14-Mar`` (the month in which it ended) or ``Q3 2023`` (the company's own count).
    announced_on : Series of datetime64, shape (n,)
        Stands in where the period is missing or unreadable: the quarter before the announcement's.
    """
    months = {month: index for index, month in enumerate(_MONTHS)}
    which, distinct = pd.factorize(fiscal_period)  # tens of thousands of rows have a few dozen periods
    periods = pd.Series(distinct, dtype="str")
    named = periods.str.extract(_MONTH_NAMED)
    numbered = periods.str.extract(_NUMBERED)
    by_month = (2000 + named["year"].astype("float64")) * 4 + named["month"].map(months).astype("float64") // 3
    by_number = numbered["year"].astype("float64") * 4 + numbered["quarter"].astype("float64") - 1
    by_period = np.append(by_month.fillna(by_number).to_numpy(dtype="float64"), np.nan)[which]  # -1, no period: NaN
    by_date = announced_on.dt.year * 4 + (announced_on.dt.month - 1) // 3 - 1
    return np.where(np.isnan(by_period), by_date, by_period).astype(np.int64)


def next_fiscal_period(fiscal_period: pd.Series) -> pd.Series:
    """Return the name of the fiscal quarter after each: ``14-Jun`` after ``14-Mar``, ``Q1 2024`` after ``Q4 2023``.

    Missing where the period is missing or unreadable.
    """
    distinct = pd.Series(fiscal_period.dropna().unique(), dtype="str")
    named, numbered = distinct.str.extract(_MONTH_NAMED), distinct.str.extract(_NUMBERED)
    after = {}
    for period, year, month, number, of in zip(
        distinct, named["year"], named["month"], numbered["quarter"], numbered["year"], strict=True
    ):
        if month in _MONTHS:
            carry, index = divmod(_MONTHS.index(month) + 3, 12)
            after[period] = f"{(int(year) + carry) % 100:02d}-{_MONTHS[index]}"
        elif isinstance(number, str):
            after[period] = f"Q{int(number) % 4 + 1} {int(of) + (number == '4')}"
    following: pd.Series = fiscal_period.map(after).astype(TEXT)
    return following
