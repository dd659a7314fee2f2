"""What a model says of a row, kept: who watches the same rows day after day asks for each of them once."""

from collections.abc import Callable

import numpy as np

from earlysignal_core.models.algorithm import FloatArray

CAPACITY = 4096


class RowMemo:
    """A function of rows that remembers what it has said of each, by the row's bits. Safe to be asked by threads.

    Parameters
    ----------
    of : function of (n, features) to (n, …)
        One that says the same of a row alone as among others.
    capacity : int
        Rows that are kept at most; more at once are not remembered, such as those of a training.
    """

    def __init__(self, of: Callable[[FloatArray], FloatArray], capacity: int = CAPACITY) -> None:
        self._of, self._capacity = of, capacity
        self._kept: dict[bytes, FloatArray] = {}

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return what the function says of some rows."""
        if not 0 < len(X) <= self._capacity:
            return self._of(X)
        kept, rows = self._kept, [row.tobytes() for row in X]
        places = {row: place for place, row in enumerate(rows) if row not in kept}
        if places:
            new = dict(zip(places, self._of(X[list(places.values())]), strict=True))
            if len(kept) + len(new) > self._capacity:
                kept = {row: kept[row] for row in rows if row in kept}
            kept = self._kept = kept | new
        return np.array([kept[row] for row in rows])
