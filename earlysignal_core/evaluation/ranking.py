"""AUC and average precision of every resample at once: the only figures that are not sums over rows."""

from typing import NamedTuple

import numpy as np

from earlysignal_core.evaluation.resampling import FloatArray, IntArray, Resamples


class Ranking(NamedTuple):
    """Each of shape (resamples,), NaN where a resample holds one class only."""

    auc: FloatArray
    average_precision: FloatArray


def ranking(positive: IntArray, score: FloatArray, resamples: Resamples) -> Ranking:
    """Return AUC and average precision of every resample.

    Parameters
    ----------
    positive : ndarray of int, shape (n,)
        1 for a large beat.
    score : ndarray, shape (n,)
        Higher is likelier; equal scores count half, as in the Mann-Whitney statistic.

    Notes
    -----
    One sort serves all resamples: within a resample every row carries its company's multiplicity, and the weight of
    the negatives below each positive is a lookup in their cumulative sum. Both follow scikit-learn's definitions
    (`roc_auc_score`, `average_precision_score`), which the tests hold them to.
    """
    is_positive = positive == 1
    order = np.argsort(score[is_positive], kind="stable")
    above, below = score[is_positive][order], np.sort(score[~is_positive])
    positive_company = resamples.company[is_positive][order]
    negative_company = resamples.company[~is_positive][np.argsort(score[~is_positive], kind="stable")]
    lower, not_higher = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    lower_positives = np.searchsorted(above, above, "left")

    auc = np.full(len(resamples.counts), np.nan)
    average_precision = auc.copy()
    for batch, counts in resamples.batches(len(score)):
        weight = np.take(counts, positive_company, axis=1)
        negatives, positives = _running(np.take(counts, negative_company, axis=1)), _running(weight)
        all_negatives, all_positives = negatives[:, -1:], positives[:, -1:]
        below_weight = np.take(negatives, lower, axis=1)
        wins = (below_weight + np.take(negatives, not_higher, axis=1)) / 2
        hits = all_positives - np.take(positives, lower_positives, axis=1)
        called = hits + all_negatives - below_weight
        # A positive that was not drawn has weight 0, and only then may nothing lie at or above its score.
        precision = hits / np.where(called > 0, called, 1)
        with np.errstate(invalid="ignore"):
            auc[batch] = (weight * wins).sum(axis=1) / (all_positives * all_negatives)[:, 0]
            average_precision[batch] = (weight * precision).sum(axis=1) / all_positives[:, 0]
    return Ranking(auc, average_precision)


def resampled_auc(positive: IntArray, score: FloatArray, resamples: Resamples) -> FloatArray:
    """Return the AUC of every resample, bit for bit that of `ranking`: cheaper by far where few units are drawn.

    Notes
    -----
    A pair of units counts as often as both were drawn, so that the pairs that are ranked rightly are counted once for
    each two units. All sums are of halves and exact.
    """
    units, is_positive = resamples.counts.shape[1], positive == 1
    unit_of_positive, unit_of_negative = resamples.company[is_positive], resamples.company[~is_positive]
    order = np.argsort(score[~is_positive], kind="stable")
    below, above = score[~is_positive][order], score[is_positive]
    negatives = np.zeros((len(below) + 1, units))
    negatives[np.arange(1, len(below) + 1), unit_of_negative[order]] = 1
    negatives = np.cumsum(negatives, axis=0)
    wins = np.zeros((units, units))
    np.add.at(
        wins,
        unit_of_positive,
        (negatives[np.searchsorted(below, above, "left")] + negatives[np.searchsorted(below, above, "right")]) / 2,
    )
    has_positive = np.flatnonzero(np.bincount(unit_of_positive, minlength=units))
    won = (resamples.counts[:, has_positive] @ wins[has_positive] * resamples.counts).sum(axis=1)
    pairs = resamples.counts @ np.bincount(unit_of_positive, minlength=units).astype(np.float64)
    pairs *= resamples.counts @ negatives[-1]
    with np.errstate(invalid="ignore"):
        return np.asarray(won / pairs)


def _running(weight: FloatArray) -> FloatArray:
    """Cumulative sums along the last axis with a leading 0, so that entry i holds the sum of the i lowest."""
    total = np.zeros((weight.shape[0], weight.shape[1] + 1))
    np.cumsum(weight, axis=1, out=total[:, 1:])
    return total


def concordance_within(positive: IntArray, score: FloatArray, company: IntArray) -> FloatArray:
    """Return what each row adds to the concordant and to all pairs (positive, negative) *of one company*.

    Parameters
    ----------
    company : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, shape (n, 2)
        Summed over rows, the first column over the second is the AUC within companies: can the model tell *when*,
        and not only *which* company?

    Notes
    -----
    The Mann-Whitney statistic from ranks: a positive's concordant pairs are the (mid-)rank among all rows of its
    company less the one among its positives.
    """
    pairs = np.zeros((len(score), 2))
    order = np.lexsort((score, company))
    middle = _middle_rank(company[order], score[order])
    chosen = order[positive[order] == 1]
    middle_of_positives = _middle_rank(company[chosen], score[chosen])
    negatives = np.bincount(company, weights=positive == 0)
    pairs[chosen, 0] = middle[positive[order] == 1] - middle_of_positives
    pairs[chosen, 1] = negatives[company[chosen]]
    return pairs


def _middle_rank(company: IntArray, score: FloatArray) -> FloatArray:
    """Rank of each row within its company, ties sharing the middle; rows come sorted by company and score."""
    if len(score) == 0:
        return np.empty(0)
    new_company = np.r_[True, company[1:] != company[:-1]]
    new_tie = new_company | np.r_[True, score[1:] != score[:-1]]
    first = np.flatnonzero(new_tie)
    last = np.r_[first[1:], len(score)] - 1
    tie = np.cumsum(new_tie) - 1
    company_start = np.flatnonzero(new_company)[np.cumsum(new_company) - 1]
    return np.asarray((first + last)[tie] / 2 - company_start)
