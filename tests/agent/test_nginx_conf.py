"""What an nginx configuration may say before the agent starts it."""

from __future__ import annotations

import pytest

from autotune.agent.faults import Fault
from autotune.agent.nginx_conf import Frame, check_conf, directives

RUN, STATE = "/run/autotune/0123456789abcdef", "/var/lib/autotune/0123456789abcdef"
FRAME = Frame(RUN, STATE, RUN + "/nginx.pid", (("127.0.0.2", 8088), ("::1", 8089)), 0)


def check(*lines: str) -> None:
    check_conf("\n".join(("daemon off;", *lines)), FRAME)


@pytest.mark.parametrize(
    "line",
    [
        f"error_log {STATE}/log/error.log warn;",
        f'access_log "{STATE}/log/access.log" combined buffer=64k;',
        "access_log off;",
        f"pid {RUN}/nginx.pid;",
        "load_module modules/ngx_http_geoip_module.so;",
        "include /etc/nginx/mime.types;",
        "server { listen [::1]:8089; }",
        "server { listen 127.0.0.2:8088 reuseport backlog=4096; }",
        f"root {STATE}/www;",
        "user www-data;",
        "log_format x '$remote_addr; { env HOME; }';",
        "# load_module /tmp/evil.so;",
    ],
)
def test_a_tested_server_may_say_what_it_needs(line: str) -> None:
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "load_module /tmp/evil.so;",
        "load_module modules/../../../tmp/evil.so;",
        'index a"b; load_module /tmp/evil.so; #";',
        "index a'b; load_module /tmp/evil.so; #';",
        "index a#b; load_module /tmp/evil.so;",
        "index a}b; load_module /tmp/evil.so;",
        "index \\\\; load_module /tmp/evil.so;",
        "l\\oad_module /tmp/evil.so;",
        'events { } "load_module" /tmp/evil.so;',
        "ssl_engine evil;",
        "env LD_PRELOAD=/tmp/evil.so;",
        "http { perl_modules /tmp; }",
        "http{content_by_lua_block { os.execute('id') }}",
        "error_log /etc/cron.d/evil;",
        f"error_log {STATE}/../../../etc/cron.d/evil;",
        "access_log /home/someone/.ssh/authorized_keys;",
        "access_log syslog:server=10.0.0.1;",
        "client_body_temp_path /etc;",
        f"access_log {STATE}/$host.log;",
        "pid /etc/passwd;",
        "include /tmp/x.conf;",
        "include conf.d/*.conf;",
        "server { root /; }",
        "location / { alias /etc/; }",
        "location / { proxy_pass http://10.0.0.1; }",
        "location / { dav_methods PUT; }",
        "listen 80;",
        "listen 0.0.0.0:8088;",
        "listen [::]:8088;",
        "master_process off;",
        "daemon on;",
        "working_directory /tmp;",
    ],
)
def test_what_runs_code_or_leads_out_is_refused(line: str) -> None:
    with pytest.raises(Fault) as refusal:
        check(line)
    assert refusal.value.kind == "refused"


@pytest.mark.parametrize(
    "conf", ["", "events { }", "daemon off;\0", "daemon off; # é", 'daemon off; root "x', "daemon off;\r\n"]
)
def test_a_configuration_that_is_not_whole_is_refused(conf: str) -> None:
    with pytest.raises(Fault):
        check_conf(conf, FRAME)


def test_directives_are_told_apart_as_nginx_does() -> None:
    text = "a b; c {d \"e f;\" 'g}';} # h;\ni ${j}k l\\;m;"
    assert list(directives(text)) == [("a", "b"), ("c",), ("d", "e f;", "g}"), ("i", "${j}k", "l;m")]
