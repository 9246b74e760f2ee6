"""What the agent may read, write and run: lists in its own code, guarding against mistakes of whoever speaks to it.

A path must match a pattern of the list, before and after following symbolic links, and no pattern of the deny list.
"""

from __future__ import annotations

import glob
import os
import re
from typing import Dict, Mapping, Optional, Pattern, Tuple

from autotune.agent import irq_lines
from autotune.agent.faults import Fault
from autotune.agent.qdisc import KINDS

SEARCH_PATH = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/sbin", "/bin")
PROGRAMS = ("nginx", "wrk", "luajit", "php-fpm")

_PATH_CAP = 256
_VALUE_CAP = 128
_HOSTILE = re.compile(r"[^ -~]|[;{}$#\"'\\]")

# Deny wins over everything below, and gives its reason.
DENIED: Tuple[Tuple[Pattern[str], str], ...] = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"/proc/sys/fs/.*", "a wrong fs.nr_open locks every login out"),
        (r"/proc/sys/kernel/.*", "kernel.* is never touched"),
        (r"/proc/sysrq-trigger", "it can stop the machine"),
        (r"/proc/sys/net/ipv4/(tcp|udp)_mem", "it is global, in pages, and can starve every connection"),
        (r"/proc/sys/net/ipv4/ip_forward.*", "writing it resets other settings of every interface"),
        (
            r"/proc/sys/net/ipv4/(conf|neigh|route|netfilter|vs)/.*",
            "rp_filter and its like decide who can reach the board",
        ),
        (r"/proc/sys/net/ipv4/(icmp|igmp|cipso|fib|raw|udp)_.*", "it has nothing to do with serving"),
        (
            r"/proc/sys/net/ipv4/ip_(default_ttl|unprivileged_port_start|nonlocal_bind|dynaddr)",
            "it changes who may do what",
        ),
        (r"/proc/sys/net/ipv4/(ping_group_range|fwmark_reflect)", "it changes who may do what"),
        (
            r"/proc/sys/net/ipv4/tcp_(fastopen_key|(available|allowed)_congestion_control|available_ulp)",
            "not a tuning knob",
        ),
        (
            r"/proc/sys/net/core/(bpf_jit_.*|xfrm_.*|netdev_rss_key|tstamp_allow_data|warnings)",
            "not a tuning knob",
        ),
        (r"/proc/sys/vm/overcommit_.*", "it decides whether programs get memory at all"),
        (r"/proc/sys/vm/(panic_on_oom|oom_.*)", "it decides who is killed when memory is short"),
        (r"/proc/sys/vm/(drop_caches|compact_memory|stat_refresh)", "it is an action, not a setting"),
        (
            r"/proc/sys/vm/(nr_.*hugepages.*|hugetlb_.*|hugepages_treat_as_movable)",
            "it takes memory away from everything else",
        ),
        (
            r"/proc/sys/vm/(mmap_.*|legacy_va_layout|memfd_noexec|unprivileged_userfaultfd)",
            "it weakens the machine's defences",
        ),
        (
            r"/proc/sys/vm/(max_map_count|user_reserve_kbytes|admin_reserve_kbytes|lowmem_reserve_ratio)",
            "it can lock the admin out",
        ),
        (r"/proc/sys/vm/memory_failure_.*", "it decides what happens on broken memory"),
        (
            r"/proc/irq/([0-2]/.*|default_smp_affinity)",
            "the machine's own interrupts, and those of devices yet to come, stay where they are",
        ),
        (
            r".*/(mtu|operstate|carrier|online|trip_point_.*|cur_state)",
            "links, CPUs and thermal limits are never touched",
        ),
    )
)

