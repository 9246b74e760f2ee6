"""What is taken over of a packaged configuration, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper_board import DEBIAN_CONF, NGINX_ORG_CONF, discovery, facts, lines, plan, readings

from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.packaged import Directive, Packaged, build_text, packaged, parse
from autotune.board.records import Reading
from autotune.errors import BoardUnfit

BASE = "/etc/nginx/nginx.conf"
REAL = [
    *Path("/etc/nginx").glob("*.conf"),
    *Path("/etc/nginx").glob("*/*.conf"),
    Path("/etc/nginx/mime.types"),
]


def read(conf: str, *, uid: int = 0, files: dict[str, str] | None = None) -> Packaged:
    return packaged(BASE, readings(conf, files=files), NginxBuild.of(facts(uid=uid)))


@pytest.mark.parametrize("text", [DEBIAN_CONF, NGINX_ORG_CONF, ""], ids=["debian", "nginx.org", "empty"])
def test_a_configuration_survives_being_parsed_and_built(text: str) -> None:
    assert parse(build_text(parse(text))) == parse(text)


@pytest.mark.parametrize("file", [one for one in REAL if one.is_file()], ids=str)
def test_this_machines_own_configuration_survives(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert parse(build_text(parse(text))) == parse(text)


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12), max_size=4
    )
)
def test_any_argument_in_quotes_survives_or_makes_the_board_unfit(words: list[str]) -> None:
    plain = [word.replace("\\", "").replace('"', "") for word in words]
    quoted = " ".join(f'"{word}"' for word in plain)
    try:
        base = read(f"http {{ log_format main {quoted}; }}")
    except BoardUnfit:
        return
    (format_,) = base.http
    assert parse(build_text(base.http)) == (format_,)
    assert format_.args == ("main", *plain)


@pytest.mark.parametrize(
    ("conf", "problem"),
    [("http {\nserver {", "expecting"), ("user x", "ends in the middle"), ("}", "unexpected")],
)
def test_what_is_no_configuration_is_named_by_its_own_path(conf: str, problem: str) -> None:
    with pytest.raises(BoardUnfit, match=problem) as refused:
        read(conf)
    assert BASE in refused.value.message
    assert "/tmp" not in refused.value.message


def test_a_word_that_cannot_be_written_again_makes_the_board_unfit() -> None:
    with pytest.raises(BoardUnfit, match="can't be written again"):
        read('http { log_format main "#$host"; }')


def test_http_settings_and_the_log_format_are_kept_as_they_are() -> None:
    conf = lines(plan(found=discovery(NGINX_ORG_CONF)).server.conf)
    assert "keepalive_timeout 65;" in conf
    assert "default_type application/octet-stream;" in conf
    assert "include /etc/nginx/mime.types;" in conf
    assert "access_log /var/lib/autotune/abc/log/access.log main;" in conf
    assert "error_log /var/lib/autotune/abc/log/error.log notice;" in conf
    (kept,) = (one for one in parse(plan(found=discovery(NGINX_ORG_CONF)).server.conf) if one.name == "http")
    format_ = next(one for one in kept.block or () if one.name == "log_format")
    assert format_.args[1].startswith('$remote_addr - $remote_user [$time_local] "$request" ')


def test_sites_of_the_board_are_left_out_and_listed() -> None:
    conf = DEBIAN_CONF.replace(
        "gzip on;", "gzip on; server { listen 80; } proxy_cache_path /var/cache/x; root /srv;"
    )
    base = read("stream { server { listen 53; } } env SECRET; " + conf)
    assert not {one.name for one in base.http} & {"server", "proxy_cache_path", "root", "access_log"}
    assert not {one.name for one in base.main} & {"stream", "env", "pid", "include"}
    left_out = " ".join(base.left_out)
    for name in ("stream", "env", "server", "proxy_cache_path", "root", "conf.d", "sites-enabled"):
        assert name in left_out, name


def test_modules_of_the_package_are_loaded_by_their_absolute_path() -> None:
    files = {
        "/etc/nginx/modules-enabled/50-geoip.conf": "load_module modules/ngx_http_geoip_module.so;\n",
        "/etc/nginx/modules-enabled/60-odd.conf": "stream { }\n",
    }
    base = read("load_module /usr/lib/nginx/modules/a.so;" + DEBIAN_CONF, files=files)
    assert [one.args for one in base.main if one.name == "load_module"] == [
        ("/usr/lib/nginx/modules/a.so",),
        ("/usr/share/nginx/modules/ngx_http_geoip_module.so",),
    ]
    assert any("60-odd.conf" in one for one in base.left_out)


def test_the_user_is_kept_for_root_only() -> None:
    assert Directive(name="user", args=("www-data",)) in read(DEBIAN_CONF).main
    without = read(DEBIAN_CONF, uid=1000)
    assert not any(one.name == "user" for one in without.main)
    assert any(one.startswith("user") for one in without.left_out)


def test_a_quiet_error_log_is_made_to_tell_warnings() -> None:
    assert read("error_log /x crit;" + DEBIAN_CONF.replace("error_log", "#")).error_level == "warn"
    assert read(DEBIAN_CONF.replace("error.log;", "error.log debug;")).error_level == "debug"


def test_relative_files_are_found_from_the_packaged_directory() -> None:
    base = read(DEBIAN_CONF.replace("gzip on;", "ssl_certificate cert.pem;"))
    assert Directive(name="ssl_certificate", args=("/etc/nginx/cert.pem",)) in base.http


@pytest.mark.parametrize("text", ["http {", "}", "http { a b; } }"])
def test_a_broken_configuration_makes_the_board_unfit(text: str) -> None:
    with pytest.raises(BoardUnfit, match="can't be read"):
        read(text)


def test_an_unreadable_configuration_makes_the_board_unfit() -> None:
    with pytest.raises(BoardUnfit, match="Permission denied"):
        packaged(
            BASE,
            {BASE: Reading(text=None, error="Permission denied", writable=False)},
            NginxBuild.of(facts()),
        )
