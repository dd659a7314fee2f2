"""Everything that Dagster loads."""

import dagster as dg

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
    replays,
    sharing,
    standing,
    tuning,
)
from earlysignal_assets.earning import EARNING
from earlysignal_assets.jobs import JOBS
from earlysignal_assets.operations import OPERATIONS
from earlysignal_assets.partitions import WORKSPACE
from earlysignal_assets.resources import LakeResource, LedgerResource, SourceResource
from earlysignal_assets.sensors import SENSORS

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [
            *(caches, features, datasets, models, tuning, evaluation, feature_selection, experiments),
            *(production, monitoring, sharing, standing, replays),
        ]
    ),
    jobs=[*JOBS, *OPERATIONS, *EARNING],
    sensors=SENSORS,
    resources={"lake": LakeResource(url=WORKSPACE.lake_url), "source": SourceResource(), "ledger": LedgerResource()},
    # Assets take fractions of a second: a process for each step would cost four.
    executor=dg.in_process_executor,
)