_ONE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNED = re.compile(r"0|-?[1-9][0-9]{0,9}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,15}")
_SPECIAL_VALUES: Dict[str, Pattern[str]] = {
    "/proc/sys/net/ipv4/tcp_congestion_control": _WORD,
    "/proc/sys/net/core/default_qdisc": _WORD,
    "/proc/sys/net/ipv4/tcp_adv_win_scale": _SIGNED,
    "/sys/kernel/mm/transparent_hugepage/enabled": re.compile("always|madvise|never"),
    "/sys/kernel/mm/transparent_hugepage/defrag": re.compile(r"always|defer|defer\+madvise|madvise|never"),
}
# Values of files whose directories are named by the board, by the file's name.
_MASK = re.compile(r"(0|[1-9a-f][0-9a-f]{0,7})(,[0-9a-f]{8}){0,7}")
_VALUES_BY_NAME: Dict[str, Pattern[str]] = {
    "smp_affinity": _MASK,
    "rps_cpus": _MASK,
    "xps_cpus": _MASK,
    "rps_flow_cnt": re.compile(r"0|[1-9][0-9]{0,6}"),
    "threaded": re.compile("[01]"),
    "read_ahead_kb": re.compile(r"0|[1-9][0-9]{0,5}"),
    "scaling_governor": re.compile("[a-z][a-z0-9_]{0,31}"),
    "governor": re.compile("[a-z][a-z0-9_]{0,31}"),
    "scaling_min_freq": re.compile("[1-9][0-9]{3,8}"),
    "scaling_max_freq": re.compile("[1-9][0-9]{3,8}"),
    "up_threshold": re.compile("[1-9][0-9]?|100"),
    "upthreshold": re.compile("[1-9][0-9]?|100"),
    "io_is_busy": re.compile("[01]"),
    "disable": re.compile("[01]"),
    "policy": re.compile("default|performance|powersave|powersupersave"),
}
_VECTORS = {
    "/proc/sys/net/ipv4/tcp_rmem": 3,
    "/proc/sys/net/ipv4/tcp_wmem": 3,
    "/proc/sys/net/ipv4/ip_local_port_range": 2,
}
# Lowering these drops connections of everything on the board.
_NEVER_LOWERED = ("/proc/sys/net/ipv4/tcp_max_orphans", "/proc/sys/net/ipv4/tcp_max_tw_buckets")
_MIN_FREE = "/proc/sys/vm/min_free_kbytes"

