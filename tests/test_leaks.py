"""The two properties that hold the point-in-time view, over the whole catalogue and bit by bit.

1. What was not known at `as_of` moves nothing.
2. An example alone is the same as among others.

And what follows: a tape cut at a moment gives the same past, and history that is older than declared moves nothing.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import leaks
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowable import probe
from leaks import Tape, cut, moved, vary

from earlysignal_core.features import price, price_basis
from earlysignal_core.features.catalogue import Feature, catalogue
from earlysignal_core.features.knowledge import NEVER, DatedRows, KnownCounts, SteppedRows
from earlysignal_core.features.known_table import KnownTable
from earlysignal_core.features.point_in_time import LATE_CLOSE_SESSIONS, days_back
from earlysignal_core.features.price_basis import SHIFT_LOOK_BACK
from earlysignal_core.features.table import active_features, build_feature_table, quarter_examples, view
from earlysignal_core.lake import Lake
from earlysignal_core.tables import TABLES, UNIVERSE, Axis, own_date
from earlysignal_core.trading_calendar import position

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return leaks.synthetic(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="session")
def real(sp500: Path) -> Tape:
    return leaks.real(sp500)


@pytest.fixture(params=["generated", "synthetic", "real"])
def tape(request: pytest.FixtureRequest) -> Tape:
    return leaks.generated(0) if request.param == "generated" else request.getfixturevalue(request.param)


@cache
def standing(tape: Tape) -> Tape:
    """A tape of which the indexes are made once, for tests that do not plant a leak in them."""
    return tape.indexed()


def leak(tape: Tape, which: float, seed: int) -> dict[str, list[str]]:
    """The features of which a bit moves with what was not known at the `as_of` of one of the examples."""
    moment = tape.examples["as_of"].sort_values().iloc[int(which * (len(tape.examples) - 1))]
    before = tape.about(tape.examples[tape.examples["as_of"] <= moment])
    return moved(before.values(), before.values(vary(tape.tables, moment, seed)))


def neighbours(tape: Tape, seed: int, alone: int = 12) -> dict[str, list[str]]:
    """The features of which a bit moves when an example is alone, or among the others in another order."""
    tape = tape.indexed()
    together = tape.values()
    mixed = tape.examples.sample(frac=1, random_state=seed)
    differences = moved(together.loc[mixed["event"]], tape.about(mixed).values())
    for event in mixed["event"].iloc[:alone]:
        single = tape.about(tape.examples[tape.examples["event"] == event])
        differences |= moved(together.loc[[event]], single.values())
    return differences


def beyond_the_look_back(tape: Tape, features: Mapping[str, Feature]) -> dict[str, list[str]]:
    """The features of which a bit moves with rows that lie further back than they declare."""
    random = np.random.default_rng(0)
    days = {name: own_date(TABLES[name], rows) for name, rows in tape.tables.items() if name != UNIVERSE}
    own = {name: position(day) if TABLES[name].axis is Axis.SESSION else day for name, day in days.items()}
    whole, differences = tape.indexed(), {}
    for name, feature in features.items():
        for event in tape.examples["event"].sample(1, random_state=random.integers(2**31)):
            single = whole.about(tape.examples[tape.examples["event"] == event])
            scant = {
                t: rows if t == UNIVERSE else rows[_within(t, own[t], single, feature)]
                for t, rows in tape.tables.items()
            }
            differences |= moved(single.values(features={name: feature}), single.values(scant, {name: feature}))
    return differences


# 1. What was not known moves nothing


@given(st.integers(0, 3), st.floats(0, 1), seeds)
@settings(max_examples=20)
def test_generated_rows_that_were_not_known_move_nothing(world: int, which: float, seed: int) -> None:
    assert leak(standing(leaks.generated(world)), which, seed) == {}


@given(which=st.floats(0, 1), seed=seeds)
@settings(max_examples=8)
def test_synthetic_rows_that_were_not_known_move_nothing(synthetic: Tape, which: float, seed: int) -> None:
    assert leak(standing(synthetic), which, seed) == {}


@given(which=st.floats(0, 1), seed=seeds)
@settings(max_examples=5)
def test_real_rows_that_were_not_known_move_nothing(real: Tape, which: float, seed: int) -> None:
    assert leak(standing(real), which, seed) == {}


def test_without_the_unknown_the_known_is_the_same(tape: Tape) -> None:
    moment = tape.examples["as_of"].quantile(0.5)
    before = standing(tape).about(tape.examples[tape.examples["as_of"] <= moment])
    assert moved(before.values(), before.values(cut(tape.tables, moment))) == {}


@pytest.mark.parametrize("world", range(4))
def test_the_order_of_rows_moves_nothing(world: int) -> None:
    """Also of rows that became known at one moment: a sum's last bit would tell."""
    tape = leaks.generated(world)
    shuffled = {name: rows.sample(frac=1, random_state=0, ignore_index=True) for name, rows in tape.tables.items()}
    assert moved(standing(tape).values(), tape.values(shuffled)) == {}


def test_every_active_feature_was_put_to_the_test(tape: Tape) -> None:
    values = standing(tape).values()
    assert [*values.columns[values.isna().all()]] == [], "a feature that is always missing proves nothing"


# 2. An example alone is the same as among others


def test_neighbours_move_nothing(tape: Tape) -> None:
    assert neighbours(tape, seed=0) == {}


def test_every_feature_of_the_catalogue_is_active_on_generated_data() -> None:
    """Else what holds it to the point-in-time rule would hold nothing."""
    assert set(active_features(leaks.generated(0).source)) == set(catalogue())


