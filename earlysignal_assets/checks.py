"""The quality verdict as Dagster asset checks: one check for each of the five, its lines those of the rule table."""

from collections.abc import Iterable

import dagster as dg

from earlysignal_assets.describe import numbers, verdicts
from earlysignal_assets.partitions import QUARTERS
from earlysignal_core.datasets.quality import Check, Judgement, Severity

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
                description="; ".join(dict.fromkeys(line.reason for line in fired or lines)) or "nothing to judge yet",
                metadata={**numbers({line.rule.figure: line.value for line in lines}), "rules": verdicts(lines)},
            )
        )
    return found
