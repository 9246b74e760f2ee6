"""What a user meets on the way to a board over ssh: sudo, Python, keys, a slow sshd. Each is one clear error with the next
command, and none of it a traceback or a wait without end.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab import ADDRESS, Lab

from autotune.agent.installing import rule_for
from autotune.board import agent_start, installing, reaching
from autotune.board import connection as connection_module
from autotune.board.address import read_address
from autotune.board.agent_start import INSTALL_DIR, INSTALLED
from autotune.board.connection import connect
from autotune.errors import BoardUnreachable, NotPermitted
from autotune.runner.preflight import clock, require

pytestmark = [pytest.mark.real, pytest.mark.slow]

PLAIN, ADMIN = "ssh://plain@board", "ssh://admin@board"
INSTALL = f"autotune board install {PLAIN}"
RULE = "/etc/sudoers.d/plain"
UID_OF_PLAIN = "61001"


def on_board(lab: Lab, script: str) -> str:
    done = lab.run(lab.on_board, "sh", "-ec", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def board(lab: Lab) -> Lab:
    if lab.run(lab.on_board, "sh", "-c", "command -v sudo visudo").returncode:
        pytest.skip("needs sudo (apt-get install sudo)")
    return lab


@contextlib.contextmanager
def sudo_rules(lab: Lab, text: str) -> Iterator[None]:
    """A file of rules beside those of the lab; "" for none."""
    subprocess.run([*lab.on_board, "tee", RULE], input=text.encode(), stdout=subprocess.DEVNULL, check=True)
    on_board(lab, f"chmod 440 {RULE}")
    try:
        yield
    finally:
        on_board(lab, f"rm {RULE}")


@contextlib.contextmanager
def installed(lab: Lab) -> Iterator[None]:
    """The agent, installed for the user without sudo."""
    installing.install(read_address(ADMIN), "plain", lab.on_client)
    try:
        yield
    finally:
        installing.remove(read_address(ADMIN), lab.on_client)


# -- sudo ---------------------------------------------------------------------------------------------------------------------

WITHOUT_ROOT = [
    ("no rule at all", "", "a password is required", INSTALL),
    ("a rule for another path", "plain ALL=(root) NOPASSWD: /opt/agent", f"run {INSTALLED} unasked", INSTALL),
    ("NOPASSWD missing", f'plain ALL=(root) {INSTALLED} ""', "a password is required", INSTALL),
    ("a rule without its agent", rule_for("plain"), f"{INSTALLED} is not", INSTALL),
    ("requiretty", f"Defaults:plain requiretty\n{rule_for('plain')}", "must have a tty", "!requiretty"),
]


@pytest.mark.parametrize(
    ("rules", "why", "next_"), [case[1:] for case in WITHOUT_ROOT], ids=[case[0] for case in WITHOUT_ROOT]
)
def test_without_the_right_sudo_rule_the_agent_is_the_user_s_and_says_why(
    board: Lab, rules: str, why: str, next_: str
) -> None:
    with sudo_rules(board, rules + "\n"):
        found = installing.check(read_address(PLAIN), board.on_client)
    assert (found.installed, found.facts.uid) == (False, int(UID_OF_PLAIN))
    assert why in found.how
    assert next_ in installing.next_for(read_address(PLAIN), found)


def test_a_board_without_sudo_says_so(board: Lab) -> None:
    """The user's PATH has everything but sudo."""
    profile = "/run/home/plain/.bashrc"
    on_board(
        board, f"mkdir -p /run/bin && ln -sf /usr/bin/python3 /run/bin/ && echo PATH=/run/bin > {profile}"
    )
    try:
        found = installing.check(read_address(PLAIN), board.on_client)
    finally:
        on_board(board, f"rm {profile}")
    assert "there is no sudo" in found.how
    assert installing.next_for(read_address(PLAIN), found) == INSTALL


@pytest.mark.parametrize("more", [f"{INSTALL_DIR}/*", f"{INSTALLED} *", INSTALLED])
def test_a_rule_that_allows_more_than_the_agent_is_told_by_check(board: Lab, more: str) -> None:
    """The last has no wildcard, but lets the user give the agent any argument."""
    with sudo_rules(board, f"plain ALL=(root) NOPASSWD: {more}\n"):
        found = installing.check(read_address(PLAIN), board.on_client)
    assert found.warnings == (f"sudo allows {more!r}, which is more than the agent",)
    assert installing.next_for(read_address(PLAIN), found) == INSTALL


def test_the_rule_of_install_counts_beside_one_that_asks_for_a_password(board: Lab) -> None:
    """As a board's first user often has it, in a file of his own name."""
    with sudo_rules(board, "plain ALL=(ALL) ALL\n"), installed(board):
        found = installing.check(read_address(PLAIN), board.on_client)
    assert found.installed


