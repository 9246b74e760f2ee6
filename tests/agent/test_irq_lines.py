"""Whose interrupts are moved: on machines of paper, and on this one's harmless lines, which are always put back."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving import NightHere, begin, within

from autotune.actuators import irq
from autotune.agent import allowed, irq_lines, restore, settings
from autotune.agent.faults import Fault
from autotune.agent.journal import Journal, read_journal
from autotune.agent.kernel_files import normalise
from autotune.agent.places import Places
from autotune.agent.settings import Settings
from autotune.board.records import Write
from autotune.errors import BoardUnfit
from conftest import BoardNamespace

BEGIN = {"entry": "BEGIN", "study": "s", "boot_id": "b", "netns": "1", "token": "0" * 16, "holder": "h"}


def path_of(number: int) -> str:
    return f"/proc/irq/{number}/smp_affinity"


def paper(
    root: Path,
    lines: dict[int, str],
    *,
    nets: dict[str, str] | None = None,
    msi: dict[str, int] | None = None,
) -> str:
    """A machine with these interrupts, and with network cards at these devices; `msi`: cards' own interrupts."""
    proc, sys = root / "proc", root / "sys"
    proc.mkdir()
    rows = ["           CPU0       CPU1"]
    for number, names in lines.items():
        for name in names.split(","):
            (proc / "irq" / str(number) / name.strip().replace("/", "_")).mkdir(parents=True)
        (proc / "irq" / str(number) / "smp_affinity").write_text("3\n")
        rows.append(f"{number:3}:          1          0  GICv3 {number} Level     {names}")
    (proc / "interrupts").write_text("\n".join([*rows, "LOC:  1  2  Local timer interrupts", ""]))
    (sys / "class/net/lo").mkdir(parents=True)
    for name, device in (nets or {}).items():
        (sys / "devices" / device / "net" / name).mkdir(parents=True)
        (sys / "class/net" / name).mkdir()
        (sys / "class/net" / name / "device").symlink_to(sys / "devices" / device)
        if device.startswith("virtio"):
            (sys / "bus/virtio/devices").mkdir(parents=True, exist_ok=True)
            (sys / "bus/virtio/devices" / device).symlink_to(sys / "devices" / device)
    for name, number in (msi or {}).items():
        (sys / "class/net" / name / "device" / "msi_irqs").mkdir(exist_ok=True)
        (sys / "class/net" / name / "device" / "msi_irqs" / str(number)).write_text("msix\n")
    (sys / "devices/system/cpu").mkdir(parents=True)
    (sys / "devices/system/cpu/online").write_text("0-3,6\n")
    return str(root)


@pytest.mark.parametrize(
    "name",
    [
        "eth0",
        "eth0-TxRx-3",
        "eth0:tx",
        "fe1c0000.ethernet",
        "virtio2-input.0",
        "virtio2-config",
        "virtio2",
    ],
)
def test_a_cards_interrupt_is_moved(tmp_path: Path, name: str) -> None:
    nets = {"eth0": "fe1c0000.ethernet", "eth1": "virtio2"}
    assert irq_lines.refusal(path_of(40), paper(tmp_path, {40: name}, nets=nets)) == ""


def test_a_card_is_known_by_its_pci_devices_own_interrupts(tmp_path: Path) -> None:
    lines = {40: "mlx5_comp0@pci:0000:01:00.0", 41: "mlx5_comp1@pci:0000:01:00.0", 42: "nvme0q1"}
    root = paper(tmp_path, lines, nets={"eth0": "0000:01:00.0"}, msi={"eth0": 40})
    assert irq_lines.refusal(path_of(40), root) == ""
    assert "not known to be a network card's" in irq_lines.refusal(path_of(41), root)
    (tmp_path / "sys/class/net/eth0/device/msi_irqs/42").write_text("msix\n")
    assert "storage" in irq_lines.refusal(path_of(42), root)  # what is denied stays so


_NEVER = [
    "nvme0q3",
    "ahci[0000:00:17.0]",
    "ata2",
    "mmc0",
    "dw-mci",
    "sdhci",
    "sd0",
    "ufshcd",
    "xhci_hcd",
    "ehci_hcd:usb1",
    "virtio1-req.0",
    "megaraid_sas",
    "ttyS0",
    "ttyFIQ0",
    "feb50000.serial",
    "uart-pl011",
    "fd880000.i2c",
    "i801_smbus",
    "fe610000.spi",
    "feaf0000.watchdog",
    "arch_timer",
    "rtc0",
    "hpet1",
    "fea10000.dma-controller",
    "pl330-dma",
    "gpio-keys",
    "rk806",
    "ACPI:Ged",
    "acpi",
    "fec00000.tsadc",
    "thermal",
    "fcb40000.iommu",
    "aerdrv",
]


