"""What the prices did after a prediction, as outcomes: each is known from a moment of its own."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.audit.level_shifts import LOOK_BACK as SESSIONS_BEFORE
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.outcomes import close_to_close
from earlysignal_core.evaluation.resampling import FloatArray, IntArray
from earlysignal_core.ledger.vocabulary import Horizon, OutcomeStatus
from earlysignal_core.tables import KNOWABLE
from earlysignal_core.trading_calendar import Moments, position, sessions

SURE_SESSIONS = 10
"""Sessions after a window by which a missing bar, or a split that explains a jump, must have come."""

FINEST = "us"
"""As the ledger keeps moments: of two steps at one of them only the first counts."""

_FIGURE_OF = {Horizon.DAYS_7: "actual_return_7d", Horizon.DAYS_30: "actual_return_30d"}
_FIGURES = ["actual_class", "earnings_surprise_pct", *_FIGURE_OF.values()]


def steps_of(ids: IntArray, horizon: Any, status: Any, moments: Any, **figures: Any) -> pd.DataFrame:
    """Return outcomes as the ledger takes them; moments are UTC."""
    told = {"prediction_id": ids, "horizon": horizon, "status": status}
    dated = {"outcome_date": pd.DatetimeIndex(moments, tz="UTC").array}
    return pd.DataFrame(told | dated | dict.fromkeys(_FIGURES, np.nan) | figures)


class Returns:
    """The returns of windows that have ended, as far as they can be known.

    A return is known with the bars of both ends. Where raw prices jump in between, the split that explains it may
    still become known. Ten sessions after the window that is over: a bar that is missing stays missing, a jump stays
    unexplained, and a stock without any further bar is gone.

    Parameters
    ----------
    asked : DataFrame, n rows
        id, symbol, horizon, and the positions `first` and `last` in `sessions`; index 0 to n - 1.
    prices : Prices
        As known now, of all symbols: what others trade tells that time has gone on.
    """

    def __init__(self, asked: pd.DataFrame, prices: Prices) -> None:
        bars = prices.bars
        self._asked, self._everybody = asked, bars[["session", KNOWABLE]]
        self._prices = replace(prices, bars=bars[bars["symbol"].isin(asked["symbol"].unique())])
        self._first, self._last = asked["first"].to_numpy(), asked["last"].to_numpy()
        self._over_from = self._traded_since(self._last + SURE_SESSIONS)
        self._value = np.full(len(asked), np.nan)
        self._gone = np.zeros(len(asked), dtype=bool)
        self._known_from = np.full(len(asked), np.datetime64("NaT"), dtype="datetime64[ns]")

    def steps(self) -> pd.DataFrame:
        """Return the outcomes as the ledger takes them."""
        both = np.maximum(*self._bars_known_from())  # NaT where either is
        self._judge(np.flatnonzero(~np.isnat(both) & ~(both > self._over_from)), both)
        for rows, moments in self._splits_after(both):
            self._judge(rows[np.isnat(self._known_from[rows])], moments)
        self._conclude(np.flatnonzero(np.isnat(self._known_from) & ~np.isnat(self._over_from)), self._over_from)
        known = np.flatnonzero(~np.isnat(self._known_from))
        ids, horizons = (self._asked[name].array.take(known) for name in ("id", "horizon"))
        status = np.where(self._gone[known], OutcomeStatus.DELISTED, OutcomeStatus.OBSERVED)
        figures = {
            name: np.where(np.asarray(horizons) == horizon, self._value[known], np.nan)
            for horizon, name in _FIGURE_OF.items()
        }
        dated = pd.DatetimeIndex(self._known_from[known]).floor(FINEST)
        return steps_of(ids, horizons, status, dated, **figures)

    def _judge(self, rows: IntArray, moments: Moments) -> None:
        """Take the returns of rows that can be had at their moments; without splits to wait for, NaN is one too."""
        for moment, at in _by_moment(rows, moments):
            self._value[at] = self._changes(at, self._last[at], self._known(moment, at))
            settled = at if self._prices.splits is None else at[~np.isnan(self._value[at])]
            self._known_from[settled] = moment.to_datetime64()

    def _conclude(self, rows: IntArray, moments: Moments) -> None:
        for moment, at in _by_moment(rows, moments):
            known = self._known(moment, at)
            newest = known.bars.groupby("symbol")["session"].max()
            last_bar = pd.Series(position(newest), index=newest.index)
            until = self._asked["symbol"].iloc[at].map(last_bar).fillna(-1).to_numpy(dtype=np.int64)
            self._gone[at] = (self._first[at] <= until) & (until < self._last[at])
            self._value[at] = self._changes(at, np.where(self._gone[at], until, self._last[at]), known)
            self._known_from[at] = moment.to_datetime64()

    def _known(self, moment: pd.Timestamp, at: IntArray) -> Prices:
        """Return what was known at a moment of the prices of some rows, as far as it matters to them."""
        near = (self._first[at].min() - SESSIONS_BEFORE - 1, self._last[at].max() + SURE_SESSIONS)
        begin, end = self._prices.bars["session"].searchsorted(sessions()[list(near)])
        prices = replace(self._prices, bars=self._prices.bars.iloc[begin:end])
        return prices.known(moment, self._asked["symbol"].iloc[at].unique())

    def _changes(self, at: IntArray, last: IntArray, known: Prices) -> FloatArray:
        return close_to_close(self._asked["symbol"].iloc[at], self._first[at], last, known.on_one_basis())

    def _bars_known_from(self) -> tuple[Moments, Moments]:
        """Return the moments from which the bars of each row's first and last session were known, NaT without one."""
        bars = self._prices.bars
        symbols, days = bars["symbol"].cat.categories, sessions().to_numpy("datetime64[D]").astype(np.int64)
        held = bars["session"].to_numpy("datetime64[D]").astype(np.int64) * len(symbols) + bars["symbol"].cat.codes
        held = np.append(held, -1)
        known = np.append(bars[KNOWABLE].to_numpy("datetime64[ns]"), np.datetime64("NaT"))
        number = symbols.get_indexer(pd.Index(self._asked["symbol"]))

        def known_from(place: IntArray) -> Moments:
            wanted = days[place] * len(symbols) + number
            at = np.searchsorted(held[:-1], wanted)
            return known[np.where(held[at] == wanted, at, -1)]

        return known_from(self._first), known_from(self._last)

    def _traded_since(self, place: IntArray) -> Moments:
        """Return the moment from which a bar of a session or a later one was known, of whatever symbol; NaT before."""
        traded, begins = np.unique(self._everybody["session"].to_numpy(), return_index=True)
        moments = self._everybody[KNOWABLE].to_numpy("datetime64[ns]")
        earliest = np.minimum.reduceat(moments, begins) if len(begins) else moments
        since = np.append(np.minimum.accumulate(earliest[::-1])[::-1], np.datetime64("NaT", "ns"))
        return since[position(traded).searchsorted(place)]

    def _splits_after(self, both: Moments) -> Iterator[tuple[IntArray, Moments]]:
        """Yield, wave by wave, rows and, of every row, when a split in its window became known after both its bars."""
        if self._prices.splits is None:
            return
        told = {"row": np.arange(len(both)), "both": both, "over": self._over_from}
        rows = self._asked[["symbol", "first", "last"]].assign(**told)
        found = rows.merge(self._prices.splits[["symbol", "session", KNOWABLE]], on="symbol")
        known, place = found[KNOWABLE].dt.tz_localize(None), position(found["session"])
        inside = (found["first"] < place) & (place <= found["last"])
        late = (known > found["both"]) & ~(known > found["over"])
        found = found.assign(known=known)[inside & late].sort_values("known")
        wave = found.groupby("row").cumcount()
        for number in wave.unique():
            now = found[wave == number]
            moments = np.full(len(both), np.datetime64("NaT"), dtype="datetime64[ns]")
            moments[now["row"]] = now["known"]
            yield now["row"].to_numpy(), moments


def _by_moment(rows: IntArray, moments: Moments) -> Iterator[tuple[pd.Timestamp, IntArray]]:
    """Yield some rows by the moment of each."""
    for moment in np.unique(moments[rows]):
        yield pd.Timestamp(moment, tz="UTC"), rows[moments[rows] == moment]
