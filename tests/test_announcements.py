"""Whom a day concerns: each broken limit once a day, in words that say what to do."""

from dataclasses import replace

import pandas as pd
import pytest
from ledgers import DAY, NOW, decision, later

from earlysignal_core.ledger import alerts
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import request_retrain
from earlysignal_core.ledger.vocabulary import DecisionKind, Urgency
from earlysignal_core.monitoring import announcements, retrain_policy
from earlysignal_core.monitoring.action import Action, judge
from earlysignal_core.monitoring.daily_records import DRIFT, METRICS, QUALITY
from earlysignal_core.monitoring.day_record import DayRecord, verdict_rows
from earlysignal_core.monitoring.drift import FEATURES_RULE, PREDICTIONS_RULE
from earlysignal_core.monitoring.importance import TOP_FIVE_RULE
from earlysignal_core.monitoring.live_quality import CACHE_LIMITS, cache_rules
from earlysignal_core.monitoring.performance import CALIBRATION_RULE, LATENCY_RULE
from earlysignal_core.rules import Rule
from earlysignal_core.settings import ServingSettings

FRESHNESS = ServingSettings().freshness_days
FIGURES = {
    "psi": 0.4,
    "psi_above_chance": 0.1,
    "psi_above_usual": 0.1,
    "features_above_limit": 5.0,
    "features_drifted": 5.0,
    "brier": 0.4,
    "brier_lower": 0.3,
    "first_session_of_week": 1.0,
    "first_session_of_month": 1.0,
    "newcomers": 2.0,
    "newcomer_lead_lower": 0.1,
    "latency_ms": 900.0,
    "age_days": 99.0,
    "volume_share": 0.1,
    "rows_before": 99.0,
}


def record(monitor: str, *rules: Rule, day: pd.Timestamp = DAY, **changes: float) -> DayRecord:
    return DayRecord(monitor, day, FIGURES, verdict_rows(judge(rules, FIGURES | changes)))


@pytest.mark.parametrize(
    ("monitor", "rule", "severity", "title", "told"),
    [
        (METRICS, CALIBRATION_RULE, "warning", "Production metrics: calibration", "Review the features"),
        (METRICS, TOP_FIVE_RULE, "warning", "Production metrics: importance", "Investigate"),
        (METRICS, LATENCY_RULE, "warning", "Production metrics: latency", "Look at the machine"),
        (DRIFT, PREDICTIONS_RULE, "critical", "Drift report: prediction drift", "psi is 0.4"),
        (DRIFT, FEATURES_RULE, "warning", "Drift report: feature drift", "features_above_limit is 5"),
        (
            QUALITY,
            cache_rules("ohlcv", FRESHNESS)[0],
            "critical",
            "Live data quality: stale",
            "stale:ohlcv: age_days is 99",
        ),
        (QUALITY, cache_rules("ohlcv", FRESHNESS)[1], "warning", "Live data quality: volume", "volume:ohlcv"),
    ],
)
def test_a_broken_limit_is_told_with_what_to_do(
    ledger: Ledger, monitor: str, rule: Rule, severity: str, title: str, told: str
) -> None:
    announcements.of_limits(ledger, record(monitor, rule), None, NOW)
    (raised,) = alerts.read(ledger).to_dict("records")
    assert (raised["severity"], raised["title"], raised["day"], raised["at"]) == (severity, title, DAY, NOW)
    assert told in raised["body"]
    assert raised["rule"] == rule.name.split(":")[0]


def test_each_kind_is_told_once_a_day(ledger: Ledger) -> None:
    stale = [cache_rules(cache, FRESHNESS)[0] for cache in CACHE_LIMITS]
    broken = record(QUALITY, *stale, cache_rules("macro", FRESHNESS)[1])
    for _ in range(2):
        announcements.of_limits(ledger, broken, None, NOW)
    raised = alerts.read(ledger).set_index("key")
    assert sorted(raised.index) == ["live_data_quality:stale", "live_data_quality:volume"]
    body = raised.loc["live_data_quality:stale", "body"]
    assert body.count("stale:") == 5
    assert f"and {len(stale) - 5} more" in body


MACRO, BARS = (cache_rules(cache, FRESHNESS)[1] for cache in ("macro", "ohlcv"))


@pytest.mark.parametrize(
    ("today", "yesterday", "day", "told"),
    [
        (record(QUALITY, MACRO), record(QUALITY, MACRO), 1, False),
        (record(QUALITY, MACRO), record(QUALITY, MACRO), 6, False),
        (record(QUALITY, MACRO), record(QUALITY, MACRO), 7, True),
        (record(QUALITY, MACRO, volume_share=0.06), record(QUALITY, MACRO), 1, False),
        (record(QUALITY, MACRO, volume_share=0.04), record(QUALITY, MACRO), 1, True),  # much worse
        (record(QUALITY, MACRO), record(QUALITY, MACRO, volume_share=0.9), 2, True),  # broken anew
        (record(QUALITY, MACRO), None, 1, True),  # of another champion
        (record(QUALITY, MACRO, BARS), record(QUALITY, MACRO), 1, True),  # another cache too
        (record(QUALITY, MACRO, BARS), record(QUALITY, MACRO, BARS), 2, True),  # which was not told of
    ],
)
def test_a_warning_that_nothing_but_time_has_changed_is_repeated_after_a_week(
    ledger: Ledger, today: DayRecord, yesterday: DayRecord | None, day: int, told: bool
) -> None:
    announcements.of_limits(ledger, record(QUALITY, MACRO), None, NOW)
    today = replace(today, day=DAY + pd.Timedelta(days=day))
    announcements.of_limits(ledger, today, yesterday, later(day))
    assert len(alerts.read(ledger)) == 1 + told


