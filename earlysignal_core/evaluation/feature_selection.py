"""Feature selection: what weak features, and what families of features, are worth to the models of earlier quarters."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.audit.announcements import companies_of, share_classes
from earlysignal_core.datasets.build import Dataset
from earlysignal_core.datasets.cutoff import moment_of
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.evaluation.ablation import learned_and_judged, without
from earlysignal_core.evaluation.metrics import PAIRED, measure, paired
from earlysignal_core.evaluation.resampling import Figure, FloatArray, Resamples, wider
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.models.training import train
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import EnsembleSettings, Member, Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

# The strategy's limit: the share of a model's gain below which a feature is dropped.
WEAK = 0.01
ROUNDS, SEEDS, QUARTERS = 3, 3, 8
ALL = "all features"


@dataclass(frozen=True)
class Variant:
    """Models with some of the features.

    Attributes
    ----------
    name : str
    features : float
        How many a model had, in the mean over the quarters.
    figures : dict of Figure
        auc, average_precision and brier, with 95 % intervals from resampled companies.
    difference : dict of Figure
        These less those of all features: of the AUC above 0, and of the Brier score below 0, leaving out helps. With
        the wider of two 95 % intervals: from resampled companies, and from resampled announcement days.
    """

    name: str
    features: float
    figures: dict[str, Figure]
    difference: dict[str, Figure]


@dataclass(frozen=True)
class Selection:
    """What was compared, on which quarters, and what the loop kept of the newest dataset.

    Attributes
    ----------
    quarters : tuple of Quarter
    n, large_beats : int
    variants : tuple of Variant
        All features, each round of the loop, and all but each family.
    kept : tuple of str
    """

    quarters: tuple[Quarter, ...]
    n: int
    large_beats: int
    variants: tuple[Variant, ...]
    kept: tuple[str, ...]

    @property
    def base_rate(self) -> float:
        """The share of large beats among the events."""
        return self.large_beats / self.n

    @property
    def table(self) -> pd.DataFrame:
        """One row a variant, ready to be shown."""
        return pd.DataFrame(
            [
                {
                    "models with": each.name,
                    "features": each.features,
                    **_told("AUC", each.figures["auc"]),
                    **_told("AUC less all", each.difference["auc"]),
                    **_told("Brier", each.figures["brier"]),
                    **_told("Brier less all", each.difference["brier"]),
                }
                for each in self.variants
            ]
        )


def select_features(
    lake: Lake,
    source: SourceDescription,
    settings: Settings,
    until: Quarter,
    *,
    rounds: int = ROUNDS,
    seeds: int = SEEDS,
) -> Selection:
    """Walk the strategy's loop (drop what is weak, retrain, compare) and the ablation of families forward.

    Parameters
    ----------
    lake : Lake
        With `feature_table` and `labels` of the quarters before `until`.
    source : SourceDescription
    settings : Settings
    until : Quarter
        Only the quarters before it are judged, on outcomes that were known at its cutoff: it stays untouched itself.
    rounds : int
        How often features are dropped: each time those below 1 % of the gain of the models of that quarter.
    seeds : int
        Models of each variant, whose mean probability is judged: one alone takes its luck for a feature's worth.

    Raises
    ------
    EarlySignalError
        If no quarter before `until` has enough history for a model.
    """
    tried: list[tuple[Quarter, pd.DataFrame, dict[str, tuple[list[str], FloatArray]]]] = []
    for quarter in [each for each in source.event_quarters if each < until][-QUARTERS:]:
        found = learned_and_judged(quarter, lake, source, settings)
        if found is not None:
            dataset, rows = found
            rows = rows[rows[KNOWABLE] <= moment_of(until)]
            if rows.empty:
                continue
            variants = _variants(dataset, rows, rounds, seeds)
            tried.append((quarter, rows, {name: (features, score) for name, features, score in variants}))
    if not tried:
        raise EarlySignalError(
            f"no quarter of `{source.name}` before {until} has enough history for a model: there is nothing to "
            f"compare. Remedy: choose a later quarter, or lower EARLYSIGNAL_WARMUP_QUARTERS."
        )
    events = pd.concat([rows for _, rows, _ in tried], ignore_index=True)
    company = companies_of(events["symbol"], share_classes(lake.read("earnings", source.event_quarters)))
    units = [Resamples.draw(unit, seed=0) for unit in (company, events["announced_on"])]
    names = dict.fromkeys(name for *_, scored in tried for name in scored)
    # A family that a quarter's models did not have was left out of them anyway.
    chosen = {name: [scored.get(name, scored[ALL]) for *_, scored in tried] for name in names}
    label = events["label"].to_numpy(dtype="float64")
    scores = {name: np.concatenate([score for _, score in each]) for name, each in chosen.items()}
    return Selection(
        quarters=tuple(quarter for quarter, *_ in tried),
        n=len(label),
        large_beats=int(label.sum()),
        variants=tuple(
            _compared(name, float(np.mean([len(features) for features, _ in each])), label, scores, units)
            for name, each in chosen.items()
        ),
        kept=tuple(chosen[_round(rounds)][-1][0]),
    )


def _told(name: str, figure: Figure) -> dict[str, float]:
    return {name: figure.value, f"{name}, from": figure.low, f"{name}, to": figure.high}


def _variants(
    dataset: Dataset, rows: pd.DataFrame, rounds: int, seeds: int
) -> Iterator[tuple[str, list[str], FloatArray]]:
    """Yield each variant's name, features and forecasts."""
    score, importance = _fitted(dataset, rows, seeds)
    yield ALL, dataset.features, score
    pruned = dataset
    for number in range(1, rounds + 1):
        weak = [name for name in pruned.features if importance.get(name, 0.0) < WEAK]
        if 0 < len(weak) < len(pruned.features):  # a model that has split nowhere says of no feature that it is weak
            pruned = without(pruned, weak)
            score, importance = _fitted(pruned, rows, seeds)
        yield _round(number), pruned.features, score
    families = {name: catalogue()[name].family for name in dataset.features}
    for family in sorted(set(families.values())) if len(set(families.values())) > 1 else []:
        rest = without(dataset, [name for name in families if families[name] == family])
        yield f"without {family}", rest.features, _fitted(rest, rows, seeds)[0]


def _round(number: int) -> str:
    return f"round {number}: without those below {WEAK:.0%}"


def _fitted(dataset: Dataset, rows: pd.DataFrame, seeds: int) -> tuple[FloatArray, dict[str, float]]:
    """Return the mean forecast of models with different seeds, and each feature's mean share of their gain."""
    models = [train(dataset, EnsembleSettings(members=(Member(params={"seed": seed}),))) for seed in range(seeds)]
    bundles = [model for model in models if isinstance(model, Bundle)]
    importance = pd.DataFrame([bundle.metadata["importance"] for bundle in bundles]).mean()
    score = np.mean([bundle.predict(rows) for bundle in bundles], axis=0)
    return score, {str(name): float(share) for name, share in importance.items()}


def _compared(
    name: str, features: float, label: FloatArray, scores: dict[str, FloatArray], units: list[Resamples]
) -> Variant:
    by_unit = []
    for drawn in units:
        measured, every = (measure(label, scores[each], None, np.nan, drawn) for each in (name, ALL))
        by_unit.append((measured.figures, paired(measured, every)))
    (figures, of_companies), (_, of_days) = by_unit
    return Variant(
        name=name,
        features=features,
        figures={each: figures[each] for each in PAIRED},
        difference={each: wider(of_companies[each], of_days[each]) for each in PAIRED},
    )
