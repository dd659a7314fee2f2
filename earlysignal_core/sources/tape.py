"""A tape: a folder of Parquet files with a `tape.json`, as `docs/tape-format.md` describes."""

from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pydantic import BaseModel, ConfigDict, NaiveDatetime, ValidationError, field_validator

from earlysignal_core.errors import EarlySignalError, SourceError
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings, TapeSettings
from earlysignal_core.sources.source import CONSENSUS_ASSUMED, Gap, SourceDescription, Tally
from earlysignal_core.tables import KNOWABLE, TABLES, UNIVERSE, own_date
from earlysignal_core.trading_calendar import as_of
from earlysignal_core.validation import checked, no_rows

DATES_ASSUMED = "assume_dates_known: announcement dates are taken as known seven days ahead (no earnings_calendar)."
MEMBERSHIP_ASSUMED = "Membership and sectors are those of today, throughout: there is survivorship."
SECTORS_ASSUMED = "Sectors are those of today, throughout; membership is as dated in `universe`."
DESCRIPTION = "tape.json"
_FACTS = {"macro": "series", "sec_filings": "form", "sentiment": "channel"}
"""Tables that may hold some kinds of rows and lack others, with the column that names the kind."""


_OLDEST, _NEWEST = pd.Timestamp.min.ceil("D").to_pydatetime(), pd.Timestamp.max.floor("D").to_pydatetime()


class TapeJson(BaseModel):
    """What stands in a tape's `tape.json`: docs/tape-format.md says what it means."""

    model_config = ConfigDict(extra="forbid")

    name: str
    benchmark: str
    universe: str
    tables: list[str]
    event_dates: tuple[NaiveDatetime, NaiveDatetime]
    price_dates: tuple[NaiveDatetime, NaiveDatetime]
    assumptions: list[str] = []
    prices: Literal["adjusted", "raw"] = "adjusted"
    membership: Literal["today", "dated"] = "today"
    settings: TapeSettings = TapeSettings()
    since: dict[str, str] = {}

    @field_validator("since")
    @classmethod
    def _quarters(cls, since: dict[str, str]) -> dict[str, str]:
        try:
            return {fact: str(Quarter.parse(quarter)) for fact, quarter in since.items()}
        except EarlySignalError as error:
            raise ValueError(str(error)) from None

    @field_validator("event_dates", "price_dates")
    @classmethod
    def _in_order(cls, dates: tuple[datetime, datetime]) -> tuple[datetime, datetime]:
        if dates[0] > dates[1]:
            raise ValueError("the first day is after the last")
        if dates[0] < _OLDEST or dates[1] > _NEWEST:
            raise ValueError(f"the days must lie between {_OLDEST:%Y-%m-%d} and {_NEWEST:%Y-%m-%d}")
        return dates


