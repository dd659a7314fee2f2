"""The synthetic tape: deterministic, true to every contract, with the signal and the break that were planted."""

import hashlib
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from earlysignal_core.errors import SourceError
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic import attainable_auc, generate_tape
from earlysignal_core.sources.synthetic.companies import BENCHMARK, SECTORS
from earlysignal_core.sources.synthetic.world import World
from earlysignal_core.tables import TABLES, own_date
from earlysignal_core.trading_calendar import as_of, closes, position, sessions
from earlysignal_core.validation import checked

GENERATED = set(TABLES) - {"guidance", "short_interest", "sentiment"}  # those are tables of a user's own
SMALL = SyntheticSettings(symbols=12, quarters=4)
BREAK = Quarter.parse("2017-Q1")


def tape(folder: Path, spec: SyntheticSettings) -> dict[str, pd.DataFrame]:
    generate_tape(spec, folder)
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in GENERATED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("default")


@pytest.fixture(scope="module")
def steady(folder: Path) -> dict[str, pd.DataFrame]:
    return tape(folder, SyntheticSettings())


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    return tape(tmp_path_factory.mktemp("broken"), SyntheticSettings(break_quarter=str(BREAK)))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def new_york(moments: pd.Series) -> pd.Series:
    return moments.dt.tz_convert("America/New_York")


def surprise(earnings: pd.DataFrame) -> pd.Series:
    return (earnings["eps_actual"] - earnings["eps_estimate"]) / earnings["eps_estimate"].abs()


def large_beat(earnings: pd.DataFrame) -> pd.Series:
    return surprise(earnings) > 0.2 + 1e-9


class TestDeterminism:
    def test_same_specification_gives_same_bytes_in_any_process(self, tmp_path: Path) -> None:
        generate_tape(SMALL, tmp_path / "here")
        script = (
            "import sys; from pathlib import Path; from earlysignal_core.settings import SyntheticSettings as S;"
            "from earlysignal_core.sources.synthetic import generate_tape;"
            "generate_tape(S.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
        )
        environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path), "TZ": "Asia/Tokyo"}
        command = [sys.executable, "-c", script, SMALL.model_dump_json(), str(tmp_path / "there")]
        subprocess.run(command, check=True, env=environment)
        assert digests(tmp_path / "here") == digests(tmp_path / "there")

    def test_another_seed_gives_another_tape(self, tmp_path: Path) -> None:
        generate_tape(SMALL, tmp_path / "seven")
        generate_tape(SMALL.model_copy(update={"seed": 8}), tmp_path / "eight")
        seven, eight = digests(tmp_path / "seven"), digests(tmp_path / "eight")
        assert all(seven[name] != eight[name] for name in seven)


class TestContracts:
    @pytest.mark.parametrize("name", sorted(GENERATED))
    def test_every_table_passes_the_door_of_the_lake(self, steady: dict[str, pd.DataFrame], name: str) -> None:
        frame = steady[name]
        assert len(frame) > 0
        assert list(frame.columns) == TABLES[name].column_names
        assert len(checked(name, frame)) == len(frame)

    @pytest.mark.parametrize("spec", [SyntheticSettings(symbols=1, quarters=1), SMALL])
    def test_any_size_passes_too(self, tmp_path: Path, spec: SyntheticSettings) -> None:
        for name, frame in tape(tmp_path, spec).items():
            checked(name, frame)

    def test_description_names_what_is_there(self, folder: Path, steady: dict[str, pd.DataFrame]) -> None:
        description = json.loads((folder / "tape.json").read_text())
        assert description["name"] == "synthetic"
        assert description["prices"] == "raw"
        assert set(description["tables"]) == GENERATED == {path.stem for path in folder.glob("*.parquet")}
        assert description["event_dates"] == ["2014-01-01", "2018-12-31"]
        days = steady["ohlcv"]["session"]
        assert description["price_dates"] == [f"{days.min():%Y-%m-%d}", f"{days.max():%Y-%m-%d}"]

    def test_every_company_announces_once_a_quarter_on_a_session(self, steady: dict[str, pd.DataFrame]) -> None:
        earnings = steady["earnings"]
        quarters = earnings["announced_on"].dt.to_period("Q")
        assert (earnings.groupby(["symbol", quarters]).size() == 1).all()
        assert quarters.nunique() == 20
        assert earnings["announced_on"].isin(sessions()).all()
        assert set(earnings["session"]) == {"bmo", "amc"}

    def test_history_reaches_back_far_enough(self, steady: dict[str, pd.DataFrame]) -> None:
        first, last = steady["earnings"]["announced_on"].agg(["min", "max"])
        prices = steady["ohlcv"]["session"]
        assert prices.min() <= first - pd.DateOffset(months=14)
        assert prices.max() >= last + pd.DateOffset(weeks=6)
        assert steady["macro"].groupby("series")["period"].min().max() <= first - pd.DateOffset(years=2)

    def test_a_quarter_of_prices_is_one_row_group(self, folder: Path, steady: dict[str, pd.DataFrame]) -> None:
        metadata = pq.ParquetFile(folder / "ohlcv.parquet").metadata
        spans = [metadata.row_group(group).column(1).statistics for group in range(metadata.num_row_groups)]
        assert len(spans) == steady["ohlcv"]["session"].dt.to_period("Q").nunique()
        assert all(before.max < after.min for before, after in pairwise(spans))


