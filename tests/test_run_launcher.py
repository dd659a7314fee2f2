"""A run whose process has gone is told from one that still works."""

import json
import subprocess

import dagster as dg
import psutil
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from earlysignal_assets.run_launcher import PROCESS_TAG, WatchedRunLauncher, fail_lost_runs, process_tags


@dg.job
def nothing() -> None:
    """Do nothing."""


def started(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    return instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)


def ended_process() -> dict[str, str]:
    with subprocess.Popen(["sleep", "60"]) as process:
        tag = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        process.kill()
    return {PROCESS_TAG: json.dumps(tag)}


def test_a_run_of_a_process_that_has_ended_is_failed_and_one_of_this_process_is_not() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        lost, working = started(instance, ended_process()), started(instance, process_tags())
        assert fail_lost_runs(instance) == [lost.run_id]
        assert fail_lost_runs(instance) == []
        states = {run.run_id: run.status for run in instance.get_runs()}
    assert states == {lost.run_id: dg.DagsterRunStatus.FAILURE, working.run_id: dg.DagsterRunStatus.STARTED}


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "/nowhere/at-all"})}, WorkerStatus.NOT_FOUND),
        ({}, WorkerStatus.RUNNING),  # nothing is known: Dagster's longest permitted time decides
    ],
)
def test_the_daemon_is_told_whether_the_runs_process_is_there(tags: dict[str, str], status: WorkerStatus) -> None:
    launcher = WatchedRunLauncher()
    assert launcher.supports_check_run_worker_health
    with dg.DagsterInstance.ephemeral() as instance:
        assert launcher.check_run_worker_health(started(instance, tags)).status == status


def test_a_process_number_used_again_by_another_is_not_mistaken() -> None:
    tag = json.loads(process_tags()[PROCESS_TAG])
    with dg.DagsterInstance.ephemeral() as instance:
        run = started(instance, {PROCESS_TAG: json.dumps(tag | {"started": tag["started"] - 100})})
        assert fail_lost_runs(instance) == [run.run_id]
