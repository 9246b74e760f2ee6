"""The definitions that come with the program: where they are, and how to get copies to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from autotune.errors import AutotuneError, UsageError

ShippedKind: TypeAlias = Literal["search_spaces", "studies"]
KINDS: tuple[ShippedKind, ...] = ("search_spaces", "studies")


def shipped_dir(kind: ShippedKind) -> Path:
    """The directory with the shipped files: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "shipped" / kind, package.parent / kind):
        if directory.is_dir():
            return directory
    raise AutotuneError(
        f"this installation of autotune has lost its {kind} directory",
        hint="Install it again: pip install --force-reinstall autotune-board",
    )


def shipped_files() -> tuple[Path, ...]:
    """Every shipped definition: spaces, then studies and sequences, by name."""
    return tuple(path for kind in KINDS for path in sorted(shipped_dir(kind).glob("*.toml")))


def shipped_names(kind: ShippedKind) -> tuple[str, ...]:
    """The shipped studies or spaces by short name, without the hand-tuned sequences that stand beside the studies."""
    mark = "\n[server]" if kind == "studies" else '\n[parameter."'
    files = sorted(shipped_dir(kind).glob("*.toml"))
    return tuple(path.stem for path in files if mark in path.read_text(encoding="utf-8"))


def find_definition(name: str, *, beside: Path) -> Path | None:
    """The file a study means by `name`: beside the study, else the shipped one of that name."""
    places = (beside.parent, *(shipped_dir(kind) for kind in KINDS))
    return next((place / name for place in places if (place / name).is_file()), None)


def copy_shipped(into: Path) -> tuple[Path, ...]:
    """Copies every shipped definition into one directory, made if need be, so that studies find their spaces there.

    Never overwrites: raises UsageError naming what is already there, before anything is written.
    """
    sources = shipped_files()
    existing = [source.name for source in sources if (into / source.name).exists()]
    if existing:
        raise UsageError(
            f"{into} already has {', '.join(existing)}; nothing has been copied",
            hint="Choose another directory, or move these files away.",
        )
    copies = []
    try:
        into.mkdir(parents=True, exist_ok=True)
        for source in sources:
            target = into / source.name
            with target.open("xb") as file:
                file.write(source.read_bytes())
            copies.append(target)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise UsageError(
            f"can't copy to {into}: {reason}", hint="Choose a directory you may write to."
        ) from problem
    return tuple(copies)
