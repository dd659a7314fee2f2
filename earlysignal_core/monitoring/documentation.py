"""The rule tables of `docs/monitoring.md`, rendered: ``python -m earlysignal_core.monitoring.documentation FILE``."""

import sys
from collections.abc import Iterable
from pathlib import Path

from earlysignal_core.monitoring import drift, live_quality, performance, retrain_policy
from earlysignal_core.rules import Guard, Rule
from earlysignal_core.settings import ServingSettings

BEGIN, END = "<!-- rules -->", "<!-- end of rules -->"


def render() -> str:
    """Return every rule of monitoring as Markdown tables."""
    freshness = ServingSettings().freshness_days
    caches = [rule for cache in live_quality.CACHE_LIMITS for rule in live_quality.cache_rules(cache, freshness)]
    return "\n\n".join(
        [
            "### When to retrain (`retrain_policy.LINES`, in order: the first that acts decides)",
            _tree(),
            "### Drift (`drift.py`)",
            _table([drift.FEATURE_RULE, drift.MISSING_RULE, *drift.RULES]),
            "### Performance (`performance.py`)",
            _table([*performance.RULES, performance.CALIBRATION_RULE, performance.LATENCY_RULE]),
            "### Live data (`live_quality.py`)",
            _table([live_quality.SHIFT_RULE, *caches]),
        ]
    )


def renewed(page: str) -> str:
    """Return a page with its rule tables rendered anew."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{render()}\n{END}{rest.partition(END)[2]}"


def _tree() -> str:
    rows = [
        f"| {line.cause} | `{line.rule}` | {_guards((*line.rule.guards, *line.operating))} | {line.when} "
        f"| {f'{line.window_months} months' if line.window_months else 'as set'} "
        f"| {'strategy' if line.of_the_strategy else 'ours'} |"
        for line in retrain_policy.LINES
    ]
    head = "| cause | rule | held back unless | starts | window | whose |\n|---|---|---|---|---|---|"
    return "\n".join([head, *rows])


def _table(rules: Iterable[Rule]) -> str:
    rows = [f"| {rule.name} | `{rule}` | {rule.action} | {_guards(rule.guards)} |" for rule in rules]
    return "\n".join(["| rule | fires when | action | held back unless |\n|---|---|---|---|", *rows])


def _guards(guards: tuple[Guard, ...]) -> str:
    return ", ".join(f"`{guard.figure} {guard.comparison} {guard.limit:g}`" for guard in guards) or "–"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(renewed(target.read_text(encoding="utf-8")), encoding="utf-8")
