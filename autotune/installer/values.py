"""Live values of the kernel: original first, then written, then read again; and put back where they are still ours."""

from __future__ import annotations

import contextlib
import time
from typing import Dict, List, NamedTuple, Optional, Sequence

from autotune.agent.faults import Fault
from autotune.agent.kernel_files import (
    by_hand,
    captured_before,
    captured_with,
    group_of,
    in_order,
    write_value,
    writes_back,
)
from autotune.installer import record
from autotune.installer.exported import Setting
from autotune.installer.kernel import Board, Wish, read_live, real_path, wishes, write_live
from autotune.installer.record import ValueChange

_TRIES, _BETWEEN_S = 3, 0.05


class Taken(NamedTuple):
    """What became of values that were to be put back. `left`: somebody's own by now; `stuck`: they should have gone back."""

    done: List[str]
    left: List[str]
    stuck: List[str]


def put(settings: Sequence[Setting], nic: str, *, recorded: bool) -> List[str]:
    """Sets what these settings want, a governor before its tunables; what the kernel made otherwise, in words.

    `recorded`: originals go into the record first. Raises Fault when something can't be set.
    """
    board = Board()
    first = wishes(settings, nic, board)
    said = _put(first.wishes, recorded=recorded)
    if first.pending:
        there = {one.path for one in first.wishes}
        second = wishes(settings, nic, board)
        if second.pending:
            raise Fault("refused", f"{', '.join(second.pending)}: not there although its governor rules")
        late = [one for one in second.wishes if one.path not in there]
        if recorded:  # they came with a governor of ours, and go with it
            record.note_values([ValueChange(one.path, None, one.text) for one in late])
        said += _put(late, recorded=False)
    return said


def _put(wanted: Sequence[Wish], *, recorded: bool) -> List[str]:
    texts: Dict[str, Optional[str]] = {one.path: one.text for one in wanted}
    if recorded:
        record.note_values(_originals(texts))
    groups = dict.fromkeys(group_of(path) for path in texts)
    for group in sorted(groups, key=lambda one: one.name):
        for path in in_order(group, texts):
            if text := texts[path]:
                _write(path, text)
    said = []
    for path, text in texts.items():
        now = read_live(path)
        if now != text:
            said.append(f"{path}: asked for {text}, in force is {now}")
            if recorded:
                record.note_values([ValueChange(path, None, now)])
    return said


def _write(path: str, text: str) -> None:
    try:
        if read_live(path) != text:
            write_live(path, text)
    except OSError as problem:
        raise Fault("refused", f"{path}: the kernel refuses {text}: {problem.strerror}") from None


def _originals(texts: Dict[str, Optional[str]]) -> List[ValueChange]:
    """Of every path and of what it moves along with it; the latter first, and without a value of ours."""
    changes: Dict[str, ValueChange] = {}
    for path in texts:
        for one in (*captured_before(path), *captured_with(path)):
            if one not in texts:
                with contextlib.suppress(OSError):
                    changes[one] = ValueChange(one, read_live(one), None)
    for path, text in texts.items():
        changes[path] = ValueChange(path, read_live(path), text)
    return list(changes.values())


def merged(changes: Sequence[ValueChange]) -> Dict[str, ValueChange]:
    """One for each path: the first original, and the last that was ours."""
    found: Dict[str, ValueChange] = {}
    for one in changes:
        before = found.get(one.path)
        was = before.was if before else one.was
        ours = one.ours if one.ours is not None else (before.ours if before else None)
        found[one.path] = ValueChange(one.path, was, ours)
    return found


def take_back(changes: Sequence[ValueChange], *, dry: bool) -> Taken:
    """Puts back what still has our value, and what moved along with it; changes nothing when `dry`."""
    mine: List[str] = []
    left: List[str] = []
    found = merged(changes)
    for path, one in found.items():
        if one.ours is None:
            continue
        now = _now(path)
        if now == one.ours and now != one.was:
            mine.append(path)
        elif now not in (one.was, one.ours):
            left.append(f"{path}: somebody has made it {now} since; it was {one.was} before ours")
    groups = {group_of(path) for path in mine}
    wanted = {
        path: one.was
        for path, one in found.items()
        if path in mine or (one.ours is None and group_of(path) in groups)
    }
    done = [f"{path}: {_now(path)} -> {one}" for path, one in wanted.items() if path in mine and one]
    if dry:
        return Taken(done, left, [])
    _write_back(wanted)
    stuck = [
        f"{path}: is {_now(path)}, was {was}; by hand: {by_hand(path, was)}"
        for path, was in wanted.items()
        if was is not None and _now(path) != was
    ]
    return Taken(done, left, stuck)


def _write_back(wanted: Dict[str, Optional[str]]) -> None:
    """As a night's restore does: settings move each other, so every round looks at all of them."""
    originals: Dict[str, Optional[str]] = {}
    for path, was in wanted.items():
        with contextlib.suppress(Fault):
            originals[real_path(path)] = was
    for attempt in range(_TRIES):
        wrong = [path for path, was in originals.items() if was is not None and _now(path) != was]
        if attempt and wrong:
            time.sleep(_BETWEEN_S)
        for path in reversed(wrong):
            for member, text in writes_back(group_of(path), originals):
                with contextlib.suppress(OSError):
                    write_value(member, text)


def _now(path: str) -> Optional[str]:
    try:
        return read_live(path)
    except OSError:
        return None
