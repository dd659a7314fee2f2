"""What became of each prediction: whatever has become knowable goes into the ledger, once.

An outcome is computed from what was known at the moment from which it could be known, and is dated by that moment. So
it is the same whenever, however often and however late it is collected, and a day that was missed is made up for.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.audit.level_shifts import LOOK_BACK as SESSIONS_BEFORE
from earlysignal_core.audit.level_shifts import Flags
from earlysignal_core.datasets.labels import NO_EVENT_AFTER
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.resampling import IntArray
from earlysignal_core.features.examples import event_id
from earlysignal_core.features.surprise import is_large_beat, surprise_percent
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import days
from earlysignal_core.ledger import outcomes as recorded
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Horizon, OutcomeStatus
from earlysignal_core.monitoring.price_outcomes import FINEST, SURE_SESSIONS, Returns, steps_of
from earlysignal_core.quarters import Quarter
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE
from earlysignal_core.trading_calendar import Moments, closes, days_in_new_york, position, sessions
from earlysignal_core.validation import no_rows

LOOK_BACK = pd.Timedelta(days=180)
"""What becomes known so long after it was taken for no event, a late announcement or a correction, counts no more."""

OVERDUE_AFTER = pd.Timedelta(days=8)
RETURN_DAYS: Mapping[Horizon, int] = {Horizon.DAYS_7: 7, Horizon.DAYS_30: 30}

EARNINGS = ["symbol", "announced_on", "session", "fiscal_period", "eps_estimate", "eps_actual", KNOWABLE]
_LONG_AGO = pd.Timestamp("1990-01-01", tz="UTC")
# A prediction is made about a week before the day that is expected; with `LOOK_BACK` and room to spare.
_OPEN_FOR = pd.Timedelta(days=240)


@dataclass(frozen=True)
class Collected:
    """What a collection found.

    Attributes
    ----------
    recorded : DataFrame
        The revisions that are new: ``prediction_id, horizon, revision, status, outcome_date``.
    waiting : dict of Horizon to int
        Predictions of which nothing is known yet, not even that there was no event.
    oldest_waiting : Timestamp or None
        When the oldest of them was made.
    overdue : int
        Those of them that by the calendar should have been knowable for more than 8 days: none, unless the prices
        themselves have stopped.
    """

    recorded: pd.DataFrame
    waiting: dict[Horizon, int]
    oldest_waiting: pd.Timestamp | None
    overdue: int

    @property
    def counts(self) -> dict[tuple[Horizon, OutcomeStatus], int]:
        """How many revisions are new, by horizon and status."""
        pairs = zip(self.recorded["horizon"], self.recorded["status"], strict=True)
        return Counter((Horizon(horizon), OutcomeStatus(status)) for horizon, status in pairs)


def collect_outcomes(ledger: Ledger, lake: Lake, source: SourceDescription, now: pd.Timestamp) -> Collected:
    """Record everything that has become knowable of the predictions made until now, served and in shadow.

    Parameters
    ----------
    ledger : Ledger
    lake : Lake
    source : SourceDescription
    now : Timestamp (UTC)
        Rows with a later `available_at` do not exist.

    Raises
    ------
    MissingPartitionError
        If a quarter before the present one is not in the lake: what it holds would pass for not having happened.

    Notes
    -----
    Called again it adds nothing. Predictions are looked at until 240 days after they were made, counted at the last
    day that the ledger has finished: what has been missed since is never too old.
    """
    finished = days.last_finished(ledger)
    since = _LONG_AGO if finished is None else finished.tz_localize("UTC") - _OPEN_FOR
    asked = recorded.standing(ledger, since, now)
    as_of_days = days_in_new_york(asked["as_of"])
    found = (*_labels(asked, as_of_days, lake, source, now), _returns(asked, as_of_days, lake, source, now))
    told = [part for part in found if len(part)]
    steps = pd.concat(told, ignore_index=True).sort_values("outcome_date", kind="stable") if told else _NO_STEPS
    added = _recorded(ledger, steps)
    pending = {horizon: _pending(asked, steps, horizon) for horizon in _horizons(source)}
    waiting = asked.loc[np.logical_or.reduce([*pending.values()]), "prediction_date"]
    return Collected(
        recorded=added,
        waiting={horizon: int(which.sum()) for horizon, which in pending.items()},
        oldest_waiting=waiting.min() if len(waiting) else None,
        overdue=sum(
            int((_knowable_by(asked, as_of_days, horizon)[which] < (now - OVERDUE_AFTER).to_datetime64()).sum())
            for horizon, which in pending.items()
        ),
    )


def _recorded(ledger: Ledger, steps: pd.DataFrame) -> pd.DataFrame:
    if steps.empty:
        return recorded.record_frame(ledger, steps)
    revision = steps.groupby(["prediction_id", "horizon"]).cumcount()
    with ledger.transaction() as joined:
        added = [recorded.record_frame(joined, steps[revision == number]) for number in range(int(revision.max()) + 1)]
    return pd.concat(added, ignore_index=True)


def results(earnings: pd.DataFrame) -> pd.DataFrame:
    """Return what became known of each event, step by step.

    Parameters
    ----------
    earnings : DataFrame
        Rows of the table `earnings`.

    Returns
    -------
    DataFrame
        ``event, symbol, announced_on, session, surprise`` (percent), ``label`` and ``available_at``, by event in the
        order in which it became known. Of an event the first row with an actual is the announcement, with a label or,
        where the estimate is 0 or missing, without; a later row that gives a surprise corrects it.

    Notes
    -----
    As for labels and examples: a row without an actual tells no result. It is a date from which the announcement was
    moved, or one whose figures are still missing.
    """
    told = earnings[earnings["eps_actual"].notna()]
    actual, estimate = told["eps_actual"], told["eps_estimate"]
    surprise = surprise_percent(actual, estimate)
    steps = pd.DataFrame(
        {
            "event": event_id(told),
            "symbol": told["symbol"],
            "announced_on": told["announced_on"],
            "session": told["session"],
            "surprise": surprise,
            "label": np.where(np.isnan(surprise), np.nan, is_large_beat(actual, estimate).astype("float64")),
            KNOWABLE: told[KNOWABLE].dt.floor(FINEST),
        }
    ).sort_values(["event", KNOWABLE, "announced_on"], kind="stable", ignore_index=True)
    steps = steps.drop_duplicates(["event", KNOWABLE])
    kept: pd.DataFrame = steps[~steps["event"].duplicated() | steps["surprise"].notna()]
    return kept.reset_index(drop=True)


class _ResultsByEvent:
    """`results`, and where the steps of each event are: to be made once for many days.

    Parameters
    ----------
    earnings : DataFrame
    """

    def __init__(self, earnings: pd.DataFrame) -> None:
        self.steps = results(earnings)
        number, events = pd.factorize(self.steps["event"])  # the steps come by event
        self._events, self._begins = pd.Index(events), np.searchsorted(number, np.arange(len(events) + 1))

    def of(self, events: pd.Series) -> tuple[IntArray, IntArray]:
        """Return the places of all steps of some events: of the event, and of the step."""
        at = self._events.get_indexer(pd.Index(events))
        many = np.where(at >= 0, self._begins[at + 1] - self._begins[at], 0)
        row = np.repeat(np.arange(len(events)), many)
        step = self._begins[at][row] + np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
        return row, step


def first_results(earnings: pd.DataFrame) -> pd.DataFrame:
    """Return the first step of `results` of each event, the announcement itself, by event."""
    return results(earnings).drop_duplicates("event").set_index("event")


def _labels(
    asked: pd.DataFrame, as_of_days: Moments, lake: Lake, source: SourceDescription, now: pd.Timestamp
) -> list[pd.DataFrame]:
    if asked.empty:
        return []
    quarters = quarters_since(lake, source, "earnings", asked["as_of"].min(), now)
    found = lake.derive(_ResultsByEvent, "earnings", quarters, EARNINGS) if quarters else _NO_RESULTS
    row, step = found.of(asked["event"])
    known, ids = found.steps[KNOWABLE].to_numpy("datetime64[ns]")[step], asked["id"].to_numpy()
    no_event_from = _knowable_by(asked, as_of_days, Horizon.LABEL)
    present = now.to_datetime64()
    in_time = (known <= present) & (known <= no_event_from[row])
    none = ~asked["has_label"].to_numpy() & (no_event_from <= present)
    none[row[in_time]] = False
    counts = (known <= present) & (known <= no_event_from[row] + LOOK_BACK.to_timedelta64())
    counts &= ~(known <= asked["observed_at"].to_numpy("datetime64[ns]")[row])
    label, surprise = (found.steps[name].to_numpy()[step[counts]] for name in ("label", "surprise"))
    figures = {"actual_class": label, "earnings_surprise_pct": surprise}
    return [
        steps_of(ids[none], Horizon.LABEL, OutcomeStatus.NO_EVENT, no_event_from[none]),
        steps_of(ids[row[counts]], Horizon.LABEL, OutcomeStatus.OBSERVED, known[counts], **figures),
    ]


def _returns(
    asked: pd.DataFrame, as_of_days: Moments, lake: Lake, source: SourceDescription, now: pd.Timestamp
) -> pd.DataFrame:
    ended = []
    for horizon in (horizon for horizon in _horizons(source) if horizon in RETURN_DAYS):
        first, last = _window(as_of_days, horizon)
        over = np.flatnonzero(~asked[f"has_{horizon}"].to_numpy() & (_closes()[last] <= now.to_datetime64()))
        windows = {name: asked[name].array.take(over) for name in ("id", "symbol")}
        ended.append(pd.DataFrame({**windows, "horizon": horizon, "first": first[over], "last": last[over]}))
    if not sum(len(frame) for frame in ended):
        return _NO_STEPS
    asked = pd.concat(ended, ignore_index=True)
    # False level shifts are told by the sessions before.
    start = sessions()[max(int(asked["first"].min()) - SESSIONS_BEFORE - 1, 0)]
    prices = Prices.load(lake, source, quarters_since(lake, source, "ohlcv", start, now)).since(start)
    return Returns(asked, prices.known(now)).steps()


def _horizons(source: SourceDescription) -> list[Horizon]:
    """Return the horizons of which a source can tell."""
    return [horizon for horizon in Horizon if horizon is Horizon.LABEL or "ohlcv" in source.tables]


def _pending(asked: pd.DataFrame, steps: pd.DataFrame, horizon: Horizon) -> Flags:
    """Say of which predictions nothing is known at a horizon, after some steps."""
    told = steps.loc[steps["horizon"] == horizon, "prediction_id"]
    return ~(asked[f"has_{horizon}"].to_numpy() | np.isin(asked["id"].to_numpy(), told.to_numpy()))


def _knowable_by(asked: pd.DataFrame, as_of_days: Moments, horizon: Horizon) -> Moments:
    """Return the moment (UTC) by which something must be known of each prediction."""
    if horizon is Horizon.LABEL:
        return np.asarray(asked["announced_on"].to_numpy("datetime64[ns]") + NO_EVENT_AFTER.to_timedelta64())
    _, last = _window(as_of_days, horizon)
    return _closes()[last + SURE_SESSIONS]


def _window(as_of_days: Moments, horizon: Horizon) -> tuple[IntArray, IntArray]:
    """Return the first and the last session of windows: that of `as_of`, and the last within its days."""
    return position(as_of_days), position(as_of_days + np.timedelta64(RETURN_DAYS[horizon], "D"))


def _closes() -> Moments:
    return closes().to_numpy("datetime64[ns]")


def quarters_since(
    lake: Lake, source: SourceDescription, table: str, since: pd.Timestamp, now: pd.Timestamp
) -> list[Quarter]:
    """Return the source's quarters from that of a moment to the present one, which the lake may not hold yet."""
    present, held = Quarter.of(now), source.quarters
    near = [quarter for quarter in Quarter.range(Quarter.of(since), present) if quarter in held]
    return [quarter for quarter in near if quarter < present or lake.has(table, quarter)]


_NO_STEPS = steps_of(np.empty(0, np.int64), Horizon.LABEL, OutcomeStatus.OBSERVED, np.empty(0, "datetime64[ns]"))
_NO_RESULTS = _ResultsByEvent(no_rows("earnings"))
