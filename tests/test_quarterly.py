"""The steps of a quarter on small and bad tapes, without Dagster: clear words, nothing lost."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from production import copied

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.errors import TableError
from earlysignal_core.evaluation.judge import Evaluation
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import FOLDER, Bundle, NoModelYet
from earlysignal_core.monitoring.reference import FILE, Reference
from earlysignal_core.quarterly import (
    collect,
    collect_universe,
    described,
    evaluated,
    judge,
    left_out,
    make_dataset,
    make_evaluation,
    make_feature_table,
    make_labels,
    make_model,
    make_report,
)
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import CACHES, UNIVERSE

FIRST, LAST = Quarter.parse("2014-Q1"), Quarter.parse("2015-Q4")


@pytest.fixture
def own_tape(production_lake: Lake, tmp_path: Path) -> Path:
    """A copy of the tape that the lake was filled from, to be broken."""
    return Path(shutil.copytree(Path(production_lake.url).parent / "tape", tmp_path / "tape"))


def change(tape: Path, table: str, **columns: object) -> pd.DataFrame:
    frame = pd.read_parquet(tape / f"{table}.parquet").assign(**columns)
    frame.to_parquet(tape / f"{table}.parquet")
    return frame


def collected(tape: Path, lake: Lake, caches: Iterable[str] = CACHES) -> Lake:
    source = TapeSource(tape, Settings())
    collect_universe(source, lake)
    for cache in caches:
        if cache != UNIVERSE:
            collect(source, lake, cache, source.description.quarters)
    for quarter in source.description.quarters:
        make_labels(quarter, lake)
    return lake


def featured(lake: Lake, since: Quarter = FIRST) -> Lake:
    for quarter in described(lake).event_quarters:
        if quarter >= since:
            make_feature_table(quarter, lake)
    return lake


def changed(lake: Lake, tape: Path, folder: Path, cache: str, since: Quarter = FIRST) -> Lake:
    """A copy of a lake with a cache of a tape in which it was changed, and the feature tables since the change."""
    return featured(collected(tape, copied(lake, folder / "lake"), [cache]), since)


@pytest.fixture(scope="module")
def lake(production_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with caches, labels and feature tables, and nothing that is made of them."""
    made = copied(production_lake, tmp_path_factory.mktemp("lake"))
    for later in ("dataset", "dataset_lineage", "models"):
        shutil.rmtree(Path(made.url) / later)
    return made


def test_the_steps_lead_to_a_judged_model_and_a_report(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path / "lake")
    assert isinstance(make_model_of(LAST, lake), Bundle)
    judged = make_evaluation(LAST, lake, Settings())
    assert isinstance(judged, Evaluation)
    assert judged.model.n > 50
    assert make_report(lake, Settings()) is not None
    assert evaluated(lake) == [LAST]


def make_model_of(quarter: Quarter, lake: Lake, *, skip_validation: bool = False) -> Bundle | NoModelYet:
    make_dataset(quarter, lake, Settings(), skip_validation=skip_validation)
    return make_model(quarter, lake)


def test_a_model_keeps_its_training_rows_beside_it(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path / "lake")
    model = make_model_of(LAST, lake)
    assert isinstance(model, Bundle)
    stored = tmp_path / "lake" / FOLDER / str(model.version) / FILE
    content = stored.read_bytes()
    assert Reference.load(lake, str(model.version)).features == model.features
    assert len(Reference.load(lake, str(model.version)).frame) == model.metadata["rows"]
    stored.unlink()  # as a kill between the two leaves it: the next run makes up for it, with the same bytes
    assert make_model(LAST, lake) == model
    assert stored.read_bytes() == content


def test_too_little_history_is_no_model_yet(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path / "lake")
    model = make_model_of(FIRST + 1, lake)
    assert isinstance(model, NoModelYet)
    assert "1 of the 4 quarters with announcements" in model.reason
    assert make_evaluation(FIRST + 1, lake, Settings()) == model
    assert left_out(lake) == {FIRST + 1: model.reason}
    assert make_report(lake, Settings()) is None


def test_a_feature_table_of_older_code_is_named_with_the_remedy(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path / "lake")
    old = lake.read("feature_table", [FIRST]).drop(columns=["rsi_momentum", "iv_rank"])
    lake.write("feature_table", FIRST, old)
    with pytest.raises(
        TableError, match=r"partition 2014-Q1: lacks 2 features .*backfill --select feature_table --to 2015-Q3`"
    ):
        make_dataset(LAST, lake, Settings())


def test_a_quarter_without_announcements_is_passed_over(lake: Lake, own_tape: Path, tmp_path: Path) -> None:
    empty = FIRST + 5
    earnings = pd.read_parquet(own_tape / "earnings.parquet")
    gone = earnings["announced_on"].between(empty.start, empty.end)
    earnings[~gone].to_parquet(own_tape / "earnings.parquet")
    lake = changed(lake, own_tape, tmp_path, "earnings", empty)
    assert lake.read("feature_table", [empty]).empty
    assert isinstance(make_model_of(empty, lake), Bundle)
    assert make_evaluation(empty, lake, Settings()) == NoModelYet(empty, "the quarter has no announcements")
    assert isinstance(make_model_of(empty + 1, lake), Bundle)


