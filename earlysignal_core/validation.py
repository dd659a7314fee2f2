"""The door to the lake: rows that break their table's contract are refused with table, row and remedy."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from earlysignal_core.errors import TableError
from earlysignal_core.tables import KNOWABLE, ROW_ID, TABLES, UNIVERSE, Table, own_date
from earlysignal_core.trading_calendar import NEW_YORK


def checked(name: str, frame: pd.DataFrame, partition: str | None = None) -> pd.DataFrame:
    """Return the rows of a table in its contract's columns, types and order, or refuse them.

    Parameters
    ----------
    name : str
        The table's name.
    frame : DataFrame
        Its rows as the source gave them, in any order. Unknown columns are left behind.
    partition : str, optional
        The quarter, for the message.

    Returns
    -------
    DataFrame
        Sorted by key, with a ``row_id`` where the table has no natural key.

    Raises
    ------
    TableError
        Names the table, the first offending row and the remedy.
    """
    table = TABLES[name]
    missing = [name for name, column in table.schema.items() if column.required and name not in frame.columns]
    if missing:
        raise TableError(
            name, f"lacks the column(s) {', '.join(missing)}", "add them (empty where unknown)", partition=partition
        )
    typed = _typed(table, frame.reindex(columns=table.column_names), partition)
    _refuse_broken_rows(table, typed, partition)
    if not table.key:
        typed = _with_row_id(typed)
    key = list(table.key) or [ROW_ID]
    _refuse_duplicates(table, typed, key, partition)
    return typed.sort_values(key, kind="stable", ignore_index=True)


def no_rows(name: str) -> pd.DataFrame:
    """Return an empty table with the columns and types of its contract."""
    return checked(name, pd.DataFrame(columns=TABLES[name].column_names))


def _typed(table: Table, frame: pd.DataFrame, partition: str | None) -> pd.DataFrame:
    columns: dict[str, pd.Series] = {}
    for name, column in table.schema.items():
        values, wanted = frame[name], str(column.dtype.type)
        if not _fits(values, wanted) and not values.isna().all():
            problem = f"column `{name}` has type {values.dtype} where {wanted} is due"
            row = f"{values.notna().to_numpy().argmax()} ({name}={values.dropna().iloc[0]!r})"
            raise TableError(table.name, problem, f"write it as {wanted}", row, partition)
        columns[name] = _cast(values, column.dtype.type)
    return pd.DataFrame(columns).reset_index(drop=True)


def _fits(values: pd.Series, wanted: str) -> bool:
    """Say whether a cast would keep the meaning: it would read the integer 5 as five nanoseconds after 1970."""
    zone = getattr(values.dtype, "tz", None)
    if wanted == "datetime64[ns, UTC]":
        return zone is not None
    if wanted == "datetime64[ns]":
        return values.dtype.kind == "M" and zone is None
    if wanted == "float64":
        return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return pd.api.types.is_string_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype)


def _cast(values: pd.Series, wanted: Any) -> pd.Series:
    if values.isna().all():  # of whatever type: an empty column has none
        nothing = pd.NaT if "datetime" in str(wanted) else None
        empty: pd.Series = pd.Series(nothing, index=values.index, dtype=wanted)
        return empty
    if wanted == "float64":
        return pd.Series(values.to_numpy(dtype="float64", na_value=np.nan), index=values.index)
    cast: pd.Series = values.astype(wanted)
    return cast


def _refuse_broken_rows(table: Table, frame: pd.DataFrame, partition: str | None) -> None:
    try:
        pa.DataFrameSchema(table.schema).validate(frame, lazy=True)
    except SchemaErrors as errors:
        first = errors.failure_cases.sort_values("index", kind="stable").iloc[0]
        what = "is missing" if first["check"] == "not_nullable" else str(first["check"])
        row = _describe(table, frame, int(first["index"]))
        cases = len(errors.failure_cases)
        problem = f"`{first['column']}` {what} (value {first['failure_case']}; {cases} such value(s) in all)"
        required = ", ".join(name for name, column in table.schema.items() if not column.nullable)
        remedy = f"correct or drop the row; every row needs {required}"
        raise TableError(table.name, problem, remedy, row, partition) from None
    if table.name == UNIVERSE:
        _refuse_reversed_stays(table, frame)
        return
    known_on = frame[KNOWABLE].dt.tz_convert(NEW_YORK).dt.tz_localize(None)
    early = np.flatnonzero(known_on < own_date(table, frame))
    if len(early):
        raise TableError(
            table.name,
            f"`{KNOWABLE}` ({frame[KNOWABLE].iloc[early[0]]}) lies before the row's own {table.date}: "
            f"a row cannot be known before it happened ({len(early)} such row(s))",
            f"give `{KNOWABLE}` the moment (UTC) from which the row could be read",
            _describe(table, frame, int(early[0])),
            partition,
        )


def _refuse_reversed_stays(table: Table, frame: pd.DataFrame) -> None:
    reversed_ = np.flatnonzero(frame["last"] < frame["first"])
    if len(reversed_):
        raise TableError(
            table.name,
            f"`last` lies before `first` ({len(reversed_)} such row(s))",
            "exchange them, or drop the row",
            _describe(table, frame, int(reversed_[0])),
        )


def _refuse_duplicates(table: Table, frame: pd.DataFrame, key: list[str], partition: str | None) -> None:
    twice = np.flatnonzero(frame.duplicated(key, keep=False))
    if len(twice):
        raise TableError(
            table.name,
            f"{len(twice)} rows share a key ({', '.join(key)})",
            "keep one row for each key",
            _describe(table, frame, int(twice[0])),
            partition,
        )


def _with_row_id(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows without a natural key get a hash of their content, with an ordinal to tell equal rows apart."""
    ordered = frame.sort_values(list(frame.columns), kind="stable", ignore_index=True)
    hashes = pd.util.hash_pandas_object(ordered, index=False)
    digest = pd.Series([f"{value:016x}" for value in hashes], index=ordered.index, dtype="str")
    ordinal = digest.groupby(digest).cumcount().astype("str")
    return ordered.assign(**{ROW_ID: digest + "-" + ordinal})


def _describe(table: Table, frame: pd.DataFrame, index: int) -> str:
    columns = table.key or tuple(table.columns)[:3]
    row = frame.iloc[index]
    return f"{index} ({', '.join(f'{column}={row[column]}' for column in columns)})"
