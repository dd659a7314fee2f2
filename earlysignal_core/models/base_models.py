"""The members of a quarter's model: fitted once, kept, and read by the model that they make up."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from typing import Any

import pandas as pd

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.lineage import code_version, json_digest, to_json
from earlysignal_core.datasets.splits import Part
from earlysignal_core.lake import Lake
from earlysignal_core.models.algorithm import algorithm
from earlysignal_core.models.ensemble import Pool, choose, refit
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings

FOLDER = "models/members"
_DIGEST = "content_sha256"


@dataclass(frozen=True)
class BaseModels:
    """Members as text, with what they were made of.

    Attributes
    ----------
    input_sha256 : str
        `input_digest` of dataset and ensemble.
    model : dict
        What was chosen of each member, and how much each counts.
    learned : str
        The members as fitted on the train part, by which threshold and calibration are chosen.
    refitted : str
        The members as fitted on all rows, which serve.
    """

    input_sha256: str
    model: dict[str, Any]
    learned: str
    refitted: str

    @property
    def chooser(self) -> Pool:
        """The members that know nothing of the validation and test parts but their number of trees."""
        return Pool.load(self.model, self.learned)


def fit_base_models(dataset: Dataset, ensemble: EnsembleSettings) -> BaseModels:
    """Fit every member on the train part and on all rows, and a stack on its out-of-fold forecasts.

    Raises
    ------
    TooLittleToLearnError
        A member's window holds one outcome only.
    """
    frame = dataset.frame
    learned, validation = ((frame["part"] == part).to_numpy() for part in (Part.TRAIN, Part.VALIDATION))
    embargo = pd.Timedelta(days=dataset.lineage["settings"]["embargo_days"])
    model, chooser = choose(ensemble, dataset.features, frame, learned, validation, embargo)
    refitted = refit(model, frame, dataset.cutoff)
    return BaseModels(input_digest(dataset, ensemble), model, chooser.to_text(), refitted.to_text())


def fit_and_keep(lake: Lake, dataset: Dataset, ensemble: EnsembleSettings) -> BaseModels:
    """Return the members of a quarter's dataset: those that the same inputs gave before, else new ones, written.

    Raises
    ------
    TooLittleToLearnError
        A member's window holds one outcome only.
    """
    kept = kept_of(lake, dataset, ensemble)
    if kept is None:
        kept = fit_base_models(dataset, ensemble)
        content = asdict(kept)
        lake.write_bytes(_path(dataset), to_json(content | {_DIGEST: json_digest(content)}))
    return kept


def kept_of(lake: Lake, dataset: Dataset, ensemble: EnsembleSettings) -> BaseModels | None:
    """Return the members that were kept of a quarter, if they are of these inputs; a retrain's are never kept.

    Members that cannot be read, or are not what was written, are no members: they are fitted anew.
    """
    if not isinstance(dataset.until, Quarter) or not lake.exists(_path(dataset)):
        return None
    try:
        content = json.loads(lake.read_bytes(_path(dataset)))
        is_whole = content.pop(_DIGEST) == json_digest(content)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return BaseModels(**content) if is_whole and content["input_sha256"] == input_digest(dataset, ensemble) else None


def input_digest(dataset: Dataset, ensemble: EnsembleSettings) -> str:
    """Return the hash of all that decides a bundle's bytes."""
    return json_digest(
        {
            "dataset": dataset.lineage["content_sha256"],
            "features": dataset.features,
            "features_left_out": dataset.lineage["feature_extraction"]["features_left_out"],
            "ensemble": ensemble.model_dump(mode="json"),
            "params": [dict(algorithm(member.algorithm).PARAMS) for member in ensemble.members],
            "code": code_version(),
            **libraries(ensemble),
        }
    )


def libraries(ensemble: EnsembleSettings) -> dict[str, str]:
    """Return the versions of the libraries that fit the members: another version may give other bytes."""
    used = {algorithm(member.algorithm).LIBRARY for member in ensemble.members}
    return {name: installed(name) for name in sorted(used)}


def _path(dataset: Dataset) -> str:
    return f"{FOLDER}/{dataset.until}.json"
