import numpy as np
import pandas as pd
import pytest
from knowable import AS_OF, bars, items, probe, value, world

from earlysignal_core.errors import EarlySignalError, TableError
from earlysignal_core.features import sentiment
from earlysignal_core.features.interactions import sentiment_x_rsi, social_momentum_x_macd
from earlysignal_core.features.price import macd_histogram_trend
from earlysignal_core.features.sentiment import (
    sentiment_news_delta,
    sentiment_reddit_accel,
    social_stocktwits_7d_trend,
    social_stocktwits_24h_change,
    social_stocktwits_hourly_momentum,
    social_twitter_7d_trend,
    social_twitter_24h_change,
    social_twitter_hourly_momentum,
)

# `as_of` is 2018-07-17 20:00 UTC; a week before it begins on 2018-07-10 20:00, 30 days before that on 2018-06-10 20:00.
NEWS = items(
    "A",
    "news",
    ("2018-06-10 20:00", -1.0),  # 37 days old to the minute: before the 30 days
    ("2018-06-10 20:01", 0.1),
    ("2018-07-10 20:00", 0.3),
    ("2018-07-10 20:01", 0.5),
    ("2018-07-17 20:00", 1.0),
    ("2018-07-17 20:01", -1.0),  # after `as_of`
)


def hours_ago(hours: float) -> str:
    return str(AS_OF - pd.Timedelta(hours=hours))


def test_news_of_a_week_against_the_month_before() -> None:
    others = [items("B", "news", ("2018-07-16", -1.0)), items("A", "reddit", ("2018-07-16", -1.0))]
    assert value(sentiment_news_delta, NEWS, *others) == pytest.approx(0.75 - 0.2)
    assert np.isnan(value(sentiment_news_delta, NEWS.iloc[3:])), "a month without news has no mean"


def test_weekly_means_of_reddit_accelerate() -> None:
    weeks = items(
        "A", "reddit", (hours_ago(400), 0.1), (hours_ago(200), 0.0), (hours_ago(10), 0.2), (hours_ago(9), 0.6)
    )
    assert value(sentiment_reddit_accel, weeks) == pytest.approx(0.4 - 0.0 + 0.1)


@pytest.mark.parametrize(
    ("channel", "change", "momentum", "trend"),
    [
        ("stocktwits", social_stocktwits_24h_change, social_stocktwits_hourly_momentum, social_stocktwits_7d_trend),
        ("twitter", social_twitter_24h_change, social_twitter_hourly_momentum, social_twitter_7d_trend),
    ],
)
def test_social_scores_by_the_hour(channel, change, momentum, trend) -> None:
    days = items("A", channel, (hours_ago(30), -0.5), (hours_ago(24), 0.1), (hours_ago(23), 0.4), (hours_ago(0), 0.2))
    assert value(change, days) == pytest.approx(0.3 + 0.2)
    hours = items(
        "A", channel, (hours_ago(2.5), 0.5), (hours_ago(1), 0.1), (hours_ago(0.9), 0.3), (hours_ago(0.1), 0.5)
    )
    assert value(momentum, hours) == pytest.approx(0.4 - 2 * 0.1 + 0.5)
    assert np.isnan(value(momentum, hours.iloc[1:]))
    rising = [(hours_ago(hour + 0.5), 0.5 - 0.004 * hour) for hour in range(168) if hour % 5]
    assert len(rising) == 134
    assert value(trend, items("A", channel, *rising, *rising[:20])) != 0
    assert np.isnan(value(trend, items("A", channel, *rising))), "134 of 168 hours are less than 80 %"
    assert value(trend, items("A", channel, *rising, (hours_ago(0.5), 0.5))) == pytest.approx(0.004)


def test_a_channel_that_the_table_lacks_leaves_its_features_inactive() -> None:
    only_news = world(NEWS, provides=("sentiment:news",))._source
    assert sentiment_news_delta.inactive_because(only_news) is None
    assert social_twitter_7d_trend.inactive_because(only_news) == "no `sentiment:twitter`"
    assert sentiment_news_delta.inactive_because(world(bars("A", [1.0]))._source) == "no table `sentiment`"


def test_interactions_with_sentiment() -> None:
    risen = np.r_[np.full(235, 50.0), 50 + np.arange(1.0, 16)]
    assert value(sentiment_x_rsi, NEWS, bars("A", risen)) == pytest.approx(0.55 * 100)
    days = items("A", "stocktwits", (hours_ago(30), 0.1), (hours_ago(1), 0.4))
    trend = value(macd_histogram_trend, bars("A", risen))
    assert trend > 0
    assert value(social_momentum_x_macd, days, bars("A", risen)) == pytest.approx(0.3 * trend)


def test_a_score_beyond_one_is_refused() -> None:
    with pytest.raises(TableError, match="is not between -1 and 1"):
        world(items("A", "news", ("2018-07-16", 1.5)))


def test_hours_beyond_the_look_back_are_refused() -> None:
    greedy = probe(lambda at: at.means("sentiment", "score", (24, 0), only=sentiment._news)[:, 0], sentiment=1)
    with pytest.raises(EarlySignalError, match="reads 2 days of `sentiment` but declares 1"):
        value(greedy, NEWS)
