"""The main job, as a user starts it: every quarter as real Dagster runs, the same bytes whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from rich.console import Console
from running import command, digests, environment, run, workspace
from system import wait_for

from earlysignal_assets.postgres import ensure_database, server
from earlysignal_assets.tables_shown import print_walk_forward
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import versions
from earlysignal_core.quarters import Quarter

pytestmark = pytest.mark.slow
FIRST, LAST = Quarter.parse("2014-Q1"), Quarter.parse("2015-Q4")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a demo that nobody disturbed."""
    home = tmp_path_factory.mktemp("undisturbed")
    done = run(home, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    return home


def test_the_demo_prints_the_walk_forward_and_writes_its_figures(undisturbed: Path) -> None:
    summary = json.loads((workspace(undisturbed) / "summary.json").read_text())
    assert [q["quarter"] for q in summary["quarters"]] == ["2015-Q1", "2015-Q2", "2015-Q3", "2015-Q4"]
    for figures in (summary, *summary["quarters"]):
        assert figures["n"] > 0
        assert figures["auc_low"] <= figures["auc"] <= figures["auc_high"]
        assert figures["brier_base_rate"] > 0
    assert set(summary["baselines"]) == {"never", "large_beat_rate_8q", "last_surprise_over_15", "logistic_history"}
    assert summary["n"] == sum(q["n"] for q in summary["quarters"])
    assert {"collect", "quarter", "report"} <= set(summary["seconds"])
    assert "<html" in (workspace(undisturbed) / "lake" / "reports" / "walk-forward.html").read_text()[:500]


def test_what_it_prints_tells_apart_which_company_and_when(undisturbed: Path) -> None:
    summary, console = (
        json.loads((workspace(undisturbed) / "summary.json").read_text()),
        Console(record=True, width=300),
    )
    print_walk_forward(console, summary)
    printed = console.export_text()
    value, low, high = (summary[f"auc_within_company{bound}"] for bound in ("", "_low", "_high"))
    n = summary["auc_within_company_n"]
    assert f"All: AUC within one company {value:.3f} ({low:.3f} to {high:.3f}, n = {n:,.0f}), of up against" in printed
    assert "From 2017-Q1: AUC within one company cannot be told" in printed, "this demo ends before"


def test_every_model_has_a_card_with_its_figures_and_the_defects_of_the_data(undisturbed: Path) -> None:
    lake = Lake(str(workspace(undisturbed) / "lake"))
    cards = {version: lake.read_bytes(f"reports/models/{version}.html").decode() for version in versions(lake)}
    assert len(cards) == 4
    for page in cards.values():
        assert "By sector" in page
        assert "not judged yet" not in page
        assert "have not been audited" not in page


def test_no_model_learns_from_what_was_not_known(undisturbed: Path) -> None:
    lake = Lake(str(workspace(undisturbed) / "lake"))
    for quarter in Quarter.range(FIRST + 4, LAST):
        dataset = lake.read("dataset", [quarter])
        predictions = lake.read("predictions", [quarter])
        assert len(dataset) > 100
        assert dataset["label_available_at"].max() < predictions["as_of"].min()
        assert set(dataset["event"]).isdisjoint(predictions["event"])


def test_the_runs_stand_in_the_instance_that_the_ui_shows(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_of(undisturbed, monkeypatch) as instance:
        runs = instance.get_runs()
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        assert sum(run.job_name == "quarter" for run in runs) == 8  # a run for each quarter with announcements
        made = instance.get_materialized_partitions(dg.AssetKey("evaluation"))
        assert {Quarter.parse(key) for key in made} == set(Quarter.range(FIRST, LAST))
        made = instance.get_materialized_partitions(dg.AssetKey("ohlcv"))
        assert {Quarter.parse(key) for key in made} == set(Quarter.range(FIRST - 5, LAST + 1))


@contextmanager
def instance_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    folder = workspace(home)
    with server(home) as url:
        database = f"dagster_{folder.name}".replace("-", "_")
        monkeypatch.setenv("EARLYSIGNAL_DAGSTER_URL", ensure_database(url, database))
        monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        with dg.DagsterInstance.get() as instance:
            yield instance


def test_the_members_of_all_quarters_are_fitted_in_one_run(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = workspace(undisturbed) / "lake"
    before = digests(lake)
    shutil.rmtree(lake / "models" / "members")
    assert run(undisturbed, "backfill", "--select", "base_models").returncode == 0
    assert digests(lake) == before
    with instance_of(undisturbed, monkeypatch) as instance:
        (newest,) = instance.get_runs(limit=1)
        records = instance.get_records_for_run(newest.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
        assert {Quarter.parse(record.partition_key) for record in records} == set(Quarter.range(FIRST, LAST))
        metadata = {record.partition_key: record.event_log_entry.asset_materialization.metadata for record in records}
        assert "no model yet" in metadata["2014-01"]
        assert metadata["2015-10"]["members fitted"].value == 1


def test_the_same_demo_again_changes_no_byte_and_makes_no_second_model(undisturbed: Path) -> None:
    lake = workspace(undisturbed) / "lake"
    before, models = digests(lake), versions(Lake(str(lake)))
    assert models == ["v2015.1.0", "v2015.2.0", "v2015.3.0", "v2015.4.0"]
    assert run(undisturbed, "backfill", "--from", "2015-Q3", "--to", "2015-Q4").returncode == 0
    assert digests(lake) == before


def test_figures_under_an_assumption_do_not_mix_with_those_without(undisturbed: Path) -> None:
    before = set(undisturbed.glob("*/lake"))
    chosen = {"EARLYSIGNAL_LEAVE_OUT_MISMATCHED": "true"}
    assert run(undisturbed, "backfill", "--select", "universe", **chosen).returncode == 0
    (other,) = set(undisturbed.glob("*/lake")) - before
    assert not (other / "evaluation").exists()
    shutil.rmtree(other.parent)


def test_a_backfill_refuses_what_days_have(tmp_path: Path) -> None:
    refused = run(tmp_path, "backfill", "--select", "predictions")
    assert refused.returncode == 1
    assert "no asset predictions. Remedy: choose among universe" in " ".join(refused.stdout.split())


def test_a_search_for_features_is_made_where_it_is_asked_for(undisturbed: Path) -> None:
    done = run(undisturbed, "backfill", "--from", "2015-Q4", "--to", "2015-Q4", "--select", "feature_selection")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done: prune" in done.stdout


def test_a_backfill_of_late_quarters_brings_the_history_that_they_need(undisturbed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "backfill", "--from", "2015-Q3", "--to", "2015-Q3").returncode == 0
    ours, whole = (digests(workspace(home) / "lake") for home in (tmp_path, undisturbed))
    for made in ("dataset/2015-Q3.parquet", "models/early-signal/v2015.3.0/model.txt", "predictions/2015-Q3.parquet"):
        assert ours[made] == whole[made]
    assert "evaluation/2015-Q2.json" not in ours


def test_ctrl_c_ends_the_command_and_not_just_a_quarter(tmp_path: Path) -> None:
    demo = subprocess.Popen(command("demo"), env=environment(tmp_path), stdout=subprocess.DEVNULL)
    wait_for(lambda: bool(list(tmp_path.glob("*/lake/feature_table/*"))), seconds=120)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=30) == 130
    made = list((workspace(tmp_path) / "lake" / "feature_table").iterdir())
    assert len(made) < len(Quarter.range(FIRST, LAST))


def test_a_killed_backfill_run_again_ends_in_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    for seconds in (9, 14, 19):  # in the caches, among the features, among the models
        demo = subprocess.Popen(command("demo"), env=environment(tmp_path), stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        assert demo.poll() is None, "the demo ended before it could be killed"
        os.kill(demo.pid, signal.SIGKILL)
        demo.wait()
    done = run(tmp_path, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(workspace(tmp_path) / "lake") == digests(workspace(undisturbed) / "lake")


def test_a_broken_table_is_refused_and_the_old_partition_stays(undisturbed: Path, tmp_path: Path) -> None:
    (tape,) = (undisturbed / "tapes").iterdir()
    broken = tmp_path / "tape"
    subprocess.run(["cp", "-r", tape, broken], check=True)
    assert run(tmp_path, "backfill", "--tape", broken, "--select", "universe", "--select", "ohlcv").returncode == 0
    lake = workspace(tmp_path) / "lake"
    before = digests(lake)
    bars = pd.read_parquet(broken / "ohlcv.parquet")
    bars.loc[(bars["symbol"] == bars["symbol"].iloc[5]) & (bars["session"] == "2015-05-05"), "close"] = -1.0
    bars.to_parquet(broken / "ohlcv.parquet")
    refused = run(tmp_path, "backfill", "--tape", broken, "--from", "2015-Q2", "--to", "2015-Q2", "--select", "ohlcv")
    assert refused.returncode == 1
    for part in ("table `ohlcv`", "partition 2015-Q2", "2015-05-05", "not a positive number", "Remedy"):
        assert part in refused.stdout
    assert digests(lake) == before
