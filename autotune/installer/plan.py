"""What an installation would do on this board, and every reason against it. Looks only."""

from __future__ import annotations

import glob
import os
import re
import stat
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from autotune.agent import allowed, clocks
from autotune.agent.board_model import model
from autotune.agent.faults import Fault
from autotune.agent.kernel_files import read_value
from autotune.installer import services
from autotune.installer.boot_files import SYSCTL, TMPFILES, UDEV, UNIT, boot_texts, file_of, head
from autotune.installer.exported import Exported
from autotune.installer.kernel import Board, Wish, read_live, real_path, wishes
from autotune.installer.nginx_edit import Edited, edited
from autotune.installer.nginx_tree import Tree, read_tree

_SYSCTL_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
_ASSIGNMENT = re.compile(r"-?\s*([A-Za-z0-9_./*-]+)\s*=")
_POOLS = "/etc/php/*/fpm/pool.d/www.conf"
_POOL_FILE = "zz-autotune.conf"
_MEMORY_SHARE = 1 << 62  # no key whose limit is a share of memory is ever exported
_RIVALS = ("tuned.service", "power-profiles-daemon.service", "cpufrequtils.service")


class NginxPlan(NamedTuple):
    """The user's configuration as it is, and as it would be."""

    tree: Tree
    edited: Edited


class Pool(NamedTuple):
    """The drop-in of php-fpm: its place, its text, and which PHP it is of."""

    path: str
    text: str
    version: str


class Plan(NamedTuple):
    """`files` are new ones by place; `problems` are against it, `notes` worth knowing."""

    exported: Exported
    wishes: List[Wish]
    pending: List[str]
    files: Dict[str, str]
    nginx: Optional[NginxPlan]
    pool: Optional[Pool]
    problems: List[str]
    notes: List[str]


def plan(exported: Exported, *, other_board: bool, installed: bool = False) -> Plan:
    """`installed`: our own files are expected to be there."""
    problems: List[str] = []
    notes: List[str] = []
    strange = other_than(exported.board)
    if strange and not other_board:
        problems.append(
            f"this is not the board it was measured on: {strange} (--other-board installs it anyway)"
        )
    found = wishes(exported.kernel, exported.nic, Board())
    problems += found.problems
    problems += _refused(found.wishes)
    files = boot_texts(exported, [one for one in found.wishes if _is_named(one)])
    if not installed:
        problems += [f"{path} is there already, and not ours" for path in files if os.path.lexists(path)]
    problems += _tools(files, exported.families)
    problems += _later(exported)
    if exported.of("irq") and services.busy_moving_interrupts():
        problems.append(
            "irqbalance runs here and would move the interrupts: systemctl disable --now irqbalance, or --without irq"
        )
    if exported.of("cpufreq"):
        notes += [f"{unit} runs here and may set clocks, too" for unit in _RIVALS if services.is_active(unit)]
    nginx = _nginx(exported, problems, notes) if exported.nginx else None
    pool = _pool(exported, problems, installed=installed) if exported.pool else None
    return Plan(exported, found.wishes, found.pending, files, nginx, pool, problems, notes)


def other_than(board: Dict[str, str]) -> str:
    """How this machine differs from the one of the study; "" when it doesn't."""
    here = {
        "model": model(),
        "machine": os.uname().machine,
        "cpus": str(len(os.sched_getaffinity(0))),
    }
    return "; ".join(
        f"{name} is {there or 'not known'}, was {board[name]}"
        for name, there in here.items()
        if name in board and " ".join(board[name].split()) != " ".join(there.split())
    )


def _is_named(wish: Wish) -> bool:
    return wish.id.startswith(("block:", "devfreq:"))


