"""A tape that was exported answers as the source did from which it came."""

import re

import pandas as pd
import pytest
from running import digests
from stand_ins.world import World
from typer.testing import CliRunner

from earlysignal_assets.cli import app
from earlysignal_assets.workspace import Workspace
from earlysignal_core.errors import LakeError, SourceError
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import SOURCE, collect, collect_universe, described
from earlysignal_core.settings import Settings, SyntheticSettings
from earlysignal_core.sources import open_source
from earlysignal_core.sources.export import export_tape
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import CACHES, UNIVERSE

FEW = SyntheticSettings(symbols=3, quarters=2)


def fill(source, lake):
    collect_universe(source, lake)
    for cache in CACHES:
        if cache != UNIVERSE:
            collect(source, lake, cache, source.description.quarters[-2:])


def assert_answers_alike(source, tape):
    ours, theirs = source.description, tape.description
    for name in ("first", "last", "first_event", "last_event", "prices", "benchmark", "settings"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert set(theirs.tables) == set(ours.tables)
    # A tape provides the forms of filings that it has, and some quarters may lack one.
    lacking = set(ours.provides) - set(theirs.provides)
    assert set(theirs.provides) <= set(ours.provides)
    assert all(fact.startswith("sec_filings:") for fact in lacking)
    pd.testing.assert_frame_equal(tape.universe(), source.universe())
    for table in ours.tables:
        for quarter in ours.quarters[-2:] if table != UNIVERSE else []:
            pd.testing.assert_frame_equal(tape.read(table, quarter), source.read(table, quarter))


def test_a_synthetic_tape_with_an_assumed_consensus_comes_back(tmp_path):
    settings = Settings(home=tmp_path, synthetic=FEW, assume_final_consensus_known=True)
    source, lake = open_source(settings), Lake(str(tmp_path / "lake"))
    fill(source, lake)
    written = export_tape(lake, described(lake), tmp_path / "tape")
    assert written["universe"].rows == len(source.universe())
    tape = TapeSource(tmp_path / "tape", Settings(home=tmp_path))
    assert_answers_alike(source, tape)
    assert set(tape.description.assumptions) >= set(source.description.assumptions)


def test_a_tape_that_could_not_be_finished_leaves_nothing(tmp_path):
    source, lake = open_source(Settings(home=tmp_path, synthetic=FEW)), Lake(str(tmp_path / "lake"))
    collect_universe(source, lake)
    collect(source, lake, "earnings", source.description.quarters[-2:])
    (tmp_path / "lake" / "earnings" / f"{source.description.last}.parquet").write_bytes(b"broken")
    with pytest.raises(LakeError, match="is damaged"):
        export_tape(lake, described(lake), tmp_path / "out" / "tape")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_writes_what_it_reads_back(tmp_path, monkeypatch):
    """From a lake to a tape to a lake: every partition has the same bytes; and what was never collected is told."""
    monkeypatch.setenv("EARLYSIGNAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EARLYSIGNAL_SYNTHETIC__SYMBOLS", "3")
    monkeypatch.setenv("EARLYSIGNAL_SYNTHETIC__QUARTERS", "2")
    monkeypatch.setenv("EARLYSIGNAL_TAPE", "")  # the command sets it: so it is put back afterwards
    monkeypatch.delenv("EARLYSIGNAL_TAPE")
    refused = command("export-tape", tmp_path / "tape")
    assert "nothing of the source `synthetic` is cached" in str(refused.exception)
    assert "Remedy: run `earlysignal backfill`" in str(refused.exception)

    ours = Workspace(Settings())
    fill(ours.source, ours.lake)
    done = command("export-tape", tmp_path / "tape")
    assert done.exit_code == 0, done.output
    missing = len(ours.source.description.quarters) - 2
    assert re.search(rf"earnings +2014-0\d-\d\d +2014-0\d-\d\d +3 +{missing}\b", done.output), done.output
    again = command("export-tape", tmp_path / "tape")
    assert "is not empty" in str(again.exception)
    assert "Remedy: name another" in str(again.exception)

    assert command("catalogue", "--tape", tmp_path / "tape").exit_code == 0
    theirs = Workspace(Settings())  # of the tape: the command chose it
    assert theirs.settings.tape == (tmp_path / "tape").resolve()
    said = [line for line in theirs.source.description.assumptions if line.startswith("ohlcv:")]
    assert [f"ohlcv: {missing} quarter(s) were not collected" in line for line in said] == [True]
    fill(theirs.source, theirs.lake)
    before, after = (digests(workspace.root / "lake") for workspace in (ours, theirs))
    partitions = before.keys() - {SOURCE}
    assert len(partitions) == 2 * 12 + 1
    assert {name: after.get(name) for name in partitions} == {name: before[name] for name in partitions}


def test_what_was_collected_live_replays_from_a_tape(tmp_path):
    with World(tmp_path) as world:
        source, lake = world.source(), Lake(str(tmp_path / "lake"))
        fill(source, lake)
        export_tape(lake, described(lake), tmp_path / "tape")
        tape = TapeSource(tmp_path / "tape", Settings(home=tmp_path))
        assert_answers_alike(source, tape)
        assert any("assume_dates_known" in line for line in tape.description.assumptions)


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    source, lake = open_source(Settings(home=tmp_path, synthetic=FEW)), Lake(str(tmp_path / "lake"))
    with pytest.raises(SourceError, match="not empty"):
        export_tape(lake, source.description, tmp_path)
    with pytest.raises(SourceError, match="materialise the caches first"):
        export_tape(lake, source.description, tmp_path / "tape")


def test_a_lake_of_older_code_is_named_with_its_remedy(tmp_path):
    source, lake = open_source(Settings(home=tmp_path, synthetic=FEW)), Lake(str(tmp_path / "lake"))
    fill(source, lake)
    quarter = source.description.quarters[-1]
    lake.write("sec_filings", quarter, lake.read("sec_filings", [quarter]).drop(columns="planned"))
    with pytest.raises(
        SourceError, match=rf"`sec_filings` of {quarter} .*`planned`.*Remedy: materialise .*`sec_filings`"
    ):
        export_tape(lake, described(lake), tmp_path / "tape")
    assert not (tmp_path / "tape").exists()
