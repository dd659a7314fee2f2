"""What is served is what is trained on, and every failure ends in a recorded answer."""

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from production import (
    CHAMPION,
    LAST,
    NOT_A_PROBABILITY,
    PREVIOUS,
    MemoryLedger,
    copied,
    cut_lake,
    damaged,
    due,
    flip_a_byte,
)

from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.table import active_features, scheduled_examples
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.vocabulary import Confidence, Fallback, Severity
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.baselines import LAST as LAST_SURPRISE
from earlysignal_core.quarterly import described
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving.last_surprise import frequency
from earlysignal_core.serving.model_cache import ModelCache
from earlysignal_core.serving.service import EarlySignalService
from earlysignal_core.settings import ServingSettings

NOW = pd.Timestamp("2016-01-05 03:00", tz="UTC")


@pytest.fixture(scope="session")
def lake(production_lake: Lake) -> Lake:
    return production_lake


@pytest.fixture(scope="session")
def table(lake: Lake) -> pd.DataFrame:
    return lake.read("feature_table", [LAST])


@pytest.fixture
def own_lake(lake: Lake, tmp_path: Path) -> Lake:
    return copied(lake, tmp_path / "lake")


def service(
    lake: Lake,
    ledger: MemoryLedger,
    timer: Callable[[], float] | None = None,
    now: pd.Timestamp = NOW,
    limits: ServingSettings | None = None,
) -> EarlySignalService:
    clock: Iterator[int] = count()
    return EarlySignalService(
        lake,
        described(lake),
        ledger,
        ledger,
        ledger,
        clock=lambda: now,
        timer=timer or (lambda: next(clock) * 0.01),
        settings=limits,
    )


