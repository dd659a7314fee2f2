"""A model is asked for each row once, and what is remembered is what it would say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earlysignal_core.models.row_memo import RowMemo

ROWS = np.array([[0.0, 1.0], [-0.0, 1.0], [np.nan, 2.0], [3.0, np.inf], [4.0, 5.0], [6.0, 7.0]])


@given(st.lists(st.lists(st.integers(0, len(ROWS) - 1), max_size=7), max_size=6), st.integers(1, 6))
def test_what_is_remembered_is_what_would_be_said(asked: list[list[int]], capacity: int) -> None:
    def of(X: np.ndarray) -> np.ndarray:
        return np.column_stack([np.signbit(X[:, 0]), np.isnan(X[:, 0]), X[:, 1]]).astype("float64")

    memo = RowMemo(of, capacity)
    for places in asked:
        X = ROWS[np.array(places, dtype="int64")]
        np.testing.assert_array_equal(memo(X), of(X))


def test_a_row_is_asked_for_once() -> None:
    told: list[int] = []

    def of(X: np.ndarray) -> np.ndarray:
        told.append(len(X))
        return X[:, 0]

    memo = RowMemo(of)
    memo(ROWS[[4, 5, 4]])
    memo(ROWS[[5, 3]])
    memo(ROWS[[3, 4, 5]])
    assert told == [2, 1]
