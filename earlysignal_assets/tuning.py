"""The search for parameters: once a quarter, when somebody asks for it, and never as a part of a retrain."""

import dagster as dg
from pydantic import Field

from earlysignal_assets.datasets import DATASET
from earlysignal_assets.describe import OWNER, Materialized, numbers
from earlysignal_assets.models import GROUP
from earlysignal_assets.partitions import ONE_QUARTER_PER_RUN, QUARTERS, quarter_of
from earlysignal_assets.resources import ledger_url
from earlysignal_core.lake import Lake
from earlysignal_core.models.hyperparameters import FILE, TRIALS
from earlysignal_core.settings import Settings


class TuningConfig(dg.Config):
    """How long is searched."""

    trials: int = Field(default=TRIALS, ge=1, description="Trials of each member, those of earlier runs included.")


@dg.asset(
    deps=[DATASET],
    partitions_def=QUARTERS,
    backfill_policy=ONE_QUARTER_PER_RUN,
    group_name=GROUP,
    kinds={"optuna", "postgres"},
    owners=[OWNER],
)
def tuning(context: dg.AssetExecutionContext, config: TuningConfig, lake: dg.ResourceParam[Lake]) -> Materialized:
    """The parameters that forecast best within the train part of the quarter's dataset; a killed run goes on.

    Models of later quarters use them only where EARLYSIGNAL_TUNED is set.
    """
    from earlysignal_core.models.tuning import tune_quarter

    found = tune_quarter(lake, quarter_of(context), Settings().ensemble, ledger_url(), config.trials)
    return dg.MaterializeResult(
        metadata={
            "parameters": dg.MetadataValue.json([{"algorithm": t.member.algorithm, **t.params} for t in found]),
            "file": FILE,
            **numbers(
                {
                    f"{name}, member {number}": value
                    for number, each in enumerate(found, start=1)
                    for name, value in (
                        ("log loss", each.log_loss),
                        ("log loss of the fixed recipe", each.log_loss_fixed),
                        ("AUC", each.auc),
                        ("trials", each.trials),
                        ("trials pruned", each.pruned),
                    )
                }
            ),
        }
    )
