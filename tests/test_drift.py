"""Drift: figures by hand and against SciPy, silence where nothing moved, and a real shift seen."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up import dataset
from monitored import COUNTED, NOW, SHARED, reference, rows
from scipy.stats import ks_2samp

from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import FOLDER, save
from earlysignal_core.models.training import train
from earlysignal_core.monitoring.action import MonitoringError
from earlysignal_core.monitoring.drift import detect_drift, distance_limit, kept_usual_psi, psi, psi_limit
from earlysignal_core.monitoring.reference import FILE, Reference, keep_reference
from earlysignal_core.quarters import Quarter

CATALOGUE = catalogue()
FEW = COUNTED[:6]


def draw(seed):
    return np.random.default_rng(seed)


@cache
def standing(seed):
    """A reference that several tests look at: what is usual in its months is counted once."""
    return reference(draw(seed))


def detect(recent, trained, *, usual_psi=0.0, **kwargs):
    return detect_drift(recent, trained, CATALOGUE, usual_psi=usual_psi, **kwargs)


def of(drift, name):
    return drift.features.set_index("feature").loc[name]


def acting(drift):
    return {verdict.rule.name for verdict in drift.verdicts if verdict.effective}


def raw(drift):
    return {verdict.rule.name for verdict in drift.verdicts if verdict.raw}


def test_psi_by_hand():
    trained = np.arange(1000.0)  # each decile holds 100
    values = np.sort(np.repeat([50.0, 950.0], 50))  # the first and the last hold 50 each
    new = np.array([50.5, *[0.5] * 8, 50.5]) / 105
    old = np.full(10, 0.1)
    assert psi(values, trained) == pytest.approx(((new - old) * np.log(new / old)).sum())


samples = arrays(np.float64, st.integers(1, 60), elements=st.floats(-5, 5, width=16)).map(np.sort)


@given(samples, samples)
def test_psi_is_never_negative_and_0_for_the_same(values, trained):
    assert psi(values, trained) >= 0
    assert psi(trained, trained) == pytest.approx(0)


@given(samples, samples)
def test_distances_are_scipys(values, trained):
    moments = pd.date_range("2018-01-01", periods=len(trained), tz="UTC")
    ref = Reference("v1.0.0", pd.DataFrame({"as_of": moments, FEW[0]: trained, "probability": 0.1}))
    recent = pd.DataFrame({"as_of": NOW, FEW[0]: values, "probability": 0.1})
    expected = ks_2samp(values, trained, method="asymp").statistic
    assert of(detect(recent, ref), FEW[0])["distance"] == pytest.approx(expected)


def test_limits_by_hand():
    assert distance_limit(100, 6000) == pytest.approx(2.15 * np.sqrt(1 / 100 + 1 / 6000))
    assert distance_limit(1000, 6000) == 0.15
    assert psi_limit(100, 6000) == pytest.approx(27.9 * (1 / 100 + 1 / 6000))
    assert psi_limit(1000, 6000) == 0.2
    assert np.isnan(psi_limit(0, 6000))


OLD = reference(draw(9), FEW, n=500)


@settings(max_examples=40)
@given(st.integers(0, 80), st.floats(0, 2), st.integers(0, 5))
def test_what_acts_fires_as_written_and_strict_acts_as_written(n, shift, seed):
    trained, recent = OLD, rows(n, draw(seed), FEW)
    recent[FEW] += shift
    guarded, strict = detect(recent, trained), detect(recent, trained, strict=True)
    assert acting(guarded) <= raw(guarded)
    assert acting(strict) == raw(strict) >= raw(guarded)
    assert (strict.features["drifted"] == strict.features["raw"]).all()
    assert (guarded.features["raw"] | ~guarded.features["drifted"]).all()


def test_a_shift_of_three_features_schedules_and_of_the_predictions_is_an_emergency():
    trained, recent = reference(draw(0)), rows(200, draw(1))
    assert acting(detect(recent, trained)) == set()
    recent[COUNTED[:2]] += 1.0
    assert acting(detect(recent, trained)) == set()
    recent[COUNTED[2]] += 1.0
    drift = detect(recent, trained)
    assert acting(drift) == {"feature_drift"}
    assert set(drift.features["feature"].head(3)) == set(COUNTED[:3])
    recent["probability"] *= 3
    moved = detect(recent, trained)
    assert "prediction_drift" in acting(moved)
    for usual in (moved.figures["psi"] + 0.01, np.nan):  # held-out months lay as far; too few of them to tell
        held = detect(recent, trained, usual_psi=usual)
        assert "prediction_drift" in raw(held) - acting(held)
        assert "prediction_drift" in acting(detect(recent, trained, usual_psi=usual, strict=True))


def test_of_few_predictions_chance_comes_on_top_of_what_is_usual():
    trained, few = reference(draw(0)), rows(40, draw(1))
    few["probability"] *= 3
    moved = detect(few, trained)
    psi, chance = moved.figures["psi"], 18.9 * (1 / 40 + 1 / len(trained.forecasts))
    assert moved.figures["psi_above_chance"] > 0
    assert "prediction_drift" in acting(detect(few, trained, usual_psi=psi - chance - 0.01))
    held = detect(few, trained, usual_psi=psi - chance + 0.01)
    assert held.figures["psi_usual"] < psi < held.figures["psi_usual_limit"]
    assert "prediction_drift" in raw(held) - acting(held)


def test_how_far_held_out_months_lie_is_counted_once_and_kept(tmp_path, monkeypatch):
    data = dataset(Quarter(2018, 3))
    lake, trained = Lake(str(tmp_path)), train(data)
    saved = save(lake, trained)
    keep_reference(lake, saved, data.frame)
    kept = Reference.load(lake, str(saved.version))
    held_out = kept.held_out(saved)
    assert len(held_out) == (data.frame["part"] != "train").sum()
    usual = kept_usual_psi(lake, saved, kept)
    known, months = np.sort(kept.frame["probability"]), []
    for back in range(100):
        until = held_out["as_of"].iloc[-1] - back * pd.Timedelta(days=30)
        month = held_out[(held_out["as_of"] <= until) & (held_out["as_of"] > until - pd.Timedelta(days=30))]
        if len(month) >= 30 and until - pd.Timedelta(days=30) >= held_out["as_of"].iloc[0]:
            months.append(psi(np.sort(month["probability"]), known))
    assert len(months) >= 8
    assert usual == pytest.approx(np.quantile(months, 0.95))
    monkeypatch.setattr(Reference, "held_out", lambda *_: pytest.fail("counted again"))
    assert kept_usual_psi(lake, saved, kept) == usual


def test_what_companies_share_is_shown_and_not_counted():
    names = [*FEW, *SHARED[:4]]
    trained, recent = reference(draw(0), names), rows(200, draw(1), names)
    recent[SHARED[:4]] += 3.0
    drift = detect(recent, trained)
    assert raw(drift) == {"feature_drift"}
    assert acting(drift) == set()
    assert "of the calendar" in of(drift, SHARED[0])["reason"]
    assert acting(detect(recent, trained, strict=True)) == {"feature_drift"}


def test_few_values_and_chance_hold_back():
    trained, recent = reference(draw(0), FEW), rows(40, draw(1), FEW)
    recent.loc[10:, FEW[0]] = np.nan
    recent[FEW[0]] += 5
    row = of(detect(recent, trained), FEW[0])
    assert row["n"] == 10
    assert row["raw"]
    assert not row["drifted"]
    assert "fewer than 30 values" in row["reason"]


def test_a_season_that_the_training_period_knows_holds_back():
    random = draw(3)
    trained = reference(random, FEW)
    frame = trained.frame.copy()
    wave = 1.5 * np.sin(2 * np.pi * frame["as_of"].dt.dayofyear / 365)
    frame[FEW[:3]] = frame[FEW[:3]].add(wave, axis=0)
    seasonal, recent = Reference("v1.0.0", frame), rows(200, random, FEW)
    recent[FEW[:3]] += 1.5 * np.sin(2 * np.pi * NOW.dayofyear / 365)
    drift = detect(recent, seasonal)
    row = of(drift, FEW[0])
    assert row["distance"] > row["limit"]
    assert row["season_distance"] < row["distance"] / 2
    assert "months of the training period" in row["reason"]
    assert acting(drift) == set()
    recent[FEW[:3]] += 2.5
    assert acting(detect(recent, seasonal)) == {"feature_drift"}


def test_a_feature_that_goes_missing_is_told():
    trained, recent = reference(draw(0), FEW), rows(100, draw(1), FEW)
    recent.loc[:74, FEW[0]] = np.nan
    drift = detect(recent, trained)
    assert of(drift, FEW[0])["missing"] == 0.75
    assert acting(drift) == {"features_missing"}
    recent[FEW[0]] = np.inf
    assert of(detect(recent, trained), FEW[0])["missing"] == 1


def test_no_rows_say_nothing():
    trained = reference(draw(0), FEW)
    drift = detect(rows(0, draw(0), FEW), trained)
    assert acting(drift) == raw(drift) == set()
    assert np.isnan(drift.figures["psi"])


def test_absent_and_unknown_features_are_named():
    trained = reference(draw(0), FEW, n=50)
    with pytest.raises(MonitoringError, match=FEW[0]):
        detect(rows(10, draw(0), FEW).drop(columns=FEW[0]), trained)
    with pytest.raises(MonitoringError, match=FEW[1]):
        detect_drift(rows(10, draw(0), FEW), trained, {FEW[0]: CATALOGUE[FEW[0]]})


@pytest.mark.parametrize(("n", "raw_features", "raw_psi"), [(30, 0.99, 0.4), (60, 0.7, 0.05), (100, 0.0, 0.0)])
def test_noise_fires_the_strategys_rules_and_not_the_guarded_ones(n, raw_features, raw_psi):
    """Fifty months without drift: the raw rule fires in the shares of docs/monitoring.md, the effective one never."""
    fired = {"raw": [], "acting": []}
    trained = [standing(100 + i) for i in range(5)]
    drifted = 0
    for seed in range(50):
        drift = detect(rows(n, draw(seed)), trained[seed % 5])
        fired["raw"].append(raw(drift))
        fired["acting"].append(acting(drift))
        drifted += drift.figures["features_drifted"]
    assert np.mean(["feature_drift" in names for names in fired["raw"]]) >= raw_features
    assert np.mean(["prediction_drift" in names for names in fired["raw"]]) >= raw_psi
    assert not any("feature_drift" in names for names in fired["acting"])
    assert np.mean(["prediction_drift" in names for names in fired["acting"]]) <= 0.02
    assert drifted / 50 <= 0.02 * len(COUNTED)


@pytest.mark.parametrize(("n", "shift"), [(60, 1.2), (100, 0.9), (200, 0.7)])
def test_a_real_shift_is_seen(n, shift):
    trained, seen = standing(100), []
    for seed in range(50):
        recent = rows(n, draw(seed))
        recent[COUNTED[:6]] += shift
        seen.append("feature_drift" in acting(detect(recent, trained)))
    assert np.mean(seen) >= 0.9


def test_a_reference_is_kept_beside_its_model(tmp_path):
    from dataclasses import replace

    lake, data = Lake(str(tmp_path)), dataset(Quarter(2017, 1))
    bundle = train(data)
    with pytest.raises(MonitoringError, match="save it first"):
        Reference.of(bundle, data.frame)
    bundle = replace(bundle, metadata={"version": "v2017.1.0"} | bundle.metadata)
    with pytest.raises(MonitoringError, match="was trained on"):
        Reference.of(bundle, data.frame.iloc[1:])
    made = Reference.of(bundle, data.frame)
    keep_reference(lake, bundle, data.frame)
    stored = tmp_path / FOLDER / "v2017.1.0" / FILE
    content = stored.read_bytes()
    made.save(lake)
    keep_reference(lake, bundle, data.frame.iloc[1:])  # what stands is not looked at again
    assert stored.read_bytes() == content
    pd.testing.assert_frame_equal(Reference.load(lake, "v2017.1.0").frame, made.frame)
    assert made.features == bundle.features
    assert np.allclose(np.sort(made.frame["probability"]), np.sort(bundle.predict(data.frame)))
