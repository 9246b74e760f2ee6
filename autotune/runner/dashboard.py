"""The dashboard of a database: Optuna's own pages about the search, and beside them our reports of the nights."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autotune.errors import UsageError
from autotune.experiment.events import NightBegun
from autotune.experiment.synthetic_boards import LABEL
from autotune.measurement.scores import trial_scores
from autotune.report.markdown import page_markdown
from autotune.report.study_page import study_page
from autotune.report.trial_page import trial_keys, trial_page
from autotune.runner.guard import guarded, refuse
from autotune.search.dashboard import Artifact, Shown, dashboard_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from autotune.storage.store import Store

ADDRESS: Final = "127.0.0.1"
RESTS: Final = 20
"""So many times as long as it took to make the pages they are left as they are: a night may be measuring on this machine."""
_REPORT: Final = re.compile(r"/report/(?P<name>[a-z0-9][a-z0-9._-]{0,63})(?:/(?P<night>[1-9][0-9]{0,5}))?/?")


class Dashboard:
    """A WSGI application over a store that is only read. What a night adds meanwhile is shown at the next look."""

    def __init__(self, store: Store, name: str = "") -> None:
        """`name`: this study alone. Raises UsageError where there is nothing to show."""
        self._store = store
        self._name = name
        self._lock = threading.Lock()
        self._lengths: dict[str, int] = {}
        self._app: WSGIApplication | None = None
        self._next_at = 0.0
        self._reports: dict[tuple[str, int | None, int], bytes] = {}
        self._current()
        if not self.names:
            raise UsageError(
                f"no night of {name} has begun yet" if name else "no night has begun yet",
                hint=f"Try: autotune resume {name}" if name else "Try: autotune run quickstart",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The studies that are shown: those of which a night has begun."""
        return tuple(self._lengths)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if found := _REPORT.fullmatch(path):
            return self._report(found["name"], int(found["night"] or 0) or None, start_response)
        return self._current()(environ, start_response)

    # Inside

    def _current(self) -> WSGIApplication:
        """The dashboard, made anew when a log has grown."""
        with self._lock:
            names = (self._name,) if self._name else self._store.names()
            lengths = {
                name: len(log)
                for name, log in ((name, self._store.log(name)) for name in names)
                if any(isinstance(event, NightBegun) for event in log)
            }
            if self._app is None or (lengths != self._lengths and time.monotonic() > self._next_at):
                began = time.monotonic()
                self._lengths = lengths
                self._app = dashboard_app([self._shown(name) for name in lengths])
                self._next_at = time.monotonic() + RESTS * (time.monotonic() - began)
            return self._app

    def _shown(self, name: str) -> Shown:
        study, log = self._store.study(name), self._store.log(name)
        scores = trial_scores(study, log)
        label = f"**{LABEL}**\n\n" if study.is_synthetic else ""
        link = (
            f"[The report](/report/{name}) tells what was found, how sure that is, and what to doubt. The best trial and the"
            " importances on these pages are Optuna's own, of the search's samples alone.\n\n"
        )
        numbers = [event.number for event in log if event.kind == "proposal"]
        return Shown(
            study=study,
            log=log,
            note=label + link + page_markdown(name, study_page(study, log, scores)),
            notes={
                number: label
                + link
                + page_markdown(f"Trial {number}", trial_page(study, log, scores, number))
                for number in numbers
            },
            artifacts={
                number: [
                    Artifact(name=f"{key.text.replace('/', '-')}.txt", read=partial(self._raw, name, key))
                    for key in trial_keys(log, number)
                ]
                for number in numbers
            },
        )

    def _raw(self, name: str, key: Any) -> str:
        with self._lock:
            return self._store.raw(name, key) or "the load generator left nothing\n"

    def _report(self, name: str, night: int | None, start_response: StartResponse) -> Iterable[bytes]:
        from autotune.report.html import report_html
        from autotune.report.learned_parts import learned_of
        from autotune.report.night_report import night_report

        self._current()
        with self._lock:
            if name not in self._lengths:
                return refuse(start_response, "404 Not Found", "there is no such study here")
            known = (name, night, self._lengths[name])
            if known not in self._reports:
                told = night_report(
                    self._store.study(name),
                    self._store.log(name),
                    night,
                    raw=self._store.raw_texts(name),
                    record=self._store.aa_record(),
                )
                if told is None:
                    return refuse(start_response, "404 Not Found", "there is no such night")
                learned = learned_of(told.study, told.log, told.night)
                self._reports = {known: report_html(told, learned).encode()}
            page = self._reports[known]
        start_response(
            "200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
        )
        return [page]


class _Server(ThreadingMixIn, WSGIServer):
    """One thread for each request; none of them outlives the server."""

    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        """As WSGIServer does, without asking the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]
        self.setup_environ()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """A request is nobody's business."""


def serve(dashboard: Dashboard, port: int) -> Iterator[str]:
    """Gives its URL once it listens on this machine's loopback, and serves until the caller is interrupted.

    `port` 0: any that is free. Raises UsageError when the port is taken.
    """
    app: Callable[..., Iterable[bytes]] = guarded(dashboard)
    try:
        server = make_server(ADDRESS, port, app, server_class=_Server, handler_class=_Silent)
    except OSError as problem:
        raise UsageError(
            f"port {port} of this machine can't be had: {problem.strerror}",
            hint="Name another: --port 0 takes any.",
        ) from None
    with server:
        yield f"http://{ADDRESS}:{server.server_port}"
        server.serve_forever()
