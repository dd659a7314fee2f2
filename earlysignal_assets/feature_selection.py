"""The search for features that models can do without."""

import dagster as dg
from pydantic import Field

from earlysignal_assets.describe import OWNER, Materialized, numbers, shown
from earlysignal_assets.evaluation import GROUP
from earlysignal_assets.partitions import ONE_QUARTER_PER_RUN, QUARTERS, quarter_of, quarters_back
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.evaluation.feature_selection import ROUNDS, SEEDS, select_features
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import described
from earlysignal_core.settings import Settings

_ALL_EARLIER = quarters_back(1000, including=-1)


class SelectionConfig(dg.Config):
    """How thoroughly is searched."""

    rounds: int = Field(default=ROUNDS, ge=1, description="How often weak features are dropped.")
    seeds: int = Field(default=SEEDS, ge=1, description="Models of each variant, whose mean is judged.")


@dg.asset(
    deps=[dg.AssetDep(FEATURES, partition_mapping=_ALL_EARLIER), dg.AssetDep(LABELS, partition_mapping=_ALL_EARLIER)],
    partitions_def=QUARTERS,
    backfill_policy=ONE_QUARTER_PER_RUN,
    group_name=GROUP,
    kinds={"lightgbm", "pandas"},
    owners=[OWNER],
)
def feature_selection(
    context: dg.AssetExecutionContext, config: SelectionConfig, lake: dg.ResourceParam[Lake]
) -> Materialized:
    """Weak features dropped round by round, and families one by one, each against all features on the same events.

    Judged on the eight quarters before this one, which stays untouched; each variant is one LightGBM of several seeds,
    whatever the ensemble, and its number of features a mean over the quarters. Takes minutes.
    """
    found = select_features(
        lake, described(lake), Settings(), quarter_of(context), rounds=config.rounds, seeds=config.seeds
    )
    return dg.MaterializeResult(
        metadata={
            "variants": shown(found.table, 40),
            "quarters": f"{found.quarters[0]} to {found.quarters[-1]}",
            "kept by the loop, in the newest quarter": dg.MetadataValue.json(list(found.kept)),
            **numbers(
                {
                    "n": found.n,
                    "large beats": found.large_beats,
                    "base rate": found.base_rate,
                    "features kept, in the newest quarter": len(found.kept),
                }
            ),
        }
    )
