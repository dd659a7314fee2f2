"""EODHD's chains as one row a session: volume by side, volatility at the money a month ahead."""

import numpy as np
import pandas as pd
import pytest
from stand_ins import eodhd as stand_in
from stand_ins.eodhd import KEY, EodhdStandIn, contract
from stand_ins.server import HTML, FakeClock, as_json

from earlysignal_core.lake import Lake
from earlysignal_core.settings import LiveSettings
from earlysignal_core.sources.live import eodhd
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    ProviderError,
    QuotaExhaustedError,
    TruncatedAnswerError,
    UnexpectedShapeError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import Fetcher
from earlysignal_core.sources.live.http import Http
from earlysignal_core.sources.live.limits import LocalLimits
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.validation import checked

DAY = pd.Timestamp("2024-02-15")
NOW = FakeClock().now()


@pytest.fixture
def provider():
    with EodhdStandIn() as started:
        yield started


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(provider, clock, tmp_path):
    settings = eodhd.provider(LiveSettings(eodhd_url=provider.url, eodhd_key=KEY))
    return eodhd.Eodhd(Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, LocalLimits(clock), clock)))


def test_a_session_is_one_row_known_at_its_close(provider, client):
    provider.contracts = [
        contract("A", "2024-02-15", "put", "2024-03-16", volume=30, volatility=0.22),
        contract("A", "2024-02-15", "call", "2024-03-16", volume=70, volatility=0.18),
        contract("A", "2024-02-15", "call", "2024-03-16", 110, volume=5, volatility=0, delta=0),
        contract("A", "2024-02-16", "call", "2024-03-16", 120, volume=999, traded="2024-02-15"),
        contract("B", "2024-02-15", "put", "2024-03-16", volume=1),
    ]
    row = client.session("A", DAY, NOW)
    assert (row["put_volume"], row["call_volume"]) == (30, 75), "the day is that of the id, not of the last trade"
    assert row["iv_30d"] == pytest.approx(0.20), "30 days, call and put"
    assert row["available_at"] == pd.Timestamp("2024-02-15 21:00", tz="UTC")
    checked("options", pd.DataFrame([row]))
    assert client.session("C", DAY, NOW) is None


def test_volumes_that_nobody_tells_are_not_zero(provider, client):
    provider.contracts = [
        contract("A", "2024-02-15", "put", "2024-03-16", volume=None),
        contract("A", "2024-02-15", "call", "2024-03-16", volume=70),
    ]
    row = client.session("A", DAY, NOW)
    assert np.isnan(row["put_volume"])
    assert row["call_volume"] == 70


def test_a_session_is_asked_for_once(provider, client, clock):
    provider.contracts = [contract("A", "2024-02-15", "put", "2024-03-16")]
    client.session("A", DAY, NOW)
    clock.advance(days=100)
    client.session("A", DAY, NOW)
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("contracts", "expected"),
    [
        ([("2024-02-25", 0.2, 0.5), ("2024-04-15", 0.3, 0.5)], np.sqrt((0.4 + (5.4 - 0.4) * 20 / 50) / 30)),
        ([("2024-03-16", 0.2, 0.5), ("2024-03-16", 0.4, 0.6)], 0.2),
        ([("2024-03-16", 0.2, 0.9)], np.nan),
        ([("2024-03-16", 0.0, 0.5)], np.nan),
        ([("2024-02-25", 0.2, 0.5)], np.nan),
        ([("2024-03-06", 0.25, 0.5)], 0.25),
        ([("2024-02-15", 0.9, 0.5), ("2024-03-16", 0.2, 0.5)], 0.2),
        ([], np.nan),
    ],
    ids=["in variance", "nearest to half", "far out", "not computed", "too near", "near enough", "expires", "none"],
)
def test_volatility_at_thirty_days(contracts, expected):
    chain = [
        {"type": "call", "expires_on": pd.Timestamp(day), "volatility": volatility, "delta": delta}
        for day, volatility, delta in contracts
    ]
    assert eodhd.volatility_at_30_days(chain, DAY) == pytest.approx(expected, nan_ok=True)


