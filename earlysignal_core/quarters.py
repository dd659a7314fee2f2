"""Calendar quarters: the partitions of all history."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Self, overload

import pandas as pd

from earlysignal_core.errors import EarlySignalError

_NAMED = re.compile(r"(\d{4})-?Q([1-4])")
_KEYED = re.compile(r"(\d{4})-(01|04|07|10)")


@dataclass(frozen=True, order=True)
class Quarter:
    """A calendar quarter, like the third of 2018; prints as ``2018-Q3``."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2018-Q3`` (the name) or ``2018-07`` (the Dagster partition key)."""
        if named := _NAMED.fullmatch(text.strip().upper()):
            return cls(int(named[1]), int(named[2]))
        if keyed := _KEYED.fullmatch(text.strip()):
            return cls(int(keyed[1]), (int(keyed[2]) + 2) // 3)
        raise EarlySignalError(f"`{text}` is no quarter. Write it like 2018-Q3.")

    @classmethod
    def of(cls, day: date | pd.Timestamp) -> Self:
        """Return the quarter that a day falls in."""
        return cls(day.year, (day.month + 2) // 3)

    @staticmethod
    def range(first: "Quarter", last: "Quarter") -> "list[Quarter]":
        """Return the quarters from `first` to `last`, both included."""
        return [first + step for step in range(last - first + 1)]

    @property
    def key(self) -> str:
        """The Dagster partition key: year and first month, like ``2018-07``."""
        return f"{self.year}-{3 * self.number - 2:02d}"

    @property
    def start(self) -> pd.Timestamp:
        """The first day, without a time zone."""
        return pd.Timestamp(self.year, 3 * self.number - 2, 1)

    @property
    def end(self) -> pd.Timestamp:
        """The last day, without a time zone."""
        return (self + 1).start - pd.Timedelta(days=1)

    def __add__(self, quarters: int) -> "Quarter":
        year, zero_based = divmod(self._ordinal + quarters, 4)
        return Quarter(year, zero_based + 1)

    @overload
    def __sub__(self, other: "Quarter") -> int: ...
    @overload
    def __sub__(self, other: int) -> "Quarter": ...
    def __sub__(self, other: "Quarter | int") -> "int | Quarter":
        if isinstance(other, Quarter):
            return self._ordinal - other._ordinal
        return self + -other

    def __str__(self) -> str:
        return f"{self.year}-Q{self.number}"

    @property
    def _ordinal(self) -> int:
        return 4 * self.year + self.number - 1
