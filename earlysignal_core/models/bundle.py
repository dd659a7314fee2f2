"""A trained model as an immutable bundle of four files, named by a version that is never used twice."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.datasets.cutoff import Cutoff, parse_cutoff, version_stem
from earlysignal_core.datasets.lineage import to_json
from earlysignal_core.errors import EarlySignalError, RefusalError
from earlysignal_core.lake import Lake
from earlysignal_core.models.calibration import Calibration, FloatArray
from earlysignal_core.models.ensemble import Pool
from earlysignal_core.models.row_memo import RowMemo
from earlysignal_core.quarters import Quarter

FOLDER, CLAIMS, BY_QUARTER = "models/early-signal", "models/claims", "models/by_quarter"
AUTO = "auto"
_NAMED = re.compile(r"v\d+\.\d+\.\d+")
MODEL_TEXT, MODEL, NORMALIZER, METADATA = "model.txt", "model.json", "normalizer.json", "metadata.json"
FILES = (METADATA, MODEL_TEXT, MODEL, NORMALIZER)
HASHES = "files"
CUTOFF_OF_QUARTER, CUTOFF_OF_DAY = "quarter", "day"


class BundleError(EarlySignalError):
    """A bundle that is unfinished or damaged, or a frame that it cannot score."""


class UnknownModelError(BundleError, RefusalError):
    """A version that no finished model has."""


@dataclass(frozen=True)
class NoModelYet:
    """The outcome of training where there is too little history: no failure."""

    until: Cutoff
    reason: str


@dataclass(frozen=True)
class Bundle:
    """A model with all that is needed to use and to judge it.

    Attributes
    ----------
    model_text : str
        The algorithm's own text form; of several members a JSON list of theirs.
    model : dict
        Algorithm, parameters, features, number of trees, threshold and calibration; of several members each of these
        by member, and how much each counts.
    normalizer : dict
        Per feature the mean, standard deviation, missing share and quantiles of the training rows: what live data
        is checked against.
    metadata : dict
        Version, cutoff, hashes of what went in, sizes, figures of the test part, importance; no wall time.
    """

    model_text: str
    model: dict[str, Any]
    normalizer: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def version(self) -> str | None:
        """Like ``v2018.3.0``, or None before it is saved."""
        version: str | None = self.metadata.get("version")
        return version

    @property
    def until(self) -> Cutoff:
        """The quarter before which it was trained, or the day on which it was."""
        return _until(self.metadata)

    @property
    def features(self) -> list[str]:
        """The columns that it reads, in order."""
        return list(self.model["features"])

    @property
    def threshold(self) -> float:
        """The probability from which it calls a large beat."""
        return float(self.model["threshold"])

    @cached_property
    def pool(self) -> Pool:
        """The fitted members."""
        return Pool.load(self.model, self.model_text)

    def predict(self, frame: pd.DataFrame) -> FloatArray:
        """Return the calibrated probability of a large beat for each row, shape (n,).

        Raises
        ------
        BundleError
            Names the features that the frame lacks.
        """
        scores = self._scores(self._inputs(frame))
        return Calibration(**self.model["calibration"]).apply(scores)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return what each feature adds to each row's log odds before calibration (SHAP values), columns `features`.

        Raises
        ------
        BundleError
            As for `predict`.
        """
        values = self._explained(self._inputs(frame))[:, :-1]
        return pd.DataFrame(values, columns=self.features, index=frame.index)

    @cached_property
    def _scores(self) -> RowMemo:
        return RowMemo(self.pool.predict)

    @cached_property
    def _explained(self) -> RowMemo:
        return RowMemo(self.pool.contributions)

    def _inputs(self, frame: pd.DataFrame) -> FloatArray:
        missing = [name for name in self.features if name not in frame.columns]
        if missing:
            raise BundleError(
                f"model {self.version} reads {len(missing)} feature(s) that the rows lack: {', '.join(missing)}. "
                f"Remedy: build the rows with the code that trained it, or train again."
            )
        return np.asarray(frame[self.features].to_numpy(dtype="float64"))

    def files(self) -> dict[str, bytes]:
        """Return the content of each file by name, `metadata.json` last: it holds the hash of all, itself included."""
        files = {
            MODEL_TEXT: self.model_text.encode(),
            MODEL: to_json(self.model),
            NORMALIZER: to_json(self.normalizer),
            METADATA: to_json(self.metadata),
        }
        hashes = {name: _sha256(content) for name, content in files.items()}
        return files | {METADATA: to_json(self.metadata | {HASHES: hashes})}


def save(lake: Lake, bundle: Bundle, version: str = AUTO) -> Bundle:
    """Write a bundle under a version and return it with that version.

    Parameters
    ----------
    lake : Lake
    bundle : Bundle
    version : str
        ``auto`` for the next free one of the bundle's quarter or day, or a name like ``v1.2.0``.

    Raises
    ------
    BundleError
        If the name is none, or belongs to another model.

    Notes
    -----
    The version is claimed by an atomic create-if-absent of a file that holds the hash of the bundle's inputs. A claim
    with the same hash is this bundle's own, left by an earlier run that may have been killed: its files are written
    if `metadata.json`, the last of them, is missing. Equal inputs give equal bytes, so it does not matter who wrote.
    """
    inputs = str(bundle.metadata["input_sha256"]).encode()
    for candidate in _candidates(bundle.until, version):
        if lake.claim(_claim(candidate), inputs) == inputs:
            if not lake.exists(f"{FOLDER}/{candidate}/{METADATA}"):
                for name, content in replace(bundle, metadata={"version": candidate} | bundle.metadata).files().items():
                    lake.write_bytes(f"{FOLDER}/{candidate}/{name}", content)
            return load(lake, candidate)
    raise BundleError(f"{version} is another model, and models never change. Remedy: choose a new version, or `auto`.")


