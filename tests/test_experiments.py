"""Every training is recorded once, whoever asks and how often; a store that is not there stalls and breaks nothing."""

import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from carded import COMPANIES, Q, judge, made

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import EVALUATIONS
from earlysignal_core.quarterly import FIGURES as WALK_FORWARD
from earlysignal_core.tracking.card import write_card
from earlysignal_core.tracking.record import Record, record_of, record_of_walk_forward
from earlysignal_core.tracking.store import Experiments, Kept, TrackingError

NOW = pd.Timestamp("2026-11-26", tz="UTC")
LATER = NOW + pd.Timedelta(minutes=1)


def record(version: str = "v1.0.0", auc: float = 0.8, files: Mapping[str, bytes] | None = None) -> Record:
    return Record(
        key=f"here:{version}:abc",
        name=version,
        parameters={"algorithm": "lightgbm", "feature_set": "a, b"},
        tags={"bundle": f"lake/{version}"},
        metrics={"out_of_sample/auc": auc, "out_of_sample/n": 100.0},
        artifacts=lambda: files or {"card.html": b"<h1>card</h1>"},
    )


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    from earlysignal_assets.postgres import ensure_database

    return ensure_database(postgres_url, "experiments")


@pytest.fixture
def experiments(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Experiments]:
    """An experiment of its own; MLflow's tables are made by the first test that needs them."""
    return Experiments(url, request.node.name, Lake(str(tmp_path / "files")))


def test_a_training_is_recorded_once_and_learns_its_figures_later(experiments: Experiments, tmp_path: Path) -> None:
    assert experiments.keep([record("v1.0.0"), record("v2.0.0")], NOW) == Kept(2, 0)
    assert experiments.keep([record("v1.0.0"), record("v2.0.0")], LATER) == Kept(0, 0)
    # a figure that falls is renewed too
    assert experiments.keep([record("v1.0.0", auc=0.7, files={"card.html": b"new"}), record("v2.0.0")], LATER) == Kept(
        0, 1
    )
    table = experiments.table().set_index("version")
    assert table["out_of_sample/auc"].to_dict() == {"v1.0.0": 0.7, "v2.0.0": 0.8}
    assert table.loc["v1.0.0", "algorithm"] == "lightgbm"
    cards = sorted(path.read_bytes() for path in (tmp_path / "files").rglob("artifacts/card.html"))
    assert cards == [b"<h1>card</h1>", b"new"]


def test_one_that_was_cut_off_is_finished_and_not_begun_again(experiments: Experiments) -> None:
    def cut_off() -> Mapping[str, bytes]:
        raise KeyboardInterrupt

    broken = Record(**{**vars(record()), "artifacts": cut_off})
    with pytest.raises(KeyboardInterrupt):
        experiments.keep([broken], NOW)
    assert experiments.table().empty, "what was not recorded to its end is not shown"
    assert experiments.keep([record()], LATER) == Kept(1, 0)
    assert len(experiments.table()) == 1


def test_two_at_once_make_one_record(url: str, tmp_path: Path) -> None:
    def keep(_: int) -> Kept:
        experiments = Experiments(url, "two at once", Lake(str(tmp_path)))
        return experiments.keep([record()], NOW)

    with ThreadPoolExecutor(3) as pool:
        kept = list(pool.map(keep, range(3)))
    assert sorted(each.new for each in kept) == [0, 0, 1]
    assert len(Experiments(url, "two at once", Lake(str(tmp_path))).table()) == 1


def test_a_store_that_refuses_or_hangs_is_told_soon_and_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        for port in (silent.getsockname()[1], closed.getsockname()[1]):
            address = f"postgresql://user:secret-word@127.0.0.1:{port}/experiments"
            began = time.monotonic()
            with pytest.raises(TrackingError, match="Remedy") as told:
                Experiments(address, "none", Lake(str(tmp_path))).keep([record()], NOW)
            assert time.monotonic() - began < 10
            assert "secret-word" not in str(told.value)


def test_a_record_tells_what_went_in_and_what_came_out_with_n(tmp_path: Path) -> None:
    lake, version = made(tmp_path)
    before = record_of(lake, version, "here")
    assert before.key == "here:v2018.3.0:abcdefabcdefabcd"
    assert before.parameters["dataset_sha256"] == "abcdef" * 10
    assert before.parameters["code_version"] == "0123456789abcdef"
    assert before.parameters["feature_set"] == "rsi_momentum, beat_streak"
    assert before.parameters["num_leaves"] == "7"
    assert before.tags["judged"] == "no"
    low, high = before.metrics.pop("test/auc_low"), before.metrics.pop("test/auc_high")
    assert low < 0.75 < high
    assert before.metrics == {"training/rows": 1000.0, "training/base_rate": 0.1, "test/n": 150.0,
                              "test/base_rate": 0.12, "test/auc": 0.75}  # fmt: skip
    files = before.artifacts()
    assert {"importance.json", "importance.png"} <= set(files)
    kept = {name: files[f"bundle/{name}"] for name in ("model.txt", "model.json", "normalizer.json", "metadata.json")}
    assert kept == {name: lake.read_bytes(f"models/early-signal/{version}/{name}") for name in kept}


def test_a_record_learns_the_figures_of_the_card_each_with_n_and_interval(tmp_path: Path) -> None:
    lake, version = made(tmp_path)
    judge(lake, version)
    write_card(lake, version)
    lake.remove(f"{EVALUATIONS}/{Q}.json")  # as of a challenger, which has none
    known = record_of(lake, version, "here")
    assert known.metrics["out_of_sample/n"] == COMPANIES
    assert known.metrics["out_of_sample/base_rate"] == 0.25
    low, auc, high = (known.metrics[f"out_of_sample/auc{bound}"] for bound in ("_low", "", "_high"))
    assert low < auc < high
    assert known.tags["judged"] == "walked forward month by month"
    assert known.key == record_of(lake, version, "here").key
    assert "card.html" in known.artifacts()


def test_damaged_figures_are_named_with_the_remedy(tmp_path: Path) -> None:
    lake, version = made(tmp_path)
    lake.write_bytes(f"{EVALUATIONS}/{Q}.json", b'{"versions": ["')
    with pytest.raises(EarlySignalError, match=rf"{EVALUATIONS}/{Q}.json is damaged.*Remedy: materialise"):
        record_of(lake, version, "here")
    lake.write_bytes(WALK_FORWARD, b"{")
    with pytest.raises(EarlySignalError, match=rf"{WALK_FORWARD} is damaged.*Remedy: materialise"):
        record_of_walk_forward(lake, "here")
