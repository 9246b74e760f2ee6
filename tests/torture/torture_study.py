"""The study that is tortured: real nginx, php-fpm and wrk, runs of one second, the shipped space and sequence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab import ADDRESS
from torture_plan import LAB, Form

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "torture"
PORT: Final = 8123


_MANAGED: Final = f"""
port = {PORT}
[[server.file]]
path = "/test_100k.html"
size = "100k"
[[server.file]]
path = "/index.php"
size = "4k"
"""
_OWN: Final = """
kind = "own"
config = "/etc/nginx/nginx.conf"
"""
_MANAGED_URLS: Final = ('path = "/test_100k.html"', 'path = "/index.php"')
_OWN_URLS: Final = (
    'url = "http://www.example.org/page.html"',
    'url = "http://www.example.org/index.php?p=1"',
)


# What all network namespaces of a machine share: a lab leaves it alone, and so is alone itself.
_SHARED: Final = re.compile(r"thp:|sysctl:vm\.")
_TABLE: Final = re.compile(r"(?m)^(?=\[\[|\[parameter|\[derived)")


def write_study(folder: Path, budget: Mapping[str, int], seed: int, form: Form, *, own: bool) -> Path:
    """The study's file in `folder`, and what it needs beside it. `own`: of the user's own site (torture_site)."""
    if form is LAB:
        for shipped in (ROOT / "search_spaces/loopback.toml", ROOT / "studies/hand-tuned.toml"):
            (folder / shipped.name).write_text(without_shared(shipped.read_text()))
    file = folder / f"{NAME}.toml"
    file.write_text(study_text(budget, seed, form, own=own))
    return file


def without_shared(text: str) -> str:
    """A search space or a hand-tuned sequence without the tables that speak of what all namespaces share."""
    return "".join(piece for piece in _TABLE.split(text) if not _SHARED.search(piece))


def study_text(budget: Mapping[str, int], seed: int, form: Form, *, own: bool) -> str:
    numbers = "\n".join(f"{key} = {value}" for key, value in budget.items())
    static, dynamic = _OWN_URLS if own else _MANAGED_URLS
    return f"""
name = "{NAME}"
board = "{ADDRESS if form is LAB else "local"}"
space = "loopback.toml"
hand_tuned = "hand-tuned.toml"
seed = {seed}
accept_noise = true
[server]
{_OWN if own else _MANAGED}
[workload]
name = "mix"
connections = 8
threads = 1
warmup = "100ms"
duration = "1s"
[[workload.url]]
{static}
weight = 0.7
[[workload.url]]
{dynamic}
weight = 0.3
[fitness]
foreign_load = 100
[budget]
{numbers}
lease = "{form.lease_s:.0f}s"
"""
