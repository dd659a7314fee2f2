"""The lake: Parquet by table and quarter on any fsspec URL, written whole or not at all."""

import hashlib
import io
import os
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from earlysignal_core.errors import LakeError, MissingPartitionError
from earlysignal_core.quarters import Quarter

WHOLE = "all"
Partition = Quarter | date
Made = TypeVar("Made")


class Lake:
    """Where tables live: ``<url>/<table>/<quarter>.parquet``, those of production ``<url>/<table>/<day>.parquet``.

    A file is written under a temporary name and renamed, so that a killed worker leaves the old file or the new one.
    The same rows give the same bytes.

    Parameters
    ----------
    url : str
        Any fsspec URL or a path: ``/data/lake``, ``s3://bucket/lake``, ``memory://lake``.

    Attributes
    ----------
    url : str
        Where it lies, to be shown: without the user and password that a URL may hold.
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self.url = re.sub(r"(?<=://)[^/@]*@", "", url)

    def write(self, table: str, quarter: Partition | None, frame: pd.DataFrame) -> str:
        """Replace one partition (or the whole table, where `quarter` is None).

        Returns
        -------
        str
            The SHA-256 of the file.
        """
        sink = io.BytesIO()
        arrow = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(arrow, sink, compression="zstd", use_dictionary=True)
        return self.write_bytes(self._path(table, quarter), sink.getvalue())

    def read(
        self, table: str, quarters: Iterable[Partition] | None = None, columns: list[str] | None = None
    ) -> pd.DataFrame:
        """Return the rows of some quarters, oldest first, or the whole of an unpartitioned table.

        Raises
        ------
        MissingPartitionError
            If one of them has never been written.
        """
        wanted = [None] if quarters is None else list(quarters)
        parts: list[pd.DataFrame] = []
        for quarter in wanted:
            if not self.has(table, quarter):
                raise MissingPartitionError(table, str(quarter or WHOLE))
            content = io.BytesIO(self.read_bytes(self._path(table, quarter)))
            frame: pd.DataFrame = pq.read_table(content, columns=columns).to_pandas()
            parts.append(frame)
        return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]

    def derive(
        self,
        make: Callable[[pd.DataFrame], Made],
        table: str,
        quarters: Iterable[Partition],
        columns: list[str] | None = None,
    ) -> Made:
        """Return what a function makes of the rows of some quarters, and of nothing else.

        Nobody may change what is returned: a lake that remembers hands it out again.

        Parameters
        ----------
        make : function of a DataFrame
            One that lives as long as the program, so that it can be recognised; it asks for the same columns always.
        table : str
        quarters : iterable of Quarter
        columns : list of str, optional
            Those that it needs.

        Raises
        ------
        MissingPartitionError
            As for `read`.
        """
        return make(self.read(table, quarters, columns))

    def has(self, table: str, quarter: Partition | None = None) -> bool:
        """Say whether a partition is there."""
        return self.exists(self._path(table, quarter))

    def quarters(self, table: str) -> list[Quarter]:
        """Return the quarters that a table holds, oldest first."""
        names = [Path(path).stem for path in self.files(table)]
        return sorted(Quarter.parse(name) for name in names if name != WHOLE)

    def digest(self, table: str, quarter: Partition | None = None) -> str:
        """Return the SHA-256 of a partition's file."""
        if not self.has(table, quarter):
            raise MissingPartitionError(table, str(quarter or WHOLE))
        return hashlib.sha256(self.read_bytes(self._path(table, quarter))).hexdigest()

    def exists(self, path: str) -> bool:
        """Say whether a file is there."""
        return bool(self._fs.isfile(f"{self._root}/{path}"))

    def files(self, folder: str) -> list[str]:
        """Return the paths of the files right in a folder, sorted; unfinished ones are not shown."""
        self._fs.invalidate_cache()
        where = f"{self._root}/{folder}"
        if not self._fs.isdir(where):
            return []
        found = [entry["name"] for entry in self._fs.ls(where, detail=True) if entry["type"] == "file"]
        return sorted(f"{folder}/{Path(name).name}" for name in found if not Path(name).name.startswith("."))

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders right in a folder, sorted."""
        self._fs.invalidate_cache()
        where = f"{self._root}/{folder}"
        if not self._fs.isdir(where):
            return []
        return sorted(Path(e["name"]).name for e in self._fs.ls(where, detail=True) if e["type"] == "directory")

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content."""
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{path}")
        except FileNotFoundError:
            raise LakeError(f"`{path}` is not in the lake {self.url}. Remedy: materialise the asset first.") from None
        return content

    def write_bytes(self, path: str, content: bytes) -> str:
        """Replace a file whole and return its SHA-256."""
        target = f"{self._root}/{path}"
        folder, name = target.rsplit("/", 1)
        unfinished = f"{folder}/.{name}.{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(folder, exist_ok=True)
            try:
                self._fs.pipe_file(unfinished, content)
                self._publish(unfinished, target)
            finally:
                if self._fs.exists(unfinished):
                    self._fs.rm_file(unfinished)
        except OSError as error:
            raise self._refused(path, error) from error
        return hashlib.sha256(content).hexdigest()

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all that is in it; one that is not there is no error."""
        self._fs.invalidate_cache()
        if self._fs.isdir(f"{self._root}/{folder}"):
            self._fs.rm(f"{self._root}/{folder}", recursive=True)

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        if self.exists(path):
            self._fs.rm_file(f"{self._root}/{path}")

    def claim(self, path: str, content: bytes) -> bytes:
        """Create a file if there is none and return what stands there: of two claimants at once, one wins."""
        target = f"{self._root}/{path}"
        if not self.exists(path):
            try:
                self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                self._create(target, content)
            except FileExistsError:
                self._fs.invalidate_cache()
            except OSError as error:
                raise self._refused(path, error) from error
        return self.read_bytes(path)

    def _refused(self, path: str, error: OSError) -> LakeError:
        return LakeError(
            f"cannot write `{path}` to the lake {self.url}: {error.strerror or error}. What stood there still stands. "
            f"Remedy: check free space and permissions, then materialise again."
        )

    def _publish(self, unfinished: str, target: str) -> None:
        if self._is_local:
            Path(unfinished).replace(target)
        else:  # an object store shows an object only when it is whole
            self._fs.mv(unfinished, target)

    def _create(self, target: str, content: bytes) -> None:
        if self._is_local:  # a hard link appears with its content, or fails where a file stands
            folder, name = target.rsplit("/", 1)
            unfinished = Path(folder) / f".{name}.{uuid.uuid4().hex}"
            try:
                unfinished.write_bytes(content)
                os.link(unfinished, target)
            finally:
                unfinished.unlink(missing_ok=True)
        else:
            self._fs.pipe_file(target, content, mode="create")

    @property
    def _is_local(self) -> bool:
        return "file" in self._fs.protocol

    @staticmethod
    def _path(table: str, quarter: Partition | None) -> str:
        return f"{table}/{quarter or WHOLE}.parquet"


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


class Overlay(RememberingLake):
    """A lake over another one, of which it shows some tables; whatever else there is lies in a folder of its own.

    So a replay reads the data of the live lake, and neither sees nor touches its models and records.

    Parameters
    ----------
    url : str
        Of the lake below.
    shown : collection of str
        The tables and files of it that are seen. They cannot be written.
    folder : str
        Where, in the lake below, everything else is.
    capacity : int
        As for `RememberingLake`.
    """

    def __init__(self, url: str, shown: Collection[str], folder: str, capacity: int = 1 << 30) -> None:
        super().__init__(url, capacity)
        self._shown, self._own = frozenset(shown), Lake(f"{url.rstrip('/')}/{folder}")

    def read(
        self, table: str, quarters: Iterable[Partition] | None = None, columns: list[str] | None = None
    ) -> pd.DataFrame:
        """Return the rows of some quarters or of an unpartitioned table, as `Lake.read` does."""
        if table in self._shown:
            return super().read(table, quarters, columns)
        return self._own.read(table, quarters, columns)

    def exists(self, path: str) -> bool:
        """Say whether a file is there."""
        return super().exists(path) if self._is_shown(path) else self._own.exists(path)

    def files(self, folder: str) -> list[str]:
        """Return the paths of the files right in a folder, sorted."""
        return super().files(folder) if self._is_shown(folder) else self._own.files(folder)

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders right in a folder, sorted."""
        return super().folders(folder) if self._is_shown(folder) else self._own.folders(folder)

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content."""
        return super().read_bytes(path) if self._is_shown(path) else self._own.read_bytes(path)

    def write_bytes(self, path: str, content: bytes) -> str:
        """Replace a file whole and return its SHA-256.

        Raises
        ------
        LakeError
            If it belongs to the lake below.
        """
        self._refuse_shown(path)
        return self._own.write_bytes(path, content)

    def remove(self, path: str) -> None:
        """Remove a file of its own."""
        self._refuse_shown(path)
        self._own.remove(path)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder of its own."""
        self._refuse_shown(folder)
        self._own.remove_folder(folder)

    def claim(self, path: str, content: bytes) -> bytes:
        """Create a file of its own if there is none and return what stands there."""
        self._refuse_shown(path)
        return self._own.claim(path, content)

    def _is_shown(self, path: str) -> bool:
        return path.split("/", 1)[0] in self._shown

    def _refuse_shown(self, path: str) -> None:
        if self._is_shown(path):
            raise LakeError(
                f"`{path}` belongs to the lake {self.url}, which is only read here. Remedy: write it there."
            )
