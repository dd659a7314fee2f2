"""What a model must beat: naive rules and a small logistic regression, fitted on the same rows."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RATE, LAST = "large_beat_rate_8q", "earnings_surprise"
# Chosen, like the strength of the regularisation, on the quarters up to 2016-Q4 of the long tape.
HISTORY = (
    "large_beat_rate_shrunk",
    "large_beat_rate_8q",
    "beat_rate_8q",
    "surprise_mean_4q",
    "surprise_std_8q",
    "threshold_z",
)
INVERSE_STRENGTH = 0.1
LAST_SURPRISE_OVER = 15.0


def baseline_scores(training: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Fit every baseline on a dataset and score some rows.

    Parameters
    ----------
    training : DataFrame
        A dataset's frame: the rows that the model was fitted on.
    rows : DataFrame
        Feature table rows, n of them.

    Returns
    -------
    DataFrame, shape (n, 4)
        ``never``: the base rate of the training rows, for all. ``large_beat_rate_8q``: the feature itself.
        ``last_surprise_over_15``: how often training rows with a last surprise above (or not above) 15 % beat.
        ``logistic_history``: logistic regression on six history features.
    """
    label = training["label"].to_numpy(dtype="float64")
    base_rate = float(label.mean())
    over, over_rows = (_column(frame, LAST).to_numpy() > LAST_SURPRISE_OVER for frame in (training, rows))
    rate = {side: float(label[over == side].mean()) if (over == side).any() else base_rate for side in (True, False)}
    return pd.DataFrame(
        {
            "never": np.full(len(rows), base_rate),
            "large_beat_rate_8q": _column(rows, RATE).fillna(base_rate),
            "last_surprise_over_15": np.where(over_rows, rate[True], rate[False]),
            "logistic_history": _logistic(training, rows, label),
        },
        index=rows.index,
    )


def _logistic(training: pd.DataFrame, rows: pd.DataFrame, label: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(np.unique(label)) < 2 or rows.empty:
        return np.full(len(rows), label.mean())
    median = _history(training).median().fillna(0.0)

    def inputs(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        history = _history(frame)
        return np.hstack([history.fillna(median).to_numpy(), history.isna().to_numpy(dtype="float64")])

    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_STRENGTH)).fit(inputs(training), label)
    return np.asarray(model.predict_proba(inputs(rows))[:, 1])


def _history(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: _column(frame, name) for name in HISTORY})


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name] if name in frame else pd.Series(np.nan, index=frame.index)
