"""One lost or damaged file in a model's folder: what needs it says so, somebody is told, and the day goes on."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dagster import AssetCheckSeverity
from ledgers import decision, empty
from living import ONE_DAY, SMALL, begun, decide_on, live_day, moment, nothing_scored, retrain, served
from production import CHAMPION, PREVIOUS

from earlysignal_assets import limits
from earlysignal_core import daily, operations
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger import alerts, days, decisions, deployments
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import FOLDER, METADATA
from earlysignal_core.monitoring import announcements
from earlysignal_core.monitoring.daily_records import DRIFT, METRICS, page_of
from earlysignal_core.monitoring.day_record import DayRecord
from earlysignal_core.production import Hour, Production

MONDAY, TUESDAY = pd.Timestamp("2015-10-19"), pd.Timestamp("2015-10-20")
GONE, JUNK = None, b"{"


class _Said:
    statistic = 0.123


def _another(*_: object, **__: object) -> _Said:
    return _Said()


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("new version")


def harm(production: Production, version: str, name: str, content: bytes | None) -> Production:
    """Remove a file of a model, or put something else in its place; nothing of it is remembered."""
    path = Path(production.lake.url) / FOLDER / version / name
    path.unlink() if content is None else path.write_bytes(content)
    return forgotten(production)


def lose(production: Production, version: str) -> Production:
    """Remove a model's folder."""
    shutil.rmtree(Path(production.lake.url) / FOLDER / version)
    return forgotten(production)


def forgotten(production: Production) -> Production:
    return Production(RememberingLake(production.lake.url), production.ledger, production.settings)


def finished_until(production: Production, day: pd.Timestamp) -> None:
    days.finish_day(production.ledger, day, Hour.DECIDE.of(day))


def table_of(production: Production, day: pd.Timestamp) -> pd.DataFrame:
    path = Path(production.lake.url) / f"monitoring/{METRICS}/{day:%Y-%m-%d}/served.parquet"
    return pd.read_parquet(path).set_index("figure")


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_former_champion_knew_of_itself(
    production_lake: Lake, tmp_path: Path, ledger: Ledger, whole: bool
) -> None:
    production = begun(production_lake, tmp_path, ledger)
    served(production, "2015-09-15", "2015-10-19")
    finished_until(production, MONDAY)
    harmed = lose(production, CHAMPION) if whole else harm(production, CHAMPION, METADATA, JUNK)
    live_day(TUESDAY, harmed)
    assert days.last_finished(ledger) == TUESDAY
    champion = deployments.champion(ledger)
    assert champion is not None
    assert champion.version == PREVIOUS
    shown = table_of(harmed, TUESDAY)["value"]
    assert np.isnan(shown["brier_skill"]), "nobody knows the base rate that it was trained on"
    assert shown[["accuracy", "brier", "base_rate"]].notna().all()


@pytest.mark.parametrize("content", [GONE, JUNK])
def test_the_forward_scores_of_a_challenger(
    production_lake: Lake, tmp_path: Path, ledger: Ledger, content: bytes | None
) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION)
    deployments.shadow(ledger, PREVIOUS, decision(DecisionKind.SHADOW, moment("2015-10-10"), figures={}))
    if content is not None:
        production.lake.write_bytes(f"forward/{PREVIOUS}.parquet", content)
    decide_on(f"{MONDAY:%Y-%m-%d}", production)
    assert days.last_finished(ledger) == MONDAY
    (found,) = decisions.read(ledger, kind=DecisionKind.UNDECIDED).to_dict("records")
    assert (found["subject"], found["rule"]) == (PREVIOUS, "cannot be judged")
    assert f"forward/{PREVIOUS}.parquet" in found["cause"]
    assert "Remedy" in found["cause"]
    told = alerts.read(ledger).set_index("key").loc[f"undecided:{PREVIOUS}"]
    assert f"forward/{PREVIOUS}.parquet" in told["body"]
    assert [each.version for each in deployments.challengers(ledger)] == [PREVIOUS]


def test_a_lost_champion_leaves_its_challenger_undecided(production_lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION)
    deployments.shadow(ledger, PREVIOUS, decision(DecisionKind.SHADOW, moment("2015-10-10"), figures={}))
    production.lake.write_bytes(f"forward/{PREVIOUS}.parquet", nothing_scored(production.lake))
    decide_on(f"{MONDAY:%Y-%m-%d}", lose(production, CHAMPION))
    assert days.last_finished(ledger) == MONDAY
    (found,) = decisions.read(ledger, kind=DecisionKind.UNDECIDED).to_dict("records")
    assert f"no finished model {CHAMPION}" in found["cause"]


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("whole", [True, False])
def test_a_lost_champion_does_not_keep_its_successor_out(
    production_lake: Lake, tmp_path: Path, ledger: Ledger, whole: bool, is_frozen: bool
) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION)
    decide_on("2015-10-20", production)
    harmed = lose(production, CHAMPION) if whole else harm(production, CHAMPION, "model.txt", JUNK)
    operations.ask_for_retrain(ledger, harmed.lake, Hour.CHALLENGE.of(TUESDAY), reason="x", by="x")
    if is_frozen:
        operations.freeze(ledger, moment("2015-10-20 06:30"), reason="x", by="x")
    kind = retrain(harmed)
    champion, last = deployments.champion(ledger), decisions.read(ledger).iloc[-1]
    assert champion is not None
    if is_frozen:
        assert (kind, champion.version) == (DecisionKind.UNDECIDED, CHAMPION)
        assert [each.version for each in deployments.challengers(ledger)] == ["v2015.1020.0"]
        assert "promotions are stopped; otherwise it would serve" in last["cause"]
    else:
        assert (kind, champion.version) == (DecisionKind.PROMOTION, "v2015.1020.0")
        assert deployments.challengers(ledger) == []
        assert f"{CHAMPION} cannot be loaded" in last["cause"]
    assert last["rule"] == "champion lost"


