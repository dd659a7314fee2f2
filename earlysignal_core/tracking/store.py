"""MLflow as the record of experiments: who trained what on what, and how it did. It decides nothing.

Which model serves stands in the ledger. A record is made of what the lake holds, once for each key, whoever makes it
and how often; so what could not be recorded when it was trained is recorded later.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.address import parse, redact, scrub
from earlysignal_core.tracking.record import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY = "earlysignal.key"
_ROOT = "mlflow-artifacts:/"  # the server knows where the files lie, so they may be moved with the lake
# MLflow 3.17 asks home for its settings unless it is told not to; and its set-up of logs is for a program of its own.
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}
_SECONDS = {"connect_timeout": "3", "options": "-c statement_timeout=60000"}
# Any number that nobody else uses for a lock of this database.
_LOCK = 20_170_001


class TrackingError(EarlySignalError):
    """The store of experiments cannot be reached or written."""


@dataclass(frozen=True)
class Kept:
    """What became of some records: how many were new, how many learned new figures."""

    new: int
    renewed: int


class Experiments:
    """The experiments of one source in MLflow's store.

    Parameters
    ----------
    url : str
        A database of its own in PostgreSQL: MLflow brings its tables. It may hold a password, and is never shown.
    experiment : str
        Runs that may be compared share one: those of all settings on the same source.
    files : Lake
        Where the files of the runs lie, in ``<experiment>/<run>/artifacts``.
    """

    def __init__(self, url: str, experiment: str, files: Lake) -> None:
        self._url = parse(url).update_query_dict(_SECONDS)
        self._experiment = experiment
        self._files = files

    def prepare(self) -> None:
        """Make MLflow's tables unless they are there: of two that come at once the second waits.

        Raises
        ------
        TrackingError
            If the store cannot be reached.
        """
        with self._alone() as client:
            self._identity(client)

    def keep(self, records: Iterable[Record], at: pd.Timestamp) -> Kept:
        """Record trainings, each once; one that is there already only learns the figures that are new.

        Parameters
        ----------
        records : iterable of Record
        at : Timestamp
            Now, UTC.

        Raises
        ------
        TrackingError
            If the store cannot be reached or written; what was not recorded can be at any later time.
        """
        new = renewed = 0
        with self._alone() as client:
            # Those that a person has deleted too: they are not to come back.
            known = {run.data.tags[KEY]: run for run in self._runs(client, deleted=True) if KEY in run.data.tags}
            for record in records:
                standing = known.get(record.key)
                if standing is None or standing.info.status != "FINISHED":  # a killed one is finished
                    self._write(client, record, standing, at)
                    new += 1
                elif any(standing.data.metrics.get(name) != value for name, value in record.metrics.items()):
                    self._write(client, record, standing, at)
                    renewed += 1
        return Kept(new, renewed)

    def table(self) -> pd.DataFrame:
        """Return every run that was recorded to its end: its parameters, its metrics (as numbers) and its tags.

        Raises
        ------
        TrackingError
            If the store cannot be reached.
        """
        with self._alone() as client:
            return pd.DataFrame(
                [
                    {"version": run.info.run_name, **run.data.params, **run.data.metrics}
                    for run in self._runs(client)
                    if run.info.status == "FINISHED"
                ]
            )

    def _write(self, client: "MlflowClient", record: Record, standing: "Run | None", at: pd.Timestamp) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(at.timestamp() * 1000)
        run = standing or client.create_run(
            self._identity(client), start_time=now, tags={KEY: record.key}, run_name=record.name
        )
        before = run.data.metrics
        changed = {name: value for name, value in record.metrics.items() if before.get(name) != value}
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in changed.items()],
            params=[Param(name, value) for name, value in record.parameters.items() if name not in run.data.params],
            tags=[RunTag(name, value) for name, value in record.tags.items()],
        )
        folder = run.info.artifact_uri.removeprefix(_ROOT)
        for name, content in record.artifacts().items():
            self._files.write_bytes(f"{folder}/{name}", content)
        client.set_terminated(run.info.run_id, end_time=now)

    def _runs(self, client: "MlflowClient", *, deleted: bool = False) -> "list[Run]":
        from mlflow.entities import ViewType

        found: list[Run] = []
        experiment, which = [self._identity(client)], ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        token = None
        while True:
            page = client.search_runs(experiment, run_view_type=which, max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _identity(self, client: "MlflowClient") -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        folder = re.sub(r"[^a-z0-9]+", "-", self._experiment.lower()).strip("-")
        # Without it MLflow takes the runs for evaluations of language models, and shows them so.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(self._experiment, artifact_location=f"{_ROOT}{folder}", tags=kind))

    @contextmanager
    def _alone(self) -> "Iterator[MlflowClient]":
        """Hand out a client to one process at a time: MLflow itself knows no key that would keep a second run out."""
        try:
            # MLflow would try ten times, with pauses, to reach a server that is not there: this asks first.
            engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
                with self._client() as client:
                    yield client
        except SQLAlchemyError as error:
            raise self._failed(error) from None

    @contextmanager
    def _client(self) -> "Iterator[MlflowClient]":
        os.environ.update(ENVIRONMENT)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        url = self._url.render_as_string(hide_password=False)
        try:
            yield MlflowClient(tracking_uri=url, registry_uri=url)
        except MlflowException as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> TrackingError:
        url = self._url.render_as_string(hide_password=False)
        said = " ".join(str(getattr(error, "orig", None) or error).split()).partition(" (Background on")[0]
        return TrackingError(
            f"the experiments in {redact(url)} cannot be read or written: {scrub(said, url)[:300]}. Remedy: check that "
            f"PostgreSQL runs and that its user may make tables; what is missing is recorded the next time that "
            f"`experiment_comparison` is materialised."
        )
