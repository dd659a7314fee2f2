"""The jobs that run by themselves: those of a walk-forward, a day of production, a retrain.

Those by which a person steers production begin with `manual_` (`operations.py`).
"""

import warnings

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from earlysignal_assets import (
    caches,
    datasets,
    evaluation,
    experiments,
    feature_selection,
    features,
    models,
    monitoring,
    production,
    sharing,
    tuning,
)

DAY_JOB, RETRAIN_JOB = "day", "retrain"
BACKFILLED = ("companies", "collect", "quarter", "prune", "report")
_ASSETS = {
    "companies": [caches.universe],
    "collect": [*caches.CACHE_ASSETS, features.labels],
    "quarter": [
        features.feature_table,
        datasets.dataset,
        models.base_models,
        models.models,
        evaluation.evaluation,
    ],
    "report": [caches.data_audit, evaluation.walk_forward, experiments.experiment_comparison],
    "tune": [tuning.tuning],
    "prune": [feature_selection.feature_selection],
    DAY_JOB: [
        production.refreshed_data,
        production.predictions,
        production.stock_selection,
        monitoring.drift_report,
        production.outcomes,
        monitoring.live_data_quality,
        monitoring.production_metrics,
        production.retrain_decision,
        sharing.shared_answers,
        monitoring.alerts,
    ],
    RETRAIN_JOB: [production.refreshed_data, production.retrain],
}
_DESCRIPTIONS = {
    "companies": "Reads the companies and what the source says of itself.",
    "collect": "Reads every table of the source into the caches, any number of quarters in one run, and labels them.",
    "quarter": "One quarter of the walk-forward: features, dataset, members, model, evaluation. In time order.",
    "report": "Audits the data, judges all quarters together and compares what was trained.",
    "tune": "Searches the parameters of a quarter's members; takes minutes. Nothing runs it by itself.",
    "prune": "Drops weak features and whole families, and says what each was worth; takes minutes.",
    DAY_JOB: "A day of production: refresh, predict, watch, collect outcomes, decide. The day sensor starts it.",
    RETRAIN_JOB: "Trains a challenger and holds it against the champion. The retrain sensor starts it; a person "
    "asks for one by `manual_retrain`.",
}
# A run of `quarter` takes one quarter, though its members could take all: what Dagster chooses by itself, and warns of.
warnings.filterwarnings("ignore", message="Asset job quarter materializes assets with varying BackfillPolicies")
JOBS = [
    dg.define_asset_job(name, dg.AssetSelection.assets(*assets), description=_DESCRIPTIONS[name])
    for name, assets in _ASSETS.items()
]


def assets_of(job: str) -> list[str]:
    """Return the names of a job's assets."""
    return [key.to_user_string() for asset in _ASSETS[job] for key in asset.keys]


def job_named(name: str) -> UnresolvedAssetJobDefinition:
    """Return a job by its name."""
    return next(job for job in JOBS if job.name == name)
