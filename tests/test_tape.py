import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earlysignal_core.errors import SourceError, TableError
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources.tape import CONSENSUS_ASSUMED, TapeSource
from earlysignal_core.tables import KNOWABLE, TABLES

DOCS = Path(__file__).parents[1] / "docs"


def write_tape(folder: Path, **changes: Any) -> Path:
    """Write a tape of two companies with two announcements each."""
    days = pd.to_datetime(["2018-01-30", "2018-04-30"] * 2)
    earnings = pd.DataFrame(
        {
            "symbol": ["A", "A", "B", "B"],
            "announced_on": days,
            "session": ["amc", "amc", "bmo", None],
            "fiscal_period": ["17-Dec", "18-Mar", "17-Dec", None],
            "eps_estimate": [1.0, 1.0, 2.0, 0.0],
            "eps_actual": [1.3, 1.1, 2.0, 0.5],
            KNOWABLE: (days + pd.Timedelta(hours=21)).tz_localize("UTC"),
        }
    )
    universe = pd.DataFrame(
        {"symbol": ["A", "B"], "name": ["Aa", None], "sector": ["Energy", None], "sector_etf": ["XLE", None]}
    ).assign(first=pd.Timestamp("2018-01-02"), last=pd.Timestamp("2018-06-29"))
    sessions = pd.to_datetime(["2017-12-29", "2018-04-02"])
    ohlcv = pd.DataFrame({"symbol": "SPX", "session": sessions, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0})
    ohlcv = ohlcv.assign(volume=1.0, **{KNOWABLE: (sessions + pd.Timedelta(hours=21)).tz_localize("UTC")})
    description = {
        "name": "small",
        "benchmark": "SPX",
        "universe": "sp500",
        "tables": ["universe", "earnings", "ohlcv"],
        "event_dates": ["2018-01-30", "2018-04-30"],
        "price_dates": ["2018-01-02", "2018-06-29"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    frames = {"earnings": earnings, "universe": universe, "ohlcv": ohlcv, **changes.pop("frames", {})}
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
    (folder / "tape.json").write_text(json.dumps({**description, **changes}))
    return folder


def test_a_row_that_comes_late_does_not_change_what_was_known_when(tmp_path: Path) -> None:
    write_tape(tmp_path)
    before = TapeSource(tmp_path, Settings()).description.since
    late = pd.Timestamp("2018-06-20 20:00", tz="UTC")
    for table, day in (("ohlcv", "session"), ("earnings", "announced_on")):
        rows = pd.read_parquet(tmp_path / f"{table}.parquet")
        old = rows.iloc[[0]].assign(**{day: pd.Timestamp("1999-01-04"), KNOWABLE: late})
        pd.concat([rows, old]).to_parquet(tmp_path / f"{table}.parquet")
    assert TapeSource(tmp_path, Settings()).description.since == before


def test_a_tape_declares_whose_membership_it_holds(tmp_path: Path) -> None:
    today = TapeSource(write_tape(tmp_path / "today"), Settings()).description
    dated = TapeSource(write_tape(tmp_path / "dated", membership="dated"), Settings()).description
    assert (today.membership, dated.membership) == ("today", "dated")
    assert any("survivorship" in line for line in today.assumptions)
    assert not any("survivorship" in line for line in dated.assumptions)


def test_a_tape_provides_the_forms_that_it_has(tmp_path: Path) -> None:
    filings = pd.DataFrame({"form": ["10-Q", "4"], "transaction_date": pd.NaT, "symbol": "A"})
    filings = filings.assign(**dict.fromkeys(["code", "owner"], None), shares=np.nan, price=np.nan)
    filings = filings.assign(**{KNOWABLE: pd.Timestamp("2018-05-01", tz="UTC")})
    tables = ["universe", "earnings", "ohlcv", "sec_filings"]
    description = TapeSource(
        write_tape(tmp_path, frames={"sec_filings": filings}, tables=tables), Settings()
    ).description
    assert {"sec_filings:4", "sec_filings:10-Q"} <= {*description.provides}
    assert "sec_filings:8-K" not in description.provides
    assert description.since["sec_filings:4"] == "2018-Q2"


def test_rows_come_by_the_quarter_of_their_own_date(tmp_path: Path) -> None:
    source = TapeSource(write_tape(tmp_path), Settings())
    assert [str(q) for q in source.description.quarters] == ["2018-Q1", "2018-Q2"]
    assert source.read("earnings", Quarter(2018, 1))["symbol"].tolist() == ["A", "B"]
    assert source.read("earnings", Quarter(2018, 2))["eps_actual"].tolist() == [1.1, 0.5]


def test_the_first_quarter_holds_the_past_that_the_source_arrived_with(tmp_path: Path) -> None:
    source = TapeSource(write_tape(tmp_path), Settings())
    assert source.read("ohlcv", Quarter(2018, 1))["session"].tolist() == [pd.Timestamp("2017-12-29")]


def test_the_order_of_rows_and_unknown_columns_do_not_matter(tmp_path: Path) -> None:
    write_tape(tmp_path / "a")
    shuffled = pd.read_parquet(tmp_path / "a" / "earnings.parquet").iloc[::-1].assign(mood="good")
    write_tape(tmp_path / "b", frames={"earnings": shuffled})
    a, b = (TapeSource(tmp_path / name, Settings()).read("earnings", Quarter(2018, 1)) for name in "ab")
    pd.testing.assert_frame_equal(a, b)


def test_a_table_that_the_tape_lacks_is_empty_and_said_to_be_missing(tmp_path: Path) -> None:
    source = TapeSource(write_tape(tmp_path), Settings())
    assert source.read("macro", Quarter(2018, 1)).empty
    assert "macro" not in source.description.tables
    assert "options" in source.description.missing_caches


def test_the_final_consensus_becomes_known_only_by_a_declared_assumption(tmp_path: Path) -> None:
    strict = TapeSource(write_tape(tmp_path), Settings())
    assert "earnings_estimates" not in strict.description.tables
    assuming = TapeSource(write_tape(tmp_path, settings={"assume_final_consensus_known": True}), Settings())
    assert CONSENSUS_ASSUMED in assuming.description.assumptions
    estimates = assuming.read("earnings_estimates", Quarter(2018, 1))
    assert estimates[KNOWABLE].tolist() == [pd.Timestamp("2018-01-23 21:00", tz="UTC")] * 2
    overruled = TapeSource(tmp_path, Settings(assume_final_consensus_known=False))
    assert "earnings_estimates" not in overruled.description.tables


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tables": ["universe", "earnings", "mood"]}, "unknown table.*mood"),
        ({"tables": ["universe"]}, "no table `earnings`"),
        ({"tables": ["universe", "earnings", "macro"]}, "lists `macro` but has neither"),
        ({"event_dates": None}, "event_dates"),
        ({"event_dates": ["2018-04-30", "2018-01-30"]}, "event_dates: .*first day is after the last"),
        ({"event_dates": ["1600-04-30", "2018-01-30"]}, "event_dates: .*days must lie between 1677"),
        ({"colour": "red"}, "colour"),
        ({"settings": {"quality": {"completeness": 1}}}, "quality"),
    ],
)
def test_a_broken_description_is_named_with_the_remedy(tmp_path: Path, changes: Any, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        _ = TapeSource(write_tape(tmp_path, **changes), Settings()).description


def test_what_is_no_tape_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no tape.*docs/tape-format.md"):
        TapeSource(tmp_path, Settings())
    (write_tape(tmp_path / "old") / "tape.json").write_bytes("Böden".encode("latin-1"))
    with pytest.raises(SourceError, match=r"tape.json is not in UTF-8.*Remedy"):
        TapeSource(tmp_path / "old", Settings())
    (write_tape(tmp_path) / "earnings.parquet").write_bytes(b"rubbish")
    with pytest.raises(SourceError, match="no readable Parquet"):
        TapeSource(tmp_path, Settings()).read("earnings", Quarter(2018, 1))


def test_an_empty_tape_says_that_there_is_nothing_to_predict(tmp_path: Path) -> None:
    write_tape(tmp_path)
    pd.read_parquet(tmp_path / "earnings.parquet").iloc[:0].to_parquet(tmp_path / "earnings.parquet")
    with pytest.raises(SourceError, match="no announcements"):
        TapeSource(tmp_path, Settings())


def test_another_universe_than_the_tape_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="extended940"):
        TapeSource(write_tape(tmp_path), Settings(universe="extended940"))


