"""How a company is spoken of, by scored items (news, posts) of a table that the user brings; and by its options.

A score lies between -1 and 1 and counts in the hour in which it became known. A stretch of time without an item has no
mean. Means are taken in whole millionths of a score.
"""

import numpy as np
import pandas as pd

from earlysignal_core.features._windows import ratio
from earlysignal_core.features.arrays import Flags, Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.known_table import Choice
from earlysignal_core.features.options import put_call_ratio
from earlysignal_core.features.point_in_time import PointInTime

FAMILY, TABLE = "sentiment", "sentiment"
_WEEK = 168  # hours
_LEAST_OF_A_TREND = 0.8


def _news(items: pd.DataFrame) -> Flags:
    return (items["channel"] == "news").to_numpy()


def _reddit(items: pd.DataFrame) -> Flags:
    return (items["channel"] == "reddit").to_numpy()


def _stocktwits(items: pd.DataFrame) -> Flags:
    return (items["channel"] == "stocktwits").to_numpy()


def _twitter(items: pd.DataFrame) -> Flags:
    return (items["channel"] == "twitter").to_numpy()


@feature(family=FAMILY, unit="score", needs={TABLE: 38}, requires=("sentiment:news",))
def sentiment_news_delta(at: PointInTime) -> Values:
    """Mean score of the news of 7 days minus that of the 30 days before."""
    return _change(at.means(TABLE, "score", (37 * 24, _WEEK, 0), only=_news))


@feature(family=FAMILY, unit="score", needs={TABLE: 22}, requires=("sentiment:reddit",))
def sentiment_reddit_accel(at: PointInTime) -> Values:
    """Second difference of the weekly mean scores of Reddit: this week's minus twice the last's plus that before."""
    return _second_difference(at.means(TABLE, "score", (3 * _WEEK, 2 * _WEEK, _WEEK, 0), only=_reddit))


@feature(family=FAMILY, unit="ratio", needs={"options": 6})
def sentiment_options_shift(at: PointInTime) -> Values:
    """Minus the change of the put/call volume ratio over 5 sessions."""
    daily = put_call_ratio(at, 6)
    return daily[:, 0] - daily[:, -1]


@feature(family=FAMILY, unit="score", needs={TABLE: 3}, requires=("sentiment:stocktwits",))
def social_stocktwits_24h_change(at: PointInTime) -> Values:
    """Mean score of the last 24 hours of Stocktwits minus that of the 24 hours before."""
    return _day_change(at, _stocktwits)


@feature(family=FAMILY, unit="score", needs={TABLE: 2}, requires=("sentiment:stocktwits",))
def social_stocktwits_hourly_momentum(at: PointInTime) -> Values:
    """Second difference of the last three hourly mean scores of Stocktwits."""
    return _second_difference(at.means(TABLE, "score", (3, 2, 1, 0), only=_stocktwits))


@feature(family=FAMILY, unit="score/hour", needs={TABLE: 8}, requires=("sentiment:stocktwits",))
def social_stocktwits_7d_trend(at: PointInTime) -> Values:
    """Least-squares slope of the hourly mean scores of Stocktwits over 168 hours, at least 80 % of them present."""
    return _trend(at, _stocktwits)


@feature(family=FAMILY, unit="score", needs={TABLE: 3}, requires=("sentiment:twitter",))
def social_twitter_24h_change(at: PointInTime) -> Values:
    """Mean score of the last 24 hours of Twitter minus that of the 24 hours before."""
    return _day_change(at, _twitter)


@feature(family=FAMILY, unit="score", needs={TABLE: 2}, requires=("sentiment:twitter",))
def social_twitter_hourly_momentum(at: PointInTime) -> Values:
    """Second difference of the last three hourly mean scores of Twitter."""
    return _second_difference(at.means(TABLE, "score", (3, 2, 1, 0), only=_twitter))


@feature(family=FAMILY, unit="score/hour", needs={TABLE: 8}, requires=("sentiment:twitter",))
def social_twitter_7d_trend(at: PointInTime) -> Values:
    """Least-squares slope of the hourly mean scores of Twitter over 168 hours, at least 80 % of them present."""
    return _trend(at, _twitter)


def _day_change(at: PointInTime, only: Choice) -> Values:
    return _change(at.means(TABLE, "score", (48, 24, 0), only=only))


def _change(means: Values) -> Values:
    return means[:, 1] - means[:, 0]


def _second_difference(means: Values) -> Values:
    return means[:, 2] - 2 * means[:, 1] + means[:, 0]


def _trend(at: PointInTime, only: Choice) -> Values:
    hourly = at.means(TABLE, "score", tuple(range(_WEEK, -1, -1)), only=only)
    there = np.isfinite(hourly)
    count = there.sum(axis=1)
    hour = np.where(there, np.arange(_WEEK, dtype=np.float64), 0.0)
    apart = np.where(there, hour - (hour.sum(axis=1) / np.maximum(count, 1))[:, None], 0.0)
    slope = ratio((apart * np.where(there, hourly, 0.0)).sum(axis=1), (apart * apart).sum(axis=1))
    return np.where(count >= _LEAST_OF_A_TREND * _WEEK, slope, np.nan)
