"""What the night wrote and what an installation writes are one: the same file, the same text, on every board of paper."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from paper_board import KERNEL
from paper_rock import CARD, FILES, rock

from autotune.experiment.study import Placement
from autotune.installer.boot_files import FAMILIES
from autotune.installer.exported import KERNEL as FAMILIES_OF_THE_KERNEL
from autotune.installer.exported import Setting as Exported
from autotune.installer.kernel import real_path, wishes
from autotune.report.settings_text import _kernel_value
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value
from paper_files import PaperFiles

SYSCTL = {
    "/proc/sys/" + setting.key.replace(".", "/"): " ".join(["1"] * setting.length) + "\n"
    for setting in CATALOGUE.values()
    if setting.family == "sysctl"
}
MORE: Mapping[str, str] = {
    **{path: text for path, text in SYSCTL.items() if path not in KERNEL},
    "/proc/sys/net/ipv4/tcp_early_demux": "1\n",
    **{f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity": "530\n" for cpu in range(4)},
    **{f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity": "1024\n" for cpu in range(4, 8)},
    f"ethtool:{CARD}/tx-usecs": "30\n",
    f"ethtool:{CARD}/gso": "on\n",
    f"ethtool:{CARD}/tso": "on\n",
    "/sys/devices/system/cpu/cpufreq/schedutil/rate_limit_us": "",
}
BOARD = PaperFiles({**KERNEL, **FILES, **MORE, "/sys/devices/system/cpu/online": "0-7\n"})
IDS = [id_ for id_, setting in CATALOGUE.items() if setting.family in FAMILIES_OF_THE_KERNEL]
INSTANCES = (
    "cpufreq:big.governor",
    "cpufreq:little.governor",
    "cpufreq:policy6.governor",
    "cpufreq:policy4.ondemand.up_threshold",
    "cpufreq:big.max_freq",
    "irq:nic.1.affinity",
    f"irq:{CARD}.affinity",
    f"net:{CARD}.rps_cpus",
    "block:mmcblk0.read_ahead_kb",
)


def values_of(setting: Setting, offered: tuple[str, ...]) -> list[Value]:
    """Some of every kind that the setting takes here."""
    some: list[Value] = [
        one for one in setting.specials if one not in ("unset", "as found", "mixed", "default")
    ]
    match setting.kind:
        case Kind.SWITCH:
            some += [True, False]
        case Kind.CPU_MASK:
            some += [0b1101, 1 << 7]
        case Kind.CHOICE:
            some += offered or setting.choices
        case Kind.VECTOR:
            some.append((4096, 26214, 8388608)[: setting.length])
        case _:
            some += [int(setting.low or 1), int(setting.high or 1)]
    return some


@pytest.mark.parametrize("id_", [*IDS, *INSTANCES])
def test_every_setting_of_the_kernel_goes_where_the_night_wrote_it(id_: str) -> None:
    found = rock(id_, files={**KERNEL, **MORE, "/sys/devices/system/cpu/online": "0-7\n"})
    target = found.targets.get(id_)
    if target is None:
        pytest.skip(found.missing[id_])
    tried = 0
    for value in values_of(CATALOGUE[id_], target.choices):
        if value == "workers":
            continue
        setting = Exported(id_, _kernel_value(id_, value))
        mine = wishes([setting], CARD, BOARD)
        if mine.pending:  # a governor's, which doesn't rule on this board
            continue
        assert mine.problems == []
        assert {real_path(one.path, BOARD): one.text for one in mine.wishes} == dict(target.texts(value))
        tried += 1
    assert tried or id_.endswith("rate_limit_us")


def test_the_workers_cpus_are_all_of_a_board_without_a_generator_beside_it() -> None:
    """In the night some CPUs were the generator's; an installed server has them all."""
    assert Placement.PINNED
    asked = [Exported("net:nic.rps_cpus", "workers"), Exported("irq:nic.affinity", "workers")]
    found = wishes(asked, CARD, BOARD).wishes
    assert {one.text for one in found if one.id.startswith("net:")} == {"ff"}
    assert [one.text for one in found if one.id.startswith("irq:")] == ["1", "2"]


def test_every_family_of_the_catalogue_has_its_file_and_the_reason() -> None:
    told = {one.name: one for one in FAMILIES}
    assert set(told) == {setting.family for setting in CATALOGUE.values()}
    assert all(one.file and one.why for one in FAMILIES)


def test_an_interrupt_is_found_by_its_place_whatever_its_number_is_after_a_reboot() -> None:
    moved = {**FILES, "/proc/interrupts": str(FILES["/proc/interrupts"]).replace("141:", " 77:")}
    asked = [Exported("irq:nic.affinity", "spread")]
    before = {real_path(one.path, BOARD): one.text for one in wishes(asked, CARD, BOARD).wishes}
    after = {
        real_path(one.path, PaperFiles(moved)): one.text
        for one in wishes(asked, CARD, PaperFiles(moved)).wishes
    }
    assert before == {"/proc/irq/140/smp_affinity": "1", "/proc/irq/141/smp_affinity": "2"}
    assert after == {"/proc/irq/77/smp_affinity": "1", "/proc/irq/140/smp_affinity": "2"}


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (Exported("cpufreq:all.governor", "warp"), "doesn't list warp"),
        (Exported("cpufreq:policy3.governor", "performance"), "no policy3"),
        (Exported("devfreq:gpu.governor", "performance"), "no /sys/class/devfreq/gpu"),
        (Exported("irq:eth9.affinity", 1), "no line of eth9"),
        (Exported("irq:nic.7.affinity", 1), "2 interrupts"),
        (Exported("net:eth9.gro", True), "no card eth9"),
        (Exported("block:sdz.read_ahead_kb", 64), "no /sys/block/sdz"),
        (Exported("sysctl:net.core.nothing", 1), "no /proc/sys/net/core/nothing"),
    ],
)
def test_what_this_board_lacks_is_a_problem_in_a_sentence(setting: Exported, reason: str) -> None:
    (problem,) = wishes([setting], CARD, BOARD).problems
    assert reason in problem


def test_without_a_known_card_its_settings_ask_for_one() -> None:
    (problem,) = wishes([Exported("irq:nic.affinity", 1)], "", BOARD).problems
    assert "--nic" in problem


def test_two_settings_that_want_different_things_of_one_file_are_refused() -> None:
    asked = [
        Exported("cpufreq:all.governor", "powersave"),
        Exported("cpufreq:policy4.governor", "performance"),
    ]
    (problem,) = wishes(asked, CARD, BOARD).problems
    assert "want different things" in problem


def test_a_tunable_waits_for_its_governor() -> None:
    found = wishes([Exported("cpufreq:all.conservative.up_threshold", 60)], CARD, BOARD)
    assert (found.wishes, found.pending) == ([], ["cpufreq:all.conservative.up_threshold"])
