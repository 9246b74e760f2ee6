"""What a php-fpm configuration may say before root starts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.agent import nginx_conf
from autotune.agent.faults import Fault
from autotune.agent.php_conf import check_conf, check_listen

RUN = "/run/autotune/abc"
SOCKET = f"{RUN}/php.sock"
CONF = f"""[global]
error_log = {RUN}/php-fpm.log
daemonize = no
[autotune]
user = www-data
group = www-data
listen = {SOCKET}
pm = static
pm.max_children = 7
php_admin_value[opcache.jit] = tracing
"""


def test_a_plain_configuration_is_understood() -> None:
    checked = check_conf(CONF, RUN, SOCKET, uid=0)
    assert (checked.pm, checked.children) == ("static", 7)
    assert checked.php == [("opcache.jit", "tracing")]
    dynamic = CONF.replace("static", "dynamic") + "pm.start_servers = 3\n"
    assert check_conf(dynamic, RUN, SOCKET, uid=0).children == 3
    assert check_conf(CONF.replace("static", "ondemand"), RUN, SOCKET, uid=0).children == 0


@pytest.mark.parametrize(
    "line",
    [
        "php_admin_value[auto_prepend_file] = /tmp/x.php",
        "php_admin_value[extension] = /tmp/x.so",
        "php_admin_value[opcache.preload] = /tmp/x.php",
        "php_admin_value[opcache.jit] = tracing\tx",
        "php_value[opcache.enable] = 1",
        "php_admin_flag[opcache.enable] = on",
        "include = /tmp/x",
        "chroot = /",
        "slowlog = /etc/passwd",
        "access.log = /etc/passwd",
        "env[LD_PRELOAD] = /tmp/x.so",
        "security.limit_extensions = .html",
        "prefix = /tmp",
        "listen.mode = 0666",
        "listen.owner = ${USER}",
        "pm.max_requests = `id`",
        "pm.start_servers = 1025",
        "pm.max_spawn_rate = 99999",
        'pm.max_requests = "5"',
        "pm.max_requests = 5; x",
        "pm.max_requests=5",
        " pm.max_requests = 5",
        "pm.max_requests = 5\r",
        "pm = dynamic",
        "[autotune]",
        "[www]",
        "; a comment",
        "\x00",
    ],
)
def test_a_line_that_has_no_business_there_is_refused(line: str) -> None:
    with pytest.raises(Fault):
        check_conf(CONF + line + "\n", RUN, SOCKET, uid=0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("daemonize = no\n", ""),
        (f"error_log = {RUN}/php-fpm.log\n", ""),
        ("/php-fpm.log", "/../../../etc/x"),
        ("pm = static\n", ""),
        ("pm.max_children = 7\n", ""),
        ("user = www-data\n", ""),
        ("group = www-data\n", ""),
        ("user = www-data", "user = root"),
        ("group = www-data", "group = root"),
        ("user = www-data", "user = nobody-at-all"),
        (f"listen = {SOCKET}", f"listen = {RUN}/other.sock"),
        ("[global]\n", ""),
    ],
)
def test_what_must_be_said_is_asked_for(old: str, new: str) -> None:
    assert old in CONF
    with pytest.raises(Fault):
        check_conf(CONF.replace(old, new, 1), RUN, SOCKET, uid=0)


def test_without_root_no_account_is_named() -> None:
    check_conf(CONF.replace("user = www-data\ngroup = www-data\n", ""), RUN, SOCKET, uid=1000)


@pytest.mark.parametrize("listen", [SOCKET, "127.0.0.2:8089", "127.1.2.3:65535"])
def test_it_accepts_on_its_own_socket_or_on_loopback(listen: str) -> None:
    check_listen(listen, RUN)


@pytest.mark.parametrize(
    "listen",
    [
        "",
        "9000",
        "0.0.0.0:9000",
        "127.0.0.2:80",
        "127.0.0.2:65536",
        "127.0.0.999:9000",
        "[::1]:9000",
        "/run/php/php8.2-fpm.sock",
        f"{RUN}/../x.sock",
        f"{RUN}/a/b.sock",
        f"{RUN}/php.sock\n",
        f"{RUN}x/php.sock",
    ],
)
def test_it_accepts_nowhere_else(listen: str) -> None:
    with pytest.raises(Fault):
        check_listen(listen, RUN)


@given(st.text(max_size=200))
def test_any_text_is_refused_or_plain(text: str) -> None:
    try:
        check_conf(CONF + text, RUN, SOCKET, uid=0)
    except Fault:
        return
    assert not set(text) - set(CONF) - set("0123456789")


NGINX = f"""daemon off;
http {{
  upstream autotune_php {{ server unix:{SOCKET}; keepalive 4; }}
  server {{ listen 127.0.0.2:8088; location ~ \\.php$ {{ fastcgi_param A b; fastcgi_pass autotune_php; }} }}
}}
"""
FRAME = nginx_conf.Frame(
    RUN, "/var/lib/autotune/abc", f"{RUN}/nginx.pid", (("127.0.0.2", 8088),), 1000, SOCKET
)


def test_nginx_passes_on_to_the_nights_own_php_fpm() -> None:
    nginx_conf.check_conf(NGINX, FRAME)
    nginx_conf.check_conf(
        NGINX.replace(f"unix:{SOCKET}", "127.0.0.2:8089"), FRAME._replace(php="127.0.0.2:8089")
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"unix:{SOCKET}", "unix:/run/php/php8.2-fpm.sock"),
        (f"unix:{SOCKET}", "10.0.0.1:9000"),
        (f"server unix:{SOCKET}", f"server unix:{SOCKET}; server 10.0.0.1:9000 backup"),
        ("fastcgi_pass autotune_php", "fastcgi_pass 10.0.0.1:9000"),
        ("fastcgi_pass autotune_php", "proxy_pass http://autotune_php"),
        ("fastcgi_param A b", 'fastcgi_param PHP_ADMIN_VALUE "auto_prepend_file=/tmp/x.php"'),
        ("fastcgi_param A b", "fastcgi_param php_value x=y"),
    ],
)
def test_nginx_passes_on_to_nobody_else(old: str, new: str) -> None:
    assert old in NGINX
    with pytest.raises(Fault):
        nginx_conf.check_conf(NGINX.replace(old, new), FRAME)


def test_without_a_php_fpm_nothing_is_passed_on() -> None:
    with pytest.raises(Fault):
        nginx_conf.check_conf(NGINX, FRAME._replace(php=""))
