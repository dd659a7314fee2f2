"""Running the walk-forward in this process: real Dagster runs on the instance that the UI shows, without its waits."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from earlysignal_assets.instance import prepare, tracking_database
from earlysignal_assets.postgres import server
from earlysignal_assets.run_launcher import fail_lost_runs, process_tags
from earlysignal_assets.workspace import Workspace
from earlysignal_core.datasets.gather import FEATURES
from earlysignal_core.errors import EarlySignalError, PostgresError
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import UNIVERSE

_logger = logging.getLogger(__name__)

MEMBERS, _INTERRUPTED = "base_models", DagsterExecutionInterruptedError.__name__
Progress = Callable[[str, int, int], None]
# Dagster's own log of each step would bury the progress; the run's page in the UI has all of it.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Outcome:
    """How a walk-forward went.

    Attributes
    ----------
    seconds : dict of str to float
        By stage.
    failures : dict of str to str
        By run, with what went wrong.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@contextmanager
def instance_of(workspace: Workspace) -> Iterator[dg.DagsterInstance]:
    """Start PostgreSQL if need be and open the workspace's Dagster instance for this process and its children."""
    url = workspace.settings.database_url
    with server(workspace.home, url.get_secret_value() if url else None) as base_url:
        os.environ.update(prepare(workspace.home, workspace.name, base_url))
        if workspace.settings.tracking:
            try:
                os.environ.update(tracking_database(base_url))
            except PostgresError as error:  # no training waits for its record
                _logger.warning("nothing is recorded among the experiments: %s", error)
        with dg.DagsterInstance.get() as instance:
            fail_lost_runs(instance)
            yield instance


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    outcome: Outcome,
    *,
    quarters: Sequence[Quarter] = (),
    day: pd.Timestamp | None = None,
    select: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> bool:
    """Execute a job in this process and record it as a run.

    Parameters
    ----------
    instance : DagsterInstance
    job : str
        A job of `earlysignal_assets.jobs`.
    outcome : Outcome
        Takes up the seconds and what failed.
    quarters : sequence of Quarter
        None for assets without partitions; several only for assets that take them in one run.
    day : Timestamp, optional
        The partition of a job of production.
    select : sequence of str, optional
        Only these assets of the job.
    config : mapping, optional
        Configuration of assets, by name.
    tags : mapping, optional
        Tags of the run that tell what caused it.

    Returns
    -------
    bool
        Whether it succeeded. A failed blocking check is a failure.

    Raises
    ------
    KeyboardInterrupt
        If the user has interrupted it.
    """
    from earlysignal_assets.definitions import defs  # loads the source: only commands that run assets pay for it

    marks = {**process_tags(), "earlysignal/started_by": "command", **(tags or {})}
    keys = [quarter.key for quarter in quarters] if day is None else [f"{day:%Y-%m-%d}"]
    if len(quarters) > 1:
        marks |= {
            ASSET_PARTITION_RANGE_START_TAG: quarters[0].key,
            ASSET_PARTITION_RANGE_END_TAG: quarters[-1].key,
        }
    started = monotonic()
    result = defs.resolve_job_def(job).execute_in_process(
        run_config={**_QUIET, "ops": {name: {"config": values} for name, values in (config or {}).items()}},
        instance=instance,
        partition_key=keys[0] if len(keys) == 1 else None,
        asset_selection=[dg.AssetKey(name) for name in select] if select is not None else None,
        tags=marks,
        raise_on_error=False,
    )
    if any(
        event.is_step_failure and getattr(event.step_failure_data.error, "cls_name", "") == _INTERRUPTED
        for event in result.all_events
    ):
        raise KeyboardInterrupt  # which Dagster has made a failed run of
    outcome.seconds[job] = outcome.seconds.get(job, 0.0) + monotonic() - started
    if not result.success:
        what = f"{job} {quarters[0] if day is None else keys[0]}" if len(keys) == 1 else job
        outcome.failures[what] = _reason(result)
    return result.success


def check_names(assets: Sequence[str]) -> None:
    """Refuse names of assets that a backfill by quarter does not make.

    Raises
    ------
    EarlySignalError
        Lists the names that there are.
    """
    from earlysignal_assets.jobs import BACKFILLED, assets_of

    known = [name for job in BACKFILLED for name in assets_of(job)]
    unknown = sorted(set(assets) - set(known))
    if unknown:
        raise EarlySignalError(f"there is no asset {', '.join(unknown)}. Remedy: choose among {', '.join(known)}.")