class TestKnowableAt:
    def test_nothing_is_known_before_it_happened_or_after_the_tape(self, steady: dict[str, pd.DataFrame]) -> None:
        end = steady["ohlcv"]["session"].max() + pd.Timedelta(days=3)
        for name in GENERATED - {"universe", "earnings_calendar"}:
            known_on = new_york(steady[name]["available_at"]).dt.tz_localize(None)
            assert (known_on >= own_date(TABLES[name], steady[name])).all(), name
            assert (known_on < end).all(), name

    @pytest.mark.parametrize("name", ["ohlcv", "options", "corporate_actions"])
    def test_sessions_are_known_at_their_close(self, steady: dict[str, pd.DataFrame], name: str) -> None:
        frame = steady[name]
        expected = closes()[position(frame["session"])]
        assert (frame["available_at"].to_numpy() == expected.to_numpy()).all()

    def test_early_closes_are_early(self, steady: dict[str, pd.DataFrame]) -> None:
        bars = steady["ohlcv"].set_index("session")
        assert (bars.loc["2014-07-03", "available_at"] == pd.Timestamp("2014-07-03 17:00", tz="UTC")).all()

    def test_results_are_known_when_they_come_out(self, steady: dict[str, pd.DataFrame]) -> None:
        earnings = steady["earnings"]
        clock = new_york(earnings["available_at"]).dt.strftime("%H:%M")
        assert (clock == earnings["session"].map({"bmo": "08:00", "amc": "16:15"})).all()
        assert (
            new_york(earnings["available_at"]).dt.tz_localize(None).dt.normalize() == earnings["announced_on"]
        ).all()

    def test_statements_and_holdings_wait_for_their_filings(self, steady: dict[str, pd.DataFrame]) -> None:
        period = steady["income_statements"]["period_end"].dt.strftime("%y-%b")
        statements = steady["income_statements"].assign(fiscal_period=period)
        both = statements.merge(steady["earnings"], on=["symbol", "fiscal_period"], suffixes=("", "_announced"))
        assert len(both) == len(steady["earnings"])
        assert (both["available_at"] > both["available_at_announced"]).all()
        holdings = steady["institutional_holdings"]
        known_on = new_york(holdings["available_at"]).dt.tz_localize(None).dt.normalize()
        assert (known_on - holdings["period_end"] == pd.Timedelta(days=45)).all()

    def test_macro_values_are_released_late_and_revised(self, steady: dict[str, pd.DataFrame]) -> None:
        macro = steady["macro"].sort_values("available_at", kind="stable")
        lag = (new_york(macro["available_at"]).dt.tz_localize(None) - macro["period"]).dt.days
        assert (lag >= 1).all()
        first_release = lag.groupby(macro["series"]).min()
        assert first_release["GDPC1"] >= 90 + 28
        assert first_release["CPIAUCSL"] >= 28 + 12
        assert first_release["DCOILWTICO"] >= 5
        vintages = macro.groupby(["series", "period"])["value"].nunique()
        for series in ("GDPC1", "UNRATE", "CPIAUCSL"):
            assert (vintages[series] > 1).any(), series
        assert (vintages["VIXCLS"] == 1).all()

    def test_estimates_are_known_long_before_and_drift_to_the_last(self, steady: dict[str, pd.DataFrame]) -> None:
        snapshots = steady["earnings_estimates"].merge(
            steady["earnings"], on=["symbol", "fiscal_period"], suffixes=("", "_final")
        )
        assert (snapshots["snapshot_on"] < snapshots["announced_on"]).all()
        left = (snapshots["announced_on"] - snapshots["snapshot_on"]).dt.days
        assert (left.groupby([snapshots["symbol"], snapshots["fiscal_period"]]).max() > 180).all()
        off = (snapshots["eps_estimate"] / snapshots["eps_estimate_final"] - 1).abs()
        assert off[left < 10].median() < 0.02 < off[left > 150].median()
        assert (snapshots["eps_low"] < snapshots["eps_estimate"]).all()
        assert (snapshots["eps_estimate"] < snapshots["eps_high"]).all()


