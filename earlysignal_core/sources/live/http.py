"""One thin room to the providers: turns, retries and deadlines; keys that nothing above the wire ever sees."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import quote, quote_plus
from urllib.request import getproxies, proxy_bypass

import httpx
import pandas as pd
import stamina
from pydantic import SecretStr

from earlysignal_core.sources.live.breaker import Breaker
from earlysignal_core.sources.live.clock import Clock
from earlysignal_core.sources.live.errors import (
    ClockSkewError,
    NotFoundError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerFailedError,
    UnreachableError,
)
from earlysignal_core.sources.live.limits import Limit, Limits, wait_for_turn
from earlysignal_core.sources.live.messages import Answer, Request

_MOST_SKEW = pd.Timedelta(days=1)
_SECRET = 8  # characters
_LONGEST_WAIT = 3600.0


WithKey = Callable[[httpx.Request, str], httpx.Request]


@dataclass(frozen=True)
class Provider:
    """How to speak with one provider.

    Attributes
    ----------
    name : str
    urls : mapping of str to str
        Its addresses by host; the one that `Request.host` means by default is ``""``.
    limit : Limit
    judge : callable
        Raises the provider's own error for an answer that is a failure, whatever its status.
    key : SecretStr, optional
    with_key : callable, optional
        Puts the key into a request on its way out.
    headers : mapping of str to str
    back_off : float
        Seconds to leave it alone after a 429 that does not say how long.
    """

    name: str
    urls: Mapping[str, str]
    limit: Limit
    judge: Callable[[Answer], None]
    key: SecretStr | None = None
    with_key: WithKey | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    back_off: float = 60.0


def key_as_parameter(name: str) -> WithKey:
    """Return what puts the key into the query under a name."""

    def with_key(request: httpx.Request, key: str) -> httpx.Request:
        return changed(request, url=request.url.copy_merge_params({name: key}))

    return with_key


def changed(request: httpx.Request, url: httpx.URL | None = None, content: bytes | None = None) -> httpx.Request:
    """Return a copy of a request with another address or content; time-outs, among its extensions, go with it."""
    return httpx.Request(
        request.method,
        url or request.url,
        headers={name: value for name, value in request.headers.items() if content is None or name != "content-length"},
        stream=request.stream if content is None else None,
        content=content,
        extensions=request.extensions,
    )


class Http:
    """Asks one provider.

    Parameters
    ----------
    provider : Provider
    limits : Limits
    clock : Clock
    breaker : Breaker
    timeout : float
        Seconds without a sign of life.
    deadline : float
        Seconds for a whole answer: a body that drips stays within every time-out.
    attempts : int
    """

    def __init__(
        self,
        provider: Provider,
        limits: Limits,
        clock: Clock,
        breaker: Breaker | None = None,
        *,
        timeout: float = 30.0,
        deadline: float = 120.0,
        attempts: int = 4,
    ) -> None:
        self.provider = provider
        self.breaker = breaker or Breaker()
        self._limits, self._clock = limits, clock
        self._deadline, self._attempts = deadline, attempts
        self._clients = {
            host: httpx.Client(
                base_url=url,
                headers={"Accept-Encoding": "gzip, deflate", **provider.headers},
                timeout=timeout,
                transport=_KeyedTransport(provider, url),
            )
            for host, url in provider.urls.items()
        }

    def ask(self, request: Request) -> Answer:
        """Return the answer to a question; asks again only where that can help.

        Raises
        ------
        ProviderError
            The provider's own class of failure.
        """
        self.breaker.check(self.provider.name, request.asked)
        try:
            answer = self._with_retries(request)
        except RateLimitedError as error:
            exhausted = QuotaExhaustedError(self.provider.name, request.asked, f"{error.problem}, again and again")
            self.breaker.failed(exhausted)
            raise exhausted from None
        except ProviderError as error:
            self.breaker.failed(error)
            raise
        self.breaker.succeeded()
        return answer

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def _with_retries(self, request: Request) -> Answer:
        # The waiting is done by `Limits`, for all workers at once: a provider in trouble is left alone by everyone.
        for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, ProviderError) and error.may_pass,
            attempts=self._attempts,
            timeout=None,
            wait_initial=0,
            wait_max=0,
            wait_jitter=0,
        ):
            with attempt:
                wait_for_turn(self._limits, self.provider.name, self.provider.limit, self._clock, request.asked)
                try:
                    answer = self._once(request)
                    self.provider.judge(answer)
                    judge_status(answer, self.provider.back_off)
                except ProviderError as error:
                    if error.may_pass:
                        wait = error.wait if error.wait is not None else 2.0 ** (attempt.num - 1)
                        self._limits.pause(self.provider.name, wait)
                    raise
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, request: Request) -> Answer:
        client, started = self._clients[request.host], self._clock.now()
        method = "GET" if request.payload is None else "POST"
        try:
            with client.stream(method, request.path, params=dict(request.params), json=request.payload) as response:
                chunks = []
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    if (self._clock.now() - started).total_seconds() > self._deadline:
                        raise self._unreachable(request, f"the body was not complete after {self._deadline:g} seconds")
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no more is known'}"
            raise self._unreachable(request, reason) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = self._without_key(b"".join(chunks))
        return Answer(request, body, self._fetched_at(request, headers), response.status_code, headers)

    def _without_key(self, body: bytes) -> bytes:
        """Hide the key where a provider repeats it in a complaint; a shorter one is a public word like `demo`."""
        key = self.provider.key.get_secret_value() if self.provider.key else ""
        if len(key) < _SECRET:
            return body
        in_json = json.dumps(key)[1:-1]
        for form in {key, quote(key), quote(key, safe=""), quote_plus(key), in_json, in_json.replace("/", "\\/")}:
            body = body.replace(form.encode(), b"***")
        return body

    def _fetched_at(self, request: Request, headers: Mapping[str, str]) -> pd.Timestamp:
        """Return the later of our time and the provider's: a slow clock may not date an answer before it was given."""
        now = self._clock.now().ceil("us")  # as it is kept
        told = _moment(headers.get("date"))
        if told is None:
            return now
        if abs(told - now) > _MOST_SKEW:
            raise ClockSkewError(self.provider.name, request.asked, f"it is {told} there and {now} here")
        return max(now, told)

    def _unreachable(self, request: Request, problem: str) -> UnreachableError:
        return UnreachableError(self.provider.name, request.asked, problem)


