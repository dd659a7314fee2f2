"""Properties of the split: parts follow one another in time, labels included, and nobody is lost."""

from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlysignal_core.datasets.splits import Part, assign_parts

START = pd.Timestamp("2015-01-02 21:00", tz="UTC")
rows = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40 * 24)), min_size=1, max_size=200)
ORDER = [Part.TRAIN, Part.VALIDATION, Part.TEST]


def frame(drawn: list[tuple[int, int]]) -> pd.DataFrame:
    as_of = pd.Series([START + timedelta(days=day) for day, _ in drawn])
    known = pd.Series([START + timedelta(days=day, hours=delay) for day, delay in drawn])
    return pd.DataFrame({"as_of": as_of, "known": known})


@given(rows, st.integers(0, 20))
def test_parts_never_overlap_in_time_labels_included(drawn: list[tuple[int, int]], embargo: int) -> None:
    data = frame(drawn)
    parts = assign_parts(data["as_of"], data["known"], embargo)
    present = [part for part in ORDER if (parts == part).any()]
    for earlier, later in pairwise(present):
        first_as_of = data.loc[parts == later, "as_of"].min()
        assert data.loc[parts == earlier, "as_of"].max() < first_as_of
        assert (data.loc[parts == earlier, "known"] + timedelta(days=embargo)).max() < first_as_of


@given(rows, st.integers(0, 20))
def test_one_moment_is_in_one_part_and_purging_moves_no_border(drawn: list[tuple[int, int]], embargo: int) -> None:
    data = frame(drawn)
    parts = assign_parts(data["as_of"], data["known"], embargo)
    kept = parts[parts != Part.PURGED]
    assert kept.groupby(data["as_of"]).agg(set).map(len).le(1).all()
    at_once = assign_parts(data["as_of"], data["as_of"] - timedelta(days=30), 0)
    assert not (at_once == Part.PURGED).any()
    assert (kept == at_once[kept.index]).all()


@given(rows)
def test_the_order_of_the_rows_does_not_matter(drawn: list[tuple[int, int]]) -> None:
    data = frame(drawn)
    backwards = data.iloc[::-1]
    parts = assign_parts(data["as_of"], data["known"], 7)
    pd.testing.assert_series_equal(assign_parts(backwards["as_of"], backwards["known"], 7).sort_index(), parts)


def test_shares_are_seventy_fifteen_fifteen() -> None:
    data = frame([(day, 24) for day in range(1000)])
    counts = assign_parts(data["as_of"], data["known"], 0).value_counts()
    assert counts.to_dict() == {Part.TRAIN: 699, Part.VALIDATION: 149, Part.TEST: 150, Part.PURGED: 2}


def test_embargo_widens_the_purge() -> None:
    data = frame([(day, 8 * 24) for day in range(1000)])
    purged = [int((assign_parts(data["as_of"], data["known"], days) == Part.PURGED).sum()) for days in (0, 7)]
    assert purged == [16, 30]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows_are_split_without_complaint(n: int) -> None:
    data = frame([(day, 24) for day in range(n)])
    if n == 0:
        data = frame([(0, 24)]).iloc[:0]
    assert len(assign_parts(data["as_of"], data["known"], 7)) == n