def walk_forward(
    workspace: Workspace,
    quarters: Sequence[Quarter],
    progress: Progress,
    *,
    select: Sequence[str] | None = None,
) -> Outcome:
    """Run the quarters in time order: the caches of all in one run, then one run each, then the report.

    Parameters
    ----------
    workspace : Workspace
    quarters : sequence of Quarter
        In time order.
    progress : function of (what, done, total)
    select : sequence of str, optional
        Only these assets.
    """
    from earlysignal_assets.jobs import assets_of

    outcome = Outcome()

    def run(job: str, quarters: Sequence[Quarter] = (), assets: Sequence[str] | None = select) -> bool:
        chosen = [name for name in assets_of(job) if assets is None or name in assets]
        return not chosen or run_job(instance, job, outcome, quarters=quarters, select=chosen)

    with instance_of(workspace) as instance:
        source, lake = workspace.source.description, workspace.lake
        judged = [quarter for quarter in quarters if quarter in source.event_quarters] or list(quarters)
        # Whoever names assets gets those and no others.
        collect = list(quarters) if select else _to_collect(lake, source, quarters)
        features_before = [] if select else _features_to_make(lake, source, quarters)
        # No quarter's members need another's: alone, those of all are fitted in one run.
        stretches = [judged] if select == [MEMBERS] else [[quarter] for quarter in [*features_before, *judged]]
        total = len(stretches) + 2
        progress("caches", 0, total)
        collected = run("companies") and run("collect", collect)
        if collected and not select:
            run("report", assets=["data_audit"])  # the models' cards tell of the data's defects
        for done, stretch in enumerate(stretches if collected else [], start=1):
            progress(str(stretch[-1]), done, total)
            run("quarter", stretch, [FEATURES] if stretch[-1] in features_before else select)
            if select:  # nobody who wants the whole walk-forward waits for a search
                run("prune", stretch)
        if collected:
            progress("report", total - 1, total)
            run("report", assets=select or [name for name in assets_of("report") if name != "data_audit"])
        progress("done", total, total)
    workspace.remember()
    return outcome


def train(
    workspace: Workspace,
    quarter: Quarter,
    progress: Progress,
    *,
    version: str = "auto",
    skip_ingest: bool = False,
    skip_validation: bool = False,
) -> Outcome:
    """Train the model that could have been in service when a quarter began.

    Parameters
    ----------
    workspace : Workspace
    quarter : Quarter
    progress : function of (what, done, total)
    version : str
        ``auto``, or a name like ``v1.2.0``.
    skip_ingest : bool
        Take caches and features as they are.
    skip_validation : bool
        Learn also from quarters that a check refused; the lineage says so.
    """
    outcome = Outcome()
    source, lake = workspace.source.description, workspace.lake
    before = [q for q in source.event_quarters if q < quarter]
    with instance_of(workspace) as instance:
        total = len(before) + 2
        ready = True
        if not skip_ingest and before:
            progress("caches", 0, total)
            collect = _to_collect(lake, source, before)
            ready = run_job(instance, "companies", outcome) and run_job(instance, "collect", outcome, quarters=collect)
            for done, each in enumerate(before if ready else [], start=1):
                progress(str(each), done, total)
                run_job(instance, "quarter", outcome, quarters=[each], select=["feature_table"])
        if ready:
            progress(f"train {quarter}", total - 1, total)
            config = {"dataset": {"skip_validation": skip_validation}, "models": {"version": version}}
            select = ["dataset", "base_models", "models"]
            run_job(instance, "quarter", outcome, quarters=[quarter], select=select, config=config)
        progress("done", total, total)
    workspace.remember()
    return outcome


def tune(workspace: Workspace, quarter: Quarter, progress: Progress, *, trials: int) -> Outcome:
    """Search the parameters of a quarter's members, in a run of its own."""
    outcome = Outcome()
    with instance_of(workspace) as instance:
        progress(f"tune {quarter}", 0, 1)
        run_job(instance, "tune", outcome, quarters=[quarter], config={"tuning": {"trials": trials}})
        progress("done", 1, 1)
    workspace.remember()
    return outcome


def _to_collect(lake: Lake, source: SourceDescription, quarters: Sequence[Quarter]) -> list[Quarter]:
    """Return the stretch of caches to collect: those chosen, and what features and returns need and the lake lacks."""
    tables = [table for table in source.tables if table != UNIVERSE]
    needed = [q for q in source.quarters if q <= quarters[-1] + 1 and not all(lake.has(t, q) for t in tables)]
    return Quarter.range(min([*needed, *quarters]), max([*needed, *quarters]))


def _features_to_make(lake: Lake, source: SourceDescription, quarters: Sequence[Quarter]) -> list[Quarter]:
    """Return the earlier quarters that the datasets of the chosen ones need and the lake lacks."""
    return [q for q in source.event_quarters if q < quarters[0] and not lake.has(FEATURES, q)]


def _reason(result: dg.ExecuteInProcessResult) -> str:
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed and e.blocking]
    if failed:
        return "; ".join(f"blocking check `{e.check_name}`: {e.description}" for e in failed)
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            return _without_class(cause.message.strip(), cause.cls_name) if cause else "a step failed"
    return "the run failed: see its page in the UI"


def _without_class(message: str, class_name: str | None) -> str:
    """Leave out the path of the error's class, which says nothing to the reader of a terminal."""
    named, _, rest = message.partition(": ")
    return rest if class_name and named.endswith(class_name) else message
