"""Which stocks are selected on a day, and why."""

import numpy as np
import pandas as pd

from earlysignal_core.evaluation.top_decile import limits
from earlysignal_core.models.bundle import Bundle

REASONS = 5


def select(answers: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Rank answers and select the top 10 %: those above the 90th percentile of the predictions of the year before.

    Parameters
    ----------
    answers : DataFrame
        event, symbol, as_of (UTC), probability (NaN where nothing could answer); further columns are kept.
    history : DataFrame
        as_of (UTC) and probability of the predictions served before; those of the 365 days before each `as_of`
        count, strictly earlier ones only.

    Returns
    -------
    DataFrame
        `answers` by falling probability (equal ones by symbol), those without one last, with ``rank`` (1 is the
        highest, NaN without a probability), ``limit`` (NaN where fewer than 50 predictions stand in the year before)
        and ``selected``.
    """
    known = history[history["probability"].notna()]
    values = known["probability"].to_numpy(dtype="float64")[:, None]
    limit = limits(answers["as_of"], known["as_of"], values)[:, 0]
    probability = answers["probability"].to_numpy(dtype="float64")
    symbol, _ = pd.factorize(answers["symbol"], sort=True)
    order = np.lexsort([symbol, -probability])  # NaN last
    place = np.where(np.isnan(probability[order]), np.nan, np.arange(1.0, len(order) + 1))
    ranked = answers.iloc[order].reset_index(drop=True)
    return ranked.assign(limit=limit[order], selected=(probability > limit)[order], rank=place)


def reasons(bundle: Bundle, rows: pd.DataFrame, count: int = REASONS) -> pd.DataFrame:
    """Return what moved the model most, of each row.

    Parameters
    ----------
    bundle : Bundle
        The model that answered.
    rows : DataFrame
        event and a column for each feature.
    count : int

    Returns
    -------
    DataFrame
        ``event, place, feature, value, contribution``: of each event the `count` features that moved the log odds
        most, up or down, the strongest first (SHAP values before calibration).
    """
    contributions = bundle.contributions(rows)
    values = contributions.to_numpy()
    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :count]
    width = order.shape[1]
    names = np.array(bundle.features, dtype=object)
    inputs = rows[bundle.features].to_numpy(dtype="float64")
    return pd.DataFrame(
        {
            "event": np.repeat(rows["event"].to_numpy(), width),
            "place": np.tile(np.arange(1, width + 1), len(rows)),
            "feature": names[order].ravel(),
            "value": np.take_along_axis(inputs, order, axis=1).ravel(),
            "contribution": np.take_along_axis(values, order, axis=1).ravel(),
        }
    )
