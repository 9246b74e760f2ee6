"""A night on a board made of numbers: by its own clock, the same however often it dies, and nothing of it is a machine's."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import optuna
import pytest

from autotune.definitions.study_file import read_study
from autotune.errors import Interrupted, StorageAway
from autotune.experiment.events import Event, Gap, NightBegun, NightEnded, Proposal, Sample, Stage
from autotune.experiment.study import Study
from autotune.runner.clocks import SYNTHETIC_EVENING
from autotune.runner.night import run_night
from autotune.runner.nights import NightResult
from autotune.runner.notices import Notice, Said
from autotune.storage.store import Store
from synthetic_study import synthetic_study_file


class Died(BaseException):
    """What a killed process does: nothing more."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(synthetic_study_file(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def undisturbed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """The log of a night that nobody cut."""
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('whole')}/night.db") as store:
        assert hold(study, store).outcome == "complete"
        return store.log(study.name)


@pytest.fixture
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's copy is made at the end of every sitting, and takes as long as all the rest."""
    monkeypatch.setattr("autotune.runner.memory.write_mirror", lambda *_args: None)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/night.db"


def hold(study: Study, store: Store, watcher: Callable[[Notice], None] = lambda _notice: None) -> NightResult:
    return run_night(study, store, watcher=watcher)


def test_it_has_every_stage_of_a_night(undisturbed: list[Event]) -> None:
    measured = {one.key.stage for one in undisturbed if isinstance(one, Sample)}
    assert measured >= {Stage.CALIBRATION, Stage.SEARCH, Stage.FINALISTS, Stage.FINALS, Stage.SERIES}
    assert {one.origin for one in undisturbed if isinstance(one, Proposal)} >= {"stock", "sampler"}
    assert isinstance(undisturbed[-1], NightEnded)
    assert undisturbed[-1].outcome == "complete"


def test_it_goes_by_the_boards_own_clock(undisturbed: list[Event], study: Study) -> None:
    begun = undisturbed[0]
    assert isinstance(begun, NightBegun)
    assert begun.at == SYNTHETIC_EVENING
    assert begun.deadline is not None
    assert study.budget.hours is not None
    deadline_s = datetime.fromisoformat(begun.deadline).timestamp()
    assert deadline_s - _seconds(begun) == 3600 * study.budget.hours
    samples = [one for one in undisturbed if isinstance(one, Sample)]
    assert _seconds(samples[-1]) - _seconds(begun) >= len(samples) * study.busy_s
    assert [one.at for one in undisturbed] == sorted(one.at for one in undisturbed)


def test_every_night_of_the_study_says_what_its_board_is(undisturbed: list[Event]) -> None:
    begun = undisturbed[0]
    assert isinstance(begun, NightBegun)
    assert "synthetic" in begun.board["model"]
    assert any("synthetic" in one.text for one in begun.doubts)


class Mortal:
    """A store whose process dies before or after commits that chance picks; whoever opens it again is another process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
        self.deaths = 0
        append = Store.append

        def deadly(store: Store, name: str, event: Event, raw: str = "") -> None:
            when = chance.random()
            if when < 0.06:
                self.die()
            append(store, name, event, raw)
            if when > 0.94:
                self.die()

        monkeypatch.setattr(Store, "append", deadly)

    def die(self) -> None:
        self.deaths += 1
        raise Died


@pytest.mark.usefixtures("_no_mirror")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_night_that_dies_again_and_again_is_the_night_of_one_that_does_not(
    study: Study, undisturbed: list[Event], url: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    mortal = Mortal(monkeypatch, random.Random(seed))
    outcome = None
    while outcome is None:
        with Store.open(url) as store:
            try:
                outcome = hold(study, store).outcome
            except Died:
                continue
    assert outcome in ("complete", "already complete")  # the last death may have come after the last commit
    assert mortal.deaths > 5
    with Store.open(url) as store:
        log = store.log(study.name)
    assert not [one for one in log if isinstance(one, Gap)]
    assert log == undisturbed


class Forgetful:
    """A database that goes away before or after commits that chance picks, for up to three tries; the process may die meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chance: random.Random, *, deadly: float) -> None:
        self.outages = 0
        self._left = 0
        append = Store.append

        def away(store: Store, name: str, event: Event, raw: str = "") -> None:
            if self._left:
                self._left -= 1
                if chance.random() < deadly:
                    raise Died
                raise StorageAway("no room left for the database")
            when = chance.random()
            if when > 0.97:
                append(store, name, event, raw)
            if when < 0.03 or when > 0.97:
                self.outages += 1
                self._left = chance.randrange(4)
                raise StorageAway("no room left for the database")
            append(store, name, event, raw)

        monkeypatch.setattr(Store, "append", away)
        monkeypatch.setattr("autotune.runner.memory.DATABASE_PATIENCE_S", 0.0)
        monkeypatch.setattr("autotune.runner.memory._FIRST_PAUSE_S", 0.001)


