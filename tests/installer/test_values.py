"""Live values on a board of paper, whose tunables come and go with their governor as the kernel's do."""

from __future__ import annotations

import pytest

from autotune.agent import kernel_files
from autotune.installer import record, values
from autotune.installer.exported import Setting
from autotune.installer.record import ValueChange
from paper_files import PaperFiles

ROOT = "/sys/devices/system/cpu/cpufreq/"
GOVERNOR = ROOT + "policy0/scaling_governor"
THRESHOLD = ROOT + "ondemand/up_threshold"
ASKED = (Setting("cpufreq:all.ondemand.up_threshold", 63), Setting("cpufreq:all.governor", "ondemand"))


class Kernel(dict[str, str]):
    """Its files; choosing ondemand brings up_threshold at 95, and another governor takes it away."""

    def put(self, path: str, text: str) -> None:
        if path not in self:
            raise FileNotFoundError(2, "No such file or directory", path)
        if path == GOVERNOR and text != self[path]:
            self.pop(THRESHOLD, None)
            if text == "ondemand":
                self[THRESHOLD] = "95"
        self[path] = text


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    files = Kernel(
        {
            GOVERNOR: "schedutil",
            ROOT + "policy0/scaling_available_governors": "ondemand schedutil",
            ROOT + "policy0/related_cpus": "0 1",
            "/sys/devices/system/cpu/online": "0-1",
        }
    )
    monkeypatch.setattr(values, "Board", lambda: PaperFiles(files))
    for module, read, write in (
        (values, "read_live", "write_live"),
        (kernel_files, "read_value", "write_value"),
    ):
        monkeypatch.setattr(module, read, files.get)
        monkeypatch.setattr(module, write, files.put)
    monkeypatch.setattr(values, "write_value", files.put)
    return files


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[ValueChange]:
    """What was recorded, before which write."""
    changes: list[ValueChange] = []
    monkeypatch.setattr(record, "note_values", changes.extend)
    return changes


def test_a_tunable_that_came_with_our_governor_goes_with_it(kernel: Kernel, noted: list[ValueChange]) -> None:
    before = dict(kernel)
    assert values.put(ASKED, "", recorded=True) == []
    assert (kernel[GOVERNOR], kernel[THRESHOLD]) == ("ondemand", "63")
    taken = values.take_back(noted, dry=False)
    assert (taken.left, taken.stuck) == ([], [])
    assert taken.done == [f"{GOVERNOR}: ondemand -> schedutil"]
    assert kernel == before


def test_a_governor_that_somebody_chose_since_is_left_with_its_tunables(
    kernel: Kernel, noted: list[ValueChange]
) -> None:
    values.put(ASKED, "", recorded=True)
    kernel[ROOT + "policy0/scaling_available_governors"] += " performance"
    kernel.put(GOVERNOR, "performance")
    taken = values.take_back(noted, dry=False)
    assert taken.left == [f"{GOVERNOR}: somebody has made it performance since; it was schedutil before ours"]
    assert taken.stuck == []
    assert kernel[GOVERNOR] == "performance"


def test_what_the_kernel_makes_otherwise_is_told_and_is_ours(
    kernel: Kernel, noted: list[ValueChange], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/proc/sys/net/core/somaxconn"
    kernel[path] = "4096"
    monkeypatch.setattr(values, "write_live", lambda path, text: kernel.put(path, str(int(text) // 2)))
    said = values.put((Setting("sysctl:net.core.somaxconn", 8192),), "", recorded=True)
    assert said == [f"{path}: asked for 8192, in force is 4096"]
    monkeypatch.undo()
    assert values.merged(noted)[path].was == "4096"
