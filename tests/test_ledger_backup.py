"""A backup holds the whole ledger as it was at one moment, and comes back whole or not at all."""

import multiprocessing
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from alembic.config import Config
from ledgers import DAY, NOW, count, decision, execute, frames, later, prediction

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger import (
    alerts,
    days,
    decisions,
    deployments,
    migrations,
    outcomes,
    prediction_requests,
    predictions,
    retrain_requests,
)
from earlysignal_core.ledger import (
    backup as module,
)
from earlysignal_core.ledger.backup import BackupError, backup, restore
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.schema import metadata
from earlysignal_core.ledger.vocabulary import DecisionKind, Fallback, Horizon, OutcomeStatus, Severity, Urgency


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A ledger with something of everything."""
    predictions.record_frame(ledger, *frames(60))
    predictions.record(ledger, [prediction(1, predicted_class=None, predicted_probability=None, features={})])
    found = [outcomes.Outcome(n, Horizon.LABEL, OutcomeStatus.OBSERVED, later(8), actual_class=1) for n in (1, 2)]
    outcomes.record(ledger, found)
    nothing = 'said "no",\nwith \\ and \t and ✓'
    prediction_requests.record(
        ledger,
        [
            prediction_requests.PredictionRequest(NOW, "C0", Fallback.NO_ANSWER, 1 / 3, error=nothing),
            prediction_requests.PredictionRequest(NOW, "C0", Fallback.NO_ANSWER, 0.1, error=""),
        ],
    )
    for version, over in (("v1", None), ("v2", "v1"), ("v3", "v2")):
        deployments.promote(ledger, version, decision(DecisionKind.PROMOTION), over=over)
    deployments.roll_back(ledger, decision(DecisionKind.ROLL_BACK), of="v3")
    retrain_requests.request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN, figures={"psi": float("nan")}),
        day=DAY,
        cause="psi",
        urgency=Urgency.EMERGENCY,
        universe="sp500",
        window_months=None,
    )
    alerts.raise_alert(ledger, alerts.Alert("psi", DAY, NOW, Severity.INFO, "t", "b"))
    days.move_clock(ledger, NOW)
    for offset in range(3):
        days.finish_day(ledger, DAY + pd.Timedelta(days=offset), later(offset))
    execute(
        ledger,
        "INSERT INTO ml_ab_tests (test_name, champion_version, challenger_version, traffic_split, start_date, status,"
        " champion_metrics, decided_by, assigned_until, judged_by)"
        " VALUES ('t', 'v1', 'v2', 50, now(), 'running', '{\"auc\": 0.8}', 1, now(), 'auc')",
    )
    return ledger


def contents(ledger: Ledger) -> dict[str, list[tuple]]:
    with ledger.begin() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select().order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("prepared", [False, True])
def test_what_is_restored_is_what_was_backed_up(
    filled: Ledger, new_ledger: Ledger, tmp_path: Path, prepared: bool
) -> None:
    written = backup(filled, tmp_path / "ledger.zip")
    assert all(written.values()), "the test fills every table"
    assert list(tmp_path.iterdir()) == [tmp_path / "ledger.zip"]
    if prepared:
        new_ledger.migrate()
    assert restore(new_ledger, tmp_path / "ledger.zip") == written
    assert contents(new_ledger) == contents(filled)


def test_a_restored_ledger_goes_on_where_it_stopped(filled: Ledger, new_ledger: Ledger, tmp_path: Path) -> None:
    backup(filled, tmp_path / "ledger.zip")
    restore(new_ledger, tmp_path / "ledger.zip")
    new_ledger.migrate()
    assert predictions.record_frame(new_ledger, *frames(60)) == 0
    assert predictions.record_frame(new_ledger, *frames(5, name="new")) == 5
    last = int(decisions.read(filled)["id"].max())
    assert decisions.record(new_ledger, decision(DecisionKind.REFUSAL)) == last + 1
    assert deployments.promote(new_ledger, "v4", decision(DecisionKind.PROMOTION), over="v2").version == "v4"
    with pytest.raises(EarlySignalError, match="keeps what is recorded"):
        execute(new_ledger, "DELETE FROM ml_predictions")


def test_a_ledger_that_holds_anything_is_not_restored_into(filled: Ledger, new_ledger: Ledger, tmp_path: Path) -> None:
    backup(filled, tmp_path / "ledger.zip")
    new_ledger.migrate()
    days.move_clock(new_ledger, later(5))
    with pytest.raises(BackupError, match=r"not empty: table `clock` has rows.*Remedy"):
        restore(new_ledger, tmp_path / "ledger.zip")
    assert count(new_ledger, "ml_predictions") == 0
    assert days.clock(new_ledger) == later(5)


def test_a_backup_is_never_overwritten(filled: Ledger, tmp_path: Path) -> None:
    (tmp_path / "ledger.zip").write_text("precious")
    with pytest.raises(BackupError, match="not overwritten"):
        backup(filled, tmp_path / "ledger.zip")
    with pytest.raises(BackupError, match="cannot write"):
        backup(filled, tmp_path / "nowhere" / "ledger.zip")
    with pytest.raises(BackupError, match="cannot write"):
        backup(filled, tmp_path / "ledger.zip" / "below-a-file.zip")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.getinfo("ml_predictions.csv").header_offset + 300] ^= 255
    path.write_bytes(content)


def rewrite(path: Path, member: str, change: Callable[[str], str]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    files[member] = change(files[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (cut, "cannot be read as a backup"),
        (spoil, "cannot be read as a backup"),
        (Path.unlink, "cannot be read as a backup"),
        (lambda path: path.write_text("no archive"), "cannot be read as a backup"),
        (lambda path: rewrite(path, "ledger.json", lambda _: "{}"), "is no backup of a ledger"),
        (lambda path: rewrite(path, "ledger.json", lambda _: "null"), "is no backup of a ledger"),
        (
            lambda path: rewrite(path, "ledger.json", lambda text: text.replace('"alerts"', '"alarms"')),
            "lacks alarms.csv",
        ),
        (
            lambda path: rewrite(path, "ledger.json", lambda text: text.replace('"0002"', '"0815"')),
            "revision 0815.*newer",
        ),
        (lambda path: rewrite(path, "alerts.csv", lambda text: text.split("\n")[0] + "\n"), "has 0 rows where 1"),
        (lambda path: rewrite(path, "alerts.csv", lambda text: text.replace("info", "loud")), "severity_is_known"),
        (lambda path: rewrite(path, "decisions.csv", lambda text: text.split("\n")[0] + "\n"), "decisions"),
    ],
)
def test_a_damaged_or_foreign_backup_changes_nothing(
    filled: Ledger, new_ledger: Ledger, tmp_path: Path, damage: Callable[[Path], object], complaint: str
) -> None:
    path = tmp_path / "ledger.zip"
    backup(filled, path)
    damage(path)
    with pytest.raises(EarlySignalError, match=complaint):
        restore(new_ledger, path)
    assert execute(new_ledger, "SELECT to_regnamespace(:schema)", schema=new_ledger.schema) == [(None,)]


def test_a_restore_that_is_killed_leaves_the_ledger_empty(
    filled: Ledger, new_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(filled, tmp_path / "ledger.zip")
    new_ledger.migrate()
    copied = []

    def copy_and_die(*arguments: object) -> int:
        copied.append(copy(*arguments))
        if len(copied) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return copied[-1]

    copy = module._copy
    monkeypatch.setattr(module, "_copy", copy_and_die)
    other = Ledger(new_ledger._engine.url.render_as_string(hide_password=False), new_ledger.schema)
    process = multiprocessing.get_context("fork").Process(target=restore, args=(other, tmp_path / "ledger.zip"))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.undo()
    assert not any(contents(new_ledger).values())
    restore(new_ledger, tmp_path / "ledger.zip")
    assert contents(new_ledger) == contents(filled)


def test_a_backup_is_of_one_moment_and_holds_nobody_up(
    filled: Ledger, new_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions that come in while the tables are copied one by one are left out, though their table comes later."""
    copy = module._copy

    def write_meanwhile(connection: object, table: str, *rest: object) -> int:
        if table == "ml_predictions":
            writer = threading.Thread(target=lambda: predictions.record_frame(filled, *frames(7, name="late")))
            writer.start()
            writer.join(10)
            assert not writer.is_alive()
        return copy(connection, table, *rest)

    monkeypatch.setattr(module, "_copy", write_meanwhile)
    written = backup(filled, tmp_path / "ledger.zip")
    assert written["ml_predictions"] == count(filled, "ml_predictions") - 7
    monkeypatch.undo()
    restore(new_ledger, tmp_path / "ledger.zip")
    assert count(new_ledger, "ml_predictions") == written["ml_predictions"]


