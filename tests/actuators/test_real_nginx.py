"""Every directive of the catalogue, at both its extremes, as the real nginx takes it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from paper_board import BEGUN, STUDY, facts, plan, readings

from autotune.actuators.discovery import Discovery, discover
from autotune.actuators.nginx import PHP_ONLY
from autotune.board.records import Begun
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

pytestmark = pytest.mark.real

NGINX = "/usr/sbin/nginx"
BASE = Path("/etc/nginx/nginx.conf")
# What nginx -t refuses although the catalogue allows it, with the reason.
REFUSED: Mapping[tuple[str, Value], str] = {}
# Those about PHP are tried with a php-fpm behind nginx, in test_real_fpm.
DIRECTIVES = [one for one in CATALOGUE.values() if one.family == "nginx" and one.id not in PHP_ONLY]


@cache
def this_machine() -> Discovery:
    """What this machine's nginx offers, on all its CPUs; also what loopback makes pointless, for nginx takes that too."""
    version = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr
    board = facts(uid=os.geteuid(), cpus=tuple(sorted(os.sched_getaffinity(0))), nginx_version=version)
    online = Path("/sys/devices/system/cpu/online").read_text()
    seen = readings(BASE.read_text(), files={"/sys/devices/system/cpu/online": online})
    found = discover(tuple(DIRECTIVES), seen, board, STUDY)
    kept = {id_: reason for id_, reason in found.missing.items() if not CATALOGUE[id_].loopback}
    return replace(found, missing=kept)


def extremes(setting: Setting) -> list[Value]:
    plain: list[Value] = []
    if setting.kind is Kind.SWITCH:
        plain = [True, False]
    elif setting.kind is Kind.CPU_MASK:
        plain = [1]
    elif setting.low is not None and setting.high is not None:
        plain = [int(setting.low), int(setting.high)]
    return [*plain, *setting.choices, *setting.specials]


def begun(directory: Path) -> Begun:
    for name in ("www", "log"):
        (directory / name).mkdir(exist_ok=True)
    return replace(
        BEGUN,
        conf_path=str(directory / "nginx.conf"),
        www_dir=str(directory / "www"),
        log_dir=str(directory / "log"),
    )


def test_configuration(conf: str, directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "nginx.conf").write_text(conf)
    return subprocess.run(
        [NGINX, "-t", "-c", str(directory / "nginx.conf")], capture_output=True, text=True, check=False
    )


test_configuration.__test__ = False  # type: ignore[attr-defined]  # named after `nginx -t`
CASES = [
    pytest.param(setting.id, value, id=f"{setting.key}={setting.show(value)}")
    for setting in DIRECTIVES
    for value in extremes(setting)
]


def helped(id_: str) -> dict[str, Value]:
    """What a directive needs beside it to stand in the text at all."""
    if id_ == "nginx:access_log.flush":
        return {"nginx:access_log.buffer": 65_536}
    return {"nginx:open_file_cache": 1000} if id_ == "nginx:open_file_cache.inactive" else {}


@pytest.mark.parametrize(("id_", "value"), CASES)
def test_nginx_takes_every_extreme(real_nginx: str, tmp_path: Path, id_: str, value: Value) -> None:
    found = this_machine()
    if reason := found.value_reason(id_, value):
        pytest.skip(reason)
    conf = plan({**helped(id_), id_: value}, found, begun=begun(tmp_path)).server.conf
    done = test_configuration(conf, tmp_path)
    assert (done.returncode == 0) is ((id_, value) not in REFUSED), done.stderr


@pytest.mark.parametrize("last", [False, True], ids=["lowest", "highest"])
def test_nginx_takes_all_extremes_at_once(real_nginx: str, tmp_path: Path, *, last: bool) -> None:
    found = this_machine()
    chosen: dict[str, Value] = {}
    for setting in DIRECTIVES:
        plain = extremes(setting)[: -len(setting.specials) or None]
        usable = [value for value in plain if not found.value_reason(setting.id, value)]
        if usable:
            chosen[setting.id] = usable[-1 if last else 0]
    assert len(chosen) > 40
    done = test_configuration(plan(chosen, found, begun=begun(tmp_path)).server.conf, tmp_path)
    assert done.returncode == 0, done.stderr


def test_nginx_takes_stock_without_a_warning(real_nginx: str, tmp_path: Path) -> None:
    done = test_configuration(plan(found=this_machine(), begun=begun(tmp_path)).server.conf, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr
