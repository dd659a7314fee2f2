"""What all prices share: the market's and the sectors' daily returns, and how nervous the market is."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.columns import Bools, Floats, Ints, stream
from earlysignal_core.sources.synthetic.companies import SECTORS
from earlysignal_core.sources.synthetic.timeline import MACRO_LEAD, Timeline, first_positions

MARKET_VOLATILITY, SECTOR_VOLATILITY, DRIFT = 0.005, 0.004, 0.0003
BROKEN_STRESS = 2.0  # volatility in the other regime, as a multiple
CRASH, CRASH_SESSIONS = -0.004, 25  # the market's fall as the regime breaks, a session


@dataclass(frozen=True)
class Factors:
    """Common factors by session, from the first of the macro series to the last of the tape.

    Attributes
    ----------
    begin : int
        Position in the trading calendar of the first session.
    stress : ndarray, shape (t,)
        Multiple of the usual volatility.
    market : ndarray, shape (t,)
        Daily log return.
    sectors : ndarray, shape (11, t)
        Daily log return beyond the market's.
    broken : ndarray of bool, shape (t,)
        Whether the session belongs to the other regime.
    """

    begin: int
    stress: Floats
    market: Floats
    sectors: Floats
    broken: Bools

    @classmethod
    def draw(cls, spec: SyntheticSettings, timeline: Timeline) -> "Factors":
        """Draw the factors of a specification."""
        random = stream(spec.seed, "factors")
        end = timeline.priced[-1] + 1
        begin, stop = first_positions([timeline.first - MACRO_LEAD, end])
        sessions = int(stop - begin)
        broken = np.zeros(sessions, dtype=bool)
        crash = np.zeros(sessions)
        if timeline.broken_from:
            at = int(first_positions([timeline.broken_from])[0] - begin)
            broken[at:] = True
            crash[at : at + CRASH_SESSIONS] = CRASH
        stress = np.exp(persistent(random, sessions, 0.97, 0.03)) * np.where(broken, BROKEN_STRESS, 1.0)
        market = DRIFT + crash + MARKET_VOLATILITY * stress * random.standard_normal(sessions)
        sectors = SECTOR_VOLATILITY * stress * random.standard_normal((len(SECTORS), sessions))
        return cls(int(begin), stress, market, sectors, broken)

    def positions(self) -> Ints:
        """Return the positions in the trading calendar of all sessions."""
        return np.arange(self.begin, self.begin + len(self.market))


def persistent(random: np.random.Generator, length: int, memory: float, deviation: float) -> Floats:
    """Return a first-order autoregressive path of the given standard deviation, started in its own distribution."""
    noise = deviation * random.standard_normal(length)
    noise[1:] *= np.sqrt(1 - memory**2)
    path: Floats = lfilter([1.0], [1.0, -memory], noise)
    return path