def test_a_refused_quarter_stays_out_of_every_later_dataset_which_says_so(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path / "lake")
    refused = FIRST + 4
    table = lake.read("feature_table", [refused])
    active = [name for name in table if table[name].dtype == "float64" and table[name].notna().any()]
    table[active] = np.nan
    lake.write("feature_table", refused, table)
    assert judge(refused, lake, table).refusals
    for later in (refused + 1, refused + 2):
        dataset = make_dataset(later, lake, Settings())
        assert set(dataset.lineage["quality_metrics"]["refused_quarters"]) == {str(refused)}
        assert not dataset.frame["announced_on"].between(refused.start, refused.end).any()
    assert isinstance(make_model_of(refused, lake), Bundle)
    not_judged = make_evaluation(refused, lake, Settings())
    assert isinstance(not_judged, NoModelYet)
    assert "refused" in not_judged.reason
    kept = make_dataset(refused + 1, lake, Settings(), skip_validation=True)
    assert kept.frame["announced_on"].between(refused.start, refused.end).any()
    assert kept.lineage["quality_metrics"]["validation_skipped"] is True


def test_announcements_before_the_first_quarter_are_history_and_no_examples(own_tape: Path, tmp_path: Path) -> None:
    later = (own_tape / "tape.json").read_text().replace("2014-01-01", "2014-04-01").replace("2012-10-01", "2014-04-01")
    (own_tape / "tape.json").write_text(later)
    lake = featured(collected(own_tape, Lake(str(tmp_path / "lake"))))
    table = lake.read("feature_table", [FIRST + 1])
    assert table["announced_on"].min() >= (FIRST + 1).start
    assert table["days_since_last_announcement"].notna().mean() > 0.9
    assert not judge(FIRST + 1, lake, table).refusals


def test_one_symbol_gives_features_and_no_model_yet(lake: Lake, own_tape: Path, tmp_path: Path) -> None:
    one = pd.read_parquet(own_tape / "universe.parquet")["symbol"].iloc[0]
    for table in ("universe", "earnings"):
        frame = pd.read_parquet(own_tape / f"{table}.parquet")
        frame[frame["symbol"] == one].to_parquet(own_tape / f"{table}.parquet")
    lake = changed(lake, own_tape, tmp_path, "earnings")
    table = lake.read("feature_table", Quarter.range(FIRST, LAST))
    assert set(table["symbol"]) == {one}
    assert table["price_change_5d"].notna().all()
    model = make_model_of(LAST, lake)
    assert isinstance(model, NoModelYet)
    assert "examples" in model.reason


def test_a_symbol_without_prices_has_no_price_features_and_all_others(
    lake: Lake, own_tape: Path, tmp_path: Path
) -> None:
    bars = pd.read_parquet(own_tape / "ohlcv.parquet")
    bare = pd.read_parquet(own_tape / "universe.parquet")["symbol"].iloc[0]
    bars[bars["symbol"] != bare].to_parquet(own_tape / "ohlcv.parquet")
    lake = changed(lake, own_tape, tmp_path, "ohlcv", LAST)
    table = lake.read("feature_table", [LAST])
    of_bare = table[table["symbol"] == bare]
    assert len(of_bare) == 1
    assert of_bare[["price_change_5d", "volume_ratio", "market_beta_30d"]].isna().all(axis=None)
    assert of_bare[["surprise_mean_4q", "beat_rate_8q"]].notna().all(axis=None)


def test_an_estimate_of_zero_has_no_label_and_takes_part_in_no_figure(
    lake: Lake, own_tape: Path, tmp_path: Path
) -> None:
    earnings = pd.read_parquet(own_tape / "earnings.parquet").sort_values(["symbol", "announced_on"])
    zero = earnings["announced_on"].between(LAST.start, LAST.end) & (earnings["symbol"] == earnings["symbol"].iloc[0])
    change(own_tape, "earnings", eps_estimate=earnings["eps_estimate"].mask(zero, 0.0).sort_index())
    lake = changed(lake, own_tape, tmp_path, "earnings", LAST)
    labels = lake.read("labels", [LAST])
    assert labels["label"].isna().sum() == 1
    make_model_of(LAST, lake)
    judged = make_evaluation(LAST, lake, Settings())
    assert isinstance(judged, Evaluation)
    assert (judged.unlabelled, judged.predictions - judged.model.n) == (1, 1)


def test_a_tape_with_earnings_alone_still_gives_a_model(own_tape: Path, tmp_path: Path) -> None:
    description = (own_tape / "tape.json").read_text()
    (own_tape / "tape.json").write_text(
        '{"name": "bare", "benchmark": "SPX", "universe": "sp500", "tables": ["universe", "earnings"],'
        ' "event_dates": ["2014-01-01", "2015-12-31"], "price_dates": ["2014-01-01", "2015-12-31"]}'
    )
    assert description
    lake = featured(collected(own_tape, Lake(str(tmp_path / "lake"))))
    model = make_model_of(LAST, lake)
    assert isinstance(model, Bundle)
    assert "price_change_5d" in model.metadata["features_left_out"]
    judged = make_evaluation(LAST, lake, Settings())
    assert isinstance(judged, Evaluation)
    assert judged.returns["reaction"].n == 0


def test_the_window_length_is_a_setting(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path / "lake")
    whole, year = (make_dataset(LAST, lake, Settings(window_months=months)) for months in (None, 12))
    assert year.frame["as_of"].min() > year.cutoff - pd.DateOffset(months=12)
    assert whole.frame["as_of"].min() < year.frame["as_of"].min()
    assert Dataset.load(lake, LAST).lineage == year.lineage
