import io
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earlysignal_core.errors import LakeError, MissingPartitionError
from earlysignal_core.lake import Lake, RememberingLake, parquet
from earlysignal_core.quarters import Quarter

Q1, Q2 = Quarter(2018, 1), Quarter(2018, 2)


def rows(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"symbol": pd.Series([f"S{i}" for i in range(len(values))], dtype="str"), "value": values})


@pytest.fixture(params=["folder", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake") if request.param == "folder" else f"memory://{tmp_path.name}")


def test_the_same_rows_are_the_same_bytes_however_pandas_keeps_their_text() -> None:
    files = []
    for storage in ("python", "pyarrow"):
        with pd.option_context("mode.string_storage", storage):
            frame = rows(1.0, 2.0).assign(
                note=pd.array([None, None], dtype="str"),
                flag=pd.array([True, None], dtype="boolean"),
                day=pd.to_datetime(["2018-01-02", None], utc=True),
            )
        assert frame["symbol"].dtype.storage == storage
        odd = frame.assign(thing=pd.Series([None, "text"], dtype="object"))
        files.append([parquet(each, compression="snappy") for each in (frame, frame.iloc[:0], odd)])
    assert files[0] == files[1]
    plain = io.BytesIO()
    frame.to_parquet(plain, index=False)
    assert files[1][0] == plain.getvalue(), "as pandas writes them"


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


def test_a_partition_that_is_damaged_is_named_with_the_remedy(lake: Lake) -> None:
    lake.write("t", Q1, rows(1, 2))
    lake.write_bytes("t/2018-Q1.parquet", lake.read_bytes("t/2018-Q1.parquet")[:-9])
    with pytest.raises(LakeError, match=r"`t/2018-Q1\.parquet` in the lake .* is damaged: .*Remedy: remove the file"):
        lake.read("t", [Q1])


def test_an_address_is_shown_without_its_password() -> None:
    with pytest.raises(LakeError) as error:
        Lake("memory://me:secret@lake").read_bytes("t/all.parquet")
    assert "secret" not in str(error.value)
    assert "memory://lake" in str(error.value)


@pytest.mark.parametrize("scheme", ["s3", "carrier-pigeon"])
def test_an_address_that_cannot_be_opened_is_told_without_its_token(scheme: str) -> None:
    with pytest.raises(LakeError, match=r"cannot be opened: .*Remedy: check the address") as error:
        Lake(f"{scheme}://bucket/lake?token=hidden")
    assert "hidden" not in str(error.value)


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


class CountingLake(RememberingLake):
    """Counts how often each file is read."""

    def __init__(self, url: str, capacity: int = 1 << 20) -> None:
        super().__init__(url, capacity)
        self.reads: Counter[str] = Counter()

    def read_bytes(self, path: str) -> bytes:
        self.reads[path] += 1
        return super().read_bytes(path)


@pytest.fixture
def remembering(lake: Lake) -> CountingLake:
    """A second reader of the lake, beside the one that writes it."""
    return CountingLake(lake.url)


def test_what_was_read_is_read_once(lake: Lake, remembering: CountingLake) -> None:
    lake.write("t", Q1, rows(1, 1.5))
    lake.write("t", Q2, rows(2))
    lake.write("t", None, rows(7))
    asked = [([Q1], None), ([Q1, Q2], None), ([Q2, Q1], None), (None, None), ([Q1, Q2], ["value"]), ([Q1], ["value"])]
    for quarters, columns in asked * 2:
        pd.testing.assert_frame_equal(
            remembering.read("t", quarters, columns), lake.read("t", quarters, columns), check_column_type=True
        )
    assert remembering.reads == {"t/2018-Q1.parquet": 2, "t/2018-Q2.parquet": 2, "t/all.parquet": 1}


def test_a_partition_that_another_process_replaces_is_read_anew_and_only_that(
    lake: Lake, remembering: CountingLake
) -> None:
    lake.write("t", Q1, rows(1))
    lake.write("t", Q2, rows(2))
    for value in range(3, 23):  # as fast as it goes, always of the same size
        lake.write("t", Q2, rows(value))
        assert remembering.read("t", [Q1, Q2])["value"].tolist() == [1, value]
        assert remembering.read("t", [Q2], ["value"])["value"].tolist() == [value]
    assert remembering.reads["t/2018-Q1.parquet"] == 1


def test_a_partition_that_it_replaces_itself_is_read_anew(remembering: CountingLake) -> None:
    for value in range(20):
        remembering.write("t", Q1, rows(value))
        remembering.write("t", Q1, rows(value + 0.5))
        assert remembering.read("t", [Q1])["value"].tolist() == [value + 0.5]


def test_rows_that_look_unchanged_to_the_disk_are_forgotten_by_who_wrote_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = CountingLake(str(tmp_path))
    info = lake._fs.info
    coarse = {"ino": 0, "mtime": 0, "created": 0}  # two writes within one tick, and the second got the first's inode
    monkeypatch.setattr(lake._fs, "info", lambda path: info(path) | coarse)
    for value in (1, 2):
        lake.write("t", Q1, rows(value))
        assert lake.read("t", [Q1])["value"].tolist() == [value]
        assert lake.read("t", [Q1, Q1])["value"].tolist() == [value, value]


def test_a_partition_that_was_deleted_is_missing(tmp_path: Path) -> None:
    lake = CountingLake(str(tmp_path))
    with pytest.raises(MissingPartitionError):
        lake.read("t", [Q1])
    lake.write("t", Q1, rows(1))
    lake.read("t", [Q1])
    (tmp_path / "t" / "2018-Q1.parquet").unlink()
    with pytest.raises(MissingPartitionError, match=r"`t` has no partition 2018-Q1"):
        lake.read("t", [Q1])


def test_what_a_caller_does_to_its_rows_nobody_else_sees(lake: Lake, remembering: CountingLake) -> None:
    lake.write("t", Q1, rows(1, 2, 3))
    whole = lake.read("t", [Q1])
    mine = remembering.read("t", [Q1])
    mine.loc[0, "value"] = 99.0
    mine["symbol"] = "X"
    mine["another"] = 1
    mine.columns.name, mine.index.name = "columns", "rows"
    mine.drop(index=0, inplace=True)  # noqa: PD002 - the worst that a caller can do
    also = remembering.read("t", [Q1])
    with pytest.raises(ValueError, match="read-only"):
        also["value"].to_numpy()[0] = 99.0
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(also[["value"]])[0] = 99.0
    again = remembering.read("t", [Q1])
    pd.testing.assert_frame_equal(again, whole)
    assert (again.columns.name, again.index.name) == (None, None)
    assert remembering.reads.total() == 1


def test_no_more_is_kept_than_fits(lake: Lake) -> None:
    frame = rows(*range(1000))
    size = int(frame.memory_usage(deep=True).sum())
    remembering = CountingLake(lake.url, capacity=int(2.5 * size))
    quarters = [Q1, Q2, Quarter(2018, 3)]
    for quarter in quarters:
        lake.write("t", quarter, frame)
    for quarter in [Q1, Q2, Q1, quarters[2], Q1, Q2]:
        pd.testing.assert_frame_equal(remembering.read("t", [quarter]), frame)
    # Two fit: Q2 went for the third, since Q1 had been used after it.
    assert list(remembering.reads.values()) == [1, 2, 1]
    assert remembering._size <= 2.5 * size
    assert len(remembering.read("t", quarters)) == 3000  # more than fits: read, handed out and not kept
    assert remembering._size == sum(kept.size for kept in remembering._kept.values()) <= 2.5 * size


def test_threads_read_what_stands_while_another_replaces_it(tmp_path: Path) -> None:
    writer, remembering = Lake(str(tmp_path)), CountingLake(str(tmp_path), capacity=20_000)
    for quarter in (Q1, Q2):
        writer.write("t", quarter, rows(*[0.0] * 500))
    written, finished = [0.0], threading.Event()

    def read(_: int) -> bool:
        whole = True
        while not finished.is_set():
            least = written[-1]
            found = remembering.read("t", [Q1, Q2])["value"].to_numpy()
            whole &= len(found) == 1000 and (found[:500] == found[0]).all() and found[0] >= least
            mine = remembering.read("t", [Q2], ["value"])
            mine["value"] -= 1.0
        return bool(whole)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, i) for i in range(4)]
        for value in range(1, 25):
            writer.write("t", Q1, rows(*[float(value)] * 500))
            written.append(float(value))
        finished.set()
        assert all(reader.result(30) for reader in readers)
    assert remembering.read("t", [Q2])["value"].eq(0).all()
    assert remembering._size == sum(kept.size for kept in remembering._kept.values())
