"""Predictions: what each model said of each event, with all that it looked at. Never changed, never deleted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Text, cast, select
from sqlalchemy.dialects.postgresql import insert

from earlysignal_core.ledger import rows, schema
from earlysignal_core.ledger.connection import Ledger, RememberingLedger
from earlysignal_core.ledger.encoding import rows_from_json, rows_to_json
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.growing import Growing
from earlysignal_core.ledger.moments import utc
from earlysignal_core.ledger.rows import Incoming
from earlysignal_core.ledger.vocabulary import Arm, Confidence

RULE = "rule"  # the version of an answer that a rule has given in place of a model
NO_MODEL = "none"  # the version of a prediction without an answer, when every fallback failed

_table = schema.ml_predictions
_FEATURES = "features"
_COLUMNS = [column for column in _table.c if column.name not in {"created_at", _FEATURES}]
_AS_TEXT = cast(_table.c.features, Text).label(_FEATURES)
_WRITTEN = [*(column.name for column in _COLUMNS if column.name != "id"), _FEATURES]
_INCOMING = Incoming(_table, _WRITTEN)
# Everybody inserts in one order: of two who record the same ones at once, each would else wait for the other.
_ORDERED = select(*_INCOMING.columns).order_by(
    *(_INCOMING.rows.c[name] for name in ("event", "model_version", "as_of"))
)
_RECORD = insert(_table).from_select(_WRITTEN, _ORDERED).on_conflict_do_nothing(constraint="one_prediction")


@dataclass(frozen=True)
class Prediction:
    """What one model says of one event.

    Attributes
    ----------
    event : str
        Like ``AAPL:14-Mar``.
    symbol : str
    announced_on : date
        The announcement's day as it was expected.
    as_of : datetime
        The moment whose knowledge it rests on.
    prediction_date : datetime
        The moment on the domain's clock at which it was made.
    model_version : str
        The version that answered, `RULE`, or `NO_MODEL`.
    predicted_probability : float or None
        None when every fallback failed.
    predicted_class : int or None
        1 where the probability reaches the threshold, else 0; None with the probability.
    features : mapping of str to float
        All that the model looked at; NaN where it was not known.
    served : bool
        Whether it was the answer; False in shadow.
    threshold : float or None
        The bundle's; the database compares it with the class.
    arm : Arm or None
        Of a running A/B test.
    model_sha256, dataset_sha256 : str or None
        Of the bundle and of what it was trained on.
    confidence_level : Confidence or None
    """

    event: str
    symbol: str
    announced_on: date
    as_of: datetime
    prediction_date: datetime
    model_version: str
    predicted_probability: float | None
    predicted_class: int | None
    features: Mapping[str, float]
    served: bool
    threshold: float | None = None
    arm: Arm | None = None
    model_sha256: str | None = None
    dataset_sha256: str | None = None
    confidence_level: Confidence | None = None


def record(ledger: Ledger, predictions: Iterable[Prediction]) -> int:
    """Record predictions, and return how many of them are new."""
    contents = [asdict(prediction) for prediction in predictions]
    features = pd.DataFrame([content.pop(_FEATURES) for content in contents], dtype="float64")
    return record_frame(ledger, pd.DataFrame(contents, dtype="object"), features) if contents else 0


def record_frame(ledger: Ledger, frame: pd.DataFrame, features: pd.DataFrame) -> int:
    """Record predictions in one statement; what is recorded already stays as it is.

    Parameters
    ----------
    ledger : Ledger
    frame : DataFrame, n rows
        `Prediction`'s columns but `features`, all of them; further ones are ignored.
    features : DataFrame, n rows
        One float64 column a feature, in the order of `frame`.

    Returns
    -------
    int
        How many are new: there is one prediction of a model version for an event and `as_of`.

    Raises
    ------
    LedgerError
        If the frame lacks a column, or a row is no prediction; then none is recorded.
    """
    if len(frame) != len(features):
        raise LedgerError(f"{len(frame)} predictions come with the features of {len(features)}.")
    if frame.empty:
        return 0
    contents = rows_to_json([str(name) for name in features.columns], features.to_numpy(dtype="float64"))
    with ledger.begin() as connection:
        return connection.execute(_RECORD, _INCOMING.values(frame.assign(**{_FEATURES: contents}))).rowcount


def read(
    ledger: Ledger,
    since: datetime,
    until: datetime,
    *,
    versions: Sequence[str] | None = None,
    served: bool | None = None,
    features: bool = False,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the predictions of ``since < prediction_date <= until``, in the order in which they were recorded.

    Parameters
    ----------
    ledger : Ledger
    since, until : datetime
    versions : sequence of str, optional
        Only those of these models.
    served : bool, optional
        Only the answers (True), or only what was said in shadow (False).
    features : bool
        Add a float64 column for each feature, bit for bit as it was recorded.
    columns : sequence of str, optional
        Only these of the other columns.

    Returns
    -------
    DataFrame
        ``id`` and `Prediction`'s columns.
    """
    if isinstance(ledger, RememberingLedger) and not ledger.is_joined:
        kept = Kept.of(ledger)
        return kept.frame(kept.places(since, until, versions=versions, served=served), columns, features=features)
    window = (_table.c.prediction_date > utc(since)) & (_table.c.prediction_date <= utc(until))
    statement = select(*_COLUMNS if columns is None else [_table.c[name] for name in columns])
    statement = statement.where(window).order_by(_table.c.id)
    if versions is not None:
        statement = statement.where(_table.c.model_version.in_(versions))
    if served is not None:
        statement = statement.where(_table.c.served == served)
    if features:
        statement = statement.add_columns(_AS_TEXT)
    with ledger.begin() as connection:
        frame = rows.read(connection, statement)
    if not features:
        return frame
    names, values = rows_from_json(frame.pop(_FEATURES).tolist())
    return pd.concat([frame, pd.DataFrame(values, columns=names, index=frame.index)], axis=1)


