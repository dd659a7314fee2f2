"""What the UI shows in place is not wider than its place, and what is wider has a dialog."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import NOW

from earlysignal_assets.describe import alerts_shown, decisions_shown, listed, numbers, shown

DIALOG = 1000  # Dagster shows a shorter text in place


def test_a_narrow_table_is_shown_in_place() -> None:
    frame = pd.DataFrame({"symbol": ["AAPL", "A|B"], "probability": [0.123456, np.nan], "selected": [True, False]})
    frame["announced"] = pd.Timestamp("2018-02-05")
    assert shown(frame).value.splitlines() == [
        "| symbol | probability | selected | announced |",
        "| --- | --- | --- | --- |",
        "| AAPL | 0.1235 | yes | 2018-02-05 |",
        "| A\\|B | – | no | 2018-02-05 |",
    ]


def test_large_numbers_are_written_out() -> None:
    assert shown(pd.DataFrame({"rows": [10_058.0], "value": [1234.5]})).value.endswith("| 10,058 | 1,234 |")


def test_what_is_left_out_is_counted() -> None:
    assert shown(pd.DataFrame({"n": range(5)}), 3).value.endswith("| 2 |\n\n2 more")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({f"column_{number}": [1.0] for number in range(9)}),
        pd.DataFrame({"reason": ["earnings_surprise_x_price_momentum_and_so_on_and_so_forth"]}),
        pd.DataFrame(columns=["symbol", "announced_on", "predicted_probability", "confidence_level", "model"]),
    ],
)
def test_a_table_that_would_be_cut_off_is_long_enough_for_a_dialog(frame: pd.DataFrame) -> None:
    text = shown(frame).value
    assert len(text) >= DIALOG
    assert set(text.splitlines()[1]) == set("|- ")
    assert text.splitlines()[1].count("|") == frame.shape[1] + 1


def test_long_text_wraps_and_needs_no_dialog() -> None:
    assert len(shown(pd.DataFrame({"rule": ["psi"], "reason": ["so few differ by chance " * 20]})).value) < DIALOG


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_figure_keeps_four_digits_and_what_stands_before_the_point(value: float) -> None:
    plotted = numbers({"x": value})["x"].value
    assert plotted == pytest.approx(value, rel=5.1e-4, abs=0)
    assert plotted == value or abs(value) < 1e4 or abs(plotted - value) <= 0.5


def test_figures_that_are_undefined_are_left_out() -> None:
    assert {name: each.value for name, each in numbers({"a": np.nan, "b": 0.0, "c": 12345.0}).items()} == {
        "b": 0.0,
        "c": 12345.0,
    }


def test_a_decision_is_told_with_its_reason_its_rule_and_what_that_says_as_written() -> None:
    given_ = {
        "at": NOW,
        "kind": "undecided",
        "subject": "v2018.2.0",
        "cause": "n_events < 200",
        "decided_by": "rule table",
    }
    by_rule = {**given_, "rule": "a little better", "raw": "ab_test_14_days", "effective": "undecided"}
    by_hand = {**given_, "kind": "freeze", "subject": None, "rule": None, "raw": None, "effective": None}
    assert decisions_shown(pd.DataFrame([by_rule, by_hand])).value.splitlines() == [
        (
            "* 2018-07-03 03:00 **undecided** v2018.2.0: n\\_events \\< 200 (rule *a little better*; as written, "
            "without its guards: ab_test_14_days)"
        ),
        "* 2018-07-03 03:00 **freeze**: n\\_events \\< 200 (by rule table)",
    ]
    assert decisions_shown(pd.DataFrame()).value == "nothing"


def test_alerts_are_told_the_newest_first_and_whether_they_were_delivered() -> None:
    rows = [
        {"at": NOW, "severity": "info", "title": "Retrain", "body": "why", "sent_at": pd.NaT},
        {"at": NOW + pd.Timedelta(days=1), "severity": "critical", "title": "Lost", "body": "why", "sent_at": NOW},
    ]
    assert alerts_shown(pd.DataFrame(rows)).value.splitlines() == [
        "* 2018-07-04 03:00 **critical: Lost** why (delivered)",
        "* 2018-07-03 03:00 **info: Retrain** why (not delivered)",
    ]
    assert listed([], "none").value == "none"
