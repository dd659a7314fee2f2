"""Selected is what lies above the year before, the reasons add up, and the levels of confidence keep their word."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import dataset, quarter_rows
from scipy.special import logit

from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.models.training import train
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving.confidence import confidence, measure_confidence
from earlysignal_core.serving.selection import reasons, select

Q = Quarter(2017, 1)
MOMENT = pd.Timestamp("2017-02-01 21:00", tz="UTC")


def answers(*probability: float) -> pd.DataFrame:
    symbols = [f"S{i}" for i in range(len(probability))]
    return pd.DataFrame({"event": symbols, "symbol": symbols, "as_of": MOMENT, "probability": probability})


def history(n: int, days_before: int = 10) -> pd.DataFrame:
    moments = MOMENT - pd.to_timedelta(days_before + np.arange(n) % 5, "D")
    return pd.DataFrame({"as_of": moments, "probability": np.linspace(0, 1, n)})


def test_ranked_and_selected_above_the_ninetieth_percentile() -> None:
    ranked = select(answers(0.2, 0.95, float("nan"), 0.95, 0.90), history(101))
    assert ranked["symbol"].tolist() == ["S1", "S3", "S4", "S0", "S2"]
    assert ranked["rank"].tolist()[:4] == [1, 2, 3, 4]
    assert np.isnan(ranked["rank"].iloc[4])
    assert ranked["limit"].tolist() == pytest.approx([0.9] * 5)
    assert ranked["selected"].tolist() == [True, True, False, False, False]


def test_without_fifty_predictions_in_the_year_before_nothing_is_selected() -> None:
    for known in (history(49), history(80, days_before=366), history(80, days_before=-5)):
        ranked = select(answers(0.99), known)
        assert np.isnan(ranked["limit"].iloc[0])
        assert not ranked["selected"].any()


def test_the_reasons_add_up_to_the_score() -> None:
    model = train(dataset(Q))
    assert isinstance(model, Bundle)
    table, _ = quarter_rows(Q, 50)
    told = reasons(model, table, count=len(model.features))
    contribution = told.groupby("event", sort=False)["contribution"].sum().to_numpy()
    margin = logit(np.asarray(model.pool.predict(table[model.features].to_numpy())))
    base = margin - contribution
    np.testing.assert_allclose(base, base[0], rtol=1e-6)
    few = reasons(model, table, count=3)
    assert few.groupby("event")["place"].apply(list).map(lambda places: places == [1, 2, 3]).all()
    strength = few["contribution"].abs().to_numpy().reshape(-1, 3)
    assert (np.diff(strength, axis=1) <= 0).all()
    first = few.iloc[0]
    assert first["value"] == table.set_index("event").loc[first["event"], first["feature"]]
    assert reasons(model, table.iloc[:0]).empty


def test_the_levels_by_hand() -> None:
    probability = np.array([0.05, 0.10, 0.24, 0.25, 0.26, 0.5, 0.8, 0.95])
    threshold = np.full(8, 0.5)
    expected = ["HIGH", "HIGH", "MEDIUM", "MEDIUM", "LOW", "LOW", "MEDIUM", "HIGH"]
    assert [str(level) for level in confidence(probability, threshold)] == expected


def forecasts(n: int, power: float = 1.0) -> pd.DataFrame:
    random = np.random.default_rng(3)
    truth = random.beta(0.6, 3, n)
    return pd.DataFrame(
        {
            "symbol": [f"C{i % 200}" for i in range(n)],
            "label": (random.random(n) < truth).astype(float),
            "probability": truth**power,
            "threshold": 0.3,
        }
    )


def test_levels_of_calibrated_forecasts_are_supported_and_of_overconfident_ones_are_not() -> None:
    honest = measure_confidence(forecasts(6000))
    assert honest["supported"].all()
    assert honest["n"].sum() == 6000
    assert not measure_confidence(forecasts(6000, power=3.0)).loc["HIGH", "supported"]
    nothing = measure_confidence(forecasts(10).assign(label=np.nan))
    assert nothing["n"].sum() == 0
    assert not nothing["supported"].any()


def test_the_walk_forward_of_the_real_tape_supports_the_levels() -> None:
    url = os.environ.get("REAL_LAKE")
    if not url or not Path(url).exists():
        pytest.skip("no lake of the long tape with predictions: set REAL_LAKE to one")
    lake = Lake(url)
    measured = measure_confidence(lake.read("predictions", lake.quarters("predictions")))
    print(measured.round(4).to_string())  # noqa: T201 - shown with `pytest -s`
    assert measured["supported"].all()
    assert measured["right"].is_monotonic_decreasing
    assert measured["low"].iloc[0] > measured["high"].iloc[1] > measured["low"].iloc[1] > measured["high"].iloc[2]
