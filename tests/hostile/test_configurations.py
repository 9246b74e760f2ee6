"""What a configuration would have root's nginx or php-fpm do: what leads out of the night's own places is not started."""

from __future__ import annotations

import contextlib

import pytest
from hostile_inputs import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from paper_requests import SWITCH

from autotune.agent import nginx_conf, own_conf, php_conf
from autotune.agent.faults import Fault
from autotune.errors import BoardUnfit
from conftest import BoardNamespace

FRAME = nginx_conf.Frame(
    "/run/autotune/x", "/var/lib/autotune/x", "/run/autotune/x/nginx.pid", (("127.0.0.2", 8088),), 0
)


@pytest.mark.parametrize(
    "directive",
    [
        "load_module /tmp/x.so;",
        "load_module /usr/lib/nginx/modules/../../../../tmp/x.so;",
        "user root;",
        "user www-data root;",
        "user nobody-of-this-machine;",
        'user "root";',
        "us\\er root;",
        "include /tmp/x.conf;",
        "include /etc/nginx/../../tmp/x;",
        "include relative.conf;",
        "error_log /etc/passwd;",
        "error_log syslog:server=10.0.0.1;",
        "access_log /dev/sda;",
        "pid /etc/nginx.pid;",
        "env LD_PRELOAD=/tmp/x.so;",
        "working_directory /tmp;",
        "worker_rlimit_core 1g;",
        "ssl_engine x;",
        "daemon on;",
        "master_process off;",
        "http { server { listen 80; } }",
        "http { server { listen unix:/run/x; } }",
        "http { server { root /; } }",
        "http { server { root /run/autotune/x/../..; } }",
        "http { server { root /run/autotune/x/$arg_x; } }",
        "http { server { location / { alias /etc/; } } }",
        "http { server { location / { proxy_pass http://10.0.0.1; } } }",
        "http { server { location / { fastcgi_pass 127.0.0.1:9000; } } }",
        "http { server { location / { grpc_pass 127.0.0.1; uwsgi_pass x; } } }",
        "http { server { location / { dav_methods PUT; } } }",
        "http { server { location / { content_by_lua_block { os.execute('x') } } } }",
        "http { js_import /tmp/x.js; }",
        "http { perl_modules /tmp; }",
        "http { passenger_root /tmp; }",
        "http { proxy_cache_path /tmp/x keys_zone=a:1m; }",
        "http { resolver 10.0.0.1; }",
        "mail { auth_http 10.0.0.1; }",
        "http { client_body_temp_path /etc; }",
        "http { auth_basic_user_file /etc/shadow; }",
        'http { types { a"b; }} load_module /tmp/x.so; #" c; } }',
        "\x00",
        "\x1b[2J",
        "# \u202e",
        'error_log "/run/autotune/x/../../../etc/x";',
    ],
)
def test_a_directive_that_leads_out_is_not_started(directive: str) -> None:
    nginx_conf.check_conf("daemon off;", FRAME)
    with pytest.raises(Fault):
        nginx_conf.check_conf(f"daemon off;\n{directive}\n", FRAME)


@EXAMPLES
@given(st.text(alphabet=list("user root;{}\"'#\\$ \n\tload_module/tmp.so"), max_size=60))
def test_any_configuration_is_checked_or_refused(text: str) -> None:
    for check in (
        lambda: nginx_conf.check_conf("daemon off;" + text, FRAME),
        lambda: own_conf.statements(text),
        lambda: php_conf.check_conf(text, "/run/autotune/x", "/run/autotune/x/php.sock", 0),
    ):
        with contextlib.suppress(Fault):
            check()


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_an_included_file_that_anybody_may_write_is_not_started(
    module_namespace: BoardNamespace, mode: int
) -> None:
    module_namespace.run("sh", "-c", "mount -t tmpfs tmpfs /etc/nginx; echo > /etc/nginx/x.conf")
    module_namespace.run("chmod", f"{mode:o}", "/etc/nginx/x.conf")
    line = module_namespace.connect()
    try:
        begun = line.begin(study="s", night=1, holder="h", lease_s=60)
        run_dir = begun.conf_path.rpartition("/")[0]
        conf = f"daemon off; pid {run_dir}/nginx.pid; include /etc/nginx/x.conf; events {{}}"
        server = {**SWITCH["server"], "conf": conf, "php": None}
        with pytest.raises(BoardUnfit, match="is not root's alone"):
            line._ask("switch", writes=[], server=server)
    finally:
        line.close()
        module_namespace.run("umount", "/etc/nginx")
