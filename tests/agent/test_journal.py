"""The journal: the first original wins, and a torn end is told from a damaged middle."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.agent.faults import Fault
from autotune.agent.journal import Journal, parse, read_journal
from autotune.agent.kernel_files import GROUPS
from autotune.agent.places import Places
from autotune.agent.restore import restore_from_journal

BEGIN = {"entry": "BEGIN", "study": "s", "boot_id": "b", "netns": "1", "token": "0" * 16, "holder": "h"}
SOMAXCONN = "/proc/sys/net/core/somaxconn"
NAMES = ("core/somaxconn", "core/netdev_budget", "ipv4/tcp_rmem", "ipv4/tcp_sack")
PATHS = tuple("/proc/sys/net/" + name for name in NAMES)


def will(path: str, original: str | None) -> dict[str, Any]:
    return {"entry": "WILL", "path": path, "original": original}


def text(*entries: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


wills = st.lists(
    st.builds(will, st.sampled_from(PATHS), st.sampled_from(["0", "1", "4096 8192 16384", None]))
)


@given(wills)
def test_the_first_original_of_a_path_wins_for_ever(entries: list[dict[str, Any]]) -> None:
    story = parse(text(BEGIN, *entries))
    firsts: dict[str, str | None] = {}
    for entry in entries:
        firsts.setdefault(entry["path"], entry["original"])
    assert story.state == "open"
    assert list(story.originals.items()) == list(firsts.items())


@pytest.mark.parametrize("path", [path for group in GROUPS for path in group.table])
def test_what_moves_with_a_setting_can_be_told_though_it_is_never_asked_for(path: str) -> None:
    assert parse(text(BEGIN, will(path, "reno cubic"))).originals == {path: "reno cubic"}


@given(wills, st.data())
def test_a_journal_cut_anywhere_tells_all_its_whole_lines(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = text(BEGIN, *entries)
    cut = data.draw(st.integers(0, len(whole)))
    lines = whole[:cut].count(b"\n")
    story = parse(whole[:cut])
    assert story.state == ("open" if lines else "clean")
    assert story.originals == parse(text(BEGIN, *entries[: max(0, lines - 1)])).originals


@given(wills.filter(bool), st.data())
def test_a_damaged_line_before_the_last_stops_with_its_number(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    lines = text(BEGIN, *entries).splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 2))
    lines[number] = data.draw(st.sampled_from([b"\0\0\0\n", b"{\n", b"[]\n", b'{"entry":"ODD"}\n', b"\n"]))
    story = parse(b"".join(lines))
    assert story.state == "torn"
    assert f"line {number + 1} " in story.problem


@pytest.mark.parametrize(
    "entry",
    [
        will("/etc/passwd", "x"),
        will("/proc/sys/kernel/core_pattern", "|/tmp/x"),
        will(SOMAXCONN, "1\n2"),
        {"entry": "WILL", "path": SOMAXCONN, "original": 5},
        {"entry": "PROCESS", "pgid": "1", "start": 0},
        {"entry": "PROCESS", "pgid": -1, "start": 0},
        BEGIN,
    ],
)
def test_an_entry_that_the_agent_cannot_have_written_is_not_believed(entry: dict[str, Any]) -> None:
    assert parse(text(BEGIN, entry, will(SOMAXCONN, "1"))).state == "torn"


def places(tmp_path: Path) -> Places:
    return Places(os.geteuid(), str(tmp_path), str(tmp_path / "state"))


def test_what_follows_a_torn_line_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    here = places(tmp_path)
    Journal.create(here, BEGIN).close()
    with Path(here.journal).open("ab") as file:
        file.write(b'{"entry":"WILL","pa')
    again = Journal.reopen(here)
    again.append([will(SOMAXCONN, "4096")], sync=True)
    again.close()
    story = read_journal(here)
    assert (story.state, story.originals) == ("open", {SOMAXCONN: "4096"})


def test_what_did_not_fit_whole_is_not_there_at_all_when_there_is_room_again(tmp_path: Path) -> None:
    here = places(tmp_path)
    journal = Journal.create(here, BEGIN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for a part of the line: the kernel writes that part before it says no.
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(here.journal).stat().st_size + 10, hard))
    try:
        with pytest.raises(Fault, match="can't be written"):
            journal.append([will(SOMAXCONN, "128")], sync=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.append([will(SOMAXCONN, "4096"), {"entry": "KEPT"}], sync=True)
    journal.close()
    story = read_journal(here)
    assert (story.state, story.originals) == ("open", {SOMAXCONN: "4096"})


def test_a_ballast_whose_journal_was_never_begun_is_restored_away(tmp_path: Path) -> None:
    where = places(tmp_path)
    Path(where.ballast).touch()
    restore_from_journal(where)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_journal_is_gone_with_its_ballast(tmp_path: Path) -> None:
    here = places(tmp_path)
    Journal.create(here, BEGIN).finish()
    assert list(tmp_path.iterdir()) == []
    assert read_journal(here).state == "none"


def test_a_death_between_clean_and_removal_leaves_a_clean_journal(tmp_path: Path) -> None:
    here = places(tmp_path)
    journal = Journal.create(here, BEGIN)
    journal.append([will(SOMAXCONN, "1"), {"entry": "CLEAN"}], sync=True)
    journal.close()
    assert read_journal(here).state == "clean"


def test_a_journal_that_others_could_have_written_is_not_believed(tmp_path: Path) -> None:
    here = places(tmp_path)
    Journal.create(here, BEGIN).close()
    Path(here.journal).chmod(0o666)
    with pytest.raises(Fault, match="not a plain file of user"):
        read_journal(here)


def test_a_journal_behind_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    here = places(tmp_path)
    (tmp_path / "elsewhere").write_bytes(text(BEGIN))
    Path(here.journal).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fault) as refusal:
        read_journal(here)
    assert refusal.value.kind == "refused"
