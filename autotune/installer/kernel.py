"""Which file of the kernel takes which text on this board: cards, disks, clusters and interrupts are found by name, now.

Interrupts have another number after each boot, so theirs are named irq:<card>/<place among the card's>.
"""

from __future__ import annotations

import glob
import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from autotune.agent.faults import Fault
from autotune.agent.kernel_files import read_value, write_value
from autotune.installer.exported import Exported, Setting, Value

_CPUFREQ = "/sys/devices/system/cpu/cpufreq/"
_FILES = {"governor": "scaling_governor", "max_freq": "scaling_max_freq", "min_freq": "scaling_min_freq"}
_THP = "/sys/kernel/mm/transparent_hugepage/"
_PCIE = "/sys/module/pcie_aspm/parameters/policy"
_ONLINE = "/sys/devices/system/cpu/online"
_QUEUES = {"rps_cpus": "rx", "rps_flow_cnt": "rx", "xps_cpus": "tx"}
_ETHTOOL = {"rx_usecs": "rx-usecs", "tx_usecs": "tx-usecs", "gro": "gro", "gso": "gso", "tso": "tso"}
_SWITCHED = ("gro", "gso", "tso")
_STATE = re.compile(r"/sys/devices/system/cpu/cpu(\d+)/cpuidle/state(\d+)/disable")
_DISK = re.compile(r"/sys/block/([^/]+)(/[^/]+)?/dev")
_ROW = re.compile(r"\s*(\d+):\s(.*)")
_TRIGGER = re.compile(r"(.*-)?(level|edge|fasteoi|simple|percpu)", re.IGNORECASE)
_IRQ = re.compile(r"irq:([A-Za-z0-9_.@-]{1,40})/([0-9]{1,3})")
SERVED_FROM = "/var/lib/autotune"
"""Where a night's files lie: the disk of `block:site` is the one below."""


class Board:
    """What can be looked at here."""

    def text(self, path: str) -> str:
        """The text of a file, "" when it isn't there or can't be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(1 << 20)
        except OSError:
            return ""

    def names(self, pattern: str) -> List[str]:
        return sorted(glob.glob(pattern))


class Wish(NamedTuple):
    """One file and what it is to hold. `path` may be one of the agent's words (tc:, ethtool:) or irq:."""

    id: str
    path: str
    text: str


class Wishes(NamedTuple):
    """`pending`: tunables whose governor doesn't rule yet, so that nobody can say where they will be."""

    wishes: List[Wish]
    pending: List[str]
    problems: List[str]


def wishes(settings: Sequence[Setting], nic: str, board: Board) -> Wishes:
    """All that these settings want here; what can't be had is a problem, each in a sentence."""
    found: List[Wish] = []
    pending: List[str] = []
    problems: List[str] = []
    owner: Dict[str, Wish] = {}
    for setting in settings:
        try:
            texts = _texts(setting, nic, board)
        except Fault as problem:
            problems.append(f"{setting.id}: {problem.message}")
            continue
        if texts is None:
            pending.append(setting.id)
            continue
        for path, text in texts.items():
            before = owner.setdefault(path, Wish(setting.id, path, text))
            if before.text != text:
                problems.append(f"{before.id} and {setting.id} want different things of {path}")
            elif before.id == setting.id:
                found.append(before)
    return Wishes(found, pending, problems)


def known_places(exported: Exported) -> List[Wish]:
    """What is known of disks and other clocks without looking at a board: all but the disk of the served files."""
    found = []
    for one in exported.of("block", "devfreq"):
        if one.device != "site":
            root = "/sys/block/{}/queue/{}" if one.family == "block" else "/sys/class/devfreq/{}/{}"
            found.append(Wish(one.id, root.format(one.device, one.part), one.text))
    return found


def real_path(path: str, board: Optional[Board] = None) -> str:
    """The path as the agent knows it: irq:<card>/<place> is a number of this boot. Raises Fault."""
    match = _IRQ.fullmatch(path)
    if match is None:
        return path
    numbers = _interrupts(match[1], board or Board())
    if int(match[2]) >= len(numbers):
        raise Fault("refused", f"{match[1]} has {len(numbers)} interrupts here, counted from 0")
    return f"/proc/irq/{numbers[int(match[2])]}/smp_affinity"


def read_live(path: str) -> Optional[str]:
    """What it holds now; None when it isn't there. Raises OSError."""
    try:
        return read_value(real_path(path))
    except Fault:
        return None


def write_live(path: str, text: str) -> None:
    """Raises OSError with the kernel's refusal, Fault for an interrupt that isn't there."""
    write_value(real_path(path), text)


