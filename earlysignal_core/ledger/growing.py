"""Tables that only grow, kept in memory by one who alone writes: only what is new is asked for."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Select, Table, select

from earlysignal_core.ledger import rows
from earlysignal_core.ledger.connection import RememberingLedger


class Growing:
    """All rows of a table that nobody changes, by column.

    Parameters
    ----------
    table : Table
        With an ``id`` that grows.
    columns : list of columns
        Those that are kept; ``id`` among them.

    Attributes
    ----------
    told : dict of str to array
        The columns, in the order of the ids; empty before the first reading.
    """

    def __init__(self, table: Table, columns: list[Any]) -> None:
        self._table, self._columns = table, columns
        self._newest, self._writes = 0, -1
        self.told: dict[str, Any] = {}

    def read_on(self, ledger: RememberingLedger) -> None:
        """Read what is new."""
        writes = ledger.memory.writes(self._table.name)
        if self._writes == writes:
            return
        with ledger.begin() as connection:
            self._writes = writes
            new: Select[Any] = select(*self._columns).where(self._table.c.id > self._newest).order_by(self._table.c.id)
            told = rows.read(connection, new)
        if len(told):
            self._newest = int(told["id"].iloc[-1])
        if len(told) or not self.told:
            told = self._taken(told)
            if self.told:
                told = pd.concat([pd.DataFrame(self.told, copy=False), told], ignore_index=True)
            self.told = {str(name): told[name].array for name in told}

    def __len__(self) -> int:
        return len(self.told["id"]) if self.told else 0

    def rows(self, places: npt.NDArray[np.int64], names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return some rows, and of them some columns or all, as `ledger.rows.read` would."""
        return {name: self.told[name].take(places) for name in (self.told if names is None else names)}

    def _taken(self, new: pd.DataFrame) -> pd.DataFrame:
        """Return the columns to keep of what is new."""
        return new
