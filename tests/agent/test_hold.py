"""Holding a board: one tuner at a time, in places that nobody else can have prepared."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ADDRESS, PORT, SOMAXCONN, begin, leftovers, load_order, within

from autotune.board.connection import connect
from autotune.board.records import Listener, PutFile, ServerOrder, Write
from autotune.errors import AutotuneError, BoardBusy, BoardUnfit, BoardUnreachable, UsageError
from conftest import NOBODY, BoardNamespace

pytestmark = pytest.mark.real


def test_a_second_tuner_is_told_who_holds_the_board(board_namespace: BoardNamespace) -> None:
    first = begin(board_namespace, study="alpha")
    with pytest.raises(BoardBusy, match="held by a test, study alpha") as refusal:
        begin(board_namespace, study="beta")
    assert "autotune stop" in refusal.value.hint
    second = board_namespace.connect()
    assert second.status().held_by == "a test, study alpha"
    with pytest.raises(BoardBusy):
        second.end()
    first.line.end()
    assert second.status().held_by == ""
    begin(board_namespace, study="beta").line.end()


def test_no_program_that_the_agent_starts_inherits_its_lock(
    board_namespace: BoardNamespace, real_nginx: str
) -> None:
    night = begin(board_namespace)
    switched = night.serve()
    for pid in (switched.master_pid, *switched.worker_pids):
        targets = [str(handle.readlink()) for handle in Path(f"/proc/{pid}/fd").iterdir()]
        assert "/run/autotune/lock" not in targets
        assert "/run/autotune/journal" not in targets


def test_looking_leaves_no_trace(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    status = line.status()
    assert (status.held_by, status.journal, status.changed) == ("", "none", ())
    line.read((SOMAXCONN, "/etc/nginx/nginx.conf"))
    line.counters()
    assert line.end().restored == ()
    assert not board_namespace.exists("/run/autotune")
    assert not board_namespace.exists("/var/lib/autotune")


def test_a_night_lasts_as_long_as_its_files(board_namespace: BoardNamespace) -> None:
    night = begin(board_namespace)
    run = os.path.dirname(night.begun.conf_path)  # noqa: PTH120 - a path on another machine
    assert board_namespace.read(night.begun.www_dir + "/page.html").startswith("It works.")
    assert (
        board_namespace.run("stat", "-c%a %u", "/run/autotune", run, night.begun.www_dir).stdout.split()
        == ["755", "0"] * 3
    )
    assert {"BEGIN"} <= set(board_namespace.read("/run/autotune/journal").split('"'))
    night.line.end()
    assert leftovers(board_namespace) == []
    with pytest.raises(AutotuneError, match="nothing was begun"):
        night.line.switch((), None)


def test_one_agent_can_hold_night_after_night(board_namespace: BoardNamespace) -> None:
    night = begin(board_namespace)
    with pytest.raises(AutotuneError, match="holds the board already"):
        night.line.begin(study="again", night=2, holder="h", lease_s=60)
    night.line.end()
    assert night.line.begin(study="again", night=2, holder="h", lease_s=60).token != night.begun.token
    night.line.end()


@pytest.mark.parametrize(
    ("preparation", "complaint"),
    [
        ("mkdir /run/there; ln -s /run/there /run/autotune", "symbolic link"),
        ("mkdir -m 777 /run/autotune", "can be written by others"),
        ("mkdir /run/autotune; chown 65534 /run/autotune", "belongs to user 65534"),
        ("touch /run/autotune", "not a directory"),
        ("mkdir /run/autotune; touch /run/autotune/lock; chmod 666 /run/autotune/lock", "not a plain file"),
        ("mkdir /var/lib/autotune; chmod 777 /var/lib/autotune", "can be written by others"),
        ("ln -s /etc /var/lib/autotune", "symbolic link"),
    ],
)
def test_a_place_that_someone_else_has_prepared_is_refused(
    board_namespace: BoardNamespace, preparation: str, complaint: str
) -> None:
    board_namespace.run("sh", "-c", preparation)
    with pytest.raises(AutotuneError, match=complaint):
        begin(board_namespace)
    assert not [name for _, name, _ in board_namespace.processes() if name == "autotune-guard"]


def test_a_lock_behind_a_symbolic_link_is_not_followed(board_namespace: BoardNamespace) -> None:
    board_namespace.run(
        "sh", "-c", "mkdir /run/autotune; echo precious > /run/x; ln -s /run/x /run/autotune/lock"
    )
    with pytest.raises(AutotuneError):
        begin(board_namespace)
    assert board_namespace.read("/run/x") == "precious"


def test_a_full_run_directory_stops_before_anything_is_written(board_namespace: BoardNamespace) -> None:
    board_namespace.run("sh", "-c", "head -c 100000000 /dev/zero > /run/full")
    before = board_namespace.read(SOMAXCONN)
    with pytest.raises(BoardUnfit, match="No space left"):
        begin(board_namespace)
    assert board_namespace.read(SOMAXCONN) == before
    assert leftovers(board_namespace) == []


def test_with_a_run_directory_that_fills_up_everything_is_still_put_back(
    board_namespace: BoardNamespace,
) -> None:
    before = board_namespace.read(SOMAXCONN)
    night = begin(board_namespace)
    night.line.switch((Write(path=SOMAXCONN, text="2222"),), None)
    board_namespace.run("sh", "-c", "head -c 100000000 /dev/zero > /run/full")
    ended = night.line.end()
    assert (ended.left, board_namespace.read(SOMAXCONN)) == ((), before)
    assert leftovers(board_namespace) == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_served_file_cannot_be_put_elsewhere(board_namespace: BoardNamespace, name: str) -> None:
    line = board_namespace.connect()
    file = PutFile(name=name, content_base64=base64.b64encode(b"x").decode("ascii"))
    with pytest.raises(AutotuneError, match="not a plain relative file name"):
        line.begin(study="s", night=1, holder="h", lease_s=60, files=(file,))
    assert not board_namespace.exists("/run/autotune")


def test_files_in_directories_are_served_from_there(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    files = tuple(
        PutFile(name=name, content_base64=base64.b64encode(name.encode()).decode("ascii"))
        for name in ("a/b/c.txt", "a/d")
    )
    begun = line.begin(study="s", night=1, holder="h", lease_s=60, files=files)
    assert board_namespace.read(begun.www_dir + "/a/b/c.txt") == "a/b/c.txt"
    line.end()


def test_nothing_of_the_agent_is_left_on_the_disk(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    targets = [str(handle.readlink()) for handle in Path(f"/proc/{line.agent_pid}/fd").iterdir()]
    assert [target for target in targets if target.startswith("/memfd:autotune-agent")]
    assert not [target for target in targets if target.endswith((".py", ".zip"))]


def test_the_agent_is_small(board_namespace: BoardNamespace, real_nginx: str) -> None:
    night = begin(board_namespace)
    for turn in range(30):
        night.serve(Write(path=SOMAXCONN, text=str(2000 + turn)))
    for pid, name, _ in board_namespace.processes():
        if name in ("python3", "autotune-guard"):
            words = Path(f"/proc/{pid}/status").read_text().split()
            assert int(words[words.index("VmRSS:") + 1]) < 40_000


def test_the_agent_runs_on_the_oldest_python_it_is_meant_for(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [shutil.which("python3.9"), *map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))]
    oldest = next(
        (path for path in found if path and subprocess.run([path, "-V"], check=False).returncode == 0), None
    )
    if oldest is None:
        pytest.skip("needs a Python 3.9")
    monkeypatch.setattr(sys, "executable", oldest)
    night = begin(board_namespace)
    assert night.line.facts.python.startswith("3.9.")
    before = night.value(SOMAXCONN)
    night.serve(Write(path=SOMAXCONN, text="2222"))
    assert night.line.load(load_order(warmup_s=0)).measured.exit_code == 0
    os.kill(night.line.agent_pid, signal.SIGKILL)
    assert within(2.0, lambda: night.value(SOMAXCONN) == before and leftovers(board_namespace) == [])
    assert night.board.connect().end().left == ()


# -- without root ---------------------------------------------------------------------------------------------------------

CHECKOUT = Path(__file__).resolve().parents[2]
# A /tmp of its own; a checkout below /tmp stays where it is, because its Python is what runs the agent.
EMPTY_TMP = """
mkdir /run/kept
mount --bind "$1" /run/kept
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p "$1"
mount --move /run/kept "$1"
rmdir /run/kept
"""


def test_without_root_a_night_of_nginx_alone_is_permitted(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str
) -> None:
    done = board_namespace.run("sh", "-ec", EMPTY_TMP, "sh", str(CHECKOUT))
    assert done.returncode == 0, done.stderr
    night = begin(board_namespace, uid=NOBODY)
    assert night.line.facts.uid == NOBODY
    assert night.begun.conf_path.startswith(f"/tmp/autotune-{NOBODY}/")
    readings = night.line.read((SOMAXCONN,))
    assert not readings[SOMAXCONN].writable
    assert readings[SOMAXCONN].text is not None
    assert night.line.switch((), night.order()).step == ""
    seen = night.line.load(load_order(warmup_s=0, duration_s=1))
    assert '"requests"' in seen.measured.stdout
    switched = night.line.switch((Write(path=SOMAXCONN, text="2222"),), None)
    assert switched.step == "write"
    assert switched.effects[0].error.startswith("Permission denied")
    assert night.line.end().left == ()


def test_without_root_the_users_own_run_directory_is_used(board_namespace: BoardNamespace) -> None:
    board_namespace.run("install", "-d", "-o", str(NOBODY), "-m", "700", f"/run/user/{NOBODY}")
    night = begin(board_namespace, uid=NOBODY)
    assert night.begun.conf_path.startswith(f"/run/user/{NOBODY}/autotune/")
    night.line.end()
    assert board_namespace.run("find", f"/run/user/{NOBODY}", "-type", "f").stdout.split() == [
        f"/run/user/{NOBODY}/autotune/lock"
    ]


def test_without_root_nobody_tunes_beside_root(board_namespace: BoardNamespace) -> None:
    board_namespace.run("install", "-d", "-o", str(NOBODY), "-m", "700", f"/run/user/{NOBODY}")
    first = begin(board_namespace, study="roots")
    with pytest.raises(BoardBusy, match="study roots"):
        begin(board_namespace, uid=NOBODY)
    first.line.end()
    begin(board_namespace, uid=NOBODY).line.end()


def test_without_root_a_low_port_is_the_environments_refusal(
    board_namespace: BoardNamespace, real_nginx: str
) -> None:
    board_namespace.run("install", "-d", "-o", str(NOBODY), "-m", "700", f"/run/user/{NOBODY}")
    board_namespace.write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024")
    night = begin(board_namespace, uid=NOBODY)
    conf = night.conf().replace(f"{ADDRESS}:{PORT}", f"{ADDRESS}:80")
    listen = (Listener(address=ADDRESS, port=80),)
    order = ServerOrder(conf=conf, workers=1, listen=listen, cpus=(), urls=())
    switched = night.line.switch((), order)
    assert (switched.step, switched.blame) == ("nginx", "environment")
    assert "Permission denied" in switched.reason


# -- reading --------------------------------------------------------------------------------------------------------------


def test_reading_says_what_can_be_had_and_what_not(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    missing, secret = "/proc/sys/net/core/no_such_thing", "/etc/shadow"
    readings = line.read((SOMAXCONN, missing, secret, "/proc/sys/net/core/rmem_max"))
    assert readings[SOMAXCONN].writable
    assert readings[SOMAXCONN].text == board_namespace.read(SOMAXCONN) + "\n"
    assert (readings[missing].text, readings[missing].error) == (None, "No such file or directory")
    assert readings[secret].text is None
    assert "not on the agent's list" in readings[secret].error
    if readings["/proc/sys/net/core/rmem_max"].text is not None:
        assert not readings["/proc/sys/net/core/rmem_max"].writable  # of the first network namespace alone


def test_a_star_reads_a_directory_of_nginxs(board_namespace: BoardNamespace, real_nginx: str) -> None:
    readings = board_namespace.connect().read(("/etc/nginx/*", "/etc/nginx/no-such-directory/*"))
    assert "/etc/nginx/mime.types" in readings
    assert readings["/etc/nginx/no-such-directory/*"].text is None


def test_a_configuration_that_others_could_have_written_is_not_roots_to_run(
    board_namespace: BoardNamespace,
) -> None:
    board_namespace.run("sh", "-c", "mount -t tmpfs tmpfs /etc/nginx; echo x > /etc/nginx/nginx.conf")
    board_namespace.run("ln", "-s", "/etc/passwd", "/etc/nginx/leads-out")
    line = board_namespace.connect()
    path = "/etc/nginx/nginx.conf"
    assert line.read((path,))[path].text == "x\n"
    board_namespace.run("chmod", "666", path)
    assert "not root's alone" in line.read((path,))[path].error
    board_namespace.run("sh", "-c", f"chmod 644 {path}; chown 65534 {path}")
    assert "not root's alone" in line.read((path,))[path].error
    out = "/etc/nginx/leads-out"
    assert "leads to /etc/passwd" in line.read((out,))[out].error


# -- the line -------------------------------------------------------------------------------------------------------------


def test_what_is_no_address_is_not_reached() -> None:
    with pytest.raises(UsageError, match="http://board"):
        connect("http://board")


def test_an_agent_that_cannot_start_is_told_with_its_last_words() -> None:
    with pytest.raises(BoardUnreachable, match="can't be started"):
        connect("local", prefix=("/no/such/program",))
    with pytest.raises(BoardUnreachable, match=r"gone \(exit code 3\): out of luck"):
        connect("local", prefix=("sh", "-c", "echo out of luck >&2; exit 3", "sh"))


def test_a_damaged_agent_does_not_run() -> None:
    damage = ("sh", "-c", 'head -c 50000 | tr a b | "$@"', "sh")
    with pytest.raises(BoardUnreachable, match=r"incomplete|damaged"):
        connect("local", prefix=damage)


def test_a_line_closes_twice_without_a_word(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    line.close()
    line.close()
    with pytest.raises(BoardUnreachable):
        line.status()


def test_a_stranger_at_the_agents_input_gets_an_error_and_no_harm(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    line._send(b'garbage\n{"id":2}\n[]\n\n{"id":3,"verb":"switch","body":{"writes":"x"}}\n')
    line._number = 3
    assert line.status().journal == "none"


def test_ctrl_c_at_the_terminal_is_not_the_agents(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    assert os.getsid(line.agent_pid) == line.agent_pid != os.getsid(0)


def test_modes_of_what_a_user_makes_are_private(board_namespace: BoardNamespace) -> None:
    board_namespace.run("install", "-d", "-o", str(NOBODY), "-m", "700", f"/run/user/{NOBODY}")
    night = begin(board_namespace, uid=NOBODY)
    mode = int(board_namespace.run("stat", "-c%f", f"/run/user/{NOBODY}/autotune").stdout, 16)
    assert stat.S_IMODE(mode) == 0o700
    os.kill(night.line.agent_pid, signal.SIGKILL)
    assert within(
        1.0, lambda: not [name for _, name, _ in board_namespace.processes() if name == "autotune-guard"]
    )