def judge_status(answer: Answer, back_off: float) -> None:
    """Raise what a status means with every provider.

    Raises
    ------
    ProviderError
    """
    status = answer.status
    said = f"status {status}: {answer.shown}"
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise answer.failure(RateLimitedError, said, retry_after(answer, back_off))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        wait = retry_after(answer) if status == httpx.codes.SERVICE_UNAVAILABLE else None
        raise answer.failure(ServerFailedError, said, wait)
    if status == httpx.codes.NOT_FOUND:
        raise answer.failure(NotFoundError, said)
    if status != httpx.codes.OK:
        raise answer.failure(ProviderError, said)


def retry_after(answer: Answer, default: float | None = None) -> float | None:
    """Return the seconds for which the provider wants to be left alone, or `default` where it does not say.

    A date is counted from the provider's own clock. Nobody waits longer than an hour: who is still refused then has
    used up the day's allowance.
    """
    told = answer.headers.get("retry-after", "").strip()
    if told.isdecimal():
        return min(float(told), _LONGEST_WAIT)
    until = _moment(told)
    if until is None:
        return default
    now = _moment(answer.headers.get("date")) or answer.fetched_at
    return min(max(0.0, float((until - now).total_seconds())), _LONGEST_WAIT)


def _moment(date: str | None) -> pd.Timestamp | None:
    try:
        stamp = pd.Timestamp(parsedate_to_datetime(date or "")).as_unit("ns")
    except ValueError:  # none, or one beyond what can be counted
        return None
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


class _KeyedTransport(httpx.BaseTransport):
    """Puts the key in below the library's logs and errors, so that what they show has none."""

    def __init__(self, provider: Provider, url: str) -> None:
        self._provider = provider
        address = httpx.URL(url)
        proxy = None if proxy_bypass(address.host) else getproxies().get(address.scheme)
        self._wire = httpx.HTTPTransport(proxy=proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if self._provider.with_key is not None and self._provider.key is not None:
            request = self._provider.with_key(request, self._provider.key.get_secret_value())
        return self._wire.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()
