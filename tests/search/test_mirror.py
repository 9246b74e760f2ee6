"""The copy in Optuna's own tables: other tools read it, and ours never need it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from search_examples import HAND_TUNED, STOCK, a_failure, a_night, a_plan, a_sample, a_study, go_on, proposals

from autotune.errors import StorageError
from autotune.experiment.bench import AskSampler
from autotune.experiment.events import Event, NightEnded
from autotune.search.mirror import write_mirror
from autotune.search.searcher import propose
from autotune.space.value import Value

STUDY = a_study()


def fails(values: dict[str, Value]) -> bool:
    return values["sysctl:net.ipv4.tcp_congestion_control"] == "reno"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'autotune.db'}"


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def night() -> list[Event]:
    return go_on(STUDY, [a_night(STUDY, hand_tuned=HAND_TUNED), a_plan()], 16, fails=fails)


def read(url: str) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(study_name="kinds", storage=storage).get_trials()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def over(log: list[Event]) -> list[Event]:
    return [*log, NightEnded(night=1, at="2026-02-01T05:00:00+00:00", outcome="complete")]


def test_optuna_reads_it_with_our_numbers(url: str, night: list[Event]) -> None:
    write_mirror(STUDY, night, url)
    trials = read(url)
    ours = proposals(night)
    assert [trial.number for trial in trials] == [proposal.number for proposal in ours]
    assert [trial.user_attrs["origin"] for trial in trials] == [proposal.origin for proposal in ours]
    assert trials[0].value == 0.0
    for trial, proposal in zip(trials, ours, strict=True):
        failed = fails(proposal.configuration.over(STOCK)) and proposal.number > 0
        assert (trial.constraints["configuration failed"] > 0) == failed
        assert dict(trial.user_attrs["configuration"]).keys() == proposal.configuration.mapping.keys()
        if not failed:
            assert trial.user_attrs["ratio to stock"] == pytest.approx(math.exp(trial.value or 0.0))


def test_it_grows_with_the_night_and_is_the_same_when_written_twice(url: str, night: list[Event]) -> None:
    cut = next(place for place, event in enumerate(night) if event.kind == "proposal" and event.number == 9)
    write_mirror(STUDY, night[:cut], url)
    first = read(url)
    write_mirror(STUDY, night, url)
    write_mirror(STUDY, night, url)
    assert len(first) == 9
    assert [trial.params for trial in read(url)[:9]] == [trial.params for trial in first]
    assert len(read(url)) == 16


def test_late_knowledge_reaches_it_when_the_night_is_over(url: str, night: list[Event]) -> None:
    write_mirror(STUDY, night, url)
    late = [*night, a_sample(proposals(night)[3], len(night), 40_000.0)]
    before = read(url)[3].value
    write_mirror(STUDY, late, url)
    assert read(url)[3].value == before
    write_mirror(STUDY, over(late), url)
    after = read(url)
    assert after[3].value != before
    assert len(after) == 16


def test_a_trial_without_a_number_keeps_its_place(url: str, night: list[Event]) -> None:
    lost = propose(STUDY, night, AskSampler(night=1, number=16), at="2026-02-01T04:00:00+00:00")
    log = [*night, lost, a_failure(lost, 900, blame="environment")]
    still_open = propose(STUDY, log, AskSampler(night=1, number=17), at="2026-02-01T04:00:00+00:00")
    write_mirror(STUDY, [*log, still_open], url)
    trials = read(url)
    assert len(trials) == 17
    assert trials[16].state is optuna.trial.TrialState.FAIL


def test_nothing_is_written_before_a_night_has_begun(tmp_path: Path, url: str) -> None:
    write_mirror(STUDY, [], url)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_study_of_this_name_is_left_alone(url: str, night: list[Event]) -> None:
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(study_name="kinds", storage=storage).add_trial(
        optuna.trial.create_trial(value=1.0, params={}, distributions={})
    )
    storage.remove_session()
    storage.engine.dispose()
    with pytest.raises(StorageError, match="is not autotune's copy"):
        write_mirror(STUDY, night, url)
    assert len(read(url)) == 1


def test_a_database_that_cant_be_written_is_a_storage_error(tmp_path: Path, night: list[Event]) -> None:
    path = tmp_path / "not a database"
    path.write_text("something else entirely, and long enough to be read as a header of some kind" * 9)
    with pytest.raises(StorageError, match="Optuna's tables can't be written"):
        write_mirror(STUDY, night, f"sqlite:///{path}")


@pytest.mark.parametrize("ours_first", [True, False])
def test_it_lives_beside_our_tables_in_one_file(url: str, night: list[Event], *, ours_first: bool) -> None:
    from autotune.storage.store import Store

    if not ours_first:
        write_mirror(STUDY, night, url)
    with Store.open(url) as store:
        store.enter(STUDY)
        for event in night:
            store.append("kinds", event)
        write_mirror(STUDY, store.log("kinds"), url)
        write_mirror(STUDY, over(store.log("kinds")), store.url)
        store.append("kinds", over(night)[-1])
    with Store.open(url) as store:
        assert store.log("kinds") == over(night)
    assert len(read(url)) == 16
