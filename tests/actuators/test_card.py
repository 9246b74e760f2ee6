"""A network card's interrupts, queues and bundling on boards of paper."""

from __future__ import annotations

import pytest
from paper_board import STUDY, readings
from paper_rock import CARD, FILES, INTERRUPTS, ROCK, rock

from autotune.actuators import irq
from autotune.actuators.cpu_sets import cpu_list, mask_text, mask_value
from autotune.actuators.discovery import discover, paths_to_read
from autotune.actuators.switching import effects_of
from autotune.board.records import Effect, Reading
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value

VM = """           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 36:          0      20420 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 37:          0          0 PCI-MSIX-0000:00:03.0   0-edge      virtio2-config
 38:          0       1969 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0
 39:        975          0 PCI-MSIX-0000:00:03.0   2-edge      virtio2-output.0
LOC:      40529      41241   Local timer interrupts
"""
PC = """            CPU0       CPU1       CPU2       CPU3
   1:          0          0          0          9  IR-IO-APIC    1-edge      i8042
 130:         12          0          0          0  IR-PCI-MSI-0000:01:00.0    1-edge      eth0-TxRx-0
 131:          0         13          0          0  IR-PCI-MSI-0000:01:00.0    2-edge      eth0-TxRx-1
"""


@pytest.mark.parametrize(
    ("text", "number", "actions"),
    [
        (INTERRUPTS, 140, ("enP4p65s0-0",)),
        (INTERRUPTS, 47, ("ttyFIQ0", "debug")),
        (INTERRUPTS, 34, ("fd880000.i2c",)),
        (VM, 38, ("virtio2-input.0",)),
        (VM, 24, ("ACPI:Ged",)),
        (PC, 130, ("eth0-TxRx-0",)),
    ],
)
def test_a_line_says_who_asked_for_the_interrupt(text: str, number: int, actions: tuple[str, ...]) -> None:
    [line] = [one for one in irq.lines(text) if one.number == number]
    assert line.actions == actions


def test_only_numbered_lines_count() -> None:
    assert [line.number for line in irq.lines(PC)] == [1, 130, 131]
    assert irq.lines("") == ()


def test_a_device_is_not_another_whose_name_begins_alike() -> None:
    line = irq.Line(1, ("eth01-TxRx-0",))
    assert line.belongs_to("eth01")
    assert not line.belongs_to("eth0")


@pytest.mark.parametrize(
    ("value", "masks"),
    [
        ("as found", None),
        ("one", ("1", "1")),
        ("spread", ("1", "2")),
        ("big", ("10", "20")),
        ("workers", ("10", "20")),
        (0xC0, ("c0", "c0")),
    ],
)
def test_strategies_place_the_cards_interrupts(value: Value, masks: tuple[str, ...] | None) -> None:
    target = rock("irq:nic.affinity").targets["irq:nic.affinity"]
    paths = ("/proc/irq/140/smp_affinity", "/proc/irq/141/smp_affinity")
    assert target.paths == paths
    assert dict(target.texts(value)) == (dict(zip(paths, masks, strict=True)) if masks else {})


def test_one_line_is_named_by_its_place() -> None:
    found = rock("irq:nic.1.affinity", f"irq:{CARD}.0.affinity", "irq:nic.2.affinity")
    assert found.targets["irq:nic.1.affinity"].paths == ("/proc/irq/141/smp_affinity",)
    assert found.targets[f"irq:{CARD}.0.affinity"].paths == ("/proc/irq/140/smp_affinity",)
    assert "2 interrupts here" in found.missing["irq:nic.2.affinity"]


@pytest.mark.parametrize(
    ("device", "what"),
    [
        ("nvme0q0", "storage"),
        ("mmc0", "storage"),
        ("ttyFIQ0", "serial"),
        ("arch_timer", "timer"),
    ],
)
def test_interrupts_of_the_machine_itself_are_never_moved(device: str, what: str) -> None:
    assert what in rock(f"irq:{device}.affinity").missing[f"irq:{device}.affinity"]


@pytest.mark.parametrize(
    "action",
    [
        "virtio1-req.0",
        "nvme0q3",
        "ahci[0000:00:17.0]",
        "xhci_hcd",
        "feb50000.serial",
        "fd880000.i2c",
        "feaf0000.watchdog",
    ],
)
def test_no_such_line_may_be_moved(action: str) -> None:
    assert irq.Line(9, (action,)).never


@pytest.mark.parametrize(
    "action", ["eth0", "enP4p65s0-16", "virtio2-input.0", "mlx5_comp0@pci:0000:01:00.0", "eth0-rx-0"]
)
def test_a_cards_line_may_be_moved(action: str) -> None:
    assert irq.Line(9, (action,)).never == ""


def test_a_virtual_card_is_found_through_its_virtio_device() -> None:
    files = {
        "/proc/interrupts": VM,
        "/sys/bus/virtio/devices/virtio2/net/eth0/ifindex": "2\n",
        **{f"/proc/irq/{number}/smp_affinity": "3\n" for number in (36, 37, 38, 39)},
    }
    found = rock("irq:nic.affinity", interface="eth0", files=files)
    assert found.targets["irq:nic.affinity"].paths == (
        "/proc/irq/38/smp_affinity",
        "/proc/irq/39/smp_affinity",
    )
    assert "no line of eth7" in rock("irq:nic.affinity", interface="eth7").missing["irq:nic.affinity"]


