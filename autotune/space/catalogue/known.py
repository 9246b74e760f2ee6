"""The catalogue as a mapping: whole settings by id, and templates that stand for one setting of every device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from autotune.space.setting import Setting


class Catalogue(Mapping[str, Setting]):
    """Every setting by its id.

    A setting with `instances` stands for one of every device: looking up "cpufreq:policy4.governor" gives the template's
    copy with that id. Iteration has one canonical id per template (cpufreq:all.governor).
    """

    def __init__(self, settings: Iterable[Setting]) -> None:
        self._settings = {setting.id: setting for setting in settings}
        self._templates = [
            (re.compile(_pattern(setting)), setting)
            for setting in self._settings.values()
            if setting.instances
        ]

    def __getitem__(self, id_: str) -> Setting:
        if found := self._settings.get(id_):
            return found
        for pattern, template in self._templates:
            if pattern.fullmatch(id_):
                return template.model_copy(update={"id": id_})
        raise KeyError(id_)

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)


def _pattern(template: Setting) -> str:
    """The ids that a template stands for. A second part that is 0 stands for any index (irq:nic.0.affinity)."""
    rest = re.escape(template.key.partition(".")[2])
    if rest.startswith(r"0\."):
        rest = "(0|[1-9][0-9]{0,2})" + rest[1:]
    return rf"{template.family}:({template.instances})\.{rest}"


def overlapping(ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of ids that name one value, whatever the board: all CPUs and some of them, a device and one of its lines."""
    known = sorted(ids)
    return tuple(
        (one, other)
        for one in known
        for other in known
        if one != other and (_is_all_of(one, other) or other in _lines_of(one, known))
    )


def _is_all_of(one: str, other: str) -> bool:
    part = one.removeprefix("cpufreq:all.")
    return one != part and other.startswith("cpufreq:") and other.partition(".")[2] == part


def _lines_of(id_: str, known: Iterable[str]) -> list[str]:
    device = id_.removesuffix(".affinity")
    pattern = re.compile(re.escape(device) + r"\.[0-9]+\.affinity")
    return [one for one in known if id_ != device and pattern.fullmatch(one)]
