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
from earlysignal_core.trading_calendar import position, sessions

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
        self._known_from = pd.Series(pd.NaT, index=asked.index, dtype="datetime64[ns, UTC]")

    def steps(self) -> pd.DataFrame:
        """Return the outcomes as the ledger takes them."""
        ends = [self._bars_known_from(place) for place in (self._first, self._last)]
        both = pd.concat(ends, axis=1).max(axis=1, skipna=False)
        self._judge(both[~(both > self._over_from)].dropna())
        for moments in self._splits_after(both):
            self._judge(moments[self._known_from[moments.index].isna()])
        self._conclude(self._over_from[self._known_from.isna()].dropna())
        known = self._known_from.notna().to_numpy()
        rows, value = self._asked[known], pd.Series(self._value, index=self._asked.index)[known]
        status = np.where(self._gone[known], OutcomeStatus.DELISTED, OutcomeStatus.OBSERVED)
        figures = {name: value.where(rows["horizon"] == horizon).array for horizon, name in _FIGURE_OF.items()}
        moments = self._known_from[known].dt.floor(FINEST).to_numpy("datetime64[ns]")
        return steps_of(rows["id"].to_numpy(), rows["horizon"].array, status, moments, **figures)

    def _judge(self, moments: pd.Series) -> None:
        """Take the returns that can be had at some moments; without splits to wait for, NaN is one too."""
        for moment, at in _by_moment(moments):
            self._value[at] = self._changes(at, self._last[at], self._known(moment, at))
            settled = at if self._prices.splits is None else at[~np.isnan(self._value[at])]
            self._known_from.iloc[settled] = moment

    def _conclude(self, moments: pd.Series) -> None:
        for moment, at in _by_moment(moments):
            known = self._known(moment, at)
            newest = known.bars.groupby("symbol")["session"].max()
            last_bar = pd.Series(position(newest), index=newest.index)
            until = self._asked["symbol"].iloc[at].map(last_bar).fillna(-1).to_numpy(dtype=np.int64)
            self._gone[at] = (self._first[at] <= until) & (until < self._last[at])
            self._value[at] = self._changes(at, np.where(self._gone[at], until, self._last[at]), known)
            self._known_from.iloc[at] = moment

    def _known(self, moment: pd.Timestamp, at: IntArray) -> Prices:
        """Return what was known at a moment of the prices of some rows, as far as it matters to them."""
        near = (self._first[at].min() - SESSIONS_BEFORE - 1, self._last[at].max() + SURE_SESSIONS)
        begin, end = self._prices.bars["session"].searchsorted(sessions()[list(near)])
        prices = replace(self._prices, bars=self._prices.bars.iloc[begin:end])
        return prices.known(moment, self._asked["symbol"].iloc[at].unique())

    def _changes(self, at: IntArray, last: IntArray, known: Prices) -> FloatArray:
        return close_to_close(self._asked["symbol"].iloc[at], self._first[at], last, known.on_one_basis())

    def _bars_known_from(self, place: IntArray) -> pd.Series:
        """Return the moment from which the bar of each row's session was known, NaT where there is none."""
        bars = self._prices.bars
        symbols = bars["symbol"].cat.categories
        held = _day_number(bars["session"]) * len(symbols) + bars["symbol"].cat.codes.to_numpy()
        wanted = _day_number(sessions()[place]) * len(symbols) + symbols.get_indexer(pd.Index(self._asked["symbol"]))
        at = np.searchsorted(held, wanted)
        is_held = np.append(held, -1)[at] == wanted
        moments = bars[KNOWABLE].array.take(np.where(is_held, at, -1), allow_fill=True)
        return pd.Series(moments, index=self._asked.index)

    def _traded_since(self, place: IntArray) -> pd.Series:
        """Return the moment from which a bar of a session or a later one was known, of whatever symbol; NaT before."""
        traded, begins = np.unique(self._everybody["session"].to_numpy(), return_index=True)
        moments = self._everybody[KNOWABLE].to_numpy("datetime64[ns]")
        earliest = np.minimum.reduceat(moments, begins) if len(begins) else moments
        since = np.append(np.minimum.accumulate(earliest[::-1])[::-1], np.datetime64("NaT", "ns"))
        after = position(traded).searchsorted(place)
        return pd.Series(pd.DatetimeIndex(since[after], tz="UTC"), index=self._asked.index)

    def _splits_after(self, both: pd.Series) -> list[pd.Series]:
        """Return, wave by wave, the moments at which a split within a window became known after both its bars."""
        if self._prices.splits is None:
            return []
        rows = self._asked[["symbol", "first", "last"]].assign(row=self._asked.index, both=both, over=self._over_from)
        found = rows.merge(self._prices.splits[["symbol", "session", KNOWABLE]], on="symbol")
        place = position(found["session"])
        inside = (found["first"] < place) & (place <= found["last"])
        late = (found[KNOWABLE] > found["both"]) & ~(found[KNOWABLE] > found["over"])
        found = found[inside & late].sort_values(KNOWABLE).set_index("row")
        wave = found.groupby(level=0).cumcount()
        return [found.loc[wave == number, KNOWABLE] for number in wave.unique()]


def _by_moment(moments: pd.Series) -> Iterator[tuple[pd.Timestamp, IntArray]]:
    for moment in moments.drop_duplicates():
        yield moment, moments.index[moments == moment].to_numpy(dtype=np.int64)


def _day_number(days: Any) -> IntArray:
    return np.asarray(days, dtype="datetime64[D]").astype(np.int64)
