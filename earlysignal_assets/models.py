"""The models, one a quarter, and the members that they are made of."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from earlysignal_assets.datasets import DATASET
from earlysignal_assets.describe import OWNER, Materialized, numbers, picture, shown
from earlysignal_assets.partitions import ALL_QUARTERS_IN_ONE_RUN, ONE_QUARTER_PER_RUN, QUARTERS, WORKSPACE, quarter_of
from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.test_part import figures_of_test_part
from earlysignal_core.lake import Lake
from earlysignal_core.models.base_models import BaseModels
from earlysignal_core.models.bundle import AUTO, FOLDER, NoModelYet
from earlysignal_core.models.calibration import Calibration
from earlysignal_core.models.ensemble import members_of
from earlysignal_core.models.hyperparameters import ensemble_of
from earlysignal_core.models.side_by_side import side_by_side
from earlysignal_core.quarterly import make_base_models, make_model
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Settings
from earlysignal_core.tracking.card import write_card

GROUP = "models"
_KINDS = {"random_forest": "lightgbm", "logistic": "scikitlearn"}  # the library, where its name is another
_MOST_KINDS = 3


class ModelConfig(dg.Config):
    """How a model is named.

    Attributes
    ----------
    version : str
        ``auto`` (the calendar's, like v2018.3.0) or a name like v1.2.0.
    """

    version: str = AUTO


def card(context: dg.AssetExecutionContext, lake: Lake, version: str) -> dg.UrlMetadataValue | dg.TextMetadataValue:
    """Write a model's card anew, of all that is known by now, and return the link to it, or why there is none."""
    try:
        path = write_card(lake, version)
    except Exception as error:  # a page for people fails no training
        context.log.warning("the card of %s is not written: %s", version, error)
        return dg.MetadataValue.text(f"not written ({type(error).__name__}: {error})")
    return dg.MetadataValue.url(f"{Settings().report_url}/{path.removeprefix('reports/')}")


def _kinds_of(ensemble: EnsembleSettings) -> set[str]:
    """Return the libraries of the members, as many as Dagster shows."""
    libraries = dict.fromkeys(_KINDS.get(member.algorithm, member.algorithm) for member in ensemble.members)
    return set(list(libraries)[:_MOST_KINDS])


@dg.asset(
    deps=[DATASET],
    partitions_def=QUARTERS,
    backfill_policy=ALL_QUARTERS_IN_ONE_RUN,
    group_name=GROUP,
    kinds=_kinds_of(WORKSPACE.settings.ensemble),
    owners=[OWNER],
)
def base_models(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
    """The members of the quarter's model, each fitted on the train part, to choose by, and on all rows, to serve.

    No quarter's members need another's: one run fits those of any number of quarters, two at a time.
    """

    def make(quarter: Quarter) -> BaseModels | NoModelYet:
        return make_base_models(quarter, lake, ensemble_of(lake, Settings(), quarter))

    quarters = [Quarter.parse(key) for key in context.partition_keys]
    for quarter, made in zip(quarters, side_by_side(make, quarters), strict=True):
        context.add_asset_metadata(_of_members(made), partition_key=quarter.key)


def _of_members(made: BaseModels | NoModelYet) -> dict[str, Any]:
    if isinstance(made, NoModelYet):
        return {"no model yet": made.reason}
    return {
        "members": _members(made.model),
        **numbers({"members fitted": len(members_of(made.model)), "trees": made.model["trees"]}),
    }


@dg.asset(
    deps=[DATASET, base_models],
    partitions_def=QUARTERS,
    backfill_policy=ONE_QUARTER_PER_RUN,
    group_name=GROUP,
    kinds=_kinds_of(WORKSPACE.settings.ensemble),
    owners=[OWNER],
)
def models(context: dg.AssetExecutionContext, config: ModelConfig, lake: dg.ResourceParam[Lake]) -> Materialized:
    """The model that could have been in service when the quarter began: nothing that it learned from was known later.

    Its members are summed in log odds, calibrated, and given a threshold, by rows that they were not fitted on.
    """
    quarter = quarter_of(context)
    model = make_model(quarter, lake, config.version, ensemble_of(lake, Settings(), quarter))
    if isinstance(model, NoModelYet):
        return dg.MaterializeResult(metadata={"no model yet": model.reason})
    test = {f"test {name.replace('_', ' ')}": value for name, value in figures_of_test_part(model.metadata).items()}
    reliability = {when.replace("_", " "): found for when, found in model.metadata["reliability"].items()}
    months = model.metadata.get("window_months")
    importance = pd.Series(model.metadata["importance"], name="share of gain").rename_axis("feature").reset_index()
    return dg.MaterializeResult(
        metadata={
            "version": model.version,
            "card": card(context, lake, str(model.version)),
            "folder": f"{FOLDER}/{model.version}",
            "dataset": f"the last {months} months" if months else "all history",
            **numbers({"rows": model.metadata["rows"], "base rate": model.metadata["base_rate"], **test}),
            **numbers({"trees": model.model["trees"], "threshold": model.threshold, "features": len(model.features)}),
            "calibration": str(Calibration(**model.model["calibration"])),
            **numbers({f"test ECE {when}": found["ece"] for when, found in reliability.items() if found["forecast"]}),
            "reliability": picture("on the test part", plots.reliability(reliability)),
            "members": _members(model.model),
            "importance": shown(importance),
            "most important features": picture("importance", plots.importance(model.metadata["importance"])),
            "features left out": dg.MetadataValue.json(model.metadata["features_left_out"]),
        }
    )


def _members(model: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    rows = [
        {
            "algorithm": member["algorithm"],
            "trees": float(member["trees"]),
            "features": float(len(member["features"])),
            "months": member.get("window_months") or "as the dataset",
            "parameters": ", ".join(f"{name} {value}" for name, value in member["params"].items()),
        }
        for member in members_of(model)
    ]
    return shown(pd.DataFrame(rows))
