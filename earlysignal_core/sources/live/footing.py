"""Estimate and actual of one announcement on one share basis, or no estimate at all."""

import numpy as np
import pandas as pd

_NEAR = pd.Timedelta(days=120)
"""Of a split: providers re-base the two sides of a row at different times."""

_SMALLEST = np.log(1.5)
"""Of a split, as a logarithm: a smaller one is within what a surprise may be."""


def apart(earnings: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return the split that lies between the estimate and the actual of each announcement, where one does.

    Parameters
    ----------
    earnings : DataFrame
        With symbol, announced_on, eps_estimate, eps_actual.
    splits : DataFrame
        Rows of `corporate_actions` of kind ``split``.

    Returns
    -------
    DataFrame
        By the index of `earnings`: ``before`` and ``after``, the ratio (new shares for an old one) of a split up to the
        day of the announcement and of one since; NaN where none is.

    Notes
    -----
    Where one side is off by the ratio, undoing the split brings both to less than half of their distance (of
    logarithms): 3.37 against 0.40 at ten for one. A company that truly doubled or halved its estimate within four
    months of a split of two for one looks the same. Nobody knew then of a split that came after the announcement.
    """
    found = pd.DataFrame(np.nan, index=earnings.index, columns=["before", "after"])
    quotient = (earnings["eps_actual"] / earnings["eps_estimate"]).astype("float64")
    comparable = (quotient > 0) & np.isfinite(quotient)
    for symbol, of_company in splits[np.abs(np.log(splits["value"])) >= _SMALLEST].groupby("symbol"):
        rows = earnings.index[(earnings["symbol"] == symbol) & comparable]
        gap = np.log(quotient[rows].to_numpy())
        for session, value in zip(of_company["session"], of_company["value"], strict=True):
            since = (earnings.loc[rows, "announced_on"] - session).to_numpy()
            undone = np.minimum(np.abs(gap - np.log(value)), np.abs(gap + np.log(value)))
            is_apart = (np.abs(since) <= _NEAR) & (undone < np.abs(gap) / 2)
            found.loc[rows[is_apart & (since >= pd.Timedelta(0))], "before"] = value
            found.loc[rows[is_apart & (since < pd.Timedelta(0))], "after"] = value
    return found
