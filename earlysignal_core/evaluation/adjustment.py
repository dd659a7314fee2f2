"""Prices with every split worked in, for outcomes: these look back from after the split, unlike features."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE
from earlysignal_core.trading_calendar import NEW_YORK
from earlysignal_core.validation import no_rows

_PRICES = ["open", "high", "low", "close"]


@dataclass(frozen=True)
class Prices:
    """Bars, and what is needed to bring them on one basis.

    Attributes
    ----------
    bars : DataFrame
        Rows of the table `ohlcv`, by session, then by symbol, which is a category.
    splits : DataFrame or None
        Rows of `corporate_actions`; None where the bars are on one basis already, or no splits are known.
    """

    bars: pd.DataFrame
    splits: pd.DataFrame | None

    @classmethod
    def load(cls, lake: Lake, source: SourceDescription, quarters: Sequence[Quarter]) -> "Prices":
        """Read the prices of some quarters; there are none without a quarter or in a source without prices."""
        if "ohlcv" not in source.tables or not quarters:
            return cls(_in_order(no_rows("ohlcv")), None)
        bars = lake.derive(_in_order, "ohlcv", quarters)
        if source.prices == "adjusted" or "corporate_actions" not in source.tables:
            return cls(bars, None)
        actions = lake.read("corporate_actions", quarters)
        return cls(bars, actions[actions["kind"] == "split"])

    def since(self, session: pd.Timestamp) -> "Prices":
        """Return the bars from a session on, with all splits."""
        begin = self.bars["session"].searchsorted(session)
        return Prices(self.bars.iloc[begin:], self.splits)

    def known(self, moment: pd.Timestamp, symbols: Iterable[str] | None = None) -> "Prices":
        """Return what was known at a moment (UTC), of all symbols or of some."""
        wanted = list(symbols or [])

        def chosen(rows: pd.DataFrame) -> pd.DataFrame:
            kept = rows[KNOWABLE] <= moment
            kept = kept if symbols is None else kept & rows["symbol"].isin(wanted)
            return rows if kept.all() else rows[kept]

        # Nothing is known before it has happened, so that what comes later need not be looked at.
        happened = self.bars["session"].searchsorted(moment.tz_convert(NEW_YORK).tz_localize(None), side="right")
        return Prices(chosen(self.bars.iloc[:happened]), None if self.splits is None else chosen(self.splits))

    def on_one_basis(self) -> pd.DataFrame:
        """Return the bars with every split of the stretch worked in."""
        return self.bars if self.splits is None else split_adjusted(self.bars, self.splits)


def _in_order(bars: pd.DataFrame) -> pd.DataFrame:
    """Return bars by session and symbol: to choose among numbers of symbols is far faster than among their text."""
    ordered = bars.assign(symbol=bars["symbol"].astype("category"))
    return ordered.sort_values(["session", "symbol"], kind="stable", ignore_index=True)


def split_adjusted(bars: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return raw bars on the share basis of their end.

    Parameters
    ----------
    bars : DataFrame
        Rows of the table `ohlcv`.
    splits : DataFrame
        ``symbol, session, value``: `value` new shares for an old one, from `session` on.
    """
    later = bars[["symbol", "session"]].merge(splits[["symbol", "session", "value"]], on="symbol", suffixes=("", "_of"))
    later = later[later["session"] < later["session_of"]]
    factor = later.groupby(["symbol", "session"])["value"].prod().rename("factor").reset_index()
    factors = bars[["symbol", "session"]].merge(factor, on=["symbol", "session"], how="left")["factor"].fillna(1.0)
    ratio = factors.to_numpy(np.float64)
    adjusted = bars.copy()
    adjusted[_PRICES] = bars[_PRICES].to_numpy() / ratio[:, None]
    adjusted["volume"] = bars["volume"].to_numpy() * ratio
    return adjusted
