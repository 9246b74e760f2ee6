"""A board's address: what is one, what isn't, and that nothing in it can be an option or a command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.board.address import LocalBoard, SshBoard, read_address
from autotune.board.agent_start import ssh_argv
from autotune.errors import UsageError


def test_this_machine() -> None:
    assert read_address("local") == LocalBoard()


@pytest.mark.parametrize(
    ("text", "board"),
    [
        ("ssh://rock5b", SshBoard(host="rock5b")),
        ("ssh://radxa@rock5b.local:2222", SshBoard(host="rock5b.local", user="radxa", port=2222)),
        ("ssh://root@192.0.2.7", SshBoard(host="192.0.2.7", user="root")),
        ("ssh://root@[2001:db8::7]:22", SshBoard(host="2001:db8::7", user="root", port=22)),
        ("ssh://[fe80::1%eth0]", SshBoard(host="fe80::1%eth0")),
    ],
)
def test_a_machine_over_ssh(text: str, board: SshBoard) -> None:
    assert read_address(text) == board
    assert read_address(board.text) == board


@pytest.mark.parametrize(
    "text",
    [
        "", "rock5b", "ssh://", "ssh://@rock5b", "ssh://-oProxyCommand=x", "ssh://root@-oProxyCommand=x", "ssh://a b",
        "ssh://rock5b:0", "ssh://rock5b:65536", "ssh://rock5b:ssh", "ssh://root;id@rock5b", "ssh://rock5b/srv",
        "ssh://rock5b$(id)", "ssh://2001:db8::7", "ssh://[rock5b]", "ssh://-l@rock5b", "http://rock5b", "ssh://rock\n5b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_address(text)
    assert "ssh://user@host:port" in refused.value.hint


@given(st.text(max_size=60))
def test_whatever_is_accepted_reaches_ssh_as_a_name_and_never_as_an_option(text: str) -> None:
    try:
        board = read_address("ssh://" + text)
    except UsageError:
        return
    assert isinstance(board, SshBoard)
    argv = ssh_argv(board)
    assert argv[-2] == "--"
    assert not argv[-1].startswith("-")
    assert not set(argv[-1]) & set(" \t\n;&|$`'\"\\<>(){}*?!#~")
    assert read_address(board.text) == board
