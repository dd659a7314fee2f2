"""A ledger is one schema: made once, whoever else makes it; its errors say what to do and never show a password."""

import multiprocessing
import re
from pathlib import Path

import pandas as pd
import pytest
from ledgers import DAY, NOW, at_once, count, die_after, execute, prediction
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from earlysignal_core.errors import EarlySignalError, PostgresError
from earlysignal_core.ledger import days, deployments, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import BrokenConstraintError, LedgerError
from earlysignal_core.ledger.schema import metadata

DEFINITIONS = {
    "columns": """
        SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_schema = :schema ORDER BY 1, 3""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = CAST(:schema AS regnamespace) AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": """
        SELECT tablename, indexname, replace(indexdef, schemaname || '.', '')
        FROM pg_indexes WHERE schemaname = :schema ORDER BY 1, 2""",
}


def definitions(ledger: Ledger, what: str) -> list[tuple]:
    rows = execute(ledger, DEFINITIONS[what], schema=ledger.schema)
    return [tuple(row) for row in rows if row[0] != "alembic_version"]


def cut_off(url: str, ledger: Ledger) -> None:
    """End the ledger's connection, as a restart of the server does."""
    ((me,),) = execute(ledger, "SELECT pg_backend_pid()")
    with create_engine(url, poolclass=NullPool).begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:me, 5000)"), {"me": me})


@pytest.mark.parametrize("what", DEFINITIONS)
def test_the_migrations_make_the_tables_that_the_code_knows(ledger: Ledger, new_ledger: Ledger, what: str) -> None:
    execute(new_ledger, f"CREATE SCHEMA {new_ledger.schema}")
    with new_ledger.begin() as connection:
        metadata.create_all(connection)
    assert definitions(ledger, what)
    assert definitions(ledger, what) == definitions(new_ledger, what)


def test_migrating_again_changes_nothing(ledger: Ledger) -> None:
    days.move_clock(ledger, NOW)
    ledger.migrate()
    assert days.clock(ledger) == NOW
    assert count(ledger, "alembic_version") == 1


def test_threads_and_processes_may_migrate_at_once(ledger_url: str, new_ledger: Ledger) -> None:
    threads = [new_ledger, Ledger(ledger_url, new_ledger.schema)]
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=lambda: Ledger(ledger_url, new_ledger.schema).migrate()) for _ in range(3)]
    for process in processes:
        process.start()
    assert at_once(*[ledger.migrate for ledger in threads]) == [None, None]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert count(new_ledger, "alembic_version") == 1


def test_threads_may_migrate_several_ledgers_at_once(ledger_url: str, new_ledger: Ledger) -> None:
    ledgers = [Ledger(ledger_url, f"{new_ledger.schema}_{number}") for number in range(6)]
    assert at_once(*[each.migrate for each in ledgers]) == [None] * 6
    for each in ledgers:
        assert count(each, "alembic_version") == 1
        assert count(each, "ml_predictions") == 0
        execute(each, f"DROP SCHEMA {each.schema} CASCADE")


def test_a_migration_that_is_killed_leaves_nothing(ledger_url: str, new_ledger: Ledger) -> None:
    die_after(ledger_url, new_ledger, "CREATE TABLE ml_outcomes", Ledger.migrate)
    assert execute(new_ledger, "SELECT to_regnamespace(:schema)", schema=new_ledger.schema) == [(None,)]
    new_ledger.migrate()
    assert count(new_ledger, "ml_outcomes") == 0


def test_a_ledger_of_a_newer_version_is_left_alone(new_ledger: Ledger) -> None:
    new_ledger.migrate()
    execute(new_ledger, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match=r"9999.*newer.*Remedy"):
        new_ledger.migrate()


def test_two_ledgers_of_one_database_do_not_see_each_other(ledger: Ledger, new_ledger: Ledger) -> None:
    new_ledger.migrate()
    predictions.record(ledger, [prediction()])
    assert (count(ledger, "ml_predictions"), count(new_ledger, "ml_predictions")) == (1, 0)


def test_an_unprepared_ledger_says_what_to_do(new_ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"not prepared.*Remedy: run its migrations"):
        deployments.champion(new_ledger)


@pytest.mark.parametrize("schema", ["", "Live", "a-b", 'x"; DROP', "pg_mine", "a" * 64])
def test_a_schema_that_postgres_would_take_for_something_else_is_refused(schema: str) -> None:
    with pytest.raises(LedgerError, match="lower-case letters"):
        Ledger("postgresql://host/database", schema)


