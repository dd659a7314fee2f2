"""The two jobs that make up a walk-forward: the caches in one run, then one run a quarter."""

import dagster as dg

from earlysignal_assets import caches, datasets, evaluation, features, models

_COLLECTED = [asset.key for asset in caches.CACHE_ASSETS]

collect_job = dg.define_asset_job(
    "collect",
    dg.AssetSelection.assets(*_COLLECTED, features.labels),
    description="Reads every table of the source into the caches, any number of quarters in one run, and labels them.",
)
quarter_job = dg.define_asset_job(
    "quarter",
    dg.AssetSelection.assets(features.feature_table, datasets.dataset, models.models, evaluation.evaluation),
    description="One quarter of the walk-forward: features, dataset, model, evaluation. Run quarters in time order.",
)
report_job = dg.define_asset_job(
    "report",
    dg.AssetSelection.assets(caches.data_audit, evaluation.walk_forward),
    description="Audits the data and judges all quarters together.",
)
JOBS = [collect_job, quarter_job, report_job]
