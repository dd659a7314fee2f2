import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from knowable import source

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.catalogue import Feature, catalogue, feature, look_back
from earlysignal_core.features.documentation import render
from earlysignal_core.features.table import active_features, inactive_features, reach
from earlysignal_core.tables import TABLES

REPOSITORY = Path(__file__).parents[1]
FAMILIES = {
    "analysts": """
        analyst_coverage_change analyst_estimate_revision_30d analyst_estimate_revision_7d analyst_price_target_change
        analyst_upgrade_momentum earnings_estimate_std earnings_estimate_trend earnings_whisper_vs_estimate
        guidance_vs_consensus next_quarter_estimate_change
    """,
    "filings": "sec_8k_filing_count_30d",
    "fundamentals": "earnings_surprise revenue_growth_accel",
    "history": """
        announcement_date_shift announcement_return_abs_4q beat_rate_8q beat_streak days_since_last_announcement
        drift_since_last_announcement eps_growth_yoy eps_season eps_volatility_to_price estimate_to_price
        large_beat_rate_8q large_beat_rate_shrunk large_miss_rate_8q market_season_large_beat_rate
        same_season_surprise_mean sector_season_large_beat_rate surprise_mean_4q surprise_mean_8q surprise_median_8q
        surprise_std_8q threshold_z
    """,
    "insiders": """
        insider_buy_volume_30d insider_net_activity insider_sell_volume_30d sec_insider_buying_ratio
    """,
    "institutions": """
        institutional_ownership_momentum sec_institutional_ownership_change short_interest_change
    """,
    "interactions": """
        days_to_earnings earnings_surprise_x_price_momentum earnings_surprise_x_volume fed_rate_x_sector_beta
        gdp_growth_x_cyclical_exposure iv_rank_x_volume_trend pe_ratio_x_price_momentum quarter_end_effect
        revenue_growth_x_relative_strength sentiment_x_rsi social_momentum_x_macd volatility_x_volume_ratio
    """,
    "macro": """
        cpi_inflation_rate credit_spread_change dollar_index_change fed_rate_change_30d gdp_growth_rate
        high_yield_spread oil_price_change sector_funds_flow sector_relative_strength treasury_yield_10y
        unemployment_rate_change vix_change_30d vix_term_structure
    """,
    "options": "iv_rank options_put_call_ratio_change",
    "sentiment": """
        sentiment_news_delta sentiment_options_shift sentiment_reddit_accel social_stocktwits_24h_change
        social_stocktwits_7d_trend social_stocktwits_hourly_momentum social_twitter_24h_change social_twitter_7d_trend
        social_twitter_hourly_momentum
    """,
    "price": """
        dividend_yield_change macd_histogram_trend market_beta_30d price_change_10d price_change_20d price_change_5d
        rsi_momentum volume_ratio volume_trend
    """,
}


def test_the_catalogue_holds_the_families() -> None:
    families: dict[str, list[str]] = {}
    for each in catalogue().values():
        families.setdefault(each.family, []).append(each.name)
    assert {family: families[family] for family in FAMILIES} == {f: names.split() for f, names in FAMILIES.items()}


@pytest.mark.parametrize("each", catalogue().values(), ids=lambda each: each.name)
def test_every_feature_says_what_it_is(each: Feature) -> None:
    assert each.definition.endswith(".")
    assert each.unit
    assert each.name == each.compute.__name__
    assert {*each.needs, *each.may_use} <= TABLES.keys()
    assert all(steps > 0 for steps in (*each.needs.values(), *each.may_use.values()))


def test_every_feature_has_a_hand_computed_example() -> None:
    examples = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_features_*.py"))
    assert [name for name in catalogue() if not re.search(rf"\b{name}\b", examples)] == []


def test_the_documentation_is_current() -> None:
    stands = (REPOSITORY / "docs" / "features.md").read_text(encoding="utf-8")
    assert stands == render(), "run `python -m earlysignal_core.features.documentation docs/features.md`"


def test_an_interaction_needs_what_its_parts_need() -> None:
    @feature(family="tests", unit="", needs={"ohlcv": 5, "macro": 3}, requires=("macro:A",))
    def _first(at):
        """One."""

    @feature(family="tests", unit="", needs={"ohlcv": 9}, may_use={"earnings": 2}, requires=("macro:A", "macro:B"))
    def _second(at):
        """Two."""

    @feature(family="tests", unit="", needs={"macro": 7}, of=(_first, _second))
    def _both(at):
        """Both."""

    try:
        assert _both.needs == {"ohlcv": 9, "macro": 7}
        assert _both.may_use == {"earnings": 2}
        assert _both.requires == ("macro:A", "macro:B")
        assert look_back([_first, _second]) == {"ohlcv": 9, "macro": 3, "earnings": 2}
    finally:
        _forget("_first", "_second", "_both")


