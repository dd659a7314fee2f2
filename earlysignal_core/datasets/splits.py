"""Parts of a dataset in time order, with purge and embargo: nothing of a later part is known in an earlier one."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

TRAIN_FRACTION, VALIDATION_FRACTION = 0.70, 0.15
# Where folds in time order begin, as shares of the rows; the last one ends with them.
_FOLDS = (0.4, 0.6, 0.8, 1.0)


class Part(StrEnum):
    """What a row is used for before the refit, which uses all."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    PURGED = "purged"


def assign_parts(as_of: pd.Series, label_available_at: pd.Series, embargo_days: int) -> pd.Series:
    """Return each row's part: the oldest 70 % train, the next 15 % validation, the rest test.

    Parameters
    ----------
    as_of, label_available_at : Series of datetime64[ns, UTC], shape (n,)
        In any order.
    embargo_days : int
        A label must have been known more than this many days before the next part's first `as_of`.

    Returns
    -------
    Series of str, shape (n,)
        Rows whose label came too late for their part are ``purged``.

    Notes
    -----
    Purge and embargo after López de Prado, *Advances in Financial Machine Learning*, chapter 7, for parts that follow
    one another: only the rows before a border can overlap it. A border falls between two moments, so that rows of one
    `as_of` share a part; where few moments hold many rows a part may be empty.
    """
    parts = pd.Series(str(Part.TEST), index=as_of.index, dtype="str", name="part")
    if parts.empty:
        return parts
    ordered = as_of.sort_values()
    validation_from, test_from = (
        ordered.iloc[int(len(ordered) * share)] for share in (TRAIN_FRACTION, TRAIN_FRACTION + VALIDATION_FRACTION)
    )
    embargo = pd.Timedelta(days=embargo_days)
    for part, end in ((Part.VALIDATION, test_from), (Part.TRAIN, validation_from)):
        inside = as_of < end
        parts[inside] = np.where(label_available_at[inside] + embargo < end, part, Part.PURGED)
    return parts


def expanding_folds(as_of: pd.Series) -> Iterator[tuple[pd.Timestamp, BoolArray]]:
    """Yield the moment at which each fold begins, and its rows; a fold is forecast from what lies before it.

    Parameters
    ----------
    as_of : Series of datetime64[ns, UTC], shape (n,)
    """
    ordered = as_of.sort_values(ignore_index=True)
    borders = [ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in _FOLDS]
    for begin, end in pairwise(borders):
        yield begin, ((as_of >= begin) & (as_of < end)).to_numpy()


def known_before(frame: pd.DataFrame, moment: pd.Timestamp, embargo: pd.Timedelta) -> BoolArray:
    """Return which rows came before a moment and had their label known longer than the embargo before it."""
    return ((frame["as_of"] < moment) & (frame["label_available_at"] + embargo < moment)).to_numpy()