NEXT_REVISION = """
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.execute("ALTER TABLE alerts ADD COLUMN channel text DEFAULT 'mail'")
def downgrade():
    op.execute("ALTER TABLE alerts DROP COLUMN channel")
"""


@pytest.mark.parametrize("prepared", [False, True])
def test_a_backup_of_an_older_revision_is_upgraded(
    filled: Ledger, new_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: bool
) -> None:
    written = backup(filled, tmp_path / "ledger.zip")
    (tmp_path / "r0003.py").write_text(NEXT_REVISION)
    configuration = migrations._configuration

    def with_the_next(*arguments: object) -> Config:
        changed = configuration(*arguments)
        changed.set_main_option("path_separator", "newline")
        changed.set_main_option("version_locations", f"earlysignal_core.ledger.migrations:versions\n{tmp_path}")
        return changed

    monkeypatch.setattr(migrations, "_configuration", with_the_next)
    assert migrations.head() == "0003"
    if prepared:
        new_ledger.migrate()
    assert restore(new_ledger, tmp_path / "ledger.zip") == written
    assert execute(new_ledger, "SELECT version_num, channel FROM alembic_version, alerts") == [("0003", "mail")]
    assert contents(new_ledger) == contents(filled)


def test_an_unprepared_ledger_is_not_backed_up(new_ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="revision None"):
        backup(new_ledger, tmp_path / "ledger.zip")
    assert list(tmp_path.iterdir()) == []


def test_years_are_backed_up_and_restored_in_seconds(ledger: Ledger, new_ledger: Ledger, tmp_path: Path) -> None:
    for number in range(6):
        predictions.record_frame(ledger, *frames(500, name=f"Q{number}"))
    began = time.perf_counter()
    backup(ledger, tmp_path / "ledger.zip")
    restore(new_ledger, tmp_path / "ledger.zip")
    assert time.perf_counter() - began < 5
    assert count(new_ledger, "ml_predictions") == 3000
