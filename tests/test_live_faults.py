"""Whatever dies while production runs: it is noticed, made up for in order, and the ledger shows no trace of it."""

import csv
import io
import json
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import run, workspace
from system import Run, System, starting, stop, wait_for
from test_alerts import Webhook, serving

WORLD = {
    "EARLYSIGNAL_SYNTHETIC__FIRST": "2014-Q3",
    "EARLYSIGNAL_SYNTHETIC__QUARTERS": "6",
    "EARLYSIGNAL_SYNTHETIC__SYMBOLS": "80",
    "EARLYSIGNAL_SYNTHETIC__BASE_RATE": "0.3",
}
FIRST, WEEK = "2015-10-14", [f"2015-10-{day}" for day in range(15, 22)]
OLD, NEW = "v2015.3.0", "v2015.1014.0"
# What tells of the machine and not of the domain: who and when, how long it took, how often it was tried.
OF_THE_MACHINE = {
    "id", "prediction_id", "created_at", "decided_by", "ended_by", "predecessor", "run_id", "attempts", "error",
    "started_at", "sent_at", "latency_ms", "cause",
}  # fmt: skip


def do(home: Path, *arguments: str | Path) -> None:
    done = run(home, *arguments, **WORLD)
    assert done.returncode == 0, done.stdout + done.stderr


def ledger_of(home: Path, file: Path) -> dict[str, list[tuple[tuple[str, str], ...]]]:
    """What the ledger says of the domain, by table, in an order of its own."""
    do(home, "ledger", "backup", file)
    with zipfile.ZipFile(file) as archive:
        tables = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".csv")}
    found = {}
    for name, content in tables.items():
        rows = csv.DictReader(io.StringIO(content))
        kept = (tuple((key, value) for key, value in row.items() if key not in OF_THE_MACHINE) for row in rows)
        found[name.removesuffix(".csv")] = sorted(kept)
    return found


def only(runs: list[Run], **tags: str) -> list[Run]:
    return [run for run in runs if all(run.tags.get(f"earlysignal/{key}") == value for key, value in tags.items())]


def status_of(system: System, job: str, run: str) -> str:
    (found,) = [each.status for each in system.runs_of(job) if each.id == run]
    return found


def move_clock(system: System, to: str) -> None:
    system.launch_job("manual_clock", {"ops": {"set_clock": {"config": {"to": to}}}})


def kill(system: System, run: Run, took: dict[str, float], what: str) -> None:
    """Kill a run's worker, and note when."""
    (worker,) = system.workers_of(run.id)
    worker.kill()
    took[what] = -time.time()


def wait_for_run(system: System, job: str, **tags: str) -> Run:
    """Wait until the run is at work in a process of its own."""
    found: list[Run] = []

    def at_work() -> bool:
        found[:] = only(system.runs_of(job), **tags)
        return bool(found) and found[-1].status != "QUEUED" and bool(system.workers_of(found[-1].id))

    wait_for(at_work, seconds=240)
    return found[-1]


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    server = Webhook()
    with serving(server):
        yield server


def titles(webhook: Webhook) -> set[str]:
    return {json.loads(body)["title"] for *_, body in webhook.received}