def _texts(setting: Setting, nic: str, board: Board) -> Optional[Dict[str, str]]:
    device = nic if setting.device == "nic" else setting.device
    if setting.device == "nic" and not nic and setting.family in ("irq", "net"):
        raise Fault("refused", "the study doesn't say which card its load came over: name it with --nic")
    if path := fixed_path(setting):
        return _one(path, setting, board)
    return _FAMILIES[setting.family](setting, device, board)


def fixed_path(setting: Setting) -> str:
    """Where a setting is on every board; "" for one that is a device's."""
    paths = {"sysctl": "/proc/sys/" + setting.key.replace(".", "/"), "thp": _THP + setting.key, "pcie": _PCIE}
    return paths.get(setting.family, "")


def _devfreq(setting: Setting, device: str, board: Board) -> Optional[Dict[str, str]]:
    return _one(f"/sys/class/devfreq/{device}/{setting.part}", setting, board)


def _block(setting: Setting, device: str, board: Board) -> Optional[Dict[str, str]]:
    disk = site_disk(board) if device == "site" else device
    return _one(f"/sys/block/{disk}/queue/{setting.part}", setting, board)


def _one(path: str, setting: Setting, board: Board) -> Dict[str, str]:
    if not board.text(path).strip():
        raise Fault("refused", f"this kernel has no {path} here")
    return {path: setting.text}


# -- clocks and sleep -------------------------------------------------------------------------------------------------


def _cpufreq(setting: Setting, device: str, board: Board) -> Optional[Dict[str, str]]:
    mine, every = _policies(device, board)
    if file := _FILES.get(setting.part):
        offers = "scaling_available_" + ("governors" if setting.part == "governor" else "frequencies")
        for policy in mine:
            if setting.text not in board.text(policy + offers).split():
                raise Fault("refused", f"{policy}{offers} doesn't list {setting.text}")
        return {policy + file: setting.text for policy in mine}
    governor, _, name = setting.part.partition(".")
    for policy in mine:
        if governor not in board.text(policy + "scaling_available_governors").split():
            raise Fault("refused", f"the governor {governor} is not offered here")
    own = [f"{policy}{governor}/{name}" for policy in mine]
    if all(board.text(path).strip() for path in own):
        return dict.fromkeys(own, setting.text)
    shared = f"{_CPUFREQ}{governor}/{name}"
    if board.text(shared).strip():
        if len(mine) < len(every):
            raise Fault("refused", "this kernel has one such value for all CPUs, not one for some")
        return {shared: setting.text}
    return None


def _policies(device: str, board: Board) -> Tuple[List[str], List[str]]:
    """The directories of the policies that a word stands for, and all of them."""
    every = [path[: -len("scaling_governor")] for path in board.names(_CPUFREQ + "policy*/scaling_governor")]
    if not every:
        raise Fault("refused", "this machine's kernel doesn't set CPU clocks")
    big = set(_big(board))
    fast = [one for one in every if big & set(_cpus(board.text(one + "related_cpus")))]
    slow = [one for one in every if one not in fast]
    mine = {"all": every, "big": fast if slow else [], "little": slow}.get(device)
    if mine is None:
        mine = [one for one in every if one == f"{_CPUFREQ}{device}/"]
    if not mine:
        raise Fault("refused", f"this board's clocks have no {device}")
    return mine, every


def _cpuidle(setting: Setting, _device: str, board: Board) -> Optional[Dict[str, str]]:
    states: Dict[int, List[int]] = {}
    for path in board.names("/sys/devices/system/cpu/cpu*/cpuidle/state*/disable"):
        match = _STATE.fullmatch(path)
        if match and board.text(path[: -len("disable")] + "name").strip() != "POLL":
            states.setdefault(int(match[1]), []).append(int(match[2]))
    deepest = {cpu: max(mine) for cpu, mine in states.items() if len(mine) > 1}
    if not deepest:
        raise Fault("refused", "this machine's CPUs have no second way to sleep")
    return {
        f"/sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}/disable": "0" if setting.value else "1"
        for cpu, state in sorted(deepest.items())
    }


# -- cards ------------------------------------------------------------------------------------------------------------


def _irq(setting: Setting, device: str, board: Board) -> Optional[Dict[str, str]]:
    count = len(_interrupts(device, board))
    if not count:
        raise Fault("refused", f"/proc/interrupts has no line of {device}")
    index = setting.part.partition(".")[0]
    places = [int(index)] if index.isdecimal() else list(range(count))
    if places[-1] >= count:
        raise Fault("refused", f"{device} has {count} interrupts here, counted from 0")
    masks = _placed(setting.value, len(places), board)
    return {f"irq:{device}/{place}": _mask_text(mask) for place, mask in zip(places, masks)}