def test_pages_follow_one_another_and_never_by_the_providers_link(provider, client):
    provider.contracts = [contract("A", "2024-02-15", "put", "2024-03-16", strike, 1) for strike in range(1, 2501)]
    assert client.session("A", DAY, NOW)["put_volume"] == 2500
    assert [asked.params["page[offset]"] for asked in provider.asked] == ["0", "1000", "2000"]
    assert {asked.params["api_token"] for asked in provider.asked} == {KEY}


def test_a_chain_that_is_too_long_is_asked_by_expiry(provider, client):
    days = ["2024-02-16", "2024-03-15", "2024-04-19", "2025-01-17"]
    provider.contracts = [contract("A", "2024-02-15", "put", days[n % 4], n, 1) for n in range(12_000)]
    assert client.session("A", DAY, NOW)["put_volume"] == 12_000


def test_an_expiry_that_is_too_long_is_refused(provider, client):
    provider.contracts = [contract("A", "2024-02-15", "put", "2024-03-15", n, 1) for n in range(10_001)]
    with pytest.raises(TruncatedAnswerError, match="10001 contracts"):
        client.session("A", DAY, NOW)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (stand_in.QUOTA, QuotaExhaustedError),
        (as_json({"error": "Forbidden", "code": 403}, 403), BadKeyError),
        (as_json({}, 429), QuotaExhaustedError),
        (as_json({"error": "offset"}, 422), ProviderError),
        (HTML, UnreadableAnswerError),
        (as_json({"data": []}), UnexpectedShapeError),
        (as_json({"meta": {"total": 1}, "data": [{"id": "x", "attributes": None}]}), UnexpectedShapeError),
        (
            as_json({"meta": {"total": 1}, "data": [{"id": "x", "attributes": {"type": "warrant"}}]}),
            UnexpectedShapeError,
        ),
    ],
    ids=str,
)
def test_each_failure_has_its_class(provider, client, fault, error):
    provider.fail(fault, times=9)
    with pytest.raises(error) as raised:
        client.session("A", DAY, NOW)
    assert type(raised.value) is error


def test_an_empty_page_before_the_end_is_refused_and_asked_again(provider, client):
    provider.contracts = [contract("A", "2024-02-15", "put", "2024-03-16", volume=3)]
    provider.fail(as_json({"meta": {"total": 1}, "data": []}))
    with pytest.raises(UnexpectedShapeError, match="nothing from 0 on where there are 1 contracts"):
        client.session("A", DAY, NOW)
    assert client.session("A", DAY, NOW)["put_volume"] == 3


def test_what_was_seen_soon_after_the_close_does_not_vanish(provider, tmp_path):
    clock = FakeClock("2024-02-16 01:00")
    settings = eodhd.provider(LiveSettings(eodhd_url=provider.url, eodhd_key=KEY))
    fetcher = Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, LocalLimits(clock), clock))
    provider.contracts = [contract("A", "2024-02-15", "put", "2024-03-16", volume=3)]
    assert eodhd.Eodhd(fetcher).session("A", DAY, clock.now())["put_volume"] == 3
    clock.advance(days=1)
    provider.contracts = []
    assert eodhd.Eodhd(fetcher).session("A", DAY, clock.now())["put_volume"] == 3
    assert len(fetcher.take_stale()) == 1


def test_a_session_without_any_contract_is_asked_for_again_for_a_week(provider, tmp_path):
    clock = FakeClock("2024-02-17 15:00")
    settings = eodhd.provider(LiveSettings(eodhd_url=provider.url, eodhd_key=KEY))
    client = eodhd.Eodhd(Fetcher(RawStore(Lake(str(tmp_path))), Http(settings, LocalLimits(clock), clock)))
    for _ in range(2):
        assert client.session("A", DAY, clock.now()) is None
    assert len(provider.asked) == 1
    clock.advance(days=1)
    provider.contracts = [contract("A", "2024-02-15", "put", "2024-03-16", volume=3)]
    assert client.session("A", DAY, clock.now())["put_volume"] == 3
    for _ in range(20):
        clock.advance(days=1)
        assert client.session("B", DAY, clock.now()) is None
    assert len([asked for asked in provider.asked if asked.params["filter[underlying_symbol]"] == "B"]) == 5
