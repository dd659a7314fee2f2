"""What the monitors are given: one row an event, nothing that was not known, and what does not count counted apart."""

from pathlib import Path

import hand_made
import knowable
import numpy as np
import pandas as pd
import pytest
from hand_made import closes, expected, night, prices
from ledgers import decision, later, prediction

from earlysignal_core.evaluation.resampling import Figure, undefined
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.table import scheduled_examples
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import deployments, prediction_requests, predictions, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.prediction_requests import PredictionRequest
from earlysignal_core.ledger.predictions import NO_MODEL, RULE
from earlysignal_core.ledger.vocabulary import DecisionKind, Fallback, Horizon, OutcomeStatus, Urgency
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.monitoring.live_quality import CACHE_LIMITS, live_quality
from earlysignal_core.monitoring.outcomes import collect_outcomes
from earlysignal_core.monitoring.performance import operations, production_performance
from earlysignal_core.monitoring.retrain_policy import calendar_figures
from earlysignal_core.monitoring.served import (
    WALK_FORWARD_AUC,
    WALK_FORWARD_AUC_LOW,
    Judged,
    arrivals,
    champion_auc,
    judged_events,
    recent_rows,
    requests,
    retrain_figures,
    season_end_of,
)
from earlysignal_core.quarterly import collect, collect_universe, described
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import ServingSettings, Settings, SyntheticSettings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.sources.synthetic import generate_tape
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import KNOWABLE

VERSION, NAN = "v2018.3.0", float("nan")
NOW = night("2018-07-25")
NO_ANSWER = {"predicted_probability": None, "predicted_class": None, "threshold": None, "model_version": NO_MODEL}
BY_RULE = {"predicted_probability": 0.3, "predicted_class": 1, "threshold": None, "model_version": RULE}

FRESHNESS = ServingSettings().freshness_days
HELD_TO, UNKNOWN = Figure(value=0.8, low=0.7), undefined("none")


def saved(lake: Lake, version: str = VERSION, **metadata: object) -> None:
    """A bundle of which only what it says of itself is read."""
    said = {"quarter": "2018-Q3", "input_sha256": version, "base_rate": 0.12, "test": {"auc": 0.8}} | metadata
    bundles.save(lake, Bundle("tree\n", {"features": [], "threshold": 0.3}, {}, said), version)


