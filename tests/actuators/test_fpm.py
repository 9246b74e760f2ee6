"""php-fpm's configuration: stock as packaged, each choice at its place, and what can't be had said beforehand."""

from __future__ import annotations

import posixpath

import pytest
from paper_board import BEGUN, discovery, lines, plan
from php_board import PHP_FACTS, PHP_STUDY, POOL, SETTINGS, php_discovery, php_facts

from autotune.actuators.discovery import Discovery
from autotune.actuators.fpm import ini_lines
from autotune.actuators.site import ServerPlan
from autotune.agent.nginx_conf import Frame
from autotune.agent.nginx_conf import check_conf as check_nginx
from autotune.agent.php_conf import check_conf as check_php
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

FOUND = php_discovery()
RUN = posixpath.dirname(BEGUN.conf_path)


def server(chosen: dict[str, Value] | None = None, found: Discovery = FOUND) -> ServerPlan:
    return plan(chosen or {}, found, study=PHP_STUDY, facts=PHP_FACTS).server


def pool(chosen: dict[str, Value] | None = None, found: Discovery = FOUND) -> list[str]:
    php = server(chosen, found).php
    assert php is not None
    return lines(php.conf)


def test_stock_is_the_packaged_pool_on_a_socket_of_our_own() -> None:
    php = server().php
    assert php is not None
    assert php.listen == f"{RUN}/php.sock"
    assert php.conf.splitlines() == [
        "[global]",
        f"error_log = {RUN}/php-fpm.log",
        "log_level = warning",
        "daemonize = no",
        "[autotune]",
        "user = www-data",
        "group = www-data",
        f"listen = {RUN}/php.sock",
        "listen.owner = www-data",
        "listen.mode = 0600",
        "pm = dynamic",
        "pm.max_children = 5",
        "pm.start_servers = 2",
        "pm.min_spare_servers = 1",
        "pm.max_spare_servers = 3",
        "pm.max_spawn_rate = 32",
        "pm.max_requests = 0",
        "listen.backlog = 511",
    ]


def test_a_user_without_root_names_no_account() -> None:
    facts = php_facts(uid=1000)
    php = plan({}, php_discovery(facts=facts), study=PHP_STUDY, facts=facts).server.php
    assert php is not None
    assert not any(line.startswith(("user", "group", "listen.owner")) for line in php.conf.splitlines())


def test_nginx_passes_php_on_and_serves_the_rest() -> None:
    conf = lines(server().conf)
    assert f"server unix:{RUN}/php.sock;" in conf
    assert "fastcgi_pass autotune_php;" in conf
    assert not any(one.startswith(("fastcgi_bu", "fastcgi_keep", "keepalive ")) for one in conf)


def test_a_study_without_php_says_so_and_its_nginx_knows_none() -> None:
    found = discovery()
    for setting in SETTINGS:
        assert found.missing[setting.id] == "this study serves no PHP"
    assert "fastcgi_pass" not in plan(found=found).server.conf
    assert plan(found=found).server.php is None


def test_a_board_without_php_fpm_says_what_to_install() -> None:
    without = php_facts(version="")
    found = php_discovery(facts=without)
    assert found.site is None
    with pytest.raises(BoardUnfit, match="does not run"):
        plan({}, found, study=PHP_STUDY, facts=without)
    absent = discovery(study=PHP_STUDY)
    assert "apt-get install php-fpm" in absent.missing["fpm:pm"]


def test_stock_values_are_the_packages_own() -> None:
    assert FOUND.stock["fpm:max_children"] == 5
    assert FOUND.stock["fpm:output_buffering"] == 4096
    assert FOUND.stock["fpm:opcache.jit"] == "off"
    assert FOUND.stock["fpm:realpath_cache_size"] == 4 << 20
    odd = php_discovery(
        POOL.replace("pm.max_children = 5", "pm.max_children = 12 ; many")
        + "pm.max_requests = 500\nphp_admin_value[opcache.memory_consumption] = 256\nslowlog = /var/log/slow\n",
        ini='opcache.jit_buffer_size = "32M"\nopcache.jit = 1254\nopcache.enable=Off\n',
    )
    assert odd.stock["fpm:max_children"] == 12
    assert odd.stock["fpm:max_requests"] == 500
    assert odd.stock["fpm:opcache.memory_consumption"] == 256 << 20
    assert (odd.stock["fpm:opcache.jit"], odd.stock["fpm:opcache.enable"]) == ("tracing", False)
    assert "php_admin_value[opcache.memory_consumption] = 256" in pool(found=odd)
    assert odd.site is not None
    assert any("slowlog" in one for one in odd.site.left_out)