class TestMovedDates:
    def test_one_event_in_eight_moves_once(self, steady: dict[str, pd.DataFrame]) -> None:
        calendar = steady["earnings_calendar"].sort_values("available_at", kind="stable")
        rows = calendar.groupby(["symbol", "fiscal_period"])["expected_on"]
        assert rows.size().max() == 2
        assert 0.10 < (rows.size() == 2).mean() < 0.15
        moved = (rows.last() - rows.first())[rows.size() == 2].dt.days
        assert moved.between(-7, 10).all()
        assert (moved != 0).all()

    def test_the_last_date_known_before_is_that_of_the_announcement(self, steady: dict[str, pd.DataFrame]) -> None:
        calendar = steady["earnings_calendar"].sort_values("available_at", kind="stable")
        both = calendar.merge(steady["earnings"], on=["symbol", "fiscal_period"], suffixes=("", "_announced"))
        assert (both["available_at"] < both["available_at_announced"]).all()
        final = both.groupby(["symbol", "fiscal_period"]).last()
        assert len(final) == len(steady["earnings"])
        assert (final["expected_on"] == final["announced_on"]).all()

    def test_some_moves_are_known_at_as_of_and_some_are_not(self, steady: dict[str, pd.DataFrame]) -> None:
        both = steady["earnings_calendar"].merge(steady["earnings"], on=["symbol", "fiscal_period"])
        known = both["available_at_x"].to_numpy() <= as_of(both["announced_on"]).to_numpy()
        last = both["expected_on"] == both["announced_on"]
        assert 0 < (~known & last).sum() < last.sum() / 10
        assert (known | last).all()


class TestPrices:
    def test_bars_are_consistent(self, broken: dict[str, pd.DataFrame]) -> None:
        bars = broken["ohlcv"]
        assert (bars["low"] > 0).all()
        assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
        assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
        assert (bars["volume"] > 0).all()

    def test_everyone_trades_on_every_session(self, steady: dict[str, pd.DataFrame]) -> None:
        bars, universe = steady["ohlcv"], steady["universe"]
        assert set(bars["symbol"]) == {*universe["symbol"], *SECTORS.values(), BENCHMARK}
        assert set(universe["sector_etf"]) == set(SECTORS.values())
        span = sessions()[slice(*sessions().slice_locs(bars["session"].min(), bars["session"].max()))]
        assert (bars.groupby("symbol")["session"].nunique() == len(span)).all()

    def test_splits_show_in_raw_prices_and_volumes(self, steady: dict[str, pd.DataFrame]) -> None:
        actions = steady["corporate_actions"]
        splits = actions[actions["kind"] == "split"].set_index(["symbol", "session"])["value"]
        assert len(splits) >= 10
        bars = steady["ohlcv"].sort_values(["symbol", "session"]).set_index(["symbol", "session"])
        jump = bars["close"] / bars["close"].groupby(level=0).shift()
        assert np.allclose((jump * splits).dropna(), 1, atol=0.25)
        # No other day looks like one.
        assert jump.drop(splits.index).drop(BENCHMARK).dropna().between(0.6, 1.6).all()
        usual = bars["volume"].groupby(level=0).rolling(10).median().droplevel(0)
        more = usual.groupby(level=0).shift(-9) / usual.groupby(level=0).shift()
        assert (more.loc[splits.index] / splits).dropna().between(0.5, 2).all()

    def test_prices_react_to_the_news(self, steady: dict[str, pd.DataFrame]) -> None:
        close = steady["ohlcv"].pivot_table(index="session", columns="symbol", values="close")
        moves = close.pct_change(fill_method=None).abs()
        earnings = steady["earnings"]
        at = close.index.searchsorted(earnings["announced_on"]) + (earnings["session"] == "amc").to_numpy()
        reaction = moves.to_numpy()[at, close.columns.get_indexer(earnings["symbol"])]
        assert np.median(reaction) > 1.5 * np.nanmedian(moves.to_numpy())