def test_dates_of_a_wrong_type_are_refused(tmp_path: Path) -> None:
    write_tape(tmp_path)
    earnings = pd.read_parquet(tmp_path / "earnings.parquet")
    earnings.assign(announced_on=earnings["announced_on"].astype(str)).to_parquet(tmp_path / "earnings.parquet")
    with pytest.raises(TableError, match="`announced_on` has type"):
        TapeSource(tmp_path, Settings()).read("earnings", Quarter(2018, 2))


def test_a_row_without_a_date_does_not_slip_through(tmp_path: Path) -> None:
    write_tape(tmp_path)
    earnings = pd.read_parquet(tmp_path / "earnings.parquet")
    earnings.loc[3, "announced_on"] = pd.NaT
    earnings.to_parquet(tmp_path / "earnings.parquet")
    with pytest.raises(TableError, match="`announced_on` is missing"):
        TapeSource(tmp_path, Settings()).read("earnings", Quarter(2018, 1))


@pytest.mark.parametrize("name", list(TABLES))
def test_the_documentation_describes_every_table_and_column(name: str) -> None:
    section = (DOCS / "tape-format.md").read_text().split(f"### {name}\n")[1].split("###")[0]
    for column, kind in TABLES[name].schema.items():
        shown = f"**{column}**" if column == TABLES[name].date else column
        assert f"| {shown} | {kind.dtype.type} | {'yes' if kind.nullable else 'no'} |" in section


def test_the_real_tapes_pass_the_door(sp500: Path, sp500_recent: Path) -> None:
    for folder in (sp500, sp500_recent):
        source = TapeSource(folder, Settings())
        for table in set(source.description.tables) - {"universe"}:
            read = sum(len(source.read(table, quarter)) for quarter in source.description.quarters)
            assert read == len(pd.read_parquet(folder / f"{table}.parquet", columns=["available_at"]))