def test_a_card_that_is_named_is_found_through_its_virtio_device_too() -> None:
    files = {
        "/proc/interrupts": VM,
        "/sys/bus/virtio/devices/virtio2/net/eth0/ifindex": "2\n",
        **{f"/proc/irq/{number}/smp_affinity": "3\n" for number in (36, 37, 38, 39)},
    }
    id_ = "irq:eth0.affinity"
    assert "/sys/bus/virtio/devices/*/net/eth0/ifindex" in paths_to_read((CATALOGUE[id_],), STUDY, "eth1")
    for interface in ("eth0", "eth1"):
        found = rock(id_, interface=interface, files=files).targets[id_]
        assert found.paths == ("/proc/irq/38/smp_affinity", "/proc/irq/39/smp_affinity")


def test_an_interrupt_that_the_agent_refuses_is_left_out_with_its_reason() -> None:
    line = "200:  0 0 0 0 0 0 0 0  GICv3 12 Level  snd_card\n"
    path = "/proc/irq/200/smp_affinity"
    seen = readings(files={**FILES, "/proc/interrupts": INTERRUPTS + line})
    seen[path] = Reading(text="ff\n", error="not known to be a network card's", writable=False)
    id_ = "irq:snd_card.affinity"
    found = discover((CATALOGUE[id_],), seen, ROCK, STUDY, CARD)
    assert found.missing[id_] == "not known to be a network card's"


@pytest.mark.parametrize("device", ["nic", CARD])
def test_nothing_of_a_card_is_of_use_over_loopback_even_when_it_is_named(device: str) -> None:
    settings = [
        CATALOGUE[f"{one.family}:{device}.{one.part}"]
        for one in CATALOGUE.values()
        if one.family in ("irq", "net")
    ]
    found = rock(*(one.id for one in settings), interface="")
    assert {id_: found.missing[id_] for id_ in found.missing} == {
        one.id: f"no use over loopback: {one.loopback}" for one in settings
    }
    assert not [path for path in paths_to_read(settings, STUDY) if CARD in path or "interrupts" in path]


@pytest.mark.parametrize(
    ("value", "text"), [("off", "0"), ("all", "ff"), ("big", "f0"), ("workers", "f0"), (0xC0, "c0")]
)
def test_receive_steering_is_the_same_for_every_queue(value: Value, text: str) -> None:
    found = rock("net:nic.rps_cpus")
    target = found.targets["net:nic.rps_cpus"]
    assert found.stock["net:nic.rps_cpus"] == "off"
    assert set(target.texts(value).values()) == {text}
    assert len(target.paths) == 4


def test_queues_that_differ_are_as_found() -> None:
    found = rock("net:nic.xps_cpus")
    assert found.stock["net:nic.xps_cpus"] == "as found"
    assert found.targets["net:nic.xps_cpus"].texts("as found") == {}


@pytest.mark.parametrize("id_", ["irq:nic.affinity", "net:nic.rps_cpus"])
def test_a_mask_of_absent_cpus_is_refused(id_: str) -> None:
    found = rock(id_)
    assert "names CPUs that this board lacks" in found.value_reason(id_, 0x100)
    assert found.value_reason(id_, 0xF0) == ""
    assert found.value_reason(id_, 0)
    assert found.value_reason(id_, "big") == ""


def test_a_strategy_that_means_the_same_cpus_as_another_is_the_one_asked_for() -> None:
    found = rock("irq:nic.affinity")
    asked = Configuration.of({"irq:nic.affinity": "workers"})
    effects = tuple(
        Effect(path=path, requested=text, effective="0" + text, error="")
        for path, text in found.targets["irq:nic.affinity"].texts("workers").items()
    )
    assert effects_of(asked, found, effects).configuration == asked


@pytest.mark.parametrize(
    ("key", "stock", "value", "path", "text"),
    [
        ("threaded", False, True, f"/sys/class/net/{CARD}/threaded", "1"),
        ("qdisc", "as found", "fq", f"tc:{CARD}/root", "fq"),
        ("rx_usecs", 30, 0, f"ethtool:{CARD}/rx-usecs", "0"),
        ("gro", True, False, f"ethtool:{CARD}/gro", "off"),
    ],
)
def test_what_a_card_has_once(key: str, stock: Value, value: Value, path: str, text: str) -> None:
    found = rock(f"net:nic.{key}")
    target = found.targets[f"net:nic.{key}"]
    assert found.stock[f"net:nic.{key}"] == stock
    assert target.texts(value) == {path: text}
    assert target.value({path: text}) == value


def test_what_a_card_lacks_is_said() -> None:
    found = rock("net:nic.tso", "net:eth9.rps_cpus")
    assert "ethtool:enP4p65s0/tso" in found.missing["net:nic.tso"]
    assert "eth9 has no rps_cpus" in found.missing["net:eth9.rps_cpus"]


@pytest.mark.parametrize(
    ("mask", "text"),
    [(1, "1"), (0xF0, "f0"), (1 << 32, "1,00000000"), ((1 << 64) - 1, "ffffffff,ffffffff"), (0, "0")],
)
def test_masks_have_a_comma_after_every_32_cpus(mask: int, text: str) -> None:
    assert mask_text(mask) == text
    assert mask_value(text) == mask
    assert mask_value(f"00000000,{text.rjust(8, '0')}\n" if "," not in text else text) == mask


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,6", (0, 1, 2, 3, 6)), ("4 5", (4, 5)), ("", ()), ("7\n", (7,))]
)
def test_cpu_lists_are_read_in_both_ways(text: str, cpus: tuple[int, ...]) -> None:
    assert cpu_list(text) == cpus
