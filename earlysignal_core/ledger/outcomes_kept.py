"""What `outcomes.standing` and `outcomes.read` tell, from memory: for a ledger that remembers."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.ledger import predictions, schema
from earlysignal_core.ledger.connection import RememberingLedger
from earlysignal_core.ledger.growing import Growing
from earlysignal_core.ledger.moments import utc
from earlysignal_core.ledger.vocabulary import Horizon, OutcomeStatus

FIGURES = ("actual_class", "actual_return_7d", "actual_return_30d", "earnings_surprise_pct")
STANDING = ("id", "event", "symbol", "announced_on", "as_of", "prediction_date")

_table = schema.ml_outcomes
_LEFT_OUT = {"created_at", "symbol", "prediction_date"}
_OF_A_REVISION = ("horizon", "revision", "status", "outcome_date", "correct_prediction")
_HORIZONS, _STATUSES = [str(horizon) for horizon in Horizon], [str(status) for status in OutcomeStatus]
_LABEL, _NO_EVENT = _HORIZONS.index(Horizon.LABEL), _STATUSES.index(OutcomeStatus.NO_EVENT)
_DELISTED = _STATUSES.index(OutcomeStatus.DELISTED)
_WORDS = pd.array([*_STATUSES, None], dtype="str")  # of those whose status is not known the last
Places = npt.NDArray[np.int64]


class Kept(Growing):
    """All revisions that have been read."""

    def __init__(self) -> None:
        super().__init__(_table, [column for column in _table.c if column.name not in _LEFT_OUT])

    @classmethod
    def of(cls, ledger: RememberingLedger) -> "Kept":
        """Return what a ledger holds, read on."""
        kept: Kept = ledger.memory.lasting.setdefault(_table.name, cls())
        kept.read_on(ledger)
        return kept

    def _taken(self, new: pd.DataFrame) -> pd.DataFrame:
        # As NumPy holds them: what is counted from here on are plain arrays, of words their numbers.
        return new.assign(
            outcome_date=new["outcome_date"].dt.tz_localize(None),
            correct_prediction=new["correct_prediction"].to_numpy("float64", na_value=np.nan),
            horizon=pd.Categorical(new["horizon"], categories=_HORIZONS).codes,
            status=pd.Categorical(new["status"], categories=_STATUSES).codes,
        )

    def of_predictions(self, ids: Places, names: Iterable[str]) -> dict[str, Any]:
        """Return the revisions of some predictions (their ids in order), and ``row``, the place of each among them."""
        of = np.asarray(self.told["prediction_id"])
        row = np.searchsorted(ids, of)
        found = np.flatnonzero(ids.take(row, mode="clip") == of) if len(ids) else np.empty(0, np.int64)
        return {name: np.asarray(self.told[name])[found] for name in names} | {"row": row[found]}


def standing(ledger: RememberingLedger, since: datetime, until: datetime) -> pd.DataFrame:
    """Return what `outcomes.standing` does."""
    said = predictions.Kept.of(ledger)
    asked = said.rows(said.places(since, until), STANDING)
    n, names = len(asked["id"]), ("horizon", "status", "outcome_date")
    told = Kept.of(ledger).of_predictions(np.asarray(asked["id"]), names)
    flags = {f"has_{word}": _any(told["row"], told["horizon"] == code, n) for code, word in enumerate(_HORIZONS)}
    with_event = (told["horizon"] == _LABEL) & (told["status"] != _NO_EVENT)
    observed = _greatest(told["row"][with_event], told["outcome_date"][with_event], n)
    asked |= {**flags, "observed_at": pd.DatetimeIndex(observed, tz="UTC").array}
    return pd.DataFrame(asked, copy=False)


def read(
    ledger: RememberingLedger,
    since: datetime,
    until: datetime,
    *,
    known_at: datetime,
    as_announced: bool,
    ids: Sequence[int] | None,
    columns: Sequence[str] | None,
) -> pd.DataFrame:
    """Return what `outcomes.read` does."""
    said = predictions.Kept.of(ledger)
    places = said.places(since, until)
    if ids is not None:
        places = places[np.isin(np.asarray(said.told["id"])[places], np.asarray(ids, dtype=np.int64))]
    asked = said.rows(places, columns)
    n, names = len(places), (*_OF_A_REVISION, *FIGURES)
    told = Kept.of(ledger).of_predictions(np.asarray(said.told["id"])[places], names)
    known = np.flatnonzero(told["outcome_date"] <= pd.Timestamp(utc(known_at)).to_datetime64())
    told = {name: values[known] for name, values in told.items()}
    chosen = _one_a_horizon(told, as_announced=as_announced)
    told = {name: values[chosen] for name, values in told.items()}
    of_label = told["horizon"] == _LABEL
    status = np.full(n, len(_STATUSES))
    status[told["row"][of_label]] = told["status"][of_label]
    of_prices = np.flatnonzero(~of_label)
    gone = told["status"][of_prices] == _DELISTED
    asked |= {
        "status": _WORDS.take(status),
        # A figure belongs to one horizon: of the others it is missing.
        **{name: _only(told["row"], told[name], n) for name in FIGURES},
        "correct_prediction": _boolean(_only(told["row"], told["correct_prediction"], n)),
        "delisted": _boolean(np.where(_any(told["row"], ~of_label, n), _any(told["row"][of_prices], gone, n), np.nan)),
    }
    return pd.DataFrame(asked, copy=False)


def _one_a_horizon(told: dict[str, Any], *, as_announced: bool) -> Places:
    """Return which revision of each prediction and horizon counts: the first that has a class, or the newest."""
    revision = np.asarray(told["revision"], dtype=np.int64)
    order: list[Any] = [revision if as_announced else -revision]
    if as_announced:
        no_class = np.isnan(np.asarray(told["actual_class"], dtype="float64"))
        order += [no_class, told["status"] == _NO_EVENT]
    by = np.lexsort([*order, told["horizon"], told["row"]])
    row, of = told["row"][by], told["horizon"][by]
    is_first = np.ones(len(by), dtype=bool)
    is_first[1:] = (row[1:] != row[:-1]) | (of[1:] != of[:-1])
    chosen: Places = by[is_first]
    return chosen


def _any(row: Places, hit: npt.NDArray[np.bool_], rows: int) -> npt.NDArray[np.bool_]:
    found = np.zeros(rows, dtype=bool)
    found[row[hit]] = True
    return found


def _greatest(row: Places, moments: npt.NDArray[np.datetime64], rows: int) -> npt.NDArray[np.datetime64]:
    found = np.full(rows, np.datetime64("NaT"), dtype="datetime64[ns]")
    order = np.argsort(moments, kind="stable")
    found[row[order]] = moments[order]  # of those of one row the last stays
    return found


def _only(row: Places, values: Any, rows: int) -> npt.NDArray[np.float64]:
    found, numbers = np.full(rows, np.nan), np.asarray(values, dtype="float64")
    known = np.flatnonzero(~np.isnan(numbers))
    found[row[known]] = numbers[known]
    return found


def _boolean(values: npt.NDArray[np.float64]) -> Any:
    missing = np.isnan(values)
    return pd.arrays.BooleanArray(np.where(missing, False, values == 1), missing)
