"""Rows in bulk: frames into the database in one statement, and results out of it as frames."""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Double,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from earlysignal_core.ledger.encoding import RECORD_SEPARATOR, UNIT_SEPARATOR, legible
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.moments import plain_day, utc

# What stands between the values of a column, and for a missing one; `legible` keeps both out of text.
_NEXT, _NULL = UNIT_SEPARATOR, RECORD_SEPARATOR
_LAST = 2**31 - 1  # beyond the end of any array
# By type of a column: a value as PostgreSQL reads it. BigInteger is an Integer.
_AS_TEXT: dict[type[TypeEngine[Any]], Callable[[Any], str]] = {
    DateTime: lambda value: utc(value).isoformat(),
    Date: lambda value: plain_day(value).isoformat(),
    Boolean: lambda value: str(bool(value)),
    Integer: lambda value: str(operator.index(value) if not isinstance(value, float) else _whole(value)),
    Double: lambda value: repr(float(value)),
    Text: lambda value: legible(str(value)),
    JSONB: str,
}


class Incoming:
    """Rows on their way into a table: something that a statement, made once, can select from.

    Each column travels as one text and becomes an array in the database: several times faster than a statement a row,
    and faster than a list of literals, which have to be parsed one by one.

    Parameters
    ----------
    table : Table
    names : sequence of str
        Columns of the table.

    Attributes
    ----------
    rows : FromClause
        The rows, with the columns' names and types.
    columns : list of ColumnElement
        The same columns, ready to be inserted: JSON travels as text.
    """

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._table = table
        self._names = names
        arrays = [_array(table.c[name]) for name in names]
        self.rows = func.unnest(*arrays).table_valued(*names, name="incoming").render_derived()
        self.columns: list[ColumnElement[Any]] = [
            cast(self.rows.c[name], JSONB) if isinstance(table.c[name].type, JSONB) else self.rows.c[name]
            for name in names
        ]

    def values(self, frame: pd.DataFrame) -> dict[str, str]:
        """Return a frame as the parameters of a statement over `rows`.

        Parameters
        ----------
        frame : DataFrame
            Missing values of any kind become null; a JSONB column holds JSON.

        Raises
        ------
        LedgerError
            If the frame lacks one of the columns, or a value does not fit its column.
        """
        missing = [name for name in self._names if name not in frame.columns]
        if missing:
            raise LedgerError(
                f"the rows for `{self._table.name}` lack the column(s) {', '.join(missing)}. "
                f"Remedy: give them, empty if need be."
            )
        return {_parameter(name): self._joined(self._table.c[name], frame[name]) for name in self._names}

    def _joined(self, column: Column[Any], values: pd.Series) -> str:
        as_text = next(function for kind, function in _AS_TEXT.items() if isinstance(column.type, kind))
        cells = values.tolist()
        try:
            # Once for each value: of a day's predictions most columns have few.
            texts = {cell: _NULL if _is_missing(cell) else as_text(cell) for cell in dict.fromkeys(cells)}
        except (LedgerError, TypeError, ValueError) as error:
            raise LedgerError(f"column `{column.name}` of `{self._table.name}`: {error}") from error
        return _NEXT.join(["", *(texts[cell] for cell in cells)])


def read(connection: Connection, statement: Select[Any]) -> pd.DataFrame:
    """Return a result as a frame whose types do not depend on its rows.

    Returns
    -------
    DataFrame
        Moments are datetime64[ns, UTC] and days datetime64[ns]; numbers are int64 where the column has no nulls, else
        float64 with NaN; a boolean with nulls is pandas' ``boolean``; text is ``str``; JSON is a dict.
    """
    selected = list(statement.selected_columns)
    rows = connection.execute(statement).all()
    values: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [[] for _ in selected]
    columns = zip(selected, values, strict=True)
    return pd.DataFrame({str(column.key): _typed(column, list(cells)) for column, cells in columns}, copy=False)


def _array(column: Column[Any]) -> ColumnElement[Any]:
    # The empty text before the first one is cut off again: without it, one empty text would be no text at all.
    joined = bindparam(_parameter(column.name), type_=Text())
    texts = func.string_to_array(joined, _NEXT, _NULL, type_=ARRAY(Text))[2:_LAST]
    return cast(texts, ARRAY(Text() if isinstance(column.type, JSONB) else column.type))


def _parameter(name: str) -> str:
    return f"all_{name}"


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError(f"{value} is no whole number")
    return int(value)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


def _typed(column: ColumnElement[Any], values: list[Any]) -> Any:
    """Return the values of a column as an array of its type."""
    kind = column.type
    if isinstance(kind, DateTime):
        return pd.DatetimeIndex(pd.to_datetime(values, utc=True)).as_unit("ns").array
    if isinstance(kind, Date):
        return pd.DatetimeIndex(pd.to_datetime(values)).as_unit("ns").array
    nullable = getattr(column, "nullable", True)
    if isinstance(kind, Boolean):
        return pd.array(values, dtype="boolean") if nullable else np.array(values, dtype="bool")
    if isinstance(kind, Integer) and not nullable:
        return np.array(values, dtype="int64")
    if isinstance(kind, Integer | Double):
        return np.array(values, dtype="float64")  # None becomes NaN
    if isinstance(kind, JSONB):
        return _objects(values)
    return pd.array(values, dtype="str")


def _objects(values: list[Any]) -> npt.NDArray[np.object_]:
    """Return an array of objects, whatever these are: NumPy would take lists for rows."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
