"""Edits of the user's nginx: only the lines they are about, in their place, and refused where nothing is certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.agent.faults import Fault
from autotune.installer.exported import Edit
from autotune.installer.nginx_edit import diff, edited, socket_of
from autotune.installer.nginx_tree import read_tree

CONF = """user www-data;
worker_processes auto; # as many as there are
pid /run/nginx.pid;

events {
\tworker_connections 768;
}

http {
\tsendfile on;
\tkeepalive_timeout 65 60;
\taccess_log /var/log/nginx/access.log;
\tmap $http_x $y { default "a;b {"; sendfile 1; }
\tupstream php { server unix:/run/php.sock; }
\tserver {
\t\tlisten 80 default_server;
\t\tlisten [::]:80;
\t\tlisten 127.0.0.1:80;
\t\tlisten unix:/run/n.sock;
\t\tlocation / { sendfile off; if ($y) { sendfile off; } }
\t\taccess_log /var/log/nginx/site.log combined gzip flush=1m;
\t}
\tserver { listen 80; listen 443 ssl reuseport; }
}
"""


def edit(context: str, name: str, words: str, **more: object) -> Edit:
    return Edit(
        context, name, words, str(more.get("first", "")), bool(more.get("nested")), bool(more.get("rest"))
    )


def changed(tmp_path: Path, *edits: Edit, text: str = CONF) -> tuple[list[str], list[str]]:
    """The lines that went and came, without their indentation; and the notes."""
    file = tmp_path / "nginx.conf"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    tree = read_tree(str(file))
    made = edited(tree, edits)
    lines = [one for one in diff(tree, made.texts) if not one.startswith(("---", "+++", "@@", " "))]
    return [one[0] + one[1:].strip() for one in lines], [note.replace(str(file), "F") for note in made.notes]


TABLE: list[tuple[str, Edit, list[str]]] = [
    (
        "a directive is changed where it stands, its comment stays",
        edit("main", "worker_processes", "4"),
        ["-worker_processes auto; # as many as there are", "+worker_processes 4; # as many as there are"],
    ),
    (
        "a new one of the top comes before events",
        edit("main", "worker_rlimit_nofile", "8192"),
        ["+worker_rlimit_nofile 8192;  # autotune"],
    ),
    ("one that is to go takes its line along", edit("main", "pid", ""), ["-pid /run/nginx.pid;"]),
    ("one that goes and isn't there is nothing", edit("main", "timer_resolution", ""), []),
    (
        "events",
        edit("events", "worker_connections", "4096"),
        ["-worker_connections 768;", "+worker_connections 4096;"],
    ),
    ("new in events", edit("events", "multi_accept", "on"), ["+multi_accept on;  # autotune"]),
    ("http", edit("http", "sendfile", "off", rest=True), ["-sendfile on;", "+sendfile off;"]),
    (
        "arguments behind the first stay",
        edit("http", "keepalive_timeout", "30s", rest=True),
        ["-keepalive_timeout 65 60;", "+keepalive_timeout 30s 60;"],
    ),
    ("new in http", edit("http", "output_buffers", "4 64k"), ["+output_buffers 4 64k;  # autotune"]),
    (
        "a named pool",
        edit("main", "thread_pool", "default threads=8 max_queue=65536", first="default"),
        ["+thread_pool default threads=8 max_queue=65536;  # autotune"],
    ),
    (
        "kept connections come last, and no comment swallows the brace",
        edit("upstream", "keepalive", "8"),
        [
            "-upstream php { server unix:/run/php.sock; }",
            "+upstream php { server unix:/run/php.sock;",
            "+keepalive 8; }",
        ],
    ),
    (
        "the sockets' options, on one line of each; a wildcard's socket has the port's other addresses",
        edit("listen", "backlog", "8192"),
        [
            "-listen 80 default_server;",
            "-listen [::]:80;",
            "+listen 80 default_server backlog=8192;",
            "+listen [::]:80 backlog=8192;",
            "-server { listen 80; listen 443 ssl reuseport; }",
            "+server { listen 80; listen 443 ssl reuseport backlog=8192; }",
        ],
    ),
    (
        "an option that goes",
        edit("listen", "reuseport", ""),
        [
            "-server { listen 80; listen 443 ssl reuseport; }",
            "+server { listen 80; listen 443 ssl; }",
        ],
    ),
    (
        "a buffer for every log, in nginx's order of words",
        edit("access_log", "buffer", "64k"),
        [
            "-access_log /var/log/nginx/access.log;",
            "+access_log /var/log/nginx/access.log combined buffer=64k;",
            "-access_log /var/log/nginx/site.log combined gzip flush=1m;",
            "+access_log /var/log/nginx/site.log combined buffer=64k;",
        ],
    ),
]


@pytest.mark.parametrize(("wanted", "lines"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_only_the_lines_it_is_about_are_changed(tmp_path: Path, wanted: Edit, lines: list[str]) -> None:
    assert changed(tmp_path, wanted)[0] == lines


def test_what_a_location_says_for_itself_stays_and_is_told(tmp_path: Path) -> None:
    lines, notes = changed(tmp_path, edit("http", "sendfile", "off", rest=True))
    assert lines == ["-sendfile on;", "+sendfile off;"]
    assert notes == [
        "sendfile of F:20 stays as it is for its location",
        "sendfile of F:20 stays as it is for its if",
    ]


def test_measured_on_the_users_own_sites_a_location_is_changed_too_and_an_if_is_not(tmp_path: Path) -> None:
    lines, notes = changed(tmp_path, edit("http", "sendfile", "on", nested=True, rest=True))
    assert lines == [
        "-location / { sendfile off; if ($y) { sendfile off; } }",
        "+location / { sendfile on; if ($y) { sendfile off; } }",
    ]
    assert notes == ["sendfile of F:20 stays as it is for its if"]


def test_a_log_that_is_off_ends_all_of_its_level(tmp_path: Path) -> None:
    text = CONF.replace(
        "\taccess_log /var/log/nginx/access.log;\n",
        "\taccess_log /var/log/nginx/access.log;\n\taccess_log /var/log/nginx/more.log;\n",
    )
    lines, notes = changed(tmp_path, edit("http", "access_log", "off"), text=text)
    assert lines == [
        "-access_log /var/log/nginx/access.log;",
        "-access_log /var/log/nginx/more.log;",
        "+access_log off;",
    ]
    assert notes == ["access_log of F:22 stays as it is for its server"]


def test_a_log_whose_name_varies_is_not_buffered(tmp_path: Path) -> None:
    text = CONF.replace("/var/log/nginx/site.log", "/var/log/nginx/$host.log")
    _, notes = changed(tmp_path, edit("access_log", "buffer", "64k"), text=text)
    assert notes == ["the log of F:21 has a name that varies, and can't be buffered"]


def test_every_other_byte_stays_whatever_it_is(tmp_path: Path) -> None:
    text = CONF.replace("\n", "\r\n").replace("user www-data;", "user www-data; # \udcff\udc80 ü")
    lines, _ = changed(tmp_path, edit("http", "sendfile", "off", rest=True), text=text)
    assert lines == ["-sendfile on;", "+sendfile off;"]


def test_included_files_are_edited_where_they_are_and_once(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    site = tmp_path / "site.real"
    site.write_text("server { listen 81; sendfile on; }\n")
    for name in ("a", "b"):
        (tmp_path / "sites" / name).symlink_to(site)
    text = "events {}\nhttp { include sites/*; }\n"
    (tmp_path / "nginx.conf").write_text(text)
    tree = read_tree(str(tmp_path / "nginx.conf"))
    made = edited(tree, [edit("http", "sendfile", "off", nested=True, rest=True)])
    assert made.texts[str(site)] == "server { listen 81; sendfile off; }\n"
    assert set(made.texts) == {str(site), str(tmp_path / "nginx.conf")}


@pytest.mark.parametrize(
    "text",
    [
        "events {} http { sendfile on;",
        "events {} http { } }",
        'events {} http { add_header x "never ends; }',
        "http { content_by_lua_block { if x then } } }",
        "events {}",
        "events {} http { } http { }",
        "events {} http { include $where; }",
        "events {} http { include /etc/nginx/a\\ b; }",
        "events {} http { server { } }",
    ],
)
def test_what_cannot_be_told_for_certain_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Fault):
        changed(tmp_path, edit("listen", "backlog", "8192"), text=text)


@pytest.mark.parametrize(
    ("word", "socket"),
    [
        ("80", ("*", "80")),
        ("*:8080", ("*", "8080")),
        ("0.0.0.0:80", ("*", "80")),
        ("127.0.0.1:81", ("127.0.0.1", "81")),
        ("127.0.0.1", ("127.0.0.1", "80")),
        ("[::]:443", ("[::]", "443")),
        ("[::1]", ("[::1]", "80")),
        ("unix:/run/x", ("", "")),
    ],
)
def test_a_listen_line_is_an_address_and_a_port(word: str, socket: tuple[str, str]) -> None:
    assert socket_of(word) == socket
