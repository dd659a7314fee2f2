"""What the graph promises to the reader of the UI, and that plain Dagster loads it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import SMALL

ROOT = Path(__file__).parents[1]
_LIST = """
from earlysignal_assets.definitions import defs
import json
graph = defs.resolve_asset_graph()
nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
print(json.dumps({job.name: {
    "description": job.description,
    "by": job.tags.get("earlysignal/by"),
    "resources": sorted(job.resource_defs),
    "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
    "fields": [field.description for node in job.all_node_defs if node.config_schema.as_field().is_required
               for field in node.config_schema.config_type.fields.values()],
} for job in defs.resolve_all_job_defs()}))
print(json.dumps([{
    "name": node.key.to_user_string(),
    "group": node.group_name,
    "description": node.description,
    "owners": list(node.owners),
    "kinds": sorted(node.kinds),
    "partitions": len(node.partitions_def.get_partition_keys()) if node.partitions_def else 0,
    "keys": node.partitions_def.get_partition_keys() if node.partitions_def else [],
    "checks": sorted(key.name for key in node.check_keys),
} for node in nodes]))
"""


def environment(tmp_path: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, **SMALL, "EARLYSIGNAL_HOME": str(tmp_path), **changes}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LIST], env=environment(home), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-2:]


@pytest.fixture(scope="module")
def jobs(listed: list[str]) -> dict[str, dict[str, object]]:
    return json.loads(listed[0])


@pytest.fixture(scope="module")
def nodes(listed: list[str]) -> dict[str, dict[str, object]]:
    return {node["name"]: node for node in json.loads(listed[1])}


def test_every_asset_is_described_owned_and_of_a_kind(nodes: dict[str, dict[str, object]]) -> None:
    for node in nodes.values():
        assert node["description"], node
        assert node["owners"] == ["team:early-signal"], node
        assert node["kinds"], node


def test_the_groups_are_the_rooms_of_the_house(nodes: dict[str, dict[str, object]]) -> None:
    groups: dict[object, set[object]] = {}
    for node in nodes.values():
        groups.setdefault(node["group"], set()).add(node["name"])
    caches = {
        "earnings",
        "ohlcv",
        "income_statements",
        "analyst_ratings",
        "sec_filings",
        "options",
        "macro",
        "sentiment",
    }
    assert groups == {
        "caches": {*caches, "universe", "data_audit"},
        "features": {"feature_table", "labels"},
        "datasets": {"dataset"},
        "models": {"base_models", "models", "tuning"},
        "evaluation": {"evaluation", "walk_forward", "feature_selection", "experiment_comparison"},
        "production": {
            *("refreshed_data", "predictions", "stock_selection", "outcomes", "retrain_decision"),
            *("challenger", "promotion", "replay", "shared_answers", "production_status"),
        },
        "monitoring": {"drift_report", "live_data_quality", "production_metrics", "alerts"},
    }


def test_history_is_partitioned_by_the_quarters_of_the_source(nodes: dict[str, dict[str, object]]) -> None:
    whole = {"universe", "data_audit", "walk_forward", "experiment_comparison", "replay", "production_status"}
    assert {name for name, node in nodes.items() if not node["partitions"]} == whole
    keys = nodes["evaluation"]["keys"]
    assert isinstance(keys, list)
    assert (keys[0], keys[-1], len(keys)) == ("2012-10", "2016-01", 14)


def test_production_is_partitioned_by_the_days_of_the_source(nodes: dict[str, dict[str, object]]) -> None:
    groups = ("production", "monitoring")
    produced = [
        node
        for node in nodes.values()
        if node["group"] in groups and node["name"] not in ("replay", "production_status")
    ]
    assert len(produced) == 12
    for node in produced:
        assert isinstance(node["keys"], list)
        assert (node["keys"][0], node["keys"][-1], len(node["keys"])) == ("2014-01-01", "2016-03-31", 821), node


def test_every_limit_of_monitoring_is_a_check(nodes: dict[str, dict[str, object]]) -> None:
    checks = {name: node["checks"] for name, node in nodes.items() if node["group"] in ("production", "monitoring")}
    assert {name: found for name, found in checks.items() if found} == {
        "predictions": ["served_equals_feature_table"],
        "outcomes": ["outcomes_within_8_days"],
        "drift_report": ["evidently_agrees", "feature_drift", "features_missing", "measured", "prediction_drift"],
        "live_data_quality": ["mean_shift", "stale", "volume"],
        "production_metrics": ["accuracy", "auc", "brier_skill", "calibration", "importance", "latency", "measured"],
    }


def test_a_day_and_a_retrain_are_jobs_that_never_touch_a_quarters_models(
    jobs: dict[str, dict[str, object]],
) -> None:
    assert jobs["day"]["assets"] == [
        *("alerts", "drift_report", "live_data_quality", "outcomes", "predictions", "production_metrics"),
        *("refreshed_data", "retrain_decision", "shared_answers", "stock_selection"),
    ]
    assert jobs["retrain"]["assets"] == ["challenger", "promotion", "refreshed_data"]
    for name in ("day", "retrain"):
        assert jobs[name]["description"]
        assert {"lake", "ledger"} <= set(jobs[name]["resources"])  # type: ignore[call-overload]


def test_five_checks_block(nodes: dict[str, dict[str, object]]) -> None:
    assert nodes["feature_table"]["checks"] == ["completeness", "label_balance", "temporal_integrity"]
    assert nodes["dataset"]["checks"] == ["distribution", "outliers"]


def test_a_persons_jobs_are_tagged_and_described_and_so_is_their_config(jobs: dict[str, dict[str, object]]) -> None:
    steering = {name: job for name, job in jobs.items() if job["by"] == "person"}
    names = {
        "manual_retrain",
        "manual_promotion",
        "manual_roll_back",
        "manual_freeze",
        "manual_unfreeze",
        "manual_clock",
    }
    names |= {"manual_start_ab_test", "manual_stop_ab_test", "manual_start_ramp", "manual_stop_ramp"}
    assert steering.keys() == names
    for job in steering.values():
        assert job["description"], job
        assert "ledger" in job["resources"], job
        assert job["fields"], job
        assert all(job["fields"]), job


def test_plain_dagster_validates_the_definitions(tmp_path: Path) -> None:
    dagster = Path(sys.executable).with_name("dagster")
    done = subprocess.run(
        [dagster, "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
