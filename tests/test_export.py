"""A tape that was exported answers as the source did from which it came."""

import pandas as pd
import pytest
from stand_ins.world import World

from earlysignal_core.errors import SourceError
from earlysignal_core.lake import Lake
from earlysignal_core.quarterly import collect, collect_universe, described
from earlysignal_core.settings import Settings, SyntheticSettings
from earlysignal_core.sources import open_source
from earlysignal_core.sources.export import export_tape
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import CACHES, UNIVERSE


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
    few = SyntheticSettings(symbols=3, quarters=2)
    settings = Settings(home=tmp_path, synthetic=few, assume_final_consensus_known=True)
    source, lake = open_source(settings), Lake(str(tmp_path / "lake"))
    fill(source, lake)
    written = export_tape(lake, described(lake), tmp_path / "tape", "copy")
    assert written["universe"] == len(source.universe())
    tape = TapeSource(tmp_path / "tape", Settings(home=tmp_path))
    assert_answers_alike(source, tape)
    assert tape.description.name == "copy"
    assert set(tape.description.assumptions) == set(source.description.assumptions)


def test_what_was_collected_live_replays_from_a_tape(tmp_path):
    with World(tmp_path) as world:
        source, lake = world.source(), Lake(str(tmp_path / "lake"))
        fill(source, lake)
        export_tape(lake, described(lake), tmp_path / "tape")
        tape = TapeSource(tmp_path / "tape", Settings(home=tmp_path))
        assert_answers_alike(source, tape)
        assert any("assume_dates_known" in line for line in tape.description.assumptions)


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    few = SyntheticSettings(symbols=3, quarters=2)
    source, lake = open_source(Settings(home=tmp_path, synthetic=few)), Lake(str(tmp_path / "lake"))
    with pytest.raises(SourceError, match="not empty"):
        export_tape(lake, source.description, tmp_path)
    with pytest.raises(SourceError, match="materialise the caches first"):
        export_tape(lake, source.description, tmp_path / "tape")
