"""Models side by side on a lake that has been walked forward: members, windows, subsets, ensembles, and dealt labels.

Run as ``python benchmarks/models.py LAKE [--out FILE]`` after ``earlysignal backfill`` of the same source (LAKE is the
folder ``lake`` of its workspace). Each quarter's stored dataset is fitted anew with every candidate, which then scores
the quarter; the differences to the lake's own predictions, the default's, are paired by company. Choose by the figures
up to 2016-Q4 only: those from 2017-Q1 on are for telling afterwards. Fails where a figure can only be a leak. What FILE
already holds is not walked again: a run that was stopped goes on.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.evaluation.metrics import HARDER, PAIRED, Measured, measure, paired
from earlysignal_core.evaluation.resampling import Figure, Resamples
from earlysignal_core.lake import Lake
from earlysignal_core.models.boosters import UNTOUCHED_FROM
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.models.training import train
from earlysignal_core.quarterly import PREDICTIONS, evaluated
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import SINGLE, EnsembleSettings, Member

LEAK = 0.88
# Of those that the long tape gives values to.
FAMILIES = ("history", "price", "macro", "fundamentals", "interactions")
DEALT, DEALINGS = "labels dealt out at random", 4


def candidates() -> dict[str, EnsembleSettings]:
    def of(*members: Member, voting: Any = "weighted") -> EnsembleSettings:
        return EnsembleSettings(members=members, voting=voting)

    algorithms = ("lightgbm", "xgboost", "catboost", "random_forest", "logistic")
    lightgbm, xgboost, catboost, forest, logistic = every = tuple(Member(algorithm=name) for name in algorithms)
    return {
        "default": SINGLE,
        "logistic": of(logistic),
        "xgboost": of(xgboost),
        "random forest": of(forest),
        **{f"lightgbm, {months} months": of(Member(window_months=months)) for months in (36, 24, 12, 6, 3)},
        **{f"lightgbm, {family}": of(Member(families=(family,))) for family in FAMILIES},
        **{f"lightgbm without {family}": of(Member(families=_but(family))) for family in FAMILIES},
        "logistic, history": of(Member(algorithm="logistic", families=("history",))),
        "lightgbm, logistic: mean": of(lightgbm, logistic),
        "lightgbm of all, 12 and 24 months: mean": of(lightgbm, Member(window_months=12), Member(window_months=24)),
        "lightgbm, logistic: stacked": of(lightgbm, logistic, voting="stacked"),
        "catboost": of(catboost),
        "the plan's: 6, 12, 6 months, stacked": of(
            Member(window_months=6),
            Member(algorithm="xgboost", window_months=12),
            Member(algorithm="random_forest", window_months=6),
            voting="stacked",
        ),
        "three boosters: stacked": of(lightgbm, xgboost, catboost, voting="stacked"),
        "all five: mean": of(*every),
        "all five: stacked": of(*every, voting="stacked"),
    }


def _but(family: str) -> tuple[str, ...]:
    return tuple(each for each in FAMILIES if each != family)


def walked(lake: Lake, quarters: list[Quarter], ensemble: EnsembleSettings, dealt: int | None = None) -> pd.DataFrame:
    """Return event and forecast of every quarter; `dealt` is the seed by which outcomes are dealt out first."""
    scored = []
    for quarter in quarters:
        dataset, table = Dataset.load(lake, quarter), lake.read("feature_table", [quarter])
        if dealt is not None:
            label = dataset.frame["event"].map(dealt_labels(lake, dealt))
            dataset = Dataset(quarter, dataset.frame.assign(label=label), dataset.lineage)
        model = train(dataset, ensemble)
        if isinstance(model, Bundle):
            scored.append(table[["event"]].assign(forecast=model.predict(table)))
    return pd.concat(scored, ignore_index=True)


def dealt_labels(lake: Lake, seed: int) -> pd.Series:
    """Return every event's outcome, dealt out anew among all of them."""
    labels = lake.read("labels", lake.quarters("labels")).dropna(subset="label").drop_duplicates("event")
    return pd.Series(np.random.default_rng(seed).permutation(labels["label"]), index=labels["event"])


