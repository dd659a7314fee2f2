"""The backfill of `base_models` against the bare fits: ``python benchmarks/members.py --tape ../shared/tapes/sp500``.

For one LightGBM, the default, and for an ensemble of all five algorithms. A bare fit is `fit_base_models` member by
member, in one process that has imported everything and holds the dataset; the backfill is the whole command, with the
start of Python, PostgreSQL and Dagster, which takes some seconds however little there is to fit.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import monotonic

from overhead import seconds

from earlysignal_core.datasets.build import Dataset
from earlysignal_core.lake import Lake
from earlysignal_core.models.base_models import FOLDER as MEMBERS
from earlysignal_core.models.base_models import fit_base_models
from earlysignal_core.models.ensemble import TooLittleToLearnError
from earlysignal_core.settings import EnsembleSettings, Member

COMMAND = ["earlysignal", "backfill"]
ALGORITHMS = ("lightgbm", "xgboost", "catboost", "random_forest", "logistic")
ENSEMBLES = {
    "one LightGBM": EnsembleSettings(members=(Member(),)),
    "all five algorithms": EnsembleSettings(members=tuple(Member(algorithm=each) for each in ALGORITHMS)),
}


def bare(lake: Lake, ensemble: EnsembleSettings) -> float:
    """Return the seconds of fitting every member of every quarter alone."""
    spent = 0.0
    for quarter in lake.quarters("dataset"):
        dataset = Dataset.load(lake, quarter)
        for member in ensemble.members if dataset.no_model_yet is None else ():
            started = monotonic()
            try:
                fit_base_models(dataset, EnsembleSettings(members=(member,)))
            except TooLittleToLearnError:
                continue
            spent += monotonic() - started
    return spent


def main() -> None:
    """Measure both, one after the other."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tape", type=Path)
    tape = arguments.parse_args().tape
    source = ["--tape", str(tape)] if tape else []
    for name, ensemble in ENSEMBLES.items():
        os.environ["EARLYSIGNAL_ENSEMBLE"] = json.dumps(ensemble.model_dump(mode="json"))
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            seconds([*COMMAND, *source], home)
            (at,) = home.glob("*/lake")
            lake = Lake(str(at))
            lake.remove_folder(MEMBERS)
            alone = bare(lake, ensemble)
            wall, cpu = seconds([*COMMAND, *source, "--select", "base_models"], home)
        print(f"{name}: fits {alone:.1f} s, backfill {wall:.1f} s ({cpu:.1f} s CPU), ratio {wall / alone:.2f}")


if __name__ == "__main__":
    main()