@settings(max_examples=6)
@given(which=st.floats(0, 1))
def test_what_is_served_equals_the_feature_table_built_later(
    which: float, lake: Lake, table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    both = pd.concat([lake.read("feature_table", [LAST - 1]), table])
    moments = both["as_of"].sort_values().unique()
    moment = moments[int(which * (len(moments) - 1))]
    known = cut_lake(lake, tmp_path_factory.mktemp("cut"), moment)
    ledger = MemoryLedger()
    examples = scheduled_examples(known, described(known), moment, moment)
    answers = service(known, ledger, now=moment).predict_batch(examples)
    later = both[both["as_of"] == moment].set_index("event")
    assert {answer.event for answer in answers} >= set(later.index)
    names = list(active_features(described(lake)))
    model = bundles.load(lake, CHAMPION)
    for answer in answers:
        if answer.event in later.index:  # the others were announced in another quarter than the two looked at
            row = later.loc[[answer.event]]
            served = np.array([answer.features[name] for name in names])
            assert served.tobytes() == row[names].to_numpy(dtype="float64").tobytes()
            if answer.fallback == Fallback.NONE:
                assert answer.probability == model.predict(row)[0]


def test_one_request_is_answered_as_in_a_batch_and_recorded(lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(lake, table), MemoryLedger()
    asked = service(lake, ledger)
    together = asked.predict_batch(examples)
    first = examples.iloc[0]
    alone = asked.predict(first["symbol"], first["scheduled_on"], first["as_of"])
    model = bundles.load(lake, CHAMPION)
    assert alone.probability == together[0].probability
    assert alone.predicted_class == int(alone.probability >= model.threshold)
    assert (alone.model_version, alone.fallback, alone.error) == (CHAMPION, Fallback.NONE, None)
    assert alone.dataset_sha256 == model.metadata["dataset_sha256"]
    assert alone.threshold == model.threshold
    assert alone.requested_at == NOW
    assert ledger.recorded == [*together, alone]
    assert ledger.raised == []
    assert together[0].latency_ms == pytest.approx(30 / len(examples)), "four looks at the clock"


def test_nothing_asked_is_nothing_answered(lake: Lake, table: pd.DataFrame) -> None:
    ledger = MemoryLedger()
    assert service(lake, ledger).predict_batch(due(lake, table).iloc[:0]) == []
    assert ledger.raised == []


@pytest.mark.parametrize(
    ("symbol", "days", "hours", "why"),
    [("NOSUCH", 0, 0, "no announcement"), (None, 1, 0, "no announcement"), (None, 0, 1, "no announcement")],
)
def test_an_unknown_announcement_is_refused_and_recorded_and_wakes_nobody(
    lake: Lake, table: pd.DataFrame, symbol: str | None, days: int, hours: int, why: str
) -> None:
    row, ledger = due(lake, table).iloc[0], MemoryLedger()
    answer = service(lake, ledger).predict(
        symbol or row["symbol"],
        row["scheduled_on"] + pd.Timedelta(days=days),
        row["as_of"] + pd.Timedelta(hours=hours),
    )
    assert answer.probability is None
    assert answer.fallback == Fallback.NO_ANSWER
    assert why in str(answer.error)
    assert ledger.recorded == [answer]
    assert ledger.raised == []


def test_the_future_is_not_predicted_from(lake: Lake, table: pd.DataFrame) -> None:
    row, ledger = due(lake, table).iloc[0], MemoryLedger()
    early = row["as_of"] - pd.Timedelta(hours=1)
    answer = service(lake, ledger, now=early).predict(row["symbol"], row["scheduled_on"], row["as_of"])
    assert answer.probability is None
    assert "has not come yet" in str(answer.error)


def test_a_missing_partition_is_a_failed_extraction(own_lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(own_lake, table), MemoryLedger()
    missing = Quarter.of(examples["as_of"].iloc[0])
    (Path(own_lake.url) / "corporate_actions" / f"{missing}.parquet").unlink()
    answers = service(own_lake, ledger).predict_batch(examples)
    for answer in answers:
        assert (answer.probability, answer.predicted_class, answer.confidence) == (None, None, None)
        assert "feature extraction failed" in str(answer.error)
        assert f"no partition {missing}" in str(answer.error)
        assert answer.features == {}
    assert ledger.recorded == answers
    (alert,) = ledger.raised
    assert (alert.key, alert.day) == ("serving:features", pd.Timestamp("2016-01-05"))
    assert alert.figures == {"requests": len(examples)}


def test_a_missing_calendar_fails_a_single_request(own_lake: Lake, table: pd.DataFrame) -> None:
    row, ledger = due(own_lake, table).iloc[0], MemoryLedger()
    (Path(own_lake.url) / "earnings_calendar" / f"{LAST - 1}.parquet").unlink()
    answer = service(own_lake, ledger).predict(row["symbol"], row["scheduled_on"], row["as_of"])
    assert "feature extraction failed" in str(answer.error)
    assert [alert.key for alert in ledger.raised] == ["serving:features"]


def test_too_many_invalid_features_are_refused_and_the_others_are_answered(lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(lake, table), MemoryLedger()
    good = service(lake, MemoryLedger()).predict_batch(examples)
    unknown = examples.assign(symbol=examples["symbol"].mask(examples.index == 1, "NOSUCH"))
    answers = service(lake, ledger).predict_batch(unknown)
    assert re.match(r"6\d% of the \d+ active features are invalid", str(answers[1].error))
    assert (answers[1].probability, answers[1].fallback) == (None, Fallback.NO_ANSWER)
    assert np.isnan(answers[1].features[LAST_SURPRISE])
    assert answers[0].probability == good[0].probability
    assert all(answer.fallback == Fallback.NONE for i, answer in enumerate(answers) if i != 1)
    assert [alert.key for alert in ledger.raised] == ["serving:invalid"]
    assert ledger.raised[0].body.startswith("NOSUCH")
    tolerant = service(lake, MemoryLedger(), limits=ServingSettings(invalid_features=0.7))
    assert tolerant.predict_batch(unknown)[1].fallback == Fallback.NONE


def test_only_active_features_count(lake: Lake, table: pd.DataFrame) -> None:
    inactive = set(catalogue()) - set(active_features(described(lake)))
    answers = service(lake, MemoryLedger()).predict_batch(due(lake, table))
    assert all(inactive.isdisjoint(answer.features) for answer in answers)


def test_stale_caches_block_predictions(own_lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(own_lake, table), MemoryLedger()
    moment = examples["as_of"].iloc[0]
    for quarter in own_lake.quarters("ohlcv"):
        bars = own_lake.read("ohlcv", [quarter])
        own_lake.write("ohlcv", quarter, bars[bars["available_at"] <= moment - pd.Timedelta(days=8)])
    answers = service(own_lake, ledger).predict_batch(examples)
    assert all(answer.probability is None and "`ohlcv` 8" in str(answer.error) for answer in answers)
    assert [(alert.key, alert.severity) for alert in ledger.raised] == [("serving:stale", Severity.CRITICAL)]
    patient = service(own_lake, MemoryLedger(), limits=ServingSettings(freshness_days={"ohlcv": 10}))
    assert all("stale" not in str(answer.error) for answer in patient.predict_batch(examples))


def test_a_corrupt_champion_gives_way_to_the_version_before(own_lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(own_lake, table), MemoryLedger()
    flip_a_byte(own_lake, CHAMPION)
    serving = service(own_lake, ledger)
    answers = serving.predict_batch(examples)
    assert {(a.model_version, a.fallback) for a in answers} == {(PREVIOUS, Fallback.PREVIOUS_VERSION)}
    expected = bundles.load(own_lake, PREVIOUS).predict(table.set_index("event").loc[examples["event"]])
    assert [a.probability for a in answers] == list(expected)
    assert all("does not fit its hash" in str(a.error) for a in answers)
    assert [(a.key, a.severity) for a in ledger.raised] == [(f"serving:load:{CHAMPION}", Severity.WARNING)]
    flip_a_byte(own_lake, CHAMPION)  # repaired: the next request is served by it
    assert {a.model_version for a in serving.predict_batch(examples)} == {CHAMPION}


def test_without_any_model_there_is_no_answer_and_a_critical_alert(own_lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(own_lake, table), MemoryLedger()
    for version in (CHAMPION, PREVIOUS):
        flip_a_byte(own_lake, version)
    answers = service(own_lake, ledger).predict_batch(examples)
    assert all(a.probability is None and "no model could be loaded" in str(a.error) for a in answers)
    assert {alert.key: alert.severity for alert in ledger.raised}["serving:no_model"] == Severity.CRITICAL
    assert service(own_lake, MemoryLedger(None, None)).predict_batch(examples)[0].probability is None


def test_a_model_that_is_loaded_serves_on_when_its_file_breaks(own_lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(own_lake, table), MemoryLedger()
    serving = service(own_lake, ledger)
    before = serving.predict_batch(examples)
    flip_a_byte(own_lake, CHAMPION)
    assert [a.probability for a in serving.predict_batch(examples)] == [a.probability for a in before]


def raw_margins(lake: Lake) -> str:
    """The trees of the champion with another objective: log odds come out in place of probabilities."""
    return bundles.load(lake, CHAMPION).model_text.replace("objective=binary sigmoid:1", "objective=regression")


@pytest.mark.parametrize("change", [{"calibration": NOT_A_PROBABILITY}, {"features": ["no_such_feature"]}])
def test_a_failing_champion_gives_way_to_the_version_before(
    own_lake: Lake, table: pd.DataFrame, change: dict[str, object]
) -> None:
    damaged(own_lake, CHAMPION, "v9.9.9", **change)
    examples, ledger = due(own_lake, table), MemoryLedger("v9.9.9", CHAMPION)
    answers = service(own_lake, ledger).predict_batch(examples)
    assert {(a.model_version, a.fallback) for a in answers} == {(CHAMPION, Fallback.PREVIOUS_VERSION)}
    assert [alert.key for alert in ledger.raised] == ["serving:predict:v9.9.9"]
    assert all("v9.9.9 fails" in str(a.error) for a in answers)


def test_a_probability_of_one_point_two_is_never_served(own_lake: Lake, table: pd.DataFrame) -> None:
    text = raw_margins(own_lake)
    champion = bundles.load(own_lake, CHAMPION)
    # Every leaf of the first tree far up: a margin of 1.2 and more, taken for a probability.
    head, tree, rest = text.partition("leaf_value=")
    values, newline, rest = rest.partition("\n")
    lifted = " ".join(str(float(v) + 40) for v in values.split())
    damaged(
        own_lake,
        CHAMPION,
        "v9.9.9",
        # Without the sizes of the trees, which LightGBM aborts the process for where they are wrong.
        text=re.sub("tree_sizes=.*\n", "", head + tree + lifted + newline + rest),
        calibration={**NOT_A_PROBABILITY, "kind": "none"},
    )
    assert (bundles.load(own_lake, "v9.9.9").predict(table) > 1.2).all()
    examples, ledger = due(own_lake, table), MemoryLedger("v9.9.9", CHAMPION)
    answers = service(own_lake, ledger).predict_batch(examples)
    assert [a.probability for a in answers] == list(
        champion.predict(table.set_index("event").loc[[a.event for a in answers]])
    )
    assert [alert.key for alert in ledger.raised] == ["serving:probability:v9.9.9"]
    assert "v9.9.9 gave the probability" in str(answers[0].error)


def test_where_every_model_fails_the_rule_answers_with_what_history_says(own_lake: Lake, table: pd.DataFrame) -> None:
    damaged(own_lake, CHAMPION, "v9.9.9", calibration=NOT_A_PROBABILITY)
    known = table.set_index("event")[LAST_SURPRISE]
    moments = table[table[LAST_SURPRISE] > 15].groupby("as_of").size().index
    source, ledger = described(own_lake), MemoryLedger("v9.9.9", None)
    examples = pd.concat([scheduled_examples(own_lake, source, moment, moment) for moment in moments[:4]])
    answers = service(own_lake, ledger).predict_batch(examples.reset_index(drop=True))
    ruled = [a for a in answers if a.fallback == Fallback.RULE]
    assert ruled
    for answer in answers:
        over = known.get(str(answer.event), answer.features[LAST_SURPRISE]) > 15
        assert (answer.fallback == Fallback.RULE) == over
        if over:
            history = frequency(own_lake, answer.as_of)
            assert answer.probability == history.large_beats / history.cases
            assert (answer.predicted_class, answer.confidence) == (1, Confidence.LOW)
            assert (answer.threshold, answer.model_version) == (None, None)
            assert f"{history.large_beats} of {history.cases}" in str(answer.error)
        else:
            assert (answer.probability, answer.predicted_class) == (None, None)
            assert "no last surprise above 15 %" in str(answer.error)


def test_the_frequency_is_counted_by_hand(own_lake: Lake) -> None:
    moment = pd.Timestamp("2015-08-03 20:00", tz="UTC")
    rows = own_lake.read("feature_table", own_lake.quarters("feature_table"))
    labels = own_lake.read("labels", own_lake.quarters("labels")).set_index(["event", "announced_on"])
    cases = beats = 0
    for row in rows[rows[LAST_SURPRISE] > 15].itertuples():
        label = labels.loc[(row.event, row.announced_on)]
        if label["available_at"] <= moment and label["label"] in (0, 1):
            cases, beats = cases + 1, beats + int(label["label"])
    found = frequency(own_lake, moment)
    assert (found.cases, found.large_beats) == (cases, beats)
    assert found.cases >= 30
    assert frequency(own_lake, pd.Timestamp("2014-02-01", tz="UTC")).probability is None


def test_a_slow_answer_is_logged(lake: Lake, table: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    examples, ledger = due(lake, table), MemoryLedger()
    ticks = iter([0.0, 0.1, 0.1, 0.7 * len(examples), 10.0, 10.1, 10.2, 10.4])
    serving = service(lake, ledger, timer=lambda: next(ticks))
    with caplog.at_level(logging.WARNING, logger="earlysignal_core.serving.service"):
        serving.predict_batch(examples)
    assert "slow: up to 700 ms" in caplog.text
    assert [round(a.latency_ms) for a in ledger.recorded] == [700] * len(examples)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="earlysignal_core.serving.service"):
        serving.predict_batch(examples.iloc[:1])
    assert "slow" not in caplog.text


class CountingLake(Lake):
    """A lake that counts how often each path is read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reads: list[str] = []

    def read_bytes(self, path: str) -> bytes:
        self.reads.append(path)
        return super().read_bytes(path)


def test_threads_share_one_loading_of_a_model(lake: Lake) -> None:
    counting = CountingLake(lake.url)
    cache = ModelCache(counting)
    with ThreadPoolExecutor(16) as pool:
        models = list(pool.map(cache.get, [CHAMPION, PREVIOUS] * 40))
    assert len({id(model) for model in models}) == 2
    assert len(counting.reads) == len(set(counting.reads)) == 2 * len(bundles.FILES)


def test_the_cache_forgets_what_was_used_longest_ago(lake: Lake) -> None:
    counting = CountingLake(lake.url)
    cache = ModelCache(counting, capacity=1)
    for version in (CHAMPION, CHAMPION, PREVIOUS, CHAMPION):
        assert cache.get(version).bundle.version == version
    assert len(counting.reads) == 3 * len(bundles.FILES)


def test_threads_get_the_answers_of_one(lake: Lake, table: pd.DataFrame) -> None:
    examples, ledger = due(lake, table), MemoryLedger()
    alone = service(lake, MemoryLedger()).predict_batch(examples)
    serving = service(lake, ledger, timer=lambda: 0.0)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: serving.predict_batch(examples), range(8)))
    assert all([a.probability for a in answers] == [a.probability for a in alone] for answers in together)
    assert len(ledger.recorded) == 8 * len(examples)