def test_only_what_the_kind_of_pool_knows_is_written() -> None:
    static = pool({"fpm:pm": "static", "fpm:max_children": 16})
    assert "pm.max_children = 16" in static
    assert not any("spare" in one or "start_servers" in one or "idle" in one for one in static)
    ondemand = pool({"fpm:pm": "ondemand", "fpm:process_idle_timeout": 30})
    assert "pm.process_idle_timeout = 30" in ondemand
    assert not any("spare" in one for one in ondemand)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"fpm:max_children": 2}, (2, 1, 2)),
        ({"fpm:max_children": 1}, (1, 1, 1)),
        ({"fpm:min_spare_servers": 5}, (5, 5, 5)),
        ({"fpm:max_spare_servers": 1}, (1, 1, 1)),
        ({"fpm:start_servers": 5}, (5, 1, 5)),
    ],
)
def test_spares_that_were_not_chosen_are_fitted(
    chosen: dict[str, Value], expected: tuple[int, int, int]
) -> None:
    said = dict(ini_lines("\n".join(pool(chosen))))
    start, low, high = (int(said[f"pm.{name}_servers"]) for name in ("start", "min_spare", "max_spare"))
    assert (start, low, high) == expected


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"fpm:max_children": 2, "fpm:min_spare_servers": 3}, "more than fpm:max_children"),
        ({"fpm:min_spare_servers": 4, "fpm:max_spare_servers": 2}, "min_spare <= start"),
        (
            {"fpm:opcache.memory_consumption": 16 << 20, "fpm:opcache.interned_strings_buffer": 16 << 20},
            "part of",
        ),
        ({"fpm:opcache.memory_consumption": (16 << 20) + 1}, "megabytes"),
        (
            {"nginx:fastcgi_keep_conn": True, "nginx:upstream.keepalive": 4, "fpm:max_children": 8},
            "starve",
        ),
        ({"nginx:fastcgi_buffer_size": 64 << 10}, "don't fit"),
        ({"nginx:fastcgi_busy_buffers_size": 1024}, "largest buffer"),
        ({"nginx:fastcgi_buffers.number": 2, "nginx:fastcgi_busy_buffers_size": 8192}, "all but one"),
    ],
)
def test_what_cannot_be_had_together_is_refused(chosen: dict[str, Value], reason: str) -> None:
    with pytest.raises(SettingUnsupported, match=reason):
        server(chosen)


@pytest.mark.parametrize(
    ("chosen", "busy"),
    [
        ({"nginx:fastcgi_buffers.number": 16}, 8192),
        ({"nginx:fastcgi_buffers.number": 2}, 4096),
        ({"nginx:fastcgi_buffers.size": 65_536}, 131_072),
        ({"nginx:fastcgi_buffer_size": 16_384}, 28_672),
        ({"nginx:fastcgi_busy_buffers_size": 20_480}, 20_480),
    ],
)
def test_busy_buffers_follow_the_buffers(chosen: dict[str, Value], busy: int) -> None:
    assert f"fastcgi_busy_buffers_size {busy};" in lines(server(chosen).conf)


def test_kept_connections_and_tcp_are_nginxs_side_too() -> None:
    plan_ = server(
        {
            "fpm:listen.socket": "tcp",
            "fpm:max_children": 16,
            "nginx:fastcgi_keep_conn": True,
            "nginx:upstream.keepalive": 4,
        }
    )
    assert plan_.php is not None
    assert plan_.php.listen == "127.0.0.2:8089"
    conf = lines(plan_.conf)
    assert {"server 127.0.0.2:8089;", "keepalive 4;", "fastcgi_keep_conn on;"} <= set(conf)


def test_jit_and_its_buffer_are_one() -> None:
    on = pool({"fpm:opcache.jit": "tracing"})
    assert "php_admin_value[opcache.jit] = tracing" in on
    assert "php_admin_value[opcache.jit_buffer_size] = 67108864" in on
    off = pool({"fpm:opcache.jit_buffer_size": 1 << 20})
    assert not any("jit" in one for one in off)


# Where a step up from stock would be too little, too much or uneven.
VALUES: dict[str, Value] = {
    "listen.backlog": 4_096,
    "opcache.max_accelerated_files": 4_000,
    "opcache.memory_consumption": 32 << 20,
    "opcache.jit_buffer_size": 2 << 20,
    "opcache.interned_strings_buffer": 4 << 20,
    "fastcgi_buffers.size": 8_192,
    "fastcgi_buffer_size": 8_192,
    "fastcgi_busy_buffers_size": 12_288,
}


def another(setting: Setting) -> Value:
    stock = FOUND.stock[setting.id]
    if isinstance(stock, bool):
        return not stock
    if setting.choices:
        return next(one for one in setting.choices if one != stock)
    return VALUES.get(setting.key, (1 << 20) if setting.kind is Kind.SIZE else 7)


BESIDE: dict[str, Value] = {"fpm:max_children": 64}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_has_a_place_that_the_agent_starts(setting: Setting) -> None:
    beside = dict(BESIDE)
    if setting.key == "process_idle_timeout":
        beside["fpm:pm"] = "ondemand"
    if setting.key == "opcache.jit_buffer_size":
        beside["fpm:opcache.jit"] = "tracing"
    beside.pop(setting.id, None)
    value = another(setting)
    before, after = server(beside), server({**beside, setting.id: value})
    assert (before.conf, before.php) != (after.conf, after.php)
    assert after.php is not None
    check_php(after.php.conf, RUN, after.php.listen, uid=1000)
    frame = Frame(
        run_dir=RUN,
        state_dir=posixpath.dirname(BEGUN.www_dir),
        pid_path=f"{RUN}/nginx.pid",
        listen=(("127.0.0.2", 8088),),
        uid=1000,
        php=after.php.listen,
    )
    check_nginx(after.conf, frame)
