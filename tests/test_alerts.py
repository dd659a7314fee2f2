"""Alerts over the wire: a real webhook and a real mail server on the loopback, once a day, and nothing leaks."""

import json
import logging
import socketserver
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest
from ledgers import at_once
from pydantic import SecretStr

from earlysignal_core.ledger import alerts
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.ledger.vocabulary import Severity
from earlysignal_core.monitoring.alerts import Delivery, deliver, send
from earlysignal_core.settings import Settings

NOW = pd.Timestamp("2018-08-15 06:00", tz="UTC")
ALERT = Alert(
    "drift:v2018.3.0",
    pd.Timestamp("2018-08-15"),
    NOW,
    Severity.CRITICAL,
    "Emergency retrain",
    "PSI is 0.41: psi > 0.2 fires",
)
TOKEN = "-".join(["t0k3n", "nobody", "may", "read"])


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Webhook(HTTPServer):
    def __init__(self, status=200):
        self.status, self.received = status, []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


class MailServer(socketserver.TCPServer):
    allow_reuse_address = True

    def __init__(self):
        self.received = []
        super().__init__(("127.0.0.1", 0), Mail)


class Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs to hand over a message."""

    def handle(self):
        self.say("220 loopback")
        for line in iter(lambda: self.rfile.readline().decode().strip(), ""):
            verb = line.split()[0].upper()
            if verb == "DATA":
                self.say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                self.server.received.append("".join(lines))
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 loopback")

    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())


def test_a_webhook_gets_json():
    server = Webhook()
    with serving(server) as port:
        delivered = send(ALERT, SecretStr(f"json://127.0.0.1:{port}/hook/{TOKEN}"))
    assert delivered.outcome == Delivery.SENT
    [(path, headers, body)] = server.received
    assert path == f"/hook/{TOKEN}"
    assert headers["Content-Type"] == "application/json"
    content = json.loads(body)
    assert (content["title"], content["type"]) == (ALERT.title, "failure")
    assert content["message"].startswith(ALERT.body)


def test_a_mailbox_gets_a_message():
    server = MailServer()
    with serving(server) as port:
        url = SecretStr(f"mailto://127.0.0.1:{port}?from=alerts@example.org&to=desk@example.org&mode=insecure")
        delivered = send(ALERT, url)
    assert delivered.outcome == Delivery.SENT
    [message] = server.received
    assert "To: desk@example.org" in message
    assert f"Subject: {ALERT.title}" in message
    assert "PSI is 0.41" in message.replace("=\r\n", "")


def test_the_ledger_sends_each_alert_once_a_key_and_day(ledger):
    server = Webhook()
    for day in ("2018-08-15", "2018-08-15", "2018-08-16"):
        alerts.raise_alert(ledger, replace(ALERT, day=pd.Timestamp(day)))
    with serving(server) as port:
        url = SecretStr(f"json://127.0.0.1:{port}/")
        assert deliver(ledger, url, NOW) == {Delivery.SENT: 2}
        assert deliver(ledger, url, NOW) == {}
    assert len(server.received) == 2


def test_of_two_that_send_at_once_each_alert_has_one(ledger):
    server = Webhook()
    for number in range(6):
        alerts.raise_alert(ledger, replace(ALERT, key=str(number)))
    with serving(server) as port:
        url = SecretStr(f"json://127.0.0.1:{port}/")
        at_once(*[lambda: deliver(ledger, url, NOW)] * 3)
    assert len(server.received) == 6
    assert not alerts.unsent(ledger)


def test_an_alert_that_cannot_be_sent_waits_and_is_not_lost(ledger):
    alerts.raise_alert(ledger, ALERT)
    assert deliver(ledger, None, NOW) == {Delivery.NO_TARGET: 1}
    assert deliver(ledger, SecretStr(f"json://127.0.0.1:1/{TOKEN}"), NOW) == {Delivery.FAILED: 1}
    [waiting] = alerts.unsent(ledger)
    assert waiting.attempts == 1
    server = Webhook()
    with serving(server) as port:
        urls = SecretStr(f"json://127.0.0.1:{port}/ json://127.0.0.1:1/{TOKEN}")
        assert deliver(ledger, urls, NOW) == {Delivery.PARTLY: 1}
    assert (alerts.unsent(ledger), len(server.received)) == ([], 1)
    [error] = alerts.read(ledger)["error"]
    assert "target 2 (JSON) could not be reached" in error
    assert TOKEN not in error


def test_what_cannot_be_delivered_does_not_keep_the_others(ledger):
    for number in range(11):
        alerts.raise_alert(ledger, replace(ALERT, key=f"alert {number}"))
    dead = SecretStr(f"json://127.0.0.1:1/{TOKEN}")
    assert deliver(ledger, dead, NOW) == {Delivery.FAILED: 8}
    deliver(ledger, dead, NOW)
    assert min(waiting.attempts for waiting in alerts.unsent(ledger)) == 1, "each has been tried"


def test_one_target_that_fails_does_not_keep_the_others():
    server = Webhook()
    with serving(server) as port:
        urls = SecretStr(f"json://127.0.0.1:1/{TOKEN} json://127.0.0.1:{port}/ nonsense")
        delivered = send(ALERT, urls)
    assert len(server.received) == 1
    assert delivered.outcome == Delivery.PARTLY
    assert "target 1 (JSON) could not be reached" in delivered.detail
    assert "target 3" in delivered.detail


def test_without_a_target_it_says_so():
    assert send(ALERT, None).outcome == Delivery.NO_TARGET
    assert send(ALERT, SecretStr(" ")).outcome == Delivery.NO_TARGET


@pytest.mark.parametrize(
    "kind", ["json://user:{}@127.0.0.1:1/{}", "nonsense://{}@{}", "{}{}", "mailto://{}:{}@x.invalid"]
)
@pytest.mark.parametrize("status", [None, 500])
def test_no_address_leaks(kind, status, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    url = kind.format(TOKEN, TOKEN)
    if status is None:
        delivered = send(ALERT, SecretStr(url))
    else:
        server = Webhook(status)
        with serving(server) as port:
            delivered = send(ALERT, SecretStr(url.replace(":1/", f":{port}/")))
    assert delivered.outcome == Delivery.FAILED
    said = capfd.readouterr()
    assert TOKEN not in delivered.detail + caplog.text + said.out + said.err


def test_addresses_come_from_the_environment_and_are_not_shown(monkeypatch):
    monkeypatch.setenv("EARLYSIGNAL_ALERT_URLS", f"json://127.0.0.1/{TOKEN}")
    settings = Settings()
    assert TOKEN in settings.alert_urls.get_secret_value()
    assert TOKEN not in repr(settings) + settings.model_dump_json()
