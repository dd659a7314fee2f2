"""Is a quarter fit to learn from? Five checks, each a few lines of one rule table; the verdict is one pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.features.catalogue import Feature
from earlysignal_core.features.table import active_features
from earlysignal_core.quarters import Quarter
from earlysignal_core.rules import Guard, Rule, Verdict, evaluate
from earlysignal_core.settings import QualityLimits
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE, TABLES, Axis
from earlysignal_core.trading_calendar import as_of

FloatArray = npt.NDArray[np.float64]

# Quarters that a quarter is compared with: two years hold every season twice.
REFERENCE_QUARTERS = 8
STEPS_PER_QUARTER = {Axis.SESSION: 63, Axis.FISCAL_QUARTER: 1, Axis.DAY: 91}
# The range from the 1st to the 99th percentile is widened by this many times its width at both ends before a value
# counts as an outlier. On the long tape the worst feature of the worst quarter then has 0.5 % outliers, and a column
# in the wrong unit (times or divided by 100) has more than 10 %: docs/datasets.md.
STRETCH = 3.0
# A feature drifts when D exceeds the strategy's 0.15, or more where few rows make D large by chance (about 1 % over
# 64 features; Kolmogorov–Smirnov, two samples).
MIN_DISTANCE, CHANCE_DISTANCE = 0.15, 2.15


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
    that all companies share on a day (interest rates, the calendar) is a handful of independent values, all of them
    new when the world moves: its outliers and its shift are shown and not counted.
    """
    active = list(active_features(source).values())
    names = [feature.name for feature in active]
    mature = np.array([_is_mature(feature, quarter, source.first_quarters) for feature in active], dtype=bool)
    counted = np.array([not feature.of_the_day for feature in active], dtype=bool)
    reference = list(earlier)[-REFERENCE_QUARTERS:]

    values = _sorted(table[names].to_numpy(dtype="float64"))
    before = _sorted(np.concatenate([t[names].to_numpy(dtype="float64") for t in reference])) if reference else None
    present = np.isfinite(values).mean(axis=0) if len(table) else np.full(len(names), np.nan)
    outliers, distance, limit = compare(values, before) if before is not None else np.full((3, len(names)), np.nan)
    comparable = counted & np.isfinite(distance)

    known = labels["label"].dropna()
    figures = {
        "rows": float(len(table)),
        "labelled_rows": float(len(known)),
        "earlier_quarters": float(len(reference)),
        "completeness": _mean(present[mature]),
        "share_of_large_beats": _mean(known.to_numpy()),
        "worst_outlier_share": float(outliers[comparable].max()) if comparable.any() else np.nan,
        "share_of_shifted_features": _mean((distance > limit)[comparable]),
        **_temporal_figures(quarter, table, labels),
    }
    shown = pd.DataFrame(
        {
            "feature": names,
            "counted": counted,
            "present": present,
            "outliers": outliers,
            "distance": distance,
            "limit": limit,
        }
    )
    return Judgement([evaluate(rule, figures) for rule in rule_table(source.settings.quality)], shown, figures)


def judge_history(
    tables: Mapping[Quarter, pd.DataFrame],
    labels: Mapping[Quarter, pd.DataFrame],
    source: SourceDescription,
) -> dict[Quarter, Judgement]:
    """Judge quarter after quarter, each against the accepted ones before it.

    Parameters
    ----------
    tables, labels : mapping of Quarter to DataFrame
        Oldest first; quarters with announcements only.
    source : SourceDescription
    """
    accepted, judged = list[pd.DataFrame](), dict[Quarter, Judgement]()
    for quarter, table in tables.items():
        judged[quarter] = judge_quarter(quarter, table, labels[quarter], accepted, source)
        if not judged[quarter].refusals:
            accepted.append(table)
    return judged


def compare(values: FloatArray, before: FloatArray) -> FloatArray:
    """Compare the columns of two samples.

    Parameters
    ----------
    values, before : ndarray, shapes (n, features) and (m, features)
        Each column sorted, NaN last.

    Returns
    -------
    ndarray, shape (3, features)
        The share of outliers: values beyond the stretched range of those before, or, where that is more, values
        before beyond the stretched range of these (a scale that has collapsed). The Kolmogorov–Smirnov distance. The
        distance from which a feature counts as shifted. NaN for a column with fewer than 30 values in either.
    """
    result = np.full((3, values.shape[1]), np.nan)
    sizes, sizes_before = np.isfinite(values).sum(axis=0), np.isfinite(before).sum(axis=0)
    for column in np.flatnonzero((sizes >= 30) & (sizes_before >= 30)):
        n, m = sizes[column], sizes_before[column]
        new, old = values[:n, column], before[:m, column]
        result[:, column] = (
            max(_share_outside(new, old), _share_outside(old, new)),
            ks_distance(new, old),
            max(MIN_DISTANCE, CHANCE_DISTANCE * np.sqrt(1 / n + 1 / m)),
        )
    return result


def ks_distance(new: FloatArray, old: FloatArray) -> float:
    """Return the two-sample Kolmogorov–Smirnov distance of two sorted samples without NaN.

    Between two neighbours of `new` its distribution function is constant and that of `old` rises, so that the largest
    difference stands at, or right before, a value of `new`.
    """

    def difference(side: Literal["left", "right"]) -> float:
        shares = (np.searchsorted(sample, new, side) / len(sample) for sample in (new, old))
        return float(np.abs(next(shares) - next(shares)).max())

    return max(difference("left"), difference("right"))


def _share_outside(values: FloatArray, reference: FloatArray) -> float:
    low, high = np.quantile(reference, (0.01, 0.99))
    margin = STRETCH * (high - low)
    first, end = np.searchsorted(values, low - margin, "left"), np.searchsorted(values, high + margin, "right")
    return float(1 - (end - first) / len(values))


TEMPORAL_FIGURES = (
    "rows_outside_the_quarter",
    "rows_with_an_as_of_against_the_rule",
    "labels_known_by_as_of",
    "events_twice",
)


def _temporal_figures(quarter: Quarter, table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, float]:
    known_at = labels.drop_duplicates("event").set_index("event")[KNOWABLE].reindex(table["event"])
    counts = (
        ~table["announced_on"].between(quarter.start, quarter.end),
        table["as_of"] != as_of(table["scheduled_on"]),
        table["as_of"] >= known_at.set_axis(table.index),
        table["event"].duplicated(),
    )
    return {figure: float(count.sum()) for figure, count in zip(TEMPORAL_FIGURES, counts, strict=True)}


def _is_mature(feature: Feature, quarter: Quarter, since: Mapping[str, Quarter]) -> bool:
    return all(
        table in since and quarter - since[table] >= ceil(steps / STEPS_PER_QUARTER[TABLES[table].axis])
        for table, steps in feature.needs.items()
    )


def _sorted(values: FloatArray) -> FloatArray:
    return np.sort(np.where(np.isinf(values), np.nan, values), axis=0)


def _mean(values: npt.NDArray[np.generic]) -> float:
    return float(values.mean()) if len(values) else np.nan
