"""The real thing: a PostgreSQL that is stopped and shot in mid-night, an SQLite on a disk that is full; and back again."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from postgresql_server import a_server, why_no_postgresql

from autotune.definitions.study_file import read_study
from autotune.errors import StorageAway
from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.runner.night import run_night
from autotune.runner.notices import Notice, Progress, Said
from autotune.storage.spool import Spool
from autotune.storage.store import Store
from conftest import BoardNamespace
from synthetic_study import synthetic_study_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("night")


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read_study(synthetic_study_file(folder))


@pytest.fixture(scope="module")
def undisturbed(study: Study, folder: Path) -> list[Event]:
    """The log of a night whose database stayed."""
    with Store.open(f"sqlite:///{folder}/whole.db") as store:
        run_night(study, store, watcher=lambda _notice: None)
        return store.log(study.name)


class Mischief:
    """Watches a night: at these notices of progress something is done, and undone when the board is put back for it."""

    def __init__(self, then: dict[int, Callable[[], None]], undo: Callable[[], None]) -> None:
        self.said: list[str] = []
        self._then = then
        self._undo = undo
        self._seen = 0

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, Progress):
            self._seen += 1
            self._then.get(self._seen, lambda: None)()
        if isinstance(notice, Said):
            self.said.append(notice.text)
            if "the board is put back until" in notice.text:
                self._undo()


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.runner.memory.DATABASE_PATIENCE_S", 1.5)
    monkeypatch.setattr("autotune.runner.night.TELL_EVERY_S", 0.0)


@pytest.mark.usefixtures("_hasty")
def test_a_postgresql_that_is_shot_and_one_that_is_stopped_for_long_cost_nothing(
    study: Study, undisturbed: list[Event]
) -> None:
    if why := why_no_postgresql():
        pytest.skip(why)
    with a_server() as server:

        def shot_and_back() -> None:
            server.stop(signal.SIGQUIT)
            server.start()

        mischief = Mischief({5: shot_and_back, 20: server.stop}, server.start)
        url = f"postgresql://tester@/postgres?host={server.directory}"
        with Store.open(url, patience_s=2) as store:
            assert run_night(study, store, watcher=mischief).outcome == "complete"
            assert store.log(study.name) == undisturbed
            assert not Spool(store, study.name).is_there
    assert sum("the board is put back until" in text for text in mischief.said) == 1


def test_a_program_cut_off_in_a_transaction_does_not_hold_the_study_for_hours(study: Study) -> None:
    """The server knows nothing of a cable that was pulled, and the lock that it keeps would be in the way of the same night."""
    if why := why_no_postgresql():
        pytest.skip(why)
    with a_server() as server:
        url = f"postgresql://tester@/postgres?host={server.directory}"
        with Store.open(url, patience_s=1) as cut, Store.open(url, patience_s=1) as again:
            cut.enter(study)
            with pytest.raises(StorageAway):
                _stand_still_in_a_transaction(cut, study.name, lambda: _insist(again, study.name))
            assert again.stop_requested(study.name)


def _stand_still_in_a_transaction(store: Store, name: str, meanwhile: Callable[[], None]) -> None:
    with store._changes() as connection:
        store._id(connection, name, lock=True)
        meanwhile()


def _insist(store: Store, name: str) -> None:
    """Each try waits a second for the lock."""
    for _ in range(5):
        with contextlib.suppress(StorageAway):
            store.request_stop(name)
            break


FULL = """
import sys
sys.path[:0] = [{tests!r}, {here!r}]
from pathlib import Path
from autotune.runner import memory, night
from test_database_gone import Mischief, log_text
from autotune.definitions.study_file import read_study
from autotune.storage.store import Store

memory.DATABASE_PATIENCE_S, night.TELL_EVERY_S = 2.5, 0.0
filler = Path("/run/full/filler")

def fill():
    try:
        with filler.open("ab", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
    except OSError as problem:
        print("filled:", problem.strerror)

def free():
    print("free again:", filler.stat().st_size)
    filler.unlink()

study = read_study(Path({study!r}))
mischief = Mischief({{15: fill}}, free)
with Store.open("sqlite:////run/full/autotune/night.db") as store:
    print(night.run_night(study, store, watcher=mischief).outcome)
    Path({log!r}).write_text(log_text(store.log(study.name)))
print(*mischief.said, sep="\\n")
"""


def log_text(log: list[Event]) -> str:
    return "\n".join(one.model_dump_json() for one in log)


def test_an_sqlite_whose_disk_is_full_for_a_while_costs_nothing(
    study: Study, undisturbed: list[Event], folder: Path, board_namespace: BoardNamespace, tmp_path: Path
) -> None:
    """Database, log and spool on one file system of 12 MiB, filled to the last byte in mid-night."""
    made = board_namespace.run(
        "sh",
        "-c",
        "mkdir /run/full && mount -t tmpfs -o size=12m tmpfs /run/full && mkdir /run/full/autotune",
    )
    assert made.returncode == 0, made.stderr
    code = FULL.format(
        tests=str(Path(__file__).parents[1]),
        here=str(Path(__file__).parent),
        study=str(folder / "numbers.toml"),
        log=str(tmp_path / "log"),
    )
    done = board_namespace.run("env", "XDG_STATE_HOME=/run/full", sys.executable, "-c", code, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "filled: No space left on device" in done.stdout
    assert "no room left for the database /run/full/autotune/night.db; the board is put back" in done.stdout
    assert done.stdout.count("trying again") == 1, "said once, however often it is tried"
    assert "free again" in done.stdout
    assert "memory only" not in done.stdout, "the spool had its room"
    assert (tmp_path / "log").read_text() == log_text(undisturbed)
