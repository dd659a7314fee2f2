"""The jobs by which a person steers production in the UI: what they did shows on their run, and no password does."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from ledgers import count, decision
from sqlalchemy import make_url

from earlysignal_assets.earning import EARNING
from earlysignal_assets.operations import OPERATIONS
from earlysignal_assets.resources import LedgerResource, SourceResource
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import days, decisions, deployments, freezes, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import Bundle, save
from earlysignal_core.quarterly import SOURCE
from earlysignal_core.settings import Settings
from earlysignal_core.sources import open_source

HIDDEN = "not-to-be-shown"
TINY = {"EARLYSIGNAL_SYNTHETIC__SYMBOLS": "5", "EARLYSIGNAL_SYNTHETIC__QUARTERS": "4"}
A, B = "v2014.2.0", "v2014.3.0"
START = pd.Timestamp("2014-08-01", tz="UTC")
JOBS = {job.name: job for job in (*OPERATIONS, *EARNING)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def named(ledger_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the ledger that the fixture `ledger` opens, by a URL with a password, and a small source."""
    url = make_url(ledger_url).set(password=HIDDEN).render_as_string(hide_password=False)
    for name, value in {**TINY, "EARLYSIGNAL_HOME": str(home), "EARLYSIGNAL_LEDGER_URL": url}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(str(tmp_path))
    made.write_bytes(SOURCE, open_source(Settings()).description.model_dump_json().encode())
    for version, quarter in ((A, "2014-Q2"), (B, "2014-Q3")):
        save(made, Bundle("trees", {}, {}, {"quarter": quarter, "input_sha256": version}))
    return made


def launch(name: str, lake: Lake, **config: Any) -> tuple[bool, dict[str, Any], str]:
    """Run a job; return whether it succeeded, what its step shows, and everything that is kept of the run."""
    (op,) = JOBS[name].graph.node_dict
    with dg.DagsterInstance.ephemeral() as instance:
        done = JOBS[name].execute_in_process(
            {"ops": {op: {"config": config}}},
            instance=instance,
            resources={"ledger": LedgerResource(), "lake": lake, "source": SourceResource()},
            raise_on_error=False,
        )
        kept = [str(instance.get_run_by_id(done.run_id)), *map(str, instance.all_logs(done.run_id))]
    shown: dict[str, Any] = {}
    for event in done.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            assert failure.user_failure_data is not None, failure.error
            shown["failure"] = failure.user_failure_data.description
        elif event.is_successful_output:
            shown |= {key: value.value for key, value in event.step_output_data.metadata.items()}
        assert not event.is_step_up_for_retry
    return done.success, shown, "\n".join(kept)


def test_the_launchpad_opens_with_every_field(ledger: Ledger, lake: Lake) -> None:
    assert JOBS["manual_retrain"].run_config == {
        "ops": {"ask_for_retrain": {"config": {"reason": "", "universe": None, "window_months": None}}}
    }
    for job in OPERATIONS:
        (op,) = job.graph.node_dict.values()
        (filled,) = job.run_config["ops"].values()
        assert filled["config"].keys() == op.definition.config_field.config_type.fields.keys()
    days.move_clock(ledger, START)
    as_it_opens = JOBS["manual_retrain"].run_config["ops"]["ask_for_retrain"]["config"]
    success, shown, _ = launch("manual_retrain", lake, **as_it_opens)
    assert not success
    assert "needs a reason" in shown["failure"]


def test_every_job_does_what_it_says_and_shows_it(ledger: Ledger, lake: Lake) -> None:
    assert launch("manual_clock", lake, to="2014-08-01")[:2] == (True, {"clock": str(START)})
    assert days.clock(ledger) == START
    assert launch("manual_promotion", lake, version=A, reason="first")[:2] == (
        True,
        {"champion": A, "since": str(START), "a roll-back returns to": "none"},
    )
    assert launch("manual_promotion", lake, version=B, reason="better")[1]["a roll-back returns to"] == A
    assert launch("manual_roll_back", lake, reason="worse")[1]["champion"] == A
    assert launch("manual_freeze", lake, reason="vendor is down")[1]["promotions"] == "stopped"
    assert freezes.is_frozen(ledger)
    assert launch("manual_unfreeze", lake, reason="vendor is back")[1]["promotions"] == "allowed"
    assert not freezes.is_frozen(ledger)
    shown = launch("manual_retrain", lake, reason="new data", window_months=24)[1]
    asked = retrain_requests.in_flight(ledger)
    assert asked is not None
    assert (shown["request"], shown["cause"], shown["window"]) == (asked.id, "on demand", "24 months")
    recorded = decisions.read(ledger)
    assert recorded["cause"].tolist() == ["first", "better", "worse", "vendor is down", "vendor is back", "new data"]
    assert set(recorded["decided_by"]) == {"a person in the Dagster UI"}
    assert set(recorded["at"]) == {START}


