"""What the features of each table add on a tape: the walk-forward with all features, and without those of a table.

``python benchmarks/ablation.py ../shared/tapes/sp500-recent --min-completeness 0.5``; its figures: docs/ablation.md.
"""

import argparse
import tempfile
from pathlib import Path

from earlysignal_core.evaluation.ablation import SEEDS, Ablation, ablate
from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.features.table import active_features, inactive_features
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import collect, collect_universe, described, make_feature_table, make_labels
from earlysignal_core.settings import QualityLimits, Settings
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import CACHES, UNIVERSE

NEW = ("income_statements", "sec_filings", "corporate_actions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tape", type=Path)
    parser.add_argument("--min-completeness", type=float, default=0.9, help="a quarter with less is refused")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    settings = Settings(quality=QualityLimits(completeness_critical=options.min_completeness))
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        fill(TapeSource(options.tape, settings), lake)
        source = described(lake)
        active = active_features(source)
        groups = {
            table: [name for name, each in active.items() if table in each.needs]
            for table in source.tables
            if table != UNIVERSE
        }
        groups[" or ".join(NEW)] = [name for table in NEW for name in groups.get(table, [])]
        found = ablate(lake, source, settings, groups, options.seeds)
    report(found)
    print(f"inactive: {', '.join(inactive_features(source))}")


def fill(source: TapeSource, lake: Lake) -> None:
    """Write a tape's tables, feature tables and labels into a lake."""
    collect_universe(source, lake)
    quarters = source.description.quarters
    for cache, tables in CACHES.items():
        if cache != UNIVERSE and set(tables) & set(source.description.tables):
            collect(source, lake, cache, quarters)
    for quarter in source.description.event_quarters:
        make_labels(quarter, lake)
        make_feature_table(quarter, lake)


def report(found: dict[str, Ablation]) -> None:
    first = next(iter(found.values()))
    print(f"{first.n} events, {first.large_beats} large beats ({first.large_beats / first.n:.1%})")
    print(f"with all features: AUC {shown(first.all_features['auc'])}, Brier {shown(first.all_features['brier'])}")
    print(
        "| features that need | number | AUC without | AUC, all less without | single seeds | Brier, all less without |"
    )
    print("|---|---|---|---|---|---|")
    for name, each in found.items():
        seeds = f"{min(each.by_seed):+.3f} … {max(each.by_seed):+.3f}"
        print(
            f"| {name} | {len(each.left_out)} | {each.without['auc'].value:.3f} | {shown(each.difference['auc'], '+')} "
            f"| {seeds} | {shown(each.difference['brier'], '+', 4)} |"
        )


def shown(figure: Figure, sign: str = "", digits: int = 3) -> str:
    return f"{figure.value:{sign}.{digits}f} [{figure.low:{sign}.{digits}f}, {figure.high:{sign}.{digits}f}]"


if __name__ == "__main__":
    main()