_WRITABLE = re.compile(
    r"/proc/sys/net/core/[a-z0-9_]+|/proc/sys/net/ipv4/[a-z0-9_]+|/proc/sys/vm/[a-z0-9_-]+"
    r"|/proc/irq/[1-9][0-9]{0,5}/smp_affinity"
    r"|/sys/kernel/mm/transparent_hugepage/(enabled|defrag)"
    r"|/sys/(class|devices/[A-Za-z0-9_.:@/-]+)/net/[A-Za-z0-9_.:@-]+/"
    r"(threaded|queues/(rx-[0-9]{1,4}/(rps_cpus|rps_flow_cnt)|tx-[0-9]{1,4}/xps_cpus))"
    r"|/sys/(block|devices/[A-Za-z0-9_.:@/-]+/block)/[A-Za-z0-9_.:@-]+/queue/read_ahead_kb"
    r"|/sys/devices/system/cpu/cpufreq/policy[0-9]{1,3}/scaling_(governor|min_freq|max_freq)"
    r"|/sys/devices/system/cpu/cpufreq/(policy[0-9]{1,3}/)?(?!policy|stats)[a-z][a-z0-9_-]{0,31}/[a-z][a-z0-9_]{0,47}"
    r"|/sys/(class|devices/[A-Za-z0-9_.:@/-]+)/devfreq/[A-Za-z0-9_.:@-]+/(governor|upthreshold|downdifferential)"
    r"|/sys/devices/system/cpu/cpu[0-9]{1,4}/cpuidle/state[0-9]{1,2}/disable"
    r"|/sys/module/pcie_aspm/parameters/policy"
)
_READABLE = re.compile(
    r"/proc/sys/(net/core|net/ipv4|vm|fs)/[A-Za-z0-9_/-]+"
    r"|/proc/sys/kernel/(random/boot_id|osrelease|hostname|sched_[a-z_]+|numa_balancing|pid_max)"
    r"|/proc/(cpuinfo|cmdline|meminfo|loadavg|stat|uptime|version|interrupts|softirqs|swaps|net/(softnet_stat|netstat|snmp|sockstat|route))"
    r"|/proc/irq/[0-9]{1,6}/(smp_affinity|smp_affinity_list|effective_affinity|effective_affinity_list|node)"
    r"|/proc/(self|[0-9]{1,7})/mountinfo"
    r"|/sys/module/pcie_aspm/parameters/policy"
    r"|/sys/bus/virtio/devices/virtio[0-9]+/net/[A-Za-z0-9_.:@-]+/ifindex"
    r"|/proc/device-tree/model|/sys/firmware/devicetree/base/model"
    r"|/sys/kernel/mm/transparent_hugepage/[A-Za-z0-9_/-]+"
    r"|/sys/(devices|class/(net|thermal|devfreq|hwmon|powercap)|block)/[A-Za-z0-9_.:,@/-]+"
    r"|/etc/nginx/[A-Za-z0-9_.@+/-]+|/usr/share/nginx/[A-Za-z0-9_.@+/-]+|(/etc|/usr/lib)/os-release"
    r"|/etc/php/[0-9]\.[0-9]{1,2}/(fpm/(php\.ini|pool\.d/www\.conf|conf\.d/[0-9a-z_-]+\.ini)|mods-available/[0-9a-z_-]+\.ini)"
)
_LOOKED_THROUGH = ("/proc/sys/", "/proc/irq/", "/sys/", "/etc/nginx/", "/usr/share/nginx/", "/etc/php/")
_STARS_CAP = 4
# What is no file, and its values. A card's name holds no colon (eth0:1 means eth0 to the kernel); loopback's queue and
# offloads belong to everything on the machine. That it is a card at all, the kernel says.
_CARD = r"(?!lo/)[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}"
_WORDS: Tuple[Tuple[Pattern[str], Pattern[str]], ...] = (
    (re.compile(f"tc:{_CARD}/root"), re.compile("|".join(KINDS))),
    (re.compile(f"ethtool:{_CARD}/(rx|tx)-usecs"), re.compile(r"0|[1-9][0-9]{0,3}")),
    (re.compile(f"ethtool:{_CARD}/(gro|gso|tso)"), re.compile("on|off")),
)
_WORD_ORIGINAL = re.compile(r"(default (mq )?|custom )?[a-z0-9_]{1,15}")
_PHP_FPM = re.compile(r"php-fpm([0-9]{1,2})\.([0-9]{1,2})")
_NGINX_TREES = ("/etc/nginx/", "/usr/share/nginx/", "/etc/php/")


def check_readable(path: str) -> str:
    """The real path behind `path`, if both may be read. Raises Fault."""
    if _word_values(path):
        return path
    _check_plain(path)
    real = os.path.realpath(path)
    for one in (path, real):
        if not _READABLE.fullmatch(one):
            through = "" if one == path else f" (it leads to {one})"
            raise Fault("refused", f"{path} is not on the agent's list of files to read{through}")
    return real


def check_pattern(path: str) -> None:
    """Raises Fault for a path with * in it that would have the agent look where it has nothing to read."""
    _check_plain(path)
    known = path.partition("*")[0]
    if not known.startswith(_LOOKED_THROUGH) or path.count("*") > _STARS_CAP:
        raise Fault("refused", f"{path} is not on the agent's list of places to look through")


def is_nginx_file(path: str) -> bool:
    """Whether the path belongs to nginx's or PHP's packaged configuration, which root only takes from root."""
    return path.startswith(_NGINX_TREES)


def check_path(path: str) -> None:
    """Raises Fault unless this kernel file may be written now: one of the list, and no interrupt of the machine's own."""
    check_form(path)
    if why := irq_lines.refusal(path):
        raise Fault("refused", why)


def check_form(path: str) -> None:
    """Raises Fault unless this kernel file is of the list, whoever an interrupt of it belongs to by now."""
    if _word_values(path):
        return
    _check_plain(path)
    for one in (path, os.path.realpath(path)):
        for pattern, reason in DENIED:
            if pattern.fullmatch(one):
                raise Fault("refused", f"{one} is never written: {reason}")
        if not _WRITABLE.fullmatch(one):
            through = "" if one == path else f" (it leads to {one})"
            raise Fault("refused", f"{path} is not on the agent's list of files to write{through}")


