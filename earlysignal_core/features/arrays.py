"""The kinds of arrays that the point-in-time view works with."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
"""Numbers, NaN where missing; days as days since the epoch."""

Flags = npt.NDArray[np.bool_]

Rows = npt.NDArray[np.int64]
"""Row numbers of a table, or steps of its axis."""

Moments = npt.NDArray[np.int64]
"""Nanoseconds since the epoch, UTC."""

NOT_THERE = -1
"""The row number where there is no row: it picks the last element, which tables keep free for it."""

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
"""Nanoseconds."""
