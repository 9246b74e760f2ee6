"""A paper board that serves PHP, and this machine's own php-fpm read as an agent would read it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from paper_board import FACTS, STUDY, readings

from autotune.actuators import fpm
from autotune.actuators.discovery import Discovery, discover
from autotune.agent.allowed import find_program
from autotune.board.facts import BoardFacts
from autotune.board.records import Program, Reading
from autotune.experiment.study import ManagedNginx, ServedFile, Study, Url, Workload
from autotune.space.catalogue import CATALOGUE

PAGE = ServedFile(path="/page.php", size_bytes=5_000)
PHP_STUDY: Study = STUDY.model_copy(
    update={
        "server": ManagedNginx(files=(PAGE, ServedFile(path="/small.html", size_bytes=1_000))),
        "workloads": (Workload(name="php", urls=(Url(target=PAGE.path),), connections=8, threads=1),),
    }
)
HOME = "/etc/php/8.2/fpm"
POOL = """; the packaged pool
[www]
user = www-data
group = www-data
listen = /run/php/php8.2-fpm.sock
listen.owner = www-data
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
;pm.max_requests = 500
"""
INI = "[PHP]\noutput_buffering = 4096\n;realpath_cache_size = 4096k\n[opcache]\n;opcache.enable=1\n"
OPCACHE = "; priority=10\nzend_extension=opcache.so\n"
SETTINGS = tuple(
    setting
    for setting in CATALOGUE.values()
    if setting.family == "fpm" or setting.key.startswith(("fastcgi_", "upstream."))
)


def php_facts(*, uid: int = 0, version: str = "PHP 8.2.36 (fpm-fcgi) (built: today)") -> BoardFacts:
    php = Program(path="/usr/sbin/php-fpm8.2", version=version)
    return replace(FACTS, uid=uid, programs={**FACTS.programs, "php-fpm": php})


PHP_FACTS = php_facts()


def php_discovery(
    pool: str = POOL, *, ini: str = INI, http: str = "", facts: BoardFacts = PHP_FACTS
) -> Discovery:
    """What the paper board with this pool offers of PHP's settings; `http` is put into nginx's http context."""
    files = {
        f"{HOME}/pool.d/www.conf": pool,
        f"{HOME}/php.ini": ini,
        f"{HOME}/conf.d/10-opcache.ini": OPCACHE,
    }
    seen = readings(files=files)
    base = seen["/etc/nginx/nginx.conf"]
    seen["/etc/nginx/nginx.conf"] = replace(base, text=(base.text or "").replace("gzip on;", http))
    return discover(tuple(CATALOGUE.values()), seen, facts, PHP_STUDY)


def this_machine(study: Study = PHP_STUDY) -> tuple[Discovery, BoardFacts]:
    """What this machine's nginx and php-fpm offer."""
    programs = {}
    for name, argument in (("nginx", "-V"), ("php-fpm", "-nv")):
        path = find_program(name)
        done = subprocess.run([path, argument], capture_output=True, text=True, check=True)
        programs[name] = Program(path=path, version=done.stdout + done.stderr)
    board = replace(FACTS, uid=os.geteuid(), cpus=tuple(sorted(os.sched_getaffinity(0))), programs=programs)
    paths = [path for pattern in (fpm.POOLS, *fpm.INIS) for path in map(str, Path("/").glob(pattern[1:]))]
    seen = readings(Path("/etc/nginx/nginx.conf").read_text(encoding="utf-8"))
    seen |= {
        path: Reading(text=Path(path).read_text(encoding="utf-8"), error="", writable=True) for path in paths
    }
    online = "/sys/devices/system/cpu/online"
    seen[online] = Reading(text=Path(online).read_text(encoding="ascii"), error="", writable=False)
    return discover((*SETTINGS, CATALOGUE["nginx:worker_processes"]), seen, board, study), board
