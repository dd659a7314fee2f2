"""Estimate and actual of one announcement on one share basis, or no estimate at all."""

import numpy as np
import pandas as pd

_NEAR = pd.Timedelta(days=120)
"""Around a split: providers re-base the two sides of a row at different times."""

_SMALLEST = np.log(1.5)
"""Of a split, as a logarithm: a smaller one is within what a surprise may be."""


def apart(earnings: pd.DataFrame, splits: pd.DataFrame) -> pd.Series:
    """Return, for each announcement, the split that lies between its estimate and its actual; NaN where none does.

    Parameters
    ----------
    earnings : DataFrame
        With symbol, announced_on, eps_estimate, eps_actual.
    splits : DataFrame
        Rows of `corporate_actions` of kind ``split``.

    Returns
    -------
    Series of float
        The split's ratio (new shares for an old one), by the index of `earnings`.

    Notes
    -----
    Where one side is off by the ratio, undoing the split brings both to less than half of their distance (of
    logarithms): 3.37 against 0.40 at ten for one. A company that truly doubled or halved its estimate within four
    months of a split of two for one looks the same, and loses its surprise as well.
    """
    found = pd.Series(np.nan, index=earnings.index)
    quotient = (earnings["eps_actual"] / earnings["eps_estimate"]).astype("float64")
    comparable = (quotient > 0) & np.isfinite(quotient)
    for symbol, of_company in splits[np.abs(np.log(splits["value"])) >= _SMALLEST].groupby("symbol"):
        rows = earnings.index[(earnings["symbol"] == symbol) & comparable]
        gap = np.log(quotient[rows].to_numpy())
        for session, value in zip(of_company["session"], of_company["value"], strict=True):
            near = (earnings.loc[rows, "announced_on"] - session).abs() <= _NEAR
            undone = np.minimum(np.abs(gap - np.log(value)), np.abs(gap + np.log(value)))
            found[rows[near.to_numpy() & (undone < np.abs(gap) / 2)]] = value
    return found
