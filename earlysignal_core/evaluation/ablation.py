"""What a group of features is worth: the walk-forward with and without it, on the same events, in pairs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from earlysignal_core.audit.announcements import companies_of, share_classes
from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.gather import FEATURES, LABELS, gather_dataset
from earlysignal_core.datasets.quality import judge_quarter
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.evaluation.metrics import PAIRED, measure, paired
from earlysignal_core.evaluation.resampling import Figure, FloatArray, Resamples, wider
from earlysignal_core.features.table import EVENT_COLUMNS
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.models.training import train
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member, Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

SEEDS = 10


@dataclass(frozen=True)
class Ablation:
    """What the models with all features have over those without some of them.

    Attributes
    ----------
    left_out : tuple of str
        The features of the group that any model had.
    n, large_beats : int
        Of the events that all models predicted out of sample, and whose outcome is known.
    all_features, without : dict of Figure
        auc, average_precision and brier of both, with 95 % intervals from resampled companies.
    difference : dict of Figure
        All features less without the group's: above 0 they help (of the Brier score, below). With the wider of two
        95 % intervals: from resampled companies, and from resampled announcement days.
    by_seed : tuple of float
        The difference in AUC between single models, by seed: how far the luck of training alone moves it.
    """

    left_out: tuple[str, ...]
    n: int
    large_beats: int
    all_features: dict[str, Figure]
    without: dict[str, Figure]
    difference: dict[str, Figure]
    by_seed: tuple[float, ...]


def ablate(
    lake: Lake,
    source: SourceDescription,
    settings: Settings,
    groups: Mapping[str, Collection[str]],
    seeds: int = SEEDS,
) -> dict[str, Ablation]:
    """Walk forward with all features and, for each group, without its own.

    Parameters
    ----------
    lake : Lake
        With `feature_table` and `labels` of every quarter with announcements.
    source : SourceDescription
    settings : Settings
    groups : mapping of str to collection of str
        Names of features, by what the group is called.
    seeds : int
        Models of each dataset, each with a seed of its own, of which the mean probability is judged: leaving features
        out also changes which ones a tree is offered by chance, and a single seed takes that for their worth.

    Raises
    ------
    EarlySignalError
        If no quarter has enough history for a model.
    """
    walked = [_walk(q, lake, source, settings, groups, seeds) for q in source.event_quarters]
    judged = [each for each in walked if each is not None]
    if not judged:
        raise EarlySignalError(
            f"no quarter of `{source.name}` has enough history for a model: there is nothing to compare. "
            f"Remedy: choose a longer tape, or lower EARLYSIGNAL_WARMUP_QUARTERS."
        )
    events = pd.concat([each.events for each in judged], ignore_index=True)
    scores = np.concatenate([each.scores for each in judged])  # (events, all features and each group, seeds)
    used = frozenset[str]().union(*(each.features for each in judged))
    company = companies_of(events["symbol"], share_classes(lake.read("earnings", source.event_quarters)))
    units = [Resamples.draw(unit, seed=0) for unit in (company, events["announced_on"])]
    label = events["label"].to_numpy(dtype="float64")
    return {
        name: _compared(label, scores[:, 0], scores[:, number], units, tuple(sorted(used.intersection(groups[name]))))
        for number, name in enumerate(groups, start=1)
    }


@dataclass(frozen=True)
class _Walked:
    events: pd.DataFrame
    scores: FloatArray
    features: frozenset[str]


def _walk(
    quarter: Quarter,
    lake: Lake,
    source: SourceDescription,
    settings: Settings,
    groups: Mapping[str, Collection[str]],
    seeds: int,
) -> _Walked | None:
    """Score the quarter's events whose outcome is known, by models of what was known before it."""
    found = learned_and_judged(quarter, lake, source, settings)
    if found is None:
        return None
    dataset, rows = found
    variants = [dataset, *(without(dataset, group) for group in groups.values())]
    scores = [[_predicted(variant, seed, rows) for seed in range(seeds)] for variant in variants]
    return _Walked(rows[[*EVENT_COLUMNS, "label"]], np.moveaxis(np.array(scores), 2, 0), frozenset(dataset.features))


def learned_and_judged(
    quarter: Quarter, lake: Lake, source: SourceDescription, settings: Settings
) -> tuple[Dataset, pd.DataFrame] | None:
    """Return what was known before a quarter, and its events whose outcome is known, with ``label``.

    None where there is too little for a model, and where the quarter is refused.
    """
    dataset = gather_dataset(lake, source, quarter, settings)
    table, labels = lake.read(FEATURES, [quarter]), lake.read(LABELS, [quarter])
    rows = table.merge(labels[["event", "label", KNOWABLE]], on="event", how="left", validate="1:1")
    rows = rows[rows["label"].notna()]
    refused = judge_quarter(quarter, table, labels, [], source).refusals
    return None if dataset.no_model_yet is not None or refused or rows.empty else (dataset, rows)


def _predicted(dataset: Dataset, seed: int, rows: pd.DataFrame) -> FloatArray:
    model = train(dataset, EnsembleSettings(members=(Member(params={"seed": seed}),)))
    return model.predict(rows) if isinstance(model, Bundle) else np.full(len(rows), np.nan)


def without(dataset: Dataset, names: Collection[str]) -> Dataset:
    """Return a dataset of which a model may use the other features only."""
    extraction = dataset.lineage["feature_extraction"]
    others = [name for name in dataset.features if name not in names]
    return replace(dataset, lineage=dataset.lineage | {"feature_extraction": extraction | {"features": others}})


def _compared(
    label: FloatArray, every: FloatArray, some: FloatArray, units: list[Resamples], left_out: tuple[str, ...]
) -> Ablation:
    """Compare probabilities, shape (events, seeds) each."""
    by_unit = []
    for drawn in units:
        full, rest = (measure(label, scores.mean(axis=1), None, np.nan, drawn) for scores in (every, some))
        by_unit.append((full.figures, rest.figures, paired(full, rest)))
    (full_figures, rest_figures, of_companies), (_, _, of_days) = by_unit
    return Ablation(
        left_out=left_out,
        n=len(label),
        large_beats=int(label.sum()),
        all_features={name: full_figures[name] for name in PAIRED},
        without={name: rest_figures[name] for name in PAIRED},
        difference={name: wider(of_companies[name], of_days[name]) for name in PAIRED},
        by_seed=tuple(
            float(roc_auc_score(label, every[:, seed]) - roc_auc_score(label, some[:, seed]))
            for seed in range(every.shape[1])
        ),
    )
