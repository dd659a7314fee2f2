"""The retrain tree: its order, what holds it back, and what a line starts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlysignal_core.monitoring.documentation import renewed
from earlysignal_core.monitoring.retrain_policy import (
    LINES,
    Cause,
    When,
    calendar_figures,
    decide,
    season_end,
)

TUESDAY = pd.Timestamp("2018-05-15")
QUIET = {
    "first_session_of_month": 0.0,
    "first_session_of_week": 0.0,
    "season_due": 0.0,
    "accuracy": 0.9,
    "labelled": 300.0,
    "auc_less_champion": 0.01,
    "auc_less_champion_upper": 0.08,
    "brier_skill": 0.1,
    "brier_skill_upper": 0.2,
    "brier": 0.08,
    "brier_lower": 0.06,
    "psi": 0.05,
    "psi_above_chance": -0.15,
    "psi_above_usual": 0.05,
    "features_above_limit": 0.0,
    "features_drifted": 0.0,
    "newcomers": 0.0,
    "newcomer_lead_lower": np.nan,
    "running_retrains": 0.0,
    "open_requests": 0.0,
    "days_since_retrain": np.inf,
    "days_since_window_retrain": np.inf,
}
FIRES = {
    Cause.MONTHLY: {"first_session_of_month": 1},
    Cause.ACCURACY: {"accuracy": 0.7, "auc_less_champion": -0.2, "auc_less_champion_upper": -0.1},
    Cause.AUC: {"auc_less_champion": -0.2, "auc_less_champion_upper": -0.1},
    Cause.BRIER_SKILL: {"brier_skill": -0.2, "brier_skill_upper": -0.1},
    Cause.PREDICTION_DRIFT: {"psi": 0.4, "psi_above_chance": 0.1},
    Cause.FEATURE_DRIFT: {"features_above_limit": 5, "features_drifted": 3},
    Cause.SEASON: {"season_due": 1},
    Cause.CALIBRATION: {"brier": 0.3, "brier_lower": 0.26, "first_session_of_week": 1},
    Cause.IMPORTANCE: {"newcomers": 1, "newcomer_lead_lower": 0.01, "first_session_of_month": 1},
}


def decided(*changes, day=TUESDAY, strict=False):
    figures = dict(QUIET)
    for change in changes:
        figures |= change
    return decide(day, figures, strict=strict)


def test_a_quiet_day():
    decision = decided()
    assert decision.raw is decision.effective is decision.due is None
    assert decision.reason == "no rule fires"
    assert len(decision.verdicts) == len(LINES)


@pytest.mark.parametrize("cause", [cause for cause in FIRES if cause is not Cause.IMPORTANCE])
def test_each_line_fires_alone(cause):
    decision = decided(FIRES[cause])
    assert decision.effective.cause == cause
    assert cause in decision.reason


def test_the_lines_stand_in_the_strategys_order():
    strategys = [line.cause for line in LINES if line.of_the_strategy]
    assert strategys == [
        Cause.MONTHLY, Cause.ACCURACY, Cause.PREDICTION_DRIFT, Cause.FEATURE_DRIFT, Cause.SEASON,
    ]  # fmt: skip


@given(st.sets(st.sampled_from(list(FIRES)), min_size=1))
def test_the_first_line_that_fires_decides(causes):
    decision = decided(*(FIRES[cause] for cause in causes))
    acting = [line for line, verdict in zip(LINES, decision.verdicts, strict=True) if verdict.effective]
    assert decision.effective is acting[0]
    assert causes <= {line.cause for line in acting}


def test_when_and_with_which_window():
    found = {cause: decided(FIRES[cause]) for cause in FIRES}
    assert found[Cause.MONTHLY].due == TUESDAY
    assert found[Cause.MONTHLY].effective.window_months == 24
    assert found[Cause.PREDICTION_DRIFT].due == TUESDAY
    assert found[Cause.FEATURE_DRIFT].due == pd.Timestamp("2018-05-19")
    assert found[Cause.SEASON].due == pd.Timestamp("2018-05-19")
    assert found[Cause.SEASON].effective.window_months == 36
    assert When.WEEKEND.due(pd.Timestamp("2018-05-19")) == pd.Timestamp("2018-05-19")
    assert When.WEEKEND.due(pd.Timestamp("2018-05-20")) == pd.Timestamp("2018-05-26")


def test_noise_is_held_back_and_strict_lets_it_act():
    noise = {"psi": 0.4, "psi_above_chance": -0.2}
    assert decided(noise).effective is None
    assert decided(noise).raw.cause == Cause.PREDICTION_DRIFT
    assert "by chance" in decided(noise).reason
    assert decided(noise, strict=True).effective.cause == Cause.PREDICTION_DRIFT
    low = {"accuracy": 0.7, "labelled": 20.0}
    assert decided(low).effective is None
    assert decided(low, strict=True).effective.cause == Cause.ACCURACY


def test_strict_does_not_unguard_our_own_lines():
    doubtful = {"auc_less_champion": -0.05, "brier_skill": -0.1}
    found = decided(doubtful, strict=True)
    assert found.effective is None
    assert [line.split()[0] for line in found.reason.splitlines()] == ["auc_less_champion", "brier_skill"]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("cause", [Cause.PREDICTION_DRIFT, Cause.FEATURE_DRIFT, Cause.SEASON])
@pytest.mark.parametrize("busy", [{"running_retrains": 1, "open_requests": 1}, {"days_since_retrain": 3}])
def test_one_retrain_at_a_time_and_a_cool_down_even_when_strict(cause, busy, strict):
    decision = decided(FIRES[cause], busy, strict=strict)
    assert decision.effective is None
    assert decision.raw.cause == cause


@pytest.mark.parametrize("cause", [Cause.FEATURE_DRIFT, Cause.CALIBRATION])
def test_what_is_seen_in_a_window_waits_for_a_new_one(cause):
    assert decided(FIRES[cause], {"days_since_window_retrain": 29.0}).effective is None
    assert decided(FIRES[cause], {"days_since_window_retrain": 30.0}).effective.cause == cause


def test_an_emergency_does_not_wait_for_a_scheduled_one():
    waiting = {"open_requests": 1.0}
    assert decided(FIRES[Cause.FEATURE_DRIFT], waiting).effective is None
    assert decided(FIRES[Cause.PREDICTION_DRIFT], waiting).effective.cause == Cause.PREDICTION_DRIFT


def test_a_missing_figure_neither_fires_nor_frees():
    assert decide(TUESDAY, {}).effective is None
    unknown = {name: value for name, value in QUIET.items() if name != "days_since_retrain"}
    assert decide(TUESDAY, unknown | FIRES[Cause.PREDICTION_DRIFT]).effective is None


@pytest.mark.parametrize(
    ("day", "month", "week"),
    [
        ("2018-05-01", 1, 0),
        ("2018-05-02", 0, 0),
        ("2018-09-01", 0, 0),  # a Saturday
        ("2018-09-03", 0, 0),  # Labor Day
        ("2018-09-04", 1, 1),
        ("2018-05-14", 0, 1),
    ],
)
def test_first_sessions(day, month, week):
    figures = calendar_figures(pd.Timestamp(day), None, None)
    assert (figures["first_session_of_month"], figures["first_session_of_week"]) == (month, week)


def test_a_season_is_due_a_week_after_its_end_until_it_was_asked_for():
    ended = pd.Timestamp("2018-05-10")

    def due(day, asked=None):
        return calendar_figures(pd.Timestamp(day), ended, asked)["season_due"]

    assert due("2018-05-16") == 0
    assert due("2018-05-17") == due("2018-05-30") == 1
    assert due("2018-05-30", pd.Timestamp("2018-02-20")) == 1
    assert due("2018-05-30", pd.Timestamp("2018-05-17")) == 0
    assert calendar_figures(pd.Timestamp("2018-05-17"), None, None)["season_due"] == 0


def test_a_season_ends_with_nine_in_ten():
    days = pd.Series(pd.date_range("2018-04-01", periods=20))
    assert season_end(days) == days[17]
    assert season_end(days.where(days.index < 18)) == days[17]
    assert season_end(days.where(days.index < 17)) is None
    assert season_end(days.iloc[:0]) is None


def test_the_documentation_holds_every_rule():
    page = (Path(__file__).parents[1] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert renewed(page) == page, "run python -m earlysignal_core.monitoring.documentation docs/monitoring.md"
