"""The kernel settings of a night: captured, journaled, written, read back, and given back when no longer wanted."""

from __future__ import annotations

from typing import Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

from autotune.agent import allowed, clocks
from autotune.agent.counters import memory_bytes
from autotune.agent.faults import Fault
from autotune.agent.journal import Entry, Journal
from autotune.agent.kernel_files import (
    Group,
    captured_before,
    captured_with,
    group_of,
    in_order,
    is_at,
    read_value,
    write_value,
    writes_back,
)
from autotune.agent.protocol import Effect

Writes = Sequence[Tuple[str, str]]


class Settings:
    """Every path has its original from the moment it is first met until the night ends."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._originals: Dict[str, Optional[str]] = {}
        self._last: Dict[str, Optional[str]] = {}  # as read after our own last writes
        self._foreign: Set[str] = set()
        self._errors: Dict[str, str] = {}
        self._reversible: Set[str] = set()
        self._named: Dict[Group, FrozenSet[str]] = {}
        self._memory_bytes = memory_bytes()[1]

    # -- before anything is changed -------------------------------------------------------------------------------------

    def check_paths(self, paths: Sequence[str]) -> None:
        """Raises Fault for the first path that is never written."""
        for path in paths:
            allowed.check_path(path)

    def examine(self, writes: Writes) -> Dict[str, Optional[str]]:
        """The originals of the paths met for the first time. Raises Fault for a write that is not allowed."""
        self.check_paths([path for path, _ in writes])
        fresh = self._fresh([path for path, _ in writes])
        originals = {**fresh, **self._originals}
        for path, text in writes:
            allowed.check_write(path, text, memory_bytes=self._memory_bytes, originals=originals)
        return fresh

    def _fresh(self, paths: Sequence[str]) -> Dict[str, Optional[str]]:
        """Present values of the paths, and of those that move with them, that have no original yet."""
        found: Dict[str, Optional[str]] = {}
        for path in paths:
            for member in (*captured_before(path), *captured_with(path)):
                if member in self._originals or member in found:
                    continue
                try:
                    found[member] = read_value(member)
                    if clocks.was_absent(member, self._originals, read_value):
                        found[member] = None
                except OSError as problem:
                    raise Fault("not permitted", f"{member} can't be read: {problem.strerror}") from None
                if slowed := clocks.cooled_by(member, read_value):
                    reason = f"{member} is not touched while heat slows the board down ({slowed})"
                    raise Fault(
                        "refused", reason + ": a throttled limit is not the original", "let it cool down"
                    )
                if not allowed.is_original(member, found[member]):
                    raise Fault("refused", f"{member} holds what can't be written back, so it is not touched")
        return found

    def note_foreign(self) -> None:
        """Finds the paths that someone else has changed since we wrote or read them; they are left alone from then on.

        At the end of the night they go back to their originals all the same: the board ends as it began.
        """
        for path, last in self._last.items():
            if path not in self._foreign and not is_at(path, last):
                self._foreign.add(path)

    def foreign_paths(self) -> List[str]:
        return sorted(self._foreign)

    def remember(self, fresh: Mapping[str, Optional[str]], more: Sequence[Entry] = ()) -> None:
        """Journals the originals, and other entries with them, with one sync. Nothing may be written before."""
        entries: List[Entry] = [
            {"entry": "WILL", "path": path, "original": original} for path, original in fresh.items()
        ]
        self._journal.append([*entries, *more], sync=True)
        self._originals.update(fresh)
        self._last.update(fresh)

    # -- changing -------------------------------------------------------------------------------------------------------

    def apply(self, wanted: Mapping[str, str]) -> None:
        """Writes what differs; every journaled path that isn't wanted goes back to its original first, last to first."""
        self._errors = {}
        groups = {group_of(path): None for path in self._originals}
        for group in reversed(list(groups)):
            members = in_order(group, self._originals)
            named = frozenset(member for member in members if member in wanted)
            same = named == self._named.get(group) and all(is_at(member, wanted[member]) for member in named)
            if not named or (len(members) > 1 and not same):
                # Members move each other, so whatever changes here starts from the originals.
                self._give_back(group)
            self._named[group] = named
        done: Set[str] = set()
        for path in wanted:
            for member in () if path in done else in_order(group_of(path), wanted):
                done.add(member)
                self._write(member, wanted[member])

    def _give_back(self, group: Group) -> None:
        for member, text in writes_back(group, self._originals):
            self._write(member, text)

    def stuck(self) -> str:
        """The first path that no configuration wants any more and that is not back at its original; "" when none is."""
        for group, named in self._named.items():
            for path in () if named else in_order(group, self._originals):
                now, original = self._last.get(path), self._originals.get(path)
                if path not in self._foreign and now != original:
                    return f"{path} is {now!r} and would not go back to {original!r}: {self._errors.get(path, 'no error')}"
        return ""

    def _write(self, path: str, text: str) -> None:
        if path in self._foreign or is_at(path, text) or not self._can_go_back(path):
            return
        try:
            write_value(path, text)
        except OSError as problem:
            self._errors[path] = problem.strerror or str(problem)
            self._undo_partly_written(path)

    def _can_go_back(self, path: str) -> bool:
        """Whether the kernel takes the path's own value, asked once, before anything else is written into it.

        A network namespace inherits tcp_congestion_control even when it is one that only the first namespace may
        choose: there `reno` can be written, and the original never again.
        """
        original = self._originals[path]
        if path in self._reversible or group_of(path).exclusive or original is None:
            return True
        try:
            write_value(path, original)
        except OSError as problem:
            self._errors[path] = f"{problem.strerror} (its own value, so it is not touched)"
            return False
        self._reversible.add(path)
        return True

    def _undo_partly_written(self, path: str) -> None:
        """A refused vector can have changed its first elements, so the whole original goes back."""
        original = self._originals[path]
        if original is not None and not is_at(path, original):
            try:
                write_value(path, original)
            except OSError:
                return

    def read_back(self, writes: Writes) -> List[Effect]:
        """What the named paths read now; what the others read is remembered as ours."""
        changed: Dict[str, Optional[str]] = {}
        for path in self._originals:
            try:
                now = read_value(path)
            except OSError as problem:
                self._errors.setdefault(path, f"can't be read back: {problem.strerror}")
                continue
            if path not in self._foreign and now != self._last[path]:
                changed[path] = now
                self._last[path] = now
        if changed:
            self._journal.append([{"entry": "DID", "now": changed}], sync=False)
        return [self._effect(path, text) for path, text in writes]

    def write_back(self, paths: Sequence[str]) -> List[Effect]:
        """Writes each path's own value into it and reads it again. What moved along with it is remembered as ours."""
        self.remember(self._fresh(paths))
        effects = [self._write_own(path) for path in paths]
        self.read_back(())
        return effects

    def _write_own(self, path: str) -> Effect:
        value = self._last[path]
        if value is None:
            return {"path": path, "requested": "", "effective": "", "error": "No such file or directory"}
        self._errors = {}
        # The 0 of a pair is never written: it goes away with the other member, and the kernel refuses it.
        if not (group_of(path).exclusive and value == "0"):
            try:
                write_value(path, value)
            except OSError as problem:
                self._errors[path] = problem.strerror or str(problem)
        return self._effect(path, value)

    def _effect(self, path: str, requested: str) -> Effect:
        try:
            now = read_value(path) or ""
        except OSError as problem:
            now = ""
            self._errors.setdefault(path, f"can't be read back: {problem.strerror}")
        return {"path": path, "requested": requested, "effective": now, "error": self._errors.get(path, "")}