@pytest.mark.long
def test_nothing_is_lost_and_nothing_doubled_whatever_dies(tmp_path: Path, webhook: Webhook) -> None:
    home, undisturbed = tmp_path / "home", tmp_path / "undisturbed"
    do(home, "train", "--quarter", "2015-Q3")
    do(home, "clock", FIRST)
    do(home, "promote", OLD, "--reason", "the first one")
    do(home, "days", "--from", FIRST, "--to", FIRST)
    subprocess.run(["cp", "-a", home, undisturbed], check=True)
    settings = WORLD | {"EARLYSIGNAL_ALERT_URLS": f"json://127.0.0.1:{webhook.server_address[1]}/"}
    took: dict[str, float] = {}
    with starting(home, settings=settings) as system:
        wait_for(system.healthy)

        # A retrain's worker dies, and the web server with it.
        ask = {"ops": {"ask_for_retrain": {"config": {"reason": "a test"}}}}
        system.launch_job("manual_retrain", ask)
        first = wait_for_run(system, "retrain", attempt="1")
        kill(system, first, took, "retrain")
        system.programs()["dagster_webserver"].kill()
        wait_for(system.answers)
        again = wait_for_run(system, "retrain", attempt="2")
        took["retrain"] += time.time()
        # The tick that started it, replayed: the run that comes second finds that the attempt is taken.
        tags = {key: value for key, value in again.tags.items() if not key.startswith(".")}
        replayed = system.launch_job("retrain", {}, tags)
        wait_for(lambda: status_of(system, "retrain", again.id) == "SUCCESS", seconds=120)
        wait_for(lambda: status_of(system, "retrain", replayed) == "FAILURE")
        promote = {"ops": {"promote": {"config": {"version": NEW, "reason": "a test"}}}}
        by_hand = system.launch_job("manual_promotion", promote)
        wait_for(lambda: status_of(system, "manual_promotion", by_hand) == "SUCCESS")

        # A week without a tick, which is then lived day by day, while something dies on most of them.
        move_clock(system, "2015-10-21T07:00")
        wait_for_run(system, "day", day=WEEK[0])
        system.programs()["dagster._daemon"].kill()

        killed = wait_for_run(system, "day", day=WEEK[1])
        wait_for(lambda: "outcomes" in system.done(killed.id))
        kill(system, killed, took, "day")
        wait_for_run(system, "day", day=WEEK[1], attempt="2")
        took["day"] += time.time()

        wait_for_run(system, "day", day=WEEK[3])
        system.everything()[1].kill()  # PostgreSQL
        wait_for(lambda: "PostgreSQL ended by itself" in system.said())
        wait_for(system.answers)

        wait_for(lambda: [run.status for run in only(system.runs_of("day"), day=WEEK[-1])][-1:] == ["SUCCESS"], 500)
        lived = [run.tags["earlysignal/day"] for run in system.runs_of("day") if run.status == "SUCCESS"]
        assert lived == [FIRST, *WEEK]
        wait_for(lambda: {"Run failed: retrain 2015-10-14", f"Run failed: day {WEEK[1]}"} <= titles(webhook))
        assert max(took.values()) < 90, took  # 33 s on a machine with five times the work that it can do

        # The same days in peace.
        do(undisturbed, "retrain", "--reason", "a test")
        do(undisturbed, "days", "--to", FIRST)
        do(undisturbed, "promote", NEW, "--reason", "a test")
        do(undisturbed, "days", "--to", WEEK[-1])
        ours, theirs = ledger_of(home, tmp_path / "a.zip"), ledger_of(undisturbed, tmp_path / "b.zip")
        # A day that is lived twice raises its alerts once and asks the model twice, and each failure is told.
        compared = set(theirs) - {"alerts", "prediction_requests", "clock"}
        assert {table for table in compared if ours[table] != theirs[table]} == set()
        assert len(ours["ml_predictions"]) > 10
        assert len(ours["ml_outcomes"]) > 5
        assert set(theirs["alerts"]) <= set(ours["alerts"])
        assert set(theirs["prediction_requests"]) <= set(ours["prediction_requests"])

        # The champion's file is damaged: its predecessor takes over, somebody is told, and the day goes on.
        (model,) = (workspace(home) / "lake").glob(f"models/*/{NEW}/model.txt")
        model.write_bytes(b"damaged" + model.read_bytes())
        move_clock(system, "2015-10-22T07:00")
        wait_for(lambda: [run.status for run in only(system.runs_of("day"), day="2015-10-22")] == ["SUCCESS"], 120)
        wait_for(lambda: "The champion is rolled back" in titles(webhook))
        stop(system, signal.SIGINT)
