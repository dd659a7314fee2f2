"""Reads records of JSON strictly: a renamed field or a text where a number is due is an error, never a hole."""

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.sources.live.errors import ProviderError
from earlysignal_core.sources.live.messages import Answer

_WRITTEN = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)|[A-Z][a-z]{2,8} \d{1,2}, \d{4}$")

Row = dict[str, Any]
Rows = list[Row]
"""Of a table, by column; all that a client returns."""


class Record:
    """One record of an answer.

    Parameters
    ----------
    answer : Answer
    number : int
        Which of its records, for messages.
    values : dict
    """

    def __init__(self, answer: Answer, number: int, values: dict[str, Any]) -> None:
        self.answer, self.position, self._values = answer, number, values

    def get(self, *names: str) -> Any:
        """Return the value under the first name that is there: providers rename fields between generations.

        Raises
        ------
        UnexpectedShapeError
            If none of them is there, even with an empty value.
        """
        for name in names:
            if name in self._values:
                return self._values[name]
        raise self.unexpected(f"no field `{'` or `'.join(names)}`, only {', '.join(self._values)}")

    def number(self, *names: str) -> float:
        """Return a number, NaN where it is null."""
        value = self.get(*names)
        if value is None:
            return np.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._of_wrong_type(names, value, "a number")
        if not math.isfinite(value):  # JSON knows no such number, Python's reader does
            raise self._of_wrong_type(names, value, "a finite number")
        return float(value)

    def number_in_text(self, *names: str, missing: tuple[str, ...] = ()) -> float:
        """Return a number that is written as text, NaN where it is one of the marks of a missing value."""
        value = self.text(*names)
        if value is None or value in missing:
            return np.nan
        try:
            return float(value)
        except ValueError:
            raise self._of_wrong_type(names, value, "a number written as text") from None

    def text(self, *names: str) -> str | None:
        """Return a text, None where it is null or empty."""
        value = self.get(*names)
        if value is not None and not isinstance(value, str):
            raise self._of_wrong_type(names, value, "a text")
        return value or None

    def needed(self, *names: str) -> str:
        """Return a text that must be there."""
        value = self.text(*names)
        if value is None:
            raise self.unexpected(f"`{names[0]}` is empty")
        return value

    def optional(self, *names: str) -> Any:
        """Return the value under the first name that is there and not empty, else None."""
        found = (self._values.get(name) for name in names)
        return next((value for value in found if value not in (None, "")), None)

    def day(self, *names: str) -> pd.Timestamp:
        """Return a day; a time of day that is written with it is left away."""
        return _day(self.moment(*names))

    def optional_day(self, *names: str) -> pd.Timestamp | None:
        """Return a day, None where none of the fields is there or filled."""
        value = self.optional(*names)
        moment = _moment(value) if isinstance(value, str) else None
        if value is not None and moment is None:
            raise self._of_wrong_type(names, value, "a date")
        return None if moment is None else _day(moment)

    def moment(self, *names: str) -> pd.Timestamp:
        """Return a moment as it is written, with a time zone only where one is written."""
        value = self.needed(*names)
        moment = _moment(value)
        if moment is None:
            raise self._of_wrong_type(names, value, "a date")
        return moment

    def unexpected(self, problem: str) -> ProviderError:
        """Return an error about this record."""
        return self.answer.unexpected(f"record {self.position}: {problem}")

    def _of_wrong_type(self, names: tuple[str, ...], value: Any, wanted: str) -> ProviderError:
        return self.unexpected(f"`{names[0]}` is {str(value)[:60]!r} where {wanted} is due")


def records(answer: Answer, array: Any = None) -> Iterator[Record]:
    """Yield the records of an answer that is an array of objects.

    Parameters
    ----------
    answer : Answer
    array : list, optional
        The array within the answer, where it is not the whole of it.

    Raises
    ------
    UnexpectedShapeError
        If it is none.
    """
    found = answer.json if array is None else array
    if not isinstance(found, list):
        raise answer.unexpected(f"{type(found).__name__} where a list is due: {answer.shown}")
    for number, values in enumerate(found):
        if not isinstance(values, dict):
            raise answer.unexpected(f"record {number} is {type(values).__name__} where an object is due")
        yield Record(answer, number, values)


@lru_cache(maxsize=1 << 15)  # the same days come again for every company
def _moment(value: str) -> pd.Timestamp | None:
    """Read a date that says which of its numbers is the month; pandas would also take "now" for one."""
    if not _WRITTEN.match(value):
        return None
    try:
        return pd.Timestamp(value).as_unit("ns")
    except ValueError:
        return None


@lru_cache(maxsize=1 << 15)
def _day(moment: pd.Timestamp) -> pd.Timestamp:
    return moment.normalize()
