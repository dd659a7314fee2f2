"""Runs whose process has gone: how the daemon, and a command that starts up, tell them from those that still work.

Dagster's default launcher cannot tell, and leaves such a run `STARTED` until its longest permitted time is over.
"""

import json
import os

import psutil
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher, RunsFilter
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

PROCESS_TAG = ".dagster/earlysignal_process"  # hidden in the UI by its prefix
_ANSWER_SECONDS = 10
_GONE = "its process has gone"


def process_tags() -> dict[str, str]:
    """Return the tags that name this process; a run that it executes itself carries them."""
    return {PROCESS_TAG: json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time()})}


def fail_lost_runs(instance: DagsterInstance) -> list[str]:
    """Report runs in progress whose process has gone as failed, and return their ids.

    A command does this when it starts, because there may be no daemon that has done it since the machine stopped.
    """
    lost: list[str] = []
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        if _worker_status(run) == WorkerStatus.NOT_FOUND:
            again = instance.get_run_by_id(run.run_id)  # it may have ended while its server was being asked
            if again is not None and not again.is_finished:
                instance.report_run_failed(again, f"Run failed: {_GONE}.")
                lost.append(run.run_id)
    return lost


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, able to tell whether a run's process is still there."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Let the daemon's run monitoring ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that executes the run, or look for the process that it names."""
        status = _worker_status(run)
        return CheckRunHealthResult(status, _GONE if status == WorkerStatus.NOT_FOUND else None)


def _worker_status(run: DagsterRun) -> WorkerStatus:
    if PROCESS_TAG in run.tags:
        named = json.loads(run.tags[PROCESS_TAG])
        try:
            process = psutil.Process(named["pid"])
            same = process.status() != psutil.STATUS_ZOMBIE and process.create_time() == named["started"]
        except psutil.NoSuchProcess:
            same = False
        return WorkerStatus.RUNNING if same else WorkerStatus.NOT_FOUND
    if GRPC_INFO_TAG not in run.tags:
        return WorkerStatus.RUNNING  # nothing is known of it: leave it to the longest permitted time
    address = json.loads(run.tags[GRPC_INFO_TAG])
    client = DagsterGrpcClient(host=address.get("host"), port=address.get("port"), socket=address.get("socket"))
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_ANSWER_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        busy = "timed out" in str(error)
        return WorkerStatus.RUNNING if busy else WorkerStatus.NOT_FOUND
    executes = deserialize_value(answer, CanCancelExecutionResult).can_cancel
    return WorkerStatus.RUNNING if executes else WorkerStatus.NOT_FOUND
