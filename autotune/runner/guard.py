"""What stands before the dashboard, which asks nobody who he is: it is looked at from this machine alone, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HERE: Final = frozenset({"127.0.0.1", "localhost"})
_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def guarded(app: WSGIApplication) -> WSGIApplication:
    """The application for GET and HEAD alone, asked by this machine's own name: a page of elsewhere whose name is made to lead
    here (DNS rebinding) has another Host, and no page of elsewhere may read an answer.
    """

    def guard(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return refuse(start_response, "405 Method Not Allowed", "this dashboard is for looking only")
        host = str(environ.get("HTTP_HOST", "")).rsplit(":", 1)[0].lower()
        if host not in _HERE:
            return refuse(
                start_response, "403 Forbidden", "asked by another name than 127.0.0.1 or localhost"
            )

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control")]
            return start_response(status, [*kept, *_HEADERS], exc_info)

        return app(environ, start)

    return guard


def refuse(start_response: StartResponse, status: str, why: str) -> Iterable[bytes]:
    """An answer of one line."""
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Allow", "GET, HEAD"), *_HEADERS])
    return [f"{status}: {why}\n".encode()]
