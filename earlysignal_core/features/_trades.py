"""What insiders traded on the open market, by the Form 4 filings that were known: arrays of trades, newest last."""

import numpy as np
import pandas as pd

from earlysignal_core.features._windows import pick
from earlysignal_core.features.arrays import Flags, Values
from earlysignal_core.features.known_table import Choice
from earlysignal_core.features.point_in_time import PointInTime
from earlysignal_core.tables import KNOWABLE

BEGUN_DAYS = 365
"""A company that filed nothing in the year up to a window is none of the table's."""

_MOST = 256  # trades within a window; an order may fill at many prices
_SESSIONS_A_DAY = 5 / 7


def purchases(filings: pd.DataFrame) -> Flags:
    """Choose the open-market purchases."""
    return _trades(filings, "P")


def sales(filings: pd.DataFrame) -> Flags:
    """Choose the open-market sales."""
    return _trades(filings, "S")


def count(at: PointInTime, trades: Choice, days: int) -> Values:
    """Return how many trades of the last days were known, shape (n,)."""
    return np.asarray(_within(at, trades, days).sum(axis=1).astype(np.float64))


def shares(at: PointInTime, trades: Choice, days: int) -> Values:
    """Return the shares traded in the last days as far as known, on the share basis of the volume at `t`, shape (n,).

    A filing counts the shares of its day. Where prices arrive adjusted, the volume carries splits that nobody knew at
    `as_of`: there the trade's own price over the close of its day tells how many shares of the volume one became.
    """
    number, day = (at.window("sec_filings", column, _MOST, only=trades) for column in ("shares", "transaction_date"))
    if at.prices_are_raw:
        number = number * at.shares_since(day, of_prices=True)
    else:
        close = at.window("ohlcv", "close", sessions_in(days))
        number = number * at.window("sec_filings", "price", _MOST, only=trades) / pick(close, at.sessions_ago(day))
    return np.asarray(np.where(_within(at, trades, days), number, 0.0).sum(axis=1))


def is_covered(at: PointInTime, form: str, days: int) -> Flags:
    """Say whether the table had filings of a form, and some of the company, before the last days.

    Else that there is none within them says nothing.
    """
    return at.had(form, days) & np.isfinite(at.latest("sec_filings", KNOWABLE, lag_days=days))


def sessions_in(days: int) -> int:
    """Return how many sessions some calendar days hold at most."""
    return int(days * _SESSIONS_A_DAY) + 3


def _within(at: PointInTime, trades: Choice, days: int) -> Flags:
    return at.as_of_day[:, None] - at.window("sec_filings", "transaction_date", _MOST, only=trades) < days


def _trades(filings: pd.DataFrame, code: str) -> Flags:
    """Choose the trades of a code; what several owners report in one filing is one trade, not one of each.

    Equal trades of one owner are several.
    """
    is_trade = (filings["code"] == code).to_numpy()
    of_a_filing = ["symbol", KNOWABLE, "transaction_date", "shares", "price"]
    trades = filings.loc[is_trade, [*of_a_filing, "owner"]]
    times = trades.groupby([*of_a_filing, "owner"], dropna=False).cumcount()
    chosen: Flags = is_trade.copy()
    chosen[is_trade] = ~trades[of_a_filing].assign(times=times).duplicated().to_numpy()
    return chosen