def announced(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Announcements as (symbol, day, estimate, actual)."""
    return pd.concat([knowable.announcements(symbol, ("18-Jun", *rest)) for symbol, *rest in rows])


def world(folder: Path, earnings: pd.DataFrame, *bars: pd.DataFrame) -> tuple[Lake, SourceDescription]:
    ohlcv = pd.concat([*(bars or [prices(symbol) for symbol in "ABC"]), prices(knowable.MARKET)])
    lake, source = hand_made.made(folder, earnings=earnings, ohlcv=ohlcv)
    saved(lake)
    return lake, source


def judged(ledger: Ledger, lake: Lake, source: SourceDescription, now: pd.Timestamp = NOW) -> Judged:
    collect_outcomes(ledger, lake, source, now)
    return judged_events(ledger, lake, source, now)


# Rows served lately


def test_recent_rows_are_one_an_event_and_the_last_with_a_probability(ledger: Ledger) -> None:
    said = {"price_change_5d": 0.1, "market_cap": NAN}
    predictions.record(
        ledger,
        [
            expected("A", "2018-07-10", features=said, predicted_probability=0.2),
            expected("A", "2018-07-12", features=said, predicted_probability=0.25),
            expected("A", "2018-07-13", features=said, **NO_ANSWER),
            expected("B", "2018-07-10", features=said, **NO_ANSWER),
            expected("C", "2018-07-10", features={}, **NO_ANSWER),
            expected("D", "2018-07-10", features=said, served=False),
            expected("E", "2018-06-10", features=said),
        ],
    )
    rows = recent_rows(ledger, night("2018-07-20"), 30)
    assert rows["event"].tolist() == ["A:18-Jun", "B:18-Jun"]
    np.testing.assert_array_equal(rows["probability"], [0.25, NAN])
    assert rows["price_change_5d"].tolist() == [0.1, 0.1]
    assert set(catalogue()) <= set(rows.columns)
    assert rows["as_of"].iloc[0] == pd.Timestamp("2018-07-05 20:00", tz="UTC")
    np.testing.assert_array_equal(recent_rows(ledger, night("2018-07-04"), 30)["probability"], [0.2, NAN])
    assert recent_rows(ledger, night("2018-07-20"), 30, VERSION)["event"].tolist() == ["A:18-Jun", "D:18-Jun"]


def test_without_rows_the_columns_are_there(ledger: Ledger) -> None:
    rows = recent_rows(ledger, NOW, 30)
    assert rows.empty
    assert (rows[list(catalogue())].dtypes == "float64").all()


# What is judged


def test_announcements_of_the_last_thirty_days_are_judged_by_what_became_of_them(
    ledger: Ledger, tmp_path: Path
) -> None:
    lake, source = world(tmp_path, announced(("A", "2018-07-10", 1.0, 1.5), ("B", "2018-07-11", 1.0, 1.0)))
    predictions.record(ledger, [expected("A", "2018-07-10"), expected("B", "2018-07-11"), expected("C", "2018-07-24")])
    predictions.record(ledger, [expected("D", "2018-07-28")])
    found = judged(ledger, lake, source)
    assert found.pending["announced_on"].tolist() == [pd.Timestamp("2018-07-24"), pd.Timestamp("2018-07-28")]
    rows = found.predictions.set_index("symbol")
    np.testing.assert_array_equal(rows["label"], [1, 0, NAN])
    assert (rows["never"] == 0.12).all()
    assert rows["threshold"].tolist() == [0.3, 0.3, 0.3]
    before, after = closes(prices("A"), "2018-07-03", "2018-07-10")
    assert rows.loc["A", "return_7d"] == pytest.approx(after / before - 1)
    before, after = closes(prices(knowable.MARKET), "2018-07-03", "2018-07-10")
    assert rows.loc["A", "benchmark_7d"] == pytest.approx(after / before - 1)
    assert set(found.positions["event"]) == {"A:18-Jun", "B:18-Jun"}
    assert {name: n for name, n in found.counts.items() if n} == {"pending": 1}
    measured = production_performance(
        found.predictions, found.earlier, found.positions, found.pending, champion_auc=HELD_TO
    )
    figures = measured.figures
    assert (figures["labelled"], figures["accuracy"]) == (2, 0.5)


def test_what_is_not_known_yet_is_not_judged(ledger: Ledger, tmp_path: Path) -> None:
    lake, source = world(tmp_path, announced(("A", "2018-07-10", 1.0, 1.5)))
    predictions.record(ledger, [expected("A", "2018-07-10")])
    collect_outcomes(ledger, lake, source, NOW)
    (row,) = judged_events(ledger, lake, source, pd.Timestamp("2018-07-10 21:59", tz="UTC")).predictions.to_dict(
        "records"
    )
    assert np.isnan(row["label"])
    assert judged_events(ledger, lake, source, night("2018-07-09")).predictions.empty
    assert judged_events(ledger, lake, source, night("2018-08-09")).predictions.empty
    assert judged_events(ledger, lake, source, night("2018-08-08")).predictions["label"].tolist() == [1]
    for table in source.tables:
        for quarter in lake.quarters(table):
            rows = lake.read(table, [quarter])
            lake.write(table, quarter, rows[rows[KNOWABLE] <= NOW].reset_index(drop=True))
    cut = judged_events(ledger, lake, source, NOW)
    assert cut.predictions["label"].tolist() == [1]


def test_what_has_not_come_has_no_position_and_what_has_not_ended_no_return(ledger: Ledger, tmp_path: Path) -> None:
    lake, source = world(tmp_path, announced(("A", "2018-07-10", 1.0, 1.5)))
    predictions.record(ledger, [expected("A", "2018-07-10"), expected("C", "2018-07-11")])
    early = judged(ledger, lake, source, night("2018-07-10")).predictions
    assert early["event"].tolist() == ["A:18-Jun"]
    assert early[["label", "return_7d", "benchmark_7d"]].isna().all(axis=None)
    found = judged(ledger, lake, source, night("2018-07-17"))
    assert found.counts["pending"] == 1
    assert set(found.positions["event"]) == {"A:18-Jun"}


def test_what_does_not_count_is_counted_apart(ledger: Ledger, tmp_path: Path) -> None:
    rows = announced(
        ("A", "2018-07-10", 1.0, 1.5),
        ("A", "2018-07-20", 1.0, 1.1),
        ("B", "2018-07-10", 0.0, 1.0),
        ("D", "2018-07-10", 1.0, 1.0),
    )
    bars = [prices("A"), prices("B"), prices("C"), prices("D", until="2018-07-06")]
    lake, source = world(tmp_path, rows, *bars)
    predictions.record(ledger, [expected(symbol, "2018-07-10") for symbol in "ABCD"])
    predictions.record(ledger, [expected("E", "2018-07-10", **NO_ANSWER), expected("F", "2018-07-10", **BY_RULE)])
    found = judged(ledger, lake, source)
    labels = dict(zip(found.predictions["symbol"], found.predictions["label"], strict=True))
    assert labels["A"] == 1  # restated to 0 since, which was not to be predicted
    assert np.isnan([labels["B"], labels["C"]]).all()
    assert found.counts == {
        "pending": 0,
        "no_event": 1,
        "unlabelled": 1,
        "restated": 1,
        "delisted": 1,
        "not_by_a_model": 2,
    }


def test_of_several_answers_the_last_of_a_model_counts_and_shadow_does_not(ledger: Ledger, tmp_path: Path) -> None:
    lake, source = world(tmp_path, announced(("A", "2018-07-16", 1.0, 1.5)))
    saved(lake, "v2018.3.1", base_rate=0.2)
    last = {"model_version": "v2018.3.1", "predicted_probability": 0.29}
    predictions.record(
        ledger,
        [
            expected("A", "2018-07-10"),
            expected("A", "2018-07-12", **last),
            expected("A", "2018-07-13", **BY_RULE),
            expected("A", "2018-07-14", **NO_ANSWER),
            expected("A", "2018-07-14", served=False, predicted_probability=0.01),
        ],
    )
    (row,) = judged(ledger, lake, source).predictions.to_dict("records")
    assert (row["version"], row["probability"], row["never"]) == ("v2018.3.1", 0.29, 0.2)
    assert row["announced_on"] == pd.Timestamp("2018-07-16")


def test_share_classes_are_one_company(ledger: Ledger, tmp_path: Path) -> None:
    twice = [
        knowable.announcements(symbol, ("18-Mar", "2018-04-10", 1.0, 1.23), ("18-Jun", "2018-07-10", 1.0, 1.31))
        for symbol in "AB"
    ]
    lake, source = world(tmp_path, pd.concat([*twice, announced(("C", "2018-07-10", 1.0, 1.0))]))
    predictions.record(ledger, [expected(symbol, "2018-07-10") for symbol in "ABC"])
    rows = judged(ledger, lake, source).predictions
    assert rows["company"].tolist() == ["A", "C"], "one result counts once"


def test_the_year_before_stands_beside_the_window(ledger: Ledger, tmp_path: Path) -> None:
    rows = pd.concat(
        [announced(("A", "2018-07-10", 1.0, 1.5)), knowable.announcements("A", ("18-Mar", "2018-04-10", 1.0, 1.0))]
    )
    lake, source = world(tmp_path, rows)
    predictions.record(ledger, [expected("A", "2018-04-10", "18-Mar"), expected("A", "2018-07-10")])
    found = judged(ledger, lake, source)
    assert found.predictions["event"].tolist() == ["A:18-Jun"]
    assert found.earlier[["event", "probability"]].to_numpy().tolist() == [["A:18-Mar", 0.25]]


def test_an_empty_ledger_is_judged_without_a_figure(ledger: Ledger, tmp_path: Path) -> None:
    lake, source = world(tmp_path, announced(("A", "2018-07-10", 1.0, 1.5)))
    found = judged(ledger, lake, source)
    measured = production_performance(
        found.predictions, found.earlier, found.positions, found.pending, champion_auc=UNKNOWN
    )
    figures = measured.figures
    assert figures["labelled"] == 0
    assert set(found.counts.values()) == {0}


# Requests, retrains, the champion


def test_requests_are_those_of_the_window_and_failed_without_an_answer(ledger: Ledger) -> None:
    made = [
        PredictionRequest(later(-31), "A", Fallback.NONE, 1.0),
        PredictionRequest(later(-1), "A", Fallback.NONE, 10.0, model_version=VERSION),
        PredictionRequest(later(-1), "A", Fallback.RULE, 20.0, error="the model failed"),
        PredictionRequest(later(-1), "A", Fallback.NO_ANSWER, 30.0, error="stale"),
        PredictionRequest(later(1), "A", Fallback.NONE, 40.0),
    ]
    prediction_requests.record(ledger, made)
    found = requests(ledger, later(0))
    assert found["latency_ms"].tolist() == [10, 20, 30]
    assert found["failed"].tolist() == [False, False, True]
    figures = operations(found).set_index("figure")["value"]
    assert figures["error_rate"] == pytest.approx(1 / 3)


def asked_for(ledger: Ledger, day: str, cause: str) -> retrain_requests.RetrainRequest:
    return retrain_requests.request_retrain(
        ledger,
        decision(DecisionKind.RETRAIN, night(day)),
        day=pd.Timestamp(day),
        cause=cause,
        urgency=Urgency.SCHEDULED,
        universe="sp500",
        window_months=None,
    )


def test_retrain_figures_follow_a_request(ledger: Ledger) -> None:
    def figures(day: str) -> list[float]:
        found = retrain_figures(ledger, pd.Timestamp(day)).figures
        return [found[name] for name in ("running_retrains", "open_requests", "days_since_retrain")]

    assert figures("2018-07-03") == [0, 0, np.inf]
    first = asked_for(ledger, "2018-07-03", "earnings season ended")
    assert figures("2018-07-03") == [0, 1, np.inf]
    retrain_requests.start(ledger, first.id, 1, "run", night("2018-07-07"))
    assert figures("2018-07-07") == [1, 1, 0]
    retrain_requests.finish(ledger, first.id, 1, night("2018-07-08"))
    assert figures("2018-07-10") == [0, 0, 3]
    monthly = asked_for(ledger, "2018-08-01", "monthly")
    assert figures("2018-08-02") == [0, 1, 26]
    retrain_requests.start(ledger, monthly.id, 1, "another run", night("2018-08-02"))
    retrain_requests.finish(ledger, monthly.id, 1, night("2018-08-02"))
    drifted = asked_for(ledger, "2018-08-03", "feature drift")
    retrain_requests.start(ledger, drifted.id, 1, "one more run", night("2018-08-04"))
    of_a_window = retrain_figures(ledger, pd.Timestamp("2018-08-10")).figures["days_since_window_retrain"]
    assert of_a_window == 6
    assert retrain_figures(ledger, pd.Timestamp("2018-08-03")).figures["days_since_window_retrain"] == np.inf
    assert retrain_figures(ledger, pd.Timestamp("2018-08-02")).last_season_retrain == pd.Timestamp("2018-07-03")
    assert retrain_figures(ledger, pd.Timestamp("2018-07-01")).last_season_retrain is None


def test_the_champion_is_held_to_its_walk_forward_else_to_its_test_part(ledger: Ledger, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    saved(lake)
    saved(lake, "v2018.3.1", test={"n": 3})
    assert champion_auc(ledger, lake, VERSION).value == 0.8
    assert np.isnan(champion_auc(ledger, lake, "v2018.3.1").value)
    # 67 events, a tenth of them large beats: by Hanley and McNeil, SE 0.11.
    saved(lake, "v2018.3.2", test={"n": 67, "base_rate": 6 / 67, "auc": 0.8})
    assert champion_auc(ledger, lake, "v2018.3.2").low == pytest.approx(0.8 - 1.96 * 0.112, abs=0.005)
    deployments.promote(ledger, "v2018.3.1", decision(DecisionKind.PROMOTION), over=None)
    assert np.isnan(champion_auc(ledger, lake, "v2018.3.1").value)
    walked = decision(DecisionKind.PROMOTION, later(1), figures={WALK_FORWARD_AUC: 0.83, WALK_FORWARD_AUC_LOW: 0.77})
    deployments.promote(ledger, VERSION, walked, over="v2018.3.1")
    held = champion_auc(ledger, lake, VERSION)
    assert (held.value, held.low) == (0.83, 0.77)


def test_a_damaged_model_is_still_known_by_its_own_words_and_damaged_words_are_not_believed(
    ledger: Ledger, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path))
    saved(lake)
    lake.write_bytes(f"{bundles.FOLDER}/{VERSION}/{bundles.MODEL_TEXT}", b"damaged")
    assert champion_auc(ledger, lake, VERSION).value == 0.8
    record = f"{bundles.FOLDER}/{VERSION}/{bundles.METADATA}"
    lake.write_bytes(record, lake.read_bytes(record).replace(b"0.8", b"0.9"))
    found = champion_auc(ledger, lake, VERSION)
    assert np.isnan(found.value)
    assert "is not what was written" in str(found.reason)


# The season


def season(quarter: str, companies: int, *, late: int = 0) -> pd.DataFrame:
    """Each company announces on a day of its own, the last ones after the quarter."""
    start = pd.Timestamp(quarter)
    days = [start + pd.Timedelta(days=20 + i + (90 if i >= companies - late else 0)) for i in range(companies)]
    period = f"{start - pd.Timedelta(days=1):%y-%b}"
    rows = [knowable.announcements(f"C{i}", (period, f"{day:%Y-%m-%d}", 1.0, 1.0)) for i, day in enumerate(days)]
    return pd.concat(rows)


def test_a_season_ends_with_the_ninth_of_ten_expected_announcements(tmp_path: Path) -> None:
    lake, source = hand_made.made(tmp_path, earnings=pd.concat([season("2018-01-01", 10), season("2018-04-01", 10)]))
    ninth = pd.Timestamp("2018-04-29")
    assert season_end_of(lake, source, pd.Timestamp("2018-04-29 21:59", tz="UTC")) is None
    assert season_end_of(lake, source, pd.Timestamp("2018-04-29 22:00", tz="UTC")) == ninth
    assert season_end_of(lake, source, night("2018-08-20")) == ninth
    assert calendar_figures(pd.Timestamp("2018-05-06"), ninth, None)["season_due"] == 1


def test_a_quarter_is_expected_to_be_like_that_of_the_year_before(tmp_path: Path) -> None:
    # In the first quarter only three announce, and one of ten is gone by the next year.
    quarters = [season("2018-01-01", 3), *(season(f"2018-{month}-01", 9) for month in ("04", "07", "10"))]
    lake, source = hand_made.made(tmp_path, earnings=pd.concat([*quarters, season("2019-01-01", 3)]))
    assert season_end_of(lake, source, night("2019-01-24")) == pd.Timestamp("2019-01-23")


# What arrives


def test_arrivals_are_the_moments_of_what_a_cache_got(tmp_path: Path) -> None:
    lake, source = world(tmp_path, announced(("A", "2018-07-10", 1.0, 1.5), ("B", "2018-07-26", 1.0, 1.0)))
    found = arrivals(lake, source, NOW)
    assert set(found) == {"earnings", "ohlcv"}
    assert found["earnings"].tolist() == [pd.Timestamp("2018-07-10 22:00", tz="UTC")]
    caches = live_quality(pd.DataFrame(), {}, {}, found, NOW, FRESHNESS).caches.set_index("cache")
    assert not caches.loc["ohlcv", "stale"]
    # What else a cache collects goes on: its prices are dead all the same.
    dividend = ("2018-07-24", "dividend", 0.5)
    rows = {"earnings": lake.read("earnings", [Quarter.parse("2018-Q3")]), "ohlcv": prices("A", until="2018-06-29")}
    dead, of = hand_made.made(tmp_path / "dead", corporate_actions=knowable.actions("A", dividend), **rows)
    caches = live_quality(pd.DataFrame(), {}, {}, arrivals(dead, of, NOW), NOW, FRESHNESS).caches.set_index("cache")
    assert caches.loc["ohlcv", "stale"]
    assert arrivals(lake, source, night("2019-12-31"))["ohlcv"].min() > night("2018-10-01")
    for file in (Path(lake.url) / "ohlcv").iterdir():
        file.unlink()
    assert live_quality(pd.DataFrame(), {}, {}, arrivals(lake, source, NOW), NOW, FRESHNESS).caches.set_index("cache")[
        "stale"
    ]["ohlcv"]


# A synthetic world


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, SourceDescription]:
    folder = tmp_path_factory.mktemp("synthetic")
    generate_tape(SyntheticSettings(symbols=40, quarters=4, first="2018-Q1"), folder / "tape")
    source, lake = TapeSource(folder / "tape", Settings()), Lake(str(folder / "lake"))
    collect_universe(source, lake)
    for cache in CACHE_LIMITS:
        collect(source, lake, cache, source.description.quarters)
    saved(lake)
    return lake, described(lake)


def test_a_month_of_production_is_collected_and_judged(
    ledger: Ledger, synthetic: tuple[Lake, SourceDescription]
) -> None:
    lake, source = synthetic
    first, last = night("2018-04-01"), night("2018-09-01")
    examples = scheduled_examples(lake, source, first, last)
    random = np.random.default_rng(0)
    predictions.record(
        ledger,
        [
            prediction(
                event=row.event,
                symbol=row.symbol,
                announced_on=row.announced_on,
                as_of=row.as_of,
                prediction_date=row.as_of + pd.Timedelta(hours=7),
                predicted_probability=float(random.uniform(0, 0.29)),
            )
            for row in examples.itertuples()
        ],
    )
    now = night("2018-10-15")
    found = collect_outcomes(ledger, lake, source, now)
    assert found.counts[Horizon.LABEL, OutcomeStatus.OBSERVED] == len(examples)
    assert found.counts[Horizon.DAYS_30, OutcomeStatus.OBSERVED] == len(examples)
    assert (sum(found.waiting.values()), found.overdue) == (0, 0)
    seen = judged_events(ledger, lake, source, night("2018-08-20"))
    assert len(seen.predictions) + len(seen.earlier) == len(examples[examples["as_of"] < night("2018-08-19")])
    labelled = seen.predictions[seen.predictions["label"].notna()]
    assert len(labelled) > 20
    earnings = lake.read("earnings", source.quarters)
    truth = earnings.assign(event=earnings["symbol"] + ":" + earnings["fiscal_period"]).set_index("event")
    assert (labelled["announced_on"] == labelled["event"].map(truth["announced_on"])).all()
    performance = production_performance(
        seen.predictions, seen.earlier, seen.positions, seen.pending, champion_auc=HELD_TO
    )
    assert performance.figures["labelled"] == len(labelled)
    assert set(arrivals(lake, source, now)) == set(CACHE_LIMITS) - {"sentiment"}  # which only a user brings
