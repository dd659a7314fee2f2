"""Drift shown by Evidently: its page must say what our own figures say. Nothing is decided here."""

import os
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from earlysignal_core.datasets.comparison import MIN_DISTANCE, FloatArray
from earlysignal_core.monitoring.action import MonitoringError
from earlysignal_core.monitoring.drift import MAX_PSI, Drift, psi
from earlysignal_core.monitoring.reference import MIN_VALUES, WINDOW_DAYS, Reference
from earlysignal_core.rules import written

WORST = 10
_KS, _PSI = "ks_d", "psi_of_deciles"
_PREDICTIONS = "probability"
# Two implementations of one figure differ by rounding only.
_ROUNDING = 1e-9


class PageError(MonitoringError):
    """Evidently fails, or says something else than we do: there is no page."""


@dataclass(frozen=True)
class DriftPage:
    """Evidently's page.

    Attributes
    ----------
    html : bytes
        Needs no network; several megabytes, so keep it with retention and the figures for ever.
    worst : DataFrame
        The ten features that lie farthest: ``feature, group, n, missing, distance, limit, usual, drifted, reason``.
    scores : dict of str to float
        What Evidently computed, by column: KS distances, and the PSI of ``probability``.
    left_out : list of str
        Columns with fewer than 30 values on either side: Evidently fails on them.
    """

    html: bytes
    worst: pd.DataFrame
    scores: dict[str, float]
    left_out: list[str]


def drift_page(drift: Drift, recent: pd.DataFrame, reference: Reference, day: pd.Timestamp) -> DriftPage | None:
    """Return Evidently's page of a drift report; None where no column has enough values to draw.

    Parameters
    ----------
    drift : Drift
        What `detect_drift` said of the same rows.
    recent : DataFrame
    reference : Reference
    day : Timestamp
        Of the report, for its heading.

    Raises
    ------
    PageError
        If Evidently fails, or its figures are not ours.

    Notes
    -----
    Evidently's own ``ks`` is a p-value and its ``psi`` has bins of equal width, so both are registered anew: the
    distance from SciPy, which ours is then held against, and the PSI over the reference's deciles.
    """
    names = [_PREDICTIONS, *drift.features["feature"]]
    now, trained = (_clean(frame, names) for frame in (recent, reference.frame))
    drawn = [name for name in names if min(now[name].count(), trained[name].count()) >= MIN_VALUES]
    if not drawn:
        return None
    limits: dict[Any, float] = drift.features.set_index("feature")[["limit", "usual"]].max(axis=1).to_dict()
    try:
        snapshot = _run(now[drawn], trained[drawn], limits | {_PREDICTIONS: drift.figures["psi_limit"]})
        html = snapshot.get_html_str(as_iframe=False)
    except Exception as error:  # the boundary: nothing is decided on a page, so nothing of it may stop a day
        raise PageError(f"Evidently's page could not be drawn: {type(error).__name__}: {error}") from error
    found = {metric["config"]["column"]: float(metric["value"]) for metric in snapshot.dict()["metrics"]}
    ours = drift.features.set_index("feature")["distance"].to_dict() | {_PREDICTIONS: drift.figures["psi"]}
    for name in drawn:
        if not abs(found.get(name, np.nan) - ours[name]) <= _ROUNDING:
            raise PageError(
                f"Evidently's page disagrees with our figures: it says {found.get(name)} of `{name}`, "
                f"we say {ours[name]}. "
                f"Remedy: hand over the rows that the drift was measured on; if they are, this is a bug."
            )
    columns = ["feature", "group", "n", "missing", "distance", "limit", "usual", "drifted", "reason"]
    left_out = [name for name in names if name not in drawn]
    return DriftPage(
        html=_with_heading(html, drift, day, left_out).encode(),
        worst=drift.features[columns].head(WORST),
        scores={name: found[name] for name in drawn},
        left_out=left_out,
    )


def _with_heading(html: str, drift: Drift, day: pd.Timestamp, left_out: list[str]) -> str:
    """Say above Evidently's own page what is compared, by which limits, and what the rules make of it."""
    title = f"Drift on {day:%Y-%m-%d}, champion {drift.version}"
    figures = drift.figures
    lines = "".join(
        f"<tr><td>{escape(verdict.rule.name)}</td><td>{written(verdict.value)}</td><td>{escape(str(verdict.rule))}</td>"
        f"<td>{'yes' if verdict.raw else 'no'}</td><td>{'yes' if verdict.effective else 'no'}</td>"
        f"<td>{escape(verdict.reason)}</td></tr>"
        for verdict in drift.verdicts
    )
    left = f" Left out, with fewer than {MIN_VALUES} values: {escape(', '.join(left_out))}." if left_out else ""
    heading = f"""
    <header style="font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1.5rem">
    <h1 style="font-size: 1.6rem; margin: 0 0 .5rem">{escape(title)}</h1>
    <p><b>Current</b> is what was served in the last {WINDOW_DAYS} days ({figures["rows"]:,.0f} rows), <b>reference</b>
    what the champion was trained on ({figures["reference_rows"]:,.0f} rows). The drift score of a feature is its
    Kolmogorov-Smirnov distance; its threshold is the greatest of {MIN_DISTANCE:g}, what chance gives with so many
    values, and what 95 % of the months of the training period kept within. That of the predictions
    (<code>{_PREDICTIONS}</code>) is the population stability index; its threshold is the greater of {MAX_PSI:g} and
    chance.{left}</p>
    <table cellpadding="6" style="border-collapse: collapse; text-align: left">
    <tr><th>rule</th><th>value</th><th>fires when</th><th>fires</th><th>acts</th><th>why</th></tr>{lines}</table>
    <p>A rule that <i>fires</i> is the strategy's as written; it <i>acts</i> only if its guards against noise hold.
    Evidently counts columns above their threshold, macro and calendar ones too; the rules do not count those.</p>
    </header>"""
    page = html.replace("<head>", f"<head><title>{escape(title)}</title>", 1)
    return page.replace("<body>", f"<body>{heading}", 1)


def _clean(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the columns as Evidently can bear them: float64, and nothing infinite."""
    values = frame[names].astype("float64").reset_index(drop=True)
    return values.replace([np.inf, -np.inf], np.nan)


def _run(now: pd.DataFrame, trained: pd.DataFrame, limits: dict[Any, float]) -> Any:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    _register()
    columns = list(now.columns)
    definition = DataDefinition(numerical_columns=columns)
    metrics = [
        ValueDrift(column=name, method=_PSI if name == _PREDICTIONS else _KS, threshold=limits[name])
        for name in columns
    ]
    return Report(metrics).run(Dataset.from_pandas(now, definition), Dataset.from_pandas(trained, definition))


def _register() -> None:
    """Tell Evidently of our two figures; a name that it knows already is replaced by the same."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def ks(reference: pd.Series, current: pd.Series, _: Any, limit: float) -> tuple[float, bool]:
        distance = float(ks_2samp(reference, current, method="asymp").statistic)
        return distance, distance > limit

    def deciles(reference: pd.Series, current: pd.Series, _: Any, limit: float) -> tuple[float, bool]:
        index = psi(_sorted(current), _sorted(reference))
        return index, index > limit

    for name, shown, default, compute in (
        (_KS, "Kolmogorov-Smirnov distance", MIN_DISTANCE, ks),
        (_PSI, "PSI over the reference's deciles", MAX_PSI, deciles),
    ):
        register_stattest(StatTest(name, shown, [ColumnType.Numerical], default), compute)


def _sorted(values: pd.Series) -> FloatArray:
    return np.sort(values.to_numpy(dtype="float64"))
