"""The feature table, its labels, and the checks that a quarter must pass alone."""

from resource import RUSAGE_SELF, getrusage

import dagster as dg

from earlysignal_assets.checks import results, specs
from earlysignal_assets.describe import OWNER, Materialized, numbers, schema_of, shown
from earlysignal_assets.partitions import (
    ALL_QUARTERS_IN_ONE_RUN,
    ONE_QUARTER_PER_RUN,
    QUARTERS,
    WORKSPACE,
    quarter_of,
    quarters_back,
)
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.datasets.labels import build_labels
from earlysignal_core.datasets.quality import CHECKS_OF_A_QUARTER
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.table import active_features, partitions_back
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import judge, make_feature_table, make_labels
from earlysignal_core.quarters import Quarter
from earlysignal_core.tables import TABLES, UNIVERSE
from earlysignal_core.validation import no_rows

GROUP = "features"
_ACTIVE = active_features(WORKSPACE.source.description)


def _caches_looked_into() -> list[dg.AssetDep]:
    """Derive the dependencies from what the active features declare."""
    reach = {"earnings": 1}
    for table, quarters in partitions_back(_ACTIVE, WORKSPACE.source.description).items():
        cache = TABLES[table].cache
        reach[cache] = max(reach.get(cache, 0), quarters)
    return [dg.AssetDep(cache, partition_mapping=quarters_back(back)) for cache, back in sorted(reach.items())]


@dg.asset(
    name=LABELS,
    deps=["earnings"],
    partitions_def=QUARTERS,
    backfill_policy=ALL_QUARTERS_IN_ONE_RUN,
    group_name=GROUP,
    kinds={"pandas", "parquet"},
    owners=[OWNER],
    metadata={"dagster/column_schema": schema_of(build_labels(no_rows("earnings")))},
)
def labels(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
    """Did each company beat the consensus by more than 20 %? Kept apart from the features, with its own `available_at`.

    A tie at exactly 20 % is no beat; an estimate of 0 gives no label.
    """
    for key in context.partition_keys:
        made = make_labels(Quarter.parse(key), lake)
        known = made["label"].dropna()
        figures = {"rows": len(made), "positives": known.sum(), "without a label": len(made) - len(known)}
        context.add_asset_metadata(numbers({**figures, "base rate": known.mean()}), partition_key=key)


@dg.asset(
    name=FEATURES,
    deps=[UNIVERSE, LABELS, *_caches_looked_into()],
    check_specs=specs(FEATURES, CHECKS_OF_A_QUARTER),
    partitions_def=QUARTERS,
    backfill_policy=ONE_QUARTER_PER_RUN,
    group_name=GROUP,
    kinds={"pandas", "parquet"},
    owners=[OWNER],
)
def feature_table(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Materialized:
    """One row per announcement of the quarter: all that could be known seven days before it."""
    quarter = quarter_of(context)
    table = make_feature_table(quarter, lake)
    judgement = judge(quarter, lake, table)
    present = judgement.features[["feature", "present"]].sort_values("present", ignore_index=True)
    return dg.MaterializeResult(
        metadata={
            **numbers({"rows": len(table), "features": len(_ACTIVE), **judgement.figures}),
            "peak memory": f"{getrusage(RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB of the process so far",
            "refused because": "; ".join(judgement.refusals) or "–",
            "share present": shown(present, 100),
            "sample": shown(table.sample(min(5, len(table)), random_state=0).T.reset_index(names="column"), 200),
            "dagster/column_schema": schema_of(table, {name: f.definition for name, f in catalogue().items()}),
        },
        check_results=results(FEATURES, judgement, CHECKS_OF_A_QUARTER),
    )
