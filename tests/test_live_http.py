"""The room to the providers over a real wire: retries where they help, deadlines, and keys that nobody sees."""

import logging
from contextlib import suppress

import pandas as pd
import pytest
from pydantic import SecretStr
from stand_ins.server import HTML, FakeClock, Reply, StandIn, as_json, as_text, closed_port

from earlysignal_core.lake import Lake
from earlysignal_core.sources.live.breaker import Breaker
from earlysignal_core.sources.live.clock import WallClock
from earlysignal_core.sources.live.errors import (
    BadKeyError,
    BreakerOpenError,
    ClockSkewError,
    NotFoundError,
    NotKeptError,
    ProviderError,
    QuotaExhaustedError,
    ServerFailedError,
    UnreachableError,
    UnreadableAnswerError,
)
from earlysignal_core.sources.live.fetch import FOREVER, Fetcher
from earlysignal_core.sources.live.http import Http, Provider, key_as_parameter
from earlysignal_core.sources.live.limits import Limit, LocalLimits
from earlysignal_core.sources.live.messages import Request
from earlysignal_core.sources.live.raw_store import RawStore
from earlysignal_core.sources.live.records import records

KEY = "-".join(["k3y", "nobody", "may", "read"])
ASK = Request("toy", "/rows", {"symbol": "A"})
ROWS = [{"n": 1}, {"n": 2}]


def judge(answer):
    if answer.status == 401:
        raise answer.failure(BadKeyError, answer.shown)
    if answer.status == 200:
        _ = answer.json


class Toy(StandIn):
    def __init__(self, rows=ROWS):
        super().__init__(lambda asked: as_json(rows))

    def http(self, clock, url=None, **more):
        where = {"": url or self.url}
        provider = Provider("toy", where, Limit(1000, 1.0), judge, SecretStr(KEY), key_as_parameter("apikey"))
        return Http(provider, LocalLimits(clock), clock, **more)


@pytest.fixture
def toy():
    with Toy() as started:
        yield started


@pytest.fixture
def clock():
    return FakeClock()


def test_an_answer_comes_with_the_moment_at_which_it_was_complete(toy, clock):
    answer = toy.http(clock).ask(ASK)
    assert answer.json == ROWS
    assert pd.Timestamp("2024-03-01 15:00", tz="UTC") < answer.fetched_at <= clock.now()
    assert toy.asked[0].params == {"symbol": "A", "apikey": KEY}, "on the wire the key is there"


@pytest.mark.parametrize(
    "fault", [as_json({}, 500), as_json({}, 503), HTML, as_text("[{", 200), Reply(hang_up=True)], ids=str
)
def test_what_may_pass_is_asked_again(toy, clock, fault):
    toy.fail(fault, times=3)
    assert toy.http(clock).ask(ASK).json == ROWS
    assert len(toy.asked) == 4
    assert [round(wait) for wait in clock.slept if wait > 0.5] == [1, 2, 4], "and more patiently each time"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (as_json({}, 500), ServerFailedError),
        (HTML, UnreadableAnswerError),
        (Reply(hang_up=True), UnreachableError),
        (Reply(200, b'[{"n": 1}]' * 50, cut=True), UnreachableError),
        (Reply(200, b"no gzip", {"Content-Encoding": "gzip"}), UnreachableError),
    ],
    ids=str,
)
def test_but_not_for_ever(toy, clock, fault, error):
    toy.fail(fault, times=9)
    with pytest.raises(error, match=r"toy: /rows symbol=A: .*Remedy: "):
        toy.http(clock).ask(ASK)
    assert len(toy.asked) == 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [(as_json({}, 401), BadKeyError), (as_json({}, 404), NotFoundError), (as_json({}, 302), ProviderError)],
    ids=str,
)
def test_what_cannot_pass_is_asked_once(toy, clock, fault, error):
    toy.fail(fault, times=9)
    with pytest.raises(error):
        toy.http(clock).ask(ASK)
    assert len(toy.asked) == 1


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({}, 60),
        ({"Retry-After": "7"}, 7),
        ({"Date": "Fri, 01 Mar 2024 14:50:00 GMT", "Retry-After": "Fri, 01 Mar 2024 14:50:09 GMT"}, 9),
        ({"Retry-After": "31536000"}, 3600),
        ({"Retry-After": "99999999999999"}, 3600),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 60),
    ],
)
def test_too_many_requests_wait_as_long_as_the_provider_says(toy, clock, headers, waited):
    toy.fail(Reply(429, b"{}", headers))
    assert toy.http(clock).ask(ASK).json == ROWS
    assert [round(wait) for wait in clock.slept] == [waited]


def test_too_many_requests_again_and_again_are_the_days_allowance(toy, clock):
    toy.fail(as_json({}, 429), times=9)
    http = toy.http(clock)
    with pytest.raises(QuotaExhaustedError, match="again and again"):
        http.ask(ASK)
    with pytest.raises(BreakerOpenError, match="not asked any more"):
        http.ask(ASK)
    assert len(toy.asked) == 4


