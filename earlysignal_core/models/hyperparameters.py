"""Tuned parameters by version in one file, as the strategy has it, and the members that take them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earlysignal_core.datasets.cutoff import Cutoff, moment_of, version_stem
from earlysignal_core.datasets.lineage import to_json
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import FOLDER
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member, Settings

FILE, BY_QUARTER = f"{FOLDER}/hyperparameters.json", "models/hyperparameters"
TRIALS = 60


@dataclass(frozen=True)
class Tuned:
    """What was found for one member.

    Attributes
    ----------
    member : Member
        As the settings have it.
    params : dict
        The best point of the search space.
    log_loss, log_loss_fixed : float
        Mean over the folds, at that point and at the fixed recipe. The best of many is flattered by the choice: only
        quarters that come later tell whether it is better.
    auc : float
        Mean over the folds, at the best point.
    trials, pruned : int
        How many were begun, and how many of them were stopped before their last fold.
    """

    member: Member
    params: dict[str, Any]
    log_loss: float
    log_loss_fixed: float
    auc: float
    trials: int
    pruned: int


def record(lake: Lake, quarter: Quarter, found: Sequence[Tuned]) -> None:
    """Write what was found for a quarter, and the file of all quarters anew."""
    members = [
        {
            **_key(each.member),
            "params": each.params,
            "validation_auc": each.auc,
            "validation_log_loss": each.log_loss,
            "validation_log_loss_of_the_fixed_recipe": each.log_loss_fixed,
            "trials": each.trials,
            "pruned": each.pruned,
        }
        for each in found
    ]
    lake.write_bytes(f"{BY_QUARTER}/{quarter}.json", to_json({"quarter": str(quarter), "members": members}))
    lake.write_bytes(FILE, to_json({version_stem(each): _read(lake, each) for each in quarters(lake)}))


def members_tuned(lake: Lake, quarter: Quarter) -> list[dict[str, Any]]:
    """Return what was found for each member of a quarter, as it was written."""
    members: list[dict[str, Any]] = _read(lake, quarter)["members"]
    return members


def quarters(lake: Lake) -> list[Quarter]:
    """Return the quarters that have been tuned, oldest first."""
    return sorted(Quarter.parse(Path(path).stem) for path in lake.files(BY_QUARTER))


def ensemble_of(lake: Lake, settings: Settings, until: Cutoff) -> EnsembleSettings:
    """Return the members with which a model of a cutoff is trained: as set, or with the parameters tuned last before.

    What a member's `params` say holds in any case. A member that was not tuned, and every one before the first tuned
    quarter, has the fixed recipe.
    """
    before = [quarter for quarter in quarters(lake) if moment_of(quarter) < moment_of(until)] if settings.tuned else []
    if not before:
        return settings.ensemble
    found = {_hashable(each): each["params"] for each in _read(lake, before[-1])["members"]}

    def with_tuned(member: Member) -> Member:
        return member.model_copy(update={"params": {**found.get(_hashable(_key(member)), {}), **member.params}})

    return settings.ensemble.model_copy(update={"members": tuple(map(with_tuned, settings.ensemble.members))})


def _key(member: Member) -> dict[str, Any]:
    """Return what a search depends on; its weight is none of it."""
    told = member.model_dump(mode="json", include={"algorithm", "window_months", "families"})
    return {**told, "fixed": dict(member.params)}


def _hashable(key: dict[str, Any]) -> str:
    return json.dumps([key[name] for name in ("algorithm", "window_months", "families", "fixed")], sort_keys=True)


def _read(lake: Lake, quarter: Quarter) -> dict[str, Any]:
    path = f"{BY_QUARTER}/{quarter}.json"
    try:
        content: dict[str, Any] = json.loads(lake.read_bytes(path))
        for member in content["members"]:
            _hashable(member)
    except (ValueError, KeyError, TypeError) as error:
        raise EarlySignalError(
            f"{path} is damaged ({type(error).__name__}), or of older code. Remedy: `earlysignal tune --quarter "
            f"{quarter}` writes it anew."
        ) from error
    return content
