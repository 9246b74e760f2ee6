"""What every database must do for us: one class, passed by SQLite and by a real PostgreSQL."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql_server import a_server, why_no_postgresql
from storage_examples import AT, a_failure, a_night, a_proposal, a_sample, a_study

from autotune.errors import BoardBusy, DefinitionError, StorageAway, StorageError
from autotune.experiment.events import (
    Distilled,
    Event,
    Gap,
    NightEnded,
    Plan,
    Ranking,
    SampleKey,
    Stage,
    Void,
)
from autotune.space.configuration import Configuration
from autotune.storage.store import Sitting, Store

PLAN = Plan(
    night=1,
    at=AT,
    calibration_pairs=10,
    candidates=40,
    reference_every=4,
    finalists=6,
    finalist_pairs=4,
    finals_rounds=24,
    series_rounds=6,
    sample_s=3.0,
)


def append_many(url: str, first: int, count: int) -> None:
    with Store.open(url) as store:
        for block in range(first, first + count):
            store.append("kitchen", a_sample(block))


class StoreContract:
    """Passed by every database."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        with Store.open(url) as store:
            yield store

    @pytest.fixture
    def kitchen(self, store: Store) -> Store:
        store.enter(a_study())
        return store

    def test_a_study_comes_back_as_it_was_entered(self, store: Store) -> None:
        store.enter(a_study())
        store.enter(a_study("second", connections=32))
        store.enter(a_study())
        assert store.names() == ("kitchen", "second")
        assert store.study("second") == a_study("second", connections=32)

    def test_every_kind_of_event_comes_back_in_order(self, kitchen: Store) -> None:
        events: list[Event] = [
            a_night(),
            PLAN,
            a_sample(0),
            a_proposal(0),
            a_proposal(1),
            a_sample(1, arm="trial 1"),
            a_failure(2, "trial 1"),
            Void(key=a_sample(0).key, at=AT, reason="the clock stepped"),
            Gap(night=1, at=AT, seconds=float("inf"), reason="resumed"),
            Ranking(night=1, at=AT, purpose="winner", trials=(1, 0), scores=(0.1, 0.0)),
            NightEnded(night=1, at=AT, outcome="complete"),
        ]
        for event in events:
            kitchen.append("kitchen", event)
        assert kitchen.log("kitchen") == events

    def test_another_process_reads_the_same_log(self, kitchen: Store, url: str) -> None:
        kitchen.append("kitchen", a_night())
        before = kitchen.log("kitchen")
        with Store.open(url, read_only=True) as other:
            assert other.log("kitchen") == before
            kitchen.append("kitchen", a_sample(0))
            assert other.log("kitchen") == [*before, a_sample(0)]

    def test_raw_output_is_kept_beside_its_sample(self, kitchen: Store) -> None:
        kitchen.append("kitchen", a_sample(0), raw="Running 2s test\n\x00é\udcff")
        kitchen.append("kitchen", a_sample(1))
        assert kitchen.raw("kitchen", a_sample(0).key) == "Running 2s test\n\ufffdé?"
        assert kitchen.raw("kitchen", a_sample(1).key) == ""

    def test_the_same_event_twice_is_stored_once(self, kitchen: Store) -> None:
        for event in (a_night(), a_sample(0), a_proposal(3)):
            kitchen.append("kitchen", event, raw="words")
            kitchen.append("kitchen", event, raw="words")
        kitchen.append("kitchen", a_sample(0))
        assert kitchen.log("kitchen") == [a_night(), a_sample(0), a_proposal(3)]

    def test_another_sample_under_a_taken_key_is_refused(self, kitchen: Store) -> None:
        kitchen.append("kitchen", a_sample(0))
        with pytest.raises(StorageError, match="already has another sample 1/search/0/0/0"):
            kitchen.append("kitchen", a_sample(0, requests_per_s=1.0))
        with pytest.raises(StorageError, match="already has another sample"):
            kitchen.append("kitchen", a_failure(0, "stock"))
        kitchen.append("kitchen", a_sample(0, requests_per_s=1.0, attempt=1))
        assert len(kitchen.log("kitchen")) == 2

    def test_another_proposal_under_a_taken_number_is_refused(self, kitchen: Store) -> None:
        kitchen.append("kitchen", a_proposal(3))
        with pytest.raises(StorageError, match="already has another trial 3"):
            kitchen.append("kitchen", a_proposal(3).model_copy(update={"origin": "start-up"}))
        assert kitchen.log("kitchen") == [a_proposal(3)]

    def test_two_studies_dont_share_keys(self, kitchen: Store) -> None:
        kitchen.enter(a_study("second"))
        kitchen.append("kitchen", a_sample(0))
        kitchen.append("second", a_sample(0, requests_per_s=5.0))
        assert kitchen.log("second") == [a_sample(0, requests_per_s=5.0)]

    def test_writers_in_several_processes_lose_nothing(self, kitchen: Store, url: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        writers = [
            spawn.Process(target=append_many, args=(url, 1000 * number, 40), daemon=True)
            for number in range(3)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0, 0, 0]
        keys = [event.key.block for event in kitchen.log("kitchen") if event.kind == "sample"]
        assert sorted(keys) == [1000 * number + block for number in range(3) for block in range(40)]

    def test_a_changed_definition_is_refused_with_every_difference(self, kitchen: Store) -> None:
        with pytest.raises(DefinitionError) as caught:
            kitchen.enter(a_study(connections=32, backlog_high=4096))
        assert caught.value.exit_code == 3
        assert caught.value.message.splitlines() == [
            "kitchen: workloads[small].connections: 64 in the database, 32 in the file.",
            "kitchen: space.parameters[nginx:listen.backlog].span.high: 65536.0 in the database, 4096.0 in the file.",
        ]
        assert "new name" in caught.value.hint
        assert "autotune resume kitchen" in caught.value.hint
        assert kitchen.study("kitchen") == a_study()

    def test_a_new_title_is_no_other_question(self, kitchen: Store) -> None:
        kitchen.enter(a_study().model_copy(update={"title": "Said better"}))

    def test_an_unknown_study_is_refused_with_the_known_ones(self, kitchen: Store) -> None:
        asks: tuple[Callable[[], object], ...] = (
            lambda: kitchen.study("kitchn"),
            lambda: kitchen.log("kitchn"),
            lambda: kitchen.append("kitchn", a_night()),
            lambda: kitchen.summary("kitchn"),
            lambda: kitchen.request_stop("kitchn"),
        )
        for ask in asks:
            with pytest.raises(StorageError, match="no study is called 'kitchn'") as caught:
                ask()
            assert "kitchen" in caught.value.hint

    def test_who_runs_it_is_known_until_they_leave(self, kitchen: Store) -> None:
        assert kitchen.sitting("kitchen") is None
        kitchen.sit("kitchen", pid=17, host="desk", boot_id="b", started_at="4711")
        sitting = kitchen.sitting("kitchen")
        assert sitting is not None
        assert (sitting.pid, sitting.host, sitting.boot_id, sitting.started_at) == (17, "desk", "b", "4711")
        assert sitting.is_beating
        kitchen.beat("kitchen")
        kitchen.leave("kitchen")
        assert kitchen.sitting("kitchen") is None

    def test_a_dead_sitting_is_taken_over_and_a_living_one_is_not(self, kitchen: Store, url: str) -> None:
        kitchen.sit("kitchen", pid=17, host="desk", boot_id="b", started_at="4711")
        asked: list[Sitting] = []

        def lives(sitting: Sitting) -> bool:
            asked.append(sitting)
            return True

        with Store.open(url) as other:
            with pytest.raises(BoardBusy, match="already running: process 17 on desk"):
                other.sit("kitchen", pid=18, host="desk", boot_id="b", started_at="5000", is_alive=lives)
            assert [sitting.pid for sitting in asked] == [17]
            other.sit(
                "kitchen", pid=18, host="desk", boot_id="b", started_at="5000", is_alive=lambda _: False
            )
            with pytest.raises(StorageError, match="process 18 on desk"):
                kitchen.beat("kitchen")
            kitchen.leave("kitchen")
            assert other.sitting("kitchen") is not None

    def test_a_stop_is_asked_for_once_and_cleared(self, kitchen: Store, url: str) -> None:
        assert not kitchen.stop_requested("kitchen")
        with Store.open(url) as other:
            other.request_stop("kitchen")
            other.request_stop("kitchen")
        assert kitchen.stop_requested("kitchen")
        kitchen.clear_stop("kitchen")
        assert not kitchen.stop_requested("kitchen")

    def test_a_study_that_has_not_begun_says_so(self, kitchen: Store) -> None:
        summary = kitchen.summary("kitchen")
        assert (summary.stage, summary.night, summary.samples, summary.best) == ("not begun", 0, 0, None)

    def test_the_summary_follows_the_night(self, kitchen: Store) -> None:
        def told(*events: Event) -> tuple[str, int, int, int]:
            for event in events:
                kitchen.append("kitchen", event)
            summary = kitchen.summary("kitchen")
            return summary.stage, summary.samples, summary.failures, summary.trials

        assert told(a_night(deadline="2026-02-01T07:00:00+00:00"), PLAN) == ("calibration", 0, 0, 0)
        assert told(a_sample(0, stage=Stage.CALIBRATION)) == ("calibration", 1, 0, 0)
        assert told(a_proposal(1)) == ("search", 1, 0, 1)
        assert told(a_sample(0), a_sample(1, arm="trial 1", requests_per_s=11_000.0)) == ("search", 3, 0, 1)
        # The board slows down by a tenth: the second trial is 10 % better than its neighbours, not 1 % worse.
        slower: list[Event] = [
            a_proposal(2),
            a_sample(2, requests_per_s=9_000.0),
            a_sample(3, arm="trial 2", requests_per_s=10_800.0),
            a_sample(4, requests_per_s=9_000.0),
        ]
        told(*slower)
        summary = kitchen.summary("kitchen")
        assert summary.best_trial == 2
        assert summary.best == pytest.approx(1.2)
        assert summary.deadline == "2026-02-01T07:00:00+00:00"
        told(a_proposal(3), a_failure(5, "trial 3"), a_sample(6, arm="trial 3", requests_per_s=90_000.0))
        assert kitchen.summary("kitchen").best_trial == 2, "a configuration that failed can't be best"
        told(Void(key=a_sample(3).key, at=AT, reason="the clock stepped"))
        summary = kitchen.summary("kitchen")
        assert (summary.best_trial, summary.samples, summary.failures) == (1, 6, 1)
        told(Ranking(night=1, at=AT, purpose="winner", trials=(2, 1), scores=(0.05, 0.01)))
        summary = kitchen.summary("kitchen")
        assert (summary.stage, summary.best_trial, summary.outcome) == ("distillation", 2, "")
        told(Distilled(night=1, at=AT, trial=2, configuration=Configuration(), margin=0.01))
        assert kitchen.summary("kitchen").stage == "finals"
        told(
            a_sample(0, stage=Stage.FINALS),
            a_sample(0, stage=Stage.FINALS, position=1, arm="automatic", requests_per_s=10_300.0),
        )
        assert kitchen.summary("kitchen").best == pytest.approx(1.03)
        told(NightEnded(night=1, at=AT, outcome="complete"))
        summary = kitchen.summary("kitchen")
        assert (summary.stage, summary.outcome) == ("ended", "complete")
        told(a_night(2))
        summary = kitchen.summary("kitchen")
        assert (summary.stage, summary.night, summary.outcome) == ("calibration", 2, "")


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'new directory' / 'autotune.db'}"


