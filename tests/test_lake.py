import multiprocessing
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from earlysignal_core.errors import LakeError, MissingPartitionError
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter

Q1, Q2 = Quarter(2018, 1), Quarter(2018, 2)


def rows(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"symbol": pd.Series([f"S{i}" for i in range(len(values))], dtype="str"), "value": values})


@pytest.fixture(params=["folder", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake") if request.param == "folder" else f"memory://{tmp_path.name}")


def test_what_was_written_is_read_back(lake: Lake) -> None:
    lake.write("t", Q2, rows(2))
    lake.write("t", Q1, rows(1, 1.5))
    assert lake.quarters("t") == [Q1, Q2]
    pd.testing.assert_frame_equal(lake.read("t", [Q1, Q2]), pd.concat([rows(1, 1.5), rows(2)], ignore_index=True))


def test_the_same_rows_give_the_same_bytes(lake: Lake) -> None:
    first = lake.write("t", Q1, rows(1, 2))
    assert lake.write("t", Q1, rows(1, 2)) == first == lake.digest("t", Q1)
    assert lake.write("t", Q1, rows(1, 3)) != first


def test_a_partition_that_is_missing_is_named_with_the_remedy(lake: Lake) -> None:
    with pytest.raises(MissingPartitionError, match=r"`t` has no partition 2018-Q1.*materialise"):
        lake.read("t", [Q1])


def test_an_unpartitioned_table_stands_beside_partitions(lake: Lake) -> None:
    lake.write("t", None, rows(7))
    assert lake.quarters("t") == []
    assert lake.read("t")["value"].tolist() == [7]


def test_a_claim_is_given_once(lake: Lake) -> None:
    assert lake.claim("claims/v1", b"mine") == b"mine"
    assert lake.claim("claims/v1", b"yours") == b"mine"


def _claim(url: str, content: bytes, answers: "multiprocessing.Queue[bytes]") -> None:
    answers.put(Lake(url).claim("claims/v1", content))


def test_of_many_claimants_at_once_one_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[bytes] = context.Queue()
    claimants = [context.Process(target=_claim, args=(str(tmp_path), f"{i}".encode(), answers)) for i in range(4)]
    for claimant in claimants:
        claimant.start()
    assert len({answers.get(timeout=60) for _ in claimants}) == 1
    for claimant in claimants:
        claimant.join()


def _write_for_ever(url: str) -> None:
    lake = Lake(url)
    big = rows(*range(200_000))
    while True:
        lake.write("t", Q1, big)


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    writer = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(str(tmp_path),))
    writer.start()
    while not lake.has("t", Q1):
        time.sleep(0.05)
    time.sleep(0.3)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert len(lake.read("t", [Q1])) == 200_000
    assert lake.files("t") == ["t/2018-Q1.parquet"]


def test_a_disk_that_refuses_leaves_the_old_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(str(tmp_path))
    lake.write("t", Q1, rows(1))
    before = lake.digest("t", Q1)
    (tmp_path / "u").write_text("a file where a folder must be")
    with pytest.raises(LakeError, match=r"cannot write `u/2018-Q1.parquet`.*Remedy"):
        lake.write("u", Q1, rows(2))
    full = Path("/dev/full")
    if full.exists():
        monkeypatch.setattr(lake._fs, "pipe_file", lambda path, content: full.write_bytes(content))  # a full disk
        with pytest.raises(LakeError, match="No space left"):
            lake.write("t", Q1, rows(2))
    assert lake.digest("t", Q1) == before