@given(st.integers(0, 3), seeds)
@settings(max_examples=6)
def test_generated_neighbours_move_nothing(world: int, seed: int) -> None:
    assert neighbours(leaks.generated(world), seed % 2**31, alone=2) == {}


# From end to end


@pytest.mark.parametrize("name", ["synthetic", "real"])
def test_a_tape_cut_at_a_moment_gives_the_same_past(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tape: Tape = request.getfixturevalue(name)
    quarters = leaks.quarters_of(tape)
    moment = tape.examples["as_of"].quantile(0.6)
    whole, past = Lake(str(tmp_path / "whole")), Lake(str(tmp_path / "past"))
    for lake, tables in ((whole, tape.tables), (past, cut(tape.tables, moment))):
        lake.write(UNIVERSE, None, tables[UNIVERSE])
        for table in tables.keys() - {UNIVERSE}:
            quarter_of = pd.PeriodIndex(own_date(TABLES[table], tables[table]), freq="Q")
            for quarter in tape.source.quarters:
                rows = tables[table][quarter_of == pd.Period(str(quarter).replace("-", ""), freq="Q")]
                lake.write(table, quarter, rows.reset_index(drop=True))
    compared = 0
    for quarter in quarters:
        built = build_feature_table(whole, tape.source, quarter).set_index("event")
        before = quarter_examples(whole, tape.source, quarter)
        before = before[before["as_of"] <= moment].reset_index(drop=True)
        at = view(past, tape.source, before)
        again = pd.DataFrame({n: at.value(f) for n, f in tape.features.items()}, index=before["event"])
        assert moved(built.loc[before["event"], list(tape.features)], again) == {}
        compared += len(before)
    assert compared > 20


# Look-back


def test_more_history_than_declared_moves_nothing(tape: Tape) -> None:
    assert beyond_the_look_back(tape, tape.features) == {}


def test_the_deepest_look_back_of_all_moves_nothing(tape: Tape) -> None:
    """Each feature is the same alone as computed along with others that look further back."""
    some = standing(tape).about(tape.examples.iloc[:40])
    together = some.values()
    for name, feature in tape.features.items():
        assert moved(together[[name]], some.values(features={name: feature})) == {}


def test_judging_restless_price_series_only_changes_nothing(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = standing(tape)
    quick = tape.values()
    monkeypatch.setattr(price_basis, "_may_shift", lambda close: np.ones(len(close), dtype=bool))
    assert moved(quick, tape.values()) == {}


def _within(table: str, own: pd.Series | np.ndarray, single: Tape, feature: Feature) -> np.ndarray:
    """Which rows, by their own sessions or days, a feature may look at for one example.

    Prices are looked at also to be judged and put on one share basis.
    """
    today = single.examples["as_of"].dt.tz_localize(None).dt.normalize().iloc[0]
    declared = {name: max(feature.needs.get(name, 0), feature.may_use.get(name, 0)) for name in TABLES}
    sessions = declared["ohlcv"] + SHIFT_LOOK_BACK if declared["ohlcv"] else 0
    sessions += LATE_CLOSE_SESSIONS  # the market's last bars also tell which session is the last
    if TABLES[table].axis is Axis.SESSION:
        back = sessions if table == "ohlcv" else declared[table] + LATE_CLOSE_SESSIONS
        return np.asarray(position([today])[0] - own < back)
    reach = days_back(table, declared[table]) if declared[table] else -1
    if table == "corporate_actions":
        reach = max(reach, sessions * 3 // 2 + 1)
    return np.asarray((today - own).dt.days <= reach)


# Do these tests see a leak? Planted ones must be found, else nothing above means anything.


def _known_from_the_start(index: type) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        honest = index.__init__

        def leaking(self, owners, dates, available, **options) -> None:
            honest(self, owners, dates, np.where(available == NEVER, NEVER, 0), **options)

        patch.setattr(index, "__init__", leaking)

    return plant


def _counted_a_week_ahead(patch: pytest.MonkeyPatch) -> None:
    honest = KnownCounts.between
    week = 7 * 86_400 * 10**9
    patch.setattr(KnownCounts, "between", lambda self, groups, after, until: honest(self, groups, after, until + week))


PLANTS = {
    "stepped rows known from the start": _known_from_the_start(SteppedRows),
    "dated rows known from the start": _known_from_the_start(DatedRows),
    "counts that look a week ahead": _counted_a_week_ahead,
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
@pytest.mark.parametrize("name", ["generated", "synthetic", "real"])
def test_a_planted_leak_is_found(
    name: str, plant, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    tape = leaks.generated(0) if name == "generated" else request.getfixturevalue(name)
    plant(monkeypatch)
    assert leak(tape, 0.5, seed=1)


def test_a_feature_that_looks_at_its_neighbours_is_found(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = price._change
    monkeypatch.setattr(price, "_change", lambda at, sessions: honest(at, sessions) + len(at))
    assert {"price_change_5d", "earnings_surprise_x_price_momentum"} <= neighbours(tape, seed=0).keys()


def test_a_matrix_product_is_found(real: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price, "mean", lambda window: window @ np.full(window.shape[-1], 1 / window.shape[-1]))
    assert neighbours(real, seed=0)


def test_a_look_back_that_is_not_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = {"probe": probe(lambda at: np.nansum(at.window("macro", "value", 40, owner="DGS10"), axis=1), macro=20)}
    assert beyond_the_look_back(leaks.generated(0), greedy) == {}
    monkeypatch.setattr(KnownTable, "since", lambda self, rows, oldest_day: rows)
    assert beyond_the_look_back(leaks.generated(0), greedy)