def _placed(value: Value, count: int, board: Board) -> List[int]:
    if isinstance(value, int):
        return [value] * count
    online = _online(board)
    cpus = {"one": [min(online)], "big": _big(board)}.get(value, online)
    return [1 << cpus[place % len(cpus)] for place in range(count)]


def _interrupts(device: str, board: Board) -> List[int]:
    """The card's interrupts of this boot: by its name, by its own list, or by its virtio device; lowest first."""
    header, _, rest = board.text("/proc/interrupts").partition("\n")
    named: Dict[int, List[str]] = {}
    for row in rest.splitlines():
        match = _ROW.match(row)
        if match:
            words = match[2].split()[len(header.split()) :]
            trigger = max((at for at, word in enumerate(words) if _TRIGGER.fullmatch(word)), default=-1)
            said = " ".join(words[trigger + 1 :] if trigger >= 0 else words[-1:])
            named[int(match[1])] = [name.strip() for name in said.split(",") if name.strip()]
    mine = sorted(number for number, names in named.items() if _belongs(names, device))
    if mine:
        return mine
    own = board.names(f"/sys/class/net/{device}/device/msi_irqs/*")
    if own:
        return sorted(int(path.rpartition("/")[2]) for path in own if int(path.rpartition("/")[2]) in named)
    for path in board.names(f"/sys/bus/virtio/devices/virtio*/net/{device}/ifindex"):
        virtio = path.split("/")[5]
        return sorted(
            number
            for number, names in named.items()
            if _belongs(names, virtio) and not any(name.endswith("-config") for name in names)
        )
    return []


def _belongs(names: List[str], device: str) -> bool:
    return any(name == device or (name.startswith(device) and name[len(device)] in "-:@.") for name in names)


def _net(setting: Setting, device: str, board: Board) -> Optional[Dict[str, str]]:
    if not board.names(f"/sys/class/net/{device}/*"):
        raise Fault("refused", f"there is no card {device} here")
    kind = _QUEUES.get(setting.part)
    if kind:
        paths = board.names(f"/sys/class/net/{device}/queues/{kind}-*/{setting.part}")
        if not paths:
            raise Fault("refused", f"{device} has no {setting.part} here")
        text = setting.text if setting.part == "rps_flow_cnt" else _mask_text(_mask(setting.value, board))
        return dict.fromkeys(paths, text)
    if setting.part == "qdisc":
        return {f"tc:{device}/root": setting.text}
    if feature := _ETHTOOL.get(setting.part):
        switched = {"1": "on", "0": "off"}[setting.text] if setting.part in _SWITCHED else setting.text
        return {f"ethtool:{device}/{feature}": switched}
    return _one(f"/sys/class/net/{device}/{setting.part}", setting, board)


# -- sets of CPUs -----------------------------------------------------------------------------------------------------


def _mask(value: Value, board: Board) -> int:
    if isinstance(value, int):
        return value
    cpus = {"off": [], "big": _big(board)}.get(value, _online(board))
    return sum(1 << cpu for cpu in cpus)


def _mask_text(mask: int) -> str:
    """Hexadecimal with a comma after every 32 CPUs."""
    digits = f"{mask:x}"
    head = len(digits) % 8
    groups = [digits[:head]] if head else []
    return ",".join([*groups, *(digits[at : at + 8] for at in range(head, len(digits), 8))])


def _online(board: Board) -> List[int]:
    return _cpus(board.text(_ONLINE)) or [0]


def _big(board: Board) -> List[int]:
    """The CPUs of the fastest kind; all where all are alike, or where the kernel doesn't tell."""
    online = _online(board)
    capacity = {
        cpu: int(board.text(f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity").strip() or 0) for cpu in online
    }
    return [cpu for cpu in online if capacity[cpu] == max(capacity.values())]


def _cpus(text: str) -> List[int]:
    found: List[int] = []
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def site_disk(board: Board) -> str:
    """The disk below the place that a night serves its files from. Raises Fault where that is on none."""
    best, number = "", ""
    for row in board.text("/proc/self/mountinfo").splitlines():
        words = row.partition(" - ")[0].split()
        above = len(words) > 4 and (SERVED_FROM + "/").startswith(words[4].rstrip("/") + "/")
        if above and len(words[4]) >= len(best):
            best, number = words[4], words[2]
    for pattern in ("/sys/block/*/dev", "/sys/block/*/*/dev"):
        for path in board.names(pattern):
            match = _DISK.fullmatch(path)
            if match and number and board.text(path).strip() == number:
                return match[1]
    raise Fault("refused", "the night's files lie on no disk of their own here")


_FAMILIES = {
    "block": _block,
    "devfreq": _devfreq,
    "cpufreq": _cpufreq,
    "cpuidle": _cpuidle,
    "irq": _irq,
    "net": _net,
}
