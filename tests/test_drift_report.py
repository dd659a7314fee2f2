"""Evidently's page says what our own figures say, whatever the columns look like."""

import numpy as np
import pandas as pd
import pytest
from monitored import COUNTED, reference, rows

from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.monitoring.action import MonitoringError
from earlysignal_core.monitoring.drift import detect_drift
from earlysignal_core.monitoring.drift_report import drift_page

FEW = COUNTED[:4]
CATALOGUE = catalogue()
DAY = pd.Timestamp("2016-02-05")


@pytest.fixture(scope="module")
def months():
    random = np.random.default_rng(0)
    trained, recent = reference(random, FEW, n=800), rows(120, random, FEW)
    recent[FEW[0]] += 1.0
    recent.loc[::3, FEW[1]] = np.nan
    recent.loc[5, FEW[1]] = np.inf
    recent[FEW[2]] = np.nan
    recent[FEW[3]] = 1e6
    return recent, trained


@pytest.fixture(scope="module")
def page(months):
    recent, trained = months
    return drift_page(detect_drift(recent, trained, CATALOGUE), recent, trained, DAY)


def test_both_say_the_same(months, page):
    drift = detect_drift(*months, CATALOGUE)
    ours = drift.features.set_index("feature")["distance"]
    assert set(page.scores) == {FEW[0], FEW[1], FEW[3], "probability"}
    for name in (FEW[0], FEW[1], FEW[3]):
        assert page.scores[name] == pytest.approx(ours[name], abs=1e-12)
    assert page.scores["probability"] == pytest.approx(drift.figures["psi"], abs=1e-12)


def test_the_page_needs_no_network_and_names_the_columns(page):
    html = page.html.decode()
    assert html.startswith("\n<!DOCTYPE html>") or "<html" in html[:500]
    assert FEW[0] in html
    assert "Kolmogorov-Smirnov distance" in html
    assert 'script src="http' not in html


def test_the_page_begins_with_its_day_its_model_and_what_the_rules_make_of_it(months, page):
    drift = detect_drift(*months, CATALOGUE)
    html = page.html.decode()
    title = f"Drift on 2016-02-05, champion {drift.version}"
    assert f"<title>{title}</title>" in html
    heading = html[html.index("<body>") : html.index("</header>")]
    assert f">{title}</h1>" in heading
    assert "120 rows" in heading
    assert "800 rows" in heading
    assert f"Left out, with fewer than 30 values: {FEW[2]}." in heading
    for verdict in drift.verdicts:
        assert f"<td>{verdict.rule.name}</td><td>{verdict.value:.4g}</td>" in heading
    assert heading.count("<tr>") == 1 + len(drift.verdicts)


def test_columns_with_too_few_values_are_left_out(page):
    assert page.left_out == [FEW[2]]
    assert page.worst["feature"].tolist()[0] == FEW[3]
    assert len(page.worst) == 4


def test_rows_that_the_drift_was_not_measured_on_are_refused(months):
    recent, trained = months
    drift = detect_drift(recent, trained, CATALOGUE)
    with pytest.raises(MonitoringError, match="disagrees with our figures"):
        drift_page(drift, recent.assign(**{FEW[0]: recent[FEW[0]] + 1}), trained, DAY)


def test_nothing_to_draw(months):
    recent, trained = months[0].iloc[:5], months[1]
    assert drift_page(detect_drift(recent, trained, CATALOGUE), recent, trained, DAY) is None
    assert isinstance(recent, pd.DataFrame)
