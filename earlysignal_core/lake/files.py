"""The lake: Parquet by table and quarter on any fsspec URL, written whole or not at all."""

import hashlib
import io
import os
import re
import uuid
from collections.abc import Callable, Hashable, Iterable
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from earlysignal_core.errors import LakeError, MissingPartitionError
from earlysignal_core.quarters import Quarter

WHOLE = "all"
_SMALL = 10_000
_ARROW = pd.StringDtype("pyarrow", na_value=np.nan)
Partition = Quarter | date
Made = TypeVar("Made")


def parquet(frame: pd.DataFrame, compression: str) -> bytes:
    """Return a frame as a Parquet file; the same rows give the same bytes, however pandas keeps their text."""
    sink = io.BytesIO()
    pq.write_table(_arrow(frame), sink, compression=compression)
    return sink.getvalue()


def _arrow(frame: pd.DataFrame) -> pa.Table:
    types = tuple(frame.dtypes.items())
    if len(frame) >= _SMALL or any(dtype == "object" or dtype == "category" for _, dtype in types):
        return pa.Table.from_pandas(frame.astype(_text_as_arrow(types)), preserve_index=False)
    # Pandas would work out the types of a small table anew, for longer than it takes to convert it.
    schema = _schema(types)
    arrays = [pa.array(frame[field.name].array, field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


@lru_cache(maxsize=64)
def _schema(types: tuple[tuple[Hashable, Any], ...]) -> pa.Schema:
    """Return the types in Arrow of columns with some types in pandas."""
    nothing = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in types})
    return pa.Schema.from_pandas(nothing.astype(_text_as_arrow(types)), preserve_index=False)


def _text_as_arrow(types: Iterable[tuple[Hashable, Any]]) -> dict[Hashable, Any]:
    return {name: _ARROW for name, dtype in types if isinstance(dtype, pd.StringDtype)}


class Lake:
    """Where tables live: ``<url>/<table>/<quarter>.parquet``, those of production ``<url>/<table>/<day>.parquet``.

    A file is written under a temporary name and renamed, so that a killed worker leaves the old file or the new one.
    The same rows give the same bytes.

    Parameters
    ----------
    url : str
        Any fsspec URL or a path: ``/data/lake``, ``s3://bucket/lake``, ``memory://lake``.

    Raises
    ------
    LakeError
        If it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise LakeError(
                f"the lake {self} cannot be opened: {type(error).__name__}. Remedy: check the address "
                f"(EARLYSIGNAL_LAKE) and that fsspec's package for it is installed, like s3fs for s3://."
            ) from error

    def __str__(self) -> str:
        """Say where it lies, without the user, password and query that a URL may hold."""
        return re.sub(r"(?<=://)[^/@]*@|(?<=.)\?.*$", "", self.url) if "://" in self.url else self.url

    def write(self, table: str, quarter: Partition | None, frame: pd.DataFrame) -> str:
        """Replace one partition (or the whole table, where `quarter` is None).

        Returns
        -------
        str
            The SHA-256 of the file.
        """
        return self.write_bytes(self._path(table, quarter), parquet(frame, compression="zstd"))

    def read(
        self, table: str, quarters: Iterable[Partition] | None = None, columns: list[str] | None = None
    ) -> pd.DataFrame:
        """Return the rows of some quarters, oldest first, or the whole of an unpartitioned table.

        Raises
        ------
        MissingPartitionError
            If one of them has never been written.
        LakeError
            If a file is damaged.
        """
        wanted = [None] if quarters is None else list(quarters)
        parts: list[pd.DataFrame] = []
        for quarter in wanted:
            if not self.has(table, quarter):
                raise MissingPartitionError(table, str(quarter or WHOLE))
            parts.append(self._frame(table, quarter, columns))
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

    def files_below(self, folder: str) -> list[str]:
        """Return the paths of the files in a folder and all folders in it; unfinished ones are not shown."""
        self._fs.invalidate_cache()
        where = f"{self._root}/{folder}"
        found = self._fs.find(where) if self._fs.isdir(where) else []
        return sorted(f"{folder}{name.split(where, 1)[1]}" for name in found if not Path(name).name.startswith("."))

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
            raise LakeError(f"`{path}` is not in the lake {self}. Remedy: materialise the asset first.") from None
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

    def _frame(self, table: str, quarter: Partition | None, columns: list[str] | None) -> pd.DataFrame:
        path = self._path(table, quarter)
        try:
            frame: pd.DataFrame = pq.read_table(io.BytesIO(self.read_bytes(path)), columns=columns).to_pandas()
        except pa.ArrowInvalid as error:
            raise LakeError(
                f"`{path}` in the lake {self} is damaged: {error}. Remedy: remove the file, then materialise the "
                f"partition again."
            ) from error
        return frame

    def _refused(self, path: str, error: OSError) -> LakeError:
        return LakeError(
            f"cannot write `{path}` to the lake {self}: {error.strerror or error}. What stood there still stands. "
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
