"""Alerts over the wire: a real webhook and a real mail server on the loopback, once a day, and nothing leaks."""

import json
import logging
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest
from pydantic import SecretStr

from earlysignal_core.monitoring.alerts import Alert, Delivery, Severity, send
from earlysignal_core.settings import Settings

ALERT = Alert(
    "drift:v2018.3.0",
    pd.Timestamp("2018-08-15"),
    Severity.CRITICAL,
    "Emergency retrain",
    "PSI is 0.41; the rule fires when psi > 0.2",
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


def never(key, day):
    return False


def test_a_webhook_gets_json():
    server = Webhook()
    with serving(server) as port:
        delivered = send(ALERT, SecretStr(f"json://127.0.0.1:{port}/hook/{TOKEN}"), never)
    assert delivered.outcome == Delivery.SENT
    [(path, headers, body)] = server.received
    assert path == f"/hook/{TOKEN}"
    assert headers["Content-Type"] == "application/json"
    content = json.loads(body)
    assert (content["title"], content["message"], content["type"]) == (ALERT.title, ALERT.text, "failure")


def test_a_mailbox_gets_a_message():
    server = MailServer()
    with serving(server) as port:
        url = SecretStr(f"mailto://127.0.0.1:{port}?from=alerts@example.org&to=desk@example.org&mode=insecure")
        delivered = send(ALERT, url, never)
    assert delivered.outcome == Delivery.SENT
    [message] = server.received
    assert "To: desk@example.org" in message
    assert f"Subject: {ALERT.title}" in message
    assert "PSI is 0.41" in message.replace("=\r\n", "")


def test_once_a_key_and_day():
    server, sent = Webhook(), set()
    with serving(server) as port:
        url = SecretStr(f"json://127.0.0.1:{port}/")
        for day in ("2018-08-15", "2018-08-15", "2018-08-16"):
            alert = Alert(ALERT.key, pd.Timestamp(day), Severity.WARNING, "t", "x")
            if send(alert, url, lambda key, day: (key, day) in sent).outcome == Delivery.SENT:
                sent.add((alert.key, alert.day))
    assert len(server.received) == len(sent) == 2


def test_one_target_that_fails_does_not_keep_the_others():
    server = Webhook()
    with serving(server) as port:
        urls = SecretStr(f"json://127.0.0.1:1/{TOKEN} json://127.0.0.1:{port}/ nonsense")
        delivered = send(ALERT, urls, never)
    assert len(server.received) == 1
    assert delivered.outcome == Delivery.PARTLY
    assert "target 1 (JSON) could not be reached" in delivered.detail
    assert "target 3" in delivered.detail


def test_without_a_target_it_says_so():
    assert send(ALERT, None, never).outcome == Delivery.NO_TARGET
    assert send(ALERT, SecretStr(" "), never).outcome == Delivery.NO_TARGET


@pytest.mark.parametrize(
    "kind", ["json://user:{}@127.0.0.1:1/{}", "nonsense://{}@{}", "{}{}", "mailto://{}:{}@x.invalid"]
)
@pytest.mark.parametrize("status", [None, 500])
def test_no_address_leaks(kind, status, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    url = kind.format(TOKEN, TOKEN)
    if status is None:
        delivered = send(ALERT, SecretStr(url), never)
    else:
        server = Webhook(status)
        with serving(server) as port:
            delivered = send(ALERT, SecretStr(url.replace(":1/", f":{port}/")), never)
    assert delivered.outcome == Delivery.FAILED
    said = capfd.readouterr()
    assert TOKEN not in delivered.detail + caplog.text + said.out + said.err


def test_addresses_come_from_the_environment_and_are_not_shown(monkeypatch):
    monkeypatch.setenv("EARLYSIGNAL_ALERT_URLS", f"json://127.0.0.1/{TOKEN}")
    settings = Settings()
    assert TOKEN in settings.alert_urls.get_secret_value()
    assert TOKEN not in repr(settings) + settings.model_dump_json()
