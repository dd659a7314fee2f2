"""Alerts by e-mail, chat or webhook through apprise: once a key and day, and no address or token ever leaks."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd
from pydantic import SecretStr

_SENT = "was reached"


class Severity(StrEnum):
    """How bad it is; apprise shows each its own way."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "failure"


class Delivery(StrEnum):
    """What became of an alert."""

    SENT = "sent"
    PARTLY = "sent to some targets"
    FAILED = "failed"
    REPEATED = "sent before"
    NO_TARGET = "no target"


@dataclass(frozen=True)
class Alert:
    """Something that a person should know.

    Attributes
    ----------
    key : str
        Alerts with one key are sent once a day: ``drift:v2018.3.0``, ``run failed:predictions``.
    day : Timestamp
        On the domain's clock.
    severity : Severity
    title, text : str
    """

    key: str
    day: pd.Timestamp
    severity: Severity
    title: str
    text: str


@dataclass(frozen=True)
class Delivered:
    """What became of an alert, for the ledger: `detail` names targets by position and kind, never by address."""

    outcome: Delivery
    detail: str


def send(alert: Alert, urls: SecretStr | None, already_sent: Callable[[str, pd.Timestamp], bool]) -> Delivered:
    """Send an alert to every target, unless it was sent before.

    Parameters
    ----------
    alert : Alert
    urls : SecretStr or None
        apprise URLs, separated by spaces (`Settings.alert_urls`).
    already_sent : callable
        Given key and day, says whether such an alert was sent; the caller records what this function returns.

    Notes
    -----
    A target that cannot be reached never raises: an alert must not bring down what it tells of.
    """
    if already_sent(alert.key, alert.day):
        return Delivered(Delivery.REPEATED, "sent before on this day")
    targets = urls.get_secret_value().split() if urls is not None else []
    if not targets:
        return Delivered(Delivery.NO_TARGET, "EARLYSIGNAL_ALERT_URLS is not set")
    with _silence():
        reached = [_notify(alert, url) for url in targets]
    said = [f"target {number} ({kind}) {outcome}" for number, (kind, outcome) in enumerate(reached, start=1)]
    failed = [line for line, (_, outcome) in zip(said, reached, strict=True) if outcome != _SENT]
    if not failed:
        return Delivered(Delivery.SENT, "; ".join(said))
    outcome = Delivery.FAILED if len(failed) == len(targets) else Delivery.PARTLY
    return Delivered(outcome, "; ".join(failed) + ". Remedy: check EARLYSIGNAL_ALERT_URLS and the network")


def _notify(alert: Alert, url: str) -> tuple[str, str]:
    """Return the target's kind and what became of the alert; an address that is none may hold a token anywhere."""
    from apprise import Apprise, NotifyType

    target = Apprise()
    if not target.add(url):
        return "unknown", "is no address that apprise knows"
    sent = target.notify(title=alert.title, body=alert.text, notify_type=NotifyType(alert.severity))
    return str(target[0].service_name), _SENT if sent else "could not be reached"


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what the libraries log while sending: their lines hold addresses, user names and tokens."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3.connectionpool")]
    for logger in loggers:
        logger.addFilter(drop)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(drop)
