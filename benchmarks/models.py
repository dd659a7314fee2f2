"""Models side by side on a lake that has been walked forward: members, windows, subsets, ensembles, and dealt labels.

Run as ``python benchmarks/models.py LAKE [--out FILE]`` after ``earlysignal backfill`` of the same source (LAKE is the
folder ``lake`` of its workspace). Each quarter's stored dataset is fitted anew with every candidate, which then scores
the quarter; the differences to the lake's own predictions, the default's, are paired by company. Choose by the figures
up to 2016-Q4 only: those from 2017-Q1 on are for telling afterwards. Fails where a figure can only be a leak.
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
DEALT, DEALINGS = "labels dealt out at random", 4


def candidates() -> dict[str, EnsembleSettings]:
    def of(*members: Member, voting: Any = "weighted") -> EnsembleSettings:
        return EnsembleSettings(members=members, voting=voting)

    four = tuple(Member(algorithm=name) for name in ("lightgbm", "xgboost", "random_forest", "logistic"))
    lightgbm, xgboost, forest, logistic = four
    return {
        "logistic": of(logistic),
        "xgboost": of(xgboost),
        "lightgbm, 12 months": of(Member(window_months=12)),
        "lightgbm, history": of(Member(families=("history",))),
        "lightgbm, logistic: mean": of(lightgbm, logistic),
        "lightgbm, xgboost, logistic: stacked": of(lightgbm, xgboost, logistic, voting="stacked"),
        **{f"lightgbm, {months} months": of(Member(window_months=months)) for months in (24, 36, 6, 3)},
        "lightgbm, history and price": of(Member(families=("history", "price"))),
        "lightgbm of all, 12 and 24 months: mean": of(lightgbm, Member(window_months=12), Member(window_months=24)),
        "random forest": of(forest),
        "all four: mean": of(*four),
        "all four: stacked": of(*four, voting="stacked"),
        **{f"lightgbm, {family}": of(Member(families=(family,))) for family in ("price", "macro")},
        "the plan's: 6, 12, 6 months, stacked": of(
            Member(window_months=6),
            Member(algorithm="xgboost", window_months=12),
            Member(algorithm="random_forest", window_months=6),
            voting="stacked",
        ),
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help="only candidates whose name holds this text, and no dealt labels")
    given = parser.parse_args()
    lake = Lake(given.lake)
    quarters = evaluated(lake)
    truth = lake.read(PREDICTIONS, quarters).dropna(subset="label")
    company = truth["company"].fillna(truth["symbol"])
    before = truth["announced_on"] < UNTOUCHED_FROM.start
    stretches = {"to 2016-Q4": before.to_numpy(), "untouched": ~before.to_numpy()}
    found: dict[str, Any] = {}
    leaks: list[str] = []
    default: dict[str, Measured] = {}
    for name, ensemble in candidates().items():
        if given.only and given.only not in name:
            continue
        started = time.process_time()
        rows = truth.merge(walked(lake, quarters, ensemble), on="event", how="left", validate="1:1")
        if rows["forecast"].isna().any():
            print(f"{name}: no model in some quarters")
            continue
        found[name] = {"seconds": round(time.process_time() - started, 1)}
        for stretch, chosen in stretches.items():
            drawn = Resamples.draw(company[chosen], seed=0)
            if stretch not in default:
                default[stretch] = judged(rows[chosen], "probability", drawn)
            measured = judged(rows[chosen], "forecast", drawn)
            figures = measured.figures
            found[name][stretch] = {
                "n": figures.n,
                **{each: shown(figures[each]) for each in (*PAIRED, "ece", *HARDER)},
                "difference": {
                    each: shown(figure)
                    for each, figure in paired(measured, default[stretch], (*PAIRED, *HARDER)).items()
                },
            }
            if figures["auc"].value > LEAK:
                leaks.append(f"{name}, {stretch}: AUC {figures['auc'].value:.3f} is above {LEAK}")
        print(json.dumps({name: found[name]}), flush=True)
    if not given.only:
        of_dealt = []
        for seed in range(DEALINGS):
            rows = truth.merge(walked(lake, quarters, SINGLE, seed), on="event")
            label = rows["event"].map(dealt_labels(lake, seed))
            of_dealt.append(measure(label, rows["forecast"], None, np.nan, Resamples.draw(company, seed=0)).figures)
        mean = float(np.mean([figures["auc"].value for figures in of_dealt]))
        found[DEALT] = {"auc": round(mean, 4), "each": [shown(figures["auc"]) for figures in of_dealt]}
        print(json.dumps({DEALT: found[DEALT]}), flush=True)
        if not 0.49 <= mean <= 0.51:
            leaks.append(f"{DEALT}: AUC {mean:.3f}, which is not .49 to .51")
    if given.out:
        given.out.write_text(json.dumps(found, indent=2))
    if leaks:
        sys.exit("A leak: " + "; ".join(leaks))


if __name__ == "__main__":
    main()
