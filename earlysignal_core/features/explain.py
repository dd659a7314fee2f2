"""One example in full: each feature's value and the rows that it was made from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.catalogue import Feature, catalogue
from earlysignal_core.features.table import quarter_examples, view
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources.source import SourceDescription
from earlysignal_core.tables import UNIVERSE, each_company


@dataclass(frozen=True)
class Explanation:
    """What one feature says of one example.

    Attributes
    ----------
    feature : Feature
        With its name, unit and definition.
    value : float
        NaN where it could not be computed.
    rows : dict of str to DataFrame
        The rows that it was made from, by table; all of them were known at `as_of`.
    inactive_because : str or None
        Why the source cannot give this feature at all.
    """

    feature: Feature
    value: float
    rows: dict[str, pd.DataFrame]
    inactive_because: str | None = None


def explain(lake: Lake, source: SourceDescription, symbol: str, announced_on: pd.Timestamp) -> list[Explanation]:
    """Explain every feature of the catalogue for one announcement.

    Parameters
    ----------
    lake : Lake
    source : SourceDescription
    symbol : str
    announced_on : Timestamp
        The day of the announcement, without a time zone.

    Raises
    ------
    EarlySignalError
        If there is no such announcement; names the nearest ones.
    """
    example = _example(lake, source, symbol, announced_on)
    at = view(lake, source, example)
    found = []
    for each in catalogue().values():
        reason = each.inactive_because(source)
        value = np.nan if reason else float(at.value(each)[0])
        found.append(Explanation(each, value, at.rows_read(each), reason))
    return found


def _example(lake: Lake, source: SourceDescription, symbol: str, announced_on: pd.Timestamp) -> pd.DataFrame:
    quarter = Quarter.of(announced_on)
    near = [q for q in Quarter.range(quarter - 1, quarter + 1) if q in source.quarters]
    if quarter in near:
        examples = quarter_examples(lake, source, quarter)
        example = examples[(examples["symbol"] == symbol) & (examples["announced_on"] == announced_on)]
        if len(example):
            return example.reset_index(drop=True)
    known = lake.read("earnings", near) if near else pd.DataFrame(columns=["symbol", "announced_on"])
    days = known.loc[known["symbol"] == symbol, "announced_on"].dt.strftime("%Y-%m-%d").tolist() if near else []
    every = each_company(lake.read(UNIVERSE))["symbol"]
    if symbol not in set(every):
        alike = every[every.str.startswith(symbol[:1].upper())]
        some = ", ".join((alike if len(alike) else every).head(8))
        raise EarlySignalError(f"the source has no symbol `{symbol}`. Remedy: choose one of its own, like {some}.")
    raise EarlySignalError(
        f"`{symbol}` has no announcement of {announced_on:%Y-%m-%d} that could be predicted a week ahead. "
        f"Remedy: choose one of {', '.join(days)}."
        if days
        else f"`{symbol}` has no announcement near {announced_on:%Y-%m-%d}: the source knows {source.first} to "
        f"{source.last}. Remedy: choose a symbol and a day that it knows."
    )
