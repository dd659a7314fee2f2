"""The datasets: what was known seven days before a quarter begins."""

import dagster as dg
import pandas as pd

from earlysignal_assets.checks import results, specs
from earlysignal_assets.describe import OWNER, Materialized, numbers, schema_of, shown
from earlysignal_assets.partitions import ONE_QUARTER_PER_RUN, QUARTERS, quarter_of, quarters_back
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.datasets.quality import CHECKS_AGAINST_EARLIER
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import judge_newest, make_dataset
from earlysignal_core.settings import Settings

GROUP = "datasets"
DATASET = "dataset"
_ALL_EARLIER = quarters_back(1000, including=-1)


class DatasetConfig(dg.Config):
    """How a dataset is made.

    Attributes
    ----------
    skip_validation : bool
        Keep quarters that a blocking check refused; the lineage says so.
    """

    skip_validation: bool = False


@dg.asset(
    name=DATASET,
    deps=[dg.AssetDep(FEATURES, partition_mapping=_ALL_EARLIER), dg.AssetDep(LABELS, partition_mapping=_ALL_EARLIER)],
    check_specs=specs(DATASET, CHECKS_AGAINST_EARLIER),
    partitions_def=QUARTERS,
    backfill_policy=ONE_QUARTER_PER_RUN,
    group_name=GROUP,
    kinds={"pandas", "parquet"},
    owners=[OWNER],
)
def dataset(context: dg.AssetExecutionContext, config: DatasetConfig, lake: dg.ResourceParam[Lake]) -> Materialized:
    """The examples whose features and outcome were known seven days before the quarter begins, split in time.

    A quarter that a blocking check refused is left out, and named in the lineage.
    """
    made = make_dataset(quarter_of(context), lake, Settings(), skip_validation=config.skip_validation)
    frame, record, newest = made.frame, made.lineage, judge_newest(made, lake)
    parts = {f"rows {part}": count for part, count in record["preprocessing"]["split"]["rows"].items()}
    refused = record["quality_metrics"]["refused_quarters"]
    return dg.MaterializeResult(
        metadata={
            **numbers({"rows": len(frame), "positives": frame["label"].sum(), "base rate": frame["label"].mean()}),
            **numbers({"features": len(made.features), **parts}),
            "version": record["dataset_version"],
            "no model yet": made.no_model_yet or "–",
            "refused quarters": dg.MetadataValue.json(refused) if refused else "none",
            "rows taken by each filter": shown(pd.DataFrame(record["preprocessing"]["filters"])),
            "lineage": dg.MetadataValue.json(record),
            "dagster/column_schema": schema_of(frame),
        },
        check_results=results(DATASET, newest, CHECKS_AGAINST_EARLIER),
    )
