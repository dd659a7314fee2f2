"""Tuning: an Optuna study of each member on time-ordered folds of the train part, which outlives its process.

Neither the validation part nor the test part, and nothing of the quarter itself, is seen.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sklearn.metrics import log_loss, roc_auc_score
from sqlalchemy import text

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.lineage import code_version, json_digest
from earlysignal_core.datasets.splits import Part, expanding_folds, known_before
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import migrations
from earlysignal_core.ledger.address import parse
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.models.algorithm import FloatArray, algorithm
from earlysignal_core.models.ensemble import TooLittleToLearnError, choose, refit
from earlysignal_core.models.hyperparameters import TRIALS, Tuned, record
from earlysignal_core.models.search_spaces import SPACES, fixed_recipe
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member

SCHEMA = "tuning"
WORKERS = 2
# Trials at random before the sampler learns from them, and before one is stopped for being worse than the median.
STARTUP = 10
_STOPPING_FROM = 0.8


def tune_quarter(
    lake: Lake, quarter: Quarter, ensemble: EnsembleSettings, url: str, trials: int = TRIALS
) -> list[Tuned]:
    """Tune each member on the train part of the quarter's dataset, and write what was found.

    Raises
    ------
    TooLittleToLearnError
        There is too little history for it.
    """
    dataset = Dataset.load(lake, quarter)
    if dataset.no_model_yet is not None:
        raise TooLittleToLearnError(f"{dataset.no_model_yet}. Remedy: tune a later quarter.")
    found = [tune(dataset, member, url, trials) for member in ensemble.members]
    record(lake, quarter, found)
    return found


def tune(dataset: Dataset, member: Member, url: str, trials: int = TRIALS, workers: int = WORKERS) -> Tuned:
    """Search the parameters of a member by the tree-structured Parzen estimator.

    Parameters
    ----------
    dataset : Dataset
    member : Member
        Its window and families hold in every fold; what its `params` fix is not searched.
    url : str
        The PostgreSQL database whose schema `tuning` keeps the study.
    trials : int
        How many a study has in the end, those of earlier runs included.
    workers : int
        How many run at once.

    Returns
    -------
    Tuned
        The same dataset, member, trials and workers give the same, killed in between or not, but for a kill between
        the answers of one round; so do more trials asked for later, if there were whole rounds of them before.

    Raises
    ------
    TooLittleToLearnError
        A fold holds one outcome only.
    PostgresError
        The database cannot be reached.

    Notes
    -----
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011. Trials are asked in rounds of one for
    each worker, and a round is told when all of it is done, so that no chance of timing enters what the next one knows.
    A trial that was running when a process died has kept its parameters, and is the first to be run again.
    """
    frame = dataset.frame[dataset.frame["part"] == Part.TRAIN].reset_index(drop=True)
    embargo = pd.Timedelta(days=dataset.lineage["settings"]["embargo_days"])
    space = {name: range_ for name, range_ in SPACES[member.algorithm].items() if name not in member.params}
    start = {name: value for name, value in fixed_recipe(member.algorithm).items() if name in space}
    evaluate = partial(_run, frame=frame, features=dataset.features, member=member, embargo=embargo)
    with _study(url, _name(dataset, member)) as study, ThreadPoolExecutor(workers) as pool:
        while pending := _pending(study, space, start, trials, workers):
            outcomes = list(pool.map(evaluate, [optuna.trial.Trial(study, trial._trial_id) for trial in pending]))
            for trial, (state, value) in zip(pending, outcomes, strict=True):
                study.tell(trial.number, value, state=state)
        held = _held(study)
        return Tuned(
            member=member,
            params=dict(study.best_params),
            log_loss=study.best_value,
            log_loss_fixed=float(held[0].value or np.nan),  # the first trial is the fixed recipe, and is never pruned
            auc=study.best_trial.user_attrs["auc"],
            trials=len(held),
            pruned=sum(trial.state == TrialState.PRUNED for trial in held),
        )


def _pending(
    study: optuna.Study, space: dict[str, Any], start: dict[str, Any], trials: int, workers: int
) -> list[FrozenTrial]:
    """Return the trials of this round: those that a dead process left, and new ones until the round is full."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.params.keys() != space.keys():  # it died while the trial was being asked
            study.tell(trial.number, state=TrialState.FAIL)
    if not _held(study, TrialState.RUNNING, TrialState.WAITING):
        study.enqueue_trial(start)
    while (begun := len(_held(study, TrialState.RUNNING))) < trials:
        running = len(study.get_trials(states=(TrialState.RUNNING,)))
        if running and begun % workers == 0:
            break
        study.sampler = optuna.samplers.TPESampler(seed=begun, n_startup_trials=STARTUP, constant_liar=True)
        study.ask(space)
    return study.get_trials(states=(TrialState.RUNNING,))


