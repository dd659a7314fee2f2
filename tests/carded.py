"""A lake made by hand with bundles without trees, and forecasts of two companies of every sector."""

from pathlib import Path

import knowable
import numpy as np
import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle, save
from earlysignal_core.quarterly import EVALUATIONS, PREDICTIONS, SOURCE
from earlysignal_core.quarters import Quarter

Q = Quarter(2018, 3)
COMPANIES = 24


def bundle(inputs: str = "one", quarter: Quarter = Q) -> Bundle:
    """A bundle that nobody asks for a forecast."""
    model = {
        "algorithm": "lightgbm",
        "params": {"num_leaves": 7},
        "features": ["rsi_momentum", "beat_streak"],
        "trees": 3,
        "window_months": None,
        "threshold": 0.2,
        "calibration": {"kind": "platt", "slope": 1.0, "intercept": 0.0, "evidence": 0.0},
    }
    metadata = {
        "quarter": str(quarter),
        "cutoff": "2018-06-22T20:00:00+00:00",
        "input_sha256": inputs,
        "dataset_version": "v2018.3+abc",
        "dataset_sha256": "abcdef" * 10,
        "code_version": "0123456789abcdef",
        "rows": 1000,
        "large_beats": 100,
        "base_rate": 0.1,
        "parts": {"train": 700, "validation": 150, "test": 150},
        "test": {"n": 150, "base_rate": 0.12, "auc": 0.75},
        "importance": {"beat_streak": 0.75, "rsi_momentum": 0.25},
        "features_left_out": {"iv_rank": "no table `options`"},
    }
    return Bundle("trees", model, {}, metadata)


def made(folder: Path) -> tuple[Lake, str]:
    """A lake with one bundle, which is not judged yet."""
    lake = Lake(str(folder))
    description = knowable.source({"earnings": None}, name="by hand", first=str(Q), last=str(Q), first_event=str(Q),
                                  last_event=str(Q), assumptions=("Members are those of today.",))  # fmt: skip
    lake.write_bytes(SOURCE, description.model_dump_json().encode())
    return lake, str(save(lake, bundle()).version)


def forecasts(version: str) -> pd.DataFrame:
    """One announcement a company: every fourth beats, of sector A all that beat have the higher forecast, of B none."""
    number = np.arange(COMPANIES)
    label = (number % 4 == 0).astype("float64")
    sector = np.where(number < COMPANIES // 2, "A", "B")
    day = pd.Timestamp("2018-07-10") + pd.to_timedelta(number, "D")
    return pd.DataFrame(
        {
            "event": [f"S{n:02}:18-Jun" for n in number],
            "symbol": [f"S{n:02}" for n in number],
            "fiscal_period": "18-Jun",
            "announced_on": day,
            "as_of": (day - pd.Timedelta(days=7)).tz_localize("UTC"),
            "sector": sector,
            "label": label,
            "never": 0.1,
            "probability": np.where((label == 1) == (sector == "A"), 0.4, 0.1) + number / 1000,
            "threshold": 0.2,
            "version": version,
        }
    )


def judge(lake: Lake, version: str) -> pd.DataFrame:
    """Write what an evaluation leaves that a card and a record read; estimates of 5 cents and of 2 dollars."""
    rows = forecasts(version)
    estimate = np.where(np.arange(COMPANIES) < 6, 0.05, 2.0)
    earnings = rows[["symbol", "fiscal_period", "announced_on"]].assign(
        session="amc",
        eps_estimate=estimate,
        eps_actual=np.where(rows["label"] == 1, 1.5 * estimate, estimate),
        available_at=(rows["announced_on"] + pd.Timedelta(hours=22)).dt.tz_localize("UTC"),
    )
    lake.write("earnings", Q, earnings)
    lake.write(PREDICTIONS, Q, rows)
    lake.write_bytes(f"{EVALUATIONS}/{Q}.json", f'{{"versions": ["{version}"]}}'.encode())
    return rows
