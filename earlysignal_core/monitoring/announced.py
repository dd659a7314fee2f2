"""Announcements with a result, as they became known: which symbols are one company, and when a season ended."""

from functools import lru_cache

import numpy as np
import pandas as pd

from earlysignal_core.audit.announcements import share_classes
from earlysignal_core.lake import Lake
from earlysignal_core.monitoring.outcomes import EARNINGS
from earlysignal_core.monitoring.retrain_policy import season_end
from earlysignal_core.quarters import Quarter
from earlysignal_core.tables import KNOWABLE
from earlysignal_core.validation import no_rows

SEASONS_BACK = 4


class Announced:
    """The announcements with a result of some quarters.

    What they tell at a moment depends only on how many were known by then, and on most days that is as many as on the
    day before: so the last answers are kept.

    Parameters
    ----------
    earnings : DataFrame
        Rows of the table `earnings`.
    """

    def __init__(self, earnings: pd.DataFrame) -> None:
        told = earnings.loc[earnings["eps_actual"].notna(), ["symbol", "announced_on", "eps_actual", KNOWABLE]]
        self._rows = told.sort_values(KNOWABLE, kind="stable", ignore_index=True)
        day = self._rows["announced_on"].dt
        self._quarters = (4 * day.year + day.quarter).to_numpy("int64")
        self._came = lru_cache(maxsize=32)(self._first_of_each_symbol)
        self._share_classes = lru_cache(maxsize=1)(lambda known: share_classes(self._rows.iloc[:known]))
        self._season_end = lru_cache(maxsize=1)(self._latest_season_end)

    @classmethod
    def of(cls, lake: Lake, quarters: list[Quarter]) -> "Announced":
        """Return those of some quarters of a lake."""
        return lake.derive(cls, "earnings", quarters, EARNINGS) if quarters else cls(no_rows("earnings"))

    def share_classes(self, now: pd.Timestamp) -> dict[str, str]:
        """Return the symbols that carry another's announcements, each with that other, as known at a moment (UTC)."""
        return self._share_classes(self._known(now))

    def season_end(self, now: pd.Timestamp) -> pd.Timestamp | None:
        """Return the day on which the latest season that has ended did so, as far as it is known at a moment (UTC).

        Notes
        -----
        A season is a calendar quarter's announcements. Expected are the companies that announced in the same quarter
        of the year before and have announced since: a tape may lack one quarter of every year, and a company that has
        gone announces no more. In the first year it is those of the quarter before. A schedule would know the
        stragglers of the running quarter only shortly before they come, so it is not asked.
        """
        return self._season_end(self._known(now), Quarter.of(now))

    def _first_of_each_symbol(self, quarter: int, known: int) -> pd.Series:
        """Return the first announcement of each symbol among the first so many of a quarter that became known."""
        own = self._rows.iloc[np.flatnonzero(self._quarters == quarter)[:known]]
        first: pd.Series = own.groupby("symbol")["announced_on"].min()
        return first

    def _known(self, now: pd.Timestamp) -> int:
        return int(self._rows[KNOWABLE].searchsorted(now, side="right"))

    def _latest_season_end(self, known: int, present: Quarter) -> pd.Timestamp | None:
        many = np.bincount(self._quarters[:known])
        came = {
            quarter: self._came(place, int(many[place]))
            for quarter in Quarter.range(present - 4 - SEASONS_BACK, present)
            if (place := 4 * quarter.year + quarter.number) < len(many) and many[place]
        }
        nobody = pd.Series(dtype="datetime64[ns]")
        for quarter in reversed(Quarter.range(present - SEASONS_BACK + 1, present)):
            year_before, *since = (came.get(q, nobody).index for q in Quarter.range(quarter - 4, quarter - 1))
            expected = (
                year_before.intersection(since[0].union(since[1]).union(since[2])) if len(year_before) else since[2]
            )
            ended = season_end(came.get(quarter, nobody).reindex(expected))
            if ended is not None:
                return ended
        return None