@pytest.mark.parametrize("name", _NEVER)
def test_what_the_machine_lives_on_is_never_moved_even_when_a_card_shares_it(
    tmp_path: Path, name: str
) -> None:
    root = paper(tmp_path, {40: f"eth0, {name}"}, nets={"eth0": "0000:01:00.0"}, msi={"eth0": 40})
    assert "is never moved" in irq_lines.refusal(path_of(40), root)


@pytest.mark.parametrize("name", [one for one in _NEVER if irq.Line(9, (one,)).never])
def test_what_discovery_leaves_out_the_agent_refuses(tmp_path: Path, name: str) -> None:
    assert "is never moved" in irq_lines.refusal(path_of(40), paper(tmp_path, {40: name}))


@pytest.mark.parametrize(
    "lines", [{40: "snd_hda_intel"}, {40: "eth01"}, {40: "lo"}, {40: "virtio3-rx"}, {40: "eth0, snd"}, {}]
)
def test_an_unknown_interrupt_is_not_moved(tmp_path: Path, lines: dict[int, str]) -> None:
    root = paper(tmp_path, lines, nets={"eth0": "0000:01:00.0"})
    assert "not known to be a network card's" in irq_lines.refusal(path_of(40), root)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_three_are_never_moved(tmp_path: Path, number: int) -> None:
    root = paper(tmp_path, {number: "eth0"}, nets={"eth0": "0000:01:00.0"})
    assert "never moved" in irq_lines.refusal(path_of(number), root)
    with pytest.raises(Fault, match="never written"):
        allowed.check_form(path_of(number))


@pytest.mark.parametrize(
    "path",
    [
        "/proc/irq/default_smp_affinity",
        "/proc/irq/031/smp_affinity",
        "/proc/irq/31/smp_affinity_list",
        "/proc/irq/31/../36/smp_affinity",
        "/proc/irq/31/affinity_hint",
    ],
)
def test_nothing_else_there_is_written(path: str) -> None:
    with pytest.raises(Fault):
        allowed.check_path(path)


@pytest.mark.parametrize("text", ["1", "f", "4f"])
def test_a_mask_names_cpus_that_are_online(tmp_path: Path, text: str) -> None:
    irq_lines.check_mask(path_of(40), text, paper(tmp_path, {}))


@pytest.mark.parametrize("text", ["0", "10", "ff", "1,00000001"])
def test_a_mask_without_a_cpu_or_of_one_that_is_not_online_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Fault, match=r"no CPU|not online"):
        irq_lines.check_mask(path_of(40), text, paper(tmp_path, {}))


@pytest.mark.parametrize(
    ("raw", "mask"),
    [("3\n", "3"), ("00000000,0000000f\n", "f"), ("0f,00000000\n", "f,00000000"), ("0\n", "0")],
)
def test_masks_are_compared_without_their_padding(raw: str, mask: str) -> None:
    assert normalise(path_of(40), raw) == mask


def test_at_a_restore_only_what_is_gone_or_certainly_anothers_is_given_up(tmp_path: Path) -> None:
    root = paper(tmp_path, {40: "eth0-0", 41: "nvme0q1", 43: "snd"})
    originals = {path_of(number): "3" for number in (40, 41, 42, 43)} | {"/proc/sys/net/core/somaxconn": "1"}
    found = irq_lines.given_up(originals, root)
    assert set(found) == {
        path_of(41),
        path_of(42),
    }  # no card is to be seen here, and 40 goes back all the same
    assert "nvme0q1 by now" in found[path_of(41)]
    assert "gone" in found[path_of(42)]


def test_a_managed_interrupt_is_found_by_the_check_told_by_a_switch_and_no_matter_at_a_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, text: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for module in (settings, restore):
        monkeypatch.setattr(module, "read_value", lambda path: "3")
        monkeypatch.setattr(module, "write_value", refuse)
    monkeypatch.setattr(irq_lines, "given_up", lambda originals: {})
    places = Places(os.geteuid(), str(tmp_path), str(tmp_path / "state"))
    here = Settings(Journal.create(places, BEGIN))
    path = path_of(40)
    [checked] = here.write_back([path])
    assert (checked["effective"], checked["error"]) == ("3", "Input/output error")
    here.apply({path: "1"})
    [told] = here.read_back([(path, "1")])
    assert told["error"] == "Input/output error (its own value, so it is not touched)"
    undone = restore.undo(places, Journal.reopen(places), read_journal(places))
    assert (undone.verified, undone.left) == ([path], [])