def test_two_features_of_one_name_are_refused() -> None:
    def price_change_5d(at):
        """Another."""

    with pytest.raises(EarlySignalError, match="two features are named `price_change_5d`"):
        feature(family="tests", unit="")(price_change_5d)


def test_a_feature_is_active_where_the_source_has_what_it_needs() -> None:
    bare = source(["universe", "earnings"], provides=())
    active = {*active_features(bare)}
    assert {"surprise_mean_8q", "threshold_z", "days_to_earnings"} <= active
    reasons = inactive_features(bare)
    assert active.isdisjoint(reasons)
    assert active | reasons.keys() == catalogue().keys()
    assert reasons["price_change_5d"] == "no table `ohlcv`"
    with_macro = source(["universe", "earnings", "macro"], provides=("macro:FEDFUNDS", "macro:VIXCLS"))
    assert "fed_rate_change_30d" in active_features(with_macro)
    reasons = inactive_features(with_macro)
    assert reasons["vix_term_structure"] == "no `macro:VXVCLS`"
    assert reasons["credit_spread_change"] == "no `macro:BAA10Y` or `macro:BAMLC0A4CBBB` or `macro:BAMLC0A0CM`"


def test_earnings_are_divided_by_raw_prices_only() -> None:
    tables = ["universe", "earnings", "earnings_estimates", "ohlcv", "corporate_actions"]
    raw, adjusted = source(tables), source(tables, prices="adjusted")
    for name in ("estimate_to_price", "eps_volatility_to_price"):
        assert name in active_features(raw)
        assert inactive_features(adjusted)[name] == "no `prices:raw`"
    assert "dividend_yield_change" in active_features(adjusted)


def test_reach_adds_what_the_view_itself_needs() -> None:
    features = {name: catalogue()[name] for name in ("price_change_5d", "earnings_surprise", "threshold_z")}
    assert reach(features, source(["universe", "earnings", "ohlcv"])) == {"earnings": 8, "ohlcv": 6 + 60 + 5}
    raw = reach(features, source(["universe", "earnings", "ohlcv", "corporate_actions"]))
    assert raw["corporate_actions"] == catalogue()["threshold_z"].may_use["corporate_actions"]


# A new file with a new feature, and nothing else touched.

NEW_MODULE = '''
"""A family that nobody has heard of."""

from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import PointInTime


@feature(family="novelties", unit="dollars", needs={"ohlcv": 1})
def last_close(at: PointInTime):
    """The last close: C[t]."""
    return at.latest("ohlcv", "close")
'''
PROGRAM = """
import sys
import earlysignal_core.features as package
package.__path__.append(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from knowable import bars, world
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.documentation import render
from earlysignal_core.features.table import active_features, feature_table
at = world(bars("A", [41.0, 42.0]), features={"last_close": catalogue()["last_close"]})
table = feature_table(at, {"last_close": active_features(at._source)["last_close"]})
assert table["last_close"].tolist() == [42.0]
assert "| `last_close` | The last close: C[t]. | dollars | `ohlcv`: 1 session |" in render()
assert "A family that nobody has heard of." in render()
"""


def test_adding_a_feature_touches_one_file(tmp_path: Path) -> None:
    (tmp_path / "novelties.py").write_text(NEW_MODULE)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr


def test_every_feature_is_a_column_and_an_inactive_one_is_missing() -> None:
    from knowable import bars, world

    from earlysignal_core.features.table import EVENT_COLUMNS, feature_table

    active = {"price_change_5d": catalogue()["price_change_5d"]}
    table = feature_table(world(bars("A", [100.0] * 5 + [101.0]), features=active), active)
    assert table.columns.tolist() == [*EVENT_COLUMNS, *catalogue()]
    assert table["price_change_5d"][0] == pytest.approx(0.01)
    values = table.drop(columns=[*EVENT_COLUMNS, "price_change_5d"])
    assert (values.dtypes == np.float64).all()
    assert values.isna().all(axis=None)
    assert isinstance(table, pd.DataFrame)


def _forget(*names: str) -> None:
    from earlysignal_core.features import catalogue as module

    for name in names:
        module._CATALOGUE.pop(name)
