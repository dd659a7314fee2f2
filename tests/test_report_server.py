"""The reports of the lake are served, and nothing else is."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from earlysignal_assets.report_server import serving
from earlysignal_core.lake import Lake


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    root = tmp_path_factory.mktemp("lake")
    lake = Lake(str(root))
    lake.write_bytes("reports/walk-forward/report.html", b"<h1>All quarters</h1>")
    lake.write_bytes("reports/walk-forward.html", b"")
    lake.write_bytes("reports/walk-forward.json", b"")
    for version in ("v2018.9.0", "v2018.10.0"):
        lake.write_bytes(f"reports/models/{version}.html", b"")
        lake.write_bytes(f"reports/models/{version}.json", b"")
    for day in ("2018-02-01", "2018-02-03", "2018-02-02"):
        lake.write_bytes(f"reports/drift/{day}.html", b"")
    lake.write_bytes("reports/2018-Q3.html", b"<h1>One quarter</h1>")
    lake.write_bytes("reports/.hidden.html", b"secret")
    lake.write_bytes("models/secret.html", b"secret")
    (root.parent / "secret.html").write_text("secret")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with serving(lake, listener):
            yield listener.getsockname()[1]


def get(port: int, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Type"], answer.read().decode()


def test_reports_are_listed_and_served(port: int) -> None:
    status, kind, page = get(port, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert 'href="/2018-Q3.html"' in page
    assert 'href="/walk-forward/report.html"' in page
    assert "hidden" not in page
    assert get(port, "/walk-forward/report.html") == (200, "text/html; charset=utf-8", "<h1>All quarters</h1>")


def test_the_list_says_what_each_report_is_pages_first_and_the_newest_day_first(port: int) -> None:
    page = get(port, "/")[2]
    assert "every quarter judged" in page
    assert "Drift, day by day" in page
    places = [page.index(f'href="/drift/2018-02-0{day}.html">2018-02-0{day}<') for day in (3, 2, 1)]
    assert places == sorted(places)
    assert page.index("walk-forward.html") < page.index("walk-forward.json") < places[0]
    cards = [page.index(f'href="/models/v2018.{number}.0.html">v2018.{number}.0<') for number in (10, 9)]
    assert cards == sorted(cards)
    assert page.count("<li>") == page.count('.html"'), "figures stand beside their page"


@pytest.mark.parametrize(
    "path",
    [
        "/../models/secret.html",
        "/%2e%2e/models/secret.html",
        "/..%2fmodels/secret.html",
        "/walk-forward/../../models/secret.html",
        "/walk-forward/%2e%2e/%2e%2e/%2e%2e/secret.html",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/.hidden.html",
        "/walk-forward",
        "/walk-forward/",
        "/none.html",
        "/2018-Q3.html%00.png",
        "/..\\models\\secret.html",
    ],
)
def test_nothing_else_is(port: int, path: str) -> None:
    status, _, body = get(port, path)
    assert status == 404
    assert "secret" not in body


def test_an_empty_lake_says_how_to_fill_it(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with serving(Lake(str(tmp_path / "none")), listener):
            assert "make demo" in get(listener.getsockname()[1], "/")[2]
