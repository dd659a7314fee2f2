"""What a monitor found on a day, kept in the lake for ever: its figures, its verdicts, its tables."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pandas as pd

from earlysignal_core.lake import Lake, parquet
from earlysignal_core.ledger.encoding import numbers, to_json
from earlysignal_core.rules import Verdict

FOLDER = "monitoring"


@dataclass(frozen=True)
class DayRecord:
    """What one monitor says of one day.

    Attributes
    ----------
    monitor : str
        Like ``drift_report``.
    day : Timestamp
        Without a time zone.
    figures : dict of str to float
        NaN where undefined.
    verdicts : DataFrame
        One row a rule: ``rule, figure, value, fires_when, action, raw, effective, reason``.
    tables : dict of str to DataFrame
    """

    monitor: str
    day: pd.Timestamp
    figures: dict[str, float] = field(default_factory=dict)
    verdicts: pd.DataFrame = field(default_factory=lambda: verdict_rows([]))
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def fired(self) -> pd.DataFrame:
        """The rules that act."""
        return self.verdicts[self.verdicts["effective"].astype(bool)]

    def of_kind(self, kind: str) -> pd.DataFrame:
        """Return the verdicts of one kind of rule, which may have a line for each feature or cache."""
        return self.verdicts[kinds(self.verdicts) == kind]

    def save(self, lake: Lake) -> None:
        """Write it, its tables first: a record with figures is whole."""
        for name, table in self.tables.items():
            lake.write_bytes(f"{self._folder}/{name}.parquet", parquet(table, compression="snappy"))
        verdicts = zip(*(self.verdicts[name].tolist() for name in _COLUMNS), strict=True)
        content = {"figures": self.figures, "verdicts": [dict(zip(_COLUMNS, row, strict=True)) for row in verdicts]}
        lake.write_bytes(f"{self._folder}/record.json", to_json(content).encode())

    @classmethod
    def load(cls, lake: Lake, monitor: str, day: pd.Timestamp, *, tables: bool = False) -> "DayRecord":
        """Read the figures and verdicts of a day; its tables only if they are asked for.

        Raises
        ------
        LakeError
            If the monitor has not looked at that day.
        """
        folder = _folder(monitor, day)
        content = json.loads(lake.read_bytes(f"{folder}/record.json"))
        verdicts = pd.DataFrame(content["verdicts"], columns=_COLUMNS)
        paths = [path for path in lake.files(folder) if path.endswith(".parquet")] if tables else []
        found = {PurePosixPath(path).stem: pd.read_parquet(io.BytesIO(lake.read_bytes(path))) for path in paths}
        return cls(monitor, day, numbers(content["figures"]), verdicts, found)

    @property
    def _folder(self) -> str:
        return _folder(self.monitor, self.day)


_COLUMNS = ["rule", "figure", "value", "fires_when", "action", "raw", "effective", "reason"]


def verdict_rows(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return verdicts as rows."""
    rows = [
        (v.rule.name, v.rule.figure, v.value, str(v.rule), str(v.rule.action), v.raw, v.effective, v.reason)
        for v in verdicts
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def kinds(verdicts: pd.DataFrame) -> pd.Series:
    """Return the kind of each rule: ``stale`` of ``stale:ohlcv``."""
    names: pd.Series = verdicts["rule"].astype("str").str.replace(r":.*", "", regex=True)
    return names


def merged(records: Sequence[DayRecord]) -> Mapping[str, float]:
    """Return the figures of several monitors together; of one name the first holds."""
    return {name: value for record in reversed(records) for name, value in record.figures.items()}


def _folder(monitor: str, day: pd.Timestamp) -> str:
    return f"{FOLDER}/{monitor}/{day:%Y-%m-%d}"