class Kept(Growing):
    """All predictions that have been read, and their features."""

    def __init__(self) -> None:
        super().__init__(_table, [*_COLUMNS, _AS_TEXT])
        self._names: list[str] = []
        self._features = np.empty((0, 0))  # with room for more rows than there are

    @classmethod
    def of(cls, ledger: RememberingLedger) -> "Kept":
        """Return what a ledger holds, read on."""
        kept: Kept = ledger.memory.lasting.setdefault(_table.name, cls())
        kept.read_on(ledger)
        return kept

    def _taken(self, new: pd.DataFrame) -> pd.DataFrame:
        names, values = rows_from_json(new.pop(_FEATURES).tolist())
        held, end = len(self), len(self) + len(new)
        wanted = sorted({*self._names, *names})
        if wanted != self._names or end > len(self._features):
            room = np.full((max(2 * end, 1024), len(wanted)), np.nan)
            room[:held, [wanted.index(name) for name in self._names]] = self._features[:held]
            self._names, self._features = wanted, room
        self._features[held:end] = np.nan
        self._features[held:end, [wanted.index(name) for name in names]] = values
        return new

    def places(
        self, since: datetime, until: datetime, *, versions: Sequence[str] | None = None, served: bool | None = None
    ) -> npt.NDArray[np.int64]:
        """Return where some of them are, as `read` chooses them."""
        made = self.told["prediction_date"]
        chosen = (made > pd.Timestamp(utc(since))) & (made <= pd.Timestamp(utc(until)))
        if versions is not None:
            chosen &= np.isin(self.told["model_version"], versions)
        if served is not None:
            chosen &= np.asarray(self.told["served"]) == served
        return np.flatnonzero(chosen)

    def frame(self, places: npt.NDArray[np.int64], columns: Sequence[str] | None, *, features: bool) -> pd.DataFrame:
        """Return some of them, as `read` does."""
        told = pd.DataFrame(self.rows(places, columns), copy=False)
        if not features:
            return told
        return pd.concat([told, pd.DataFrame(self._features[places], columns=self._names)], axis=1)
