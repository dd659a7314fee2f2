"""What the ledger costs: a day's predictions written, a month's read back, small steps, a backup and its restore.

``python benchmarks/ledger.py``. Wall time beside the CPU time of the client and of the server, since neighbours on the
machine count in the first only.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from sqlalchemy import text

from earlysignal_assets.postgres import server
from earlysignal_core.ledger import decisions, outcomes, predictions
from earlysignal_core.ledger.backup import backup, restore
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import DecisionKind, Horizon

NOW = pd.Timestamp("2018-07-03 03:00", tz="UTC")
ROWS, DAYS, FEATURES = 500, 14, 64


def day_of(number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(number)
    values = random.normal(size=(ROWS, FEATURES))
    values[values > 2] = np.nan
    probability = random.random(ROWS)
    moment = NOW + pd.Timedelta(days=number)
    frame = pd.DataFrame(
        {
            "event": [f"C{row:03}:{number}" for row in range(ROWS)],
            "symbol": [f"C{row:03}" for row in range(ROWS)],
            "announced_on": moment.tz_localize(None).normalize() + pd.Timedelta(days=7),
            "as_of": moment,
            "prediction_date": moment,
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
    return frame, pd.DataFrame(values, columns=[f"feature_with_a_name_{column}" for column in range(FEATURES)])


def outcomes_of(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prediction_id": frame["id"],
            "horizon": Horizon.LABEL,
            "status": "observed",
            "outcome_date": NOW + pd.Timedelta(days=30),
            "actual_class": 0,
            "earnings_surprise_pct": 3.0,
            "actual_return_7d": None,
            "actual_return_30d": None,
        }
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url, Ledger(url) as ledger:
        ledger.migrate()
        with ledger.begin() as connection:
            backend = psutil.Process(connection.scalar(text("SELECT pg_backend_pid()")))

        def show(what: str, work: Callable[[int], object], times: int = 1) -> None:
            wall, client, remote = time.perf_counter(), time.process_time(), sum(backend.cpu_times()[:2])
            for number in range(times):
                work(number)
            spent = (
                time.perf_counter() - wall,
                time.process_time() - client,
                sum(backend.cpu_times()[:2]) - remote,
            )
            in_ms = [f"{1000 * seconds / times:7.1f}" for seconds in spent]
            print(f"{what:44} {in_ms[0]} ms wall {in_ms[1]} ms client {in_ms[2]} ms server")

        since, until = NOW - pd.Timedelta(days=1), NOW + pd.Timedelta(days=DAYS)
        days = [day_of(number) for number in range(DAYS)]
        show(
            f"write {ROWS} predictions of {FEATURES} features",
            lambda n: predictions.record_frame(ledger, *days[n]),
            DAYS,
        )
        show("write them again", lambda n: predictions.record_frame(ledger, *days[n]), DAYS)
        show(f"read {ROWS * DAYS} without features", lambda _: predictions.read(ledger, since, until), 3)
        show(f"read {ROWS * DAYS} with features", lambda _: predictions.read(ledger, since, until, features=True), 3)
        a_day = (NOW - pd.Timedelta(hours=1), NOW)
        show(f"read {ROWS} with features", lambda _: predictions.read(ledger, *a_day, features=True), 10)
        found = outcomes_of(predictions.read(ledger, *a_day))
        show(f"write {ROWS} outcomes", lambda _: outcomes.record_frame(ledger, found))
        show("which predictions wait", lambda _: outcomes.waiting(ledger, Horizon.LABEL, until), 3)
        show("read all with outcomes", lambda _: outcomes.read(ledger, since, until, known_at=until), 3)
        nothing = decisions.Decision(DecisionKind.NO_RETRAIN, NOW, "nothing has moved", figures={"psi": 0.1})
        show("write a decision", lambda _: decisions.record(ledger, nothing), 50)
        file = Path(folder) / "ledger.zip"
        show(f"back up {ROWS * DAYS} predictions", lambda _: backup(ledger, file))
        with Ledger(url, "restored") as restored:
            show("restore them", lambda _: restore(restored, file))


if __name__ == "__main__":
    main()