def test_what_is_serious_is_told_every_day(ledger: Ledger) -> None:
    serious = record(DRIFT, PREDICTIONS_RULE)
    for day in range(3):
        announcements.of_limits(ledger, replace(serious, day=DAY + pd.Timedelta(days=day)), serious, later(day))
    assert len(alerts.read(ledger)) == 3


def test_what_is_held_back_is_not_told(ledger: Ledger) -> None:
    held = record(DRIFT, PREDICTIONS_RULE, FEATURES_RULE, psi_above_chance=-0.1, features_drifted=2.0)
    assert held.verdicts["raw"].all()
    announcements.of_limits(ledger, held, None, NOW)
    announcements.of_limits(ledger, DayRecord(DRIFT, DAY), None, NOW)
    assert alerts.read(ledger).empty


@pytest.mark.parametrize(
    ("figures", "severity", "title"),
    [
        (
            {"psi": 0.4, "psi_above_chance": 0.1, "psi_above_usual": 0.1},
            "critical",
            "Emergency retrain: prediction drift",
        ),
        ({"champions": 0.0}, "info", "Emergency retrain: first model"),
        ({"first_session_of_month": 1.0}, "info", "Retrain: monthly"),
    ],
)
def test_a_retrain_is_told_with_its_reason(
    ledger: Ledger, figures: dict[str, float], severity: str, title: str
) -> None:
    asked = {
        "running_retrains": 0.0,
        "open_requests": 0.0,
        "days_since_retrain": 99.0,
        "days_since_window_retrain": 99.0,
        "champions": 1.0,
    } | figures
    found = retrain_policy.decide(DAY, asked)
    request = retrain_policy.ask(ledger, DAY, found, asked, "sp500", NOW)
    announcements.of_decision(ledger, found, request, NOW)
    (raised,) = alerts.read(ledger).to_dict("records")
    assert (raised["severity"], raised["title"], raised["body"]) == (severity, title, found.reason)


def test_a_retrain_that_is_not_asked_for_is_not_told(ledger: Ledger) -> None:
    asked = {
        "psi": 0.4,
        "psi_above_chance": 0.1,
        "psi_above_usual": 0.1,
        "running_retrains": 0.0,
        "days_since_retrain": 99.0,
        "days_since_window_retrain": 99.0,
    }
    found = retrain_policy.decide(DAY, asked)
    request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN),
        day=DAY,
        cause="x",
        urgency=Urgency.EMERGENCY,
        universe="sp500",
        window_months=None,
    )
    request = retrain_policy.ask(ledger, DAY, found, asked, "sp500", NOW)
    assert request is None
    announcements.of_decision(ledger, found, request, NOW)
    assert alerts.read(ledger).empty


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (DecisionKind.PROMOTION, "v1.0.0 serves"),
        (DecisionKind.REFUSAL, "v1.0.0 is refused"),
        (DecisionKind.UNDECIDED, "v1.0.0 stays in shadow"),
        (DecisionKind.AB_TEST, "v1.0.0 is tested against the champion"),
    ],
)
def test_what_becomes_of_a_challenger_is_told(ledger: Ledger, kind: DecisionKind, title: str) -> None:
    announcements.of_challenger(ledger, "v1.0.0", kind, "so it is", NOW)
    (raised,) = alerts.read(ledger).to_dict("records")
    assert (raised["key"], raised["title"], raised["body"]) == (f"{kind}:v1.0.0", title, "so it is")


def test_a_retrain_without_a_model_and_a_lost_champion_are_told(ledger: Ledger) -> None:
    announcements.of_challenger(ledger, None, DecisionKind.REFUSAL, "too little history", NOW)
    announcements.of_lost_champion(ledger, "v1.0.0", NOW)
    raised = alerts.read(ledger)
    assert raised["title"].tolist() == ["No model yet", "v1.0.0 cannot be loaded"]
    assert raised["severity"].tolist() == ["info", "critical"]


def test_a_record_is_read_as_it_was_saved(tmp_path) -> None:
    from earlysignal_core.lake import Lake

    lake, written = Lake(str(tmp_path)), record(METRICS, CALIBRATION_RULE, LATENCY_RULE)
    odd = DayRecord(METRICS, DAY, written.figures | {"nan": float("nan"), "inf": float("inf")}, written.verdicts)
    odd.save(lake)
    read = DayRecord.load(lake, METRICS, DAY)
    pd.testing.assert_frame_equal(read.verdicts, odd.verdicts, check_dtype=False)
    assert pd.Series(read.figures).equals(pd.Series(odd.figures))
    assert read.fired["action"].tolist() == [str(Action.SCHEDULE), str(Action.ALERT)]
    assert DayRecord.load(lake, METRICS, DAY).of_kind("latency")["rule"].tolist() == ["latency"]
