"""A backfill started over GraphQL, as the UI does it, leaves the lake that the command leaves."""

import shutil
import signal
from pathlib import Path

import pytest
from running import SMALL, digests, run, workspace
from system import starting, stop, wait_for

from earlysignal_core.quarters import Quarter

CACHES = ["earnings", "ohlcv", "income_statements", "analyst_ratings", "sec_filings", "options", "macro", "labels"]
LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status numPartitions } } }"""
FIRST, JUDGED = Quarter.parse("2014-Q1"), Quarter.parse("2015-Q1")


@pytest.mark.long
def test_a_backfill_in_the_ui_does_the_same_work_as_the_command(tmp_path: Path) -> None:
    by_command, by_ui = tmp_path / "command", tmp_path / "ui"
    assert run(by_command, "backfill", "--to", str(JUDGED)).returncode == 0
    with starting(by_ui, settings=SMALL) as system:
        wait_for(system.healthy)
        system.launch("universe")
        wait_for(lambda: [status for _, status in system.runs()] == ["SUCCESS"])
        partitions = dict.fromkeys(CACHES, (FIRST - 5, JUDGED))
        partitions["ohlcv"] = (FIRST - 5, JUDGED + 1)
        # A quarter's feature table takes a run: one shows that it is the same, the earlier ones are taken over.
        for earlier in (workspace(by_command) / "lake" / "feature_table").iterdir():
            if earlier.stem != str(JUDGED):
                taken_over = workspace(by_ui) / "lake" / "feature_table" / earlier.name
                taken_over.parent.mkdir(exist_ok=True)
                shutil.copyfile(earlier, taken_over)
        judged = ["feature_table", "dataset", "base_models", "models", "evaluation"]
        partitions |= dict.fromkeys(judged, (JUDGED, JUDGED))
        chosen = [
            {
                "assetKey": {"path": [asset]},
                "partitions": {"range": {"start": start.key, "end": end.key}},
            }
            for asset, (start, end) in partitions.items()
        ]
        launched = system.ask(LAUNCH, params={"partitionsByAssets": chosen})["launchPartitionBackfill"]
        assert "backfillId" in launched, launched

        def status() -> str:
            found: str = system.ask(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]["status"]
            return found

        wait_for(lambda: status() not in ("REQUESTED",), seconds=500)
        assert status() in ("COMPLETED", "COMPLETED_SUCCESS"), system.runs()
        stop(system, signal.SIGINT)
    ours, theirs = (digests(workspace(home) / "lake") for home in (by_command, by_ui))
    assert {f"{made}/{JUDGED}.parquet" for made in ("ohlcv", "feature_table", "dataset", "predictions")} <= set(theirs)
    assert f"models/early-signal/v{JUDGED.year}.{JUDGED.number}.0/metadata.json" in theirs
    shared = {name for name in theirs if not name.startswith("reports/")}
    assert shared <= set(ours)
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}