def check_write(path: str, text: str, *, memory_bytes: int, originals: Mapping[str, Optional[str]]) -> None:
    """Raises Fault unless `text` may be written into `path`; `originals` are the values of the paths at capture."""
    check_path(path)
    if len(text) > _VALUE_CAP or _HOSTILE.search(text):
        raise Fault("refused", f"{path}: {text[:60]!r} holds characters that no value has, or is too long")
    length = _VECTORS.get(path)
    if length:
        _check_vector(path, text, length)
    elif not _pattern_of(path).fullmatch(text):
        raise Fault("refused", f"{path}: {text!r} is not a value of this setting")
    irq_lines.check_mask(path, text)
    if path == _MIN_FREE and int(text) * 1024 > 0.05 * memory_bytes:
        raise Fault("refused", f"{path}: {text} is more than 5 % of memory, which can stop the machine")
    original = originals.get(path)
    if path in _NEVER_LOWERED and original is not None and int(text) < int(original):
        raise Fault("refused", f"{path}: {text} is below its original {original}, and it is never lowered")


def _word_values(path: str) -> Optional[Pattern[str]]:
    """What may be written where this is one of the words for what is no file; None when it is a path. Raises Fault."""
    values = next((values for word, values in _WORDS if word.fullmatch(path)), None)
    if values is None and path.startswith(("tc:", "ethtool:")):
        raise Fault("refused", f"{path[:80]!r} is not on the agent's list of a network card's settings")
    return values


def _pattern_of(path: str) -> Pattern[str]:
    values = _word_values(path)
    if values:
        return values
    if path.startswith(("/sys/", "/proc/irq/")):
        by_name = _VALUES_BY_NAME.get(path.rpartition("/")[2])
        if by_name:
            return by_name
    return _SPECIAL_VALUES.get(path, _ONE)


def _check_vector(path: str, text: str, length: int) -> None:
    elements = text.split(" ")
    if len(elements) != length or not all(_ONE.fullmatch(element) for element in elements):
        raise Fault("refused", f"{path}: {text!r} is not {length} numbers with single spaces between")
    numbers = [int(element) for element in elements]
    if numbers != sorted(numbers):
        raise Fault("refused", f"{path}: {text!r} decreases, which the kernel takes and nobody can mean")
    if path.endswith("/ip_local_port_range") and (
        numbers[0] < 1024 or numbers[1] > 65535 or numbers[1] - numbers[0] < 1000
    ):
        raise Fault("refused", f"{path}: {text!r} leaves fewer than 1000 ports, or takes those of services")


def is_original(path: str, text: Optional[str]) -> bool:
    """Whether a journaled original can have been read there: one short printable line, a card's own word, or absent."""
    if text is None:
        return True
    if not path.startswith("/"):
        return _WORD_ORIGINAL.fullmatch(text) is not None
    return len(text) <= 4096 and text.isascii() and text.isprintable()


def _check_plain(path: str) -> None:
    if len(path) > _PATH_CAP or _HOSTILE.search(path) or not path.startswith("/") or "/../" in path + "/":
        raise Fault("refused", f"{path[:80]!r} is not a plain absolute path")


def find_program(name: str) -> str:
    """The absolute path of a program the agent may run, "" when it isn't installed. Raises Fault for any other program."""
    if name not in PROGRAMS:
        raise Fault("refused", f"{name[:40]!r} is not a program the agent runs")
    if name == "php-fpm":
        name = _newest_php_fpm()
    for directory in SEARCH_PATH:
        path = directory + "/" + name
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return ""


def _newest_php_fpm() -> str:
    """Debian's is named by its version: php-fpm8.2."""
    found = []
    for path in glob.iglob("/usr/sbin/php-fpm[0-9]*"):
        version = _PHP_FPM.fullmatch(os.path.basename(path))
        if version:
            found.append((int(version[1]), int(version[2])))
    return "php-fpm%d.%d" % max(found) if found else "php-fpm"
