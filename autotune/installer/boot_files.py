"""The files that set a value again at every boot: which family has which, why, and what stands in them."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

from autotune.installer.exported import Exported
from autotune.installer.kernel import Wish, fixed_path

SYSCTL = "/etc/sysctl.d/99-zz-autotune.conf"
TMPFILES = "/etc/tmpfiles.d/autotune.conf"
UDEV = "/etc/udev/rules.d/99-autotune.rules"
UNIT = "/etc/systemd/system/autotune-settings.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/autotune-settings.service"
STATE = "/var/lib/autotune/installed"
"""What is remembered of an installation: originals, and the program that sets and takes back."""


class Family(NamedTuple):
    """Where a family's values are kept over a reboot."""

    name: str
    file: str
    why: str


FAMILIES = (
    Family("sysctl", SYSCTL, "systemd-sysctl reads it before any service; it sorts behind 99-sysctl.conf"),
    Family("thp", TMPFILES, "no sysctl; a fixed path with a fixed word, there before any service"),
    Family("pcie", TMPFILES, "likewise"),
    Family("block", UDEV, "a disk comes when it comes, and may come again"),
    Family("devfreq", UDEV, "a device whose driver may be loaded late"),
    Family(
        "cpufreq", UNIT, "a governor's tunables appear only once it rules, and limits have an order: a program's work"
    ),
    Family("cpuidle", UNIT, "which state is the deepest is the CPU's to say"),
    Family("irq", UNIT, "numbers change at every boot and exist once the card is up: found by name"),
    Family("net", UNIT, "queues are the driver's to say; a .link file would take the place of the user's own"),
    Family("nginx", "nginx.conf and what it includes", "nginx takes no directive twice, so it is changed where it stands"),
    Family("fpm", "pool.d/zz-autotune.conf", "php-fpm reads a pool's section again in a later file: nothing of the user's is changed"),
)  # fmt: skip

_HEAD = "# Written by autotune's install: {what}. Taken back by {state}/uninstall."


def file_of(family: str) -> str:
    return next(one.file for one in FAMILIES if one.name == family)


def head(exported: Exported) -> str:
    """The first line of every file of ours: how it is known again. No text of a study can leave the line."""
    plain = "".join(one if one.isprintable() and one.isascii() else "?" for one in exported.study)
    return _HEAD.format(what=f"{exported.arm} of study {plain}", state=STATE)


def sysctl_text(exported: Exported) -> str:
    """A drop-in for sysctl.d(5)."""
    lines = [f"{one.key} = {one.text}" for one in exported.of("sysctl")]
    return "\n".join([head(exported), *lines]) + "\n"


def tmpfiles_text(exported: Exported) -> str:
    """A drop-in for tmpfiles.d(5): `w` writes an argument to a file at every boot."""
    lines = [f"w {fixed_path(one)} - - - - {one.text}" for one in exported.of("thp", "pcie")]
    return "\n".join([head(exported), *lines]) + "\n"


def udev_text(exported: Exported, wishes: Sequence[Wish]) -> str:
    """Rules for udev(7). A governor's thresholds come behind it."""
    lines: List[str] = []
    for one in sorted(wishes, key=lambda wish: not wish.path.endswith("/governor")):
        _, _, of, device, attribute = one.path.split("/", 4)
        kind = "block" if of == "block" else "devfreq"
        name = device if of == "block" else attribute.split("/")[0]
        attribute = attribute if of == "block" else attribute.split("/", 1)[1]
        lines.append(
            f'ACTION=="add|change", SUBSYSTEM=="{kind}", KERNEL=="{name}", ATTR{{{attribute}}}="{one.text}"'
        )
    return "\n".join([head(exported), *lines]) + "\n"


def unit_text(exported: Exported) -> str:
    """A oneshot for systemd.service(5), which runs the program that install has put into root's own place."""
    needs_net = bool(exported.of("irq", "net"))
    network = ["Wants=network-online.target", "After=network-online.target"] if needs_net else []
    # Whatever else sets clocks or places interrupts at boot comes first; what isn't there is no matter.
    after = "cpufrequtils.service loadcpufreq.service cpupower.service ondemand.service tuned.service irqbalance.service"
    return "\n".join(
        [
            head(exported),
            "[Unit]",
            "Description=Settings that autotune found: clocks, interrupts, network card",
            f"ConditionPathExists={STATE}/boot",
            f"After={after}",
            *network,
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart=/usr/bin/python3 -I -S {STATE}/boot",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def boot_texts(exported: Exported, wishes: Sequence[Wish]) -> Dict[str, str]:
    """Every file of ours by its place, for what is chosen."""
    texts: Dict[str, str] = {}
    files = {file_of(family) for family in exported.families}
    if SYSCTL in files:
        texts[SYSCTL] = sysctl_text(exported)
    if TMPFILES in files:
        texts[TMPFILES] = tmpfiles_text(exported)
    if UDEV in files:
        mine = [one for one in wishes if one.id.startswith(("block:", "devfreq:"))]
        texts[UDEV] = udev_text(exported, mine)
    if UNIT in files:
        texts[UNIT] = unit_text(exported)
    return texts
