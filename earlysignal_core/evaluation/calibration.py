"""Do the probabilities mean what they say? Bins, their observed rates, and the expected calibration error."""

import numpy as np

from earlysignal_core.evaluation.resampling import Figure, FloatArray, IntArray, Number, Record, with_interval

BINS = 10


class Bin(Record):
    """Forecasts of like size: how many, their mean, and the rate that was observed."""

    n: int
    forecast: Number
    observed: Figure


def expected_accuracy(probability: FloatArray, threshold: FloatArray) -> FloatArray:
    """Return each row's chance to be right if the probabilities mean what they say; its mean needs no outcome.

    Notes
    -----
    Confidence-based performance estimation (CBPE): p where a large beat is called, else 1 − p; at a threshold of 0.5
    that is max(p, 1 − p). It tells of a change in what the model is asked, never of a model that has become wrong.
    """
    return np.where(probability >= threshold, probability, 1 - probability)


def bins_of(score: FloatArray) -> IntArray:
    """Return the bin of each forecast: ten bins of equal count, but equal forecasts always share one.

    (Ties split by position would make the error depend on the order of the rows.)
    """
    if len(score) == 0:
        return np.empty(0, dtype=np.int64)
    edges = np.unique(np.quantile(score, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    return np.asarray(np.searchsorted(edges, score, side="left"), dtype=np.int64)


def by_bin(values: FloatArray, bins: IntArray) -> FloatArray:
    """Spread (n,) values into an (n, BINS) matrix, each in the column of its bin, so that sums are sums of bins."""
    spread = np.zeros((len(values), BINS))
    spread[np.arange(len(values)), bins] = values
    return spread


def calibration_error(gaps: FloatArray) -> FloatArray:
    """Return the summed distance of forecast and outcome, from sums of their differences by bin; over n it is the ECE.

    Parameters
    ----------
    gaps : ndarray, shape (…, BINS)

    Notes
    -----
    Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    return np.asarray(np.abs(gaps).sum(axis=-1))


def chance_error(variances: FloatArray) -> FloatArray:
    """Return what `calibration_error` would be by chance, were the forecasts perfect, from summed p(1 − p) of bins.

    A bin's summed difference is then nearly normal about 0, and the mean of its absolute value √(2/π) standard
    deviations.
    """
    return np.asarray(np.sqrt(2 / np.pi * variances).sum(axis=-1))


def observed_rates(
    count: FloatArray,
    forecast: FloatArray,
    hits: FloatArray,
    drawn_count: FloatArray,
    drawn_hits: FloatArray,
    units: int,
) -> list[Bin]:
    """Return the calibration curve, with an interval for each bin's observed rate.

    Parameters
    ----------
    count, forecast, hits : ndarray, shape (BINS,)
        Sums over the rows of each bin: rows, forecasts, large beats.
    drawn_count, drawn_hits : ndarray, shape (resamples, BINS)
    units : int
        Companies drawn from.
    """
    rates = np.divide(drawn_hits, drawn_count, out=np.full_like(drawn_hits, np.nan), where=drawn_count > 0)
    return [
        Bin(n=int(n), forecast=float(total / n), observed=with_interval(float(hit / n), rates[:, index], units))
        for index, (n, total, hit) in enumerate(zip(count, forecast, hits, strict=True))
        if n > 0
    ]
