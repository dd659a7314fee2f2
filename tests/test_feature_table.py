from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from knowable import ANNOUNCED_ON, asked, bars, companies, series, source, surprises

from earlysignal_core.errors import MissingPartitionError, TableError
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.table import (
    EVENT_COLUMNS,
    active_features,
    build_feature_table,
    feature_table,
    partitions_back,
    quarter_examples,
    scheduled_examples,
    view,
)
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.tables import TABLES, UNIVERSE, each_company, own_date
from earlysignal_core.validation import checked

QUARTER = Quarter.of(pd.Timestamp(ANNOUNCED_ON))


class WatchedLake(Lake):
    """A lake that remembers which quarters were read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seen: dict[str, set[Quarter]] = {}

    def read(self, table, quarters=None, columns=None):
        chosen = None if quarters is None else list(quarters)
        self.seen.setdefault(table, set()).update(chosen or [])
        return super().read(table, chosen, columns)


def filled(folder: Path, described: SourceDescription, *frames: pd.DataFrame) -> WatchedLake:
    lake = WatchedLake(str(folder))
    lake.write(UNIVERSE, None, checked(UNIVERSE, companies(A="Energy")))
    for name in described.tables:
        rows = [frame for frame in frames if {*TABLES[name].columns} <= {*frame.columns}]
        whole = checked(name, pd.concat(rows) if rows else pd.DataFrame(columns=TABLES[name].column_names))
        if name != UNIVERSE:
            days = own_date(TABLES[name], whole)
            for quarter in described.quarters:
                lake.write(name, quarter, whole[days.between(quarter.start, quarter.end)].reset_index(drop=True))
    return lake


@pytest.fixture
def described() -> SourceDescription:
    return source(["universe", "earnings", "ohlcv", "macro"], first="2001-Q1", last="2018-Q4")


def test_a_row_has_the_event_and_every_feature(tmp_path: Path, described: SourceDescription) -> None:
    yields = series("DGS10", ("2018-07-16", 2.86, "2018-07-17"))
    lake = filled(tmp_path, described, surprises("A", 10, 20), bars("A", np.linspace(100, 110, 30)), yields, asked())
    table = build_feature_table(lake, described, QUARTER)
    assert table.columns.tolist() == [*EVENT_COLUMNS, *catalogue()]
    assert table["event"].tolist() == ["A:18-Jun"]
    assert table["surprise_mean_4q"].tolist() == [pytest.approx(15)]
    assert table["treasury_yield_10y"].tolist() == [2.86]
    assert table["dividend_yield_change"].isna().all(), "inactive without corporate actions"


def test_a_quarter_reads_no_more_than_the_look_back(tmp_path: Path, described: SourceDescription) -> None:
    lake = filled(tmp_path, described, asked())
    build_feature_table(lake, described, QUARTER)
    oldest = {table: QUARTER - min(quarters) for table, quarters in lake.seen.items() if quarters}
    assert oldest == {
        "earnings": 43,  # 40 fiscal quarters, and two for late announcements, in quarters of 92 days
        "ohlcv": 6,  # 300 sessions, and 65 to judge their moves by and for a late close
        "macro": 6,  # 476 days
    }
    bound = partitions_back(active_features(described), described)
    assert all(oldest[table] <= bound[table] <= oldest[table] + 2 for table in oldest)


def test_few_features_read_little(tmp_path: Path, described: SourceDescription) -> None:
    lake = filled(tmp_path, described, asked())
    features = {name: active_features(described)[name] for name in ("price_change_5d", "treasury_yield_10y")}
    rows = quarter_examples(lake, described, QUARTER)
    lake.seen.clear()
    feature_table(view(lake, described, rows, features), features)
    assert {table: len(quarters) for table, quarters in lake.seen.items()} == {UNIVERSE: 0, "ohlcv": 2, "macro": 2}


def test_a_quarter_without_announcements_has_an_empty_table(tmp_path: Path, described: SourceDescription) -> None:
    table = build_feature_table(filled(tmp_path, described, asked()), described, QUARTER - 1)
    assert table.empty
    assert table.columns.tolist() == [*EVENT_COLUMNS, *catalogue()]
    assert (table[[*catalogue()]].dtypes == np.float64).all()


def test_an_empty_source_has_empty_tables(tmp_path: Path, described: SourceDescription) -> None:
    assert build_feature_table(filled(tmp_path, described), described, QUARTER).empty


def test_a_company_without_prices_has_the_features_of_the_others(tmp_path: Path, described: SourceDescription) -> None:
    lake = filled(tmp_path, described, surprises("A", 10, 20), asked())
    table = build_feature_table(lake, described, QUARTER)
    assert table["price_change_5d"].isna().all()
    assert table["surprise_mean_4q"].notna().all()


def test_an_as_of_before_the_source_begins_is_no_error(tmp_path: Path) -> None:
    short = source(["universe", "earnings", "ohlcv"], first="2018-Q3", last="2018-Q3", provides=())
    lake = filled(tmp_path, short, asked("2018-07-03", "18-Mar"), bars("A", [1.0]))
    table = build_feature_table(lake, short, QUARTER)
    assert table["event"].tolist() == ["A:18-Mar"]
    assert table["price_change_5d"].isna().all()
    assert table["large_beat_rate_shrunk"].tolist() == [0.1]


def test_a_partition_that_was_never_written_is_named(tmp_path: Path, described: SourceDescription) -> None:
    lake = filled(tmp_path, described, asked())
    (tmp_path / "macro" / "2018-Q2.parquet").unlink()
    with pytest.raises(MissingPartitionError, match=r"`macro` has no partition 2018-Q2"):
        build_feature_table(lake, described, QUARTER)


@pytest.mark.parametrize(
    ("stays", "there"),
    [
        ([(None, None)], True),
        ([("2018-07-17", None)], True),
        ([("2018-07-18", None)], False),
        ([(None, "2018-07-17")], True),
        ([("2010-01-04", "2018-07-16")], False),
        ([(None, "2015-01-01"), ("2018-07-01", None)], True),
        ([("2010-01-04", "2018-08-01"), ("2019-01-01", None)], True),
        ([(None, "2018-07-16"), ("2018-07-18", None)], False),
        ([("2010-01-04", "2018-08-01"), ("2018-07-01", None)], True),
        ([], False),
    ],
)
def test_only_members_on_the_day_of_as_of_are_examples(
    tmp_path: Path, described: SourceDescription, stays: list[tuple[str | None, str | None]], there: bool
) -> None:
    lake = filled(tmp_path, described, asked())
    other = companies(B="Energy").assign(first=pd.NaT, last=pd.NaT)
    members = [companies(A="Energy").assign(first=pd.Timestamp(a), last=pd.Timestamp(b)) for a, b in stays]
    lake.write(UNIVERSE, None, checked(UNIVERSE, pd.concat([other, *members])))
    dated = described.model_copy(update={"membership": "dated"})
    moments = pd.Timestamp("2018-07-17", tz="UTC"), pd.Timestamp("2018-07-18", tz="UTC")
    for which, expected in ((dated, there), (described, True)):
        assert (len(quarter_examples(lake, which, QUARTER)) == 1) == expected
        assert (len(scheduled_examples(lake, which, *moments)) == 1) == expected, "a day of production asks the same"


def test_a_company_of_several_stays_is_what_it_was_in_the_first(tmp_path: Path) -> None:
    stays = companies(A="Energy", B="Energy", C="Utilities").assign(
        symbol=["A", "A", "B"],
        sector=["Industrials", "Energy", "Utilities"],
        first=pd.to_datetime(["2015-01-01", None, "2014-01-01"]),
        last=pd.to_datetime([None, "2013-06-30", None]),
    )
    assert each_company(checked(UNIVERSE, stays))[["symbol", "sector"]].to_numpy().tolist() == [
        ["A", "Energy"],
        ["B", "Utilities"],
    ]
    unknown = stays.assign(sector=["Industrials", None, None])
    assert each_company(checked(UNIVERSE, unknown))["sector"].fillna("–").tolist() == ["Industrials", "–"]
    with pytest.raises(TableError, match=r"row 1 .*`last` lies before `first`.*Remedy: exchange them"):
        checked(UNIVERSE, stays.assign(first=pd.Timestamp("2013-07-01") + pd.to_timedelta(stays.index, "D")))


def test_with_a_calendar_only_members_fall_due(tmp_path: Path) -> None:
    described = source(["universe", "earnings", "earnings_calendar"], first="2018-Q1", membership="dated")
    scheduled = pd.DataFrame(
        {
            "symbol": ["A", "B"],
            "fiscal_period": "18-Jun",
            "expected_on": pd.Timestamp(ANNOUNCED_ON),
            "session": "amc",
            "available_at": pd.Timestamp("2018-06-01", tz="UTC"),
        }
    )
    lake = filled(tmp_path, described, asked(), surprises("B", 5), scheduled)
    members = companies(A="Energy", B="Energy").assign(last=pd.to_datetime([None, "2018-07-16"]))
    lake.write(UNIVERSE, None, checked(UNIVERSE, members))
    moments = pd.Timestamp("2018-07-17", tz="UTC"), pd.Timestamp("2018-07-18", tz="UTC")
    assert scheduled_examples(lake, described, *moments)["symbol"].tolist() == ["A"]