def judged(rows: pd.DataFrame, forecast: str, drawn: Resamples) -> Measured:
    return measure(rows["label"], rows[forecast], None, rows["never"], drawn, rows["surprise"])


def shown(figure: Figure) -> dict[str, float]:
    return {"value": round(figure.value, 4), "low": round(figure.low, 4), "high": round(figure.high, 4)}


def compared(rows: pd.DataFrame, company: pd.Series) -> dict[str, Any]:
    """Return what a candidate's forecasts show before and after the border of the untouched quarters."""
    before = (rows["announced_on"] < UNTOUCHED_FROM.start).to_numpy()
    found: dict[str, Any] = {}
    for stretch, chosen in {"to 2016-Q4": before, "untouched": ~before}.items():
        drawn = Resamples.draw(company[chosen], seed=0)
        default, measured = (judged(rows[chosen], forecast, drawn) for forecast in ("probability", "forecast"))
        difference = paired(measured, default, (*PAIRED, *HARDER))
        found[stretch] = {
            "n": measured.figures.n,
            **{each: shown(measured.figures[each]) for each in (*PAIRED, "ece", *HARDER)},
            "difference": {each: shown(figure) for each, figure in difference.items()},
        }
    return found


def auc_of_dealt_labels(lake: Lake, quarters: list[Quarter], truth: pd.DataFrame, company: pd.Series) -> dict[str, Any]:
    """Return what the default reaches where outcomes were dealt out at random."""
    each = []
    for seed in range(DEALINGS):
        rows = truth.merge(walked(lake, quarters, SINGLE, seed), on="event")
        label = rows["event"].map(dealt_labels(lake, seed))
        each.append(measure(label, rows["forecast"], None, np.nan, Resamples.draw(company, seed=0)).figures["auc"])
    return {"auc": round(float(np.mean([auc.value for auc in each])), 4), "each": [shown(auc) for auc in each]}


def leaks_in(found: dict[str, Any]) -> list[str]:
    """Return what can only be a leak."""
    leaks = [
        f"{name}, {stretch}: AUC {figures['auc']['value']:.3f} is above {LEAK}"
        for name, candidate in found.items()
        for stretch, figures in candidate.items()
        if isinstance(figures, dict) and figures["auc"]["value"] > LEAK
    ]
    if DEALT in found and not 0.49 <= found[DEALT]["auc"] <= 0.51:
        leaks.append(f"{DEALT}: AUC {found[DEALT]['auc']:.3f}, which is not .49 to .51")
    return leaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help="only candidates whose name holds this text")
    given = parser.parse_args()
    lake = Lake(given.lake)
    quarters = evaluated(lake)
    truth = lake.read(PREDICTIONS, quarters).dropna(subset="label")
    company = truth["company"].fillna(truth["symbol"])
    found: dict[str, Any] = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}

    def tell(name: str, figures: dict[str, Any]) -> None:
        found[name] = figures
        print(json.dumps({name: figures}), flush=True)
        if given.out:
            given.out.write_text(json.dumps(found, indent=2))

    for name, ensemble in candidates().items():
        if name in found or (given.only and given.only not in name):
            continue
        started = time.process_time()
        rows = truth.merge(walked(lake, quarters, ensemble), on="event", how="left", validate="1:1")
        if rows["forecast"].isna().any():
            print(f"{name}: no model in some quarters")
            continue
        tell(name, {"seconds": round(time.process_time() - started, 1), **compared(rows, company)})
    if DEALT not in found and (not given.only or given.only in DEALT):
        tell(DEALT, auc_of_dealt_labels(lake, quarters, truth, company))
    if leaks := leaks_in(found):
        sys.exit("A leak: " + "; ".join(leaks))


if __name__ == "__main__":
    main()
