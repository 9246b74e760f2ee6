"""What must be true of the board and the log whenever no controller runs, and what is kept when it isn't."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torture_machine as machine
from torture_journal import RUN_DIR, JournalWatch
from torture_log import NightLog, doubled, strange
from torture_outside import Surroundings
from torture_site import Site
from torture_state import State
from torture_study import PORT


class Inspector:
    """Compares the board with what it was before the first start, and the log with what it was a moment ago."""

    def __init__(
        self,
        folder: Path,
        watch: JournalWatch,
        log: NightLog,
        outside: Surroundings,
        say: Callable[[str], None],
        state: State,
        site: Site | None,
    ) -> None:
        self.found = state.found
        self._state = state
        self._site = site
        self._folder = folder
        self._watch = watch
        self._log = log
        self._outside = outside
        self._say = say
        self._before = machine.board_values()
        self._space_paths: set[str] = set()
        self._kept = len(list(folder.glob("wrong-*")))

    def check(self, what: str) -> bool:
        """Looks at everything, after `what`; whether all was well. A difference is put right once it was told."""
        self._watch.pump()
        wrong = self._left_over()
        changed = machine.changed_values(self._before, self._paths())
        if (
            changed and self._outside.agents()
        ):  # what all namespaces share may be theirs, and go back with them
            self._outside.wait(self._say)
            changed = machine.changed_values(self._before, self._paths())
        wrong += [f"{path} was {was!r}, is {now!r}" for path, (was, now) in changed.items()]
        wrong += self._watch.problems + wrong_originals(self._watch.paths, self._before)
        wrong += self._site.wrong() if self._site is not None else []
        self._watch.problems.clear()
        lost = len(self._log.lost)
        self._log.check_prefix()
        missing = self._log.lost[lost:]
        twice = [one for one in doubled(self._log.events) if one not in self.found.doubled]
        strangely = strange(self._log.events, complete=False, allowed=self._state.nights)
        odd = [one for one in strangely if one not in self.found.complaints]
        others = self._outside.agents() if wrong else []
        if others:
            wrong = [f"{one} (other agents run on this machine: {', '.join(others)})" for one in wrong]
        self.found.differences += [f"{what}: {one}" for one in wrong]
        self.found.lost += missing
        self.found.doubled += twice
        self.found.complaints += odd
        if wrong or missing or twice or odd:
            self.keep(what, [*wrong, *missing, *twice, *odd])
        if wrong:
            machine.put_back({} if others else changed)
            machine.clear_away()
        return not wrong

    def values_now(self) -> list[str]:
        """What differs of the board's values right now, in words. The rest may be anything: a controller is at work."""
        changed = machine.changed_values(self._before, self._paths())
        return [f"{path} was {was!r}, is {now!r}" for path, (was, now) in changed.items()]

    def differs(self, what: str, wrong: Sequence[str]) -> None:
        """Notes what was seen to be wrong of the board at another moment than those of `check`."""
        self.found.differences += [f"{what}: {one}" for one in wrong]
        self.keep(what, wrong)

    def complain(self, what: str, text: str) -> None:
        """Notes what no check of the board finds: a controller that doesn't do as it should."""
        self.found.complaints.append(f"{what}: {text}")
        self.keep(what, [text])

    def _left_over(self) -> list[str]:
        """Nothing of ours lives or lies about; those that are just leaving get a moment."""
        until = time.monotonic() + 3.0
        while (left := machine.leftovers(PORT)) and time.monotonic() < until:
            self._watch.pump(0.01)
        return left

    def _paths(self) -> set[str]:
        if not self._space_paths and self._log.study is not None:
            self._space_paths = space_paths(self._log)
        return self._space_paths | self._watch.paths.keys()

    def keep(self, what: str, wrong: Sequence[str]) -> None:
        """Says what is wrong, and keeps log, journals and database as they are now."""
        self._kept += 1
        place = self._folder / f"wrong-{self._kept}"
        place.mkdir()
        for path in self._folder.iterdir():
            if path.is_file():
                shutil.copy2(path, place)
        for path in RUN_DIR.glob("*"):
            if path.is_file():
                shutil.copy2(path, place / f"run-{path.name}")
        (place / "what.txt").write_text("\n".join([what, *wrong]) + "\n")
        for one in wrong:
            self._say(f"WRONG after {what}: {one}")
        self._say(f"  kept in {place}")
        self._state.write(self._folder)  # whatever kills us now

    def put_back(self) -> None:
        """The last thing done, whatever happened: the board is as it was."""
        machine.put_back(machine.changed_values(self._before, self._paths()))


def wrong_originals(journaled: Mapping[str, str | None], before: Mapping[str, bytes]) -> list[str]:
    """Journaled originals that are not what the board had before the first start, in words."""
    wrong = []
    for path, original in journaled.items():
        was = in_one_line(before[path]) if path in before else None
        if was != original:
            wrong.append(f"{path} was journaled as {original!r}, but had been {was!r}")
    return wrong


def in_one_line(raw: bytes) -> str:
    """A value as one would write it: the chosen word of a bracketed list, or all words with single blanks."""
    words = raw.decode().split()
    chosen = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
    return chosen[0] if chosen else " ".join(words)


def space_paths(log: NightLog) -> set[str]:
    """Every kernel file that the study's settings stand for and that this machine may write."""
    from autotune.actuators import sysctl
    from autotune.runner.session import settings_of

    if log.study is None:
        return set()
    settings = settings_of(log.study)
    paths = {sysctl.path_of(one) for one in settings if one.id.startswith("sysctl:")}
    paths |= {str(machine.THP / one.key) for one in settings if one.id.startswith("thp:")}
    return {path for path in paths if os.access(path, os.W_OK)}
