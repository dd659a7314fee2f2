"""What every source answers; the graph does not know which one it has."""

from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict

from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import TapeSettings
from earlysignal_core.tables import CACHES, UNIVERSE

CONSENSUS_ASSUMED = "The final consensus is assumed to have been known seven days before the announcement."


class SourceDescription(BaseModel):
    """What a source holds and what was assumed about it; the lake keeps it beside the data.

    Attributes
    ----------
    name : str
    benchmark : str
        The symbol that returns are compared with.
    universe : str
        ``sp500``, ``extended940`` or a name of the user's.
    membership : {"today", "dated"}
        Whether the companies are those of today throughout, or `first` and `last` of `universe` say when each was one
        of them: only members are predicted and learned from.
    tables : tuple of str
    first, last : str
        The quarters that its dates span.
    first_event, last_event : str
        The quarters of the first and last announcement: prices may begin before and end after them.
    since : mapping of str to str
        The quarter in which each table, and each fact of `provides`, was first known; a feature whose look-back
        reaches further cannot exist yet.
    prices : {"adjusted", "raw"}
        Whether later splits are already in the prices; raw ones are adjusted by us with the splits known at `as_of`.
    provides : tuple of str
        What features may ask for beyond a table: ``macro:DGS10``, ``ohlcv:etf_volume``.
    assumptions : tuple of str
        Repeated in every report.
    settings : TapeSettings
    grows : bool
        Whether it may answer more tomorrow than today, as providers do; a tape does not.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    benchmark: str
    universe: str
    tables: tuple[str, ...]
    first: str
    last: str
    first_event: str
    last_event: str
    since: dict[str, str]
    prices: Literal["adjusted", "raw"]
    provides: tuple[str, ...]
    assumptions: tuple[str, ...]
    settings: TapeSettings
    membership: Literal["today", "dated"] = "today"
    grows: bool = False

    @property
    def quarters(self) -> list[Quarter]:
        """Every quarter of the source, oldest first."""
        return Quarter.range(Quarter.parse(self.first), Quarter.parse(self.last))

    @property
    def event_quarters(self) -> list[Quarter]:
        """Every quarter from the first announcement's to the last's."""
        return Quarter.range(Quarter.parse(self.first_event), Quarter.parse(self.last_event))

    @property
    def first_quarters(self) -> dict[str, Quarter]:
        """The quarter in which each table and each fact was first known."""
        return {table: Quarter.parse(quarter) for table, quarter in self.since.items()}

    @property
    def consensus(self) -> Literal["assumed", "snapshots"]:
        """Whether the consensus for coming announcements is assumed to have been known, or was seen day by day."""
        return "assumed" if CONSENSUS_ASSUMED in self.assumptions else "snapshots"

    @property
    def missing_caches(self) -> tuple[str, ...]:
        """The caches of which the source has no table at all."""
        return tuple(c for c, tables in CACHES.items() if c != UNIVERSE and not set(tables) & set(self.tables))


@dataclass(frozen=True)
class Gap:
    """What a table lacks, or had to take from an older answer.

    Attributes
    ----------
    table : str
    what : str
        Usually a symbol.
    provider : str
    why : str
    served : Timestamp or None
        When the older answer that serves was given; None where nothing does.
    """

    table: str
    what: str
    provider: str
    why: str
    served: pd.Timestamp | None = None


@dataclass(frozen=True)
class Tally:
    """How many questions were asked of providers, and how many were answered from what is kept."""

    asked: int = 0
    kept: int = 0

    @property
    def hit_rate(self) -> float:
        """The share answered from what is kept; NaN where there was no question."""
        return self.kept / (self.asked + self.kept) if self.asked + self.kept else float("nan")

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.asked + other.asked, self.kept + other.kept)

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(self.asked - other.asked, self.kept - other.kept)


class Source(Protocol):
    """A source of tables."""

    @property
    def description(self) -> SourceDescription:
        """What it holds."""
        ...

    def universe(self) -> pd.DataFrame:
        """Return the companies, checked against their contract."""
        ...

    def read(self, table: str, quarter: Quarter) -> pd.DataFrame:
        """Return the rows of a table whose own date falls in a quarter, checked against the table's contract.

        The source's first quarter also holds the rows before it: the past that it arrived with. A table that the
        source does not have is empty.
        """
        ...

    def gaps(self, table: str, quarter: Quarter) -> list[Gap]:
        """Return what a table lacked, or had to take from an older answer, when a quarter of it was last read."""
        ...

    def tally(self, table: str, quarter: Quarter) -> Tally:
        """Return what was asked of providers when a quarter of a table was last read."""
        ...
