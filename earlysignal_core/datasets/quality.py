"""Is a quarter fit to learn from? Five checks, each a few lines of one rule table; the verdict is one pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.datasets.comparison import FloatArray, compare
from earlysignal_core.features.catalogue import Feature
from earlysignal_core.features.table import active_features
from earlysignal_core.quarters import Quarter
from earlysignal_core.rules import Guard, Rule, Verdict, evaluate
from earlysignal_core.settings import QualityLimits
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE, TABLES, Axis
from earlysignal_core.trading_calendar import as_of

# Quarters that a quarter is compared with: two years hold every season twice.
REFERENCE_QUARTERS = 8
STEPS_PER_QUARTER = {Axis.SESSION: 63, Axis.FISCAL_QUARTER: 1, Axis.DAY: 91}


class Severity(StrEnum):
    """What a verdict does: a critical one refuses the quarter."""

    WARNING = "warning"
    CRITICAL = "critical"


class Check(StrEnum):
    """The five checks; the first three need the quarter alone, the others compare it with the quarters before."""

    COMPLETENESS = "completeness"
    TEMPORAL_INTEGRITY = "temporal_integrity"
    LABEL_BALANCE = "label_balance"
    OUTLIERS = "outliers"
    DISTRIBUTION = "distribution"


CHECKS_OF_A_QUARTER = (Check.COMPLETENESS, Check.TEMPORAL_INTEGRITY, Check.LABEL_BALANCE)
CHECKS_AGAINST_EARLIER = (Check.OUTLIERS, Check.DISTRIBUTION)


@dataclass(frozen=True)
class Judgement:
    """What the checks say of one quarter.

    Attributes
    ----------
    verdicts : list of Verdict
        One for each line of the rule table; a rule's name is its check's, its action a `Severity`.
    features : DataFrame
        One row a feature: ``feature, counted, present, outliers, distance, limit``; shares and Kolmogorov–Smirnov
        distances, NaN where there is too little to compare. Features that are shown only have ``counted`` False.
    figures : dict of str to float
    """

    verdicts: list[Verdict]
    features: pd.DataFrame
    figures: dict[str, float]

    @property
    def refusals(self) -> list[str]:
        """Why the quarter is refused; empty where it is accepted."""
        return [
            f"{verdict.rule.name}: {verdict.reason}"
            for verdict in self.verdicts
            if verdict.effective and verdict.rule.action == Severity.CRITICAL
        ]

    def of(self, check: Check) -> list[Verdict]:
        """Return the verdicts of one check."""
        return [verdict for verdict in self.verdicts if verdict.rule.name == check]


def rule_table(limits: QualityLimits) -> list[Rule]:
    """Return every rule of the five checks."""
    enough_rows = Guard("rows", ">=", 30, "fewer than 30 rows")
    enough_labels = Guard("labelled_rows", ">=", 100, "fewer than 100 labelled rows")
    a_year_before = Guard("earlier_quarters", ">=", 4, "less than a year to compare with")
    compared = (enough_rows, a_year_before)
    rules = [Rule(Check.TEMPORAL_INTEGRITY, figure, ">", 0, Severity.CRITICAL) for figure in TEMPORAL_FIGURES]
    for severity in Severity:
        limit = {check: getattr(limits, f"{check}_{severity}") for check in Check if check != Check.TEMPORAL_INTEGRITY}
        low, high = limit[Check.LABEL_BALANCE]
        rules += [
            Rule(Check.COMPLETENESS, "completeness", "<", limit[Check.COMPLETENESS], severity, (enough_rows,)),
            Rule(Check.LABEL_BALANCE, "share_of_large_beats", "<", low, severity, (enough_labels,)),
            Rule(Check.LABEL_BALANCE, "share_of_large_beats", ">", high, severity, (enough_labels,)),
            Rule(Check.OUTLIERS, "worst_outlier_share", ">", limit[Check.OUTLIERS], severity, compared),
            Rule(Check.DISTRIBUTION, "share_of_shifted_features", ">", limit[Check.DISTRIBUTION], severity, compared),
        ]
    return rules


def judge_quarter(
    quarter: Quarter,
    table: pd.DataFrame,
    labels: pd.DataFrame,
    earlier: Sequence[pd.DataFrame],
    source: SourceDescription,
) -> Judgement:
    """Judge one quarter by the five checks.

    Parameters
    ----------
    quarter : Quarter
    table : DataFrame
        Its feature table.
    labels : DataFrame
        Its labels, as far as they are known.
    earlier : sequence of DataFrame
        The feature tables of the accepted quarters before it, oldest first; the last `REFERENCE_QUARTERS` are used.
        Without any, the checks that compare cannot fire.
    source : SourceDescription
        Says which features are active, since when it has each table, and the limits.

    Notes
    -----
    A feature whose look-back reaches before the source's first quarter cannot exist yet and is not missing. A feature
    that all companies share on a day (the calendar, interest rates and what is made with them) is a handful of
    independent values, all of them new when the world moves: its outliers and its shift are shown and not counted.
    """
    features = active_features(source)
    before = [_values(rows, list(features)) for rows in list(earlier)[-REFERENCE_QUARTERS:]]
    return _judge(quarter, table, labels, _values(table, list(features)), before, features, source)


def judge_history(
    tables: Mapping[Quarter, pd.DataFrame], labels: Mapping[Quarter, pd.DataFrame], source: SourceDescription
) -> dict[Quarter, Judgement]:
    """Judge quarter after quarter, each against the accepted ones before it.

    Parameters
    ----------
    tables, labels : mapping of Quarter to DataFrame
        Oldest first; quarters with announcements only.
    source : SourceDescription
    """
    features, accepted, judged = active_features(source), list[FloatArray](), dict[Quarter, Judgement]()
    for quarter, table in tables.items():
        values = _values(table, list(features))
        reference = accepted[-REFERENCE_QUARTERS:]
        judged[quarter] = _judge(quarter, table, labels[quarter], values, reference, features, source)
        if not judged[quarter].refusals:
            accepted.append(values)
    return judged


def _judge(
    quarter: Quarter,
    table: pd.DataFrame,
    labels: pd.DataFrame,
    values: FloatArray,
    before: list[FloatArray],
    features: Mapping[str, Feature],
    source: SourceDescription,
) -> Judgement:
    first = source.first_quarters
    mature = np.array([_is_mature(feature, quarter, first) for feature in features.values()], dtype=bool)
    counted = np.array([feature.of_the_company for feature in features.values()], dtype=bool)
    present = np.isfinite(values).mean(axis=1) if len(table) else np.full(len(features), np.nan)
    reference = np.hstack(before) if before else np.empty((len(features), 0))
    outliers, distance, limit = compare(values, reference)
    comparable = counted & np.isfinite(distance)

    known = labels["label"].dropna()
    figures = {
        "rows": float(len(table)),
        "labelled_rows": float(len(known)),
        "earlier_quarters": float(len(before)),
        "completeness": _mean(present[mature]),
        "share_of_large_beats": _mean(known.to_numpy()),
        "worst_outlier_share": float(outliers[comparable].max()) if comparable.any() else np.nan,
        "share_of_shifted_features": _mean((distance > limit)[comparable]),
        **_temporal_figures(quarter, table, labels),
    }
    shown = pd.DataFrame(
        {
            "feature": list(features),
            "counted": counted,
            "present": present,
            "outliers": outliers,
            "distance": distance,
            "limit": limit,
        }
    )
    return Judgement([evaluate(rule, figures) for rule in rule_table(source.settings.quality)], shown, figures)


TEMPORAL_FIGURES = (
    "rows_outside_the_quarter",
    "rows_with_an_as_of_against_the_rule",
    "labels_known_by_as_of",
    "events_twice",
)


def _temporal_figures(quarter: Quarter, table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, float]:
    moment = table["as_of"].to_numpy("datetime64[ns]")
    label = pd.Index(labels["event"]).get_indexer(table["event"])
    known = np.append(labels[KNOWABLE].to_numpy("datetime64[ns]"), np.datetime64("NaT"))[label]  # -1: no label
    counts = (
        ~table["announced_on"].between(quarter.start, quarter.end).to_numpy(),
        moment != as_of(table["scheduled_on"]).to_numpy("datetime64[ns]"),
        moment >= known,
        table["event"].duplicated().to_numpy(),
    )
    return {figure: float(count.sum()) for figure, count in zip(TEMPORAL_FIGURES, counts, strict=True)}


def _is_mature(feature: Feature, quarter: Quarter, since: Mapping[str, Quarter]) -> bool:
    def reaches_no_further(fact: str, table: str) -> bool:
        steps = ceil(feature.needs.get(table, 0) / STEPS_PER_QUARTER[TABLES[table].axis])
        return fact in since and quarter - since[fact] >= steps

    # A series or a column may begin later than its table.
    facts = [fact.split(":") for fact in feature.requires]
    return all(reaches_no_further(table, table) for table in feature.needs) and all(
        any(reaches_no_further(f"{table}:{name}", table) for name in names.split("|"))
        for table, names in facts
        if table in TABLES
    )


def _values(table: pd.DataFrame, names: list[str]) -> FloatArray:
    """Return a feature table's values, shape (features, rows); infinite ones count as missing."""
    values = table[names].to_numpy(dtype="float64").T
    return np.where(np.isinf(values), np.nan, values)


def _mean(values: npt.NDArray[np.generic]) -> float:
    return float(values.mean()) if len(values) else np.nan