@pytest.fixture(scope="session")
def postgresql_socket() -> Iterator[Path]:
    """The socket directory of a PostgreSQL server of our own, gone afterwards."""
    if why := why_no_postgresql():
        pytest.skip(why)
    with a_server() as server:
        yield server.directory


@pytest.fixture
def postgresql_url(postgresql_socket: Path, request: pytest.FixtureRequest) -> str:
    import psycopg

    name = f"test_{abs(hash(request.node.nodeid))}"
    with psycopg.connect(
        f"host={postgresql_socket} user=tester dbname=postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://tester@/{name}?host={postgresql_socket}"


class TestPostgresqlStore(StoreContract):
    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        return postgresql_url

    def test_a_database_of_another_program_is_refused(self, url: str) -> None:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE invoices (id int)")
        with pytest.raises(StorageError, match="belongs to another program: its tables are invoices"):
            Store.open(url)

    def test_a_locked_study_is_named_after_the_patience_is_over(self, url: str) -> None:
        import psycopg

        with Store.open(url, patience_s=0.3) as store:
            store.enter(a_study())
            with psycopg.connect(url) as connection:
                connection.execute("SELECT * FROM autotune_studies FOR UPDATE")
                with pytest.raises(StorageAway, match="is locked by another program"):
                    store.append("kitchen", a_night())
            store.append("kitchen", a_night())

    def test_a_read_only_store_writes_nothing(self, url: str) -> None:
        with Store.open(url) as store:
            store.enter(a_study())
        with Store.open(url, read_only=True) as store, pytest.raises(StorageError, match="read-only"):
            store.append("kitchen", a_night())

    def test_a_missing_database_or_server_is_said(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="does not exist") as caught:
            Store.open(url.replace("test_", "test_missing_"))
        assert "createdb" in caught.value.hint
        with pytest.raises(StorageError, match="can't be used") as caught:
            Store.open(f"postgresql://tester:secret@/x?host={tmp_path}", patience_s=1)
        assert "server" in caught.value.hint
        assert "secret" not in caught.value.message


def test_the_text_of_a_sample_key_is_what_the_database_has_room_for() -> None:
    longest = SampleKey(night=10**9, stage=Stage.CALIBRATION, block=10**9, position=10**9, attempt=10**9)
    assert len(longest.text) <= 60
