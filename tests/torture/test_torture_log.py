"""The checks of the log notice every fault that is planted in one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from torture_log import NightLog, doubled, missing_from, strange, unmeasured, wrongly_blamed
from torture_replay import diverged, diverged_in_a_fresh_process, night_of_numbers

from autotune.experiment.events import Event, Failure, NightBegun, NightEnded, Proposal, Ranking, Sample
from autotune.experiment.study import Study
from autotune.space.configuration import Configuration


@pytest.fixture(scope="module")
def night() -> tuple[Study, list[Event]]:
    return night_of_numbers(2)


@pytest.fixture
def log(night: tuple[Study, list[Event]]) -> list[Event]:
    return list(night[1])


def index_of(log: list[Event], kind: type[Event], number: int = 0) -> int:
    return [place for place, one in enumerate(log) if isinstance(one, kind)][number]


def test_a_night_as_it_should_be_is_found_in_order(log: list[Event]) -> None:
    assert (doubled(log), unmeasured(log), strange(log, complete=True), wrongly_blamed(log)) == (
        [],
        [],
        [],
        [],
    )
    assert any(isinstance(one, Failure) for one in log)


def test_a_sample_that_is_stored_twice_is_noticed(log: list[Event]) -> None:
    log.append(log[index_of(log, Sample, 5)])
    assert any("is stored 2 times" in one for one in doubled(log))


def test_a_second_valid_sample_of_one_place_is_noticed(log: list[Event]) -> None:
    sample = log[index_of(log, Sample, 5)]
    assert isinstance(sample, Sample)
    log.append(sample.model_copy(update={"key": sample.key.model_copy(update={"attempt": 1})}))
    assert any("2 valid samples of one place" in one for one in doubled(log))


def test_a_proposal_number_that_is_used_twice_is_noticed(log: list[Event]) -> None:
    log.append(log[index_of(log, Proposal, 2)])
    assert any("trial 2 is proposed 2 times" in one for one in doubled(log))


def test_a_proposal_that_is_gone_is_noticed(log: list[Event]) -> None:
    del log[index_of(log, Proposal, 2)]
    found = doubled(log)
    assert any("have gaps" in one for one in found)
    assert any("trial 2 was measured" in one and "without a proposal" in one for one in found)


def test_a_trial_measured_as_something_else_is_noticed(log: list[Event]) -> None:
    places = [place for place, one in enumerate(log) if isinstance(one, Sample) and one.arm.kind == "trial"]
    sample = log[places[0]]
    assert isinstance(sample, Sample)
    log[places[0]] = sample.model_copy(update={"configuration": Configuration()})
    assert any("measured another configuration" in one for one in doubled(log))


def test_a_proposal_that_is_passed_over_is_noticed(log: list[Event]) -> None:
    without = [
        one
        for one in log
        if not (isinstance(one, (Sample, Failure)) and one.arm.kind == "trial" and one.arm.number == 2)
    ]
    assert any("was proposed while [2]" in one for one in doubled(without))
    assert unmeasured(without) == ["trial 2 was proposed and never measured"]


def test_a_second_night_an_early_end_and_no_end_are_noticed(log: list[Event]) -> None:
    begun, ended = log[0], log[-1]
    assert isinstance(begun, NightBegun)
    assert isinstance(ended, NightEnded)
    assert strange([*log, begun], complete=False) == ["2 nights were begun"]
    refused = ended.model_copy(update={"outcome": "refused"})
    assert strange([*log[:-1], refused], complete=False) == ["the night ended: refused "]
    assert strange(log[:-1], complete=True) == ["the night did not come to its end"]


def test_a_configuration_blamed_for_a_kill_is_noticed(log: list[Event]) -> None:
    failure = log[index_of(log, Failure)]
    assert isinstance(failure, Failure)
    assert len(wrongly_blamed([failure.model_copy(update={"blame": "configuration"})])) == 1


def test_an_event_that_is_lost_changed_or_moved_is_noticed() -> None:
    assert missing_from(["a", "b"], ["a", "b", "c"]) == []
    assert missing_from(["a", "b"], ["a"]) == ["event 2 was b, is gone"]
    assert missing_from(["a", "b"], ["b", "a"]) == ["event 1 was a, is b", "event 2 was b, is a"]


def test_a_log_is_held_against_what_was_read_before(log: list[Event], tmp_path: Path) -> None:
    database = tmp_path / "night.db"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE autotune_events (seq INTEGER, body TEXT)")
    rows = [(number, one.model_dump_json()) for number, one in enumerate(log[:30], 1)]
    connection.executemany("INSERT INTO autotune_events VALUES (?, ?)", rows)
    connection.commit()
    read = NightLog(database)
    read.refresh()
    read.check_prefix()
    assert (read.events, read.lost) == (log[:30], [])
    connection.execute("DELETE FROM autotune_events WHERE seq = 30")
    connection.commit()
    connection.close()
    read.check_prefix()
    assert len(read.lost) == 1
    read.check_prefix()
    assert len(read.lost) == 1  # told once


@pytest.mark.parametrize("kind", [Sample, Proposal, Ranking])
def test_a_decision_that_the_log_does_not_lead_to_is_noticed(
    night: tuple[Study, list[Event]], log: list[Event], kind: type[Event]
) -> None:
    study, _ = night
    place = index_of(log, kind, -1)
    event = log[place]
    match event:
        case Sample():
            other: Event = event.model_copy(
                update={"key": event.key.model_copy(update={"block": event.key.block + 1})}
            )
        case Proposal():
            other = event.model_copy(update={"configuration": Configuration()})
        case Ranking():
            other = event.model_copy(update={"scores": (*event.scores, 0.5), "trials": (*event.trials, 1)})
        case _:
            raise AssertionError(kind)
    found = diverged(study, [*log[:place], other])
    assert len(found) == 1
    assert f"event {place + 1} " in found[0]


def test_a_fresh_process_finds_nothing_in_a_night_and_the_fault_in_a_forged_one(
    night: tuple[Study, list[Event]], log: list[Event], tmp_path: Path
) -> None:
    (tmp_path / "study.json").write_text(night[0].model_dump_json())
    written = tmp_path / "log.jsonl"
    written.write_text("".join(one.model_dump_json() + "\n" for one in log))
    assert diverged_in_a_fresh_process(tmp_path / "study.json", written) == []
    del log[index_of(log, Sample, 3)]
    written.write_text("".join(one.model_dump_json() + "\n" for one in log))
    assert diverged_in_a_fresh_process(tmp_path / "study.json", written)
    written.write_text("{}\n")
    assert "the replay failed" in diverged_in_a_fresh_process(tmp_path / "study.json", written)[0]