def test_a_rule_that_sudo_does_not_go_by_is_not_left_behind(board: Lab) -> None:
    before = on_board(board, "ls /etc/sudoers.d")
    with (
        sudo_rules(board, "Defaults:plain requiretty\n"),
        pytest.raises(NotPermitted, match="must have a tty"),
    ):
        installing.install(read_address(ADMIN), "plain", board.on_client)
    installing.remove(read_address(ADMIN), board.on_client)
    assert on_board(board, "ls /etc/sudoers.d") == before


def test_the_rule_that_install_writes_allows_nothing_more(board: Lab) -> None:
    with installed(board):
        found = installing.check(read_address(PLAIN), board.on_client)
    assert found.installed
    assert (found.warnings, installing.next_for(read_address(PLAIN), found)) == ((), "")


# What somebody did to the installed agent, what undoes it, and the path that is named for it.
NOT_ROOTS_ALONE = [
    (f"chown {UID_OF_PLAIN} {INSTALLED}", f"chown 0 {INSTALLED}", INSTALLED),
    (f"chmod 777 {INSTALLED}", f"chmod 755 {INSTALLED}", INSTALLED),
    (f"mv {INSTALLED} /run/mine; ln -s /run/mine {INSTALLED}", f"mv /run/mine {INSTALLED}", INSTALLED),
    (f"chown {UID_OF_PLAIN} {INSTALL_DIR}", f"chown 0 {INSTALL_DIR}", INSTALL_DIR),
    (f"chmod 666 {INSTALLED}.zip", f"chmod 644 {INSTALLED}.zip", f"{INSTALLED}.zip"),
]


def test_an_installed_agent_that_is_not_root_s_alone_is_not_started(board: Lab) -> None:
    """Neither by autotune nor, where only its zip is open to others, by whoever runs it by hand."""
    with installed(board):
        for spoil, mend, what in NOT_ROOTS_ALONE:
            on_board(board, spoil)
            with pytest.raises(NotPermitted, match=f"not root's alone: .* {what} ") as refused:
                connect(PLAIN, prefix=board.on_client)
            assert INSTALL in refused.value.hint
            on_board(board, mend)
        on_board(board, f"chmod 666 {INSTALLED}.zip")
        by_hand = board.run(board.on_client, "ssh", "plain@board", f"sudo -n {INSTALLED} < /dev/null")
    assert by_hand.returncode == 1
    assert by_hand.stdout.split() == ["autotune-agent:", "unsafe", f"{INSTALLED}.zip"]


def test_who_may_install_nothing_is_told_who_can(board: Lab) -> None:
    with pytest.raises(NotPermitted, match="only root") as refused:
        installing.install(read_address(PLAIN), "", board.on_client)
    assert "autotune board install ssh://root@board --user plain" in refused.value.hint


# -- Python -------------------------------------------------------------------------------------------------------------------

# A stand-in for another Python: this machine has one only. It changes what the agent's first lines see, and runs them.
STAND_IN = """#!/usr/bin/python3
import sys, time
sys.argv = ["-c", *sys.argv[sys.argv.index("-c") + 2:]]
code = open(f"/proc/self/cmdline", "rb").read().split(b"\\0-c\\0")[1].split(b"\\0")[0].decode()
{change}
exec(code, {{"__name__": "__main__"}})
"""
OLD = STAND_IN.format(change="sys.version_info = (3, 7, 3)")
MINIMAL = STAND_IN.format(change="sys.modules['json'] = None")
MINUTES_AHEAD = STAND_IN.format(change="now = time.time\ntime.time = lambda: now() + 90")


@contextlib.contextmanager
def python(lab: Lab, text: str) -> Iterator[None]:
    """The python3 that a login of the user without sudo finds; "" for none."""
    where = "/run/home/plain"
    on_board(lab, f"mkdir -p {where}/bin && echo PATH={where}/bin > {where}/.bashrc")
    try:
        if text:
            stand_in = Path(lab.directory, "python3")
            stand_in.write_text(text)
            on_board(lab, f"install -m 755 {stand_in} {where}/bin/python3")
        yield
    finally:
        on_board(lab, f"rm -r {where}/bin {where}/.bashrc")


@pytest.mark.parametrize(
    ("text", "says", "next_"),
    [
        ("", "there is no python3", "ssh plain@board 'command -v python3'"),
        (OLD, r"is 3\.7, and the agent needs 3\.9", "ssh plain@board 'command -v python3'"),
        (MINIMAL, "lacks a part of its standard library: .*json", "apt-get install python3"),
    ],
)
def test_a_board_without_a_python_that_will_do_says_which_would(
    board: Lab, text: str, says: str, next_: str
) -> None:
    with python(board, text):
        with pytest.raises(BoardUnreachable, match=says) as refused:
            connect(PLAIN, prefix=board.on_client)
        with pytest.raises(BoardUnreachable, match=says):
            installing.install(read_address(PLAIN), "plain", board.on_client)
    assert next_ in refused.value.hint