@pytest.mark.parametrize("content", [GONE, JUNK])
def test_what_a_champion_was_trained_on(
    production_lake: Lake, tmp_path: Path, ledger: Ledger, content: bytes | None
) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION)
    served(production, "2015-09-15", "2015-10-19")
    finished_until(production, MONDAY)
    harmed = harm(production, CHAMPION, "reference.parquet", content)
    live_day(TUESDAY, harmed)
    assert days.last_finished(ledger) == TUESDAY
    path = f"{FOLDER}/{CHAMPION}/reference.parquet"
    drift, metrics = (DayRecord.load(harmed.lake, monitor, TUESDAY) for monitor in (DRIFT, METRICS))
    for record in (drift, metrics):
        (row,) = record.of_kind("measured").to_dict("records")
        assert row["effective"]
        assert path in row["reason"]
        assert "Remedy: train a new model, or promote another" in row["reason"]
    assert drift.figures == {"measured": 0.0}
    assert np.isnan(metrics.figures["newcomers"])
    assert metrics.figures["labelled"] > 0, "what needs no reference is measured"
    raised = alerts.read(ledger).set_index("key")
    for monitor in (DRIFT, METRICS):
        assert raised.loc[f"{monitor}:measured", "severity"] == "critical"
        assert path in raised.loc[f"{monitor}:measured", "body"]


@pytest.mark.parametrize("content", [JUNK, b"[]", b'{"usual_psi": "x"}', b"\xff"])
@pytest.mark.parametrize("name", ["usual_psi.json", "importance_shap.json"])
def test_what_is_counted_over_the_training_rows_is_counted_anew(
    production_lake: Lake, tmp_path: Path, ledger: Ledger, name: str, content: bytes
) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION, settings=SMALL)
    daily.detect_drift(MONDAY, production, page=False)
    daily.measure(MONDAY, production)
    path = f"{FOLDER}/{CHAMPION}/{name}"
    kept = production.lake.read_bytes(path)
    harmed = harm(production, CHAMPION, name, content)
    daily.detect_drift(MONDAY + ONE_DAY, harmed, page=False)
    daily.measure(MONDAY + ONE_DAY, harmed)
    assert harmed.lake.read_bytes(path) == kept


# Evidently's page


def test_a_page_that_fails_is_told_and_the_figures_are_ours(
    production_lake: Lake, tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    production, day = begun(production_lake, tmp_path, ledger, CHAMPION), pd.Timestamp("2015-11-03")
    served(production, "2015-09-15", "2015-11-02")
    sound = daily.detect_drift(day, production, page=True)
    assert production.lake.exists(page_of(day))
    assert sound.of_kind("evidently_agrees").empty
    page, found = production.lake.read_bytes(page_of(day)), []
    for name, replacement, told in (
        ("earlysignal_core.monitoring.drift_report.ks_2samp", _another, "disagrees with our figures: it says 0.123"),
        ("evidently.Report.run", _broken, "could not be drawn: RuntimeError: new version"),
    ):
        production.lake.write_bytes(page_of(day), page)
        with monkeypatch.context() as patched:
            patched.setattr(name, replacement)
            found.append((daily.detect_drift(day, production, page=True), told))
        assert not production.lake.exists(page_of(day))
    for record, told in found:
        np.testing.assert_equal(record.figures, sound.figures | {"evidently_agrees": 0.0})
        by_name = {check.check_name: check for check in limits.results(DRIFT, record, limits.DRIFT_CHECKS)}
        assert not by_name["evidently_agrees"].passed
        assert by_name["evidently_agrees"].severity is AssetCheckSeverity.ERROR
        assert told in str(by_name["evidently_agrees"].description)
        empty(ledger)
        announcements.of_limits(ledger, record, None, Hour.DECIDE.of(day))
        raised = alerts.read(ledger).set_index("key").loc[f"{DRIFT}:evidently_agrees"]
        assert (raised["severity"], raised["title"]) == ("critical", "Evidently's page disagrees with our figures")
        assert told in raised["body"]


def test_what_has_moved_stands_among_the_figures_with_what_it_was_counted_on(
    production_lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(production_lake, tmp_path, ledger, CHAMPION)
    served(production, "2015-09-15", "2015-10-19")
    daily.detect_drift(TUESDAY, production, page=False)
    figures = daily.measure(TUESDAY, production).figures
    shown = table_of(production, TUESDAY)
    looked_at, inputs = shown.loc["importance_drift"], shown.loc["distribution_drift"]
    assert looked_at["reason"] or looked_at["low"] < looked_at["high"], "an interval, or why there is none"
    assert looked_at["value"] == figures["importance_drift"]
    assert looked_at["n"] > 5
    assert inputs["value"] == figures["distribution_drift"]
    assert inputs["n"] == DayRecord.load(production.lake, DRIFT, TUESDAY).figures["features_compared"] > 5
    assert np.isnan(inputs["low"])
    assert inputs["reason"]
    assert set(shown.loc[["importance_drift", "distribution_drift"], "base_is"]) == {"the training rows"}
