"""The main job on real data: the figures that a correct system reaches, and those that only a leak reaches."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import run, workspace
from sklearn.metrics import roc_auc_score

from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.quarterly import described, make_dataset, make_feature_table, make_labels, make_model
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings

UNTOUCHED = Quarter.parse("2017-Q1")


@pytest.fixture(scope="module")
def home(sp500: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("real")
    done = run(home, "demo", "--tape", sp500)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.mark.slow
def test_the_walk_forward_reaches_what_is_reachable_and_no_more(home: Path) -> None:
    summary = json.loads((workspace(home) / "summary.json").read_text())
    assert summary["n"] == 7005
    assert [summary["quarters"][i]["quarter"] for i in (0, -1)] == ["2015-Q1", "2018-Q3"]
    assert 0.82 < summary["auc"] < 0.85, "above .88 is a leak until proved otherwise"
    assert summary["untouched"]["auc"] > 0.80
    assert summary["auc"] > summary["baselines"]["logistic_history"]["auc"]
    assert summary["ece"] <= 0.015
    assert summary["brier"] < summary["brier_base_rate"]
    assert summary["baselines"]["large_beat_rate_8q"]["auc"] == pytest.approx(0.765, abs=0.005)
    assert {"estimate_to_price", "vix_term_structure", "sector_funds_flow"} <= set(summary["inactive_features"])
    assert any("survivorship" in line for line in summary["assumptions"])


@pytest.mark.slow
def test_figures_dealt_out_at_random_teach_nothing(home: Path, tmp_path: Path) -> None:
    """Whose past says nothing of its future cannot be predicted, unless a feature knows the outcome itself."""
    whole, lake = Lake(str(workspace(home) / "lake")), Lake(str(tmp_path / "lake"))
    shutil.copytree(whole.url, lake.url)
    quarters = described(lake).event_quarters
    earnings = lake.read("earnings", quarters)
    dealt = np.random.default_rng(0).permutation(len(earnings))
    for column in ("eps_estimate", "eps_actual"):
        earnings[column] = earnings[column].to_numpy()[dealt]
    for quarter in quarters:
        rows = earnings["announced_on"].between(quarter.start, quarter.end)
        lake.write("earnings", quarter, earnings[rows].reset_index(drop=True))
        make_labels(quarter, lake)
        make_feature_table(quarter, lake)
    make_dataset(UNTOUCHED, lake, Settings())
    model = make_model(UNTOUCHED, lake)
    assert isinstance(model, Bundle)
    after = Quarter.range(UNTOUCHED, quarters[-1])
    table = (
        lake.read("feature_table", after).merge(lake.read("labels", after)[["event", "label"]]).dropna(subset="label")
    )
    assert roc_auc_score(table["label"], model.predict(table)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.long
def test_the_benchmark_of_models_finds_no_leak(home: Path) -> None:
    """It fails where labels dealt out at random do not give an AUC of .49 to .51, or a candidate's is above .88."""
    lake, benchmark = workspace(home) / "lake", Path(__file__).parents[1] / "benchmarks" / "models.py"
    for only in ("labels dealt out", "default"):
        done = subprocess.run(
            [sys.executable, benchmark, lake, "--only", only], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"auc"' in done.stdout


@pytest.mark.long
def test_an_assumed_consensus_is_said_in_the_headline(home: Path, sp500: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--tape", sp500, EARLYSIGNAL_ASSUME_FINAL_CONSENSUS_KNOWN="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ASSUMED KNOWN" in done.stdout
    strict, assumed = (json.loads((workspace(place) / "summary.json").read_text())["auc"] for place in (home, tmp_path))
    assert strict + 0.01 < assumed < 0.88
    assert "consensus" in (workspace(tmp_path) / "lake" / "reports" / "walk-forward.html").read_text()[:20_000]
