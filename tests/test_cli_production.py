"""The commands by which a person steers production, with PostgreSQL running or not, and a ledger carried elsewhere."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from running import run
from sqlalchemy import make_url
from typer.testing import CliRunner

from earlysignal_assets.cli import app
from earlysignal_assets.instance import ledger_of, prepare
from earlysignal_assets.postgres import server
from earlysignal_assets.workspace import Workspace
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.ledger import decisions, retrain_requests
from earlysignal_core.ledger.alerts import Alert, raise_alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Severity
from earlysignal_core.models.bundle import Bundle, save
from earlysignal_core.quarterly import SOURCE
from earlysignal_core.settings import Settings

HIDDEN = "not-to-be-shown"
TINY = {"EARLYSIGNAL_SYNTHETIC__SYMBOLS": "5", "EARLYSIGNAL_SYNTHETIC__QUARTERS": "4"}
A, B = "v2014.2.0", "v2014.3.0"
Told = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def told(postgres_url: str, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Told:
    """Call a command in this process, as `app` would, on a source (and so a ledger) that no other test has."""
    seed = str(sum(map(ord, request.node.name)))
    url = make_url(postgres_url).set(password=HIDDEN).render_as_string(hide_password=False)
    chosen = {"EARLYSIGNAL_HOME": str(home), "EARLYSIGNAL_DATABASE_URL": url, "EARLYSIGNAL_SYNTHETIC__SEED": seed}
    for name, value in {**TINY, **chosen}.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str | Path) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        refused = result.exception if isinstance(result.exception, EarlySignalError) else None
        assert refused or result.exit_code == 0, result.output
        said = str(refused or result.output)
        assert HIDDEN not in said
        return said

    return call


def fill(workspace: Workspace) -> None:
    workspace.lake.write_bytes(SOURCE, workspace.source.description.model_dump_json().encode())
    for version, quarter in ((A, "2014-Q2"), (B, "2014-Q3")):
        save(workspace.lake, Bundle("trees", {}, {}, {"quarter": quarter, "input_sha256": version}))


def test_a_persons_day(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(Workspace(Settings()))
    assert "none of its own" in told("clock")
    assert "Clock    2014-08-01 00:00 UTC" in told("clock", "2014-08-01")
    assert "cannot go back" in told("clock", "2014-07-31T23:59")
    assert f"{A} is the champion since 2014-08-01 00:00 UTC" in told("promote", A, "--reason", "first")
    told("clock", "2014-08-02T04:00+02:00")
    told("promote", B, "--reason", "better [/b]")
    assert "no finished model v9.9.9" in told("promote", "v9.9.9", "--reason", "x")
    assert f"{A} is the champion since 2014-08-02 02:00" in told("rollback", "--reason", "worse")
    assert "no model has served before" in told("rollback", "--reason", "x")
    assert f"{B} answers for 25 % of the events until 2014-08-09 02:00 UTC" in told(
        "ab-test", "start", B, "--split", "25", "--days", "7", "--reason", "y"
    )
    assert f"A/B test    {B} against {A}: answers 25 % of the events until 2014-08-09 02:00 UTC" in told("status")
    assert f"The test of {B} is stopped; {A} has all answers" in told("ab-test", "stop", "--reason", "z")
    assert f"{B} has 10 % of the answers" in told("ramp", "start", B, "--reason", "y")
    assert f"{B} has 10 % of the answers of {A}" in told("ramp", "watch")
    assert f"The ramp of {B} is stopped at 10 %" in told("ramp", "stop", "--reason", "z")
    assert "the champion has all answers" in told("ab-test", "watch")
    assert "needs a reason" in told("freeze", "--reason", " ")
    assert "Promotions are stopped" in told("freeze", "--reason", "vendor is down")
    assert "vendor is down" in told("freeze", "--reason", "x")
    assert "vendor is down" in told("promote", B, "--reason", "x")
    assert "not `other`" in told("retrain", "--reason", "x", "--universe", "other")
    asked = told("retrain", "--reason", "new data", "--window-months", "24")
    assert "Retrain 1 of synthetic on 24 months is asked for" in asked
    assert "Remedy: wait until it is over" in told("retrain", "--reason", "x")
    with ledger_of(Workspace(Settings())) as ledger:
        day = pd.Timestamp("2014-08-02")
        raise_alert(ledger, Alert("psi", day, day.tz_localize("UTC"), Severity.WARNING, "It drifts", "by much"))
    shown = told("status")
    for fact in (
        "Clock       2014-08-02 02:00 UTC",
        "Last day    none",
        f"Champion    {A} since 2014-08-02 02:00 UTC",
        "Previous    none",
        "Promotions  stopped since 2014-08-02 02:00 UTC by ",
        "Retrain     1 (on demand, emergency) is pending",
        "No retrain  never judged",
        "Alerts      1 not delivered",
        "warning: It drifts",
        "EARLYSIGNAL_ALERT_URLS",
        "better [/b]",
    ):
        assert fact in shown
    assert "Promotions are allowed" in told("unfreeze", "--reason", "vendor is back")
    assert "not stopped" in told("unfreeze", "--reason", "x")

    file = tmp_path / "ledger.zip"
    assert "11 decisions" in told("ledger", "backup", file)
    assert "exists already" in told("ledger", "backup", file)
    assert "is not empty" in told("ledger", "restore", file)
    with ledger_of(Workspace(Settings())) as ledger:
        before = contents(ledger)
    monkeypatch.setenv("EARLYSIGNAL_SYNTHETIC__SEED", "1")  # another ledger
    assert "cannot be read as a backup" in told("ledger", "restore", Path(__file__))
    restored = told("ledger", "restore", file)
    assert "11 decisions" in restored
    assert f"the files of {A} are not in the lake" in restored
    with ledger_of(Workspace(Settings())) as ledger:
        assert contents(ledger) == before
    assert f"Champion    {A}" in told("status")
    told("freeze", "--reason", "life goes on")


def contents(ledger: Ledger) -> list[object]:
    return [decisions.read(ledger).to_dict("list"), retrain_requests.in_flight(ledger)]


def test_other_settings_than_the_last_are_noted(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    Workspace(Settings()).remember()
    assert "Note" not in told("status")
    last = Workspace(Settings()).name
    monkeypatch.setenv("EARLYSIGNAL_SYNTHETIC__BASE_RATE", "0.3")
    assert f"what was run last is in {last}, under others. Remedy" in told("status")


def test_a_clock_that_was_never_set_stops_decisions_and_no_slip_moves_it_away(told: Told) -> None:
    assert "no moment of the source" in told("freeze", "--reason", "x")
    for slip in ("2104-08-01", "0014-08-01", "9999-12-31", "2012-09-30", "2015-07-01"):
        assert "from 2012-10-01 on and before 2015-07-01" in told("clock", slip)
    for illegible in ("", "soon", "now", "01.08.2014", "0001-01-01T00:00+05:00"):
        assert "is no moment. Remedy" in told("clock", illegible)
    assert "none of its own" in told("clock")
    assert "No decisions yet" in told("status")
    assert "Production has not begun" in told("status")
    assert "earlysignal days --from 2014-01-01 --to DAY" in told("status")


def test_the_command_and_the_runs_open_the_same_ledger(told: Told, postgres_url: str, home: Path) -> None:
    workspace = Workspace(Settings())
    told("clock", "2014-08-01")
    told("freeze", "--reason", "by command")
    with Ledger(prepare(home, workspace.name, postgres_url)["EARLYSIGNAL_LEDGER_URL"]) as ledger:
        assert decisions.read(ledger)["cause"].tolist() == ["by command"]


def test_it_works_with_the_embedded_server_running_or_not(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARLYSIGNAL_HOME", str(tmp_path))
    monkeypatch.delenv("EARLYSIGNAL_DATABASE_URL")
    with server(tmp_path):  # as `earlysignal up` holds it
        told("clock", "2014-08-01")
        assert (tmp_path / "postgres" / "postmaster.pid").exists(), "it goes on running"
    refused = run(tmp_path, "clock", "2014-07-01", **TINY)
    assert refused.returncode == 1
    assert refused.stdout.startswith("Error the clock of the ledger stands at 2014-08-01")
    assert not refused.stderr
    assert not (tmp_path / "postgres" / "postmaster.pid").exists(), "what the command started it has stopped"


def test_a_machine_that_fails_ends_a_command_in_a_sentence() -> None:
    command = [sys.executable, "-c", "from earlysignal_assets.cli import main; main()", "demo"]
    environment = {**os.environ, **TINY, "EARLYSIGNAL_HOME": "/proc/nowhere"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this machine cannot go on: [Errno 2] No such file or directory: '/proc/nowhere'" in done.stdout