class TestSignal:
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_the_base_rate_is_met(self, tmp_path: Path, seed: int) -> None:
        spec = SyntheticSettings(symbols=250, quarters=6, seed=seed)
        assert large_beat(tape(tmp_path, spec)["earnings"]).mean() == pytest.approx(0.12, abs=0.025)

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        base_rate=st.floats(0.05, 0.5),
        signal=st.floats(0.0, 2.0),
        break_quarter=st.sampled_from([None, "2014-Q1", "2015-Q4"]),
    )
    def test_true_probabilities_average_to_the_base_rate_in_both_regimes(
        self, seed: int, base_rate: float, signal: float, break_quarter: str | None
    ) -> None:
        spec = SyntheticSettings(
            symbols=60, quarters=8, seed=seed, base_rate=base_rate, signal=signal, break_quarter=break_quarter
        )
        world = World.of(spec)
        after = world.timeline.broken(world.timeline.scheduled)
        for regime in (after, ~after):
            if regime.any():
                assert world.signal.probability[:, regime].mean() == pytest.approx(base_rate, abs=1e-9)
        assert 0.5 <= attainable_auc(spec) + 1e-12 <= 1 + 1e-12

    def test_attainable_auc_is_that_of_the_true_probabilities(self) -> None:
        spec = SyntheticSettings(symbols=2000)
        signal = World.of(spec).signal
        drawn = roc_auc_score(signal.surprise.ravel() > 0.2, signal.probability.ravel())
        assert attainable_auc(spec) == pytest.approx(drawn, abs=0.01)

    def test_attainable_auc_grows_with_the_signal(self) -> None:
        aucs = [attainable_auc(SyntheticSettings(signal=strength)) for strength in (0.0, 0.5, 1.0, 2.0)]
        assert aucs[0] == 0.5
        assert aucs == sorted(aucs)
        assert 0.84 < aucs[2] < 0.90

    def test_the_past_of_a_company_nearly_attains_it(self, steady: dict[str, pd.DataFrame]) -> None:
        earnings = steady["earnings"].sort_values(["symbol", "announced_on"])
        past = surprise(earnings).groupby(earnings["symbol"]).transform(lambda s: s.shift().expanding(8).std())
        known = past.notna()
        auc = roc_auc_score(large_beat(earnings)[known], past[known])
        assert attainable_auc(SyntheticSettings()) - 0.08 < auc < attainable_auc(SyntheticSettings()) + 0.02

    def test_momentum_and_revisions_add_to_it(self, steady: dict[str, pd.DataFrame]) -> None:
        signal = World.of(SyntheticSettings(symbols=3000)).signal
        above = signal.surprise > 0.2
        assert signal.momentum[above].mean() > 0.15 + signal.momentum[~above].mean()
        assert signal.revision[above].mean() > 0.1 + signal.revision[~above].mean()


