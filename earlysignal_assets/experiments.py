"""What was trained, side by side; and MLflow's record of it, where that is switched on."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from earlysignal_assets.describe import OWNER, Materialized, listed, numbers, shown
from earlysignal_assets.evaluation import EVALUATION, GROUP, walk_forward
from earlysignal_assets.models import models
from earlysignal_assets.partitions import WORKSPACE
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import versions
from earlysignal_core.settings import Settings
from earlysignal_core.tracking.record import ALL_QUARTERS, Record, record_of, record_of_walk_forward, row_of
from earlysignal_core.tracking.store import Experiments

_COLUMNS = {
    "version": "version",
    "until": "trained for",
    "workspace": "workspace",
    "algorithm": "algorithm",
    "window_months": "months",
    "features": "features",
    "training/rows": "rows",
    "out_of_sample/n": "n",
    "out_of_sample/base_rate": "base rate",
    "out_of_sample/auc": "AUC",
    "out_of_sample/auc_low": "low",
    "out_of_sample/auc_high": "high",
    "out_of_sample/auc_within_company": "AUC within companies",
    "out_of_sample/brier": "Brier",
    "out_of_sample/brier_base_rate": "of the base rate",
    "out_of_sample/ece": "ECE",
    "dataset_version": "dataset",
}


@dg.asset(
    deps=[models, EVALUATION, walk_forward, "challenger"],
    group_name=GROUP,
    kinds={"mlflow"},
    owners=[OWNER],
    automation_condition=(
        dg.AutomationCondition.any_deps_updated()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ),
)
def experiment_comparison(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Materialized:
    """Every training with its figures out of sample, side by side; with tracking on, those of other settings too.

    It records in MLflow what is not recorded yet (`earlysignal up --mlflow`, or EARLYSIGNAL_TRACKING=true). A store
    that cannot be reached fails nothing: the models are made elsewhere, and what is missing is recorded the next time.
    """
    records, damaged = _records(lake)
    table, told = _tracked(records, context)
    whole = table["version"] == ALL_QUARTERS if len(table) else pd.Series(dtype=bool)
    return dg.MaterializeResult(
        metadata={
            "all quarters, by settings": _shown(table[whole], "until", "features", "training/rows", "dataset_version"),
            "trainings": _shown(table[~whole], "out_of_sample/auc_within_company"),  # a quarter has one event a company
            "tracking": told,
            **({"cannot be read": listed(damaged, "")} if damaged else {}),
            **numbers({"runs": len(table), "recorded here": len(records)}),
        }
    )


def _records(lake: Lake) -> tuple[list[Record], list[str]]:
    found: list[Record] = []
    damaged: list[str] = []
    makers: list[Callable[[], Record | None]] = [partial(record_of_walk_forward, lake, WORKSPACE.name)]
    makers += [partial(record_of, lake, version, WORKSPACE.name) for version in versions(lake)]
    for make in makers:
        try:
            record = make()
        except EarlySignalError as error:  # a damaged bundle, or figures of older code
            damaged.append(str(error))
        else:
            found += [record] if record is not None else []
    return found, damaged


def _tracked(records: list[Record], context: dg.AssetExecutionContext) -> tuple[pd.DataFrame, str]:
    """Return the table of what is recorded, and what became of the recording."""
    here = pd.DataFrame([row_of(record) for record in records])
    url = Settings().tracking_url
    if url is None:
        return here, "off: only what this lake holds is shown (`earlysignal up --mlflow` switches it on)"
    try:
        experiments = Experiments(url.get_secret_value(), WORKSPACE.experiment, Lake(WORKSPACE.experiment_files))
        kept = experiments.keep(records, pd.Timestamp(datetime.now(UTC)))
        return experiments.table(), f"{kept.new} recorded, {kept.renewed} renewed, in `{WORKSPACE.experiment}`"
    except EarlySignalError as error:
        context.log.warning("not recorded: %s", error)
        return here, f"not recorded: {error}"


def _shown(table: pd.DataFrame, *without: str) -> Any:
    if table.empty:
        return "nothing yet"
    columns = [name for name in _COLUMNS if name in table and name not in without]
    keys = [(workspace, _numbers(version)) for workspace, version in table[["workspace", "version"]].to_numpy()]
    order = sorted(range(len(keys)), key=lambda place: keys[place])
    return shown(table.iloc[order][columns].rename(columns=_COLUMNS), 500)


def _numbers(version: str) -> list[int]:
    """Sort versions by number: v2018.10.0 comes after v2018.9.0."""
    return [int(part) for part in version.removeprefix("v").split(".") if part.isdigit()]
