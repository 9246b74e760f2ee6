"""Switching whole configurations on a real kernel with a real nginx."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from serving import (
    ADDRESS,
    DIRTY_BYTES,
    DIRTY_RATIO,
    FIN_TIMEOUT,
    MIN_FREE,
    PAGE,
    PORT,
    RMEM,
    SOMAXCONN,
    THP,
    NightHere,
    begin,
    leftovers,
    truth_of,
    with_truth,
    within,
)

from autotune.board.records import Write
from autotune.errors import AutotuneError
from conftest import BoardNamespace

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx")]


@pytest.fixture
def night(board_namespace: BoardNamespace) -> NightHere:
    return begin(board_namespace)


def test_a_switch_writes_starts_and_proves(night: NightHere) -> None:
    switched = night.serve(Write(path=SOMAXCONN, text="2222"), workers=2)
    assert night.value(SOMAXCONN) == "2222"
    assert [(one.effective, one.error) for one in switched.effects] == [("2222", "")]
    [page] = switched.urls
    assert (page.status, page.length) == (200, len(PAGE))
    assert page.wire_bytes > page.length + 100
    assert len(switched.worker_pids) == 2
    assert {"journal", "writes", "read_back", "stop", "start", "canary"} <= set(switched.timings_ms)


def test_what_a_switch_does_not_name_goes_back(night: NightHere) -> None:
    before = night.value(SOMAXCONN), night.value(FIN_TIMEOUT)
    night.line.switch((Write(path=SOMAXCONN, text="2222"), Write(path=FIN_TIMEOUT, text="31")), None)
    night.line.switch((Write(path=FIN_TIMEOUT, text="32"),), None)
    assert (night.value(SOMAXCONN), night.value(FIN_TIMEOUT)) == (before[0], "32")
    night.line.switch((), None)
    assert (night.value(SOMAXCONN), night.value(FIN_TIMEOUT)) == before


def test_every_switch_has_a_fresh_server_and_none_of_the_old_one(night: NightHere) -> None:
    first = night.serve(workers=2)
    second = night.serve(workers=1)
    running = {pid for pid, name, _ in night.board.processes() if name == "nginx"}
    assert running == {second.master_pid, *second.worker_pids}
    assert not running & {first.master_pid, *first.worker_pids}


def test_a_server_whose_master_was_killed_is_replaced_all_the_same(night: NightHere) -> None:
    first = night.serve(workers=2)
    os.kill(first.master_pid, signal.SIGKILL)
    second = night.serve(workers=2)
    running = {pid for pid, name, _ in night.board.processes() if name == "nginx"}
    assert running == {second.master_pid, *second.worker_pids}


def test_a_switch_without_a_server_leaves_none_running(night: NightHere) -> None:
    night.serve()
    night.line.switch((), None)
    assert not [name for _, name, _ in night.board.processes() if name == "nginx"]


def test_a_refused_vector_leaves_no_element_changed(night: NightHere) -> None:
    before = night.value(RMEM)
    switched = night.line.switch((Write(path=RMEM, text="4096 5000 99999999999"),), night.order())
    assert (switched.step, switched.blame) == ("write", "configuration")
    assert "Invalid argument" in switched.effects[0].error
    assert night.value(RMEM) == before
    assert switched.master_pid == 0


def test_tabs_and_brackets_are_read_back_as_one_would_write_them(night: NightHere) -> None:
    switched = night.line.switch((Write(path=RMEM, text="4096 65536 131072"),), None)
    assert switched.effects[0].effective == "4096 65536 131072"
    effects = night.line.check((THP,))
    assert effects[0].error == ""
    assert f"[{effects[0].effective}]" in night.board.read(THP)


def test_checking_writes_a_value_back_into_itself(night: NightHere) -> None:
    before = night.value(SOMAXCONN)
    [effect] = night.line.check((SOMAXCONN,))
    assert (effect.requested, effect.effective, effect.error) == (before, before, "")
    assert [one.error for one in night.line.check((DIRTY_RATIO, DIRTY_BYTES))] == ["", ""]
    [missing] = night.line.check(("/proc/sys/net/ipv4/tcp_no_such_thing",))
    assert "No such file" in missing.error


@pytest.fixture
def untouched_memory_settings() -> Iterator[dict[str, str]]:
    """vm.* and THP belong to the whole machine: proves they are as before, and puts them back if a test fails."""
    paths = (DIRTY_RATIO, DIRTY_BYTES, THP, MIN_FREE)
    before = {path: _word(path) for path in paths}
    yield before
    after = {path: _word(path) for path in paths}
    for path in (THP, MIN_FREE, DIRTY_BYTES if before[DIRTY_BYTES] != "0" else DIRTY_RATIO):
        if after[path] != before[path]:
            with open(path, "w") as file:  # noqa: PTH123 - a kernel file
                file.write(before[path])
    assert after == before


def _word(path: str) -> str:
    with open(path) as file:  # noqa: PTH123 - a kernel file
        text = file.read().strip()
    return text.split("[")[1].split("]")[0] if "[" in text else text


def test_the_dirty_pair_comes_back_though_one_clears_the_other(
    night: NightHere, untouched_memory_settings: dict[str, str]
) -> None:
    night.line.switch((Write(path=DIRTY_BYTES, text="104857600"),), None)
    assert (night.value(DIRTY_BYTES), night.value(DIRTY_RATIO)) == ("104857600", "0")
    night.line.switch((Write(path=DIRTY_RATIO, text="7"),), None)
    assert (night.value(DIRTY_BYTES), night.value(DIRTY_RATIO)) == ("0", "7")
    night.line.switch((Write(path=DIRTY_BYTES, text="104857600"),), None)
    ended = night.line.end()
    assert set(ended.restored) == {DIRTY_RATIO, DIRTY_BYTES}
    assert night.value(DIRTY_RATIO) == untouched_memory_settings[DIRTY_RATIO]


def test_huge_pages_take_the_memory_reserve_with_them_and_bring_it_back(
    night: NightHere, untouched_memory_settings: dict[str, str]
) -> None:
    other = "never" if untouched_memory_settings[THP] != "never" else "always"
    switched = night.line.switch((Write(path=THP, text=other),), None)
    assert switched.effects[0].effective == other
    # What the kernel moved by itself is no foreign change.
    assert night.line.switch((Write(path=THP, text=other),), None).foreign == ()
    ended = night.line.end()
    assert {THP, MIN_FREE} == set(ended.restored)


def test_a_member_of_a_group_is_not_left_behind_when_another_is_chosen(
    night: NightHere, untouched_memory_settings: dict[str, str]
) -> None:
    reserve = str(int(untouched_memory_settings[MIN_FREE]) + 4096)
    night.line.switch((Write(path=MIN_FREE, text=reserve),), None)
    night.line.switch((Write(path=THP, text=untouched_memory_settings[THP]),), None)
    assert night.value(MIN_FREE) == untouched_memory_settings[MIN_FREE]


def test_a_value_changed_by_someone_else_is_reported_and_left_alone_until_the_end(night: NightHere) -> None:
    before = night.value(SOMAXCONN)
    night.line.switch((Write(path=SOMAXCONN, text="2222"),), None)
    night.board.write(SOMAXCONN, "3333")
    switched = night.line.switch((Write(path=SOMAXCONN, text="2222"),), None)
    assert switched.foreign == (SOMAXCONN,)
    assert switched.effects[0].effective == "3333"
    assert night.line.switch((), None).foreign == (SOMAXCONN,)
    assert night.value(SOMAXCONN) == "3333"
    night.line.end()
    assert night.value(SOMAXCONN) == before


@pytest.mark.parametrize(
    "write",
    [
        Write(path="/proc/sys/kernel/sysrq", text="1"),
        Write(path="/proc/sys/fs/nr_open", text="1024"),
        Write(path="/etc/passwd", text="x"),
        Write(path=SOMAXCONN, text="1\n2"),
        Write(path=SOMAXCONN, text="$(id)"),
    ],
)
def test_one_write_off_the_list_changes_nothing_at_all(night: NightHere, write: Write) -> None:
    switched = night.serve()
    before = night.value(FIN_TIMEOUT)
    with pytest.raises(AutotuneError):
        night.line.switch((Write(path=FIN_TIMEOUT, text="31"), write), night.order())
    assert night.value(FIN_TIMEOUT) == before
    assert switched.master_pid in [pid for pid, _, _ in night.board.processes()]


def test_nothing_is_written_before_a_night_has_begun(board_namespace: BoardNamespace) -> None:
    line = board_namespace.connect()
    before = board_namespace.read(SOMAXCONN)
    with pytest.raises(AutotuneError, match="nothing was begun"):
        line.switch((Write(path=SOMAXCONN, text="2222"),), None)
    assert board_namespace.read(SOMAXCONN) == before
    assert not board_namespace.exists("/run/autotune")


# -- an nginx that doesn't do ---------------------------------------------------------------------------------------------


def test_a_directive_that_nginx_rejects_is_told_in_its_own_words(night: NightHere) -> None:
    conf = night.conf(http="no_such_directive on;")
    switched = night.line.switch((), night.order(conf))
    assert (switched.step, switched.blame) == ("nginx", "configuration")
    assert 'unknown directive "no_such_directive"' in switched.reason
    night.serve()


def test_a_port_that_is_taken_is_the_environments_fault(night: NightHere) -> None:
    with _listener(night.board, "0.0.0.0"):
        switched = night.line.switch((), night.order())
        assert (switched.step, switched.blame) == ("nginx", "environment")
        assert "is taken by python3" in switched.reason
    night.serve()


def test_two_servers_that_share_a_port_by_reuseport_are_found_out(night: NightHere) -> None:
    conf = night.conf(listen="reuseport")
    assert night.line.switch((), night.order(conf)).step == ""
    other = conf.replace("/nginx.pid", "/other.pid").replace("error.log", "other.log")
    run = night.begun.conf_path.removesuffix("/nginx.conf")
    night.board.write(run + "/other.conf", other)
    with _running(night.board.command(["nginx", "-e", "stderr", "-p", run, "-c", run + "/other.conf"])):
        assert within(5, lambda: _listeners_on_the_port(night.board) == 2)
        # Another listener that came before us: our own start finds it.
        switched = night.line.switch((), night.order(conf))
        assert switched.blame == "environment"
        assert "nginx (pid" in switched.reason


def test_a_listener_that_joins_between_start_and_canary_is_found_out(night: NightHere) -> None:
    conf = night.conf(listen="reuseport", workers=24)  # time enough to join
    with _joining(night.board):
        switched = night.line.switch((), night.order(conf, workers=24))
        assert (switched.step, switched.blame) == ("canary", "environment")
        assert "python3" in switched.reason
        assert "takes a share" in switched.reason


def test_fewer_workers_than_ordered_are_not_a_server(night: NightHere) -> None:
    conf = night.conf(workers=1)
    switched = night.line.switch((), replace(night.order(conf), workers=2))
    assert switched.step == "canary"
    assert "1 workers came up, 2 were ordered" in switched.reason


def test_more_workers_than_ordered_are_not_the_server_that_was_ordered(night: NightHere) -> None:
    for _ in range(5):  # the last worker comes milliseconds after the others
        switched = night.line.switch((), replace(night.order(night.conf(workers=3)), workers=2))
        assert (switched.step, switched.reason) == ("canary", "3 workers came up, 2 were ordered")


def test_an_alert_in_the_error_log_is_a_failure(night: NightHere) -> None:
    conf = night.conf(main="worker_rlimit_nofile 99999999;")
    switched = night.line.switch((), night.order(conf))
    assert (switched.step, switched.blame) == ("canary", "configuration")
    assert "[alert]" in switched.reason


def test_an_nginx_that_is_killed_during_the_switch_is_not_its_configurations_fault(night: NightHere) -> None:
    slow = night.order(night.conf(server="limit_rate 100;"))  # the canary's GET would take ten seconds

    def kill_worker() -> None:
        workers = [pid for pid, _, line in night.board.processes() if line.startswith("nginx: worker")]
        os.kill(workers[0], signal.SIGKILL)

    timer = threading.Timer(1.0, kill_worker)
    timer.start()
    switched = night.line.switch((), slow)
    timer.join()
    assert (switched.step, switched.blame) == ("canary", "environment")
    assert "was killed" in switched.reason
    night.serve()


def test_a_page_that_differs_from_stocks_is_a_failure(night: NightHere) -> None:
    stock = truth_of(night.serve())
    order = with_truth(night.order(), stock)
    assert night.line.switch((), order).step == ""
    redirect = with_truth(night.order(night.conf(server="return 302 /elsewhere;")), stock)
    switched = night.line.switch((), redirect)
    assert (switched.step, switched.blame) == ("canary", "configuration")
    assert "status 302, stock answers 200" in switched.reason
    other = replace(stock[0], sha256="0" * 64)
    assert "bytes as stock, but others" in night.line.switch((), with_truth(order, (other,))).reason
    longer = replace(stock[0], length=5)
    assert "stock sends 5" in night.line.switch((), with_truth(order, (longer,))).reason


def test_a_chunked_answer_is_read_whole(night: NightHere) -> None:
    conf = night.conf(server="ssi on; ssi_types *;")
    switched = night.line.switch((), night.order(conf))
    [page] = switched.urls
    assert (switched.step, page.status, page.length) == ("", 200, len(PAGE))


def test_no_server_is_left_by_a_failed_switch(night: NightHere) -> None:
    night.line.switch((), night.order(night.conf(main="worker_rlimit_nofile 99999999;")))
    assert not [name for _, name, _ in night.board.processes() if name == "nginx"]


def test_a_configuration_that_leads_out_is_never_started(night: NightHere) -> None:
    with pytest.raises(AutotuneError, match="load_module"):
        night.line.switch((), night.order(night.conf(main="load_module /tmp/evil.so;")))


def test_workers_stay_on_the_servers_cpus(night: NightHere) -> None:
    cpus = night.line.facts.cpus
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    pinned = replace(night.order(), cpus=cpus[1:])
    switched = night.line.switch((), pinned)
    assert switched.step == ""
    done = subprocess.run(
        ["taskset", "-pc", str(switched.worker_pids[0])], capture_output=True, text=True, check=True
    )
    assert done.stdout.split(": ")[1].strip() in (str(cpus[1]), f"{cpus[1]}-{cpus[-1]}")
    strayed = night.conf(main=f"worker_cpu_affinity {1 << cpus[0]:b};")
    switched = night.line.switch((), replace(night.order(strayed), cpus=cpus[1:]))
    assert (switched.step, switched.blame) == ("canary", "configuration")
    assert "may run on CPUs" in switched.reason


def test_logs_are_empty_at_every_switch(night: NightHere) -> None:
    night.serve()
    log = night.begun.log_dir + "/access.log"
    night.board.run("sh", "-c", f'head -c 1000000 /dev/zero >> "{log}"')
    night.serve()
    assert len(night.board.read(log)) < 1000


def test_forty_kernel_values_and_a_server_are_switched_in_milliseconds(night: NightHere) -> None:
    names = night.board.run("sh", "-c", "ls -d /proc/sys/net/ipv4/tcp_* /proc/sys/net/core/*").stdout.split()
    found = night.line.read(names)
    ones = [
        path
        for path, reading in found.items()
        if reading.writable
        and (reading.text or "").strip() in ("0", "1", "2", "3")
        and "fastopen" not in path
    ]
    writable = []
    for path in ones:
        try:
            night.line.switch((Write(path=path, text="1"),), None)
        except AutotuneError:
            continue
        writable.append(path)
    writes = [tuple(Write(path=path, text=text) for path in writable[:40]) for text in ("0", "1")]
    spent = []
    for turn in range(6):
        began = time.monotonic()
        night.line.switch(writes[turn % 2], night.order(workers=2))
        spent.append(time.monotonic() - began)
    assert len(writes[0]) >= 20
    assert (
        sorted(spent)[len(spent) // 2] < 0.5
    )  # the promise is 60 ms; this machine is shared with other tests
    assert night.line.end().left == ()


def test_everything_is_gone_after_the_end(night: NightHere) -> None:
    before = night.value(SOMAXCONN)
    night.serve(Write(path=SOMAXCONN, text="2222"), workers=2)
    ended = night.line.end()
    assert ended.left == ()
    assert ended.restored == (SOMAXCONN,)
    assert night.value(SOMAXCONN) == before
    assert leftovers(night.board) == []
    assert not night.board.exists("/var/lib/autotune")
    night.line.close()
    assert night.board.processes() == []


# -- others on the port ---------------------------------------------------------------------------------------------------

_LISTEN = f"""
import socket, sys, time
line = socket.socket()
line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
line.bind((sys.argv[1], {PORT})); line.listen()
print("ready", flush=True); time.sleep(60)
"""
# Is bound to our address beforehand, and listens as soon as someone else does.
_JOIN = f"""
import socket, time
line = socket.socket()
line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
line.bind(("{ADDRESS}", {PORT}))
print("ready", flush=True)
while socket.socket().connect_ex(("{ADDRESS}", {PORT})):
    pass
line.listen(); time.sleep(60)
"""


def _listeners_on_the_port(board: BoardNamespace) -> int:
    return board.read("/proc/net/tcp").count(f":{PORT:04X} 00000000:0000 0A")


class _running:  # noqa: N801 - used as a function
    def __init__(self, argv: list[str], *, ready: bool = False) -> None:
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE if ready else subprocess.DEVNULL)
        if ready:
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"ready\n"

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


def _listener(board: BoardNamespace, address: str) -> _running:
    return _running(board.command(["python3", "-c", _LISTEN, address]), ready=True)


def _joining(board: BoardNamespace) -> _running:
    return _running(board.command(["python3", "-c", _JOIN]), ready=True)