def before_and_after(days: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the two years before the break and the first full month after it."""
    start = BREAK.start
    before = (days >= start - pd.DateOffset(years=2)) & (days < start)
    return before, (days >= start) & (days < start + pd.DateOffset(months=1))


def drift(values: pd.Series, days: pd.Series) -> float:
    """Return the KS statistic over the limit from which a feature counts as drifting: above 1 it drifts."""
    before, after = before_and_after(days)
    reference, current = values[before].dropna(), values[after].dropna()
    limit = max(0.15, 2.15 * np.sqrt(1 / len(reference) + 1 / len(current)))
    return float(ks_2samp(reference, current).statistic) / limit


def quantities(tables: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Return the drift of some raw quantities as they are known at `as_of`."""
    earnings, estimates = tables["earnings"], tables["earnings_estimates"]
    events = earnings[["symbol", "fiscal_period", "announced_on"]].assign(as_of=as_of(earnings["announced_on"]))
    events = events.sort_values("as_of", kind="stable")
    bars = tables["ohlcv"].sort_values(["symbol", "session"])
    returns = np.log(bars["close"]).groupby(bars["symbol"]).diff()
    returns = returns.where(returns.abs() < 0.3)  # leaves out splits
    daily = bars.assign(
        volatility=returns.rolling(20, min_periods=15).std(),
        volume_ratio=bars["volume"].rolling(5).mean() / bars["volume"].rolling(20).mean(),
    ).sort_values("available_at", kind="stable")
    at = pd.merge_asof(events, daily, left_on="as_of", right_on="available_at", by="symbol")
    consensus = estimates.sort_values("available_at", kind="stable")
    expected = pd.merge_asof(
        events, consensus, left_on="as_of", right_on="available_at", by=["symbol", "fiscal_period"]
    )
    days = events["announced_on"].reset_index(drop=True)
    size = expected["eps_estimate"].abs()
    return {
        "volatility": drift(at["volatility"], days),
        "volume_ratio": drift(at["volume_ratio"], days),
        "estimate_to_price": drift(size / at["close"], days),
        "disagreement": drift((expected["eps_high"] - expected["eps_low"]) / size, days),
    }


class TestBreak:
    def test_features_drift_within_the_first_month(self, broken: dict[str, pd.DataFrame]) -> None:
        figures = quantities(broken)
        assert min(figures.values()) > 1.1, figures

    def test_without_a_break_nothing_drifts(self, steady: dict[str, pd.DataFrame]) -> None:
        figures = quantities(steady)
        assert max(figures.values()) < 1, figures

    def test_everything_before_the_break_is_as_without_it(
        self, steady: dict[str, pd.DataFrame], broken: dict[str, pd.DataFrame]
    ) -> None:
        for name in ("ohlcv", "options", "corporate_actions", "sec_filings", "price_targets"):
            date = TABLES[name].date
            one, other = (frames[name][frames[name][date] < BREAK.start] for frames in (steady, broken))
            pd.testing.assert_frame_equal(one, other)

    @pytest.mark.parametrize(("name", "sign"), [("steady", 1), ("broken", -1)])
    def test_the_relation_turns_round(self, name: str, sign: int, request: pytest.FixtureRequest) -> None:
        earnings = request.getfixturevalue(name)["earnings"]
        after = earnings["announced_on"] >= BREAK.start
        rates = [large_beat(part).groupby(part["symbol"]).mean() for part in (earnings[~after], earnings[after])]
        assert sign * rates[0].corr(rates[1], method="spearman") > 0.2

    def test_surprises_fall_and_spread(self, broken: dict[str, pd.DataFrame]) -> None:
        earnings = broken["earnings"]
        after = earnings["announced_on"] >= BREAK.start
        old, new = surprise(earnings[~after]), surprise(earnings[after])
        assert new.median() < old.median() - 0.05
        assert new.quantile(0.75) - new.quantile(0.25) > 1.3 * (old.quantile(0.75) - old.quantile(0.25))
        assert 0.08 < large_beat(earnings[after]).mean() < 0.17


class TestRefusals:
    @pytest.mark.parametrize("quarter", ["2013-Q4", "2015-Q1"])
    def test_a_break_outside_of_the_tape(self, tmp_path: Path, quarter: str) -> None:
        with pytest.raises(SourceError, match=f"break_quarter` {quarter} lies outside.*2014-Q1 to 2014-Q4"):
            generate_tape(SMALL.model_copy(update={"break_quarter": quarter}), tmp_path)

    @pytest.mark.parametrize("first", ["1991-Q1", "2034-Q4"])
    def test_a_tape_outside_of_the_calendar(self, tmp_path: Path, first: str) -> None:
        with pytest.raises(SourceError, match=r"trading calendar.*Remedy"):
            generate_tape(SMALL.model_copy(update={"first": first}), tmp_path)

    def test_an_interrupted_tape_has_no_description(self, tmp_path: Path) -> None:
        generate_tape(SMALL, tmp_path)

        def interrupt(done: float) -> None:
            if done > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            generate_tape(SMALL, tmp_path, progress=interrupt)
        assert not (tmp_path / "tape.json").exists()

    def test_progress_ends_at_one(self, tmp_path: Path) -> None:
        told: list[float] = []
        generate_tape(SMALL, tmp_path, progress=told.append)
        assert told == sorted(told)
        assert told[-1] == 1
