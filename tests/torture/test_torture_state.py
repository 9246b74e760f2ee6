"""An interrupted torture goes on with exactly what it had found."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

from torture_log import NightLog, strange
from torture_replay import night_of_numbers
from torture_state import Findings, Plan, State, read_state

from autotune.experiment.events import NightBegun, NightEnded

PLAN = Plan(deaths=300, seed=2, lab=True, own=False)


def test_what_was_found_is_read_back_as_it_was(tmp_path: Path) -> None:
    found = Findings(
        differences=["a"],
        complaints=["b"],
        strata=Counter({"switch": 2}),
        combinations=Counter({frozenset({"agent", "ssh"}): 2, frozenset({"nginx"}): 1}),
        weather=Counter({"fair": 3}),
        restored_s=[0.25, 5.0],
        deaths=3,
    )
    state = State(plan=PLAN, found=found, dealt_with=4, seconds=12.5, events=7, digest="d")
    state.write(tmp_path)
    assert read_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_folder_without_a_torture_has_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


def test_what_an_interruption_has_changed_in_the_log_is_noticed(tmp_path: Path) -> None:
    _, events = night_of_numbers(2)
    database = tmp_path / "night.db"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE autotune_events (seq INTEGER, body TEXT)")
    rows = [(number, one.model_dump_json()) for number, one in enumerate(events[:20], 1)]
    connection.executemany("INSERT INTO autotune_events VALUES (?, ?)", rows)
    connection.commit()
    before = NightLog(database)
    before.refresh()
    seen, digest = len(before.events), before.digest
    rows = [(number, one.model_dump_json()) for number, one in enumerate(events[20:25], 21)]
    connection.executemany("INSERT INTO autotune_events VALUES (?, ?)", rows)
    connection.commit()
    after = NightLog(database)
    after.resume(seen, digest)
    assert (after.events, after.lost) == (events[:25], [])
    connection.execute(
        "UPDATE autotune_events SET body = (SELECT body FROM autotune_events WHERE seq = 5) WHERE seq = 6"
    )
    connection.commit()
    connection.close()
    changed = NightLog(database)
    changed.resume(seen, digest)
    assert len(changed.lost) == 1


def test_a_torture_that_was_away_for_hours_may_begin_another_night() -> None:
    _, log = night_of_numbers(2)
    begun, ended = log[0], log[-1]
    assert isinstance(begun, NightBegun)
    assert isinstance(ended, NightEnded)
    abandoned = ended.model_copy(update={"outcome": "abandoned"})
    two = [*log[:-1], abandoned, begun]
    assert strange(two, complete=False, allowed=2) == []
    assert len(strange(two, complete=False)) == 2