def test_the_breaker_opens_after_failures_in_a_row_and_says_why(toy, clock):
    http = toy.http(clock, breaker=Breaker(after=2), attempts=1)
    toy.fail(as_json({}, 500), as_json(ROWS), as_json({}, 404), as_json({}, 500), as_json({"who": "me"}, 500))
    for _ in range(5):
        try:
            http.ask(ASK)
        except ProviderError as error:
            last = error
    assert isinstance(last, ServerFailedError)
    with pytest.raises(BreakerOpenError, match=r"not asked any more, since .*status 500.*who"):
        http.ask(ASK)
    assert len(toy.asked) == 5


def test_a_wrong_key_opens_the_breaker_at_once(toy, clock):
    toy.fail(as_json({}, 401))
    http = toy.http(clock)
    with pytest.raises(BadKeyError):
        http.ask(ASK)
    with pytest.raises(BreakerOpenError):
        http.ask(ASK)
    assert len(toy.asked) == 1


def test_gzip_is_unpacked(toy, clock):
    toy.fail(as_json([{"n": 9}] * 100, zipped=True))
    assert len(toy.http(clock).ask(ASK).json) == 100


def test_silence_ends_at_the_time_out(toy):
    toy.fail(as_json(ROWS, delay=0.5))
    with pytest.raises(UnreachableError, match="ReadTimeout"):
        toy.http(WallClock(), timeout=0.1, attempts=1).ask(ASK)


def test_a_body_that_drips_ends_at_the_deadline(toy):
    toy.fail(as_json(ROWS * 50, drip=0.01))
    with pytest.raises(UnreachableError, match=r"not complete after 0\.2 seconds"):
        toy.http(WallClock(), deadline=0.2, attempts=1).ask(ASK)


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", None])
def test_nobody_there(toy, clock, url):
    with closed_port() as nobody, pytest.raises(UnreachableError, match="ConnectError"):
        toy.http(clock, url=url or nobody, attempts=1).ask(ASK)


def test_a_slow_clock_does_not_date_an_answer_before_it_was_given(toy, clock):
    toy.fail(Reply(200, b"[]", {"Date": "Fri, 01 Mar 2024 16:00:00 GMT"}))
    assert toy.http(clock).ask(ASK).fetched_at == pd.Timestamp("2024-03-01 16:00", tz="UTC")


def test_a_clock_that_is_wrong_by_days_is_refused(toy, clock):
    toy.fail(Reply(200, b"[]", {"Date": "Sun, 03 Mar 2024 16:00:00 GMT"}))
    with pytest.raises(ClockSkewError, match="set the clock"):
        toy.http(clock).ask(ASK)


