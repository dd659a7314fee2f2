"""Prices with every split worked in, for outcomes: these look back from after the split, unlike features."""

import numpy as np
import pandas as pd

_PRICES = ["open", "high", "low", "close"]


def split_adjusted(bars: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return raw bars on the share basis of their end.

    Parameters
    ----------
    bars : DataFrame
        Rows of the table `ohlcv`.
    splits : DataFrame
        ``symbol, session, value``: `value` new shares for an old one, from `session` on.
    """
    later = bars[["symbol", "session"]].merge(splits[["symbol", "session", "value"]], on="symbol", suffixes=("", "_of"))
    later = later[later["session"] < later["session_of"]]
    factor = later.groupby(["symbol", "session"])["value"].prod().rename("factor").reset_index()
    factors = bars[["symbol", "session"]].merge(factor, on=["symbol", "session"], how="left")["factor"].fillna(1.0)
    ratio = factors.to_numpy(np.float64)
    adjusted = bars.copy()
    adjusted[_PRICES] = bars[_PRICES].to_numpy() / ratio[:, None]
    adjusted["volume"] = bars["volume"].to_numpy() * ratio
    return adjusted