def _held(study: optuna.Study, *others: TrialState) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, *others))


def _run(
    trial: optuna.Trial, frame: pd.DataFrame, features: list[str], member: Member, embargo: pd.Timedelta
) -> tuple[TrialState, float | None]:
    """Return the mean log loss over the folds, or that the trial was stopped."""
    tried = member.model_copy(update={"params": {**trial.params, **member.params}})
    losses: list[float] = []
    aucs: list[float] = []
    for step, (begin, fold) in enumerate(expanding_folds(frame["as_of"])):
        probability = _forecast(frame, features, tried, embargo, begin, fold)
        label = frame.loc[fold, "label"]
        losses.append(log_loss(label, probability, labels=[0, 1]))
        aucs.append(roc_auc_score(label, probability))
        trial.report(float(np.mean(losses)), step)
        if trial.should_prune():
            return TrialState.PRUNED, None
    trial.set_user_attr("auc", float(np.mean(aucs)))
    return TrialState.COMPLETE, float(np.mean(losses))


def _forecast(
    frame: pd.DataFrame, features: list[str], member: Member, embargo: pd.Timedelta, begin: pd.Timestamp, fold: Any
) -> FloatArray:
    """Do what training does, with what was known when the fold began: choose the trees, refit, and score the fold."""
    before = known_before(frame, begin, embargo)
    moments = frame.loc[before, "as_of"].sort_values(ignore_index=True)
    newest_from = moments[int(len(moments) * _STOPPING_FROM)]
    newest = before & (frame["as_of"] >= newest_from).to_numpy()
    alone = EnsembleSettings(members=(member,))
    model, _ = choose(alone, features, frame, known_before(frame, newest_from, embargo), newest, embargo)
    fitted = refit(model, frame[before], begin)
    return fitted.predict(frame.loc[fold, model["features"]].to_numpy(dtype="float64"))


def _name(dataset: Dataset, member: Member) -> str:
    """Return the study's name: another dataset, member or code is another study."""
    digest = json_digest(
        {
            "dataset": dataset.lineage["content_sha256"],
            "features": dataset.features,
            "member": member.model_dump(mode="json"),
            "params": dict(algorithm(member.algorithm).PARAMS),
            "code": code_version(),
        }
    )
    return f"{dataset.until} {member.algorithm} {digest[:12]}"


@contextmanager
def _study(url: str, name: str) -> Iterator[optuna.Study]:
    """Open a study in a schema of its own, alone in this database: who finds a running trial finds a dead process's."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with Ledger(url, SCHEMA) as schema:
        with schema.begin() as connection:
            migrations.alone(connection, SCHEMA)
        with schema.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('earlysignal tuning', 0))"))
            storage = RDBStorage(
                parse(url).render_as_string(hide_password=False),
                engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}},
            )
            try:
                yield optuna.create_study(
                    study_name=name,
                    storage=storage,
                    load_if_exists=True,
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
                )
            finally:
                storage.remove_session()
                storage.engine.dispose()
