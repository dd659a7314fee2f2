"""Each source has a Dagster instance of its own, on PostgreSQL, that tells nobody its password."""

import os
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import make_url

from earlysignal_assets.instance import InstanceError, prepare
from earlysignal_assets.run_launcher import WatchedRunLauncher
from earlysignal_core.ledger.connection import Ledger


@pytest.fixture
def prepared(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    environment = prepare(tmp_path, "a-Source.1", postgres_url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def test_dagster_opens_the_instance(prepared: dict[str, str], tmp_path: Path) -> None:
    assert Path(prepared["DAGSTER_HOME"]) == tmp_path / "a-Source.1" / "dagster"
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds > 0
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert "Postgres" in type(instance.event_log_storage).__name__
        assert "dagster_a_source_1" not in instance.info_str(), "the URL, which may hold a password, is not shown"


def test_the_ledger_has_a_database_beside_dagsters(prepared: dict[str, str]) -> None:
    databases = {make_url(prepared[f"EARLYSIGNAL_{whose}_URL"]).database for whose in ("DAGSTER", "LEDGER")}
    assert databases == {"dagster_a_source_1", "ledger_a_source_1"}
    with Ledger(prepared["EARLYSIGNAL_LEDGER_URL"]) as ledger:
        ledger.migrate()


def test_an_older_configuration_is_replaced(prepared: dict[str, str], tmp_path: Path, postgres_url: str) -> None:
    configuration = Path(prepared["DAGSTER_HOME"]) / "dagster.yaml"
    current = configuration.read_bytes()
    configuration.write_text("telemetry: {enabled: true}")
    prepare(tmp_path, "a-Source.1", postgres_url)
    assert configuration.read_bytes() == current


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b", ".hidden", "-option", "two words", "x" * 51])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="Remedy"):
        prepare(tmp_path, name, "postgresql://not-reached")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    with pytest.raises(InstanceError, match="Remedy: check free space"):
        prepare(tmp_path, "source", "postgresql://not-reached")


def test_the_developers_own_settings_do_not_reach_the_tests() -> None:
    assert "EARLYSIGNAL_HOME" not in os.environ
    assert "DAGSTER_HOME" not in os.environ
