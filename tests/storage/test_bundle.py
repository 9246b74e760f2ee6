"""A study in one archive: made the same each time, opened whole or not at all, and the same study afterwards."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import a_server, why_no_postgresql

from autotune.definitions.study_file import STUDY_NAME
from autotune.errors import BundleRefused, UsageError
from autotune.experiment.events import Sample
from autotune.measurement.comparison import compare
from autotune.measurement.schedule import next_step
from autotune.report.comparison_page import comparison_json
from autotune.storage import bundle
from autotune.storage.bundle import carried_of, read_bundle, redacted, redaction_for, write_bundle
from autotune.storage.origins import Carried
from autotune.storage.store import Store
from named_night import RAW, named_night, named_study

STUDY = named_study()
LOG = tuple(named_night(STUDY))
RAWS = {event.key.text: RAW for event in LOG if isinstance(event, Sample)}
CARRIED = Carried(study=STUDY, log=LOG, raws=RAWS)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A bundle with the names in it."""
    return write_bundle(tmp_path / "named.zip", CARRIED, program="0", without_names=False).path


def fill(url: str) -> None:
    with Store.open(url) as store:
        store.enter(STUDY)
        for event in LOG:
            store.append("named", event, raw=RAW if isinstance(event, Sample) else "")


class CarriedFromHereToThere:
    """Passed by every database, as the one it comes from and as the one it goes to."""

    def test_it_is_the_same_study_there(self, url: str, tmp_path: Path) -> None:
        fill(url)
        with Store.open(url, read_only=True) as store:
            write_bundle(tmp_path / "a.zip", carried_of(store, "named"), program="0", without_names=False)
        opened = read_bundle(tmp_path / "a.zip", "theirs")
        with Store.open(url) as store:
            store.carry_in(opened.carried, opened.origin)
            assert store.study("theirs") == STUDY.model_copy(update={"name": "theirs"})
            assert store.log("theirs") == list(LOG)
            assert store.raw_texts("theirs") == RAWS
            assert store.origin("theirs") == opened.origin
            assert store.origin("named") is None
            there, here = store.summary("theirs"), store.summary("named")
            assert (there.carried, here.carried) == (True, False)
            assert (there.samples, there.best, there.stage) == (here.samples, here.best, here.stage)

    def test_a_name_that_is_taken_is_refused_and_nothing_is_stored(self, url: str, archive: Path) -> None:
        fill(url)
        opened = read_bundle(archive)
        with Store.open(url) as store:
            before = store.log("named")
            with pytest.raises(UsageError, match="has a study named already"):
                store.carry_in(opened.carried, opened.origin)
            assert store.log("named") == before
            assert store.origin("named") is None


class TestInSqlite(CarriedFromHereToThere):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'autotune.db'}"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Path]:
    if why := why_no_postgresql():
        pytest.skip(why)
    with a_server() as server:
        yield server.directory


class TestInPostgresql(CarriedFromHereToThere):
    @pytest.fixture
    def url(self, postgresql: Path, tmp_path: Path) -> str:
        import psycopg

        name = re.sub(r"\W", "_", tmp_path.name).lower()[-60:]
        with psycopg.connect(f"host={postgresql} user=tester dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://tester@/{name}?host={postgresql}"


def test_the_same_study_gives_the_same_bytes(tmp_path: Path, archive: Path) -> None:
    again = write_bundle(tmp_path / "again.zip", CARRIED, program="0", without_names=False)
    assert again.path.read_bytes() == archive.read_bytes()


def test_a_redacted_one_holds_no_name_and_compares_the_same(tmp_path: Path) -> None:
    redaction = redaction_for(CARRIED, None, ())
    bare = redacted(CARRIED, redaction)
    path = write_bundle(tmp_path / "bare.zip", bare, program="0", without_names=True).path
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["manifest.json", "study.json", "events.jsonl", "raw.jsonl"]
        text = b"".join(map(archive.read, archive.namelist())).decode()
    assert not [name for name in ("acme", "carol", "rock5b", "desk7", "10.20.30.40") if name in text]
    opened = read_bundle(path)
    assert (opened.carried, opened.origin.redacted) == (bare, True)
    study, log = opened.carried.study, opened.carried.log
    assert next_step(study, log) == redaction.record(next_step(STUDY, LOG))
    assert (
        comparison_json(study, log, compare(study, log), None)["pairs"]
        == (comparison_json(STUDY, LOG, compare(STUDY, LOG), None)["pairs"])
    )


@pytest.mark.parametrize("events", [0, 1, 2, 13, 40])
def test_a_night_that_has_only_begun_travels_too(tmp_path: Path, events: int) -> None:
    few = Carried(study=STUDY, log=LOG[:events], raws={})
    write_bundle(tmp_path / "few.zip", few, program="0", without_names=False)
    assert read_bundle(tmp_path / "few.zip").carried == few


def test_nothing_is_written_over_and_nothing_is_left_behind(tmp_path: Path) -> None:
    taken = tmp_path / "taken.zip"
    taken.write_text("mine")
    with pytest.raises(UsageError, match="there is something at"):
        write_bundle(taken, CARRIED, program="0", without_names=False)
    assert [file.name for file in tmp_path.iterdir()] == ["taken.zip"]
    assert taken.read_text() == "mine"
    with pytest.raises(UsageError, match="No such file"):
        write_bundle(tmp_path / "no" / "where.zip", CARRIED, program="0", without_names=False)


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "-x", "x" * 65, "a b"])
def test_a_new_name_is_one_that_a_study_may_have(archive: Path, name: str) -> None:
    assert STUDY_NAME.pattern == bundle._STUDY_NAME
    if name:
        with pytest.raises(UsageError, match="is no name for a study"):
            read_bundle(archive, name)
    else:
        assert read_bundle(archive).carried.study.name == "named"


def test_what_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_bundle(tmp_path / "none.zip")


def test_every_cut_of_an_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for cut in {0, 1, 3, 4, 30, 100, len(whole) // 2, len(whole) - 30, len(whole) - 22, len(whole) - 1}:
        torn = tmp_path / "torn.zip"
        torn.write_bytes(whole[:cut])
        with pytest.raises(BundleRefused, match=r"is torn|is not an autotune bundle|is damaged"):
            read_bundle(torn)
