"""A production day on the live source: what comes late is collected, and one provider that fails stops no other."""

import pandas as pd
import pytest
from stand_ins.eodhd import KEY, QUOTA
from stand_ins.fmp import statement
from stand_ins.sec import filing, form13f
from stand_ins.server import as_json
from stand_ins.world import World

from earlysignal_core import daily
from earlysignal_core.errors import SourceError
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import alerts
from earlysignal_core.production import Production
from earlysignal_core.quarters import Quarter

LAST, NOW = Quarter.parse("2023-Q4"), Quarter.parse("2024-Q1")


@pytest.fixture
def world(tmp_path):
    with World(tmp_path, now="2024-01-29 15:00") as started:
        yield started


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def refresh(world, ledger, lake):
    def on_this_day(**more):
        return daily.refresh(world.today, Production(lake, ledger, world.settings(**more)), world.source(**more))

    return on_this_day


def test_what_becomes_known_long_after_its_quarter_is_collected(world, lake, refresh):
    cusips = world.home / "cusips.csv"
    cusips.write_text("cusip,symbol\n037833100,A\n")
    world.sec.filings[7] = []
    table = world.fmp.tables["income-statement"]
    table[:] = [row for row in table if (row["symbol"], row["date"]) != ("A", "2023-12-31")]
    refresh(managers=(7,), cusips=cusips)
    statements = len(lake.read("income_statements", [LAST]))
    report = form13f("12-31-2023", ("037833100", 100, "SH", None))
    world.sec.filings[7] = [filing("7-24-1", "13F-HR", "2024-02-09 10:00", body=report)]
    table.append(statement("A", "2023-12-31", "2024-02-20 17:00:00", 5))
    world.fred.vintages["UNRATE"]["2024-02-28"] = {"2023-12-01": "4.4"}
    world.clock.advance(days=40)
    refresh(managers=(7,), cusips=cusips)
    assert len(lake.read("income_statements", [LAST])) == statements + 1
    assert 4.4 in lake.read("macro", [LAST])["value"].tolist()
    assert lake.read("institutional_holdings", [LAST])["shares_held"].tolist() == [100]


def test_one_provider_that_is_down_stops_no_other_and_is_told(world, lake, refresh, ledger):
    refresh(eodhd_key=KEY)
    before = lake.digest("options", NOW)
    world.pass_time(2)
    world.eodhd.answer = lambda asked: QUOTA
    done = refresh(eodhd_key=KEY)
    assert set(done.failed) == {"options"}
    assert {"ohlcv", "macro", "labels", "feature_table"} <= set(done.written)
    assert lake.digest("options", NOW) == before
    assert lake.read("ohlcv", [NOW])["session"].max() == pd.Timestamp("2024-01-30")
    (told,) = [unsent.alert for unsent in alerts.unsent(ledger)]
    assert told.title == "options is not collected"
    assert "Remedy" in told.body


def test_without_announcements_there_is_no_day(world, refresh):
    refresh()
    world.clock.advance(days=2)
    world.fmp.answer = lambda asked: as_json({}, 404)
    world.companies.write_text("symbol\nA\nNEW\n")
    (world.home / "live" / "raw").rename(world.home / "live" / "lost")
    with pytest.raises(SourceError, match="earnings-calendar"):
        refresh()
