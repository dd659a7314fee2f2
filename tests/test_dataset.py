"""A dataset holds what was known at its cutoff, says what it left out, and is the same bytes whenever it is built."""

import json

import pandas as pd
import pytest
from made_up import FIRST, LAST, SECTORS, dataset, history, quarter_rows, source

from earlysignal_core.datasets.build import Dataset, build_dataset
from earlysignal_core.datasets.lineage import code_version, frame_digest, to_json
from earlysignal_core.datasets.splits import Part
from earlysignal_core.errors import LakeError
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings, TapeSettings
from earlysignal_core.tables import KNOWABLE
from earlysignal_core.trading_calendar import cutoff

Q = Quarter(2017, 1)


def build(tables, labels, quarter=Q, **settings):
    return build_dataset(quarter, tables, labels, source(), Settings(**settings))


def filters(made):
    return {entry["filter"]: entry["rows"] for entry in made.lineage["preprocessing"]["filters"]}


def test_only_what_was_known_at_the_cutoff_is_in_it():
    made = dataset(Q)
    assert made.cutoff == cutoff(Q) == pd.Timestamp("2016-12-23 21:00", tz="UTC")
    assert (made.frame["as_of"] <= made.cutoff).all()
    assert (made.frame["label_available_at"] <= made.cutoff).all()
    assert made.frame["as_of"].is_monotonic_increasing
    assert made.frame["label"].isin([0, 1]).all()


def test_what_becomes_known_later_changes_nothing():
    tables, labels = history(FIRST, Q - 1)
    before = build(tables, labels)
    late = labels[Q - 1][KNOWABLE] > before.cutoff
    assert late.any()
    labels[Q - 1] = labels[Q - 1].assign(
        label=labels[Q - 1]["label"].mask(late, 1.0), surprise=labels[Q - 1]["surprise"].mask(late, 99.0)
    )
    after_tables, after_labels = history(Q, LAST)
    after = build(tables | after_tables, labels | after_labels)
    pd.testing.assert_frame_equal(after.frame, before.frame)
    assert to_json(after.lineage) == to_json(before.lineage)


def test_every_filter_is_named_with_its_rows():
    tables, labels = history(FIRST, Q - 1)
    labels[Q - 2].loc[:4, ["surprise", "label"]] = float("nan")
    made = build(tables, labels)
    counted = filters(made)
    total = counted.pop("announcements of earlier quarters")
    purged = counted.pop("purged between parts (used by the refit)")
    assert total == 12 * 120
    assert counted["no surprise to compute (estimate of 0, or a missing figure)"] == 5
    assert counted["features or outcome not known at the cutoff"] > 0
    assert total - sum(counted.values()) == len(made.frame)
    assert purged == (made.frame["part"] == Part.PURGED).sum() > 0


def test_a_refused_quarter_stays_out_and_is_named_with_the_reason():
    tables, labels = history(FIRST, Q - 1)
    broken = Q - 4
    tables[broken].loc[0, "as_of"] -= pd.Timedelta(days=1)
    made = build(tables, labels)
    assert not made.frame["event"].str.endswith(str(broken)).any()
    assert filters(made)["in a quarter refused by a blocking check"] == 120
    (reason,) = made.lineage["quality_metrics"]["refused_quarters"][str(broken)]
    assert "temporal_integrity" in reason


def test_the_window_counts_months_back_from_the_cutoff():
    made = dataset(Q, window_months=12)
    assert made.frame["as_of"].min() > made.cutoff - pd.DateOffset(months=12)
    assert made.frame["as_of"].min() < made.cutoff - pd.DateOffset(months=11)
    assert filters(made)["before the window"] > 0


def test_sectors_of_another_basis_are_left_out():
    tables, labels = history(FIRST, Q - 1)
    made = build_dataset(Q, tables, labels, source(), Settings(), {"Real Estate"})
    assert set(made.frame["sector"]) == set(SECTORS) - {"Real Estate"}
    assert filters(made)["in a sector whose estimates have another basis"] > 300
    assert made.lineage["settings"]["sectors_left_out"] == ["Real Estate"]


def test_of_an_event_announced_twice_only_the_first_is_an_example():
    tables, labels = history(FIRST, Q - 1)
    again = tables[Q - 4].iloc[:1]
    later, late_label = quarter_rows(Q - 3)
    later.loc[0, "event"] = again["event"].iloc[0]
    late_label.loc[late_label["symbol"] == later["symbol"].iloc[0], "event"] = again["event"].iloc[0]
    made = build(tables | {Q - 3: later}, labels | {Q - 3: late_label})
    twice = made.frame[made.frame["event"] == again["event"].iloc[0]]
    assert twice["announced_on"].tolist() == again["announced_on"].tolist()


