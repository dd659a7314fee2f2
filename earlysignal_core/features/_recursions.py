"""Indicators that carry a state from session to session: Wilder's RSI and the MACD.

They start at the left edge of a window of fixed length, so that their value depends on that many sessions and no
others, and start afresh after a session without a close.
"""

import numpy as np

from earlysignal_core.features.arrays import Values

RSI_SESSIONS = 14
MACD_FAST, MACD_SLOW, MACD_SIGNAL = 12, 26, 9


def wilder_rsi(close: Values, last: int) -> Values:
    """Return Wilder's RSI-14 of the last sessions.

    Parameters
    ----------
    close : ndarray, shape (n, length)
    last : int

    Returns
    -------
    ndarray, shape (n, last)
        0 to 100. NaN before 14 changes in a row, and where the price did not move at all.

    Notes
    -----
    J. W. Wilder, New Concepts in Technical Trading Systems (1978): the first average is the mean of 14 changes, each
    later one moves by a fourteenth of the way to the newest change.
    """
    changes = np.ascontiguousarray(np.diff(close, axis=1).T)
    missing = np.isnan(changes)
    gains, losses = np.where(missing, 0.0, np.maximum(changes, 0)), np.where(missing, 0.0, np.maximum(-changes, 0))
    count = np.zeros(len(close))
    gain, loss = np.zeros(len(close)), np.zeros(len(close))
    found = np.full((last, len(close)), np.nan)
    for step in range(len(changes)):
        count = np.where(missing[step], 0, count + 1)
        weight = 1 / np.clip(count, 1, RSI_SESSIONS)
        gain = np.where(missing[step], 0, gain + (gains[step] - gain) * weight)
        loss = np.where(missing[step], 0, loss + (losses[step] - loss) * weight)
        place = step - len(changes) + last
        if place >= 0:
            moved = np.where((count >= RSI_SESSIONS) & (gain + loss > 0), gain + loss, np.nan)
            found[place] = 100 * gain / moved
    return np.ascontiguousarray(found.T)


def macd_histogram(close: Values, last: int) -> Values:
    """Return the histogram of the MACD(12, 26, 9) of the last sessions: the MACD minus its signal line.

    Parameters
    ----------
    close : ndarray, shape (n, length)
    last : int

    Returns
    -------
    ndarray, shape (n, last)
        In the price's unit. NaN before 34 closes in a row: 26 for the slow average, 9 for the signal.

    Notes
    -----
    G. Appel, Technical Analysis: Power Tools for Active Investors (2005). An exponential average of span s moves by
    2 / (s + 1) of the way to the newest value and starts at the first.
    """
    closes = np.ascontiguousarray(close.T)
    missing = np.isnan(closes)
    count = np.zeros(len(close))
    fast, slow, signal = (np.zeros(len(close)) for _ in range(3))
    found = np.full((last, len(close)), np.nan)
    for step, price in enumerate(closes):
        count = np.where(missing[step], 0, count + 1)
        starts = count <= 1
        fast = np.where(starts, price, fast + (price - fast) * (2 / (MACD_FAST + 1)))
        slow = np.where(starts, price, slow + (price - slow) * (2 / (MACD_SLOW + 1)))
        signal = np.where(starts, 0.0, signal + (fast - slow - signal) * (2 / (MACD_SIGNAL + 1)))
        place = step - len(closes) + last
        if place >= 0:
            found[place] = np.where(count >= MACD_SLOW + MACD_SIGNAL - 1, fast - slow - signal, np.nan)
    return np.ascontiguousarray(found.T)
