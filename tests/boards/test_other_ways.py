"""Other ways to a board than the shortest: a jump host, IPv6, what a user's ssh configuration may hold; and a board that is
put back from a machine that never saw it before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ADDRESS, BOARD_IP, Lab
from test_board_over_ssh import KEY, agents, change, value

from autotune.board import installing
from autotune.board.address import read_address
from autotune.board.agent_start import SSH_CONFIG
from autotune.board.connection import connect
from autotune.errors import BoardUnreachable

pytestmark = [pytest.mark.real, pytest.mark.slow]

PLAIN, ADMIN = "ssh://plain@board", "ssh://admin@board"


@contextlib.contextmanager
def ssh_config(lab: Lab, folder: Path, more: str, *, known: str = "board,load") -> Iterator[None]:
    """The client's configuration with `more` before it; host keys of the machines `known` alone are known."""
    theirs = Path(lab.directory, "known_hosts").read_text().split()[1:3]
    (folder / "known_hosts").write_text(" ".join([known, *theirs]) + "\n")
    text = Path(lab.directory, "ssh_config").read_text()
    text = text.replace(f"{lab.directory}/known_hosts", f"{folder}/known_hosts")
    (folder / "config").write_text(f"{more}\n{text.replace('Host board load', 'Host *')}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SSH_CONFIG, str(folder / "config"))
        yield


JUMP = f"""
Host far
    HostName {BOARD_IP}
    HostKeyAlias board
    User root
    ProxyJump root@load
"""


def test_a_board_behind_a_jump_host(lab: Lab, tmp_path: Path) -> None:
    with ssh_config(lab, tmp_path, JUMP), connect("ssh://far", prefix=lab.on_client) as connection:
        assert connection.facts.uid == 0
        assert connection.answers_afresh()
        assert not connection.clock().is_off


def test_a_jump_host_s_unknown_key_is_named_as_the_trouble(lab: Lab, tmp_path: Path) -> None:
    with (
        ssh_config(lab, tmp_path, JUMP, known="board"),
        pytest.raises(BoardUnreachable, match="host key of ssh://far, or of a host on the way there"),
    ):
        connect("ssh://far", prefix=lab.on_client)


# What is fine at a terminal and would be in the way of a night: none of it counts.
IN_THE_WAY = """
Host *
    ControlMaster auto
    ControlPath {folder}/shared-%C
    ControlPersist 60
    RequestTTY force
    RemoteCommand tmux attach
    LocalForward 9999 localhost:80
    ForwardAgent yes
    LogLevel QUIET
"""


def test_a_configuration_made_for_a_terminal_does_no_harm(lab: Lab, tmp_path: Path) -> None:
    with ssh_config(lab, tmp_path, IN_THE_WAY.format(folder=tmp_path)):
        with connect(ADDRESS, prefix=lab.on_client) as connection:
            assert connection.answers_afresh()
            assert list(tmp_path.glob("shared-*")) == []
        with pytest.raises(BoardUnreachable, match=r"lets nobody in without a password: .*Permission denied"):
            connect("ssh://nobody@board", prefix=lab.on_client)


def test_a_link_local_address_with_its_interface(lab: Lab, tmp_path: Path) -> None:
    """A second sshd, for that of the lab listens on its one IPv4 address."""
    config = Path(lab.directory, "sshd_config").read_text().replace("Port 22", "Port 2223")
    lines = [line for line in config.splitlines() if not line.startswith("ListenAddress")]
    (tmp_path / "sshd_config").write_text("\n".join([*lines, "ListenAddress ::"]))
    shown = lab.run(lab.on_board, "ip", "-6", "-oneline", "address", "show", "dev", "eth0", "scope", "link")
    address = shown.stdout.split("inet6 ")[1].split("/")[0]
    with subprocess.Popen(
        [*lab.on_board, "/usr/sbin/sshd", "-D", "-e", "-f", str(tmp_path / "sshd_config")],
        stderr=subprocess.PIPE,
    ) as sshd:
        assert sshd.stderr is not None
        assert b"listening on ::" in sshd.stderr.readline()
        try:
            with (
                ssh_config(lab, tmp_path, "Host *\n    HostKeyAlias board\n"),
                connect(f"ssh://root@[{address}%eth0]:2223", prefix=lab.on_client) as connection,
            ):
                assert connection.facts.uid == 0
                assert connection.answers_afresh()
        finally:
            sshd.terminate()


# -- restore from a machine that never saw the board before -------------------------------------------------------------------


@pytest.fixture
def left_changed(lab: Lab) -> Iterator[int]:
    """A board whose tuner, agent and guardian were all shot with one key changed; what that key was before."""
    original = value(lab)
    with connect(ADDRESS, prefix=lab.on_client) as connection:
        connection.begin(study="lab", night=1, holder="test", lease_s=60)
        change(connection, original + 7)
        for pid in agents(lab):
            os.kill(pid, signal.SIGKILL)
    assert value(lab) == original + 7
    yield original
    with connect(ADDRESS, prefix=lab.on_client) as connection:
        connection.end()


def from_the_load_host(lab: Lab, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """autotune on a machine with a home of its own, without a database, that only knows how to reach the board."""
    home.mkdir(exist_ok=True)
    path = f"PATH={os.environ['PATH']}"
    settings = (path, f"HOME={home}", f"{SSH_CONFIG}={lab.directory}/ssh_config")
    return lab.run(lab.on_load, "env", "-i", *settings, sys.executable, "-m", "autotune", *words)


def test_root_restores_a_board_from_any_machine(lab: Lab, tmp_path: Path, left_changed: int) -> None:
    told = from_the_load_host(lab, tmp_path / "home", "restore", ADDRESS)
    assert told.returncode == 0, told.stderr
    assert KEY in told.stdout
    assert value(lab) == left_changed
    assert list((tmp_path / "home").rglob("*")) == [], "it needs no database, and makes none"
    again = from_the_load_host(lab, tmp_path / "home", "restore", ADDRESS)
    assert (again.returncode, again.stdout) == (0, "Nothing was left changed; the board is as it was.\n")


def test_a_user_without_root_is_refused_and_told_how_until_the_agent_is_installed_for_him(
    lab: Lab, tmp_path: Path, left_changed: int
) -> None:
    refused = from_the_load_host(lab, tmp_path / "home", "restore", PLAIN)
    assert refused.returncode == 4
    assert "only root can put it back" in refused.stderr
    assert f"after `autotune board install`: autotune restore {PLAIN}" in refused.stderr.replace("\n", " ")
    assert value(lab) == left_changed + 7
    doctor = from_the_load_host(lab, tmp_path / "home", "doctor", PLAIN, "--json")
    assert f"{KEY} was {left_changed}" in doctor.stdout, doctor.stderr
    if lab.run(lab.on_board, "sh", "-c", "command -v sudo visudo").returncode:
        pytest.skip("the rest needs sudo (apt-get install sudo)")
    installing.install(read_address(ADMIN), "plain", lab.on_client)
    try:
        told = from_the_load_host(lab, tmp_path / "home", "restore", PLAIN)
    finally:
        installing.remove(read_address(ADMIN), lab.on_client)
    assert told.returncode == 0, told.stderr
    assert value(lab) == left_changed
