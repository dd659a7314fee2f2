"""A lake over another one: what a replay reads and must not touch."""

from collections.abc import Collection, Iterable

import pandas as pd

from earlysignal_core.errors import LakeError
from earlysignal_core.lake.files import Lake, Partition
from earlysignal_core.lake.remembering import RememberingLake


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
            raise LakeError(f"`{path}` belongs to the lake {self}, which is only read here. Remedy: write it there.")
