"""A journal that somebody else wrote, or that broke: the restore does what a night's own journal could ask for, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_inputs import EXAMPLES, TEXTS, Json, mutated, steers_a_terminal, values
from hypothesis import given
from hypothesis import strategies as st

from autotune.agent import allowed
from autotune.agent.faults import Fault
from autotune.agent.journal import Journal, Story, is_token, parse
from autotune.agent.kernel_files import by_hand, group_of
from autotune.agent.places import Places
from autotune.board.connection import Connection
from autotune.errors import AutotuneError, BoardUnfit
from conftest import BoardNamespace, make_namespace

SOMAXCONN = "/proc/sys/net/core/somaxconn"
BEGIN: Json = {
    "entry": "BEGIN",
    "study": "s",
    "night": 1,
    "boot_id": "b",
    "netns": "1",
    "token": "0" * 16,
    "holder": "h",
    "kept": False,
    "since": "2026-01-01T00:00:00Z",
}
ENTRIES: list[Json] = [
    BEGIN,
    {"entry": "CREATED", "path": "/run/autotune/0000000000000000"},
    {
        "entry": "SERVICE",
        "name": "nginx",
        "manager": "systemd",
        "was": "running",
        "listen": [["0.0.0.0", 80]],
    },
    {"entry": "STOPPING", "name": "nginx", "pgid": 7, "start": 7},
    {"entry": "STOPPED", "name": "nginx"},
    {"entry": "WILL", "path": SOMAXCONN, "original": "4096"},
    {"entry": "WILL", "path": "tc:eth0/root", "original": "default mq fq_codel"},
    {"entry": "PROCESS", "token": "0" * 16, "program": "/usr/sbin/nginx", "pgid": 0, "start": 0},
    {"entry": "PROCESS", "token": "0" * 16, "pgid": 8, "start": 8},
    {"entry": "DID", "now": {SOMAXCONN: "1"}},
    {"entry": "KEPT"},
    {"entry": "RESTORED", "path": SOMAXCONN},
]


def lines(*entries: Json) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


# -- the bytes ----------------------------------------------------------------------------------------------------------


def require_harmless(story: Story) -> None:
    """Nothing in the story is beyond what a night may have done."""
    assert not steers_a_terminal(story.problem), story.problem
    if not story.begin:
        assert story.state in ("none", "clean", "torn")
        return
    assert is_token(story.token)
    assert set(story.begin) <= set(BEGIN)
    for word in ("study", "holder", "boot_id", "netns"):
        assert not steers_a_terminal(story.begin[word])
    for path, original in story.originals.items():
        assert _may_be_written(path), path
        assert "\n" not in by_hand(path, original)
    assert all(0 < one.pgid < 1 << 31 for one in story.processes)


def _may_be_written(path: str) -> bool:
    for member in (path, *group_of(path).table):
        try:
            allowed.check_form(member)
        except Fault:
            continue
        return True
    return False


def test_a_sound_journal_is_understood() -> None:
    story = parse(lines(*ENTRIES))
    assert (story.state, len(story.originals), story.kept) == ("open", 2, True)
    require_harmless(story)


@EXAMPLES
@given(mutated(ENTRIES), st.sampled_from([b"", b"{", b"\0\0\0"]))
def test_whatever_was_changed_in_a_journal_it_asks_for_nothing_new(entries: Json, tail: bytes) -> None:
    if isinstance(entries, list):
        require_harmless(parse(lines(*entries) + tail))


@EXAMPLES
@given(values)
def test_an_entry_of_any_shape_is_no_harm(entry: Json) -> None:
    require_harmless(parse(lines(BEGIN, entry, ENTRIES[5])))


@EXAMPLES
@given(st.binary(max_size=200), st.integers(0, len(ENTRIES)))
def test_junk_anywhere_in_a_journal_is_no_harm(junk: bytes, place: int) -> None:
    require_harmless(parse(lines(*ENTRIES[:place]) + junk + lines(*ENTRIES[place:])))


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_shown_to_be_done_by_hand_is_one_word_of_a_shell(text: str) -> None:
    story = parse(lines(BEGIN, {"entry": "WILL", "path": SOMAXCONN, "original": text}, ENTRIES[5]))
    for path, original in story.originals.items():
        done = subprocess.run(
            ["bash", "-c", by_hand("/dev/stdout", original)], capture_output=True, text=True, check=True
        )
        assert (path, done.stdout) == (SOMAXCONN, f"{original}\n")


@pytest.mark.parametrize("text", ["1; reboot", "$(reboot)", "on off", "default\nx", "x" * 100])
@pytest.mark.parametrize("path", ["tc:eth0/root", "ethtool:eth0/rx-usecs", "ethtool:eth0/tso"])
def test_a_cards_original_is_a_word_of_its_own(path: str, text: str) -> None:
    assert parse(lines(BEGIN, {"entry": "WILL", "path": path, "original": text}, BEGIN)).state == "torn"


def test_a_long_journal_is_read_without_holding_it(tmp_path: Path) -> None:
    """2 MB of a night's own lines, in a process whose peak is its own."""
    path = tmp_path / "journal"
    path.write_bytes(
        lines(BEGIN) + lines(ENTRIES[5], ENTRIES[8]) * (2_000_000 // len(lines(ENTRIES[5], ENTRIES[8])))
    )
    code = f"""
import os, resource, sys
sys.path.insert(0, {str(Path.cwd())!r})
from autotune.agent.journal import read_journal
from autotune.agent.places import Places
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
story = read_journal(Places(os.geteuid(), {str(tmp_path)!r}, ""))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, story.state)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    grown_kib, state = done.stdout.split()
    assert state == "open"
    assert int(grown_kib) < 1024


def test_a_journal_never_grows_beyond_what_can_be_read_back(tmp_path: Path) -> None:
    here = Places(os.geteuid(), str(tmp_path), str(tmp_path / "state"))
    journal = Journal.create(here, BEGIN)
    os.truncate(here.journal, (256 << 20) - 10)  # no byte of it is on the disk
    journal.close()
    journal = Journal(here, os.open(here.journal, os.O_WRONLY | os.O_APPEND))
    with pytest.raises(Fault, match="too long"):
        journal.append([ENTRIES[5]], sync=False)
    journal.close()


# -- a machine with such a journal --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def board() -> Iterator[BoardNamespace]:
    """A machine whose run directory is as a night leaves it."""
    for made in make_namespace():
        made.run("install", "-d", "-m", "755", "/run/autotune", "/var/lib/autotune", "/run/victim")
        made.write("/run/victim/file", "untouched")
        yield made


@pytest.fixture(scope="module")
def line(board: BoardNamespace) -> Connection:
    return board.connect()


def put(board: BoardNamespace, *entries: Json) -> None:
    board.run("rm", "-rf", "/run/autotune/journal")
    board.write("/run/autotune/journal", lines(*entries).decode())


def here(board: BoardNamespace) -> Json:
    """A BEGIN of this boot and namespace."""
    namespace = board.run("readlink", "/proc/self/ns/net").stdout.strip()
    return {**BEGIN, "boot_id": board.read("/proc/sys/kernel/random/boot_id"), "netns": namespace[5:-1]}


FORGED: dict[str, list[Json]] = {
    "a file of the system": [{"entry": "WILL", "path": "/etc/shadow", "original": "root::0:0:::::"}],
    "any other file": [{"entry": "WILL", "path": "/run/victim/file", "original": "gone"}],
    "around a corner": [
        {"entry": "WILL", "path": "/proc/sys/net/core/../../kernel/core_pattern", "original": "|/x"}
    ],
    "a kernel file of the deny list": [
        {"entry": "WILL", "path": "/proc/sys/kernel/core_pattern", "original": "|/x"}
    ],
    "an action": [{"entry": "WILL", "path": "/proc/sysrq-trigger", "original": "b"}],
    "two lines": [{"entry": "WILL", "path": SOMAXCONN, "original": "1\n2"}],
    "a path of another type": [{"entry": "WILL", "path": ["/etc/shadow"], "original": "x"}],
    "a service's name that leads elsewhere": [
        {"entry": "SERVICE", "name": "../../run/victim/file", "manager": "init", "listen": []}
    ],
    "a number of a process that can't be": [{"entry": "PROCESS", "token": "0" * 16, "pgid": -1, "start": 0}],
    "every process": [{"entry": "PROCESS", "token": "0" * 16, "pgid": True, "start": 0}],
    "an entry nobody knows": [{"entry": "EXECUTE", "program": "/bin/sh"}],
}


@pytest.mark.parametrize("entries", FORGED.values(), ids=FORGED)
def test_a_journal_that_asks_for_more_than_a_night_does_is_not_obeyed(
    board: BoardNamespace, line: Connection, entries: list[Json]
) -> None:
    before = board.read(SOMAXCONN), board.run("cat", "/etc/shadow", "/proc/sys/kernel/core_pattern").stdout
    put(board, here(board), *entries, {"entry": "WILL", "path": SOMAXCONN, "original": "7"})
    with pytest.raises(AutotuneError, match="line 2 can't be understood") as refused:
        line.end()
    assert refused.value.exit_code == 6
    assert "rm /run/autotune/journal" in refused.value.hint
    assert board.read("/run/victim/file") == "untouched"
    assert before == (
        board.read(SOMAXCONN),
        board.run("cat", "/etc/shadow", "/proc/sys/kernel/core_pattern").stdout,
    )


@pytest.mark.parametrize(
    "change",
    [{"token": "../../../victim"}, {"study": "\x1b[2J"}, {"holder": "x" * 500}, {"netns": 7}],
    ids=str,
)
def test_a_beginning_that_no_night_wrote_is_not_believed(
    board: BoardNamespace, line: Connection, change: Json
) -> None:
    put(board, {**here(board), **change}, ENTRIES[5])
    with pytest.raises(AutotuneError, match="line 1 can't be understood"):
        line.end()
    assert board.read("/run/victim/file") == "untouched"


def test_a_directory_that_a_journal_names_is_not_removed_unless_it_is_the_nights_own(
    board: BoardNamespace, line: Connection
) -> None:
    put(board, here(board), {"entry": "CREATED", "path": "/run/victim"}, {"entry": "CREATED", "path": "/"})
    assert line.end().left == ()
    assert board.read("/run/victim/file") == "untouched"


def test_processes_that_are_none_of_a_nights_live_on_whatever_a_journal_says(
    board: BoardNamespace, line: Connection
) -> None:
    with subprocess.Popen(board.command(["sleep", "100"]), start_new_session=True) as innocent:
        try:
            entries = [
                {"entry": kind, "name": "nginx", "token": "0" * 16, "pgid": pid, "start": _start(pid)}
                for kind in ("PROCESS", "STOPPING")
                for pid in (innocent.pid, board.pid, line.agent_pid)
            ]
            put(board, here(board), *entries)
            assert line.end().left == ()
            assert innocent.poll() is None
        finally:
            innocent.kill()
    assert board.exists("/run/victim")


def test_a_service_that_no_night_stops_is_not_started(board: BoardNamespace, line: Connection) -> None:
    put(
        board,
        here(board),
        {"entry": "SERVICE", "name": "ssh", "manager": "init", "was": "running", "listen": []},
    )
    [left] = line.end().left
    assert left.now == "(not one that a night stops, so it is not started)"


def test_the_values_of_another_boot_are_not_written(board: BoardNamespace, line: Connection) -> None:
    before = board.read(SOMAXCONN)
    put(board, {**here(board), "boot_id": "another"}, {"entry": "WILL", "path": SOMAXCONN, "original": "7"})
    assert line.end().left == ()
    assert board.read(SOMAXCONN) == before
    assert not board.exists("/run/autotune/journal")


def _start(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


IN_ITS_PLACE = {
    "a link": "ln -s /run/victim/file {}",
    "a pipe": "mkfifo {}",
    "a directory": "mkdir {}",
    "everybody's file": "touch {0}; chmod 666 {0}",
    "somebody's file": "touch {0}; chown 65534 {0}",
}


@pytest.mark.parametrize("make", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
@pytest.mark.parametrize("name", ["journal", "lock"])
def test_what_stands_in_the_place_of_journal_or_lock_is_refused_at_once(
    board: BoardNamespace, line: Connection, name: str, make: str
) -> None:
    board.run("sh", "-c", "rm -rf /run/autotune/*; " + make.format(f"/run/autotune/{name}"))
    with pytest.raises(BoardUnfit, match=f"/run/autotune/{name} is not a plain file of user 0 alone"):
        line.begin(study="s", night=1, holder="h", lease_s=60)
    if name == "journal":
        with pytest.raises(BoardUnfit, match="not a plain file"):
            line.status()
    assert board.read("/run/victim/file") == "untouched"
    board.run("sh", "-c", "rm -rf /run/autotune/*")


def test_a_journal_longer_than_any_nights_is_refused_before_it_is_read(
    board: BoardNamespace, line: Connection
) -> None:
    put(board, here(board))
    board.run("truncate", "-s", "10G", "/run/autotune/journal")
    with pytest.raises(AutotuneError, match="longer than 256 MiB"):
        line.end()
    board.run("rm", "/run/autotune/journal")


@pytest.mark.parametrize("place", ["/run/autotune", "/var/lib/autotune"])
@pytest.mark.parametrize(
    ("make", "told"),
    [
        ("ln -s /run/victim {}", "symbolic link"),
        ("mkdir -m 777 {}", "written by others"),
        ("install -d -o 65534 {}", "belongs to user 65534"),
        ("touch {}", "not a directory"),
    ],
)
def test_a_directory_that_somebody_else_prepared_is_not_used(
    board: BoardNamespace, line: Connection, place: str, make: str, told: str
) -> None:
    board.run("sh", "-c", f"rm -rf {place}; " + make.format(place))
    try:
        with pytest.raises(BoardUnfit, match=told):
            line.begin(study="s", night=1, holder="h", lease_s=60)
        assert board.run("ls", "/run/victim").stdout == "file\n"
    finally:
        board.run("sh", "-c", f"rm -rf {place}; mkdir -m 755 {place}")


def test_a_night_begins_where_nothing_of_it_all_is_left(board: BoardNamespace, line: Connection) -> None:
    board.run("sh", "-c", "rm -rf /run/autotune/*")
    line.begin(study="s", night=1, holder="h", lease_s=60)
    assert line.end().left == ()