@pytest.mark.parametrize(
    "fault", [None, as_json({"you said": KEY}, 401), as_text(KEY, 500), Reply(hang_up=True), Reply(302)], ids=str
)
def test_the_key_is_nowhere(toy, clock, fault, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    if fault is not None:
        toy.fail(fault, times=9)
    seen = []
    fetcher = Fetcher(RawStore(Lake(str(tmp_path))), toy.http(clock))
    try:
        fetcher.fetch(ASK, FOREVER, lambda answer: answer.json)
    except ProviderError as error:
        while error is not None:
            seen += [str(error), repr(error), repr(vars(error))]
            error = error.__cause__ or error.__context__
    seen += [record.getMessage() + repr(vars(record)) for record in caplog.records]
    seen += [repr(toy.http(clock).provider)]
    for path in tmp_path.rglob("*"):
        seen += [str(path), path.read_bytes().hex() if path.is_file() else ""]
    assert not [text for text in seen if KEY in text or KEY.encode().hex() in text]
    assert any("/rows" in text for text in seen), "the library's own line is there, without the key"


@pytest.mark.parametrize(
    "form", ["abc+def/ghi==jkl", "abc%2Bdef%2Fghi%3D%3Djkl", "abc%2Bdef/ghi%3D%3Djkl", "abc+def\\/ghi==jkl"]
)
def test_a_key_that_is_repeated_in_another_form_is_blotted_out(toy, clock, form):
    key = SecretStr("abc+def/ghi==jkl")
    provider = Provider("toy", {"": toy.url}, Limit(1000, 1.0), judge, key, key_as_parameter("apikey"))
    toy.fail(as_text(f'{{"you asked": "?apikey={form}&x=1"}}', 401))
    with pytest.raises(BadKeyError) as raised:
        Http(provider, LocalLimits(clock), clock).ask(ASK)
    assert "?apikey=***&x=1" in str(raised.value)


PASSWORD = "-".join(["of", "the", "proxy"])


@pytest.mark.parametrize("there", [True, False])
def test_a_proxy_is_used_and_neither_its_password_nor_the_key_is_shown(toy, clock, there, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    with closed_port() as nobody:
        address = (toy.url if there else nobody).removeprefix("http://")
        monkeypatch.setenv("http_proxy", f"http://me:{PASSWORD}@{address}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        http = toy.http(clock, url="http://no-such-host.invalid", attempts=1)
        seen = [repr(http.provider)]
        try:
            assert http.ask(ASK).json == ROWS
        except UnreachableError as error:
            seen += [str(error), repr(error), repr(vars(error)), repr(error.__context__)]
        monkeypatch.setenv("http_proxy", nobody)
        assert toy.http(clock).ask(ASK).json == ROWS, "an address of `no_proxy` is asked directly"
    seen += [record.getMessage() + repr(vars(record)) for record in caplog.records]
    assert ("proxy-authorization" in toy.asked[0].headers) == there
    assert len(toy.asked) == 1 + there
    assert not [text for text in seen if KEY in text or PASSWORD in text]


# What is kept


def parse(answer):
    return [record.number("n") for record in records(answer)]


@pytest.fixture
def fetcher(toy, clock, tmp_path):
    return Fetcher(RawStore(Lake(str(tmp_path / "lake"))), toy.http(clock))


def test_what_is_fresh_enough_is_not_asked_again(toy, clock, fetcher):
    begin = clock.now()
    assert fetcher.fetch(ASK, begin, parse) == fetcher.fetch(ASK, begin, parse) == [1, 2]
    assert len(toy.asked) == 1
    clock.advance(days=1)
    fetcher.fetch(ASK, clock.now(), parse)
    assert len(toy.asked) == 2
    assert fetcher.tally.hit_rate == 1 / 3


def test_a_corrected_parser_needs_no_network(toy, clock, fetcher):
    toy.fail(as_json([{"number": 5}]))
    with pytest.raises(ProviderError, match=r"record 0: no field `n`, only number"):
        fetcher.fetch(ASK, FOREVER, parse)
    replay = Fetcher(fetcher.store, None)
    corrected = replay.fetch(ASK, clock.now(), lambda answer: [r.number("n", "number") for r in records(answer)])
    assert corrected == [5]
    with pytest.raises(NotKeptError, match="EARLYSIGNAL_LIVE__OFFLINE"):
        replay.fetch(Request("toy", "/rows", {"symbol": "B"}), FOREVER, parse)
    assert len(toy.asked) == 1


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        (as_json([]), r"0 row\(s\) where there were 2 before"),
        (as_json([{"n": 1}]), r"1 row\(s\) where there were 2 before"),
        (as_json([{"m": 1}] * 3), "no field `n`"),
        (as_json([{"n": "one"}] * 3), "`n` is 'one' where a number is due"),
        (as_json({"n": 1}), "dict where a list is due"),
        (as_json({}, 404), "status 404"),
    ],
    ids=str,
)
def test_a_worse_answer_is_refused_and_the_last_good_one_serves(toy, clock, fetcher, worse, why):
    fetcher.fetch(ASK, FOREVER, parse, keeps=1.0)
    clock.advance(days=1)
    toy.fail(worse)
    assert fetcher.fetch(ASK, clock.now(), parse, keeps=1.0) == [1, 2]
    (stale,) = fetcher.take_stale()
    assert stale.request == ASK
    assert pd.Series([str(stale.error)]).str.contains(why).all(), stale.error
    assert fetcher.take_stale() == []
    assert fetcher.fetch(ASK, clock.now(), parse, keeps=1.0) == [1, 2], "asked again, as the good one is old"
    assert fetcher.take_stale() == []


def test_where_nothing_good_was_ever_given_the_failure_is_raised(toy, clock, fetcher):
    toy.fail(as_json({}, 404))
    with pytest.raises(NotFoundError):
        fetcher.fetch(ASK, FOREVER, parse)


def test_an_answer_that_says_the_same_is_kept_once_and_counts_as_given_anew(toy, clock, fetcher, tmp_path):
    for _ in range(5):
        clock.advance(days=1)
        fetcher.fetch(ASK, clock.now(), parse)
    assert len(list(tmp_path.rglob("*.gz"))) == 1
    newest = next(fetcher.store.newest_first(ASK))
    assert clock.now() - newest.fetched_at < pd.Timedelta(hours=1)
    (first,) = fetcher.history(ASK, parse)
    assert clock.now() - first.fetched_at > pd.Timedelta(days=4)
    toy.fail(as_json([{"n": 7}]))
    clock.advance(days=1)
    assert fetcher.fetch(ASK, clock.now(), parse) == [7]
    assert fetcher.fetch(ASK, FOREVER, parse) == [7]


def test_every_answer_to_a_question_can_be_read_again(toy, clock, fetcher):
    for rows in ([{"n": 1}], [{"m": 2}], [{"n": 3}]):
        toy.fail(as_json(rows))
        clock.advance(days=1)
        with suppress(ProviderError):
            fetcher.fetch(ASK, clock.now(), parse)
    assert [kept.content for kept in fetcher.history(ASK, parse)] == [[1], [3]]


def test_an_answer_that_a_power_failure_cut_off_was_never_given(toy, clock, fetcher, tmp_path):
    fetcher.fetch(ASK, FOREVER, parse)
    (kept,) = tmp_path.rglob("*.gz")
    kept.write_bytes(b"")
    assert fetcher.history(ASK, parse) == []
    assert fetcher.fetch(ASK, FOREVER, parse) == [1, 2], "and is asked for again"
