"""Alerts by e-mail, chat or webhook through apprise: recorded first, then delivered; no address or token leaks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd
from pydantic import SecretStr

from earlysignal_core.ledger import alerts
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.vocabulary import Severity

_SENT = "was reached"
_AT_ONCE = 8  # deliveries of one call: a target that does not answer takes seconds each, a sensor has sixty
_KINDS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}


class Delivery(StrEnum):
    """What became of an alert."""

    SENT = "sent"
    PARTLY = "sent to some targets"
    FAILED = "failed"
    NO_TARGET = "no target"


@dataclass(frozen=True)
class Delivered:
    """What became of an alert, for the ledger: `detail` names targets by position and kind, never by address."""

    outcome: Delivery
    detail: str


def deliver(ledger: Ledger, urls: SecretStr | None, now: pd.Timestamp) -> dict[Delivery, int]:
    """Send alerts of the ledger that are still to be sent, and note what became of each.

    One that could not be sent stays, and is tried again by the next call; one that reached some of its targets counts
    as sent, with a note of the others, since trying again would repeat it to those who have it. Of two that send at
    once each alert has one.

    Returns
    -------
    dict of Delivery to int
        How many of each.
    """
    made: dict[Delivery, int] = {}
    # Those tried least come first: what cannot be delivered does not keep the others.
    for waiting in sorted(alerts.unsent(ledger), key=lambda each: each.attempts)[:_AT_ONCE]:
        with ledger.transaction() as joined:
            if not alerts.hold(joined, waiting.id):
                continue
            delivered = send(waiting.alert, urls)
            if delivered.outcome is Delivery.FAILED:
                alerts.mark_undelivered(joined, waiting.id, delivered.detail)
            elif delivered.outcome is not Delivery.NO_TARGET:
                missed = delivered.detail if delivered.outcome is Delivery.PARTLY else None
                alerts.mark_sent(joined, waiting.id, now, missed)
        made[delivered.outcome] = made.get(delivered.outcome, 0) + 1
        if delivered.outcome is Delivery.NO_TARGET:
            break
    return made


def send(alert: Alert, urls: SecretStr | None) -> Delivered:
    """Send an alert to every target.

    Parameters
    ----------
    alert : Alert
    urls : SecretStr or None
        apprise URLs, separated by spaces (`Settings.alert_urls`).

    Notes
    -----
    A target that cannot be reached never raises: an alert must not bring down what it tells of.
    """
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
    text = f"{alert.body}\n\n{alert.at:%Y-%m-%d %H:%M} UTC, rule: {alert.rule or 'none'}"
    sent = target.notify(title=alert.title, body=text, notify_type=NotifyType(_KINDS[alert.severity]))
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
