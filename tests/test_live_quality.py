"""Live data: a mean that moved, a cache that fell silent or thin."""

import numpy as np
import pandas as pd
import pytest
from monitored import COUNTED, NOW, SHARED

from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.monitoring.action import Action
from earlysignal_core.monitoring.live_quality import CACHE_LIMITS, live_quality
from earlysignal_core.settings import ServingSettings
from earlysignal_core.tables import CACHES

CATALOGUE = catalogue()
FRESHNESS = ServingSettings().freshness_days
NORMALIZER = {name: {"mean": 10.0, "std": 2.0} for name in [*COUNTED[:3], SHARED[0]]}


def week(**means):
    return pd.DataFrame(
        {name: np.full(20, 10.0) for name in NORMALIZER} | {k: np.full(20, v) for k, v in means.items()}
    )


def arrivals(days, *, per_day=10):
    moments = pd.date_range(end=NOW, periods=days, freq="D").repeat(per_day)
    return pd.Series(moments)


def judged(recent, caches=None, normalizer=NORMALIZER, **kwargs):
    return live_quality(recent, normalizer, CATALOGUE, caches or {}, NOW, FRESHNESS, **kwargs)


def acting(found):
    return {verdict.rule.name for verdict in found.verdicts if verdict.effective}


def test_a_mean_two_deviations_away_alerts():
    assert acting(judged(week())) == set()
    assert acting(judged(week(**{COUNTED[0]: 13.9}))) == set()
    found = judged(week(**{COUNTED[0]: 14.1}))
    assert acting(found) == {f"mean_shift:{COUNTED[0]}"}
    row = found.features.iloc[0]
    assert (row["feature"], row["n"]) == (COUNTED[0], 20)
    assert row["shift"] == pytest.approx(2.05)
    assert acting(judged(week(**{COUNTED[0]: 5.9}))) == {f"mean_shift:{COUNTED[0]}"}


def test_few_values_and_shared_ones_are_shown_and_do_not_alert():
    recent = week(**{COUNTED[0]: 20.0, SHARED[0]: 20.0})
    recent.loc[5:, COUNTED[0]] = np.nan
    found = judged(recent)
    assert acting(found) == set()
    assert found.features["raw"].sum() == len(found.verdicts) == 2
    assert len(acting(judged(recent, strict=True))) == 2


def test_a_feature_that_never_moved_in_training():
    still = {COUNTED[0]: {"mean": 10.0, "std": 0.0}, COUNTED[1]: {"mean": None, "std": None}}
    found = judged(week(**{COUNTED[0]: 10.5}), normalizer=still)
    assert acting(found) == {f"mean_shift:{COUNTED[0]}"}
    assert judged(week(), normalizer=still).features["shift"].fillna(0).tolist() == [0, 0]


def test_every_cache_has_limits():
    assert set(CACHE_LIMITS) == {cache for cache in CACHES if cache != "universe"}


@pytest.mark.parametrize("cache", CACHE_LIMITS)
def test_a_silent_cache_blocks_where_serving_asks_it_and_a_thin_one_alerts(cache):
    limits, sound = CACHE_LIMITS[cache], arrivals(500)
    well = judged(week(), {cache: sound})
    assert acting(well) == set()
    assert {verdict.rule.name for verdict in well.verdicts} >= {f"stale:{cache}", f"volume:{cache}"}, "judged, and said"
    silent = sound[sound < NOW - pd.Timedelta(days=FRESHNESS.get(cache, limits.stale_days) + 0.5)]
    stale = [v for v in judged(week(), {cache: silent}).verdicts if v.rule.name == f"stale:{cache}"]
    assert [v.rule.action for v in stale] == [Action.BLOCK if cache in FRESHNESS else Action.ALERT]
    begun = NOW - pd.Timedelta(days=limits.volume_days)
    thin = pd.concat([sound[sound <= begun], sound[sound > begun].iloc[::3]])
    found = judged(week(), {cache: thin})
    assert acting(found) == {f"volume:{cache}"}
    assert found.caches["volume_share"].iloc[0] == pytest.approx(1 / 3, abs=0.05)


def test_rows_of_the_future_do_not_make_a_cache_fresh():
    found = judged(week(), {"ohlcv": pd.Series([NOW + pd.Timedelta(days=1)])})
    assert acting(found) == {"stale:ohlcv"}
    assert found.caches["age_days"].iloc[0] == np.inf


def test_a_young_cache_has_no_volume_to_keep():
    assert acting(judged(week(), {"earnings": arrivals(60)})) == set()
