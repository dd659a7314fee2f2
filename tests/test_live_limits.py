"""How often a provider is asked: by threads, by processes, in a day, and not at all while it wants to be left alone."""

import multiprocessing
import time
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from stand_ins.server import FakeClock, StandIn, as_json

from earlysignal_core.errors import PostgresError
from earlysignal_core.ledger.address import parse
from earlysignal_core.sources.live.clock import WallClock
from earlysignal_core.sources.live.errors import QuotaExhaustedError
from earlysignal_core.sources.live.http import Http, Provider
from earlysignal_core.sources.live.limits import Limit, LocalLimits, PostgresLimits, wait_for_turn
from earlysignal_core.sources.live.messages import Request

LIMIT = Limit(20, 2.0)


@pytest.fixture(params=["local", "postgres"])
def limits(request):
    if request.param == "local":
        yield LocalLimits(WallClock())
    else:
        opened = PostgresLimits(request.getfixturevalue("ledger_url"))
        yield opened
        opened.close()


@pytest.fixture
def name():
    return f"toy-{uuid.uuid4().hex}"


def test_turns_come_evenly_and_a_pause_moves_them(limits, name):
    limit = Limit(10, 100.0)
    waits = [limits.reserve(name, limit) for _ in range(3)]
    assert waits == pytest.approx([0, 10 / 0.97, 20 / 0.97], abs=0.5)
    assert limits.paused(name) == 0
    limits.pause(name, 600)
    limits.pause(name, 5)
    assert limits.paused(name) == pytest.approx(600, abs=1), "a shorter pause does not end a longer one"
    assert limits.reserve(name, limit) == pytest.approx(600, abs=1)
    assert limits.reserve(name, limit) == pytest.approx(600 + 10 / 0.97, abs=1)
    assert limits.reserve(name + "-other", limit) == 0, "and each provider has its own"


def test_a_clock_that_is_set_back_moves_what_lies_ahead_with_it(ledger_url, name):
    limit, clock = Limit(1, 100.0), FakeClock()
    local, shared = LocalLimits(clock), PostgresLimits(ledger_url)
    for limits in (local, shared):
        limits.reserve(name, limit)
        limits.pause(name, 600)
    clock.advance(hours=-3)
    later = """
        UPDATE limits.providers
        SET next_at = next_at + '3h', paused_until = paused_until + '3h', seen_at = seen_at + '3h'
        WHERE provider = :name
    """
    with create_engine(parse(ledger_url)).begin() as connection:  # the server's clock cannot be moved, what it said can
        connection.execute(text(later), {"name": name})
    for limits in (local, shared):
        assert limits.paused(name) == pytest.approx(600, abs=2)
        assert limits.reserve(name, limit) == pytest.approx(600, abs=2)
        assert limits.reserve(name, limit) == pytest.approx(600 + limit.interval, abs=2)
    shared.close()


def test_a_server_that_has_forgotten_a_provider_learns_it_again(ledger_url, name):
    limits = PostgresLimits(ledger_url)
    assert limits.reserve(name, LIMIT) == 0
    with create_engine(parse(ledger_url)).begin() as connection:  # as after a crash: the table has no log
        connection.execute(text("DELETE FROM limits.providers WHERE provider = :name"), {"name": name})
    assert limits.reserve(name, LIMIT) == 0
    limits.close()


def test_a_day_has_so_many_turns(limits, name):
    limit = Limit(1_000_000, 1.0, per_day=3)
    assert [limits.reserve(name, limit) is None for _ in range(5)] == [False, False, False, True, True]


def test_the_next_day_has_as_many_again():
    clock = FakeClock("2024-03-01 23:59")
    limits, limit = LocalLimits(clock), Limit(1_000_000, 1.0, per_day=1)
    wait_for_turn(limits, "toy", limit, clock, "/x")
    with pytest.raises(QuotaExhaustedError, match="1 requests today"):
        wait_for_turn(limits, "toy", limit, clock, "/x")
    clock.advance(minutes=2)
    wait_for_turn(limits, "toy", limit, clock, "/x")


