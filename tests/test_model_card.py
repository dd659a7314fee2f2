"""The card of a model says what is known of it, and nothing that is not; the bundle stays as it is."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from carded import COMPANIES, Q, bundle, judge, made

from earlysignal_core.audit.finding import Finding, to_frame
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import load, save
from earlysignal_core.quarterly import AUDIT
from earlysignal_core.tracking.card import write_card
from earlysignal_core.tracking.judged import judged


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return made(tmp_path)[0]


def card(lake: Lake, version: str = "v2018.3.0") -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", lake.read_bytes(write_card(lake, version)).decode(),
                           flags=re.DOTALL).split())  # fmt: skip


def test_a_model_that_nobody_has_judged_says_so(lake: Lake) -> None:
    text = card(lake)
    assert "not judged yet" in text
    assert "Not known yet" in text
    assert "AUC" not in text
    assert "1,000" in text
    assert "100 large beats (10.0" in text
    assert "abcdef" * 10 in text
    assert "iv_rank no table `options`" in text
    assert "Members are those of today." in text
    assert "have not been audited yet" in text


def test_the_slices_are_those_of_the_announcements_with_n_interval_and_base_rate(lake: Lake) -> None:
    judge(lake, "v2018.3.0")
    known = judged(lake, load(lake, "v2018.3.0"))
    assert known is not None
    assert (known.figures.n, known.models) == (COMPANIES, 1)
    a, b = known.slices["sector"]
    assert (a.name, a.n, a.large_beats, a.base_rate.value) == ("A", 12, 3, 0.25)
    assert (a.auc.value, b.auc.value) == (1.0, 0.0)
    # A: beats 0, 4, 8 have 0.4 + n/1000, the nine others 0.1 + n/1000
    assert a.forecast == pytest.approx((3 * 0.4 + 9 * 0.1 + sum(range(12)) / 1000) / 12)
    assert a.base_rate.low < 0.25 < a.base_rate.high
    assert [(year.name, year.n) for year in known.slices["year"]] == [("2018", COMPANIES)]
    sizes = known.slices["size of the estimate"]
    assert [(size.name, size.n) for size in sizes] == [("below 0.10 $", 6), ("1.00 $ or more", 18)]
    assert "no interval from 6 companies" in (sizes[0].auc.reason or "")


def test_a_judged_model_shows_its_figures_and_the_same_lake_gives_the_same_bytes(lake: Lake) -> None:
    rows = judge(lake, "v2018.3.0")
    before = load(lake, "v2018.3.0")
    text, path = card(lake), write_card(lake, "v2018.3.0")
    first = lake.read_bytes(path)
    write_card(lake, "v2018.3.0")
    assert lake.read_bytes(path) == first
    assert load(lake, "v2018.3.0") == before
    assert "not judged yet" not in text
    assert f"Walk-forward: {len(rows)} announcements from 2018-07-10 to 2018-08-02" in text
    assert "○ Whether it ranks better than a coin cannot be told." in text  # one sector right, one wrong
    assert re.search(r"A 12 3 25.0 % [\d.]+ to [\d.]+ % 18\.\d % 1.000", text.replace("\u202f", " "))


def test_a_claim_is_made_where_the_whole_interval_bears_it(lake: Lake) -> None:
    rows = judge(lake, "v2018.3.0")
    rows["probability"] = np.where(rows["label"] == 1, 0.6, 0.1) + np.arange(COMPANIES) % 5 / 100
    rows.loc[0, "probability"] = 0.11
    lake.write("predictions", Q, rows)
    assert "✓ It ranks announcements by how likely a large beat is." in card(lake)
    lake.write("predictions", Q, rows.assign(probability=0.7 - rows["probability"]))
    assert "✗ It ranks no better than a coin, or too little better to be of use." in card(lake)


def test_the_window_of_a_retrain_is_that_of_its_dataset(lake: Lake) -> None:
    for name, months, said in (("whole", None, "all history"), ("cut", 12, "12 months")):
        made = bundle(name)
        version = str(save(lake, replace(made, metadata=dict(made.metadata) | {"window_months": months})).version)
        assert f"size 3, {said}" in card(lake, version)


def test_another_revision_is_not_shown_with_the_figures_of_the_one_that_was_judged(lake: Lake) -> None:
    judge(lake, "v2018.3.0")
    second = str(save(lake, bundle("another")).version)
    assert second == "v2018.3.1"
    assert "not judged yet" in card(lake, second)


def test_a_challenger_is_judged_by_the_steps_of_its_recipe_and_not_at_all_where_there_is_none(lake: Lake) -> None:
    day = bundle("a day")
    metadata = {name: value for name, value in day.metadata.items() if name != "quarter"} | {"day": "2018-09-03"}
    version = str(save(lake, replace(day, metadata=metadata)).version)
    assert "not judged yet" in card(lake, version)
    rows = judge(lake, "v2018.3.0").drop(columns=["version", "never"])
    rows["trained_on"] = np.where(rows["announced_on"] < "2018-08-01", "2018-07-01", "2018-08-01")
    for steps, said in ((rows.iloc[:0], "not judged yet"), (rows, f"{COMPANIES} announcements")):
        sink = io.BytesIO()
        steps.to_parquet(sink, index=False)
        lake.write_bytes(f"forward/{version}.parquet", sink.getvalue())
        assert said in card(lake, version)
    assert "forecast by 2 models of this recipe" in card(lake, version)


def test_the_defects_that_the_audit_has_found_are_told_and_what_was_kept_is_not_one(lake: Lake) -> None:
    found = [Finding("level_shift", "A", pd.Timestamp("2018-01-02"), "half", "cut")] * 2
    found.append(Finding("genuine_move", "B", pd.Timestamp("2018-01-02"), "a move", "kept"))
    lake.write(AUDIT, None, to_frame(found))
    text = card(lake)
    assert "level shift 2 the price level changes" in text
    assert "genuine" not in text
