"""What a group of features is worth, where we know it: one feature carries everything, the others nothing."""

from pathlib import Path

import made_up
import pandas as pd
import pytest

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.evaluation.ablation import Ablation, ablate
from earlysignal_core.evaluation.feature_selection import select_features
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.table import active_features
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription

FIRST, LAST = Quarter(2014, 1), Quarter(2014, 4)
SOURCE = made_up.source(last=str(LAST), first_event=str(FIRST), last_event=str(LAST))
CARRIES, *OTHERS = active_features(SOURCE)
WARM = Settings(warmup_quarters=2)


def filled(folder: Path, source: SourceDescription) -> Lake:
    lake = Lake(str(folder))
    for quarter in source.event_quarters:
        table, labels = made_up.quarter_rows(quarter)
        lake.write("feature_table", quarter, table)
        lake.write("labels", quarter, labels)
        announced = labels[["symbol", "announced_on"]].assign(eps_actual=1.0, eps_estimate=range(len(labels)))
        lake.write("earnings", quarter, announced)
    return lake


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ablation]:
    lake = filled(tmp_path_factory.mktemp("ablation"), SOURCE)
    groups = {"what carries": [CARRIES, "no such feature"], "noise": OTHERS[:5], "nothing": []}
    return ablate(lake, SOURCE, WARM, groups, seeds=2)


def test_what_carries_the_signal_is_worth_all_of_it(found: dict[str, Ablation]) -> None:
    one = found["what carries"]
    assert one.left_out == (CARRIES,)
    assert one.all_features["auc"].value > 0.7
    assert one.without["auc"].value == pytest.approx(0.5, abs=0.12)
    assert one.difference["auc"].value == pytest.approx(one.all_features["auc"].value - one.without["auc"].value)
    assert one.difference["auc"].above(0.1)
    assert one.difference["brier"].below(0), "a smaller Brier score is a better one"
    assert min(one.by_seed) > 0.1


def test_noise_is_worth_nothing(found: dict[str, Ablation]) -> None:
    noise = found["noise"]
    assert noise.left_out == tuple(sorted(OTHERS[:5]))
    assert noise.difference["auc"].low < 0 < noise.difference["auc"].high
    assert noise.all_features == found["what carries"].all_features, "the same events, and the same models"


def test_leaving_nothing_out_changes_nothing(found: dict[str, Ablation]) -> None:
    assert found["nothing"].by_seed == (0, 0)
    assert found["nothing"].without == found["nothing"].all_features


def test_only_quarters_with_history_are_judged(found: dict[str, Ablation]) -> None:
    judged = pd.concat([made_up.quarter_rows(q)[1] for q in (LAST - 1, LAST)])
    assert (found["noise"].n, found["noise"].large_beats) == (len(judged), judged["label"].sum())


def test_the_loop_keeps_what_carries_and_never_looks_at_the_quarter_itself(tmp_path: Path) -> None:
    lake = filled(tmp_path, SOURCE)
    found = select_features(lake, SOURCE, WARM, LAST, rounds=2, seeds=1)
    assert found.quarters == (LAST - 1,)
    assert CARRIES in found.kept
    variants = {each.name: each for each in found.variants}
    every, first, second = list(variants.values())[:3]
    assert every.features > first.features >= second.features == len(found.kept)
    assert every.difference["auc"].value == 0
    worst = min(variants.values(), key=lambda each: each.difference["auc"].value)
    assert worst.name == f"without {catalogue()[CARRIES].family}"
    assert worst.difference["auc"].below(0)
    assert found.large_beats < found.n < len(made_up.quarter_rows(LAST - 1)[1])  # some were not known at the cutoff
    lake.remove(f"feature_table/{LAST}.parquet")
    lake.remove(f"labels/{LAST}.parquet")
    assert select_features(lake, SOURCE, WARM, LAST, rounds=2, seeds=1) == found
    with pytest.raises(EarlySignalError, match=r"before 2014-Q1 has enough history.*Remedy"):
        select_features(lake, SOURCE, WARM, FIRST)


def test_models_that_have_split_nowhere_call_no_feature_weak(tmp_path: Path) -> None:
    """Where nothing differs from row to row, no feature gains anything."""
    lake = filled(tmp_path, SOURCE)
    for quarter in SOURCE.event_quarters:
        table = lake.read("feature_table", [quarter])
        lake.write("feature_table", quarter, table.assign(**dict.fromkeys([CARRIES, *OTHERS], 1.0)))
    found = select_features(lake, SOURCE, WARM, LAST, rounds=2, seeds=1)
    assert {each.features for each in found.variants if each.name.startswith("round")} == {len(found.kept)}
    assert CARRIES in found.kept
    assert {"AUC, from", "Brier less all, to"} <= set(found.table)


def test_too_short_a_history_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    short = made_up.source(last="2014-Q1", last_event="2014-Q1")
    with pytest.raises(EarlySignalError, match=r"no quarter of `made up` has enough history.*Remedy"):
        ablate(filled(tmp_path, short), short, WARM, {})