class TapeSource:
    """Reads a tape.

    Parameters
    ----------
    folder : Path
        Holds `tape.json` and, for each table, `<table>.parquet` or a folder `<table>/` of Parquet files.
    settings : Settings
        What the user has set overrules the tape's own settings.

    Raises
    ------
    SourceError
        Names the folder or file and the remedy.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._json = _read_description(folder)
        unknown = sorted(set(self._json.tables) - set(TABLES))
        if unknown:
            raise SourceError(
                f"{folder / DESCRIPTION} lists the unknown table(s) {', '.join(unknown)}. Known: {', '.join(TABLES)}."
            )
        for needed in (UNIVERSE, "earnings"):
            if needed not in self._json.tables:
                raise SourceError(
                    f"the tape {folder} has no table `{needed}`: without it there is nothing to predict. "
                    f"Remedy: add {needed}.parquet and list it in {DESCRIPTION}."
                )
        self._settings = settings.over(self._json.settings)
        self._assumes_consensus = (
            self._settings.assume_final_consensus_known and "earnings_estimates" not in self._json.tables
        )
        if settings.universe not in (self._json.universe, None):
            raise SourceError(
                f"the tape {folder} holds the universe `{self._json.universe}`, not `{settings.universe}`. "
                f"Remedy: choose another tape or --universe {self._json.universe}."
            )

        for needed, what in (("earnings", "announcements"), (UNIVERSE, "companies")):
            if not self._dataset(needed).count_rows():
                raise SourceError(
                    f"the tape {folder} has no {what}: there is nothing to predict. Remedy: fill {needed}.parquet."
                )

    @cached_property
    def description(self) -> SourceDescription:
        """What the tape holds, from its `tape.json` and a look at its tables."""
        tape = self._json
        tables = [*tape.tables, *(["earnings_estimates"] if self._assumes_consensus else [])]
        assumptions = list(tape.assumptions)
        if self._assumes_consensus:
            assumptions.insert(0, CONSENSUS_ASSUMED)
        if "earnings_calendar" not in tables:
            assumptions.append(DATES_ASSUMED)
        if tape.membership == "dated":
            assumptions.append(SECTORS_ASSUMED)
        elif not any("survivorship" in line.lower() for line in assumptions):
            assumptions.append(MEMBERSHIP_ASSUMED)
        return SourceDescription(
            name=tape.name,
            benchmark=tape.benchmark,
            universe=tape.universe,
            tables=tuple(tables),
            first=str(Quarter.of(min(tape.event_dates[0], tape.price_dates[0]))),
            last=str(Quarter.of(max(tape.event_dates[1], tape.price_dates[1]))),
            first_event=str(Quarter.of(tape.event_dates[0])),
            last_event=str(Quarter.of(tape.event_dates[1])),
            since=self._since() | tape.since,
            prices=tape.prices,
            membership=tape.membership,
            provides=tuple(self._provides()),
            assumptions=tuple(assumptions),
            settings=self._settings,
        )

    def universe(self) -> pd.DataFrame:
        """Return the companies."""
        return checked(UNIVERSE, self._dataset(UNIVERSE).to_table().to_pandas())

    def read(self, table: str, quarter: Quarter) -> pd.DataFrame:
        """Return a table's rows of one quarter; the first quarter also holds what came before it."""
        if table == "earnings_estimates" and self._assumes_consensus:
            return checked(table, _assumed_estimates(self.read("earnings", quarter)), str(quarter))
        if table not in self._json.tables:
            return no_rows(table)
        first = quarter == Quarter.parse(self.description.first)
        rows = self._rows(table, None if first else quarter.start, (quarter + 1).start)
        return checked(table, rows, str(quarter))

    def gaps(self, table: str, quarter: Quarter) -> list[Gap]:  # noqa: ARG002 - as of every source
        """Return nothing: a tape is whole, or it is refused."""
        return []

    def tally(self, table: str, quarter: Quarter) -> Tally:  # noqa: ARG002 - as of every source
        """Return nothing: no provider is asked."""
        return Tally()

    def _rows(self, name: str, start: pd.Timestamp | None, end: pd.Timestamp) -> pd.DataFrame:
        table, dataset = TABLES[name], self._dataset(name)
        names = dataset.schema.names
        columns = [column for column in table.column_names if column in names]
        by_filter = table.date in table.columns and not table.columns[table.date].nullable
        if not by_filter or table.date not in names or not _is_day(dataset.schema.field(table.date).type):
            rows = checked(name, dataset.to_table(columns=columns).to_pandas())
            dates = own_date(table, rows)
            chosen: pd.DataFrame = rows[(dates < end) & (dates >= start if start is not None else True)]
            return chosen
        within = pc.field(table.date) < pa.scalar(end)
        # A row without a date would fall through every filter: the first quarter takes it and refuses it.
        within = (
            within | pc.field(table.date).is_null()
            if start is None
            else within & (pc.field(table.date) >= pa.scalar(start))
        )
        selected: pd.DataFrame = dataset.to_table(columns=columns, filter=within).to_pandas()
        return selected

    def _dataset(self, table: str) -> pads.Dataset:
        file, folder = self._folder / f"{table}.parquet", self._folder / table
        found = file if file.is_file() else folder
        if not found.exists():
            raise SourceError(
                f"the tape {self._folder} lists `{table}` but has neither {file.name} nor a folder {table}/. "
                f"Remedy: add it, or take it off the list in {DESCRIPTION}."
            )
        try:
            return pads.dataset(found, format="parquet")
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{found} is no readable Parquet: {error}. Remedy: write it again.") from error

    def _since(self) -> dict[str, str]:
        """Tell since when each table and fact was known, by `available_at`: a row that came late changes no past."""
        known = {name: self._known_since(name) for name in self._json.tables if name != UNIVERSE}
        for fact in self._provides():
            table, what = fact.split(":")
            column = _FACTS.get(table)
            rows = self._etf_volume() if column is None else pc.field(column) == what
            known[fact] = self._known_since(table, rows)
        if self._assumes_consensus:
            known["earnings_estimates"] = known["earnings"]
        return {fact: str(quarter) for fact, quarter in known.items() if quarter is not None}

    def _known_since(self, table: str, rows: pc.Expression | None = None) -> Quarter | None:
        dataset = self._dataset(table)
        if KNOWABLE not in dataset.schema.names or not pa.types.is_timestamp(dataset.schema.field(KNOWABLE).type):
            return None
        first = pc.min(dataset.to_table(columns=[KNOWABLE], filter=rows)[KNOWABLE]).as_py()
        return Quarter.of(first) if isinstance(first, datetime) else None

    def _etf_volume(self) -> pc.Expression:
        etfs = self.universe()["sector_etf"].dropna().unique().tolist()
        of_etfs = pc.field("symbol").isin(pa.array(etfs, pa.string()))
        return of_etfs & ~pc.field("volume").is_null(nan_is_null=True)

    def _provides(self) -> list[str]:
        facts = []
        for table, column in _FACTS.items():
            if table in self._json.tables and column in self._dataset(table).schema.names:
                kinds = pc.unique(self._dataset(table).to_table(columns=[column])[column])
                facts += [f"{table}:{kind}" for kind in sorted(pc.drop_null(kinds).to_pylist())]
        if "ohlcv" in self._json.tables and self._dataset("ohlcv").count_rows(filter=self._etf_volume()):
            facts.append("ohlcv:etf_volume")
        return facts


def _read_description(folder: Path) -> TapeJson:
    file = folder / DESCRIPTION
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}. Remedy: name the folder of a tape, docs/tape-format.md.")
    if not file.is_file():
        raise SourceError(f"{folder} is no tape: it has no {DESCRIPTION}. Remedy: see docs/tape-format.md.")
    try:
        return TapeJson.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise SourceError(f"{file}: {problems}. Remedy: see docs/tape-format.md.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} is not in UTF-8: {error}. Remedy: write it anew.") from error


def _is_day(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and kind.tz is None


def _assumed_estimates(earnings: pd.DataFrame) -> pd.DataFrame:
    """Date the one estimate of each announcement at its `as_of`: the assumption that a tape may declare."""
    known = pd.Series(as_of(earnings["announced_on"]), index=earnings.index)
    return pd.DataFrame(
        {
            "symbol": earnings["symbol"],
            "fiscal_period": earnings["fiscal_period"].fillna(earnings["announced_on"].dt.strftime("%Y-%m-%d")),
            "snapshot_on": known.dt.tz_localize(None).dt.normalize(),
            "eps_estimate": earnings["eps_estimate"],
            "eps_high": float("nan"),
            "eps_low": float("nan"),
            "analysts": float("nan"),
            KNOWABLE: known,
        }
    )
