"""The spool: what it was given is there after any death, goes into the database once, and never into a log that it doesn't fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_examples import AT, a_night, a_sample, a_study

from autotune.errors import StorageError
from autotune.experiment.events import Event, Gap, Void
from autotune.storage.spool import ROOM_BYTES, Kept, Spool, Stored
from autotune.storage.store import Store
from conftest import BoardNamespace

GAP = Gap(night=1, at=AT, seconds=3.0, reason="a test")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database with a study, whose log has two events."""
    with Store.open(f"sqlite:///{tmp_path}/autotune.db") as store:
        store.enter(a_study())
        store.append("kitchen", a_night())
        store.append("kitchen", a_sample(1))
        yield store


def keep(store: Store, *events: tuple[int, Event], raw: str = "") -> None:
    with Spool(store, "kitchen") as spool:
        for seq, event in events:
            spool.keep(Kept(seq=seq, event=event, raw=raw))


def stored(store: Store) -> Stored:
    with Spool(store, "kitchen") as spool:
        return spool.store_in(store)


def test_what_it_keeps_goes_into_the_database_in_order_with_its_raw_output(store: Store) -> None:
    keep(store, (3, a_sample(2)), (4, GAP), raw="wrk said")
    assert stored(store) == Stored(events=2)
    assert store.log("kitchen")[2:] == [a_sample(2), GAP]
    assert store.raw("kitchen", a_sample(2).key) == "wrk said"
    assert not Spool(store, "kitchen").is_there
    assert stored(store) == Stored(events=0)


@pytest.mark.parametrize("arrived", [1, 2, 3])
def test_what_had_arrived_all_the_same_is_not_doubled(store: Store, arrived: int) -> None:
    """A commit whose outcome was unknown, or a death between storing and emptying; gaps have no key of their own."""
    events: tuple[Event, ...] = (a_sample(2), GAP, Void(key=a_sample(2).key, at=AT, reason="a test"))
    keep(store, *enumerate(events, 3))
    for event in events[:arrived]:
        store.append("kitchen", event)
    assert stored(store).events == 3 - arrived
    assert store.log("kitchen")[2:] == list(events)


def test_a_log_that_went_on_without_it_is_left_alone_and_it_is_set_aside(store: Store) -> None:
    keep(store, (3, a_sample(2)))
    store.append("kitchen", a_sample(5))
    found = stored(store)
    assert found.events == 0
    assert found.aside is not None
    assert b'"block":2' in found.aside.read_bytes()
    assert store.log("kitchen")[2:] == [a_sample(5)]
    assert not Spool(store, "kitchen").is_there


def test_a_torn_last_line_is_passed_over_and_a_torn_middle_one_is_not(store: Store) -> None:
    keep(store, (3, a_sample(2)), (4, GAP))
    path = Spool(store, "kitchen").path
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + 20] + b"\0" * 100)
    assert stored(store).events == 1
    path.write_bytes(whole[: first - 20] + b"\n" + whole[first:])
    with pytest.raises(StorageError, match="line 1 of the spool") as told:
        stored(store)
    assert str(path) in told.value.hint
    assert path.exists(), "nothing is thrown away"


def test_what_follows_a_torn_line_takes_its_place(store: Store) -> None:
    keep(store, (3, a_sample(2)))
    path = Spool(store, "kitchen").path
    path.write_bytes(path.read_bytes() + b'{"seq":4,"event":{"kind":"ga')
    keep(store, (4, GAP))
    assert stored(store).events == 2


def test_one_that_is_no_plain_file_is_refused_and_not_waited_for(store: Store) -> None:
    path = Spool(store, "kitchen").path
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(StorageError, match="no plain file") as told:
        stored(store)
    assert f"mv {path}" in told.value.hint


def test_it_is_found_by_whatever_name_the_database_has(store: Store, tmp_path: Path) -> None:
    keep(store, (3, a_sample(2)))
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "below").mkdir()
    for name in ("link/autotune.db", "below/../autotune.db"):
        with Store.open(f"sqlite:///{tmp_path}/{name}") as other:
            assert Spool(other, "kitchen").is_there


def test_every_study_in_every_database_has_its_own(store: Store, tmp_path: Path) -> None:
    keep(store, (3, a_sample(2)))
    with Store.open(f"sqlite:///{tmp_path}/other.db") as other:
        other.enter(a_study())
        assert not Spool(other, "kitchen").is_there
        assert not Spool(store, "cellar").is_there


def test_two_processes_do_not_share_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.storage.spool._LOCK_PATIENCE_S", 0.1)
    with Spool(store, "kitchen") as mine, Spool(store, "kitchen") as theirs:
        mine.prepare()
        assert not theirs.is_free()
        with pytest.raises(StorageError, match="in use by another process"):
            theirs.prepare()
    assert not mine.is_there, "an empty one is not left behind"


KEEPER = """
import os, signal, sys
sys.path.insert(0, {here!r})
from storage_examples import a_sample
from autotune.storage.spool import Kept, Spool
from autotune.storage.store import Store
spool = Spool(Store.open({url!r}), "kitchen")
spool.prepare()
for block in range(2, 5):
    spool.keep(Kept(seq=block + 1, event=a_sample(block), raw="x" * 1000))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_it_was_given_outlives_its_process(store: Store) -> None:
    code = KEEPER.format(here=str(Path(__file__).parent), url=store.url)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert Spool(store, "kitchen").path.stat().st_size == ROOM_BYTES
    assert stored(store).events == 3


FULL = """
import sys
sys.path.insert(0, {here!r})
from storage_examples import a_sample
from autotune.errors import StorageError
from autotune.storage.spool import Kept, Spool
from autotune.storage.store import Store

def fill():
    try:
        with open("/run/full/filler", "ab", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
    except OSError as problem:
        print(problem.strerror)

with Store.open({url!r}) as store:
    with Spool(store, "kitchen") as spool:
        spool.prepare()
        fill()
        spool.keep(Kept(seq=3, event=a_sample(2), raw="x" * (1 << 20)))
        print(spool.store_in(store).events)
    fill()
    try:
        Spool(store, "kitchen").prepare()
    except StorageError as problem:
        print(problem.message, problem.hint)
"""


def test_a_disk_that_fills_up_finds_its_room_taken(store: Store, board_namespace: BoardNamespace) -> None:
    """The real thing: a file system of 6 MiB, filled to the last byte behind its back."""
    assert board_namespace.run("mkdir", "/run/full").returncode == 0
    mounted = board_namespace.run("mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", "/run/full")
    assert mounted.returncode == 0, mounted.stderr
    code = FULL.format(here=str(Path(__file__).parent), url=store.url)
    done = board_namespace.run("env", "XDG_STATE_HOME=/run/full", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    filled, events, again, refused = done.stdout.splitlines()
    assert filled == again == "No space left on device"
    assert events == "1"
    assert "no room can be taken for it: No space left on device" in refused
    assert "df -h /run/full" in refused
    assert store.log("kitchen")[2:] == [a_sample(2)]
