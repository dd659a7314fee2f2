"""The judgement on each quarter's model, and on all of them together."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from earlysignal_assets.datasets import DATASET
from earlysignal_assets.describe import OWNER, Materialized, numbers, picture, schema_of, shown
from earlysignal_assets.models import card, models
from earlysignal_assets.partitions import ONE_QUARTER_PER_RUN, QUARTERS, quarter_of, quarters_back
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.datasets.quality import Severity
from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.judge import Evaluation
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import NoModelYet
from earlysignal_core.quarterly import PREDICTIONS, REPORT, make_evaluation, make_report
from earlysignal_core.rules import Rule, evaluate
from earlysignal_core.settings import Settings

GROUP = "evaluation"
EVALUATION = "evaluation"


def figures_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return the model's figures, each beside that of every baseline."""
    return pd.DataFrame(
        [
            {
                "figure": name,
                "model": figure.value,
                "low": figure.low,
                "high": figure.high,
                **{baseline: judged.figures[name].value for baseline, judged in evaluation.baselines.items()},
            }
            for name, figure in evaluation.model.by_name.items()
        ]
    )


def plotted(evaluation: Evaluation) -> dict[str, float]:
    """Return the figures that plot over partitions."""
    figures = {name: figure.value for name, figure in evaluation.model.by_name.items()}
    auc = evaluation.model["auc"]
    return {
        **figures,
        "n": evaluation.model.n,
        "auc_low": auc.low,
        "auc_high": auc.high,
        **{f"{name}_n": n for name, n in evaluation.model.rows_behind.items()},
        "precision_top10": evaluation.top_decile.precision.value,
        "base_rate_top10": evaluation.top_decile.base_rate.value,
    }


def by_quarter(quarters: Sequence[Evaluation]) -> pd.DataFrame:
    """Return the walk-forward table."""
    return pd.DataFrame(
        [
            {
                "quarter": judged.name,
                "n": judged.model.n,
                "base rate": judged.model["base_rate"].value,
                "AUC": judged.model["auc"].value,
                "low": judged.model["auc"].low,
                "high": judged.model["auc"].high,
                "AUC within companies": judged.model["auc_within_company"].value,
                "AUC given a large surprise": judged.model["auc_given_large_surprise"].value,
                "Brier": judged.model["brier"].value,
                "Brier of the base rate": judged.model["brier_base_rate"].value,
                "precision of the top 10 %": judged.top_decile.precision.value,
            }
            for judged in quarters
        ]
    )


@dg.asset(
    name=EVALUATION,
    deps=[
        models,
        DATASET,
        FEATURES,
        LABELS,
        # Share classes of one company are told by their announcements.
        dg.AssetDep("earnings", partition_mapping=quarters_back(1000)),
        # Events at the quarter's end move prices in the next one; splits and shifts are told from the one before.
        dg.AssetDep("ohlcv", partition_mapping=quarters_back(1, including=1)),
        # "Top 10 %" is relative to the predictions of the year before.
        dg.AssetDep(EVALUATION, partition_mapping=quarters_back(5, including=-1)),
    ],
    partitions_def=QUARTERS,
    backfill_policy=ONE_QUARTER_PER_RUN,
    group_name=GROUP,
    kinds={"scikitlearn", "matplotlib"},
    owners=[OWNER],
)
def evaluation(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Materialized:
    """The quarter's model on the quarter's announcements, which it has never seen, beside naive baselines.

    Intervals (95 %) are from whole companies drawn with replacement.
    """
    quarter = quarter_of(context)
    judged = make_evaluation(quarter, lake, Settings())
    if isinstance(judged, NoModelYet):
        return dg.MaterializeResult(metadata={"not judged": judged.reason, **numbers({"n": 0})})
    return dg.MaterializeResult(
        metadata={
            **numbers(plotted(judged)),
            "figures": shown(figures_table(judged), 40),
            "curves": picture("ROC, calibration, confusion", plots.panel(judged)),
            "predictions without an outcome": judged.unlabelled,
            **{f"card of {version}": card(context, lake, version) for version in judged.versions},
            "dagster/column_schema": schema_of(lake.read(PREDICTIONS, [quarter])),
        }
    )


PLAUSIBLE = "auc_is_plausible"
_LEAK_SIGNATURE = Rule(PLAUSIBLE, "auc_low", ">", 0.88, Severity.WARNING)


@dg.asset(
    deps=[evaluation],
    check_specs=[
        dg.AssetCheckSpec(
            PLAUSIBLE,
            asset="walk_forward",
            description="An AUC whose whole interval lies above .88 is a leak until proved otherwise.",
        )
    ],
    group_name=GROUP,
    kinds={"html"},
    owners=[OWNER],
    automation_condition=(
        dg.AutomationCondition.any_deps_updated()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ),
)
def walk_forward(lake: dg.ResourceParam[Lake]) -> Materialized:
    """All quarters judged together, and apart those that no choice has seen; the full report is one HTML page."""
    judged = make_report(lake, Settings())
    if judged is None:
        return dg.MaterializeResult(
            metadata={"not judged": "no quarter has a model that could be judged yet"},
            check_results=[dg.AssetCheckResult(passed=True, check_name=PLAUSIBLE, description="nothing to judge yet")],
        )
    verdict = evaluate(_LEAK_SIGNATURE, {"auc_low": judged.pooled.model["auc"].low})
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(f"{Settings().report_url}/{REPORT.removeprefix('reports/')}"),
            **numbers(plotted(judged.pooled)),
            "by quarter": shown(by_quarter(judged.quarters), 100),
            "dagster/column_schema": schema_of(by_quarter(judged.quarters)),
            "AUC and base rate": picture("by quarter", plots.by_quarter(judged.quarters, judged.pooled)),
            "all quarters": shown(figures_table(judged.pooled), 40),
            f"untouched, from {judged.untouched_from}": shown(figures_table(judged.untouched), 40),
            "curves": picture("ROC, calibration, confusion", plots.panel(judged.pooled)),
            "excess return": picture("compounded", plots.cumulative_excess(judged.pooled)),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not verdict.effective,
                check_name=PLAUSIBLE,
                severity=dg.AssetCheckSeverity.WARN,
                description=verdict.reason,
            )
        ],
    )
