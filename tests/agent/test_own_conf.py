"""What a night's text may differ in from the user's own configuration, and what not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autotune.agent.faults import Fault
from autotune.agent.own_conf import Frame, check_edits, statements

RUN, STATE = "/run/autotune/0123456789abcdef", "/var/lib/autotune/0123456789abcdef"
LOG = STATE + "/log"
NIGHT = f"daemon off; pid {RUN}/nginx.pid; error_log {LOG}/error.log warn;\n"
OWN = """user www-data;
load_module modules/ngx_http_image_filter_module.so;
events { worker_connections 10; }
http {
  map $uri $x { default 0; "a;b{" 1; gzip on; }
  gzip off; # off; }
  access_log /var/log/nginx/a.log main if=$x buffer=1k;
  proxy_cache_path /var/cache/nginx levels=1:2 keys_zone=a:1m;
  upstream back { server 127.0.0.1:1; keepalive 2; }
  server {
    listen 80 default_server backlog=511;
    listen [::]:80;
    root "/srv/www";
    if ($x) { return 403; }
    location ~ "^/a{1,2}$" { proxy_pass http://back; proxy_buffers 8 4k; }
    location / { content_by_lua_block { ngx.say("}") -- }
      local a = { b = '{' } } }
  }
}
"""
GOOD = NIGHT + OWN.replace("/var/log/nginx/a.log", LOG + "/a.log").replace("/var/cache/nginx", LOG + "/cache")


def check(tmp_path: Path, edited: str, own: str = OWN) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(own)
    uid = os.geteuid() or 1  # the rule of root's files has its own test
    check_edits(
        str(path), {str(path): edited}, Frame(RUN, STATE, RUN + "/nginx.pid", LOG + "/error.log", uid)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gzip off;", "gzip on; gzip_comp_level 4; sendfile_max_chunk 2m;"),
        ("worker_connections 10;", "worker_connections 4096; multi_accept on;"),
        ("backlog=511", "backlog=4096 reuseport fastopen=256"),
        ("buffer=1k", "buffer=64k flush=1s"),
        ("keepalive 2;", "keepalive 64;"),
        ("proxy_buffers 8 4k;", "proxy_buffers 16 8k;"),
        ('root "/srv/www";', "root /srv/www;"),
        (f"access_log {LOG}/a.log main if=$x buffer=1k;", "access_log off;"),
        ("http {", f"http {{ proxy_temp_path {LOG}/proxy;"),
        ("worker_connections", "# load_module x;\nworker_connections"),
    ],
)
def test_tuned_settings_and_the_nights_own_paths_may_differ(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    check(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("user www-data;", ""),
        ("user www-data;", "user root;"),
        ("image_filter", "perl"),
        ("events {", "load_module /tmp/x.so; events {"),
        ('"/srv/www"', '"/etc"'),
        ("http://back", "http://10.0.0.1"),
        ("server 127.0.0.1:1;", "server 127.0.0.1:1; server 127.0.0.1:2;"),
        ("gzip on;", "gzip off;"),
        ("listen [::]:80;", "listen [::]:81;"),
        ("listen [::]:80;", ""),
        ("listen [::]:80;", "listen [::]:80 ssl;"),
        ("default_server", "default_server proxy_protocol"),
        ("return 403;", "return 200;"),
        ("return 403;", "gzip on; return 403;"),
        ("gzip off;", "gzip $x;"),
        ("gzip off;", "gzip on; include /etc/shadow;"),
        ("gzip off;", 'gzip "on; alias /;";'),
        (LOG + "/a.log", "/etc/cron.d/a"),
        (LOG + "/a.log", LOG + "/../../a"),
        (LOG + "/a.log", LOG + "/$host"),
        ("main if=$x", "other if=$x"),
        ("main if=$x", "main"),
        ("levels=1:2", "levels=1"),
        (LOG + "/cache", "/var/cache/nginx"),
        ("daemon off;", ""),
        (RUN + "/nginx.pid", "/run/nginx.pid"),
        (LOG + "/error.log", "/var/log/nginx/error.log"),
        ("b = '{'", "b = '}'"),
        ("location / {", "location / { } location /x {"),
        ("http {", "http { lua_package_path /tmp;"),
    ],
)
def test_nothing_else_may(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(Fault) as caught:
        check(tmp_path, GOOD.replace(old, new, 1))
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize("text", ["http {", "}", "a { b }", '"a', "a b", ";", "x_by_lua_block { '}' "])
def test_what_cant_be_read_is_refused(text: str) -> None:
    with pytest.raises(Fault):
        statements(text)


def test_root_takes_no_file_that_others_can_write(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(OWN)
    path.chmod(0o666)
    frame = Frame(RUN, STATE, RUN + "/nginx.pid", LOG + "/error.log", 0)
    with pytest.raises(Fault, match="not root's alone"):
        check_edits(str(path), {str(path): GOOD}, frame)
    (tmp_path / "link").symlink_to("/etc/shadow")
    with pytest.raises(Fault, match="real path"):
        check_edits(str(path), {str(path): GOOD, str(tmp_path / "link"): ""}, frame._replace(uid=1))


@pytest.mark.parametrize(
    "path", ["nginx.conf", "", "-t", "/etc/nginx/a b", "/etc/nginx/x\n", "/etc/$x", "/x\0y"]
)
def test_only_a_plain_absolute_path_is_a_configuration(path: str) -> None:
    """nginx would take a relative one from its own prefix, and read a file that nobody has looked at."""
    frame = Frame(RUN, STATE, RUN + "/nginx.pid", LOG + "/error.log", 0)
    with pytest.raises(Fault, match="not a plain absolute path"):
        check_edits(path, {os.path.realpath(path.replace("\0", "")): GOOD}, frame)


@pytest.mark.parametrize("blank", ["\x0b", "\x0c", "\xa0", "\x1c", "\u2003"])
def test_only_nginxs_own_blanks_part_words(tmp_path: Path, blank: str) -> None:
    """nginx knows space, tab and line ends: to it, other blanks are part of a word."""
    one, two = f"  add_header a{blank}b c;\n}}\n", "  add_header a b c;\n}\n"
    cut = GOOD.rstrip().removesuffix("}"), OWN.rstrip().removesuffix("}")
    check(tmp_path, cut[0] + one, cut[1] + one)
    with pytest.raises(Fault, match="became"):
        check(tmp_path, cut[0] + two, cut[1] + one)
