"""What a journal may make root start and kill: services of the list, and stops of them that were cut short."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.agent import processes, services
from autotune.agent.faults import Fault
from autotune.agent.journal import Journal, parse, read_journal
from autotune.agent.places import Places
from autotune.agent.restore import boot_id, netns, restore_from_journal
from autotune.agent.services import Service, end_stopping, is_known, start_again

BEGIN = {"entry": "BEGIN", "study": "s", "night": 1, "boot_id": boot_id(), "netns": netns(), "token": "0" * 16, "holder": "h"}  # fmt: skip


def service(name: str, manager: str = "init", listen: object = ()) -> dict[str, Any]:
    return {"entry": "SERVICE", "name": name, "manager": manager, "was": "running", "listen": listen}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been run of a service that its manager says is dead until it is started."""
    said: list[str] = []

    def run(argv: list[str], record: object = None) -> int:
        del record
        said.append(argv[-1] if "init.d" in argv[0] else argv[1])
        return 0 if "start" in said[:-1] or argv[-1] == "start" else 3

    monkeypatch.setattr(services, "_run", run)
    monkeypatch.setattr(services, "_pidfile_pid", lambda _: 0)
    return said


@pytest.mark.parametrize(
    "name", ["nginx", "nginx.org", "my-nginx", "nginx@site", "nginx1.24", "openresty", "angie", "irqbalance"]
)
def test_a_service_of_the_list_is_known(name: str) -> None:
    assert is_known(Service(name, "systemd"))


@pytest.mark.parametrize(
    "name",
    ["reboot", "ssh", "user@1000", "containerd", "nginxx", "poweroff", "irqbalance2", "umountroot", ""],
)
def test_no_other_is(name: str) -> None:
    assert not is_known(Service(name, "systemd"))
    assert not is_known(Service(name, "init"))


@pytest.mark.parametrize("name", ["reboot", "ssh", "user@1000"])
@pytest.mark.parametrize("manager", ["init", "systemd"])
def test_a_journal_that_names_another_service_runs_nothing(
    tmp_path: Path, asked: list[str], name: str, manager: str
) -> None:
    places = Places(os.geteuid(), str(tmp_path), str(tmp_path / "state"))
    journal = Journal.create(places, BEGIN)
    journal.append([service(name, manager), {"entry": "KEPT"}], sync=True)
    journal.close()
    undone = restore_from_journal(places)
    assert [one["path"] for one in undone.left] == [f"service {name}"]
    assert asked == []
    assert read_journal(places).state == "open"


@pytest.mark.parametrize(
    "entry",
    [
        service("../../tmp/x"),
        service("nginx start; reboot"),
        service("-nginx"),
        service("nginx\n"),
        service("nginx", "cron"),
        service("nginx", "init", "80"),
        service("nginx", "init", {"0.0.0.0": 80}),
        service("nginx", "init", [["0.0.0.0", 0]]),
        service("nginx", "init", [["0.0.0.0"]]),
        service("nginx", "init", None),
        service(["nginx"]),  # type: ignore[arg-type]
        {"entry": "SERVICE"},
        {"entry": "STOPPING", "pgid": 5, "start": 5},
        {"entry": "STOPPING", "name": "nginx", "pgid": "1", "start": 5},
        {"entry": "STOPPING", "name": 5, "pgid": 1, "start": 5},
        {"entry": "STOPPED"},
        {"entry": "STOPPED", "name": "a b"},
    ],
)
def test_an_odd_entry_of_a_service_makes_the_journal_torn(entry: dict[str, Any]) -> None:
    data = b"".join(journal_line(one) for one in (BEGIN, entry, {"entry": "KEPT"}))
    assert parse(data).state == "torn"


def journal_line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def test_a_stop_that_was_told_to_its_end_is_not_half() -> None:
    stopping = {"entry": "STOPPING", "name": "nginx", "pgid": 5, "start": 5}
    begun = (BEGIN, service("nginx", listen=[]), stopping)
    half = parse(b"".join(map(journal_line, begun)))
    whole = parse(b"".join(map(journal_line, (*begun, {"entry": "STOPPED", "name": "nginx"}))))
    assert [one.half for one in half.services] == [True]
    assert [one.half for one in whole.services] == [False]


def test_a_stop_cut_short_is_done_to_its_end_before_the_start(asked: list[str]) -> None:
    """A server that was told to end may still look alive, and would be found well."""
    assert start_again(Service("nginx", "init"), half_stopped=True) is None
    assert asked[0] == "stop"
    assert asked.index("start") > 0


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def test_no_process_is_killed_that_is_not_a_stop_of_a_service(stranger: subprocess.Popen[bytes]) -> None:
    seen = processes.read_stat(stranger.pid)
    assert seen is not None
    for start in (seen.start, 0, seen.start - 1):
        end_stopping(stranger.pid, start)
    for odd in (0, 1, 2, os.getpgid(0), 1 << 40):
        end_stopping(odd, 0)
    assert stranger.poll() is None
    assert processes.read_stat(stranger.pid) is not None


def test_a_stop_of_a_service_is_killed_with_all_it_started(tmp_path: Path) -> None:
    script = tmp_path / "nginx"
    script.write_text("#!/bin/sh\nsleep 60\n")
    script.chmod(0o755)
    with subprocess.Popen([script, "stop"], start_new_session=True) as process:
        while b"nginx" not in processes.command_line(process.pid):
            pass
        seen = processes.read_stat(process.pid)
        assert seen is not None
        end_stopping(process.pid, seen.start - 1)
        assert process.poll() is None
        end_stopping(process.pid, seen.start)
        assert process.wait(5) == -9


@pytest.mark.parametrize(
    ("state", "up_s", "refused"),
    [
        ("starting", 20.0, True),
        ("initializing", 5.0, True),
        ("running", 20.0, False),
        ("degraded", 20.0, False),
        ("", 20.0, False),
        ("starting", 3600.0, False),
    ],
)
def test_a_board_that_still_boots_is_busy_but_one_that_never_ends_booting_is_not(
    monkeypatch: pytest.MonkeyPatch, state: str, up_s: float, *, refused: bool
) -> None:
    """A night that began before nginx.service came up would meet it in the middle."""
    monkeypatch.setattr(services, "_has_systemd", lambda: True)
    monkeypatch.setattr(services, "_system_state", lambda: state)
    monkeypatch.setattr(time, "clock_gettime", lambda _which: up_s)
    if not refused:
        services.refuse_starting()
        return
    with pytest.raises(Fault, match="still starting up") as caught:
        services.refuse_starting()
    assert caught.value.kind == "busy"