def test_who_waits_for_a_turn_while_a_pause_begins_waits_for_its_end():
    clock = FakeClock()
    limits, limit = LocalLimits(clock), Limit(1, 10.0)
    limits.reserve("toy", limit)
    real = clock.sleep

    def told_to_stop_meanwhile(seconds):
        clock.sleep = real
        limits.pause("toy", 600)
        real(seconds)

    clock.sleep = told_to_stop_meanwhile
    begin = clock.now()
    wait_for_turn(limits, "toy", limit, clock, "/x")
    assert (clock.now() - begin).total_seconds() > 600


def test_who_oversleeps_takes_another_turn():
    clock = FakeClock()
    limits, limit, real = LocalLimits(clock), Limit(10, 1.0), clock.sleep
    limits.reserve("toy", limit)
    clock.sleep = lambda seconds: real(seconds + (0.09 if not clock.slept else 0))
    wait_for_turn(limits, "toy", limit, clock, "/x")
    first = clock.now()
    wait_for_turn(limits, "toy", limit, clock, "/x")
    assert len(clock.slept) == 3
    assert (clock.now() - first).total_seconds() == pytest.approx(limit.interval, abs=0.001)


@given(st.integers(1, 50), st.floats(0.1, 100), st.integers(2, 200))
def test_no_stretch_of_time_holds_more_than_is_allowed(requests, seconds, n):
    clock = FakeClock()
    limits, limit, at = LocalLimits(clock), Limit(requests, seconds), []
    for _ in range(n):
        wait_for_turn(limits, "toy", limit, clock, "/x")
        at.append(clock.now())
    moments = pd.Series(1, index=pd.DatetimeIndex(at))
    assert moments.rolling(pd.Timedelta(seconds=seconds)).sum().max() <= requests


@given(
    st.integers(1, 60), st.floats(0.1, 100), st.lists(st.floats(0, 1), min_size=100, max_size=100), st.integers(0, 99)
)
def test_nor_does_it_where_requests_miss_their_turns_by_as_much_as_they_may(requests, seconds, late, long):
    limits, limit = LocalLimits(FakeClock()), Limit(requests, seconds)
    late[:long] = [1.0] * long
    turns = [limits.reserve("toy", limit) + share * limit.patience for share in late]
    sent = np.sort(turns)
    within = np.arange(1, len(sent) + 1) - np.searchsorted(sent, sent - seconds, side="right")
    assert within.max() <= requests


def _worker(database, addresses, name):
    url, until = addresses.get()
    http = Http(Provider(name, {"": url}, LIMIT, lambda answer: None), PostgresLimits(database), WallClock())
    while time.monotonic() < until:
        http.ask(Request(name, "/rows"))


def test_four_processes_share_one_allowance(ledger_url, name):
    PostgresLimits(ledger_url).reserve(name, LIMIT)
    context = multiprocessing.get_context("fork")  # before the stand-in's threads begin
    addresses = context.Queue()
    workers = [context.Process(target=_worker, args=(ledger_url, addresses, name)) for _ in range(4)]
    for worker in workers:
        worker.start()
    with StandIn(lambda asked: as_json([])) as provider:
        begin = time.monotonic()
        for _ in workers:
            addresses.put((provider.url, begin + 4))
        for worker in workers:
            worker.join(20)
        assert [worker.exitcode for worker in workers] == [0] * 4
        at = pd.Series([asked.at for asked in provider.asked])
    stretch = [((at > moment - LIMIT.seconds) & (at <= moment)).sum() for moment in at]
    assert max(stretch) <= LIMIT.requests, "never more than is allowed"
    used = (len(at) - 1) / (at.max() - at.min()) / (LIMIT.requests / LIMIT.seconds)
    assert used >= 0.9, "and nearly all of it: 0.97 where no process oversleeps"


def test_without_a_server_it_says_so_and_hides_the_password():
    with pytest.raises(PostgresError, match="schema `limits`") as refused:
        PostgresLimits("postgresql://u:s3cret@127.0.0.1:1/x").reserve("toy", LIMIT)
    assert "s3cret" not in str(refused.value)