def test_a_test_and_a_ramp_begin_and_stop(ledger: Ledger, lake: Lake) -> None:
    launch("manual_clock", lake, to="2014-08-01")
    launch("manual_promotion", lake, version=A, reason="first")
    shown = launch("manual_start_ab_test", lake, version=B, reason="is it better?", split=25, days=7)[1]
    assert shown["events are assigned until"] == str(START + pd.Timedelta(days=7))
    assert shown["test"] == launch("manual_stop_ab_test", lake, reason="no")[1]["stopped"]
    assert launch("manual_start_ramp", lake, version=B, reason="it is")[1] == {
        "model": B,
        "per cent of the answers": 10,
    }
    assert launch("manual_stop_ramp", lake, reason="no")[1] == {"stopped": B, "at per cent of the answers": 10}
    kinds = ["promotion", "shadow", "ab_test", "retirement", "ramp", "roll_back"]
    assert decisions.read(ledger)["kind"].tolist() == kinds


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("manual_start_ab_test", {"version": A, "reason": "x"}, "no model serves"),
        ("manual_stop_ab_test", {"reason": "x"}, "no A/B test runs"),
        ("manual_start_ramp", {"version": A, "reason": "x"}, "no model serves"),
        ("manual_stop_ramp", {"reason": "x"}, "no ramp runs"),
        ("manual_clock", {"to": "2014-07-31"}, "cannot go back"),
        ("manual_clock", {"to": "2114-08-01"}, "no moment of the source"),
        ("manual_clock", {"to": "soon"}, "`soon` is no moment"),
        ("manual_promotion", {"version": "v9.9.9", "reason": "x"}, "no finished model v9.9.9"),
        ("manual_promotion", {"version": A, "reason": " "}, "needs a reason"),
        ("manual_roll_back", {"reason": "x"}, "no model serves"),
        ("manual_unfreeze", {"reason": "x"}, "not stopped"),
        ("manual_retrain", {"reason": "x", "universe": "other"}, "not `other`"),
    ],
)
def test_what_cannot_be_done_is_a_plain_failure(
    ledger: Ledger, lake: Lake, name: str, config: dict[str, Any], told: str
) -> None:
    days.move_clock(ledger, START)
    success, shown, _ = launch(name, lake, **config)
    assert not success
    assert told in shown["failure"]
    assert "Remedy" in shown["failure"] or name == "manual_unfreeze"
    assert count(ledger, "decisions") == 0


def test_nothing_is_decided_on_a_tape_whose_clock_was_never_set(ledger: Ledger, lake: Lake) -> None:
    success, shown, _ = launch("manual_freeze", lake, reason="x")
    assert not success
    assert "earlysignal clock" in shown["failure"]
    assert count(ledger, "decisions") == 0


def test_the_password_of_the_ledger_shows_nowhere(
    ledger: Ledger, lake: Lake, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days.move_clock(ledger, START)
    deployments.promote(ledger, B, decision(DecisionKind.PROMOTION, START), over=None)
    kept = [launch("manual_promotion", lake, version=A, reason="x")[2], launch("manual_roll_back", lake, reason="x")[2]]
    kept.append(launch("manual_unfreeze", lake, reason="x")[2])
    assert "not stopped" in kept[-1], "what is searched holds the run's failures"
    for broken in (f"postgresql://somebody:{HIDDEN}@127.0.0.1:1/ledger", f"mysql://somebody:{HIDDEN}@here/ledger"):
        monkeypatch.setenv("EARLYSIGNAL_LEDGER_URL", broken)
        kept.append(resource_failure(lake))
        assert "PostgresError" in kept[-1]
    assert HIDDEN not in "\n".join([*kept, *capfd.readouterr()])


def test_without_a_ledger_the_run_says_how_to_name_one(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EARLYSIGNAL_LEDGER_URL")
    assert "no ledger is named. Remedy: start Dagster by `earlysignal up`" in resource_failure(lake)


def test_the_ledger_is_closed_after_the_run(ledger: Ledger, lake: Lake) -> None:
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'earlysignal ledger'"
    days.move_clock(ledger, START)
    with ledger.begin() as connection:
        before = connection.exec_driver_sql(counted).scalar_one()
        launch("manual_freeze", lake, reason="x")
        launch("manual_freeze", lake, reason="x")  # fails
        connection.exec_driver_sql("SELECT pg_stat_clear_snapshot(), pg_sleep(0.2)")
        assert connection.exec_driver_sql(counted).scalar_one() == before


def resource_failure(lake: Lake) -> str:
    """Run a job whose ledger cannot be opened and return everything that is kept of the run."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = JOBS["manual_freeze"].execute_in_process(
            {"ops": {"freeze": {"config": {"reason": "x"}}}},
            instance=instance,
            resources={"ledger": LedgerResource(), "source": SourceResource()},
            raise_on_error=False,
        )
        assert not done.success
        return "\n".join([str(instance.get_run_by_id(done.run_id)), *map(str, instance.all_logs(done.run_id))])
