"""What tortures find, and the file from which an interrupted one goes on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

STATE: Final = "state.json"


@dataclass
class Wrongs:
    """Everything that was wrong after so many deaths, in words."""

    differences: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    deaths: int = 0

    @property
    def numbers(self) -> dict[str, int]:
        """How much of each, as it is printed."""
        counted = ("differences", "lost", "doubled", "diverged")
        return {"deaths": self.deaths, **{name: len(getattr(self, name)) for name in counted}}


@dataclass
class Findings(Wrongs):
    """What was killed when, too. `restored_s`: from deaths to a board as it was."""

    strata: Counter[str] = field(default_factory=Counter)
    combinations: Counter[frozenset[str]] = field(default_factory=Counter)
    weather: Counter[str] = field(default_factory=Counter)
    restored_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a folder's torture was asked to be; the same words go on with it."""

    deaths: int
    seed: int
    lab: bool
    own: bool


@dataclass
class State:
    """How far a torture has come. `dealt_with`: planned deaths; `events`, `digest`: the log as it was read last."""

    plan: Plan
    found: Findings = field(default_factory=Findings)
    dealt_with: int = 0
    nights: int = 1
    seconds: float = 0.0
    sittings: int = 0
    events: int = 0
    digest: str = ""
    finished: bool = False

    def write(self, folder: Path) -> None:
        found = {
            **vars(self.found),
            "combinations": [[sorted(victims), times] for victims, times in self.found.combinations.items()],
        }
        keep(folder, {**vars(self), "plan": asdict(self.plan), "found": found})


def keep(folder: Path, body: dict[str, Any]) -> None:
    """In one step: whoever kills us leaves the file as it was, or as it is now."""
    fresh = folder / (STATE + ".new")
    fresh.write_text(json.dumps(body, indent=1), encoding="utf-8")
    fresh.replace(folder / STATE)


def kept(folder: Path) -> dict[str, Any]:
    """What was kept last in `folder`; {} before."""
    try:
        body: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return body


def read_state(folder: Path) -> State | None:
    """The state of a torture that was begun in `folder`; None where none was."""
    body = kept(folder)
    if not body:
        return None
    found = body.pop("found")
    pairs = found.pop("combinations")
    findings = Findings(**found, combinations=Counter({frozenset(names): times for names, times in pairs}))
    findings.strata, findings.weather = Counter(findings.strata), Counter(findings.weather)
    return State(plan=Plan(**body.pop("plan")), found=findings, **body)
