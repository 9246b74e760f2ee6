"""The dashboard as a real Chromium sees it: all there, from this machine alone, and nothing can be changed by it."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest
from playwright.sync_api import Browser, Page

from autotune.errors import UsageError
from autotune.experiment.events import Event, Failure, Sample
from autotune.experiment.synthetic_boards import LABEL
from autotune.runner.dashboard import Dashboard, serve
from autotune.runner.guard import guarded
from autotune.storage.store import Store
from night_example import BEST, REFUSED, a_night, a_store, a_study

HOSTILE = '<img src=x onerror="window.broken=1"> ![x](http://192.0.2.1/x.png) - [z]: http://192.0.2.1/z ![z] [y](javascript:window.broken=1) <script>window.broken=1</script>'
STUDY = a_study()
LOG = a_night(STUDY, meters=True)


def hostile(log: list[Event]) -> list[Event]:
    return [one.model_copy(update={"reason": HOSTILE}) if isinstance(one, Failure) else one for one in log]


@dataclass(slots=True)
class Served:
    """A dashboard that runs, and the database below it."""

    url: str
    database: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, headers=headers)
        return connection.getresponse()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As `autotune dashboard` starts it, and as Ctrl-C ends it."""
    database = tmp_path_factory.mktemp("dashboard") / "night.db"
    url = a_store(database, STUDY, hostile(LOG))
    words = [sys.executable, "-m", "autotune", "dashboard", "--port", "0", "--storage", url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            yield Served(first.split()[-1], database)
        finally:
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said == "The dashboard has ended.\n"
    assert "Traceback" not in rest


@dataclass(slots=True)
class Seen:
    """What a page asked for, and what it complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def watched(page: Page) -> Seen:
    seen = Seen()
    page.on("request", lambda request: seen.requests.append(f"{request.method} {request.url}"))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("response", lambda one: seen.complaints.extend([one.url] if one.status >= 400 else []))
    return seen


@pytest.mark.slow
def test_every_page_loads_and_asks_nothing_of_anybody_else(served: Served, page: Page) -> None:
    seen = watched(page)
    for path, shows in (
        ("/", "invented"),
        ("/dashboard/studies/0", "Hyperparameter Importance"),
        ("/dashboard/studies/0/analytics", "Slice"),
        (f"/dashboard/studies/0/trials?numbers={BEST}", "Best Trial"),
        ("/dashboard/studies/0/note", "The report"),
        ("/report/invented", "automatic"),
    ):
        page.goto(served.url + path)
        page.wait_for_load_state("networkidle")
        page.get_by_text(shows).first.wait_for(timeout=20_000)
    assert {one.split("/")[2] for one in seen.requests if "://" in one} == {served.url.split("/")[2]}
    assert {one.split()[0] for one in seen.requests} == {"GET"}
    assert seen.complaints == []


@pytest.mark.slow
def test_a_trial_has_its_note_its_outputs_and_the_way_to_the_report(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/dashboard/studies/0/trials?numbers={BEST}")
    page.get_by_text(re.compile("It changes")).first.wait_for(timeout=20_000)
    sample = next(
        one for one in LOG if isinstance(one, Sample) and one.arm.number == BEST and one.arm.kind == "trial"
    )
    page.get_by_text(f"{sample.key.text.replace('/', '-')}.txt").first.wait_for(timeout=20_000)
    with page.expect_navigation():
        page.get_by_role("link", name="The report").first.click()
    assert page.url == f"{served.url}/report/invented"


@pytest.mark.slow
def test_what_a_machine_said_does_nothing_in_the_browser(served: Served, page: Page) -> None:
    seen = watched(page)
    page.goto(f"{served.url}/dashboard/studies/0/trials?numbers={REFUSED}")
    page.get_by_text("window.broken").first.wait_for(timeout=20_000)
    for link in page.get_by_role("link", name="y", exact=True).all():
        assert "javascript" not in (link.get_attribute("href") or "")
    assert page.evaluate("window.broken") is None
    assert not [one for one in page.evaluate("[...document.images].map(one => one.naturalWidth)") if one]
    assert {one.split("/")[2] for one in seen.requests if one.startswith("GET http://127")} == {
        served.url.split("/")[2]
    }


def test_deleting_is_refused_and_the_database_is_as_it_was(served: Served, page: Page) -> None:
    before = served.database.read_bytes()
    page.goto(f"{served.url}/dashboard")
    for method, path in (
        ("DELETE", "/api/studies/0"),
        ("POST", "/api/studies/0/rename"),
        ("PUT", "/api/studies/0/note"),
        ("POST", "/api/trials/1/user-attrs"),
    ):
        status = page.evaluate(
            "([path, method]) => fetch(path, {method, body: '{}'}).then(answer => answer.status)",
            [path, method],
        )
        assert status == 405
    assert b"invented" in served.ask("GET", "/api/studies").read()
    assert served.database.read_bytes() == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_only_looking_is_answered(served: Served, method: str) -> None:
    assert served.ask(method, "/api/studies/0").status == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "10.0.0.1"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(served: Served, host: str) -> None:
    assert served.ask("GET", "/api/studies", Host=host).status == 403
    assert served.ask("GET", "/report/invented", Host=host).status == 403


def test_no_page_of_elsewhere_may_read_an_answer(served: Served) -> None:
    trials = served.ask("GET", "/api/studies/0").read().decode()
    artifact = re.search(r'"artifact_id": "([0-9a-f]{32})"', trials)
    trial = re.search(r'"trial_id": ([0-9]+)[^{}]*"number": 1,', trials)
    assert artifact is not None
    assert trial is not None
    for path in ("/api/studies", "/report/invented", f"/artifacts/0/{trial[1]}/{artifact[1]}"):
        answer = served.ask("GET", path, Origin="http://evil.example")
        assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]
        assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"


def test_it_listens_on_this_machine_s_loopback_alone(served: Served) -> None:
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    listening = re.findall(rf"([0-9A-F]{{8,32}}):{served.port:04X} [0-9A-F:]+ 0A", table)
    assert listening == ["0100007F"]


@pytest.mark.parametrize("path", ["/report/other", "/report/invented/7", "/report/..%2f..%2fetc", "/report/"])
def test_a_report_that_is_not_there_is_said(served: Served, path: str) -> None:
    assert served.ask("GET", path).status == 404


def test_what_a_night_adds_is_there_after_a_while(tmp_path: Path) -> None:
    url = a_store(tmp_path / "night.db", STUDY, LOG[:20])

    def trials(shown: Dashboard) -> int:
        environ = {"PATH_INFO": "/api/studies/0", "HTTP_HOST": "localhost"}
        setup_testing_defaults(environ)
        answer = b"".join(guarded(shown)(environ, lambda *_: lambda _: None))
        return answer.count(b'"trial_id"')

    with Store.open(url, read_only=True) as reading, Store.open(url) as writing:
        shown = Dashboard(reading)
        first = trials(shown)
        for event in LOG[20:40]:
            writing.append("invented", event)
        shown._next_at = time.monotonic() + 60
        assert trials(shown) == first
        shown._next_at = 0.0
        assert trials(shown) > first > 0


def test_a_study_made_of_numbers_says_so(tmp_path: Path) -> None:
    study = a_study(board="synthetic:rock5b")
    with Store.open(a_store(tmp_path / "night.db", study, a_night(study, until=30)), read_only=True) as store:
        environ = {"PATH_INFO": "/api/studies/0", "HTTP_HOST": "localhost"}
        setup_testing_defaults(environ)
        answer = b"".join(Dashboard(store)(environ, lambda *_: lambda _: None))
    assert answer.count(LABEL.encode()) > 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    url = a_store(tmp_path / "night.db", STUDY, LOG[:20])
    with socket.create_server(("127.0.0.1", 0)) as other, Store.open(url, read_only=True) as store:
        with pytest.raises(UsageError, match="Address already in use") as caught:
            next(serve(Dashboard(store), other.getsockname()[1]))
        assert "--port 0" in caught.value.hint


def test_with_nothing_to_show_the_next_command_is_said(tmp_path: Path) -> None:
    with Store.open(a_store(tmp_path / "night.db", STUDY, []), read_only=True) as store:
        with pytest.raises(UsageError, match="no night has begun yet"):
            Dashboard(store)
        with pytest.raises(UsageError, match="no night of invented has begun yet"):
            Dashboard(store, "invented")


def test_without_the_package_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with Store.open(a_store(tmp_path / "night.db", STUDY, LOG[:20]), read_only=True) as store:
        with pytest.raises(UsageError, match="needs the Python package optuna-dashboard") as caught:
            Dashboard(store)
        assert "pip install 'autotune-board[dashboard]'" in caught.value.hint
