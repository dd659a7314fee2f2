"""The universe, the seven caches and the user's own sentiment: the source's tables, checked and kept by quarter."""

from functools import partial

import dagster as dg
import pandas as pd

from earlysignal_assets.describe import OWNER, Materialized, numbers, schema_of, schema_of_table, shown
from earlysignal_assets.partitions import ALL_QUARTERS_IN_ONE_RUN, QUARTERS
from earlysignal_core.audit.findings import audit
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import collect, collect_universe, make_audit
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import Source
from earlysignal_core.sources.source import Tally
from earlysignal_core.tables import CACHES, TABLES, UNIVERSE, each_company

GROUP = "caches"

_DESCRIPTIONS = {
    "earnings": "Announcements with the consensus before them and the actual; where the source has them, dated "
    "snapshots of the consensus and the calendar of announcements as it was known.",
    "ohlcv": "Daily bars of every company, the benchmark and the sector ETFs; splits and dividends beside them.",
    "income_statements": "Quarterly statements, known from the filing on and never from the period's end.",
    "analyst_ratings": "Analysts' grades and price targets, known from the end of the day of publication.",
    "sec_filings": "Insider trades (Form 4), 8-K and periodic reports, and 13F holdings, known on acceptance.",
    "options": "Put and call volume and implied volatility by session.",
    "sentiment": "Scored news and posts of a table that the user brings, known from the moment of each.",
    "macro": "Economic series by vintage, known from the release on and never from the reference period.",
}


@dg.asset(
    name=UNIVERSE,
    group_name=GROUP,
    kinds={"parquet"},
    owners=[OWNER],
    metadata={"dagster/column_schema": schema_of_table(UNIVERSE)},
)
def universe(lake: dg.ResourceParam[Lake], source: dg.ResourceParam[Source]) -> Materialized:
    """The companies with their sectors as of today, and the days of their membership where the source has them."""
    companies = each_company(collect_universe(source, lake))
    described = source.description
    return dg.MaterializeResult(
        metadata={
            **numbers({"companies": len(companies), "without a sector": companies["sector"].isna().sum()}),
            "source": described.name,
            "tables": ", ".join(described.tables),
            "assumptions": dg.MetadataValue.md("\n".join(f"* {line}" for line in described.assumptions) or "none"),
            "sectors": shown(companies["sector"].value_counts(dropna=False).rename_axis("sector").reset_index()),
        }
    )


def _collect(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], source: dg.ResourceParam[Source], *, cache: str
) -> None:
    for quarter, collected in collect(
        source, lake, cache, [Quarter.parse(key) for key in context.partition_keys]
    ).items():
        rows = {f"rows of {table}" if table != cache else "rows": count for table, count in collected.items()}
        tally = sum((source.tally(table, quarter) for table in collected), Tally())
        asked = {"requests": tally.asked, "hit rate": tally.hit_rate} if tally.asked + tally.kept else {}
        context.add_asset_metadata(numbers(rows | asked), partition_key=quarter.key)
        gaps = [gap for table in collected for gap in source.gaps(table, quarter)]
        if gaps:
            degraded = {**numbers({"gaps": len(gaps)}), "degraded": shown(pd.DataFrame(gaps), 50)}
            context.add_asset_metadata(degraded, partition_key=quarter.key)
            context.log.warning(
                "%s of %s is degraded: %d gap(s), the first: %s", cache, quarter, len(gaps), gaps[0].why
            )
    if not set(CACHES[cache]) & set(source.description.tables):
        context.log.warning("the source has no table of this cache: the features that need it are inactive")


def cache_asset(cache: str) -> dg.AssetsDefinition:
    """Return the asset of a cache: one run collects any number of quarters."""
    compute = partial(_collect, cache=cache)
    tables = CACHES[cache]
    beside = f"\n\nHolds the tables {', '.join(f'`{table}`' for table in tables)}." if len(tables) > 1 else ""
    return dg.asset(
        name=cache,
        partitions_def=QUARTERS,
        backfill_policy=ALL_QUARTERS_IN_ONE_RUN,
        group_name=GROUP,
        kinds={"parquet"},
        owners=[OWNER],
        description=_DESCRIPTIONS[cache] + beside,
        metadata={
            "dagster/column_schema": schema_of_table(cache),
            "key": ", ".join(TABLES[cache].key) or "a hash of the row, with an ordinal",
        },
    )(compute)


CACHE_ASSETS = [cache_asset(cache) for cache in CACHES if cache != UNIVERSE]


@dg.asset(
    deps=[*CACHE_ASSETS, universe],
    group_name=GROUP,
    kinds={"pandas"},
    owners=[OWNER],
    metadata={"dagster/column_schema": schema_of(audit({}, ""))},
)
def data_audit(lake: dg.ResourceParam[Lake]) -> Materialized:
    """What is wrong with the data, found by general rules: kind, symbol, date, evidence, and what was done about it."""
    findings = make_audit(lake)
    counts = findings["kind"].value_counts()
    return dg.MaterializeResult(
        metadata={
            **numbers({"findings": len(findings), **{str(kind): n for kind, n in counts.items()}}),
            "by kind": shown(counts.rename_axis("kind").reset_index()),
            "false level shifts": shown(findings[findings["kind"] == "level_shift"], 50),
            "the first of each kind": shown(findings.groupby("kind", sort=False).head(3), 60),
        }
    )
