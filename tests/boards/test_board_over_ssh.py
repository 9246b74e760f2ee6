"""A board over ssh, for real: sshd in a namespace, reached from another one through the system's ssh client."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ADDRESS, Lab

from autotune.agent.installing import FRESH
from autotune.board import installing
from autotune.board.address import read_address
from autotune.board.connection import Connection, connect
from autotune.board.records import Write
from autotune.errors import BoardUnreachable, NotPermitted

pytestmark = [pytest.mark.real, pytest.mark.slow]

KEY = "/proc/sys/net/ipv4/tcp_fin_timeout"
LEASE_S = 5.0
PLAIN, ADMIN = "ssh://plain@board", "ssh://admin@board"


@pytest.fixture
def held(lab: Lab) -> Iterator[Connection]:
    """The board, with a lease of five seconds."""
    with connect(ADDRESS, prefix=lab.on_client) as connection:
        connection.begin(study="lab", night=1, holder="test", lease_s=LEASE_S)
        yield connection


def value(lab: Lab) -> int:
    done = lab.run(lab.on_board, "cat", KEY)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def change(connection: Connection, to: int) -> None:
    switched = connection.switch((Write(path=KEY, text=str(to)),), None)
    assert not switched.step, switched.reason


def comes_back(lab: Lab, original: int, within_s: float) -> float:
    """Seconds until the key has its original value."""
    began = time.monotonic()
    while value(lab) != original:
        assert time.monotonic() - began < within_s, f"{KEY} is still {value(lab)} after {within_s} s"
        time.sleep(0.1)
    return time.monotonic() - began


def test_root_s_agent_answers_and_says_where_it_is(lab: Lab) -> None:
    with connect(ADDRESS, prefix=lab.on_client) as connection:
        assert connection.facts.uid == 0
        assert (
            connection.facts.netns
            == lab.run(lab.on_board, "stat", "-Lc", "%i", "/proc/self/ns/net").stdout.strip()
        )
        assert connection.answers_afresh()


def test_a_setting_is_changed_there_and_put_back_at_the_end(lab: Lab, held: Connection) -> None:
    original = value(lab)
    change(held, original + 7)
    assert value(lab) == original + 7
    assert not held.end().left
    assert value(lab) == original


@pytest.mark.parametrize("who", ["ssh", "sshd's session", "agent"])
def test_whoever_of_the_line_dies_the_board_restores_itself(lab: Lab, held: Connection, who: str) -> None:
    original = value(lab)
    change(held, original + 7)
    os.kill(_victim(lab, held, who), signal.SIGKILL)
    comes_back(lab, original, LEASE_S + 5)


def test_a_pulled_cable_ends_with_the_lease(lab: Lab, held: Connection) -> None:
    original = value(lab)
    change(held, original + 7)
    lab.cable("down")
    try:
        took_s = comes_back(lab, original, LEASE_S + 5)
    finally:
        lab.cable("up")
    assert took_s > 1


def test_a_short_cut_of_the_line_is_survived(lab: Lab, held: Connection) -> None:
    original = value(lab)
    change(held, original + 7)
    lab.cable("down")
    time.sleep(1.5)
    lab.cable("up")
    held.keepalive()
    assert value(lab) == original + 7
    assert not held.end().left


def test_an_unknown_host_key_is_an_error_with_the_next_command(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    text = Path(lab.directory, "ssh_config").read_text()
    config.write_text(text.replace(f"{lab.directory}/known_hosts", f"{tmp_path}/none"))
    monkeypatch.setenv("AUTOTUNE_SSH_CONFIG", str(config))
    with pytest.raises(BoardUnreachable, match="host key") as refused:
        connect(ADDRESS, prefix=lab.on_client)
    assert "ssh root@board" in refused.value.hint


def test_a_board_that_lets_nobody_in_is_an_error_with_the_next_command(lab: Lab) -> None:
    with pytest.raises(NotPermitted, match="without a password") as refused:
        connect("ssh://nobody@board", prefix=lab.on_client)
    assert "ssh-copy-id" in refused.value.hint


def test_a_name_that_leads_nowhere_is_an_error(lab: Lab) -> None:
    with pytest.raises(BoardUnreachable, match=r"no line to ssh://nowhere\.invalid"):
        connect("ssh://nowhere.invalid", prefix=lab.on_client)


def test_a_login_that_talks_first_is_passed_over(lab: Lab) -> None:
    profile = "/run/home/plain/.bashrc"
    assert (
        lab.run(lab.on_board, "sh", "-c", f"echo 'echo Welcome; printf to-the-board' > {profile}").returncode
        == 0
    )
    try:
        with connect(PLAIN, prefix=lab.on_client) as connection:
            assert connection.facts.uid != 0
    finally:
        lab.run(lab.on_board, "rm", profile)


def test_passwordless_sudo_makes_the_agent_root_s_under_use_pty_too(lab: Lab) -> None:
    _needs_sudo(lab)
    with connect(ADMIN, prefix=lab.on_client) as connection:
        assert connection.facts.uid == 0
        assert not connection.is_installed


def test_the_agent_is_installed_used_and_removed_without_a_trace(lab: Lab) -> None:
    _needs_sudo(lab)
    before = _installed_files(lab)
    done = installing.install(read_address(ADMIN), "plain", lab.on_client)
    assert any('plain ALL=(root) NOPASSWD: /usr/local/lib/autotune/agent ""' in line for line in done.said)
    try:
        found = installing.check(read_address(PLAIN), lab.on_client)
        assert found.installed
        assert found.facts.uid == 0
        more = lab.run(lab.on_client, "ssh", "plain@board", "sudo -n /usr/local/lib/autotune/agent serve")
        assert more.returncode != 0, "the rule must allow no argument"
        other = lab.run(lab.on_client, "ssh", "plain@board", "sudo -n /usr/bin/id")
        assert other.returncode != 0
        cut_off = [f"{directory}/{FRESH}x1y2" for directory in ("/etc/sudoers.d", "/usr/local/lib/autotune")]
        half = lab.run(lab.on_board, "sh", "-c", f"echo 'plain ALL=(ro' | tee {' '.join(cut_off)}")
        assert half.returncode == 0, half.stderr
        assert "sudoers" not in lab.run(lab.on_client, "ssh", "admin@board", "sudo -n true").stderr
    finally:
        removed = installing.remove(read_address(ADMIN), lab.on_client)
    assert len(removed.said) == 6, removed.said
    assert _installed_files(lab) == before


def test_an_agent_installed_for_somebody_else_is_left_alone(lab: Lab) -> None:
    """Sudo would let this user run it too, but for a password."""
    _needs_sudo(lab)
    rule = "/etc/sudoers.d/plain"
    assert (
        lab.run(
            lab.on_board, "sh", "-c", f"echo 'plain ALL=(ALL) ALL' > {rule} && chmod 440 {rule}"
        ).returncode
        == 0
    )
    installing.install(read_address(ADMIN), "admin", lab.on_client)
    try:
        with connect(PLAIN, prefix=lab.on_client) as connection:
            assert connection.facts.uid != 0
            assert not connection.is_installed
    finally:
        installing.remove(read_address(ADMIN), lab.on_client)
        lab.run(lab.on_board, "rm", rule)


def test_an_installed_agent_restores_what_it_changed_when_its_line_is_cut(lab: Lab) -> None:
    _needs_sudo(lab)
    installing.install(read_address(ADMIN), "plain", lab.on_client)
    original = value(lab)
    try:
        with connect(PLAIN, prefix=lab.on_client) as connection:
            connection.begin(study="lab", night=1, holder="test", lease_s=LEASE_S)
            change(connection, original + 7)
            os.kill(connection.agent_pid, signal.SIGKILL)
            comes_back(lab, original, LEASE_S + 5)
    finally:
        installing.remove(read_address(ADMIN), lab.on_client)


def test_an_installed_agent_of_another_version_is_an_error_with_the_next_command(lab: Lab) -> None:
    _needs_sudo(lab)
    installing.install(read_address(ADMIN), "plain", lab.on_client)
    try:
        done = lab.run(lab.on_board, "sh", "-c", "printf x >> /usr/local/lib/autotune/agent.zip")
        assert done.returncode == 0
        with pytest.raises(BoardUnreachable, match="another version") as refused:
            connect(PLAIN, prefix=lab.on_client)
        assert f"autotune board install {PLAIN}" in refused.value.hint
    finally:
        installing.remove(read_address(ADMIN), lab.on_client)


def test_nobody_without_root_installs_anything(lab: Lab) -> None:
    before = _installed_files(lab)
    with pytest.raises(NotPermitted, match="only root"):
        installing.install(read_address(PLAIN), "", lab.on_client)
    assert _installed_files(lab) == before


def test_a_user_that_is_none_gets_no_rule(lab: Lab) -> None:
    before = _installed_files(lab)
    with pytest.raises(NotPermitted, match="there is no user") as refused:
        installing.install(read_address(ADDRESS), "nosuchuser", lab.on_client)
    assert "root's login" not in refused.value.hint, "which it was"
    with pytest.raises(NotPermitted, match="no user's name"):
        installing.install(read_address(ADDRESS), "ALL", lab.on_client)
    assert _installed_files(lab) == before


def test_restore_needs_no_database_and_no_line_that_was_there_before(lab: Lab) -> None:
    """Agent and guardian shot together: the next connection, from whatever machine, puts everything back."""
    original = value(lab)
    with connect(ADDRESS, prefix=lab.on_client) as connection:
        connection.begin(study="lab", night=1, holder="test", lease_s=60)
        change(connection, original + 7)
        for pid in agents(lab):
            os.kill(pid, signal.SIGKILL)
    assert value(lab) == original + 7
    with connect(ADDRESS, prefix=lab.on_client) as connection:
        assert KEY in connection.end().restored
    assert value(lab) == original


def _victim(lab: Lab, held: Connection, who: str) -> int:
    if who == "ssh":
        return held.agent_pid
    agent = max(pid for pid in agents(lab) if _name(pid) != "autotune-guard")
    if who == "agent":
        return agent
    parent = agent
    while _name(parent) != "sshd":
        parent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
    return parent


def agents(lab: Lab) -> list[int]:
    """Agents and guardians on the board."""
    found = []
    mounts = Path(f"/proc/{lab.board_pid}/ns/mnt").readlink()
    for pid in lab.processes():
        try:
            if Path(f"/proc/{pid}/ns/mnt").readlink() != mounts:
                continue
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"autotune-agent" in line and _name(pid) != "sshd":
            found.append(pid)
    return found


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _installed_files(lab: Lab) -> str:
    return lab.run(
        lab.on_board,
        "sh",
        "-c",
        "find /usr/local/lib /etc/sudoers.d -type f -newermt 2020-01-01 | grep -i autotune | sort",
    ).stdout


def _needs_sudo(lab: Lab) -> None:
    if lab.run(lab.on_board, "sh", "-c", "command -v sudo").returncode:
        pytest.skip("needs sudo (apt-get install sudo)")
