"""The jobs of a walk-forward: the caches of all quarters in one run, one run a quarter, the report."""

import dagster as dg

from earlysignal_assets import caches, datasets, evaluation, features, models

_ASSETS = {
    "companies": [caches.universe],
    "collect": [*caches.CACHE_ASSETS, features.labels],
    "quarter": [features.feature_table, datasets.dataset, models.models, evaluation.evaluation],
    "report": [caches.data_audit, evaluation.walk_forward],
}
_DESCRIPTIONS = {
    "companies": "Reads the companies and what the source says of itself.",
    "collect": "Reads every table of the source into the caches, any number of quarters in one run, and labels them.",
    "quarter": "One quarter of the walk-forward: features, dataset, model, evaluation. Run quarters in time order.",
    "report": "Audits the data and judges all quarters together.",
}
JOBS = [
    dg.define_asset_job(name, dg.AssetSelection.assets(*assets), description=_DESCRIPTIONS[name])
    for name, assets in _ASSETS.items()
]


def assets_of(job: str) -> list[str]:
    """Return the names of a job's assets."""
    return [asset.key.to_user_string() for asset in _ASSETS[job]]
