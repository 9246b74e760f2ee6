"""Opening databases: made when missing, refused with a next step when they are not ours to use."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from storage_examples import a_night, a_sample, a_study

from autotune.errors import StorageAway, StorageError
from autotune.storage.database import upgrade
from autotune.storage.store import Store, default_url
from autotune.storage.tables import HEAD, METADATA, PREFIX, REVISIONS, VERSION_TABLE

MIGRATIONS = Path(sys.modules["autotune.storage.database"].__file__ or "").parent / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "autotune.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def full(path: Path, url: str) -> Path:
    """A database with a study in it, closed."""
    with Store.open(url) as store:
        store.enter(a_study())
        store.append("kitchen", a_night())
    return path


def refusal(
    url: str, *, create: bool = True, read_only: bool = False, patience_s: float = 0.2
) -> StorageError:
    with pytest.raises(StorageError) as caught:
        Store.open(url, create=create, read_only=read_only, patience_s=patience_s)
    assert caught.value.hint
    return caught.value


def names_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_the_default_is_the_state_directory_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/var/tmp/state")
    assert default_url() == "sqlite:////var/tmp/state/autotune/autotune.db"
    monkeypatch.setenv("XDG_STATE_HOME", "relative is not allowed")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_url() == "sqlite:////home/someone/.local/state/autotune/autotune.db"
    monkeypatch.setenv("AUTOTUNE_STORAGE", "postgresql://x/y")
    assert default_url() == "postgresql://x/y"


def test_a_missing_directory_is_made_only_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "autotune.db"
    assert "nothing has been run" in refusal(f"sqlite:///{path}", create=False).message
    assert "nothing has been run" in refusal(f"sqlite:///{path}", read_only=True).message
    assert not (tmp_path / "a").exists()
    with Store.open(f"sqlite:///{path}") as store:
        assert store.path == path
        assert store.names() == ()


def test_a_path_with_odd_letters_opens_for_reading_too(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1" / "my autotune.db"
    with Store.open(f"sqlite:///{path}") as store:
        store.enter(a_study())
    with Store.open(f"sqlite:///{path}", read_only=True) as store:
        assert store.names() == ("kitchen",)


def test_the_url_of_a_store_opens_it_again(full: Path, url: str) -> None:
    with Store.open(url) as store, Store.open(store.url) as again:
        assert again.names() == ("kitchen",)
        assert again.shown == str(full)


def test_writing_goes_through_a_write_ahead_log(url: str) -> None:
    with Store.open(url) as store, store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


@pytest.mark.parametrize("text", ["", "autotune.db", "/tmp/autotune.db", "sqlite:/x.db", "://", "http//x"])
def test_what_is_no_url_is_said(text: str) -> None:
    error = refusal(text)
    assert "is not a database URL" in error.message
    assert "sqlite:///" in error.hint


def test_other_kinds_of_database_are_refused() -> None:
    assert "can't be kept in mysql" in refusal("mysql://root@localhost/x").message


def test_a_missing_driver_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refusal("postgresql://localhost/autotune")
    assert "needs the Python package psycopg" in error.message
    assert "autotune-board[postgres]" in error.hint


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    assert "is a directory" in refusal(f"sqlite:///{tmp_path}").message


def test_what_is_no_plain_file_is_no_database(path: Path, url: str) -> None:
    os.mkfifo(path)  # opening it would wait for a writer for ever
    assert "not a plain file" in refusal(url, create=False, read_only=True).message


def test_a_place_that_cannot_be_looked_at_is_said(path: Path) -> None:
    told = refusal(f"sqlite:///{path.parent / ('x' * 300)}")
    assert "can't be reached: File name too long" in told.message


def test_another_programs_file_is_left_alone(path: Path, url: str) -> None:
    path.write_bytes(b"PK\x03\x04 something else entirely")
    assert "is not an SQLite database" in refusal(url).message
    assert path.read_bytes() == b"PK\x03\x04 something else entirely"


def test_another_programs_database_is_left_alone(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE moz_places (id)")
        connection.execute("CREATE TABLE moz_bookmarks (id)")
    error = refusal(url)
    assert "belongs to another program: its tables are moz_bookmarks, moz_places" in error.message
    assert "--storage" in error.hint
    assert names_in(path) == {"moz_places", "moz_bookmarks"}


def test_a_damaged_database_says_so(full: Path, url: str) -> None:
    content = full.read_bytes()
    assert len(content) > 8192
    full.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    error = refusal(url)
    assert "is damaged" in error.message or "is not an SQLite database" in error.message


def test_a_database_cut_short_says_so(full: Path, url: str) -> None:
    full.write_bytes(full.read_bytes()[:5000])
    error = refusal(url)
    assert str(full) in error.message


def test_a_newer_database_is_refused_and_not_touched(full: Path, url: str) -> None:
    with closing(sqlite3.connect(full)) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        connection.commit()
    assert "written by a newer autotune" in refusal(url).message
    assert "written by a newer autotune" in refusal(url, read_only=True).message


def test_a_half_made_database_is_refused(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE autotune_events (id)")
    assert "has the table autotune_events but not" in refusal(url).message


def test_an_event_that_makes_no_sense_is_named(full: Path, url: str) -> None:
    with closing(sqlite3.connect(full)) as connection:
        connection.execute('UPDATE autotune_events SET body = \'{"kind": "moon landing"}\'')
        connection.commit()
    with Store.open(url) as store, pytest.raises(StorageError, match="event 1 of study kitchen") as caught:
        store.log("kitchen")
    assert caught.value.hint


def test_a_locked_database_is_named_after_the_patience_is_over(full: Path, url: str) -> None:
    with Store.open(url, patience_s=0.2) as store, closing(sqlite3.connect(full)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageAway, match="locked by another program") as caught:
            store.append("kitchen", a_sample(0))
        assert str(full) in caught.value.message
        assert "fuser" in caught.value.hint
        with Store.open(url, read_only=True, patience_s=0.2) as reader:
            assert reader.log("kitchen") == [a_night()], "reading doesn't wait for a writer"
        assert store.log("kitchen") == [a_night()]
        other.rollback()
        store.append("kitchen", a_sample(0))


def test_a_database_locked_as_a_whole_is_named(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE alembic_version (version_num)")
        other.execute("BEGIN EXCLUSIVE")
        assert "is locked by another program" in refusal(url).message


def test_many_processes_may_make_the_database_at_once(url: str) -> None:
    code = f"from autotune.storage.store import Store\nwith Store.open({url!r}) as s: s.names()"
    makers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    assert [maker.communicate(timeout=60)[1] for maker in makers] == [b""] * 4
    with Store.open(url) as store:
        store.enter(a_study())


def test_threads_may_share_a_store(url: str) -> None:
    with Store.open(url) as store:
        store.enter(a_study())

        def write(first: int) -> None:
            for block in range(first, first + 20):
                store.append("kitchen", a_sample(block))

        threads = [threading.Thread(target=write, args=(100 * number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.log("kitchen")) == 60


class TestWithoutWriting:
    """A directory on a file system that nobody can write to; root too."""

    @pytest.fixture
    def frozen(self, full: Path) -> list[str]:
        """The start of a command that sees the database's directory read-only."""
        if os.getuid():
            pytest.skip("only root can mount a directory read-only")
        where = full.parent
        script = f'mount --bind {where} {where} && mount -o remount,ro,bind {where} && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c"]

    def run(self, command: list[str], code: str) -> str:
        done = subprocess.run(
            [*command, f"from autotune.storage.store import Store\n{code}"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    def test_a_read_only_store_still_tells(self, frozen: list[str], url: str) -> None:
        code = f"with Store.open({url!r}, read_only=True) as s: print(s.summary('kitchen').stage, len(s.log('kitchen')))"
        assert self.run(frozen, code) == "calibration 1"

    def test_a_writing_store_says_what_is_read_only(self, frozen: list[str], url: str) -> None:
        told = self.run(frozen, f"Store.open({url!r})")
        assert "can't be written" in told
        assert "read-only" in told

    def test_no_database_can_be_made_there(self, frozen: list[str], url: str, full: Path) -> None:
        assert "read-only" in self.run(frozen, f"Store.open('sqlite:///{full.parent / 'other.db'}')")
        told = self.run(frozen, f"Store.open('sqlite:///{full.parent / 'deeper' / 'other.db'}')")
        assert "can't be made: Read-only file system" in told


def test_a_file_that_only_others_may_write_is_refused(full: Path, url: str) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everything; the read-only file system above covers it")
    full.chmod(stat.S_IRUSR)
    assert "can't be written" in refusal(url).message


class TestMigrations:
    def test_they_build_exactly_the_tables_that_a_new_database_gets(self) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        engine = sa.create_engine("sqlite://")
        with engine.begin() as connection:
            upgrade(connection)
            context = MigrationContext.configure(connection, opts={"version_table": "none of them"})
            assert compare_metadata(context, METADATA) == []
            assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalars().all() == [
                HEAD
            ]
        engine.dispose()

    def test_every_revision_is_known_to_the_tables_in_order(self) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        newest_first = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
        assert tuple(reversed(newest_first)) == REVISIONS

    def test_an_older_database_is_brought_up_to_date_when_opened(self, path: Path, url: str) -> None:
        """The oldest one there can be: our version table, and nothing done yet."""
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)")
        assert "written by an older autotune" in refusal(url, read_only=True).message
        with Store.open(url) as store:
            store.enter(a_study())
        assert {table.name for table in METADATA.sorted_tables} <= names_in(path)

    def test_all_our_tables_carry_our_prefix(self) -> None:
        assert all(name.startswith(PREFIX) for name in METADATA.tables)

    def test_alembic_is_not_imported_for_an_up_to_date_database(self, full: Path, url: str) -> None:
        code = (
            "import sys\nfrom autotune.storage.store import Store\n"
            f"with Store.open({url!r}, read_only=True) as s: s.summary('kitchen')\n"
            f"with Store.open({url!r}) as s: s.log('kitchen')\n"
            "print([m for m in ('alembic', 'optuna', 'numpy', 'scipy', 'sqlalchemy.orm') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
