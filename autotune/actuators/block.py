"""Disks: how far the kernel reads ahead. `site` is the disk below the directory that the night serves from."""

from __future__ import annotations

import re

from autotune.actuators.target import Sight, Target, found_text, text_of
from autotune.actuators.wording import kernel_text, kernel_value, safe_word
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting

MOUNTS = "/proc/self/mountinfo"
_DISK = re.compile(r"/sys/block/([^/]+)(/[^/]+)?/dev")


def paths_to_read(setting: Setting) -> tuple[str, ...]:
    if setting.instance != "site":
        return (_path(safe_word(setting, setting.instance)),)
    return (MOUNTS, "/sys/block/*/dev", "/sys/block/*/*/dev", _path("*"))


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported when there is no such disk, or the files lie on none."""
    disk = _site_disk(sight) if setting.instance == "site" else safe_word(setting, setting.instance)
    path = _path(disk)
    return Target(
        setting=setting,
        paths=(path,),
        stock=kernel_value(setting, found_text(sight, path)),
        texts=lambda value: {path: kernel_text(setting, value)},
        value=lambda read: kernel_value(setting, read[path]),
    )


def _path(disk: str) -> str:
    return f"/sys/block/{disk}/queue/read_ahead_kb"


def _site_disk(sight: Sight) -> str:
    """The disk of the file system that has the agent's state directory (proc_pid_mountinfo(5))."""
    mounts = found_text(sight, MOUNTS)
    under = sight.facts.state_dir.rstrip("/") + "/"
    best, number, kind = "", "", ""
    for row in mounts.splitlines():
        fields, _, tail = row.partition(" - ")
        words = fields.split()
        if len(words) > 4 and under.startswith(words[4].rstrip("/") + "/") and len(words[4]) >= len(best):
            best, number, kind = words[4], words[2], tail.split()[0] if tail else ""
    for path in sight.readings:
        match = _DISK.fullmatch(path)
        if match and number and text_of(sight, path).strip() == number:
            return match[1]
    raise SettingUnsupported(
        f"the served files lie on no disk of their own here ({kind or 'unknown'} on {best or 'unknown'}): "
        "name one, such as block:sda.read_ahead_kb"
    )
