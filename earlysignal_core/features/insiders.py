"""What insiders trade on the open market, by Form 4: purchases (code P) and sales (S), no grants and no exercises.

A trade counts by its own day, once its filing was accepted. A trade of several owners in one filing is one trade.
Trades under a 10b5-1 plan count like others; `sec_filings.planned` tells them apart where the form asked.
"""

import numpy as np

from earlysignal_core.features._trades import BEGUN_DAYS, count, is_covered, purchases, sales, sessions_in, shares
from earlysignal_core.features._windows import mean, ratio
from earlysignal_core.features.arrays import Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.known_table import Choice
from earlysignal_core.features.point_in_time import PointInTime

FAMILY = "insiders"
_RATIO_DAYS, _VOLUME_DAYS, _VOLUME_SESSIONS = 90, 30, 30
_FORM_4 = ("sec_filings:4",)


@feature(family=FAMILY, unit="fraction", needs={"sec_filings": _RATIO_DAYS}, requires=_FORM_4)
def sec_insider_buying_ratio(at: PointInTime) -> Values:
    """Purchases over purchases plus sales of the last 90 days, by count; NaN without any."""
    bought, sold = (count(at, trades, _RATIO_DAYS) for trades in (purchases, sales))
    return ratio(bought, bought + sold)


@feature(
    family=FAMILY,
    unit="days of volume",
    needs={"sec_filings": BEGUN_DAYS, "ohlcv": max(_VOLUME_SESSIONS, sessions_in(_VOLUME_DAYS))},
    may_use={"corporate_actions": _VOLUME_DAYS},
    requires=_FORM_4,
)
def insider_buy_volume_30d(at: PointInTime) -> Values:
    """Shares purchased in the last 30 days, over the mean daily volume of 30 sessions; both on one share basis.

    None is 0; NaN where no filing of the company in the year before those days shows that the table covers it, and to
    the end of the quarter of the first Form 4 of all.
    """
    return _days_of_volume(at, purchases)


@feature(family=FAMILY, unit="days of volume", of=(insider_buy_volume_30d,))
def insider_sell_volume_30d(at: PointInTime) -> Values:
    """Shares sold in the last 30 days, over the mean daily volume of 30 sessions; as insider_buy_volume_30d."""
    return _days_of_volume(at, sales)


@feature(family=FAMILY, unit="days of volume", of=(insider_buy_volume_30d, insider_sell_volume_30d))
def insider_net_activity(at: PointInTime) -> Values:
    """insider_buy_volume_30d minus insider_sell_volume_30d."""
    return insider_buy_volume_30d(at) - insider_sell_volume_30d(at)


def _days_of_volume(at: PointInTime, trades: Choice) -> Values:
    volume = mean(at.window("ohlcv", "volume", _VOLUME_SESSIONS))
    return np.where(is_covered(at, "4", _VOLUME_DAYS), ratio(shares(at, trades, _VOLUME_DAYS), volume), np.nan)
