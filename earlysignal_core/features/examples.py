"""The examples of a quarter: which announcements are predicted, and at which moment."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from earlysignal_core.tables import KNOWABLE, each_company
from earlysignal_core.trading_calendar import as_of

COLUMNS = [
    "event",
    "symbol",
    "fiscal_period",
    "scheduled_on",
    "announced_on",
    "session",
    "as_of",
    "sector",
    "sector_etf",
]


def event_id(frame: pd.DataFrame) -> pd.Series:
    """Name each announcement: symbol and fiscal period, or its date where no period is known."""
    period = frame["fiscal_period"]
    if period.isna().any():
        period = period.fillna(frame["announced_on"].dt.strftime("%Y-%m-%d"))
    return frame["symbol"] + ":" + period


def are_among(events: pd.Series, others: pd.Series) -> npt.NDArray[np.bool_]:
    """Say which events are among others, as `Series.isin` does, which takes microseconds for each of the others."""
    asked, known = (pa.array(each, type=pa.large_string()) for each in (events, others))
    return np.asarray(pc.is_in(asked, value_set=known), dtype=bool)


def examples(earnings: pd.DataFrame, calendar: pd.DataFrame | None, universe: pd.DataFrame) -> pd.DataFrame:
    """Return one row per announcement that could be predicted seven days ahead.

    Parameters
    ----------
    earnings : DataFrame
        The announcements.
    calendar : DataFrame or None
        The dates as they were scheduled, with `available_at`; None where dates are assumed known.
    universe : DataFrame

    Returns
    -------
    DataFrame
        `COLUMNS`, sorted by `as_of` and symbol. `scheduled_on` is the date that was expected at `as_of`. An
        announcement of which no schedule seven days ahead was known is left out: nobody would have predicted it.

    Notes
    -----
    Of several rows of one event the first that has an actual is the announcement, as for its label: a date from which
    it was moved has none, and what comes later is a correction.
    """
    if calendar is None:
        rows = on_announced_dates(earnings)
    else:
        rows = _announcement_of_each_event(earnings.assign(event=event_id(earnings)))
        moments = first_moments(calendar).drop(columns="session")
        rows = rows.merge(moments, on=["symbol", "fiscal_period"], how="inner", validate="m:1")
        rows = rows[rows["as_of"] < rows[KNOWABLE]]
    return _with_sector(rows, universe)


def of_members(rows: pd.DataFrame, universe: pd.DataFrame) -> pd.DataFrame:
    """Return the examples whose company was one of the universe on the day of `as_of`; an empty date sets no bound."""
    day = rows["as_of"].dt.tz_localize(None).dt.normalize()
    asked = pd.DataFrame({"row": np.arange(len(rows)), "symbol": rows["symbol"].to_numpy(), "day": day.to_numpy()})
    stays = asked.merge(universe[["symbol", "first", "last"]], on="symbol")
    inside = ~((stays["day"] < stays["first"]) | (stays["day"] > stays["last"]))
    return rows.iloc[stays.loc[inside, "row"].unique()].reset_index(drop=True)


def on_announced_dates(earnings: pd.DataFrame) -> pd.DataFrame:
    """Return the announcement of each event with its `as_of`, where dates are assumed known ahead."""
    rows = _announcement_of_each_event(earnings.assign(event=event_id(earnings)))
    return rows.assign(scheduled_on=rows["announced_on"], as_of=as_of(rows["announced_on"]))


def first_moments(calendar: pd.DataFrame) -> pd.DataFrame:
    """Return, for each event, the first moment at which its date as then known was seven days ahead."""
    rows = calendar.sort_values(["symbol", "fiscal_period", KNOWABLE], kind="stable")
    moment = pd.Series(as_of(rows["expected_on"]), index=rows.index)
    superseded_at = rows.groupby(["symbol", "fiscal_period"])[KNOWABLE].shift(-1)
    in_force = (rows[KNOWABLE] <= moment) & ~(superseded_at <= moment)
    due = rows.assign(as_of=moment, scheduled_on=rows["expected_on"])[in_force]
    first: pd.DataFrame = due.drop_duplicates(["symbol", "fiscal_period"])
    return first[["symbol", "fiscal_period", "scheduled_on", "session", "as_of"]]


def first_known(earnings: pd.DataFrame) -> pd.Series:
    """Return the moment from which each event's result was known, by event."""
    actual = earnings[earnings["eps_actual"].notna()]
    moments: pd.Series = actual.assign(event=event_id(actual)).groupby("event")[KNOWABLE].min()
    return moments


def due_between(rows: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp, universe: pd.DataFrame) -> pd.DataFrame:
    """Return the examples with ``first <= as_of <= last`` (UTC), as of `examples`.

    Parameters
    ----------
    rows : DataFrame
        From `on_announced_dates`.
    first, last : Timestamp
    universe : DataFrame
    """
    return _with_sector(rows[rows["as_of"].between(first, last)], universe)


def scheduled_between(
    moments: pd.DataFrame, known: pd.Series, first: pd.Timestamp, last: pd.Timestamp, universe: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per announcement that falls due with ``first <= as_of <= last``, whose outcome nobody knows yet.

    Parameters
    ----------
    moments : DataFrame
        From `first_moments`.
    known : Series
        From `first_known`: announcements that have come already are left out.
    first, last : Timestamp
        UTC.
    universe : DataFrame

    Returns
    -------
    DataFrame
        As of `examples`, but `announced_on` is the date that was expected at `as_of`, and so is `session`.
    """
    due = moments[moments["as_of"].between(first, last)].assign(announced_on=lambda rows: rows["scheduled_on"])
    due = due.assign(event=event_id(due))
    came = known.reindex(due["event"]).set_axis(due.index)  # moments also where there are none
    return _with_sector(due[~(came <= due["as_of"])], universe)


def _announcement_of_each_event(rows: pd.DataFrame) -> pd.DataFrame:
    ranked = rows.assign(_none=rows["eps_actual"].isna())
    ranked = ranked.sort_values(["_none", KNOWABLE, "announced_on"], kind="stable").drop_duplicates("event")
    return rows.loc[ranked.index.sort_values()]


def _with_sector(rows: pd.DataFrame, universe: pd.DataFrame) -> pd.DataFrame:
    companies = each_company(universe)[["symbol", "sector", "sector_etf"]]
    rows = rows.merge(companies, on="symbol", how="left", validate="m:1")
    return rows.sort_values(["as_of", "symbol", "announced_on"], kind="stable", ignore_index=True)[COLUMNS]
