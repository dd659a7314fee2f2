"""How often a provider may be asked: one limit for all threads, and through PostgreSQL for all processes."""

import math
import threading
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - it is a class
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError

from earlysignal_core.errors import PostgresError
from earlysignal_core.ledger.address import parse, redact
from earlysignal_core.sources.live.clock import Clock
from earlysignal_core.sources.live.errors import QuotaExhaustedError

_SHARE = 0.97
"""Of the allowance: requests that were sent in time may still arrive a little closer together."""

_NO_TIME = 0.001  # seconds


@dataclass(frozen=True)
class Limit:
    """What a provider allows.

    Attributes
    ----------
    requests : int
    seconds : float
        Requests in any stretch of so many seconds; they are spread evenly.
    per_day : int or None
        Requests in a day (UTC), where there is such a limit.
    """

    requests: int
    seconds: float
    per_day: int | None = None

    @property
    def interval(self) -> float:
        """Seconds from one request to the next."""
        return self.seconds / (self.requests * _SHARE)

    @property
    def patience(self) -> float:
        """Seconds by which a request may miss its turn: a busy machine wakes nobody to the millisecond.

        With less than `seconds * (1 / _SHARE - 1)` no window holds more than is allowed. Half of it is left to the
        wire, or less where turns come so fast that half of it is nothing beside their distance.
        """
        spare = self.seconds * (1 / _SHARE - 1)
        return min(0.9 * spare, max(spare / 2, self.interval / 4))


class Limits(Protocol):
    """Gives out turns, and lets everyone leave a provider alone."""

    def reserve(self, provider: str, limit: Limit) -> float | None:
        """Take the next free turn and return the seconds until it comes; None where the day has none left."""
        ...

    def pause(self, provider: str, seconds: float) -> None:
        """Let no turn begin for so many seconds."""
        ...

    def paused(self, provider: str) -> float:
        """Return the seconds until turns begin again, 0 where they do."""
        ...


def wait_for_turn(limits: Limits, provider: str, limit: Limit, clock: Clock, asked: str) -> None:
    """Wait until the provider may be asked.

    Raises
    ------
    QuotaExhaustedError
        If the day's allowance is used up.
    """
    for last_try in (False, False, False, True):
        wait = limits.reserve(provider, limit)
        if wait is None:
            raise QuotaExhaustedError(provider, asked, f"our own count has reached {limit.per_day} requests today")
        due = clock.now() + pd.Timedelta(seconds=wait)
        while wait > 0:
            clock.sleep(wait)
            wait = limits.paused(provider)  # another may have been told to stop meanwhile
        late = (clock.now() - due).total_seconds()
        if last_try or late <= max(limit.patience, _NO_TIME):
            return  # who overslept would come too close to the next, and takes another turn


class LocalLimits:
    """Turns for the threads of one process.

    Parameters
    ----------
    clock : Clock
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = clock.now()
        self._next: dict[str, pd.Timestamp] = {}
        self._paused_until: dict[str, pd.Timestamp] = {}
        self._used: dict[tuple[str, pd.Timestamp], int] = {}

    def reserve(self, provider: str, limit: Limit) -> float | None:
        """Take the next free turn and return the seconds until it comes; None where the day has none left."""
        with self._lock:
            now = self._now()
            day = (provider, now.normalize())
            if limit.per_day is not None and self._used.get(day, 0) >= limit.per_day:
                return None
            self._used[day] = self._used.get(day, 0) + 1
            turn = max(now, self._next.get(provider, now), self._paused_until.get(provider, now))
            self._next[provider] = turn + pd.Timedelta(seconds=limit.interval)
            return float((turn - now).total_seconds())

    def pause(self, provider: str, seconds: float) -> None:
        """Let no turn begin for so many seconds."""
        with self._lock:
            until = self._now() + pd.Timedelta(seconds=seconds)
            self._paused_until[provider] = max(until, self._paused_until.get(provider, until))

    def paused(self, provider: str) -> float:
        """Return the seconds until turns begin again, 0 where they do."""
        with self._lock:
            now = self._now()
            return max(0.0, float((self._paused_until.get(provider, now) - now).total_seconds()))

    def _now(self) -> pd.Timestamp:
        """Return the moment. Where the clock was set back, what lies ahead moves with it: nobody waits for longer."""
        now = self._clock.now()
        if now < self._seen:
            for moments in (self._next, self._paused_until):
                moments.update({provider: moment - (self._seen - now) for provider, moment in moments.items()})
        self._seen = now
        return now


# Nothing here is worth a write-ahead log: after a crash the providers begin with a fresh allowance at worst.
_TABLE = """
CREATE SCHEMA IF NOT EXISTS limits;
CREATE UNLOGGED TABLE IF NOT EXISTS limits.providers (
    provider text PRIMARY KEY,
    next_at timestamptz NOT NULL DEFAULT '-infinity',
    paused_until timestamptz NOT NULL DEFAULT '-infinity',
    day date NOT NULL DEFAULT '-infinity',
    used integer NOT NULL DEFAULT 0
);
ALTER TABLE limits.providers ADD COLUMN IF NOT EXISTS seen_at timestamptz NOT NULL DEFAULT 'epoch'
"""
_ALONE = "SELECT pg_advisory_xact_lock(hashtext('earlysignal limits'))"
_ENTER = "INSERT INTO limits.providers (provider) VALUES (:provider) ON CONFLICT DO NOTHING"
# One statement under the row's lock: the server's clock is the one that all processes share. Where it was set back,
# what lies ahead moves with it, and nobody waits for longer.
_RESERVE = """
UPDATE limits.providers
SET next_at = make_interval(secs => :interval) + greatest(
        greatest(next_at, paused_until) - greatest(seen_at - clock_timestamp(), '0'), clock_timestamp()
    ),
    paused_until = paused_until - greatest(seen_at - clock_timestamp(), '0'),
    seen_at = clock_timestamp(),
    used = CASE WHEN day = (clock_timestamp() AT TIME ZONE 'UTC')::date THEN used + 1 ELSE 1 END,
    day = (clock_timestamp() AT TIME ZONE 'UTC')::date