def _refused(wanted: Sequence[Wish]) -> List[str]:
    """What the agent's own lists refuse, and limits that heat holds down now."""
    said = []
    for wish in wanted:
        try:
            path = real_path(wish.path)
            now = {path: read_value(path)}
            allowed.check_write(path, wish.text, memory_bytes=_MEMORY_SHARE, originals=now)
            if path.startswith("/") and not os.stat(path).st_mode & stat.S_IWUSR:
                said.append(f"{wish.id}: {path} is read-only even for root: in a container it is the host's")
            if cooling := clocks.cooled_by(path, read_value):
                said.append(f"{wish.id}: not while heat slows the board down ({cooling}): let it cool down")
        except Fault as problem:
            said.append(f"{wish.id}: {problem.message}")
        except OSError as problem:
            said.append(f"{wish.id}: {wish.path}: {problem.strerror}")
    return said


def _tools(files: Dict[str, str], families: Sequence[str]) -> List[str]:
    """What would have to read our files at boot."""
    needs = {SYSCTL: "systemd-sysctl", TMPFILES: "systemd-tmpfiles", UDEV: "udevadm", UNIT: "systemctl"}
    said = [
        f"{path}: without systemd nothing here would read it at boot ({_without(path, families)} leaves it out)"
        for path in files
        if path != SYSCTL and not services.has_systemd()
    ]
    if not said:
        said = [
            f"{path}: there is no {needs[path]} here"
            for path in files
            if path in (UDEV, UNIT) and services.missing([needs[path]])
        ]
    return said


def _without(path: str, families: Sequence[str]) -> str:
    return " ".join(f"--without {family}" for family in families if file_of(family) == path)


def _later(exported: Exported) -> List[str]:
    """Keys that a file of sysctl.d sets again behind ours."""
    mine = {one.key for one in exported.of("sysctl")}
    said = []
    for folder in _SYSCTL_FOLDERS if mine else ():
        for path in sorted(glob.glob(folder + "/*.conf")):
            if os.path.basename(path) > os.path.basename(SYSCTL):
                said += [f"{path} sets {key} at boot, behind ours" for key in sorted(mine & _keys(path))]
    return said


def _keys(path: str) -> Set[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return set()
    found = (_ASSIGNMENT.match(line.strip()) for line in lines if not line.lstrip().startswith(("#", ";")))
    return {match[1].replace("/", ".") for match in found if match}


def _nginx(exported: Exported, problems: List[str], notes: List[str]) -> Optional[NginxPlan]:
    if problem := services.nginx_problem(exported.config):
        problems.append(problem)
        return None
    try:
        tree = read_tree(exported.config)
        made = edited(tree, exported.nginx)
    except Fault as fault:
        problems.append(f"nginx: {fault.message}")
        return None
    notes += made.notes
    if problem := services.candidate_problem(exported.config, made.texts):
        problems.append(problem)
    return NginxPlan(tree, made)


def _pool(exported: Exported, problems: List[str], *, installed: bool) -> Optional[Pool]:
    there = sorted(glob.glob(_POOLS), key=_version_of)
    if not there:
        problems.append(f"php-fpm: there is no {_POOLS} here")
        return None
    version = there[-1].split("/")[3]
    if problem := services.fpm_problem(version):
        problems.append(problem)
    with open(there[-1], encoding="utf-8", errors="replace") as file:
        names = re.findall(r"(?m)^\s*\[([A-Za-z0-9_.-]+)\]", file.read())
    names = [name for name in names if name != "global"]
    if len(names) != 1:
        problems.append(f"{there[-1]} has {len(names)} pools, so it can't be told which is meant")
        return None
    path = os.path.join(os.path.dirname(there[-1]), _POOL_FILE)
    if os.path.lexists(path) and not installed:
        problems.append(f"{path} is there already, and not ours")
    lines = [";" + head(exported)[1:], f"[{names[0]}]", *exported.pool]
    return Pool(path, "\n".join(lines) + "\n", version)


def _version_of(path: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in path.split("/")[3].split(".") if part.isdecimal())


def now(wish: Wish) -> str:
    """What is there now, in words."""
    try:
        return read_live(wish.path) or "(not there yet)"
    except OSError as problem:
        return f"({problem.strerror})"
