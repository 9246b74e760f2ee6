"""Work in chunks whose results are kept: by the code that made them, so that it can be cut anywhere and gone on with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from autotune.space.record import Record

ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = ("measurement", "search", "synthetic", "analysis", "experiment", "space", "definitions")
WORKERS: Final = 2

Result = TypeVar("Result", bound=Record, covariant=True)  # noqa: PLC0105 - the word is what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk(Generic[Result]):
    """Seeds first <= seed < last of one part. `make` must be a function of a module, for it goes to another process."""

    part: str
    make: Callable[[int], Result]
    kind: type[Result]
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.part} {self.first}-{self.last - 1}"


def chunks_of(
    part: str, make: Callable[[int], Result], kind: type[Result], *, seeds: int, size: int
) -> list[Chunk[Result]]:
    """The seeds 0 <= seed < `seeds` of this part, `size` at a time."""
    return [
        Chunk(part=part, make=make, kind=kind, first=first, last=min(first + size, seeds))
        for first in range(0, seeds, size)
    ]


def code_hash(places: Iterable[Path]) -> str:
    """Of every file that these files and folders hold, with their names: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(_files(places)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def measuring_code() -> list[Path]:
    """What the figures without a board depend on."""
    rooms = [ROOT / "autotune" / room for room in ROOMS]
    beginnings = [ROOT / "autotune" / "runner" / f"{name}.py" for name in ("beginning", "sequence")]
    return [*rooms, *beginnings, ROOT / "studies", ROOT / "search_spaces", *_own_code()]


def whole_code() -> list[Path]:
    """What the figures of a real board depend on."""
    return [ROOT / "autotune", *_own_code()]


def _own_code() -> list[Path]:
    return [*Path(__file__).parent.glob("protocol_*.py"), ROOT / "scripts" / "bench-protocol"]


def _files(places: Iterable[Path]) -> list[Path]:
    found = []
    for place in places:
        found += (
            [place]
            if place.is_file()
            else [one for one in place.rglob("*") if one.suffix in (".py", ".toml")]
        )
    return found


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path("~/.cache").expanduser()
    return root / "autotune" / "bench-protocol"


class Cache:
    """The results of one state of the code, one file per chunk with one line per seed."""

    def __init__(self, places: Iterable[Path]) -> None:
        self.code = code_hash(places)
        self._folder = cache_folder() / self.code
        self._folder.mkdir(parents=True, exist_ok=True)

    def get(self, chunk: Chunk[Result]) -> list[Result] | None:
        """Its results, one per seed; None: not made yet."""
        path = self._path(chunk)
        if not path.exists():
            return None
        return [chunk.kind.model_validate_json(line) for line in path.read_text().splitlines()]

    def results(self, chunks: Sequence[Chunk[Result]]) -> dict[str, list[Result]]:
        """Everything that is kept of these chunks, by part, in order of the seeds."""
        found: dict[str, list[Result]] = {}
        for chunk in chunks:
            found.setdefault(chunk.part, []).extend(self.get(chunk) or [])
        return found

    def put(self, chunk: Chunk[Record], results: Sequence[Record]) -> None:
        path = self._path(chunk)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text("".join(one.model_dump_json() + "\n" for one in results))
        half.replace(path)

    def _path(self, chunk: Chunk[Record]) -> Path:
        return self._folder / f"{chunk.name.replace(' ', '_')}.jsonl"


def make(chunks: Sequence[Chunk[Record]], cache: Cache, say: Callable[[str], None]) -> int:
    """Makes what isn't kept yet, in two processes; how many chunks that were."""
    missing = [chunk for chunk in chunks if cache.get(chunk) is None]
    if not missing:
        return 0
    with ProcessPoolExecutor(WORKERS) as pool:
        waiting = {pool.submit(_made, chunk): chunk for chunk in missing}
        try:
            for count, done in enumerate(as_completed(waiting), start=1):
                cache.put(waiting[done], done.result())
                say(f"{count} of {len(missing)}: {waiting[done].name}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(missing)


def _made(chunk: Chunk[Record]) -> list[Record]:
    return [chunk.make(seed) for seed in range(chunk.first, chunk.last)]
