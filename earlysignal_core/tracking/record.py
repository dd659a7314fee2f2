"""The record of a training among the experiments: all of it read from the lake, so that it can be made at any time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from earlysignal_core.datasets.lineage import to_json
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.judge import Evaluation
from earlysignal_core.evaluation.metrics import Figures
from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.evaluation.test_part import figures_of_test_part
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import FILES, FOLDER, Bundle, load
from earlysignal_core.models.bundle import versions as model_versions
from earlysignal_core.models.ensemble import members_of, window_of
from earlysignal_core.quarterly import EVALUATIONS, REPORT
from earlysignal_core.quarterly import FIGURES as WALK_FORWARD
from earlysignal_core.tracking.card import figures_of, path_of

# What a comparison needs; the rest stands on the card.
_FIGURES = (
    "base_rate",
    "auc",
    "average_precision",
    "auc_within_company",
    "auc_given_large_surprise",
    "brier",
    "brier_base_rate",
    "ece",
)
_OUT_OF_SAMPLE = "out_of_sample"
ALL_QUARTERS = "walk-forward"
# What all models of a workspace have in common.
_OF_RECIPE = ("workspace", "algorithm", "voting", "window_months")


@dataclass(frozen=True)
class Record:
    """One training: what went in, what came out, and where it lies.

    Attributes
    ----------
    key : str
        Of the same bundle of the same dataset in the same workspace there is one record.
    name : str
        The bundle's version.
    parameters, tags : mapping of str to str
    metrics : mapping of str to float
        Figures with ``_low`` and ``_high`` where there is an interval, and their ``n``.
    artifacts : function
        Draws the files that go with it, by name.
    """

    key: str
    name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    artifacts: Callable[[], Mapping[str, bytes]]


def record_of(lake: Lake, version: str, workspace: str) -> Record:
    """Return the record of a bundle, with the figures that are known of it by now.

    Parameters
    ----------
    lake : Lake
    version : str
    workspace : str
        The name of the lake's workspace: the same version may stand in others, trained under other settings.
    """
    bundle = load(lake, version)
    evaluation = _evaluation(lake, bundle)
    test = {f"test/{name}": value for name, value in figures_of_test_part(bundle.metadata).items()}
    figures = {} if evaluation is None else _metrics(evaluation.model)
    if evaluation is None and (walked := figures_of(lake, version)) is not None:
        figures = _metrics(walked)

    def artifacts() -> dict[str, bytes]:
        importance = bundle.metadata["importance"]
        files = {f"bundle/{name}": lake.read_bytes(f"{FOLDER}/{version}/{name}") for name in FILES}
        files |= {"importance.json": to_json(importance), "importance.png": plots.importance(importance)}
        if evaluation is not None:
            files["curves.png"] = plots.panel(evaluation)
        if lake.exists(path_of(version)):
            files["card.html"] = lake.read_bytes(path_of(version))
        return files

    return Record(
        key=f"{workspace}:{version}:{bundle.metadata['dataset_sha256'][:16]}",
        name=version,
        parameters=_parameters(bundle, workspace),
        tags={
            "bundle": f"{lake}/{FOLDER}/{version}",
            "card": path_of(version),
            "judged": "no" if not figures else "on its quarter" if evaluation else "walked forward month by month",
        },
        metrics={
            "training/rows": float(bundle.metadata["rows"]),
            "training/base_rate": float(bundle.metadata["base_rate"]),
            **test,
            **figures,
        },
        artifacts=artifacts,
    )


def record_of_walk_forward(lake: Lake, workspace: str) -> Record | None:
    """Return the record of all quarters of a workspace together, by which settings are compared; None before that.

    Parameters
    ----------
    lake : Lake
    workspace : str
    """
    if not lake.exists(WALK_FORWARD):
        return None
    figures = _parsed(lake, WALK_FORWARD, json.loads)
    wanted = [f"{name}{bound}" for name in ("n", *_FIGURES) for bound in ("", "_low", "_high", "_n")]
    metrics = {f"{_OUT_OF_SAMPLE}/{name}": float(value) for name in wanted if (value := figures.get(name)) is not None}
    versions = model_versions(lake)
    newest = record_of(lake, versions[-1], workspace).parameters if versions else {}
    return Record(
        key=f"{workspace}:{ALL_QUARTERS}",
        name=ALL_QUARTERS,
        parameters={name: newest[name] for name in _OF_RECIPE if name in newest},
        tags={"judged": "all quarters of the walk-forward together", "report": REPORT},
        metrics=metrics,
        artifacts=lambda: {"walk-forward.json": lake.read_bytes(WALK_FORWARD)},
    )


def row_of(record: Record) -> dict[str, Any]:
    """Return a record as a row of the table in which `store.Experiments.table` shows it."""
    return {"version": record.name, **record.parameters, **record.metrics}


def _evaluation(lake: Lake, bundle: Bundle) -> Evaluation | None:
    """Return the evaluation of a quarter's model on its quarter, if it was this one that was judged."""
    path = f"{EVALUATIONS}/{bundle.until}.json"
    if not lake.exists(path):
        return None
    if bundle.version not in _parsed(lake, path, json.loads).get("versions", []):
        return None
    found: Evaluation = _parsed(lake, path, Evaluation.from_json)
    return found


def _parsed(lake: Lake, path: str, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(lake.read_bytes(path))
    except ValueError as error:
        raise EarlySignalError(
            f"{path} is damaged ({type(error).__name__}). Remedy: materialise the evaluation of that quarter, and "
            f"`walk_forward`, anew."
        ) from error


def _metrics(figures: Figures) -> dict[str, float]:
    found: dict[str, float] = {"n": float(figures.n), "large_beats": float(figures.positives)}
    for name in _FIGURES:
        found |= _bounds(name, figures[name])
    found |= {f"{name}_n": float(n) for name, n in figures.rows_behind.items()}
    return {f"{_OUT_OF_SAMPLE}/{name}": value for name, value in found.items()}


def _bounds(name: str, figure: Figure) -> dict[str, float]:
    values = {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {key: value for key, value in values.items() if not np.isnan(value)}


def _parameters(bundle: Bundle, workspace: str) -> dict[str, str]:
    metadata, model = bundle.metadata, bundle.model
    members = members_of(model)
    own: dict[str, Any] = {
        "workspace": workspace,
        "until": bundle.until,
        "cutoff": metadata["cutoff"],
        "dataset_version": metadata["dataset_version"],
        "dataset_sha256": metadata["dataset_sha256"],
        "code_version": metadata["code_version"],
        "algorithm": " + ".join(member["algorithm"] for member in members),
        "voting": model.get("voting", "–"),
        "trees": model["trees"],
        "window_months": ", ".join(str(window_of(member, metadata) or "all") for member in members),
        "calibration": model["calibration"]["kind"],
        "threshold": f"{bundle.threshold:.6f}",
        "features": len(bundle.features),
        "feature_set": ", ".join(bundle.features),
    }
    for i, member in enumerate(members, start=1):
        of = "" if len(members) == 1 else f"member {i}/"
        own |= {f"{of}{name}": value for name, value in member["params"].items()}
    return {name: str(value) for name, value in own.items()}