# -- this machine ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Balloon:
    """The harmless lines of this machine, by path, with their masks."""

    masks: dict[str, str]
    all_lines: dict[str, str]

    @property
    def writes(self) -> tuple[Write, ...]:
        return tuple(Write(path=path, text="1") for path in self.masks)

    def now(self) -> dict[str, str]:
        return {path: Path(path).read_text().strip() for path in self.all_lines}


@pytest.fixture
def balloon() -> Iterator[Balloon]:
    """The balloon's lines; whatever a test does, they have their masks again after it."""
    every = sorted(Path("/proc/irq").glob("*/smp_affinity"))
    mine = [
        one
        for one in every
        if list(one.parent.glob("virtio*-stats")) + list(one.parent.glob("virtio*-config"))
        and os.access(one, os.W_OK)
        and not irq_lines.refusal(str(one))
        and not any(
            Path(f"/sys/bus/virtio/devices/{n.name.split('-')[0]}/net").exists()
            for n in one.parent.glob("virtio*")
        )
    ]
    masks = {str(one): one.read_text().strip() for one in mine}
    masks = {path: mask for path, mask in masks.items() if normalise(path, mask) != "1"}
    if not masks:
        pytest.skip("this machine has no balloon with interrupts of its own that could be moved")
    yield Balloon(masks, {str(one): one.read_text().strip() for one in every})
    for path, mask in masks.items():
        Path(path).write_text(mask)


def _stop_and_kill(*pids: int) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


def _guardian(night: NightHere) -> int:
    [pid] = [pid for pid, name, _ in night.board.processes() if name == "autotune-guard"]
    return pid


def test_lines_are_checked_moved_and_given_back(board_namespace: BoardNamespace, balloon: Balloon) -> None:
    night = begin(board_namespace)
    checked = night.line.check(tuple(balloon.masks))
    assert [one.error for one in checked] == [""] * len(balloon.masks)
    switched = night.line.switch(balloon.writes, None)
    assert switched.step == ""
    assert {one.path: one.effective for one in switched.effects} == dict.fromkeys(balloon.masks, "1")
    assert all(int(balloon.now()[path], 16) == 1 for path in balloon.masks)
    night.line.switch((), None)
    assert balloon.now() == balloon.all_lines
    night.line.switch(balloon.writes, None)
    assert night.line.end().left == ()
    assert balloon.now() == balloon.all_lines


def test_a_killed_agent_is_undone_by_its_guardian(board_namespace: BoardNamespace, balloon: Balloon) -> None:
    night = begin(board_namespace)
    night.line.switch(balloon.writes, None)
    os.kill(night.line.agent_pid, signal.SIGKILL)
    assert within(5, lambda: balloon.now() == balloon.all_lines)


def test_with_both_killed_the_next_end_undoes_it(board_namespace: BoardNamespace, balloon: Balloon) -> None:
    night = begin(board_namespace)
    night.line.switch(balloon.writes, None)
    _stop_and_kill(night.line.agent_pid, _guardian(night))
    night.line.close()
    assert all(int(balloon.now()[path], 16) == 1 for path in balloon.masks)
    line = board_namespace.connect()
    assert {one.path for one in line.status().changed} == set(balloon.masks)
    ended = line.end()
    assert (set(ended.restored), ended.left) == (set(balloon.masks), ())
    assert balloon.now() == balloon.all_lines


def test_a_line_that_someone_else_moves_is_left_to_them_and_goes_back_in_the_end(
    board_namespace: BoardNamespace, balloon: Balloon
) -> None:
    night = begin(board_namespace)
    night.line.switch(balloon.writes, None)
    path = next(iter(balloon.masks))
    Path(path).write_text("2")
    assert night.line.switch(balloon.writes, None).foreign == (path,)
    assert int(Path(path).read_text(), 16) == 2
    night.line.end()
    assert balloon.now() == balloon.all_lines


def test_what_is_not_a_cards_is_read_with_the_reason_and_refused(board_namespace: BoardNamespace) -> None:
    refused = [str(one) for one in Path("/proc/irq").glob("*/smp_affinity") if irq_lines.refusal(str(one))]
    if not refused:
        pytest.skip("every interrupt of this machine is a network card's")
    night = begin(board_namespace)
    seen = night.line.read(tuple(refused))
    assert all(one.text and one.error and not one.writable for one in seen.values())
    for path in refused:
        with pytest.raises(BoardUnfit, match=r"is never moved|is not moved"):
            night.line.switch((Write(path=path, text="1"),), None)
        with pytest.raises(BoardUnfit, match=r"is never moved|is not moved"):
            night.line.check((path,))