@pytest.mark.usefixtures("_no_mirror")
def test_a_night_whose_database_goes_away_again_and_again_is_the_night_of_one_whose_stays(
    study: Study,
    undisturbed: list[Event],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgetful = Forgetful(monkeypatch, random.Random(2), deadly=0.3)
    outcome = None
    while outcome is None:
        with Store.open(url) as store:
            try:
                outcome = hold(study, store).outcome
            except (Died, StorageAway):  # the latter from a spool that the database would not take yet
                continue
    assert forgetful.outages > 5
    with Store.open(url) as store:
        assert store.log(study.name) == undisturbed


@pytest.mark.usefixtures("_no_mirror")
def test_a_signal_ends_it_after_the_sample_in_hand_and_it_goes_on_as_if_nothing_had_been(
    study: Study, undisturbed: list[Event], url: str
) -> None:
    told: list[Notice] = []

    def watch(notice: Notice) -> None:
        if not told and not isinstance(notice, Said):
            told.append(notice)
            signal.raise_signal(signal.SIGINT)

    with Store.open(url) as store:
        with pytest.raises(Interrupted) as stopped:
            hold(study, store, watch)
        assert stopped.value.exit_code == 130
        assert 0 < len(store.log(study.name)) < len(undisturbed)
        assert hold(study, store).outcome == "complete"
        assert store.log(study.name) == undisturbed


@pytest.mark.usefixtures("_no_mirror")
def test_autotune_stop_ends_it_and_it_goes_on_as_if_nothing_had_been(
    study: Study, undisturbed: list[Event], url: str
) -> None:
    with Store.open(url) as store, Store.open(url) as other:

        def watch(notice: Notice) -> None:
            if not isinstance(notice, Said):
                other.request_stop(study.name)

        assert hold(study, store, watch).outcome == "stopped"
        assert hold(study, store).outcome == "complete"
        assert store.log(study.name) == undisturbed


@pytest.mark.usefixtures("_no_mirror")
def test_another_night_begins_where_the_first_one_ended(
    study: Study, undisturbed: list[Event], url: str
) -> None:
    with Store.open(url) as store:
        store.enter(study)
        for event in undisturbed:
            store.append(study.name, event)
        again = run_night(study, store, watcher=lambda _notice: None, new_night=True, purpose="baseline")
        assert again.outcome == "complete"
        second = [one for one in store.log(study.name) if isinstance(one, NightBegun)][1]
    assert second.at == undisturbed[-1].at


def test_optunas_copy_says_that_it_is_synthetic(study: Study, url: str) -> None:
    with Store.open(url) as store:
        hold(study, store)
    mirror = optuna.load_study(study_name=study.name, storage=url)
    assert "synthetic" in mirror.user_attrs["synthetic"]
    assert len(mirror.trials) > study.budget.calibration_pairs


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def _seconds(event: Event) -> float:
    return datetime.fromisoformat(event.at).timestamp()
