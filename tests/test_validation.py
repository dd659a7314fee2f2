import numpy as np
import pandas as pd
import pytest

from earlysignal_core.errors import TableError
from earlysignal_core.tables import KNOWABLE, ROW_ID, TABLES, fiscal_quarter, own_date
from earlysignal_core.validation import checked


def bars() -> pd.DataFrame:
    days = pd.to_datetime(["2018-01-03", "2018-01-02", "2018-01-02"])
    return pd.DataFrame(
        {
            "symbol": pd.Series(["A", "A", "B"], dtype="str"),
            "session": days,
            "open": [1.0, np.nan, 3.0],
            "high": [1.0, np.nan, 3.0],
            "low": [1.0, np.nan, 3.0],
            "close": [1.0, 2.0, 3.0],
            "volume": pd.Series([10, None, 30], dtype="Int64"),
            KNOWABLE: (days + pd.Timedelta(hours=21)).tz_localize("UTC"),
        }
    )


def test_rows_come_out_typed_and_sorted_and_unknown_columns_stay_behind() -> None:
    out = checked("ohlcv", bars().assign(mood="good"))
    assert list(out.columns) == TABLES["ohlcv"].column_names
    assert out["session"].is_monotonic_increasing is False  # by symbol first
    assert out[["symbol", "close"]].to_numpy().tolist() == [["A", 2.0], ["A", 1.0], ["B", 3.0]]
    assert out["volume"].dtype == "float64"


def test_the_order_of_rows_does_not_matter() -> None:
    pd.testing.assert_frame_equal(checked("ohlcv", bars()), checked("ohlcv", bars().iloc[::-1]))


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("close", 0.0, "`close` is not a positive number"),
        ("close", -1.0, "`close` is not a positive number"),
        ("close", np.inf, "`close` is not a positive number"),
        ("close", np.nan, "`close` is missing"),
        ("open", np.inf, "`open` is not a positive number"),
        ("volume", -5.0, "`volume` is negative"),
        ("symbol", None, "`symbol` is missing"),
        ("session", pd.NaT, "`session` is missing"),
        (KNOWABLE, pd.NaT, "`available_at` is missing"),
    ],
)
def test_a_broken_value_is_refused_with_table_row_and_remedy(column: str, value: object, complaint: str) -> None:
    broken = bars()
    if column == "volume":
        broken[column] = broken[column].astype("float64")
    broken.loc[1, column] = value
    with pytest.raises(TableError, match=complaint) as error:
        checked("ohlcv", broken, "2018-Q1")
    assert "table `ohlcv`, partition 2018-Q1, row 1" in str(error.value)
    assert "Remedy: " in str(error.value)


def test_a_duplicate_key_is_refused() -> None:
    twice = pd.concat([bars(), bars().iloc[[2]]])
    with pytest.raises(TableError, match=r"2 rows share a key \(symbol, session\)"):
        checked("ohlcv", twice)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("close", ["1", "2", "3"]),
        ("session", ["2018-01-03", "2018-01-02", "2018-01-02"]),
        ("session", [1, 2, 3]),
        (KNOWABLE, bars()[KNOWABLE].dt.tz_localize(None)),
        ("symbol", [1, 2, 3]),
    ],
)
def test_a_wrong_type_is_refused(column: str, values: object) -> None:
    with pytest.raises(TableError, match=f"column `{column}` has type"):
        checked("ohlcv", bars().assign(**{column: values}))


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(TableError, match=r"lacks the column\(s\) close, available_at"):
        checked("ohlcv", bars().drop(columns=["close", KNOWABLE]))


def test_a_row_cannot_be_known_before_it_happened() -> None:
    early = bars().assign(**{KNOWABLE: bars()[KNOWABLE] - pd.Timedelta(days=2)})
    with pytest.raises(TableError, match="known before it happened"):
        checked("ohlcv", early)


def test_the_universe_needs_no_available_at() -> None:
    universe = pd.DataFrame({"symbol": ["A"], "name": [None], "sector": [None], "sector_etf": [None]})
    assert len(checked("universe", universe.assign(first=pd.NaT, last=pd.NaT))) == 1


def test_rows_without_a_natural_key_get_a_hash_and_equal_ones_an_ordinal() -> None:
    known = pd.Timestamp("2018-02-03", tz="UTC")
    trade = {
        "symbol": "A",
        "form": "4",
        "transaction_date": pd.Timestamp("2018-02-01"),
        "code": "P",
        "shares": 10.0,
        "price": 5.0,
        "owner": "X",
        KNOWABLE: known,
    }
    out = checked("sec_filings", pd.DataFrame([trade, trade, {**trade, "shares": 11.0}]))
    assert out["planned"].isna().all(), "a column that older tapes do not have"
    assert out[ROW_ID].is_unique
    assert sorted(row.split("-")[1] for row in out[ROW_ID]) == ["0", "0", "1"]
    report = pd.DataFrame([{**trade, "form": "10-Q", "transaction_date": pd.NaT, KNOWABLE: known}])
    assert own_date(TABLES["sec_filings"], report)[0] == pd.Timestamp("2018-02-02")  # New York


@pytest.mark.parametrize("name", list(TABLES))
def test_an_empty_table_keeps_its_columns_and_types(name: str) -> None:
    out = checked(name, pd.DataFrame(columns=TABLES[name].column_names))
    assert out.empty
    for column, kind in TABLES[name].schema.items():
        assert out[column].dtype == kind.dtype.type


def test_fiscal_quarters_are_counted_from_either_notation_and_fall_back_to_the_date() -> None:
    periods = pd.Series(["14-Mar", "14-Jun", "15-Jan", "Q3 2023", None], dtype="str")
    announced = pd.Series(pd.to_datetime(["2014-04-20", "2014-07-20", "2015-02-20", "2023-08-15", "2018-07-20"]))
    assert fiscal_quarter(periods, announced).tolist() == [
        2014 * 4,
        2014 * 4 + 1,
        2015 * 4,
        2023 * 4 + 2,
        2018 * 4 + 1,
    ]
