"""How far a call can be relied on: the chance that it is right, by the calibrated probability.

A call is "large beat" where the probability reaches the model's threshold, else "none". By a calibrated probability p
it is right with the chance p, or 1 − p. HIGH: at least 90 %. MEDIUM: at least 75 %. LOW: less, and whatever a rule
says in place of a model. With large beats as rare as one in ten, HIGH nearly always says that none will come.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.evaluation.calibration import expected_accuracy
from earlysignal_core.evaluation.resampling import FloatArray, Resamples, with_interval
from earlysignal_core.ledger.vocabulary import Confidence

HIGH_FROM, MEDIUM_FROM = 0.90, 0.75


def confidence(probability: FloatArray, threshold: FloatArray) -> npt.NDArray[np.object_]:
    """Return the level of each call, shape (n,)."""
    chance = expected_accuracy(probability, threshold)
    levels = [Confidence.HIGH, Confidence.MEDIUM]
    chosen = np.select([chance >= HIGH_FROM, chance >= MEDIUM_FROM], [0, 1], default=2)
    return np.asarray(np.array([*levels, Confidence.LOW], dtype=object)[chosen])


def measure_confidence(predictions: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Hold the levels to what came: each should be right as often as it says.

    Parameters
    ----------
    predictions : DataFrame
        Rows of `predictions` partitions: label, probability, threshold, symbol, and company where it differs. Rows
        without a label are left out.

    Returns
    -------
    DataFrame
        By level (HIGH, MEDIUM, LOW): ``n``, ``called`` (share of calls of a large beat), ``stated`` (the mean chance),
        ``right`` (the share that was right) with the 95 % interval ``low``, ``high`` by company, and ``supported``:
        whether `stated` lies in it. NaN where a level has no row or too few companies.
    """
    rows = predictions[predictions["label"].notna()]
    probability, threshold, label = (
        rows[name].to_numpy(dtype="float64") for name in ("probability", "threshold", "label")
    )
    called = probability >= threshold
    right = (called == (label == 1)).astype(np.float64)
    stated, level = expected_accuracy(probability, threshold), confidence(probability, threshold)
    company = rows["company"].fillna(rows["symbol"]) if "company" in rows else rows["symbol"]
    drawn = Resamples.draw(company, seed=seed)
    measured = {}
    for each in Confidence:
        inside = (level == each).astype(np.float64)
        sums = drawn.sums(np.column_stack([inside * right, inside]))
        share = np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
        n = int(inside.sum())
        mean = float((inside * right).sum() / n) if n else np.nan
        figure = with_interval(mean, share, drawn.of(level == each).companies)
        said = float((inside * stated).sum() / n) if n else np.nan
        measured[str(each)] = {
            "n": n,
            "called": float((inside * called).sum() / n) if n else np.nan,
            "stated": said,
            "right": figure.value,
            "low": figure.low,
            "high": figure.high,
            "supported": bool(figure.low <= said <= figure.high),
        }
    return pd.DataFrame.from_dict(measured, orient="index")
