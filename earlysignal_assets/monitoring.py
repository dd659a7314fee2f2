"""What is watched every day, with a check for each limit."""

import dagster as dg
import pandas as pd

from earlysignal_assets.describe import OWNER, Materialized, alerts_shown, numbers, shown
from earlysignal_assets.legend import legend
from earlysignal_assets.limits import DRIFT_CHECKS, METRICS_CHECKS, QUALITY_CHECKS, results, specs
from earlysignal_assets.partitions import DAYS, day_of
from earlysignal_assets.production import outcomes, predictions, production_of, retrain_decision
from earlysignal_core import daily
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import alerts as raised
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Severity
from earlysignal_core.monitoring.daily_records import DRIFT, METRICS, QUALITY, page_of
from earlysignal_core.settings import Settings

GROUP, LEGEND = "monitoring", "what the figures mean"


@dg.asset(
    name=DRIFT,
    deps=[predictions],
    check_specs=specs(DRIFT, DRIFT_CHECKS),
    partitions_def=DAYS,
    group_name=GROUP,
    kinds={"scipy", "evidently", "html"},
    owners=[OWNER],
)
def drift_report(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """03:00. The rows served in the last 30 days against those that the champion was trained on.

    Kolmogorov-Smirnov distance of each feature, population stability index of the predictions, missing shares. A
    distance drifts when it is above 0.15, above chance and above what months of the training period kept within.

    Figures over days: *Plots*, then *Events*. (By *Partitions* Dagster looks for today's, and a tape's lie years back.)
    """
    day = day_of(context)
    record = daily.detect_drift(day, production_of(lake, ledger))
    page = page_of(day)
    shown_worst = record.tables.get("worst", record.tables.get("features"))
    link = f"{Settings().report_url}/{page.removeprefix('reports/')}"
    missing = [*record.of_kind("measured")["reason"], *record.of_kind("evidently_agrees")["reason"]]
    no_page = "; ".join(missing) or "too few rows to draw"
    return dg.MaterializeResult(
        metadata={
            "Evidently's page": dg.MetadataValue.url(link) if lake.exists(page) else no_page,
            "the ten farthest features": shown(shown_worst, 10) if shown_worst is not None else "none to show",
            **numbers(record.figures),
            LEGEND: legend(record.figures),
        },
        check_results=results(DRIFT, record, DRIFT_CHECKS),
    )


@dg.asset(
    name=QUALITY,
    deps=[predictions],
    check_specs=specs(QUALITY, QUALITY_CHECKS),
    partitions_def=DAYS,
    group_name=GROUP,
    kinds={"pandas"},
    owners=[OWNER],
)
def live_data_quality(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """05:00. The means of a week against the training rows; the age and the volume of each cache.

    Figures over days: *Plots*, then *Events*. (By *Partitions* Dagster looks for today's, and a tape's lie years back.)
    """
    record = daily.check_quality(day_of(context), production_of(lake, ledger))
    tables = {name: shown(table, 60) for name, table in record.tables.items()}
    return dg.MaterializeResult(
        metadata={**tables, **numbers(record.figures), LEGEND: legend(record.figures)},
        check_results=results(QUALITY, record, QUALITY_CHECKS),
    )


@dg.asset(
    name=METRICS,
    deps=[outcomes, drift_report],
    check_specs=specs(METRICS, METRICS_CHECKS),
    partitions_def=DAYS,
    group_name=GROUP,
    kinds={"scikitlearn", "lightgbm"},
    owners=[OWNER],
)
def production_metrics(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """05:00. How the predictions of the last 30 days did, each figure with n, interval and what it is held against.

    While outcomes are pending, accuracy is expected from the calibrated probabilities alone. One announcement in ten is
    a large beat, so accuracy says nothing without the accuracy of "never" beside it.

    Figures over days: *Plots*, then *Events*. (By *Partitions* Dagster looks for today's, and a tape's lie years back.)
    """
    record = daily.measure(day_of(context), production_of(lake, ledger))
    tables = {name: shown(table, 60) for name, table in record.tables.items()}
    # Plotted is how what was served did; the rules ask how the champion alone does, and the checks show that.
    served = record.tables.get("served", pd.DataFrame(columns=["figure", "value"]))
    plotted = record.figures | dict(zip(served["figure"], served["value"].astype("float64"), strict=True))
    return dg.MaterializeResult(
        metadata={**tables, **numbers(plotted), LEGEND: legend(plotted)},
        check_results=results(METRICS, record, METRICS_CHECKS),
    )


@dg.asset(deps=[retrain_decision], partitions_def=DAYS, group_name=GROUP, kinds={"postgres"}, owners=[OWNER])
def alerts(context: dg.AssetExecutionContext, ledger: dg.ResourceParam[Ledger]) -> Materialized:
    """06:00. What somebody should know of: broken limits, decisions, failed runs. The figures are the day's own.

    The alert sensor sends them to the addresses of `EARLYSIGNAL_ALERT_URLS`; without one they are kept, and shown here.
    """
    day = day_of(context)
    week = raised.read(ledger, since=day - pd.Timedelta(days=6))
    week = week[week["day"] <= day]
    today = week.loc[week["day"] == day, "severity"]
    return dg.MaterializeResult(
        metadata={
            "of the last seven days": alerts_shown(week),
            **numbers({str(severity): (today == severity).sum() for severity in Severity}),
            **numbers({"not delivered, of the last seven days": week["sent_at"].isna().sum()}),
        }
    )
