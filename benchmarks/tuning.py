"""What tuning gains: parameters tuned once a year against the fixed recipe, on the quarters up to 2016-Q4.

Run as ``python benchmarks/tuning.py LAKE [--trials N] [--out FILE]`` after ``earlysignal backfill`` of the same source
(LAKE is the folder ``lake`` of its workspace). Each quarter is scored by models of its stored dataset, with parameters
that were tuned on the dataset of an earlier quarter. The studies are kept beside LAKE: a run that was stopped goes on.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from earlysignal_assets.postgres import ensure_database, server
from earlysignal_core.datasets.build import Dataset
from earlysignal_core.evaluation.metrics import HARDER, PAIRED, measure, paired
from earlysignal_core.evaluation.resampling import Resamples
from earlysignal_core.lake import Lake
from earlysignal_core.models.boosters import UNTOUCHED_FROM
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.models.hyperparameters import TRIALS, Tuned
from earlysignal_core.models.training import train
from earlysignal_core.models.tuning import tune
from earlysignal_core.quarterly import PREDICTIONS, evaluated
from earlysignal_core.settings import EnsembleSettings, Member

EVERY = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lake = Lake(str(given.lake))
    quarters = [quarter for quarter in evaluated(lake) if quarter < UNTOUCHED_FROM]
    scored: list[pd.DataFrame] = []
    found: list[Tuned] = []
    with server(given.lake.parent / "tuning") as base_url:
        url = ensure_database(base_url, "tuning")
        for number, quarter in enumerate(quarters):
            dataset = Dataset.load(lake, quarter)
            if found:
                model = train(dataset, EnsembleSettings(members=(Member(params=found[-1].params),)))
                assert isinstance(model, Bundle)  # noqa: S101 - the fixed recipe gave one
                table = lake.read("feature_table", [quarter])
                scored.append(table[["event"]].assign(tuned=model.predict(table)))
            if number % EVERY == 0:
                found.append(tune(dataset, Member(), url, given.trials))
                print(quarter, found[-1], flush=True)
    rows = lake.read(PREDICTIONS, quarters[1:]).dropna(subset="label")
    rows = rows.merge(pd.concat(scored), on="event", validate="1:1")
    drawn = Resamples.draw(rows["company"].fillna(rows["symbol"]), seed=0)
    of_tuned, of_fixed = (
        measure(rows["label"], rows[name], None, rows["never"], drawn, rows["surprise"])
        for name in ("tuned", "probability")
    )
    told = {
        "n": len(rows),
        "studies": [{**each.params, "log_loss": each.log_loss, "fixed": each.log_loss_fixed} for each in found],
        "tuned": {name: of_tuned.figures[name].value for name in (*PAIRED, "ece")},
        "fixed": {name: of_fixed.figures[name].value for name in (*PAIRED, "ece")},
        "difference": {
            name: [figure.value, figure.low, figure.high]
            for name, figure in paired(of_tuned, of_fixed, (*PAIRED, *HARDER)).items()
        },
    }
    print(json.dumps(told, indent=2))
    if given.out:
        given.out.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
