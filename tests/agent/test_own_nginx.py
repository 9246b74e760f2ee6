"""The user's own nginx on the real thing: Debian's init script runs it, a night takes its place, and it is there again."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from serving import leftovers, within

from autotune.board.connection import Connection
from autotune.board.records import Begun, EditedFile, Listener, ServerOrder, UrlTruth
from autotune.errors import AutotuneError, BoardBusy
from conftest import BoardNamespace

MAIN = """user www-data;
worker_processes 1; # one
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 128; }
http {
  include mime.types;
  map $http_accept $kind { default "a;b"; "~webp{1,2}" 'c}'; }
  access_log /var/lib/site-log/access.log;
  error_log /var/lib/site-log/error.log;
  include sites-enabled/*;
}
"""
SITE = """server {
  listen 127.0.0.3:8090 default_server;
  server_name site.test;
  root /var/lib/site;
  if ($request_method = TRACE) { return 405; }
  location = /query { default_type text/plain; return 200 "$args $http_host\\n"; }
}
"""
URL, ADDRESS = "http://site.test:8090", "127.0.0.3"


@dataclass(frozen=True, slots=True)
class OwnNight:
    board: BoardNamespace
    line: Connection
    begun: Begun

    def edits(self, main: str = MAIN, site: str = SITE) -> tuple[EditedFile, ...]:
        run, log = self.begun.conf_path.removesuffix("/nginx.conf"), self.begun.log_dir
        edited = main.replace("pid /run/nginx.pid;", f"pid {run}/nginx.pid; daemon off;")
        edited = edited.replace("events {", f"error_log {log}/error.log warn; events {{ multi_accept on;")
        edited = edited.replace("/var/lib/site-log", log)
        return (
            EditedFile(path="/etc/nginx/nginx.conf", text=edited),
            EditedFile(path="/etc/nginx/sites-available/site", text=site),
        )

    def order(self, edits: tuple[EditedFile, ...] = (), *paths: str) -> ServerOrder:
        return ServerOrder(
            conf="",
            conf_path="/etc/nginx/nginx.conf",
            edits=edits or self.edits(),
            workers=1,
            listen=(Listener(address=ADDRESS, port=8090),),
            cpus=(),
            urls=tuple(UrlTruth(url=URL + path, address=ADDRESS) for path in paths or ("/page.html",)),
        )


def begin(board: BoardNamespace, *, kept: bool = False, study: str = "own") -> OwnNight:
    line = board.connect()
    begun = line.begin(study=study, night=1, holder="a test", lease_s=60.0, files=(), kept=kept)
    return OwnNight(board, line, begun)


@pytest.fixture
def site(board_namespace: BoardNamespace, real_nginx: str) -> Iterator[BoardNamespace]:
    """A machine with a site of its own, served by Debian's nginx from its init script."""
    if not Path("/etc/init.d/nginx").exists():
        pytest.skip("needs Debian's /etc/init.d/nginx")
    board = board_namespace
    done = board.run(
        "sh",
        "-ec",
        """mkdir -p /var/lib/etc-nginx /var/lib/site /var/lib/site-log
        cp -a /etc/nginx/. /var/lib/etc-nginx/
        mount --bind /var/lib/etc-nginx /etc/nginx
        rm -f /etc/nginx/sites-enabled/*
        printf %s "$1" > /etc/nginx/nginx.conf
        printf %s "$2" > /etc/nginx/sites-available/site
        ln -s ../sites-available/site /etc/nginx/sites-enabled/site
        echo "It is mine." > /var/lib/site/page.html
        /etc/init.d/nginx start""",
        "sh",
        MAIN,
        SITE,
    )
    assert done.returncode == 0, done.stderr
    assert serves(board)
    yield board
    board.run("/etc/init.d/nginx", "stop")


def serves(board: BoardNamespace) -> bool:
    """Whether the site's own service runs and answers."""
    done = board.run(
        "curl", "-s", "--max-time", "2", "-H", "Host: site.test", f"http://{ADDRESS}:8090/page.html"
    )
    return done.stdout == "It is mine.\n" and board.run("/etc/init.d/nginx", "status").returncode == 0


def fingerprint(board: BoardNamespace) -> str:
    """Every file and mode below the user's configuration and site."""
    found = board.run(
        "sh", "-c", "cd / && find etc/nginx var/lib/site -printf '%p %m %U %s %T@ %l\\n' | sort;"
        " find etc/nginx var/lib/site -type f | sort | xargs sha256sum",
    )  # fmt: skip
    return hashlib.sha256(found.stdout.encode()).hexdigest()


def test_a_night_takes_the_services_place_and_gives_it_back(site: BoardNamespace) -> None:
    before = fingerprint(site)
    night = begin(site)
    switched = night.line.switch((), night.order((), "/page.html", "/query?p=1&x=a%20b"))
    assert (switched.step, switched.reason) == ("", "")
    assert [one.length for one in switched.urls] == [12, len("p=1&x=a%20b site.test:8090\n")]
    assert site.run("/etc/init.d/nginx", "status").returncode != 0
    assert "multi_accept" not in site.read("/etc/nginx/nginx.conf")
    assert night.line.switch((), night.order()).step == ""
    assert night.line.end().left == ()
    assert serves(site)
    assert fingerprint(site) == before
    assert leftovers(site) == ["nginx", "nginx"]  # the service's


def test_edits_that_a_night_may_not_make_are_refused_before_anything_stops(site: BoardNamespace) -> None:
    night = begin(site)
    for site_text in (SITE.replace("root /var/lib/site", "root /etc"), SITE + "server { listen 81; }"):
        with pytest.raises(AutotuneError, match="sites-available/site"):
            night.line.switch((), night.order(night.edits(site=site_text)))
    assert serves(site)


@pytest.mark.parametrize("both", [False, True], ids=["agent", "agent and guardian"])
def test_a_death_starts_the_service_again(site: BoardNamespace, *, both: bool) -> None:
    before = fingerprint(site)
    night = begin(site)
    assert night.line.switch((), night.order()).step == ""
    if both:
        for pid, name, _ in site.processes():
            if name == "autotune-guard":
                os.kill(pid, signal.SIGKILL)
    os.kill(night.line.agent_pid, signal.SIGKILL)
    if both:
        assert not serves(site)
        assert site.connect().end().left == ()
    assert within(15, lambda: serves(site))
    assert within(5, lambda: not site.exists("/run/autotune/journal"))
    assert fingerprint(site) == before


def test_what_is_kept_stays_until_it_is_put_back(site: BoardNamespace) -> None:
    night = begin(site, kept=True)
    assert night.line.switch((), night.order()).step == ""
    night.line.end(keep=True)
    night.line.close()
    assert [name for _, name, _ in site.processes()].count("autotune-guard") == 0
    line = site.connect()
    assert line.status().journal == "kept"
    assert line.status().held_by == ""
    with pytest.raises(BoardBusy, match=r"kept \(study own"):
        begin(site, study="another")
    assert line.end().left == ()
    assert serves(site)


def test_a_port_taken_by_anyone_else_is_refused_by_name(site: BoardNamespace) -> None:
    site.run("/etc/init.d/nginx", "stop")
    site.run("sh", "-c", f"setsid python3 -m http.server -b {ADDRESS} 8090 </dev/null >/dev/null 2>&1 &")
    night = begin(site)

    def refused() -> bool:
        return "python3" in site.run("ss", "-ltnp").stdout

    assert within(10, refused)
    with pytest.raises(AutotuneError, match="python3"):
        night.line.switch((), night.order())


def test_nginx_tells_its_files_and_leaves_nothing(site: BoardNamespace) -> None:
    for action in ("stop", "start"):
        site.run("/etc/init.d/nginx", action)
        before = whole(site)
        found = site.connect().read_nginx("/etc/nginx/nginx.conf")
        assert found.problem == ""
        assert next(iter(found.files)) == "/etc/nginx/nginx.conf"
        assert found.files["/etc/nginx/sites-available/site"].text == SITE
        assert "/etc/nginx/mime.types" in found.files
        assert found.names["/etc/nginx/sites-enabled/site"] == "/etc/nginx/sites-available/site"
        assert whole(site) == before
        if action == "stop":
            site.run("sh", "-c", "rm -rf /var/lib/site-log/* /run/nginx.pid; rm -rf /var/lib/nginx/*")
            before = whole(site)
            assert site.connect().read_nginx("/etc/nginx/nginx.conf").problem == ""
            assert whole(site) == before


def test_a_broken_configuration_is_told_in_nginxs_own_words(site: BoardNamespace) -> None:
    site.write("/etc/nginx/sites-available/site", SITE.replace("root ", "roots "))
    before = whole(site)
    found = site.connect().read_nginx("/etc/nginx/nginx.conf")
    assert 'unknown directive "roots"' in found.problem
    assert whole(site) == before


def test_what_serves_now_is_looked_at_before_anything_is_begun(site: BoardNamespace) -> None:
    line = site.connect()
    there, nobody = line.fetch(
        [
            UrlTruth(url=URL + "/page.html", address=ADDRESS),
            UrlTruth(url="http://127.0.0.4:8099/", address="127.0.0.4"),
        ]
    )
    assert (there.status, there.length) == (200, len("It is mine.\n"))
    assert nobody.status == 0


def whole(board: BoardNamespace) -> str:
    """Every file, its owner, mode and size, where an nginx could leave something."""
    return board.run(
        "sh", "-c", "cd / && find etc/nginx var/lib run -printf '%p %m %U %s\\n' | grep -v autotune | sort"
    ).stdout


def test_tls_wildcards_and_a_body_that_differs_each_time(site: BoardNamespace) -> None:
    made = site.run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site.test",
        "-keyout", "/var/lib/key.pem", "-out", "/etc/nginx/cert.pem",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    text = SITE.replace("listen 127.0.0.3:8090 default_server;", "listen 8443 ssl; listen [::]:8443 ssl;")
    text = text.replace(
        "server_name", "ssl_certificate cert.pem; ssl_certificate_key /var/lib/key.pem; server_name"
    )
    text = text.replace("$args", "$request_id $ssl_server_name")
    site.write("/etc/nginx/sites-available/site", text)
    assert site.run("/etc/init.d/nginx", "restart").returncode == 0
    night = begin(site)
    url = "https://site.test:8443/query"
    [seen] = night.line.fetch([UrlTruth(url=url, address="127.0.0.9")])
    assert seen.length == 32 + len(" site.test site.test:8443\n")
    truth = UrlTruth(
        url=url, address="127.0.0.9", status=200, length=seen.length + 5, sha256=seen.sha256, loose=True
    )
    order = replace(
        night.order(night.edits(site=text)),
        listen=(Listener(address="0.0.0.0", port=8443), Listener(address="::", port=8443)),
        urls=(truth,),
    )
    switched = night.line.switch((), order)
    assert (switched.step, switched.reason) == ("", "")
    switched = night.line.switch((), replace(order, urls=(replace(truth, loose=False),)))
    assert switched.step == "canary"
    assert night.line.end().left == ()
    assert site.run("/etc/init.d/nginx", "status").returncode == 0


def test_a_service_that_does_not_start_again_is_told_with_its_command(site: BoardNamespace) -> None:
    night = begin(site)
    assert night.line.switch((), night.order()).step == ""
    site.write("/etc/nginx/nginx.conf", "broken")
    [left] = night.line.end().left
    assert (left.path, left.original, left.command) == ("service nginx", "running", "/etc/init.d/nginx start")
    site.write("/etc/nginx/nginx.conf", MAIN)
    assert site.connect().end().left == ()
    assert serves(site)
