from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from knowable import FUND, MARKET, announcements, asked, bars, companies, source, surprises

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.explain import Explanation, explain
from earlysignal_core.features.table import build_feature_table
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.tables import KNOWABLE, TABLES, UNIVERSE, own_date
from earlysignal_core.validation import checked

DAY = pd.Timestamp("2018-07-24")


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Lake, SourceDescription]:
    """A lake of one company with three announcements, its fund and its market."""
    tables = {
        "universe": companies(A="Energy"),
        "earnings": pd.concat(
            [surprises("A", 10, 30, 50), asked(), announcements("B", ("18-Mar", "2018-04-20", 1, 2))]
        ),
        "ohlcv": pd.concat([bars(s, np.linspace(100, 110, 140)) for s in ("A", FUND, MARKET)]),
    }
    described = source(tables, first="2017-Q1", last="2018-Q3", provides=())
    lake = Lake(str(tmp_path))
    for name, frame in tables.items():
        rows = checked(name, frame)
        if name == UNIVERSE:
            lake.write(name, None, rows)
            continue
        days = own_date(TABLES[name], rows)
        for quarter in described.quarters:
            lake.write(name, quarter, rows[days.between(quarter.start, quarter.end)].reset_index(drop=True))
    return lake, described


def of(found: list[Explanation], name: str) -> Explanation:
    return next(each for each in found if each.feature.name == name)


def test_each_feature_comes_with_its_value_and_its_rows(filled: tuple[Lake, SourceDescription]) -> None:
    lake, described = filled
    found = explain(lake, described, "A", DAY)
    assert [each.feature.name for each in found] == [*catalogue()]
    mean = of(found, "surprise_mean_4q")
    assert mean.value == pytest.approx(30)
    assert mean.rows["earnings"]["eps_actual"].tolist() == [1.1, 1.3, 1.5]
    change = of(found, "price_change_5d")
    assert (change.rows["ohlcv"]["symbol"] == "A").all()
    assert change.value == pytest.approx(
        change.rows["ohlcv"]["close"].iloc[-1] / change.rows["ohlcv"]["close"].iloc[0] - 1
    )
    product = of(found, "earnings_surprise_x_price_momentum")
    assert {*product.rows} == {"earnings", "ohlcv"}, "the rows of its parts"
    season = of(found, "market_season_large_beat_rate")
    assert len(season.rows["earnings"]) == 4, "those of the season and of all so far"


def test_the_values_are_those_of_the_feature_table(filled: tuple[Lake, SourceDescription]) -> None:
    lake, described = filled
    table = build_feature_table(lake, described, Quarter(2018, 3)).set_index("event")
    for each in explain(lake, described, "A", DAY):
        assert np.float64(each.value).tobytes() == np.float64(table.loc["A:18-Jun", each.feature.name]).tobytes()


def test_all_rows_were_known_at_the_time(filled: tuple[Lake, SourceDescription]) -> None:
    for each in explain(*filled, "A", DAY):
        for rows in each.rows.values():
            assert (rows[KNOWABLE] <= pd.Timestamp("2018-07-17 20:00", tz="UTC")).all()


def test_an_inactive_feature_says_why(filled: tuple[Lake, SourceDescription]) -> None:
    missing = of(explain(*filled, "A", DAY), "treasury_yield_10y")
    assert np.isnan(missing.value)
    assert missing.rows == {}
    assert missing.inactive_because == "no table `macro`"


def test_what_is_no_announcement_is_refused_with_the_nearest(filled: tuple[Lake, SourceDescription]) -> None:
    with pytest.raises(EarlySignalError, match=r"choose one of 2018-04-24, 2018-07-24"):
        explain(*filled, "A", DAY + pd.Timedelta(days=1))
    with pytest.raises(EarlySignalError, match=r"the source has no symbol `Z`. Remedy: choose one of its own, like "):
        explain(*filled, "Z", DAY)
    with pytest.raises(EarlySignalError, match=r"the source knows 2017-Q1 to 2018-Q3"):
        explain(*filled, "A", pd.Timestamp("2030-01-01"))
