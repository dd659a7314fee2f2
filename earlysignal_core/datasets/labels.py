"""Labels: whether a company beat the consensus by more than 20 %, and since when that is known."""

import numpy as np
import pandas as pd

from earlysignal_core.features.examples import event_id
from earlysignal_core.features.surprise import is_large_beat, surprise_percent
from earlysignal_core.tables import KNOWABLE

NO_EVENT_AFTER = pd.Timedelta(days=8)
"""From the beginning of the day for which an announcement was expected: then it is waited for no longer."""


def build_labels(earnings: pd.DataFrame) -> pd.DataFrame:
    """Return one label an event.

    Parameters
    ----------
    earnings : DataFrame
        Rows of the table `earnings`, of one quarter or more.

    Returns
    -------
    DataFrame
        ``event, symbol, announced_on, surprise, label, available_at``, sorted by `announced_on` and `symbol`;
        `surprise` in percent; `label` is 1.0, 0.0, or NaN where no surprise can be computed.

    Notes
    -----
    Of several announcements of one event the first that gives a surprise holds: a moved date gives none, and what is
    published again later (a correction, a repetition) is not what was to be predicted. So a label, once known, stays.
    """
    actual, estimate = earnings["eps_actual"], earnings["eps_estimate"]
    surprise = surprise_percent(actual, estimate)
    labels = pd.DataFrame(
        {
            "event": event_id(earnings),
            "symbol": earnings["symbol"],
            "announced_on": earnings["announced_on"],
            "surprise": surprise,
            "label": np.where(np.isnan(surprise), np.nan, is_large_beat(actual, estimate).astype("float64")),
            KNOWABLE: earnings[KNOWABLE],
        }
    )
    return first_of_each_event(labels)


def first_of_each_event(labels: pd.DataFrame) -> pd.DataFrame:
    """Keep, of each event, the label that became known first, and one without a surprise only where there is no other.

    Parameters
    ----------
    labels : DataFrame
        As of `build_labels`; those of several quarters hold an event more than once where its date moved across the
        end of a quarter.
    """
    ranked = labels.assign(_none=labels["surprise"].isna()).sort_values(
        ["_none", KNOWABLE, "announced_on"], kind="stable"
    )
    kept = ranked.drop_duplicates("event").drop(columns="_none")
    return kept.sort_values(["announced_on", "symbol"], kind="stable", ignore_index=True)
