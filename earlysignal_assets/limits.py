"""The limits of monitoring as Dagster asset checks: one check for each rule, with what it says and why."""

from collections.abc import Mapping

import dagster as dg
import pandas as pd

from earlysignal_assets.describe import numbers, shown
from earlysignal_assets.partitions import DAYS
from earlysignal_core.monitoring.action import SERIOUS
from earlysignal_core.monitoring.day_record import DayRecord

_MEASURED = {"measured": "The rows that the champion was trained on are there to compare with."}
DRIFT_CHECKS = {
    "prediction_drift": "The predictions are distributed as those of the training rows (PSI).",
    "feature_drift": "Fewer than three features have drifted beyond chance and beyond what is usual. Plotted is the "
    "strategy's own count, of those above 0.15; `features_drifted` on the asset's page counts what the guards leave.",
    "features_missing": "No feature has gone missing.",
    **_MEASURED,
    "evidently_agrees": "Evidently draws its page, and its figures are ours.",
}
QUALITY_CHECKS = {
    "mean_shift": "No feature's mean of a week lies over two standard deviations off.",
    "stale": "The newest row of each cache is young enough; to predict from, where serving asks for it.",
    "volume": "As many rows arrive in each cache as before.",
}
METRICS_CHECKS = {
    "accuracy": "Accuracy is at least 75 %; alone it says nothing, so the AUC is asked too.",
    "auc": "The AUC is not surely below that of the champion's walk-forward.",
    "brier_skill": "The probabilities are not surely worse than the base rate.",
    "calibration": "The Brier score is not surely above 0.25 (judged once a week).",
    "importance": "The five most important features are those of training (judged once a month).",
    "latency": "A request takes less than 500 ms.",
    **_MEASURED,
}


def specs(asset: str, checks: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """Declare the checks of an asset; none blocks: a day that breaks a limit is still to be finished."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=DAYS)
        for name, description in checks.items()
    ]


def results(asset: str, record: DayRecord, checks: Mapping[str, str]) -> list[dg.AssetCheckResult]:
    """Return what a day's record says, check by check."""
    found = []
    for name in checks:
        of_check = record.of_kind(name)
        acting = of_check[of_check["effective"].astype(bool)]
        serious = bool(acting["action"].isin(SERIOUS).any())
        found.append(
            dg.AssetCheckResult(
                check_name=name,
                asset_key=asset,
                passed=acting.empty,
                severity=dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN,
                description=_said(acting) if len(acting) else _in_order(of_check),
                metadata={
                    **numbers(dict(zip(of_check["figure"].head(1), of_check["value"].astype("float64"), strict=False))),
                    "rules": shown(of_check, 60),
                },
            )
        )
    return found


def _said(rules: pd.DataFrame) -> str:
    return "; ".join(rules.head(3)["reason"])


def _in_order(rules: pd.DataFrame) -> str:
    """Say of rules that do not act what was judged; one may have a line for each cache."""
    if len(rules) < 2:
        return _said(rules) or "nothing to judge"
    values = zip(rules["rule"].str.partition(":")[2], rules["value"], strict=True)
    told = ", ".join(f"{name} {value:.3g}" for name, value in values)
    return f"none of {len(rules)} acts: {rules['figure'].iloc[0]} of {told}"
