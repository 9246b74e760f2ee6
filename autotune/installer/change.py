"""The way in: all of it or nothing. What fails, whatever it is, is taken back at once."""

from __future__ import annotations

import glob
import os
from typing import List

from autotune.agent.faults import Fault
from autotune.installer import record, services, values
from autotune.installer.boot_files import STATE, UNIT, WANTED
from autotune.installer.plan import Plan

BOOT_FAMILIES = ("cpufreq", "cpuidle", "irq", "net")
"""Those that the unit sets at boot; the others' files have readers of their own."""


def install(planned: Plan, here: str, settings: str) -> List[str]:
    """Does what was planned; what is worth knowing about it. `here`: where the program is, `settings` what it installs.

    Raises Fault when something is refused; what was done by then is in the record.
    """
    exported = planned.exported
    record.begin(
        {
            "study": exported.study,
            "settings": record.hash_of(settings.encode("utf-8")),
            "config": exported.config,
        }
    )
    _keep_program(here, settings)
    said = values.put(exported.kernel, exported.nic, recorded=True)
    if planned.pool:
        _put_pool(planned)
    if planned.nginx and planned.nginx.edited.texts:
        _put_nginx(planned)
    for path, text in planned.files.items():
        record.put_file(path, text.encode("ascii"))
    if UNIT in planned.files:
        record.make_link(WANTED, "../" + os.path.basename(UNIT))
    services.reload_manager()
    record.finish()
    return said


def _put_pool(planned: Plan) -> None:
    pool = planned.pool
    if pool is None:
        return
    record.note_service(pool.version)
    record.put_file(pool.path, pool.text.encode("ascii"))
    if problem := services.fpm_problem(pool.version) or services.restart_fpm(pool.version):
        raise Fault("refused", problem)


def _put_nginx(planned: Plan) -> None:
    """nginx -t has passed for these very files where that could be tried; here it is asked again, in place."""
    nginx, config = planned.nginx, planned.exported.config
    if nginx is None:
        return
    before = services.answers(nginx.tree)
    record.note_service("nginx")
    for path, text in nginx.edited.texts.items():
        record.put_file(path, text.encode("utf-8", "surrogateescape"))
    problem = services.nginx_problem(config) or services.restart_nginx(nginx.tree, config)
    if problem := problem or services.unanswered(nginx.tree, before):
        raise Fault("refused", problem)


def _keep_program(here: str, settings: str) -> None:
    """Copies the program to root's own place: the unit runs it at boot, and `uninstall` is there when the export is gone."""
    for path in glob.glob(here + "/program/**/*.py", recursive=True):
        _copy(path, STATE + path[len(here) :], 0o644)
    for name in ("uninstall", "boot"):
        _copy(f"{here}/program/{name}", f"{STATE}/{name}", 0o755)
    _write(f"{STATE}/settings.json", settings.encode("utf-8"), 0o644)


def _copy(source: str, target: str, mode: int) -> None:
    with open(source, "rb") as file:
        _write(target, file.read(), mode)


def _write(path: str, text: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