def test_a_clock_that_is_off_is_a_doubt_of_the_night_and_nothing_more(board: Lab) -> None:
    with python(board, MINUTES_AHEAD), connect(PLAIN, prefix=board.on_client) as connection:
        (need,) = clock(connection)
        seen = connection.clock()
    assert abs(seen.ahead_s - 90) < 2
    assert not need.fatal
    (doubt,) = require([need])
    assert "s ahead of this machine's" in doubt.text
    assert "timedatectl" in doubt.next


def test_a_clock_that_is_right_is_no_doubt(board: Lab) -> None:
    with connect(ADDRESS, prefix=board.on_client) as connection:
        (need,) = clock(connection)
    assert need.ok
    assert require([need]) == ()


# -- an sshd that is slow, or says nothing ------------------------------------------------------------------------------------

# Stands before the board's sshd on another port. What it does with a connection is a word in a file: "wait 3" (seconds, then
# on to sshd), "refuse 2" (so many are turned away at once, as a busy sshd does), "mute" (accepted, and never answered).
DOORMAN = """
import socket, sys, threading, time
def pipe(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    other.close()
def serve(caller):
    global refused
    word, _, number = open(sys.argv[1]).read().partition(" ")
    if word == "mute":
        time.sleep(1000)
    if word == "refuse" and refused < int(number):
        refused += 1
        return caller.close()
    time.sleep(float(number) if word == "wait" else 0)
    sshd = socket.create_connection(("10.211.0.1", 22))
    threading.Thread(target=pipe, args=(caller, sshd), daemon=True).start()
    pipe(sshd, caller)
refused = 0
door = socket.create_server(("10.211.0.1", 2222))
print("open", flush=True)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
"""
BEHIND = f"{ADDRESS}:2222"


@dataclass(frozen=True)
class Doorman:
    orders: Path

    def does(self, what: str) -> None:
        self.orders.write_text(what)


@pytest.fixture
def doorman(board: Lab, tmp_path: Path) -> Iterator[Doorman]:
    orders = tmp_path / "orders"
    orders.write_text("wait 0")
    with subprocess.Popen(
        [*board.on_board, sys.executable, "-c", DOORMAN, str(orders)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield Doorman(orders)
        process.kill()


def test_an_sshd_that_never_answers_is_given_up_in_the_stated_time(
    board: Lab, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_start, "CONNECTS_WITHIN_S", 2)
    doorman.does("mute")
    began = time.monotonic()
    with pytest.raises(BoardUnreachable, match="timed out") as refused:
        connect(BEHIND, prefix=board.on_client)
    assert 1.5 < time.monotonic() - began < 10
    assert "ssh -p 2222 root@board" in refused.value.hint


def test_a_login_that_hangs_is_given_up_with_the_command_that_shows_it(
    board: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_GREETS_WITHIN_S", 2.0)
    monkeypatch.setattr(connection_module, "_LEAVES_WITHIN_S", 0.5)
    profile = "/run/home/plain/.bashrc"
    on_board(board, f"echo 'exec sleep 1000' > {profile}")
    try:
        with pytest.raises(BoardUnreachable, match="no agent has answered") as refused:
            connect(PLAIN, prefix=board.on_client)
    finally:
        on_board(board, f"rm {profile}")
    assert "ssh plain@board true" in refused.value.hint


def test_a_slow_sshd_costs_time_and_neither_the_board_nor_its_lease(board: Lab, doorman: Doorman) -> None:
    """The new connection that a night tries after each switch takes longer than the lease is."""
    with connect(BEHIND, prefix=board.on_client) as connection:
        connection.begin(study="lab", night=1, holder="test", lease_s=5.0)
        doorman.does("wait 6")
        assert connection.answers_afresh()
        assert connection.end().left == ()


def test_a_busy_sshd_that_turns_some_away_is_asked_again(board: Lab, doorman: Doorman) -> None:
    with connect(BEHIND, prefix=board.on_client) as connection:
        doorman.does("refuse 2")
        assert connection.answers_afresh()


def test_a_board_that_lets_nobody_new_in_is_told_from_one_that_does(
    board: Lab, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(BEHIND, prefix=board.on_client) as connection:
        assert connection.answers_afresh()
        monkeypatch.setattr(reaching, "_AFRESH_WITHIN_S", 1.0)
        doorman.does("refuse 100")
        assert not connection.answers_afresh()
        connection.keepalive()
