"""The planted signal: how likely each announcement is to beat by more than 20 %, and what it surprises by.

A surprise, as a fraction of the estimate, is ``0.2 + s * (z + e)`` with standard normal ``e`` and the company's
dispersion ``s``, so that ``P(surprise > 0.2) = Phi(z)``. The predictable ``z`` is a level, set by the base rate, plus
the company's persistent edge, plus (weaker) the momentum of its price and the revision of its estimate. The dispersion
follows the edge so that most companies share one mean surprise: as on real data, those that beat by much are those that
miss by much. In the other regime the edge changes its sign, and surprises are lower and wider.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.columns import Bools, Floats, stream
from earlysignal_core.sources.synthetic.companies import Companies
from earlysignal_core.sources.synthetic.timeline import Timeline

THRESHOLD = 0.2
EDGE, MOMENTUM, REVISION = 1.0, 0.2, 0.15  # weights in z, for a signal of 1
BROKEN_MEAN = -0.10  # what the other regime adds to the mean surprise


@dataclass(frozen=True)
class Signal:
    """What is planted in each scheduled announcement, arrays of shape (n, k).

    Attributes
    ----------
    momentum, revision : ndarray
        Standard normal: the part of the signal that prices and estimates show before the announcement.
    probability : ndarray
        The true probability of a surprise above 20 %.
    news : ndarray
        Standard normal: what nobody can know before, and what prices react to.
    surprise : ndarray
        ``(actual - estimate) / |estimate|``.
    """

    momentum: Floats
    revision: Floats
    probability: Floats
    news: Floats
    surprise: Floats

    @classmethod
    def plant(cls, spec: SyntheticSettings, timeline: Timeline, companies: Companies) -> "Signal":
        """Plant the signal of a specification."""
        random = stream(spec.seed, "signal")
        broken = timeline.broken(timeline.scheduled)
        momentum, revision, news = random.standard_normal((3, spec.symbols, len(broken)))
        edge = spec.signal * EDGE * np.where(broken, -1.0, 1.0) * companies.edge[:, None]
        predictable = edge + spec.signal * (MOMENTUM * momentum + REVISION * revision)
        level = _levels(predictable, broken, spec.base_rate)
        distance = np.maximum(-(level + edge), 0.5)
        mean = companies.surprise_mean[:, None] + BROKEN_MEAN * broken
        dispersion = np.clip((THRESHOLD - mean) / distance, 0.03, 0.45)
        z = level + predictable
        return cls(momentum, revision, ndtr(z), news, surprise=THRESHOLD + dispersion * (z + news))


def attainable_auc(spec: SyntheticSettings) -> float:
    """Return the expected AUC of the true probabilities over the announcements of a tape: none can do better.

    It is the probability that a beat has a higher true probability than another announcement's non-beat, a tie
    counting half: ``sum_ij p_i (1 - p_j) [p_i > p_j] / sum_ij p_i (1 - p_j)`` over pairs of different announcements.
    """
    timeline = Timeline.of(spec)
    signal = Signal.plant(spec, timeline, Companies.draw(spec))
    begin = timeline.first - timeline.scheduled[0]
    probability, counts = np.unique(signal.probability[:, begin : begin + spec.quarters], return_counts=True)
    beats, others = probability * counts, (1 - probability) * counts
    below = np.cumsum(others) - others
    with_itself = probability * (1 - probability) * counts
    ordered = np.sum(beats * below) + 0.5 * np.sum(beats * others - with_itself)
    pairs = np.sum(beats) * np.sum(others) - np.sum(with_itself)
    return float(ordered / pairs) if pairs > 0 else float("nan")


def _levels(predictable: Floats, broken: Bools, base_rate: float) -> Floats:
    """Return the level of z that gives each regime the base rate, shape (k,)."""

    def level(regime: Bools) -> float:
        part = predictable[:, regime]
        bound = 40 + float(np.abs(part).max())
        return float(brentq(lambda shift: float(ndtr(part + shift).mean()) - base_rate, -bound, bound))

    return np.where(broken, level(broken) if broken.any() else 0.0, level(~broken))
