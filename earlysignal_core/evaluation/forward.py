"""A challenger's recipe, judged forward: refitted month by month, and never on what it is then asked to score."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from earlysignal_core.datasets.cutoff import Day, moment_of
from earlysignal_core.datasets.gather import FEATURES, LABELS, gather_dataset
from earlysignal_core.datasets.labels import first_of_each_event
from earlysignal_core.features.table import EVENT_COLUMNS
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle, NoModelYet
from earlysignal_core.models.hyperparameters import ensemble_of
from earlysignal_core.models.training import train
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

Refits = dict[tuple[str, str], Bundle | NoModelYet]


@dataclass(frozen=True)
class Recipe:
    """How models are made: with which settings (the window, say, and the members).

    Attributes
    ----------
    settings : Settings
    refits : dict, optional
        What was made before, by settings and cutoff: for who walks many recipes over a lake that stands still.
    """

    settings: Settings = field(default_factory=Settings)
    refits: Refits | None = None

    def train(self, lake: Lake, source: SourceDescription, until: Day | Quarter) -> Bundle | NoModelYet:
        """Train on what the lake held at a cutoff; the bundle has no version."""
        known: Refits = {} if self.refits is None else self.refits
        made = (self.settings.model_dump_json(), str(until))
        if made not in known:
            dataset = gather_dataset(lake, source, until, self.settings)
            known[made] = train(dataset, ensemble_of(lake, self.settings, until))
        return known[made]


def steps(since: pd.Timestamp, until: pd.Timestamp) -> list[Day]:
    """Return the days of the refits: the first that begins at or after `since` (UTC), and every month after it."""
    first = Day.after(since).date
    days = [first + pd.DateOffset(months=month) for month in range((until.year - since.year) * 12 + 13)]
    return [Day(day) for day in days if day.tz_localize("UTC") < until]


def walk_monthly(
    recipe: Recipe, lake: Lake, source: SourceDescription, since: pd.Timestamp, until: pd.Timestamp
) -> pd.DataFrame:
    """Refit a recipe at monthly steps and score each following step out of sample.

    Parameters
    ----------
    recipe : Recipe
    lake : Lake
        With feature tables and labels up to `until`.
    source : SourceDescription
    since : Timestamp
        The champion's cutoff (UTC).
    until : Timestamp
        The moment of judging (UTC): only outcomes that were known by then have a label.

    Returns
    -------
    DataFrame
        `EVENT_COLUMNS`, ``label`` (NaN while it is not known), ``probability``, ``threshold`` and ``trained_on`` (the
        day of the refit), by `as_of` and symbol. A step of which the recipe gives no model yet has no rows.
    """
    days = steps(since, until)
    # A champion that knew all until then (one of a later quarter, promoted by hand) leaves no step.
    ends = [*(moment_of(day) for day in days[1:]), until] if days else []
    rows = _examples(lake, source, since, until)
    scored = [rows.iloc[:0].assign(probability=np.empty(0), threshold=np.empty(0), trained_on="")]
    for day, end in zip(days, ends, strict=True):
        due = rows[(rows["as_of"] >= moment_of(day)) & (rows["as_of"] < end)]
        if due.empty:
            continue
        model = recipe.train(lake, source, day)
        if isinstance(model, Bundle):
            scored.append(due.assign(probability=model.predict(due), threshold=model.threshold, trained_on=str(day)))
    columns = [*EVENT_COLUMNS, "label", "probability", "threshold", "trained_on"]
    return pd.concat(scored)[columns].sort_values(["as_of", "symbol"], ignore_index=True)


def _examples(lake: Lake, source: SourceDescription, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """Return feature rows with ``since < as_of < until`` and their labels as far as known."""
    # An announcement follows its `as_of` by a week or more, often in the next quarter.
    last = Quarter.of(until) + 1
    near = [q for q in source.event_quarters if Quarter.of(since) <= q <= last and lake.has(FEATURES, q)]
    if not near:
        near = [q for q in source.event_quarters if lake.has(FEATURES, q)][:1]
    rows = lake.read(FEATURES, near)
    rows = rows[(rows["as_of"] > since) & (rows["as_of"] < until)]
    labels = lake.read(LABELS, [q for q in near if lake.has(LABELS, q)])
    known = first_of_each_event(labels[labels[KNOWABLE] <= until])
    return rows.merge(known[["event", "announced_on", "label"]], on=["event", "announced_on"], how="left")
