"""Labels: exact ties, estimates of 0, and announcements that come twice."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from earlysignal_core.datasets.labels import build_labels, first_of_each_event
from earlysignal_core.features.surprise import is_large_beat, surprise_percent

DAY = pd.Timestamp("2016-04-26")


def earnings(*rows: dict[str, Any]) -> pd.DataFrame:
    first = {
        "symbol": "AAA",
        "announced_on": DAY,
        "session": "amc",
        "fiscal_period": "16-Mar",
        "eps_estimate": 1.0,
        "eps_actual": 1.5,
        "available_at": pd.Timestamp("2016-04-26 20:15", tz="UTC"),
    }
    return pd.DataFrame([{**first, **row} for row in rows]).astype({"symbol": "str", "fiscal_period": "str"})


cents = st.integers(-2000, 2000).map(lambda n: Decimal(n) / 100)


@given(cents, cents)
def test_decides_as_decimal_arithmetic_does(actual: Decimal, estimate: Decimal) -> None:
    exact = actual - estimate > abs(estimate) / 5
    assert is_large_beat([float(actual)], [float(estimate)])[0] == exact


def test_a_tie_is_no_beat_though_floating_point_says_so() -> None:
    assert 0.42 - 0.35 > 0.2 * 0.35
    assert not is_large_beat([0.42], [0.35])[0]
    assert is_large_beat([0.4201], [0.35])[0]


def test_a_loss_smaller_by_a_fifth_is_a_tie() -> None:
    assert is_large_beat([-0.80, -0.79], [-1.0, -1.0]).tolist() == [False, True]


def test_an_estimate_of_zero_gives_no_label() -> None:
    labels = build_labels(earnings({"eps_estimate": 0.0}, {"symbol": "BBB", "eps_actual": np.nan}))
    assert labels["surprise"].isna().all()
    assert labels["label"].isna().all()


def test_surprise_is_in_percent_of_the_size_of_the_estimate() -> None:
    np.testing.assert_allclose(surprise_percent([-0.5, 1.1], [-1.0, 1.0]), [50.0, 10.0])


def test_the_first_announcement_of_an_event_holds() -> None:
    again = {"announced_on": DAY + pd.Timedelta(days=30), "eps_actual": 0.5}
    again["available_at"] = pd.Timestamp("2016-05-26 20:15", tz="UTC")
    labels = build_labels(earnings(again, {}))
    assert labels["label"].tolist() == [1.0]
    assert labels["announced_on"].tolist() == [DAY]


def test_a_moved_date_without_figures_gives_way() -> None:
    moved = {"announced_on": DAY - pd.Timedelta(days=30), "eps_actual": np.nan}
    moved["available_at"] = pd.Timestamp("2016-03-27 20:15", tz="UTC")
    by_quarter = [build_labels(earnings(row)) for row in (moved, {})]
    assert first_of_each_event(pd.concat(by_quarter, ignore_index=True))["announced_on"].tolist() == [DAY]


def test_an_event_without_a_period_is_named_by_its_date() -> None:
    assert build_labels(earnings({"fiscal_period": None}))["event"].tolist() == ["AAA:2016-04-26"]


def test_a_quarter_without_announcements_has_no_labels() -> None:
    assert build_labels(earnings({}).iloc[:0]).empty


def test_the_real_tape_has_ties_and_none_is_a_beat(sp500: Path) -> None:
    table = pd.read_parquet(sp500 / "earnings.parquet")
    labels = build_labels(table)
    assert len(labels) == len(table)
    ties = labels[(labels["surprise"] - 20).abs() < 1e-6]
    assert len(ties) > 20
    assert (ties["label"] == 0).all()
    assert labels["label"].isna().sum() == 12
    assert 0.09 < labels["label"].mean() < 0.11
