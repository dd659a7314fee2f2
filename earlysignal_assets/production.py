"""A day of production: refreshed, predicted, collected, decided; and the challengers that its decisions ask for."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from earlysignal_assets import requests
from earlysignal_assets.caches import CACHE_ASSETS, universe
from earlysignal_assets.clock import domain_now
from earlysignal_assets.describe import OWNER, Materialized, decisions_shown, numbers, picture, shown
from earlysignal_assets.models import card
from earlysignal_assets.partitions import DAYS, day_of
from earlysignal_assets.standing_facts import shown_moment
from earlysignal_core import daily
from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.test_part import figures_of_test_part
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import days, decisions, deployments
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import FOLDER, Bundle, NoModelYet
from earlysignal_core.production import Hour, Production
from earlysignal_core.serving.confidence import HIGH_FROM, MEDIUM_FROM
from earlysignal_core.settings import Settings
from earlysignal_core.sources import Source
from earlysignal_core.tables import CACHES

GROUP = "production"
SERVED_AS_BUILT, WITHIN_8_DAYS = "served_equals_feature_table", "outcomes_within_8_days"


def production_of(lake: Lake, ledger: Ledger) -> Production:
    """Return what a day works on."""
    return Production(lake, ledger, Settings())


@dg.asset(partitions_def=DAYS, group_name=GROUP, kinds={"pandas", "parquet"}, owners=[OWNER])
def refreshed_data(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    ledger: dg.ResourceParam[Ledger],
    source: dg.ResourceParam[Source],
) -> Materialized:
    """01:00. Caches, labels and features of the quarters of which rows may still come; missing earlier ones too.

    The caches' own pages show what was written here. Where a provider fails, what it gave before stands, and this page
    says which and why.
    """
    refreshed = daily.refresh(day_of(context), production_of(lake, ledger), source)
    for asset, quarters in refreshed.written.items():
        for quarter in quarters:
            context.log_event(dg.AssetMaterialization(asset, partition=quarter.key))
    every = sorted({quarter for quarters in refreshed.written.values() for quarter in quarters})
    gaps = [
        gap
        for cache in set(refreshed.written) & set(CACHES)
        for quarter in refreshed.written[cache]
        for table in CACHES[cache]
        for gap in source.gaps(table, quarter)
    ]
    failed = [{"cache": cache, "why": str(error)} for cache, error in refreshed.failed.items()]
    return dg.MaterializeResult(
        metadata={
            **numbers(
                {"quarters": len(every), "partitions": sum(map(len, refreshed.written.values())), "gaps": len(gaps)}
            ),
            "collected": f"{every[0]} to {every[-1]}" if every else "nothing: the lake has all that the source holds",
            **({"not collected": shown(pd.DataFrame(failed))} if failed else {}),
            **({"degraded": shown(pd.DataFrame(gaps).drop_duplicates(), 50)} if gaps else {}),
        }
    )


@dg.asset(
    deps=[refreshed_data, *CACHE_ASSETS, universe],
    check_specs=[
        dg.AssetCheckSpec(
            SERVED_AS_BUILT,
            asset="predictions",
            partitions_def=DAYS,
            description="Every feature served in the last 30 days is, bit for bit, what the feature table says now.",
        )
    ],
    partitions_def=DAYS,
    group_name=GROUP,
    kinds={"lightgbm", "postgres"},
    owners=[OWNER],
)
def predictions(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """02:00. The champion's answers for every announcement that is seven days ahead, and the challengers' in shadow.

    Every request is in the ledger, also one that nothing could answer. A finished day is read back, never made anew.

    Figures over days: *Plots*, then *Events*. (By *Partitions* Dagster looks for today's, and a tape's lie years back.)
    """
    day, production = day_of(context), production_of(lake, ledger)
    # On a tape a day is lived at its own time; live, one that was missed is predicted when it is made up for.
    now = domain_now(ledger) if days.clock(ledger) is None else None
    made = daily.predict(day, production, now)
    rows = made.rows
    answered = rows["predicted_probability"].notna()
    parity = daily.compare_with_feature_tables(day, production)
    best_first = rows.sort_values("predicted_probability", ascending=False, na_position="last")
    table = pd.DataFrame(
        {
            "symbol": best_first["symbol"],
            "announced": best_first["announced_on"],
            "probability": best_first["predicted_probability"],
            "call": best_first["predicted_class"].map({1: "large beat", 0: "no"}),
            "confidence": best_first["confidence_level"],
        }
    )
    return dg.MaterializeResult(
        metadata={
            "champion": made.champion or "none yet: nothing is predicted before the first promotion",
            "rolled back to": made.rolled_back_to or "–",
            "predictions": shown(table, 50) if len(table) else "no company announces in seven days",
            "answered by": ", ".join(map(str, rows["model_version"].unique())) or "–",
            **numbers({"events": len(rows), "answered": answered.sum(), "missed": len(made.missed)}),
            **numbers({"calls of a large beat": (rows["predicted_class"] == 1).sum()}),
            **numbers({"mean probability": rows["predicted_probability"].mean() if answered.any() else float("nan")}),
            "confidence": f"the chance that a call is right: HIGH from {HIGH_FROM:.0%}, MEDIUM from {MEDIUM_FROM:.0%}",
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not parity.different,
                check_name=SERVED_AS_BUILT,
                severity=dg.AssetCheckSeverity.ERROR,
                description="; ".join(f"{event}: {names}" for event, names in list(parity.different.items())[:5])
                or f"{parity.compared} predictions compared, {parity.without_row} without a row of the same as_of",
                metadata=numbers({"compared": parity.compared, "without a row": parity.without_row}),
            )
        ],
    )


@dg.asset(deps=[predictions], partitions_def=DAYS, group_name=GROUP, kinds={"pandas", "parquet"}, owners=[OWNER])
def stock_selection(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """The day's predictions ranked, the top 10 % of the year selected, each with what moved the model most.

    Selected: above the 90th percentile of the predictions of the 365 days before. Contributions are SHAP values, in log
    odds before calibration.
    """
    chosen = daily.choose_stocks(day_of(context), production_of(lake, ledger))
    table = chosen[["rank", "symbol", "probability", "selected", "confidence_level", "reasons", "limit"]]
    return dg.MaterializeResult(
        metadata={
            "selected symbols": ", ".join(chosen.loc[chosen["selected"], "symbol"]) or "none",
            "selection": shown(table.rename(columns={"confidence_level": "confidence"}), 50)
            if len(table)
            else "nothing was predicted on this day",
            **numbers({"ranked": chosen["rank"].notna().sum(), "selected": chosen["selected"].sum()}),
        }
    )


@dg.asset(
    deps=[refreshed_data, predictions],
    check_specs=[
        dg.AssetCheckSpec(
            WITHIN_8_DAYS,
            asset="outcomes",
            partitions_def=DAYS,
            description="Every prediction has its outcome within 8 days of its becoming knowable.",
        )
    ],
    partitions_def=DAYS,
    group_name=GROUP,
    kinds={"postgres"},
    owners=[OWNER],
)
def outcomes(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """04:00. What became of the predictions: the label, and the returns after 7 and 30 days.

    An announcement that did not come and one that was restated are kept apart from class 0. Makes up for missed days.
    """
    found = daily.collect_results(day_of(context), production_of(lake, ledger))
    counts = pd.DataFrame(
        [(str(horizon), str(status), n) for (horizon, status), n in sorted(found.counts.items())],
        columns=["horizon", "status", "new revisions"],
    )
    return dg.MaterializeResult(
        metadata={
            "recorded": shown(counts) if len(counts) else "nothing has become known since the last look",
            "oldest that waits": shown_moment(found.oldest_waiting) if found.oldest_waiting is not None else "–",
            **numbers({"new revisions": len(found.recorded), "overdue": found.overdue}),
            **numbers({f"waiting for {horizon}": n for horizon, n in found.waiting.items()}),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=found.overdue == 0,
                check_name=WITHIN_8_DAYS,
                severity=dg.AssetCheckSeverity.ERROR,
                description=f"{found.overdue} predictions wait for an outcome that has been knowable for over 8 days",
                metadata=numbers({"overdue": found.overdue}),
            )
        ],
    )


@dg.asset(
    deps=["drift_report", "live_data_quality", "production_metrics", stock_selection],
    partitions_def=DAYS,
    group_name=GROUP,
    kinds={"postgres"},
    owners=[OWNER],
)
def retrain_decision(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> Materialized:
    """06:00. When to retrain: every line of the tree with its figure; the first that acts decides. It finishes the day.

    Raw is the strategy's rule as written, effective the rule with its guards; only the effective one acts.
    """
    made = daily.decide(day_of(context), production_of(lake, ledger))
    acts = made.lines[made.lines["effective"]]
    return dg.MaterializeResult(
        metadata={
            "decided": decisions_shown(made.decisions),
            "lines": shown(made.lines[["rule", "reason", "raw", "effective", "value", "fires_when"]], 20),
            **numbers({"lines that fire": made.lines["raw"].sum(), "lines that act": len(acts)}),
        }
    )


class RetrainConfig(dg.Config):
    """What a retrain that is materialised by hand is for; a run that a decision has caused ignores it.

    Attributes
    ----------
    reason : str
        Recorded with the decision.
    window_months : int, optional
        How much history to train on; by default what the settings say.
    """

    reason: str = "materialised by hand"
    window_months: int | None = None


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "challenger",
            deps=[refreshed_data],
            group_name=GROUP,
            kinds={"lightgbm", "scikitlearn"},
            owners=[OWNER],
            description="The model that a retrain has made of all that was known when the day began; the run's tags "
            "tell what caused it.",
        ),
        dg.AssetSpec(
            "promotion",
            deps=["challenger"],
            group_name=GROUP,
            kinds={"postgres"},
            owners=[OWNER],
            description="Champion against challenger on the same events, with paired intervals, and what the rules "
            "make of it: on a ramp to serve, in an A/B test, refused, or undecided and judged again weekly. As of each "
            "retrain: how it stands now, and what a person has promoted since, says `production_status`.",
        ),
    ],
    partitions_def=DAYS,
    name="train_and_judge",
)
def retrain(
    context: dg.AssetExecutionContext,
    config: RetrainConfig,
    lake: dg.ResourceParam[Lake],
    ledger: dg.ResourceParam[Ledger],
) -> Iterator[Materialized]:
    """Train the challenger, and hold it against the champion."""
    day, production = day_of(context), production_of(lake, ledger)
    request = requests.begin(context, day, production, config.reason, config.window_months)
    model = daily.retrain(day, production, request)
    yield dg.MaterializeResult(asset_key="challenger", metadata=_of_model(context, model, request, lake))
    kind = daily.challenge(day, production, request, model)
    # Without an end: what a person has decided meanwhile may have put the judgement off.
    judged = decisions.read(ledger, since=Hour.CHALLENGE.of(day) - pd.Timedelta(1, "us"))
    yield dg.MaterializeResult(asset_key="promotion", metadata=_of_judgement(kind, judged, ledger))


def _of_model(
    context: dg.AssetExecutionContext, model: Bundle | NoModelYet, request: RetrainRequest, lake: Lake
) -> dict[str, Any]:
    caused = {"cause": request.cause, "request": request.id, "attempt": request.attempts}
    if isinstance(model, NoModelYet):
        return {**caused, "no model yet": model.reason}
    test = {f"test {name.replace('_', ' ')}": value for name, value in figures_of_test_part(model.metadata).items()}
    return {
        **caused,
        "version": model.version,
        "card": card(context, lake, str(model.version)),
        "folder": f"{FOLDER}/{model.version}",
        "window": f"{request.window_months} months" if request.window_months else "all history, or as set",
        **numbers({"rows": model.metadata["rows"], "base rate": model.metadata["base_rate"], **test}),
        **numbers({"trees": model.model["trees"], "threshold": model.threshold, "features": len(model.features)}),
        "most important features": picture("importance", plots.importance(model.metadata["importance"])),
    }


# The ledger keeps figures without an order.
_OF_COMPARISON = {
    "events": "common events",
    "large_beats": "large beats among them",
    "companies": "companies",
    "days": "announcement days",
    "champion_auc": "AUC of the champion",
    "walk_forward_auc": "AUC of the challenger",
    "walk_forward_auc_low": "AUC of the challenger, from",
    "auc_difference": "AUC difference",
    "auc_difference_low": "AUC difference, from",
    "auc_difference_high": "AUC difference, to",
    "accuracy_difference": "accuracy difference",
    "sharpe_difference": "Sharpe ratio difference",
    "challengers_tried": "challengers tried since the last promotion",
}


def _of_judgement(kind: DecisionKind, made: pd.DataFrame, ledger: Ledger) -> dict[str, Any]:
    told = {name: value for figures in made["figures"] for name, value in figures.items()}
    compared = {label: told.pop(name) for name, label in _OF_COMPARISON.items() if name in told}
    standing = deployments.champion(ledger)
    return {
        "decided": str(kind),
        "champion": standing.version if standing else "none",
        "challengers": ", ".join(_stands(each) for each in deployments.challengers(ledger)) or "none",
        "decisions": decisions_shown(made),
        **numbers({**compared, **dict(sorted(told.items()))}),
    }


def _stands(challenger: Deployment) -> str:
    share = challenger.traffic_share
    return f"{challenger.version} ({f'on a ramp, {share} % of the answers' if share else 'in shadow'})"
