"""A lake that keeps in memory what it has read."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pandas as pd

from earlysignal_core.errors import MissingPartitionError
from earlysignal_core.lake.files import WHOLE, Lake, Made, Partition

# Table, quarters, and the columns that were asked for or the function that made something of the rows.
_Key = tuple[str, tuple[Partition, ...] | None, tuple[str, ...] | Callable[[pd.DataFrame], Any] | None]


@dataclass(frozen=True)
class _Remembered:
    """Rows or what was made of them, with the state of each file that was read and the size in bytes."""

    files: dict[str, dict[str, Any]]
    content: Any
    size: int


class RememberingLake(Lake):
    """A lake that keeps in memory what it has read, for who reads the same rows many times: a service, a replay.

    Every read looks first whether the files are still those that were read (on a local disk by inode, time and size),
    so that a partition that was replaced, by whomever, is read anew. What is handed out is the caller's own: pandas
    copies what a caller changes. What was derived from whole partitions is kept with them. Safe to be read by several
    threads; two that ask at once for what is not there yet may both read it.

    Parameters
    ----------
    url : str
        As for `Lake`.
    capacity : int
        Bytes that are kept at most, what was derived counted like the rows; those used longest ago go first.
    """

    def __init__(self, url: str, capacity: int = 1 << 30) -> None:
        super().__init__(url)
        self._capacity, self._size = capacity, 0
        self._kept: OrderedDict[_Key, _Remembered] = OrderedDict()
        self._lock = Lock()

    def read(
        self, table: str, quarters: Iterable[Partition] | None = None, columns: list[str] | None = None
    ) -> pd.DataFrame:
        """Return the rows of some quarters or of an unpartitioned table, as `Lake.read` does."""
        wanted = None if quarters is None else tuple(quarters)
        return self._rows(table, wanted, columns).copy(deep=False)

    def derive(
        self,
        make: Callable[[pd.DataFrame], Made],
        table: str,
        quarters: Iterable[Partition],
        columns: list[str] | None = None,
    ) -> Made:
        """Return what a function makes of the rows of some quarters, as `Lake.derive` does."""
        wanted = tuple(quarters)
        files = self._states(table, wanted)
        found = self._found((table, wanted, make), files)
        if found is None:
            rows = self._rows(table, wanted, columns)
            found = _Remembered(files, make(rows.copy(deep=False)), int(rows.memory_usage(deep=True).sum()))
            self._keep((table, wanted, make), found)
        made: Made = found.content
        return made

    def write_bytes(self, path: str, content: bytes) -> str:
        """Replace a file whole and return its SHA-256."""
        written = super().write_bytes(path, content)
        with self._lock:  # of two writes within one tick of the disk's clock the second may look like the first
            for key in [key for key, found in self._kept.items() if path in found.files]:
                self._forget(key)
        return written

    def _rows(self, table: str, quarters: tuple[Partition, ...] | None, columns: list[str] | None) -> pd.DataFrame:
        # Looked at before the rows are read: what is replaced in between is read once more at the next call.
        files = self._states(table, quarters)
        key: _Key = (table, quarters, None if columns is None else tuple(columns))
        found = self._found(key, files)
        if found is not None:
            kept: pd.DataFrame = found.content
            return kept
        if quarters is not None and len(quarters) > 1:  # only the parts that have changed are read
            rows = pd.concat([self._rows(table, (quarter,), columns) for quarter in quarters], ignore_index=True)
        else:
            rows = super().read(table, quarters, columns)
        self._keep(key, _Remembered(files, rows, int(rows.memory_usage(deep=True).sum())))
        return rows

    def _states(self, table: str, quarters: tuple[Partition, ...] | None) -> dict[str, dict[str, Any]]:
        return {self._path(table, part): self._state(table, part) for part in quarters or (None,)}

    def _state(self, table: str, quarter: Partition | None) -> dict[str, Any]:
        """Return all that the file system knows of a partition's file: another one differs in some of it."""
        self._fs.invalidate_cache()
        try:
            state: dict[str, Any] = self._fs.info(f"{self._root}/{self._path(table, quarter)}")
        except FileNotFoundError:
            raise MissingPartitionError(table, str(quarter or WHOLE)) from None
        return state

    def _found(self, key: _Key, files: dict[str, dict[str, Any]]) -> _Remembered | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None or found.files != files:
                return None
            self._kept.move_to_end(key)
            return found

    def _keep(self, key: _Key, found: _Remembered) -> None:
        with self._lock:
            self._forget(key)
            self._kept[key] = found
            self._size += found.size
            while self._size > self._capacity:
                self._forget(next(iter(self._kept)))

    def _forget(self, key: _Key) -> None:
        found = self._kept.pop(key, None)
        self._size -= found.size if found else 0
