"""The quality verdict as Dagster asset checks: one check for each of the five, its lines those of the rule table."""

import math
from collections.abc import Iterable

import dagster as dg

from earlysignal_assets.describe import numbers, verdicts
from earlysignal_assets.partitions import QUARTERS
from earlysignal_core.datasets.quality import Check, Judgement, Severity
from earlysignal_core.rules import Verdict, written

_DESCRIPTIONS = {
    Check.COMPLETENESS: "Enough of the values that can exist are there.",
    Check.TEMPORAL_INTEGRITY: "No row is dated against the rule: predictions precede outcomes, events are unique.",
    Check.LABEL_BALANCE: "The share of large beats is plausible.",
    Check.OUTLIERS: "The values lie where those of the earlier quarters lay.",
    Check.DISTRIBUTION: "The features are distributed as in the earlier quarters.",
}


def specs(asset: str, checks: Iterable[Check]) -> list[dg.AssetCheckSpec]:
    """Declare some checks of an asset; a critical verdict stops what lies downstream in the run."""
    return [
        dg.AssetCheckSpec(
            str(check), asset=asset, blocking=True, description=_DESCRIPTIONS[check], partitions_def=QUARTERS
        )
        for check in checks
    ]


def results(asset: str, judgement: Judgement | None, checks: Iterable[Check]) -> list[dg.AssetCheckResult]:
    """Return what a judgement says, check by check; without one there was nothing to judge."""
    found = []
    for check in checks:
        lines = judgement.of(check) if judgement else []
        fired = [line for line in lines if line.effective]
        critical = any(line.rule.action == Severity.CRITICAL for line in fired)
        found.append(
            dg.AssetCheckResult(
                check_name=str(check),
                asset_key=asset,
                passed=not fired,
                severity=dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN,
                description=_said(fired or lines),
                metadata={**numbers({line.rule.figure: line.value for line in lines}), "rules": verdicts(lines)},
            )
        )
    return found


def _said(lines: list[Verdict]) -> str:
    """Return the figures of some lines with all limits that they were held against."""
    limits: dict[str, list[str]] = {}
    for line in lines:
        held_back = f" ({line.reason})" if line.raw and not line.effective else ""
        value = "unknown" if math.isnan(line.value) else written(line.value)
        limits.setdefault(f"{line.rule.figure} is {value}", []).append(
            f"{line.rule.action} when {line.rule.comparison} {line.rule.limit:g}{held_back}"
        )
    return "; ".join(f"{figure}: {', '.join(each)}" for figure, each in limits.items()) or "nothing to judge yet"