def test_the_record_tells_where_it_came_from():
    tables, labels = history(FIRST, Q - 1)
    digests = {"feature_table": {str(q): f"hash of {q}" for q in Quarter.range(FIRST, Q + 2)}}
    record = build_dataset(Q, tables, labels, source(), Settings(), (), digests).lineage
    assert record["created_at"] == "2016-12-23T21:00:00+00:00"
    assert list(record["data_sources"]["feature_table"]) == [str(q) for q in Quarter.range(FIRST, Q - 1)]
    assert record["feature_extraction"]["version"] == code_version()
    assert record["feature_extraction"]["num_features"] == len(record["feature_extraction"]["features"])
    assert record["preprocessing"]["label_threshold"] == 0.2
    assert record["quality_metrics"]["passed"]
    assert record["settings"]["quality"]["completeness_critical"] == 0.9
    assert "home" not in record["settings"]


def test_inactive_features_and_those_without_a_value_are_named():
    tables, labels = history(FIRST, Q - 1)
    empty = next(iter(dataset(Q).features))
    for table in tables.values():
        table[empty] = float("nan")
    tolerant = source(settings=TapeSettings(quality={"completeness_critical": 0.1}))
    made = build_dataset(Q, tables, labels, tolerant, Settings())
    left_out = made.lineage["feature_extraction"]["features_left_out"]
    assert empty not in made.features
    assert left_out[empty] == "no value in this dataset"
    assert any(reason.startswith("no table") for reason in left_out.values())


@pytest.mark.parametrize(
    ("quarter", "reason"),
    [
        (FIRST, "no announcement before 2014-Q1"),
        (FIRST + 9, "too little history: 9 of the 10 quarters with announcements that are needed"),
        (FIRST + 10, None),
    ],
)
def test_warm_up(quarter, reason):
    tables, labels = history(FIRST, quarter - 1)
    assert build(tables, labels, quarter).no_model_yet == reason


def test_warm_up_is_at_most_half_of_the_quarters_with_announcements():
    quarter = FIRST + 4
    tables, labels = history(FIRST, quarter - 1)
    short = source(last=str(FIRST + 8))
    assert build_dataset(quarter, tables, labels, short, Settings()).no_model_yet is None
    assert build_dataset(quarter - 1, tables, labels, short, Settings()).no_model_yet is not None


def test_few_rows_and_few_large_beats_make_no_model():
    few = history(FIRST, Q - 1, companies=10)
    assert "large beats known before 2017-Q1, of the 200 with 20" in build(*few).no_model_yet
    tables, labels = history(FIRST, Q - 1)
    early = {q: of.assign(label=float(q < Q - 6)) for q, of in labels.items()}
    any_balance = source(settings=TapeSettings(quality={"label_balance_critical": (0, 1)}))
    made = build_dataset(Q, tables, early, any_balance, Settings())
    assert made.no_model_yet == "the validation part of the examples before 2017-Q1 does not hold both outcomes"


def test_a_quarter_before_all_data_gives_an_empty_dataset_that_can_be_stored(tmp_path):
    lake = Lake(str(tmp_path))
    made = build({}, {}, FIRST)
    made.save(lake)
    loaded = Dataset.load(lake, FIRST)
    assert loaded.frame.empty
    assert loaded.no_model_yet == "no announcement before 2014-Q1"
    assert loaded.frame.dtypes.equals(made.frame.dtypes)


def test_saving_twice_gives_the_same_bytes_and_loading_the_same_dataset(tmp_path):
    lake = Lake(str(tmp_path))
    made = dataset(Q)
    made.save(lake)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    dataset(Q).save(lake)
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    loaded = Dataset.load(lake, Q)
    pd.testing.assert_frame_equal(loaded.frame, made.frame)
    assert loaded.lineage == json.loads(to_json(made.lineage))
    with pytest.raises(LakeError):
        Dataset.load(lake, Q + 1)


def test_the_digest_of_a_frame_sees_values_types_and_names():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    others = [frame.assign(a=[1.0, 2.5]), frame.rename(columns={"a": "c"}), frame.astype({"a": "int64"}), frame[::-1]]
    assert frame_digest(frame) == frame_digest(frame.copy())
    assert len({frame_digest(f) for f in [frame, *others]}) == 5