WHERE provider = :provider
  AND (CAST(:per_day AS integer) IS NULL OR used < :per_day OR day <> (clock_timestamp() AT TIME ZONE 'UTC')::date)
RETURNING extract(epoch FROM next_at - make_interval(secs => :interval) - clock_timestamp())
"""
_PAUSE = """
UPDATE limits.providers
SET paused_until = greatest(
        paused_until - greatest(seen_at - clock_timestamp(), '0'), clock_timestamp() + make_interval(secs => :seconds)
    ),
    next_at = next_at - greatest(seen_at - clock_timestamp(), '0'),
    seen_at = clock_timestamp()
WHERE provider = :provider
"""
_PAUSED = """
SELECT extract(epoch FROM paused_until - greatest(seen_at - clock_timestamp(), '0') - clock_timestamp())
FROM limits.providers WHERE provider = :provider AND paused_until > clock_timestamp()
"""


class PostgresLimits:
    """Turns for every process that names the same database: workers of a backfill share one allowance.

    It keeps a table of its own, in the schema ``limits``, made when first needed.

    Parameters
    ----------
    url : str
        Like ``postgresql://user:password@host:5432/database``.
    """

    def __init__(self, url: str) -> None:
        self._shown = redact(url)
        self._engine = create_engine(
            parse(url),
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            pool_size=8,
            max_overflow=24,
            connect_args={"connect_timeout": 10, "application_name": "earlysignal limits"},
        )
        event.listen(self._engine, "connect", _settle)
        self._entered: set[str] = set()
        self._lock = threading.Lock()

    def reserve(self, provider: str, limit: Limit) -> float | None:
        """Take the next free turn and return the seconds until it comes; None where the day has none left."""
        for _ in range(2):  # a server that crashed has forgotten the provider
            self._enter(provider)
            found = self._ask(_RESERVE, provider=provider, interval=limit.interval, per_day=limit.per_day)
            if found is not None:
                return max(0.0, found)
            self._entered.discard(provider)
        return None

    def pause(self, provider: str, seconds: float) -> None:
        """Let no turn begin for so many seconds."""
        self._enter(provider)
        self._ask(_PAUSE, provider=provider, seconds=seconds)

    def paused(self, provider: str) -> float:
        """Return the seconds until turns begin again, 0 where they do."""
        return max(0.0, self._ask(_PAUSED, provider=provider) or 0.0)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _enter(self, provider: str) -> None:
        with self._lock:
            if provider in self._entered:
                return
            try:
                with self._engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
                    connection.execute(text(_ALONE))  # of two that create a schema at once, one would fail
                    connection.execute(text(_TABLE))
                    connection.execute(text(_ENTER), {"provider": provider})
                    connection.commit()
            except DBAPIError as error:
                raise self._explained(error) from None
            self._entered.add(provider)

    def _ask(self, statement: str, **values: object) -> float | None:
        try:
            with self._engine.connect() as connection:
                answer = connection.execute(text(statement), values)
                row = answer.first() if answer.returns_rows else None
        except DBAPIError as error:
            raise self._explained(error) from None
        return float(row[0]) if row is not None and math.isfinite(row[0]) else None

    def _explained(self, error: DBAPIError) -> PostgresError:
        said = " ".join(str(error.orig).split())
        return PostgresError(
            f"cannot keep the providers' limits in {self._shown}: {said}. Remedy: check that the server runs and that "
            f"its user may create the schema `limits`."
        )


def _settle(connection: DriverConnection, _record: object) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
