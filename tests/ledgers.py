"""What the ledger's tests share: moments, decisions, predictions, and work in a process that dies on the way."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine, event, text

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.decisions import Decision
from earlysignal_core.ledger.predictions import Prediction
from earlysignal_core.ledger.schema import metadata
from earlysignal_core.ledger.vocabulary import DecisionKind

NOW = pd.Timestamp("2018-07-03 03:00", tz="UTC")
DAY = pd.Timestamp("2018-07-03")


def later(days: float = 1.0) -> pd.Timestamp:
    return NOW + pd.Timedelta(days=days)


def decision(kind: DecisionKind, at: pd.Timestamp = NOW, **changes: Any) -> Decision:
    content = {"cause": "a test", "rule": "a rule", "figures": {"auc": 0.8}, "raw": kind, "effective": kind}
    return Decision(kind, at, **content | changes)


def prediction(number: int = 0, **changes: Any) -> Prediction:
    content = {
        "event": f"C{number:03}:2018-Q2",
        "symbol": f"C{number:03}",
        "announced_on": DAY + pd.Timedelta(days=7),
        "as_of": NOW - pd.Timedelta(hours=7),
        "prediction_date": NOW,
        "model_version": "v2018.3.0",
        "predicted_probability": 0.25,
        "predicted_class": 0,
        "features": {"price_change_5d": 0.01 * number, "earnings_surprise": float("nan")},
        "served": True,
        "threshold": 0.3,
        "model_sha256": "m" * 64,
        "dataset_sha256": "d" * 64,
    }
    return Prediction(**content | changes)


def frames(count: int, features: int = 64, *, name: str = "Q2") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of one day in bulk, with some features missing."""
    random = np.random.default_rng(count)
    values = random.normal(size=(count, features))
    values[values > 2] = np.nan
    probability = random.random(count)
    symbols = [f"C{i:04}" for i in range(count)]
    frame = pd.DataFrame(
        {
            "event": [f"{symbol}:{name}" for symbol in symbols],
            "symbol": symbols,
            "announced_on": DAY + pd.Timedelta(days=7),
            "as_of": NOW - pd.Timedelta(hours=7),
            "prediction_date": NOW,
            "model_version": "v2018.3.0",
            "model_sha256": "m" * 64,
            "dataset_sha256": "d" * 64,
            "arm": None,
            "served": True,
            "predicted_probability": probability,
            "predicted_class": (probability >= 0.3).astype("int64"),
            "threshold": 0.3,
            "confidence_level": "LOW",
        }
    )
    return frame, pd.DataFrame(values, columns=[f"feature_{i:02}" for i in range(features)])


def execute(ledger: Ledger, statement: str, **values: Any) -> list[Any]:
    """Run SQL behind the ledger's back."""
    with ledger.begin() as connection:
        result = connection.execute(text(statement), values)
        return list(result.all()) if result.returns_rows else []


def empty(ledger: Ledger) -> None:
    """Delete everything, which only a superuser can, and count ids from 1 again."""
    names = [table.name for table in metadata.sorted_tables]
    restarts = [f"setval('{table.name}_id_seq', 1, false)" for table in metadata.sorted_tables if "id" in table.columns]
    statements = [
        "SET LOCAL session_replication_role = replica",  # no triggers, no foreign keys
        *(f"DELETE FROM {name}" for name in names),  # noqa: S608 - the ledger's own words
        f"SELECT {', '.join(restarts)}",
    ]
    with ledger.begin() as connection:
        connection.exec_driver_sql("; ".join(statements))  # in one go, as hundreds of tests begin with it


def count(ledger: Ledger, table: str) -> int:
    return int(execute(ledger, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - a test's own word


def die_after(url: str, ledger: Ledger, statement: str, work: Callable[[Ledger], object]) -> None:
    """Do `work` in a process that is killed right after it has executed a statement that begins like that."""

    def die(connection: object, cursor: object, executed: str, *_: object) -> None:
        if executed.lstrip().startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    def child() -> None:
        event.listen(Engine, "after_cursor_execute", die)
        work(Ledger(url, ledger.schema))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def at_once(*work: Callable[[], object]) -> list[object]:
    """Do several things at the same time, each in a thread, and return what each gave or raised."""
    barrier = threading.Barrier(len(work))

    def one(function: Callable[[], object]) -> object:
        barrier.wait(10)
        try:
            return function()
        except EarlySignalError as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))
