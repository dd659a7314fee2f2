"""The assets and sensors of production as Dagster runs them, in this process, on a ledger named by its URL."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._core.utils import make_new_run_id
from ledgers import count, decision, execute
from living import ONE_DAY, begun, contents, decide_on, moment
from production import CHAMPION, PREVIOUS, copied

from earlysignal_core import operations
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import alerts, days, deployments, prediction_requests, ramps, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.prediction_requests import PredictionRequest
from earlysignal_core.ledger.vocabulary import Arm, DecisionKind, Fallback, RetrainState
from earlysignal_core.models.bundle import versions
from earlysignal_core.production import Hour, Production, next_day
from earlysignal_core.quarterly import SOURCE
from earlysignal_core.settings import Settings
from earlysignal_core.sources.tape import TapeSource

DAY = "2015-10-16"
PSI = {"psi": 0.5, "psi_above_chance": 0.3, "psi_above_usual": 0.3}
NOW = moment("2015-10-20")


@pytest.fixture(scope="module")
def tape(production_lake: Lake) -> Path:
    return Path(production_lake.url).parent / "tape"


@pytest.fixture(scope="module")
def assets(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The definitions, which open the source when they are loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARLYSIGNAL_TAPE", str(tape))
        patch.setenv("EARLYSIGNAL_HOME", str(tmp_path_factory.mktemp("home")))
        before = set(sys.modules)
        import earlysignal_assets.definitions
        import earlysignal_assets.sensors

        yield earlysignal_assets
        for name in set(sys.modules) - before:
            if name.startswith("earlysignal_assets"):
                del sys.modules[name]


@pytest.fixture
def named(ledger: Ledger, ledger_url: str, tape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARLYSIGNAL_LEDGER_URL", ledger_url)
    monkeypatch.setenv("EARLYSIGNAL_TAPE", str(tape))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def production(production_lake: Lake, tmp_path: Path, ledger: Ledger, named: None) -> Production:
    return begun(production_lake, tmp_path, ledger)


def source(tape: Path) -> TapeSource:
    return TapeSource(tape, Settings())


def run(
    assets: Any, instance: dg.DagsterInstance, lake: Lake, tape: Path, job: str, day: str, **tags: str
) -> dg.ExecuteInProcessResult:
    from earlysignal_assets.resources import LedgerResource

    names = "caches features datasets models tuning evaluation feature_selection experiments"
    modules = [getattr(assets, name) for name in names.split()]
    found = dg.load_assets_from_modules([*modules, assets.production, assets.monitoring, assets.sharing])
    resources = {"lake": lake, "source": source(tape), "ledger": LedgerResource()}
    defs = dg.Definitions(found, jobs=assets.jobs.JOBS, resources=resources, executor=dg.in_process_executor)
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=day, tags=tags, raise_on_error=False
    )


def sense(sensor: Any, instance: dg.DagsterInstance, ledger: Ledger, tape: Path) -> Any:
    context = dg.build_sensor_context(instance=instance, resources={"ledger": ledger, "source": source(tape)})
    return sensor(context)


def shown(done: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    found = {}
    for event in done.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        found[made.asset_key.to_user_string()] = {name: value.value for name, value in made.metadata.items()}
    return found


# Assets


def test_a_day_is_one_run_that_shows_what_it_did_and_can_be_repeated(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    days.move_clock(ledger, NOW)
    began = Hour.DECIDE.of(pd.Timestamp(DAY) - ONE_DAY)
    days.finish_day(ledger, pd.Timestamp(DAY) - ONE_DAY, began)
    ramps.begin(ledger, PREVIOUS, decision(DecisionKind.RAMP, began), over=CHAMPION)
    done = run(assets, instance, production.lake, tape, "day", DAY)
    assert done.success
    assert days.last_finished(ledger) == pd.Timestamp(DAY)
    made = shown(done)
    assert made["refreshed_data"]["collected"].startswith("nothing")
    assert made["predictions"]["champion"] == CHAMPION
    assert made["predictions"]["events"] == count(ledger, "prediction_requests") > 0
    assert made["stock_selection"].keys() >= {"ranked", "selected", "selection"}
    shared = made["shared_answers"]
    assert shared["ramp"].startswith(f"{PREVIOUS} has 10 % of the answers of {CHAMPION}")
    assert "green errs" in shared["rules"]
    assert shared["predictions"] == made["predictions"]["events"]
    assert {"drift_report", "outcomes", "live_data_quality", "production_metrics", "retrain_decision"} < made.keys()
    assert made["retrain_decision"]["decided"].startswith("* 2015-10-16 06:00 **retrain** earnings season ended: ")
    told = alerts.read(ledger)
    assert len(told) == sum(made["alerts"][severity] for severity in ("info", "warning", "critical")) > 0
    assert all(title in made["alerts"]["of the last seven days"] for title in told["title"])
    for monitor in ("drift_report", "live_data_quality", "production_metrics"):
        told = {name for name, value in made[monitor].items() if isinstance(value, float)}
        unexplained = {name for name in told if f"`{name}`" not in made[monitor]["what the figures mean"]}
        assert {name for name in unexplained if not name.startswith(("age_days_", "volume_share_"))} == set()
    checks = done.get_asset_check_evaluations()
    assert len(checks) == 17
    assert {check.asset_key.to_user_string(): check.partition for check in checks}["predictions"] == DAY
    served = next(check for check in checks if check.check_name == "served_equals_feature_table")
    assert served.passed
    before = contents(ledger)
    again = run(assets, instance, production.lake, tape, "day", DAY)
    assert again.success
    assert contents(ledger) == before
    assert next(iter(made["production_metrics"])) == "served"
    monitored = ("drift_report", "live_data_quality", "production_metrics", "retrain_decision", "alerts")
    assert {name: shown(again)[name] for name in monitored} == {name: made[name] for name in monitored}


def test_an_empty_lake_is_filled_by_the_first_day_which_asks_for_a_model(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, named: None, tape: Path, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    skipped = sense(assets.sensors.day_sensor, instance, ledger, tape)
    assert "`earlysignal clock" in skipped.skip_message
    days.move_clock(ledger, moment("2014-02-05"))
    (asked,) = sense(assets.sensors.day_sensor, instance, ledger, tape).run_requests
    assert (asked.run_key, asked.partition_key) == ("day-2014-02-04-1", "2014-02-04")
    done = run(assets, instance, lake, tape, "day", asked.partition_key, **asked.tags)
    assert done.success
    made = shown(done)
    assert made["predictions"]["champion"].startswith("none yet")
    assert made["drift_report"]["Evidently's page"] == "too few rows to draw"
    of_caches = [each for each in done.get_asset_materialization_events() if each.asset_key.path == ["ohlcv"]]
    assert {each.partition for each in of_caches} == {quarter.key for quarter in lake.quarters("ohlcv")}
    (asked,) = sense(assets.sensors.retrain_sensor, instance, ledger, tape).run_requests
    assert asked.tags["earlysignal/cause"] == "first model"
    done = run(assets, instance, lake, tape, "retrain", asked.partition_key, **asked.tags)
    assert done.success
    made = shown(done)
    assert "no model yet" in made["challenger"]
    assert made["promotion"]["champion"] == "none"
    assert retrain_requests.in_flight(ledger) is None


def test_a_retrain_is_the_run_of_its_request(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    decide_on(DAY, production, PSI)
    tick, again = (sense(assets.sensors.retrain_sensor, instance, ledger, tape) for _ in range(2))
    (asked,) = tick.run_requests
    assert [each.run_key for each in again.run_requests] == [asked.run_key], "a tick that is repeated starts it once"
    assert asked.partition_key == DAY
    done = run(assets, instance, production.lake, tape, "retrain", DAY, **asked.tags)
    assert done.success
    request = retrain_requests.history(ledger).iloc[-1]
    assert (request["state"], request["attempts"], request["run_id"]) == ("done", 1, done.run_id)
    made = shown(done)
    assert (made["challenger"]["cause"], made["challenger"]["version"]) == ("prediction drift", "v2015.1016.0")
    card = production.lake.read_bytes("reports/models/v2015.1016.0.html").decode()
    assert made["challenger"]["card"].endswith("/models/v2015.1016.0.html")
    assert "not judged yet" in card, "no step since its champion's cutoff has an outcome"
    assert made["promotion"]["champion"] == CHAMPION
    assert f"**{made['promotion']['decided']}** v2015.1016.0: " in made["promotion"]["decisions"]
    figures = [name for name, value in made["promotion"].items() if isinstance(value, float)]
    assert figures[:4] == ["common events", "large beats among them", "companies", "announcement days"]
    assert figures[-1] == "challengers tried since the last promotion"
    once_more = run(assets, instance, production.lake, tape, "retrain", DAY, **asked.tags)
    assert not once_more.success, "an attempt is made once"
    assert sense(assets.sensors.retrain_sensor, instance, ledger, tape).skip_message == "no retrain is asked for"


def test_a_challenger_materialised_by_hand_asks_for_itself_on_the_last_finished_day_only(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    decide_on(DAY, production)
    asked = len(retrain_requests.history(ledger))
    refused = run(assets, instance, production.lake, tape, "retrain", "2015-10-14")
    assert not refused.success
    (failed,) = [event for event in refused.all_events if event.is_step_failure and "train" in str(event.step_key)]
    assert "trained on the last finished day, which is 2015-10-16" in str(failed.step_failure_data.error)
    assert len(retrain_requests.history(ledger)) == asked
    before = len(versions(production.lake))
    assert run(assets, instance, production.lake, tape, "retrain", DAY).success
    request = retrain_requests.history(ledger).iloc[-1]
    assert (request["cause"], request["state"]) == ("on demand", "done")
    assert len(versions(production.lake)) == before + 1


# Sensors


def tried(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, attempt: int, ago: float = 0.0) -> None:
    from earlysignal_assets.requests import tags_of_day

    tags = tags_of_day(pd.Timestamp(DAY), attempt)
    create_run_for_test(instance, job_name="day", status=status, tags=tags)
    ended = (pd.Timestamp.now("UTC") - pd.Timedelta(seconds=ago)).timestamp()
    shift(instance, f"{ended} WHERE id = (SELECT max(id) FROM runs)")  # noqa: S608 - a test's own words


def shift(instance: dg.DagsterInstance, end: str) -> None:
    """Move the end of runs."""
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(f"UPDATE runs SET end_time = {end}")  # noqa: S608 - a test's own words
        connection.commit()


@pytest.fixture
def due(ledger: Ledger, named: None) -> None:
    """A day that is due."""
    days.move_clock(ledger, NOW)
    before = pd.Timestamp(DAY) - ONE_DAY
    days.finish_day(ledger, before, Hour.DECIDE.of(before))


def test_the_next_day_is_asked_for_once(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, tape: Path, due: None
) -> None:
    sensor = assets.sensors.day_sensor
    (asked,), (again,) = (sense(sensor, instance, ledger, tape).run_requests for _ in range(2))
    assert asked.run_key == again.run_key == f"day-{DAY}-1"
    assert asked.partition_key == DAY
    assert asked.tags["earlysignal/day"] == DAY
    tried(instance, dg.DagsterRunStatus.STARTED, 1)
    assert sense(sensor, instance, ledger, tape).skip_message == f"{DAY} is under way"


def test_a_failed_day_is_tried_again_after_a_pause_that_doubles(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, tape: Path, due: None
) -> None:
    sensor = assets.sensors.day_sensor
    for attempt, seconds in enumerate((15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600), start=1):
        tried(instance, dg.DagsterRunStatus.FAILURE, attempt, ago=seconds - 10)
        waits = sense(sensor, instance, ledger, tape).skip_message
        assert waits == f"{DAY} has failed {attempt} time(s) and is tried again {seconds} s later"
        shift(instance, "end_time - 60")
        (asked,) = sense(sensor, instance, ledger, tape).run_requests
        assert asked.run_key == f"day-{DAY}-{attempt + 1}"
        shift(instance, "end_time - 7200")  # the next one is the last to end


def test_nothing_is_due_before_the_clock_has_moved(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, tape: Path, named: None
) -> None:
    days.finish_day(ledger, pd.Timestamp(DAY), NOW)
    days.move_clock(ledger, moment("2015-10-17 06:00"))
    assert "2015-10-17 is not over yet" in sense(assets.sensors.day_sensor, instance, ledger, tape).skip_message


def test_days_wait_for_a_retrain_on_a_tape_and_not_live(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    decide_on(DAY, production, PSI)
    (asked,) = sense(assets.sensors.day_sensor, instance, ledger, tape).run_requests
    assert asked.partition_key == "2015-10-17", "without a clock of its own the ledger is live"
    days.move_clock(ledger, NOW)
    assert "comes before 2015-10-17" in sense(assets.sensors.day_sensor, instance, ledger, tape).skip_message


def test_a_retrain_that_can_wait_waits_for_saturday(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    decide_on(DAY, production, {"features_above_limit": 5.0, "features_drifted": 4.0})  # a Friday
    sensor = assets.sensors.retrain_sensor
    assert sense(sensor, instance, ledger, tape).skip_message.endswith("waits for the weekend")
    decide_on("2015-10-17", production)
    (asked,) = sense(sensor, instance, ledger, tape).run_requests
    assert asked.partition_key == "2015-10-17"
    request = retrain_requests.in_flight(ledger)
    assert request is not None
    run = create_run_for_test(instance, job_name="retrain", status=dg.DagsterRunStatus.STARTED)
    retrain_requests.start(ledger, request.id, 1, run.run_id, NOW)
    assert sense(sensor, instance, ledger, tape).skip_message.endswith("is under way")


def fail(
    assets: Any,
    instance: dg.DagsterInstance,
    ledger: Ledger,
    job: str,
    tags: dict[str, str],
    run: str | None = None,
) -> None:
    """Let a run fail, and the sensor see it."""

    @dg.op
    def breaks() -> None:
        raise ValueError("the disk is full")

    @dg.job(name=job)
    def made() -> None:
        breaks()

    done = made.execute_in_process(instance=instance, tags=tags, raise_on_error=False, run_id=run)
    sense_failure(assets, instance, ledger, done)


def sense_failure(assets: Any, instance: dg.DagsterInstance, ledger: Ledger, done: dg.ExecuteInProcessResult) -> None:
    failed = next(event for event in done.all_events if event.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context(
        "failure_sensor", failed, instance, done.dagster_run, resources={"ledger": ledger}
    )
    assets.sensors.failure_sensor(context.for_run_failure())


def test_a_retrain_that_fails_is_due_three_times_each_with_an_alert_and_a_key(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    days.move_clock(ledger, NOW)
    decide_on(DAY, production, PSI)
    keys = []
    for attempt in (1, 2, 3):
        (asked,) = sense(assets.sensors.retrain_sensor, instance, ledger, tape).run_requests
        keys.append(asked.run_key)
        run, request = make_new_run_id(), retrain_requests.in_flight(ledger)
        assert request is not None
        if attempt > 1:  # the first does not even begin
            retrain_requests.start(ledger, request.id, attempt, run, NOW)
        fail(assets, instance, ledger, "retrain", {**asked.tags, "dagster/partition": DAY}, run)
        waits = sense(assets.sensors.retrain_sensor, instance, ledger, tape).skip_message
        assert f"has failed {attempt} time(s)" in waits if attempt < 3 else waits == "no retrain is asked for"
        shift(instance, "end_time - 7200")
    assert len(set(keys)) == 3
    told = retrain_requests.history(ledger).iloc[-1]
    assert (told["state"], told["attempts"]) == ("failed", 3)
    assert sense(assets.sensors.retrain_sensor, instance, ledger, tape).skip_message == "no retrain is asked for"
    raised = alerts.read(ledger).set_index("key")
    failures = raised[raised.index.str.startswith("run_failed")]
    assert failures.index.tolist() == [f"run_failed:retrain {DAY}:{attempt}" for attempt in (1, 2, 3)]
    assert set(failures["severity"]) == {"critical"}
    assert failures["title"].iloc[0] == f"Run failed: retrain {DAY}"
    assert next_day(ledger, production.source, NOW).day is not None, "the days go on"


def test_a_retrain_whose_run_is_cancelled_or_unknown_is_tried_again(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    days.move_clock(ledger, NOW)
    decide_on(DAY, production, PSI)
    (asked,) = sense(assets.sensors.retrain_sensor, instance, ledger, tape).run_requests
    create_run_for_test(instance, job_name="retrain", status=dg.DagsterRunStatus.CANCELED, tags=asked.tags)
    shift(instance, "1")  # long ago
    (second,) = sense(assets.sensors.retrain_sensor, instance, ledger, tape).run_requests
    assert second.run_key != asked.run_key, "Dagster starts nothing twice under one key"
    request = retrain_requests.in_flight(ledger)
    assert request is not None
    retrain_requests.start(ledger, request.id, 2, "a run of another instance, before the ledger was restored", NOW)
    (third,) = sense(assets.sensors.retrain_sensor, instance, ledger, tape).run_requests
    assert third.tags["earlysignal/attempt"] == "3"


def test_a_retrain_by_hand_that_fails_is_not_tried_again(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger
) -> None:
    decide_on(DAY, production)
    operations.ask_for_retrain(ledger, production.lake, NOW, reason="x", by="x")
    request = retrain_requests.in_flight(ledger)
    assert request is not None

    from earlysignal_assets.requests import note_failure

    retrain_requests.start(ledger, request.id, 1, "mine", NOW)
    note_failure(ledger, "retrain", {}, "another", "x", NOW)
    assert retrain_requests.in_flight(ledger) is not None
    note_failure(ledger, "retrain", {}, "mine", "x", NOW)
    assert retrain_requests.in_flight(ledger) is None


def test_who_came_second_to_a_retrain_is_no_alarm(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger
) -> None:
    decide_on(DAY, production)
    request = operations.ask_for_retrain(ledger, production.lake, NOW, reason="x", by="x")

    from earlysignal_assets.requests import note_failure, tags_of_retrain

    before, tags = len(alerts.read(ledger)), tags_of_retrain(request)
    retrain_requests.start(ledger, request.id, 1, "first", NOW)
    note_failure(ledger, "retrain", tags, "second", "cannot start", NOW)
    assert len(alerts.read(ledger)) == before
    assert retrain_requests.get(ledger, request.id).state is RetrainState.STARTED
    note_failure(ledger, "retrain", tags, "first", "the disk is full", NOW)
    assert len(alerts.read(ledger)) == before + 1
    assert retrain_requests.get(ledger, request.id).state is RetrainState.PENDING


def test_a_refusal_of_what_a_person_asks_for_is_nobody_elses_alarm_and_an_outage_is(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, tape: Path, tmp_path: Path
) -> None:
    import earlysignal_assets.operations as by_hand

    days.move_clock(ledger, NOW)
    (job,) = (each for each in by_hand.OPERATIONS if each.name == "manual_retrain")
    empty, damaged = Lake(str(tmp_path / "empty")), Lake(str(tmp_path / "damaged"))
    damaged.write_bytes(SOURCE, b"{")
    outage = ["Run failed: manual_retrain"]
    for reason, lake, titles in ((" ", damaged, []), ("new data", empty, []), ("new data", damaged, outage)):
        given = {"ledger": ledger, "source": source(tape), "lake": lake}
        config = {"ops": {"ask_for_retrain": {"config": {"reason": reason}}}}
        done = job.execute_in_process(config, instance, resources=given, raise_on_error=False)
        assert not done.success
        sense_failure(assets, instance, ledger, done)
        assert alerts.read(ledger)["title"].tolist() == titles


def test_the_page_of_production_follows_the_ledger(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger
) -> None:
    days.move_clock(ledger, NOW)
    changes = [
        (lambda: None, "Champion", CHAMPION),
        (lambda: operations.freeze(ledger, NOW, reason="vendor is down", by="Ann"), "Promotions", "stopped since"),
        (
            lambda: operations.unfreeze(ledger, NOW, reason="it is back", by="Ann"),
            "last decisions",
            "* 2015-10-20 **unfreeze**",
        ),
        (lambda: ramps.begin(ledger, PREVIOUS, decision(DecisionKind.RAMP, NOW), over=CHAMPION), "Beside it", PREVIOUS),
    ]
    cursor = None
    for change, where, told in changes:
        change()
        context = dg.build_sensor_context(instance, cursor=cursor, resources={"ledger": ledger})
        found = assets.sensors.status_sensor(context)
        (event,) = found.asset_events
        shown = event.metadata[where].value
        assert shown.startswith(told), shown
        cursor = found.cursor
        again = dg.build_sensor_context(instance, cursor=cursor, resources={"ledger": ledger})
        assert isinstance(assets.sensors.status_sensor(again), dg.SkipReason)


def test_any_other_run_that_fails_is_told(assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger) -> None:
    days.move_clock(ledger, NOW)
    fail(assets, instance, ledger, "quarter", {"dagster/partition": "2015-10"})
    (raised,) = alerts.read(ledger).to_dict("records")
    assert (raised["key"], raised["day"]) == ("run_failed:quarter 2015-10:1", NOW.tz_localize(None))


def test_a_ramp_goes_on_by_a_sensor_live_and_on_a_tape_by_the_days(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, production: Production, tape: Path
) -> None:
    now = pd.Timestamp.now("UTC")
    ramps.begin(ledger, PREVIOUS, decision(DecisionKind.RAMP, now - pd.Timedelta(minutes=20)), over=CHAMPION)
    asked = [PredictionRequest(now, f"C{i}", Fallback.NONE, 5.0, arm=Arm.CHALLENGER) for i in range(20)]
    prediction_requests.record(ledger, asked)
    assert "step is over" not in sense(assets.sensors.ramp_sensor, instance, ledger, tape).skip_message
    step = ramps.running(ledger)
    assert step is not None
    assert step.traffic_share == 25
    assert alerts.read(ledger)["key"].tolist() == [f"ramp:{PREVIOUS}"]
    assert "no ramp" in sense(assets.sensors.ramp_sensor, instance, ledger, tape).skip_message
    days.move_clock(ledger, NOW)
    assert "on a tape" in sense(assets.sensors.ramp_sensor, instance, ledger, tape).skip_message
    assert ramps.running(ledger) == step


def test_alerts_are_delivered_by_a_sensor(
    assets: ModuleType, instance: dg.DagsterInstance, ledger: Ledger, tape: Path
) -> None:
    sensor = assets.sensors.alert_sensor
    assert sense(sensor, instance, ledger, tape).skip_message == "nothing to send"


def test_a_roll_back_shows_on_the_day(
    assets: ModuleType, instance: dg.DagsterInstance, production: Production, ledger: Ledger, tape: Path
) -> None:
    from earlysignal_core.models import bundle

    days.finish_day(ledger, pd.Timestamp(DAY) - ONE_DAY, Hour.DECIDE.of(pd.Timestamp(DAY) - ONE_DAY))
    days.move_clock(ledger, NOW)
    production.lake.write_bytes(f"{bundle.FOLDER}/{CHAMPION}/{bundle.MODEL_TEXT}", b"damaged")
    done = run(assets, instance, copied(production.lake, Path(production.lake.url + "2")), tape, "day", DAY)
    assert done.success
    champion = deployments.champion(ledger)
    assert champion is not None
    assert shown(done)["predictions"]["rolled back to"] == champion.version != CHAMPION
    assert execute(ledger, "SELECT count(*) FROM finished_days")[0][0] == 2


def test_a_store_of_experiments_that_is_away_fails_nothing_and_the_trainings_are_shown_all_the_same(
    assets: ModuleType, production_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARLYSIGNAL_TRACKING_URL", "postgresql://user:secret-word@127.0.0.1:1/experiments")
    result = dg.materialize([assets.experiments.experiment_comparison], resources={"lake": production_lake})
    told = {name: str(value.value) for name, value in result.asset_materializations_for_node(
        "experiment_comparison")[0].metadata.items()}  # fmt: skip
    assert told["tracking"].startswith("not recorded: the experiments in postgresql")
    assert "secret-word" not in str(told)
    assert PREVIOUS in told["trainings"]
    assert CHAMPION in told["trainings"]
