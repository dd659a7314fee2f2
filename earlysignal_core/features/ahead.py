"""A quarter's scheduled examples and their features, made at once: for a replay, whose lake stands still."""

from functools import lru_cache
from typing import Any

import pandas as pd

from earlysignal_core.features.examples import COLUMNS
from earlysignal_core.features.table import active_features, features_of, scheduled_examples
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import SourceDescription


class FeaturesAhead:
    """Feature tables of a day's examples, taken from those of its quarter.

    Nothing leaks: an example sees what was knowable at its own `as_of` however many stand beside it, and its values are
    the same bits alone as among ten thousand others (`PointInTime`; the leak tests hold it to that). A day's example
    that the quarter does not hold, to the letter, is computed by itself.

    Parameters
    ----------
    lake : Lake
        Whose tables nobody changes meanwhile.
    source : SourceDescription
    """

    def __init__(self, lake: Lake, source: SourceDescription) -> None:
        self._lake, self._source, self._features = lake, source, active_features(source)
        self._examples = lru_cache(maxsize=1)(self._examples_of)
        self._table = lru_cache(maxsize=1)(self._table_of)

    def scheduled(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        """Return what `scheduled_examples` does."""
        quarter = Quarter.of(last)
        if Quarter.of(first) != quarter:
            return scheduled_examples(self._lake, self._source, first, last)
        rows = self._examples(quarter)
        begin, end = rows["as_of"].searchsorted(first), rows["as_of"].searchsorted(last, side="right")
        return rows.iloc[begin:end].reset_index(drop=True)

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the feature table of some examples of one `as_of`, as `features_of` does."""
        table, places = self._table(Quarter.of(rows["as_of"].iloc[0]))
        held = [places[key] for key in _keys(rows) if key in places]
        if len(held) < len(rows):
            return features_of(self._lake, self._source, rows, self._features)
        return table.iloc[held].set_axis(rows.index)

    def _examples_of(self, quarter: Quarter) -> pd.DataFrame:
        first, end = (day.tz_localize("UTC") for day in (quarter.start, (quarter + 1).start))
        return scheduled_examples(self._lake, self._source, first, end - pd.Timedelta(1, "ns"))

    def _table_of(self, quarter: Quarter) -> tuple[pd.DataFrame, dict[tuple[Any, ...], int]]:
        """Return the features of a quarter's examples, and where each of these is."""
        rows = self._examples(quarter)
        table = features_of(self._lake, self._source, rows, self._features)
        return table, {key: place for place, key in enumerate(_keys(rows))}


def _keys(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return all that features may know of each example, as one key."""
    cells = zip(*(rows[name].tolist() for name in COLUMNS), strict=True)
    # What is missing is equal to nothing, not even to itself.
    return [tuple(None if cell != cell else cell for cell in row) for row in cells]
