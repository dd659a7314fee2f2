"""Prediction requests: every call, also the failed ones, with what answered it and how long that took."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd
from sqlalchemy import insert, select

from earlysignal_core.ledger import rows, schema
from earlysignal_core.ledger.connection import Ledger, RememberingLedger
from earlysignal_core.ledger.growing import Growing
from earlysignal_core.ledger.moments import utc
from earlysignal_core.ledger.rows import Incoming
from earlysignal_core.ledger.vocabulary import Arm, Fallback

_table = schema.prediction_requests
_COLUMNS = [column for column in _table.c if column.name != "created_at"]
_WRITTEN = [column.name for column in _COLUMNS if column.name != "id"]
_INCOMING = Incoming(_table, _WRITTEN)
_RECORD = insert(_table).from_select(_WRITTEN, select(*_INCOMING.columns))


@dataclass(frozen=True)
class PredictionRequest:
    """One call for one event.

    Attributes
    ----------
    requested_at : datetime
        On the domain's clock.
    symbol : str
    fallback : Fallback
        What answered.
    latency_ms : float
        Measured, not on the domain's clock.
    announced_on : date or None
    as_of : datetime or None
    event : str or None
        None where the call did not get as far as knowing it.
    model_version : str or None
        The version that answered; None where none did.
    error : str or None
        What went wrong, be it that a fallback answered all the same.
    arm : Arm or None
        Whose it was, where two models shared the answers and one was asked.
    """

    requested_at: datetime
    symbol: str
    fallback: Fallback
    latency_ms: float
    announced_on: date | None = None
    as_of: datetime | None = None
    event: str | None = None
    model_version: str | None = None
    error: str | None = None
    arm: Arm | None = None


def record(ledger: Ledger, requests: Sequence[PredictionRequest]) -> None:
    """Record calls."""
    if requests:
        frame = pd.DataFrame([vars(request) for request in requests], dtype="object")
        with ledger.begin() as connection:
            connection.execute(_RECORD, _INCOMING.values(frame))


def read(ledger: Ledger, since: datetime, until: datetime, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the calls of ``since < requested_at <= until``, in the order in which they were recorded.

    Parameters
    ----------
    ledger : Ledger
    since, until : datetime
    columns : sequence of str, optional
        Only these.

    Returns
    -------
    DataFrame
        `PredictionRequest`'s columns and ``id``.
    """
    if isinstance(ledger, RememberingLedger) and not ledger.is_joined:
        kept: Growing = ledger.memory.lasting.setdefault(_table.name, Growing(_table, _COLUMNS))
        kept.read_on(ledger)
        asked = kept.told["requested_at"]
        inside = (asked > pd.Timestamp(utc(since))) & (asked <= pd.Timestamp(utc(until)))
        return pd.DataFrame(kept.rows(np.flatnonzero(inside), columns), copy=False)
    window = (_table.c.requested_at > utc(since)) & (_table.c.requested_at <= utc(until))
    wanted = _COLUMNS if columns is None else [_table.c[name] for name in columns]
    with ledger.begin() as connection:
        return rows.read(connection, select(*wanted).where(window).order_by(_table.c.id))