def find(lake: Lake, until: Cutoff, input_sha256: str, version: str = AUTO) -> Bundle | None:
    """Return the finished bundle that was made from the same inputs under a version, or under any of its cutoff."""
    for candidate in _candidates(until, version):
        if not lake.exists(_claim(candidate)):
            return None
        if lake.read_bytes(_claim(candidate)) == input_sha256.encode():
            return load(lake, candidate) if lake.exists(f"{FOLDER}/{candidate}/{METADATA}") else None
    return None


def load(lake: Lake, version: str) -> Bundle:
    """Read a bundle and check every file against its hash.

    Raises
    ------
    BundleError
        If it is not there, not finished, or not as it was written.
    """
    metadata, hashes = _record(lake, version)
    files = {name: lake.read_bytes(f"{FOLDER}/{version}/{name}") for name in FILES if name != METADATA}
    for name, content in files.items():
        if hashes.get(name) != _sha256(content):
            raise _damaged(version, name)
    return Bundle(files[MODEL_TEXT].decode(), json.loads(files[MODEL]), json.loads(files[NORMALIZER]), metadata)


def metadata_of(lake: Lake, version: str) -> dict[str, Any]:
    """Read what a bundle says of itself, be its model damaged.

    Raises
    ------
    BundleError
        If it is not there, not finished, or not as it was written.
    """
    return _record(lake, version)[0]


def cutoff_of(lake: Lake, version: str) -> Cutoff:
    """Return until when a model knew, be its trees damaged.

    Raises
    ------
    BundleError
        As for `metadata_of`.
    """
    return _until(metadata_of(lake, version))


def versions(lake: Lake) -> list[str]:
    """Return every finished version: by year, those of its quarters before those of its days, oldest first."""
    finished = [name for name in lake.folders(FOLDER) if lake.exists(f"{FOLDER}/{name}/{METADATA}")]
    return sorted(finished, key=lambda name: [int(part) for part in name.removeprefix("v").split(".")])


def record_of_quarter(lake: Lake, quarter: Quarter, outcome: Bundle | NoModelYet) -> None:
    """Note which bundle is the quarter's model, or why it has none: a quarter may have several revisions."""
    content = {"no_model_yet": outcome.reason} if isinstance(outcome, NoModelYet) else {"version": outcome.version}
    lake.write_bytes(f"{BY_QUARTER}/{quarter}.json", to_json(content))


def model_of_quarter(lake: Lake, quarter: Quarter) -> Bundle | NoModelYet:
    """Return what `record_of_quarter` noted.

    Raises
    ------
    LakeError
        If the quarter's model has not been materialised.
    """
    content = json.loads(lake.read_bytes(f"{BY_QUARTER}/{quarter}.json"))
    if "no_model_yet" in content:
        return NoModelYet(quarter, content["no_model_yet"])
    return load(lake, content["version"])


def check_version(version: str) -> None:
    """Refuse what is no version.

    Raises
    ------
    BundleError
        Says how to write one.
    """
    if version != AUTO and not _NAMED.fullmatch(version):
        raise UnknownModelError(
            f"`{version}` is no version. Remedy: write it like v1.2.0 (a new model's may be `{AUTO}`)."
        )


def _candidates(until: Cutoff, version: str) -> Iterator[str]:
    """Yield the versions that a bundle may take: by the calendar, so that a repeated backfill repeats them."""
    check_version(version)
    if version == AUTO:
        yield from (f"{version_stem(until)}.{revision}" for revision in count())
    else:
        yield version


def _until(metadata: dict[str, Any]) -> Cutoff:
    return parse_cutoff(metadata.get(CUTOFF_OF_DAY) or metadata[CUTOFF_OF_QUARTER])


def _claim(version: str) -> str:
    return f"{CLAIMS}/{version}"


def _record(lake: Lake, version: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a bundle's metadata, checked, and the hash of each file."""
    if not lake.exists(f"{FOLDER}/{version}/{METADATA}"):
        raise UnknownModelError(
            f"there is no finished model {version} in the lake {lake}. Finished: "
            f"{', '.join(versions(lake)) or 'none'}. Remedy: choose one of these. A quarter's is trained by "
            f"`earlysignal backfill --select models`; that of a day comes with a copy of the lake's folder `models`."
        )
    try:
        metadata = json.loads(lake.read_bytes(f"{FOLDER}/{version}/{METADATA}"))
        hashes = metadata.pop(HASHES)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(version, METADATA) from error
    if hashes.get(METADATA) != _sha256(to_json(metadata)):
        raise _damaged(version, METADATA)
    return metadata, hashes


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(version: str, name: str) -> BundleError:
    return BundleError(
        f"{FOLDER}/{version}/{name} is not what was written: its content does not fit its hash. "
        f"Remedy: restore the file from a copy, or delete the folder {version} and train again, which writes the "
        f"same bytes."
    )