def test_a_transaction_happens_whole_or_not_at_all(ledger: Ledger) -> None:
    def work() -> None:
        with ledger.transaction() as joined:
            predictions.record(joined, [prediction()])
            days.finish_day(joined, DAY, NOW)
            assert count(joined, "ml_predictions") == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert count(ledger, "ml_predictions") == 0
    assert days.last_finished(ledger) is None


def test_a_step_that_fails_within_a_transaction_undoes_only_itself(ledger: Ledger) -> None:
    with ledger.transaction() as joined:
        days.finish_day(joined, DAY, NOW)
        with pytest.raises(BrokenConstraintError):
            predictions.record(joined, [prediction(), prediction(1, predicted_probability=1.5)])
        predictions.record(joined, [prediction(2)])
    assert count(ledger, "ml_predictions") == 1
    assert days.last_finished(ledger) == DAY


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:1/db",
        "postgresql://me:hunter2@127.0.0.1:1/db?sslpassword=hunter2",
        "postgresql://me:hunter2@[bad/db",
        "postgresql://me:hunter2@127.0.0.1:1/db?nonsense=1",
        "postgresql://me:hun/ter2@host/db",
        "postgresql://me:p@hunter2:x/db",
        "mysql://me:hunter2@host/db",
        "hunter2",
    ],
)
def test_no_error_and_no_representation_shows_the_password(url: str) -> None:
    with pytest.raises(EarlySignalError, match="Remedy") as caught:  # noqa: PT012 - either line may refuse the URL
        ledger = Ledger(url)
        assert "ter2" not in repr(ledger)
        ledger.migrate()
    error: BaseException | None = caught.value
    assert error.__suppress_context__ or error.__context__ is None
    assert "ter2" not in str(error)


def test_a_password_is_not_in_the_errors_of_statements_either(ledger_url: str, new_ledger: Ledger) -> None:
    separator = "&" if "?" in ledger_url else "?"
    with (
        Ledger(f"{ledger_url}{separator}sslpassword=hunter2", new_ledger.schema) as ledger,
        pytest.raises(LedgerError, match="not prepared") as caught,
    ):
        deployments.champion(ledger)
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_the_server_has_dropped_is_replaced(ledger_url: str, ledger: Ledger) -> None:
    cut_off(ledger_url, ledger)
    assert deployments.champion(ledger) is None


def test_a_connection_lost_on_the_way_is_told_and_nothing_is_recorded(ledger_url: str, ledger: Ledger) -> None:
    def work() -> None:
        with ledger.transaction() as joined:
            predictions.record(joined, [prediction()])
            cut_off(ledger_url, joined)
            deployments.champion(joined)

    with pytest.raises(PostgresError, match="cannot reach the ledger"):
        work()
    assert count(ledger, "ml_predictions") == 0


@pytest.mark.parametrize("moment", [pd.NaT, pd.Timestamp("2018-07-03 03:00")])
def test_a_moment_without_a_time_zone_is_refused(ledger: Ledger, moment: pd.Timestamp) -> None:
    with pytest.raises(LedgerError, match="no time zone"):
        days.move_clock(ledger, moment)


@pytest.mark.parametrize("day", [pd.NaT, NOW, pd.Timestamp("2018-07-03 03:00")])
def test_a_day_with_a_time_is_refused(ledger: Ledger, day: pd.Timestamp) -> None:
    with pytest.raises(LedgerError, match="is no day"):
        days.finish_day(ledger, day, NOW)


def test_moments_come_back_in_utc_whatever_zone_they_were_given_in(ledger: Ledger) -> None:
    days.move_clock(ledger, NOW.tz_convert("Asia/Tokyo"))
    assert days.clock(ledger) == NOW
    assert str(days.clock(ledger).tz) == "UTC"


def test_only_created_at_holds_wall_time(ledger: Ledger) -> None:
    defaults = execute(
        ledger,
        "SELECT DISTINCT column_name FROM information_schema.columns"
        " WHERE table_schema = :schema AND column_default LIKE '%now()%'",
        schema=ledger.schema,
    )
    assert defaults == [("created_at",)]
    modules = "\n".join(module.read_text() for module in Path(predictions.__file__).parent.rglob("*.py"))
    assert not re.search(r"import time|(datetime|Timestamp|date)\.(now|today|utcnow)|time\.time", modules)
