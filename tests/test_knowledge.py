"""The indices against a brute-force search, row by row."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earlysignal_core.features.arrays import DAY, NOT_THERE
from earlysignal_core.features.knowledge import DatedRows, KnownCounts, SteppedRows

OWNERS = ["A", "B", "C", "unknown"]
few = st.integers(0, 9)


def rows(maximum: int = 25):
    """Rows as (owner, step or day, how many days later it became known)."""
    return st.lists(st.tuples(st.sampled_from(OWNERS[:3]), few, st.integers(0, 4)), max_size=maximum)


def asks():
    return st.lists(
        st.tuples(st.sampled_from(OWNERS), st.integers(-2, 14), st.integers(-2, 12)), min_size=1, max_size=8
    )


def frame(content: list[tuple[str, int, int]]) -> pd.DataFrame:
    made = pd.DataFrame(content, columns=["owner", "step", "late"]).astype({"owner": "str", "step": "int64"})
    # Rows of one day become known at different hours, so that no two vintages tie.
    return made.assign(available=(made["step"] + made["late"]) * DAY + np.arange(len(made), dtype=np.int64))


def questions(content: list[tuple[str, int, int]]) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    made = pd.DataFrame(content, columns=["owner", "moment", "step"])
    return made["owner"], made["moment"].to_numpy(np.int64) * DAY + DAY // 2, made["step"].to_numpy(np.int64)


@given(rows(), asks(), st.integers(1, 6))
def test_stepped_rows_find_the_newest_known_row_of_each_step(content, asked, length: int) -> None:
    known = frame(content)
    owners, moments, last = questions(asked)
    found = SteppedRows(known["owner"], known["step"].to_numpy(), known["available"].to_numpy()).locate(
        owners, moments, last, length
    )
    for i, (owner, moment, end) in enumerate(zip(owners, moments, last, strict=True)):
        for j in range(length):
            of_step = known[(known["owner"] == owner) & (known["step"] == end - length + 1 + j)]
            of_step = of_step[of_step["available"] <= moment].sort_values("available", kind="stable")
            assert found[i, j] == (of_step.index[-1] if len(of_step) else NOT_THERE)


@given(rows(), asks(), st.integers(1, 6), st.booleans())
def test_dated_rows_find_the_last_known_rows_by_date(content, asked, length: int, revised: bool) -> None:
    known = frame(content)
    owners, moments, _ = questions(asked)
    index = DatedRows(known["owner"], known["step"].to_numpy(), known["available"].to_numpy(), revised=revised)
    found = index.locate(owners, moments, length)
    for i, (owner, moment) in enumerate(zip(owners, moments, strict=True)):
        of_owner = known[(known["owner"] == owner) & (known["available"] <= moment)]
        of_owner = of_owner.sort_values(["step", "available"], kind="stable")
        if revised:
            of_owner = of_owner.drop_duplicates("step", keep="last")
        expected = of_owner.index.to_numpy()[-length:]
        assert found[i].tolist() == [NOT_THERE] * (length - len(expected)) + expected.tolist()


@given(
    st.lists(st.tuples(st.integers(-1, 3), few, st.booleans()), max_size=30),
    hnp.arrays(np.int64, (5, 3), elements=st.integers(-1, 10)),
)
def test_known_counts_count_a_stretch_of_time(content, asked) -> None:
    groups, available = (np.array([row[i] for row in content], dtype=np.int64) for i in (0, 1))
    hits = np.array([row[2] for row in content], dtype=bool)
    after, until = asked[:, 1], np.maximum(asked[:, 1], asked[:, 2])
    found_hits, found = KnownCounts(groups, available, hits).between(asked[:, 0], after, until)
    for i, group in enumerate(asked[:, 0]):
        within = (groups == group) & (groups >= 0) & (available > after[i]) & (available <= until[i])
        assert found[i] == within.sum()
        assert found_hits[i] == (within & hits).sum()


def test_no_rows_at_all() -> None:
    nothing, nobody = np.array([], dtype=np.int64), pd.Series([], dtype="str")
    owners, moments, last = questions([("A", 1, 1)])
    assert SteppedRows(nobody, nothing, nothing).locate(owners, moments, last, 3).tolist() == [[NOT_THERE] * 3]
    assert DatedRows(nobody, nothing, nothing, revised=True).locate(owners, moments, 3).tolist() == [[NOT_THERE] * 3]
