"""Loaded models by version: a bundle never changes, so it is read and checked once."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import METADATA, Bundle, load

CAPACITY = 8


@dataclass(frozen=True)
class LoadedModel:
    """A bundle that was found whole, with the hash of its record, which holds those of its files."""

    bundle: Bundle
    sha256: str


class ModelCache:
    """The models used last, safe to be asked by several threads; one of them loads, the others wait for it.

    A version that cannot be loaded is tried again at the next request: a repaired file serves at once.
    """

    def __init__(self, lake: Lake, capacity: int = CAPACITY) -> None:
        self._lake, self._capacity = lake, capacity
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, Lock] = {}
        self._lock = Lock()

    def get(self, version: str) -> LoadedModel:
        """Return a model.

        Raises
        ------
        BundleError
            If it is missing, unfinished or damaged.
        """
        with self._lock:
            if version in self._models:
                self._models.move_to_end(version)
                return self._models[version]
            gate = self._loading.setdefault(version, Lock())
        with gate:
            with self._lock:
                if version in self._models:
                    return self._models[version]
            bundle = load(self._lake, version)
            model = LoadedModel(bundle, hashlib.sha256(bundle.files()[METADATA]).hexdigest())
            bundle.pool  # noqa: B018 - parsed here, by one thread, and not at the first prediction by several
            with self._lock:
                self._models[version] = model
                self._loading.pop(version, None)
                while len(self._models) > self._capacity:
                    self._models.popitem(last=False)
            return model
