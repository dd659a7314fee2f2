"""Bundles are whole or absent, never overwritten, and no two of them share a version."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from made_up import FIRST, dataset

from earlysignal_core.errors import LakeError
from earlysignal_core.lake import Lake
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.bundle import (
    FILES,
    FOLDER,
    Bundle,
    BundleError,
    NoModelYet,
    find,
    load,
    model_of_quarter,
    save,
    versions,
)
from earlysignal_core.models.training import train, train_quarter
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member

Q = Quarter(2017, 1)
OTHER = EnsembleSettings(members=(Member(params={"num_leaves": 3}),))


@pytest.fixture(scope="module")
def made():
    return dataset(Q)


@pytest.fixture(scope="module")
def trained(made):
    return train(made)


def bundle(inputs: str) -> Bundle:
    """A bundle without a model: saving looks at its inputs and quarter only."""
    return Bundle(f"trees of {inputs}", {"inputs": inputs}, {}, {"quarter": str(Q), "input_sha256": inputs})


def save_one(url: str, inputs: str) -> tuple[str, str]:
    return inputs, str(save(Lake(url), bundle(inputs)).version)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_loaded_is_what_was_saved(tmp_path, made, trained):
    lake = Lake(str(tmp_path))
    saved = save(lake, trained)
    assert saved.version == "v2017.1.0"
    assert load(lake, "v2017.1.0") == saved
    assert (saved.predict(made.frame) == trained.predict(made.frame)).all()
    assert sorted(path.name for path in (tmp_path / FOLDER / "v2017.1.0").iterdir()) == sorted(FILES)


def test_unchanged_inputs_return_the_version_that_stands(tmp_path, made, monkeypatch):
    lake = Lake(str(tmp_path))
    first = train_quarter(lake, made)
    before = content(tmp_path)
    monkeypatch.setattr("earlysignal_core.models.training.train", lambda *_: pytest.fail("trained again"))
    assert train_quarter(lake, made).version == first.version
    assert content(tmp_path) == before


def test_changed_inputs_take_the_next_revision_and_the_old_one_stands(tmp_path, made):
    lake = Lake(str(tmp_path))
    first = train_quarter(lake, made)
    second = train_quarter(lake, made, OTHER)
    assert (first.version, second.version) == ("v2017.1.0", "v2017.1.1")
    assert load(lake, "v2017.1.0") == first
    assert versions(lake) == ["v2017.1.0", "v2017.1.1"]
    assert model_of_quarter(lake, Q) == second
    train_quarter(lake, made)
    assert model_of_quarter(lake, Q) == first


def test_a_quarter_without_a_model_says_why(tmp_path):
    lake = Lake(str(tmp_path))
    outcome = train_quarter(lake, dataset(FIRST + 1))
    assert isinstance(outcome, NoModelYet)
    assert model_of_quarter(lake, FIRST + 1) == outcome
    assert versions(lake) == []
    with pytest.raises(LakeError):
        model_of_quarter(lake, Q)


def test_processes_never_share_a_version_and_never_lose_one(tmp_path):
    inputs = [f"inputs {i % 6}" for i in range(12)]
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:  # at once: none waits for imports
        saved = list(pool.map(save_one, [str(tmp_path)] * len(inputs), inputs))
    by_inputs = dict(saved)
    assert set(saved) == set(by_inputs.items()), "equal inputs got two versions"
    assert sorted(by_inputs.values()) == versions(Lake(str(tmp_path))) == [f"v2017.1.{i}" for i in range(6)]
    for name, version in by_inputs.items():
        assert load(Lake(str(tmp_path)), version).model == {"inputs": name}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", range(6))
def test_a_kill_at_any_write_is_healed_by_the_next_run(tmp_path, made, monkeypatch, writes):
    undisturbed, struck = Lake(str(tmp_path / "a")), Lake(str(tmp_path / "b"))
    train_quarter(undisturbed, made)
    left = iter(range(writes))
    write, claim = Lake.write_bytes, Lake.claim

    def strike(method):
        def stricken(self, *args):
            if next(left, None) is None:
                raise Killed
            return method(self, *args)

        return stricken

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "write_bytes", strike(write))
        patched.setattr(Lake, "claim", strike(claim))
        with pytest.raises(Killed):
            train_quarter(struck, made)
    assert versions(struck) == (["v2017.1.0"] if writes == 5 else [])
    train_quarter(struck, made)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_unfinished_version_is_no_version(tmp_path):
    lake = Lake(str(tmp_path))
    lake.claim("models/claims/v2017.1.0", b"inputs of a killed run")
    assert find(lake, Q, "inputs of a killed run") is None
    assert versions(lake) == []
    with pytest.raises(BundleError, match=r"no finished model v2017\.1\.0"):
        load(lake, "v2017.1.0")
    assert save(lake, bundle("others")).version == "v2017.1.1"


@pytest.mark.parametrize("content", [b"[]", b"{", b"null"])
def test_metadata_that_is_none_is_damage(tmp_path, trained, content):
    lake = Lake(str(tmp_path))
    saved = save(lake, trained)
    lake.write_bytes(f"{FOLDER}/{saved.version}/metadata.json", content)
    with pytest.raises(BundleError, match="is not what was written"):
        load(lake, saved.version)


@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_by_hash(tmp_path, trained, name):
    lake = Lake(str(tmp_path))
    saved = save(lake, trained)
    path = tmp_path / FOLDER / saved.version / name
    damaged = path.read_bytes().replace(b"0", b"1", 1)
    path.write_bytes(damaged)
    with pytest.raises(BundleError, match=f"{name}.*Remedy"):
        load(lake, saved.version)


def test_metadata_that_is_no_json_is_damage(tmp_path, trained):
    lake = Lake(str(tmp_path))
    saved = save(lake, trained)
    (tmp_path / FOLDER / saved.version / bundles.METADATA).write_bytes(b"{")
    with pytest.raises(BundleError, match=r"metadata\.json"):
        load(lake, saved.version)


def test_the_bundle_names_its_origin_and_no_wall_time(trained, made):
    metadata = json.loads(trained.files()[bundles.METADATA])
    assert metadata["cutoff"] == "2016-12-23T21:00:00+00:00"
    assert metadata["dataset_sha256"] == made.lineage["content_sha256"]
    assert metadata["rows"] == len(made.frame)
    assert metadata["test"]["n"] > 0
    assert not any(word in key for key in metadata for word in ("created", "time", "host"))
