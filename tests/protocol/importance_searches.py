"""Real searches on boards of known truth, kept in a folder: cut it anywhere, and the next run goes on with what is missing."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from importance_boards import KnownBoard
from protocol_cache import ROOT, code_hash
from protocol_night import Night, real_sampler

from autotune.experiment.events import EVENT, Event
from autotune.experiment.study import Study
from autotune.synthetic.noise import Disturbance

CVS: Final = (0.01, 0.03, 0.05)
_SEARCHER: Final = ("searcher", "memory", "encoding", "distributions", "space_filling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """One search with the truth about its board: `effects` by parameter id, see importance_boards."""

    seed: int
    cv: float
    study: Study
    log: Sequence[Event]
    effects: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """The folder. A search is kept by the code of the searcher, the boards and the space that made it."""

    folder: Path

    @property
    def place(self) -> Path:
        rooms = [ROOT / "autotune" / room for room in ("synthetic", "space")]
        searcher = [ROOT / "autotune" / "search" / f"{name}.py" for name in _SEARCHER]
        own = [Path(__file__).with_name("importance_boards.py"), ROOT / "search_spaces"]
        return self.folder / code_hash([*rooms, *searcher, *own])

    def make(self, seeds: Iterable[int], cvs: Sequence[float], say: Callable[[str], None]) -> list[Searched]:
        """Every one of these, searched now or before."""
        return [self._one(KnownBoard(seed), cv, say) for seed in seeds for cv in cvs]

    def _one(self, known: KnownBoard, cv: float, say: Callable[[str], None]) -> Searched:
        log_file = self.place / f"{known.seed}-{100 * cv:g}.jsonl.gz"
        effects_file = self.place / f"{known.seed}-effects.json"
        if not effects_file.exists():
            _keep(effects_file, json.dumps(known.true_effects()).encode())
        if not log_file.exists():
            say(f"search {known.seed} with {100 * cv:g} % noise")
            lines = "".join(f"{one.model_dump_json()}\n" for one in _search(known, cv))
            _keep(log_file, gzip.compress(lines.encode()))
        lines = gzip.decompress(log_file.read_bytes()).decode()
        return Searched(
            seed=known.seed,
            cv=cv,
            study=known.study,
            log=[EVENT.validate_json(line) for line in lines.splitlines()],
            effects=json.loads(effects_file.read_text()),
        )


def _search(known: KnownBoard, cv: float) -> list[Event]:
    # As on a board: it drifts, neighbours resemble each other, and now and then a sample is spoilt.
    disturbance = Disturbance(cv=cv, drift_per_hour=-0.01, autocorrelation=0.3, mishaps=0.006)
    seed = int.from_bytes(hashlib.sha256(f"{known.seed} {cv}".encode()).digest()[:4], "big")
    return Night(
        known.board,
        known.study,
        [known.begun],
        seed=seed,
        disturbance=disturbance,
        proposer=real_sampler,
    ).search()


def _keep(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(f".{os.getpid()}")
    half.write_bytes(content)
    half.replace(file)
