"""Training: the split chooses trees, threshold and calibration; the model that serves is refitted on all rows."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.cutoff import Day
from earlysignal_core.datasets.lineage import code_version
from earlysignal_core.datasets.splits import Part
from earlysignal_core.lake import Lake
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.base_models import BaseModels, fit_base_models, input_digest, kept_of, libraries
from earlysignal_core.models.bundle import CUTOFF_OF_DAY, CUTOFF_OF_QUARTER, Bundle, NoModelYet
from earlysignal_core.models.calibration import FloatArray, best_threshold, choose_calibration, reliability
from earlysignal_core.models.ensemble import Pool, TooLittleToLearnError
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import SINGLE, EnsembleSettings

QUANTILES = (0.0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0)


def train(
    dataset: Dataset, ensemble: EnsembleSettings = SINGLE, members: BaseModels | None = None
) -> Bundle | NoModelYet:
    """Train a model of a dataset.

    Parameters
    ----------
    dataset : Dataset
    ensemble : EnsembleSettings, optional
    members : BaseModels, optional
        Members that were fitted before on this dataset; else they are fitted here.

    Returns
    -------
    Bundle or NoModelYet
        The same dataset and parameters give the same bytes.

    Notes
    -----
    A model fitted on the train part alone knows nothing of the newest 30 % of the rows, which costs more than the
    choices gain; so it only makes the choices (and the figures of the test part), and the refit serves.
    """
    if dataset.no_model_yet is not None:
        return NoModelYet(dataset.until, dataset.no_model_yet)
    try:
        return _combined(dataset, ensemble, members or fit_base_models(dataset, ensemble))
    except TooLittleToLearnError as error:
        return NoModelYet(dataset.until, str(error))


def _combined(dataset: Dataset, ensemble: EnsembleSettings, members: BaseModels) -> Bundle:
    """Make one model of the members: calibrated, with a threshold, and with the figures of the test part."""
    frame, model = dataset.frame, members.model
    y, part = frame["label"].to_numpy(dtype="float64"), frame["part"].to_numpy()
    train_rows, validation, test = (part == p for p in (Part.TRAIN, Part.VALIDATION, Part.TEST))

    features = model["features"]
    scores = members.chooser.predict(frame[features].to_numpy(dtype="float64"))
    calibration = choose_calibration(scores[validation], y[validation])
    probability = calibration.apply(scores)
    threshold = best_threshold(probability[validation], y[validation])

    return Bundle(
        model_text=members.refitted,
        model={**model, "threshold": threshold, "calibration": vars(calibration)},
        normalizer=_normalizer(frame[features]),
        metadata={
            CUTOFF_OF_DAY if isinstance(dataset.until, Day) else CUTOFF_OF_QUARTER: str(dataset.until),
            "cutoff": dataset.cutoff.isoformat(),
            "input_sha256": members.input_sha256,
            "dataset_version": dataset.lineage["dataset_version"],
            "dataset_sha256": dataset.lineage["content_sha256"],
            "code_version": code_version(),
            **libraries(ensemble),
            "window_months": dataset.lineage["settings"]["window_months"],
            "rows": len(y),
            "large_beats": int(y.sum()),
            "base_rate": float(y.mean()),
            "parts": {str(p): int((part == p).sum()) for p in Part},
            "test": _figures(probability[test], y[test], threshold, float(y[train_rows].mean())),
            "reliability": {
                "before_calibration": reliability(scores[test], y[test]),
                "after_calibration": reliability(probability[test], y[test]),
            },
            "importance": _importance(Pool.load(model, members.refitted), features),
            "features_left_out": dataset.lineage["feature_extraction"]["features_left_out"],
        },
    )


def train_and_save(
    lake: Lake, dataset: Dataset, ensemble: EnsembleSettings = SINGLE, version: str = bundles.AUTO
) -> Bundle | NoModelYet:
    """Return the model of a dataset: the one that the same inputs gave before, else a new one, saved."""
    outcome: Bundle | NoModelYet | None = None
    if dataset.no_model_yet is None:
        outcome = bundles.find(lake, dataset.until, input_digest(dataset, ensemble), version)
    if outcome is None:
        trained = train(dataset, ensemble, kept_of(lake, dataset, ensemble))
        outcome = bundles.save(lake, trained, version) if isinstance(trained, Bundle) else trained
    return outcome


def train_quarter(
    lake: Lake, dataset: Dataset, ensemble: EnsembleSettings = SINGLE, version: str = bundles.AUTO
) -> Bundle | NoModelYet:
    """Return the quarter's model, saved, and noted as the quarter's."""
    outcome = train_and_save(lake, dataset, ensemble, version)
    bundles.record_of_quarter(lake, Quarter.parse(str(dataset.until)), outcome)
    return outcome


def _normalizer(values: pd.DataFrame) -> dict[str, Any]:
    figures = pd.DataFrame({"mean": values.mean(), "std": values.std(), "missing": values.isna().mean()})
    quantiles = values.quantile(list(QUANTILES)).set_axis([str(q) for q in QUANTILES])
    return {
        name: figures.loc[name].to_dict() | {"quantiles": quantiles[name].to_dict()}
        for name in map(str, values.columns)
    }


def _figures(probability: FloatArray, label: FloatArray, threshold: float, base_rate: float) -> dict[str, Any]:
    """Return figures of the model of the train part on the test part, which no choice has seen."""
    if len(np.unique(label)) < 2:
        return {"n": len(label), "base_rate": float(label.mean()) if len(label) else None}
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, probability >= threshold, average="binary", zero_division=0
    )
    return {
        "n": len(label),
        "base_rate": float(label.mean()),
        "auc": float(roc_auc_score(label, probability)),
        "average_precision": float(average_precision_score(label, probability)),
        "brier": float(np.mean((probability - label) ** 2)),
        "brier_of_the_base_rate": float(np.mean((base_rate - label) ** 2)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def _importance(pool: Pool, features: list[str]) -> dict[str, float]:
    """Return each feature's share of what the members say of it (gain, or weight), largest first."""
    shares = pool.importance(len(features))
    return {features[i]: float(shares[i]) for i in np.argsort(-shares, kind="stable")}
