"""The top 10 %: forecasts above the 90th percentile of those of the year before. Nothing later enters."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.evaluation.resampling import Figure, FloatArray, Record, Resamples, undefined, with_interval

PERCENTILE = 0.9
REFERENCE = pd.Timedelta(days=365)
MIN_REFERENCE = 50


class TopDecile(Record):
    """How the top 10 % did.

    Attributes
    ----------
    judged, not_judged : int
        Announcements with and without 50 forecasts in the year before.
    selected : int
        Of the judged ones, those above the 90th percentile.
    labelled : int
        Of the selected, those whose outcome is known; they carry the precision.
    precision, base_rate, lift : Figure
        Share of large beats among the selected, among the judged, and the first over the second.
    """

    judged: int
    not_judged: int
    selected: int
    labelled: int
    precision: Figure
    base_rate: Figure
    lift: Figure


def limits(as_of: pd.Series, history_as_of: pd.Series, history: FloatArray) -> FloatArray:
    """Return the limits that forecasts must exceed to belong to the top 10 %.

    Parameters
    ----------
    as_of : Series of datetime64[ns, UTC], shape (n,)
        Moments of the forecasts to judge, in any order.
    history_as_of : Series of datetime64[ns, UTC], shape (m,)
        Moments of all forecasts known, in any order.
    history : ndarray, shape (m, k)
        Their values, by k forecasters.

    Returns
    -------
    ndarray, shape (n, k)
        The 90th percentile of the forecasts of the 365 days before, strictly earlier ones only; NaN where these are
        fewer than 50.
    """
    moments, of_row = np.unique(as_of.to_numpy("datetime64[ns]"), return_inverse=True)
    times = history_as_of.to_numpy("datetime64[ns]")
    order = np.argsort(times, kind="stable")
    end = np.searchsorted(times[order], moments, side="left")
    start = np.searchsorted(times[order], moments - REFERENCE.to_timedelta64(), side="left")
    ordered = history[order]
    of_moment = np.full((len(moments), history.shape[1]), np.nan)
    for index in np.flatnonzero(end - start >= MIN_REFERENCE):  # one moment a session: at most 252 a year
        of_moment[index] = np.quantile(ordered[start[index] : end[index]], PERCENTILE, axis=0)
    return of_moment[of_row]


def top_decile(
    label: Any, selected: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_], resamples: Resamples
) -> TopDecile:
    """Return how the top 10 % did.

    Parameters
    ----------
    label : array-like of float, shape (n,)
        1 for a large beat, 0 for none, NaN where the outcome is not known.
    selected, judged : ndarray of bool, shape (n,)
        From `limits`: above it, and where there is one.
    resamples : Resamples
        Of the companies of the same rows.
    """
    outcome = np.asarray(label, dtype=np.float64)
    known = ~np.isnan(outcome)
    hit = outcome == 1
    counts = np.column_stack([hit & selected, known & selected, hit & judged, known & judged]).astype(np.float64)

    def ratios(sums: FloatArray) -> FloatArray:
        rates = np.full((len(sums), 3), np.nan)
        np.divide(sums[:, ::2], sums[:, 1::2], out=rates[:, :2], where=sums[:, 1::2] > 0)
        np.divide(rates[:, 0], rates[:, 1], out=rates[:, 2], where=rates[:, 1] > 0)
        return rates

    values, draws = ratios(counts.sum(axis=0, keepdims=True))[0], ratios(resamples.sums(counts))
    precision, base_rate, lift = (
        undefined("nothing was selected, or no outcome is known" if judged.any() else "nothing could be judged")
        if np.isnan(value)
        else with_interval(float(value), draws[:, index], resamples.companies)
        for index, value in enumerate(values)
    )
    return TopDecile(
        judged=int(judged.sum()),
        not_judged=int((~judged).sum()),
        selected=int(selected.sum()),
        labelled=int((known & selected).sum()),
        precision=precision,
        base_rate=base_rate,
        lift=lift,
    )
