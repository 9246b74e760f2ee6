"""What is planned for nginx is what the agent starts: its own check takes every text, whatever the base holds."""

from __future__ import annotations

import posixpath

import pytest
from paper_board import BEGUN, DEBIAN_CONF, NGINX_ORG_CONF, discovery, plan

from autotune.agent.nginx_conf import Frame, check_conf
from autotune.space.catalogue import CATALOGUE
from autotune.space.value import Value

FRAME = Frame(
    run_dir=posixpath.dirname(BEGUN.conf_path),
    state_dir=posixpath.dirname(BEGUN.www_dir),
    pid_path=posixpath.join(posixpath.dirname(BEGUN.conf_path), "nginx.pid"),
    listen=(("127.0.0.2", 8088),),
    uid=1000,
)
ODD_HTTP = """gzip on; root /srv; access_log syslog:server=10.0.0.1 main; error_log /var/log/x; perl_modules /x;
    lua_shared_dict a 1m; js_import /x.js; proxy_cache_path /var/cache/p; auth_basic_user_file users; mirror /m;
    client_body_temp_path /tmp/x; include extra.conf; server { listen 80; location / { proxy_pass http://a; } }
    upstream a { server 127.0.0.1:9000; }"""
ODD_MAIN = """load_module modules/ngx_http_perl_module.so; env SECRET; working_directory /; lock_file /x; daemon on;
    master_process on; worker_rlimit_core 1; debug_points stop; ssl_engine x; google_perftools_profiles /x;
    stream { server { listen 53; } } mail { }"""


@pytest.mark.parametrize(
    "base",
    [DEBIAN_CONF, NGINX_ORG_CONF, ODD_MAIN + DEBIAN_CONF.replace("gzip on;", ODD_HTTP)],
    ids=["debian", "nginx.org", "odd"],
)
def test_the_agent_starts_stock(base: str) -> None:
    check_conf(plan(found=discovery(base)).server.conf, FRAME)


def test_the_agent_starts_every_directive_of_the_catalogue() -> None:
    found = discovery()
    chosen: dict[str, Value] = {}
    for setting in CATALOGUE.values():
        value: Value = int(setting.high) if setting.high is not None else True
        if setting.family == "nginx" and not found.value_reason(setting.id, value):
            chosen[setting.id] = value
    assert len(chosen) > 40
    check_conf(plan(chosen, found).server.conf, FRAME)
