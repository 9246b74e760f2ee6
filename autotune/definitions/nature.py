"""What a definition file is: a study, a search space or a hand-tuned sequence, told by what only that kind has."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from autotune.definitions.table import Table

Nature: TypeAlias = Literal["study", "search space", "hand-tuned sequence"]

_MARKS: Final[tuple[tuple[Nature, tuple[str, ...]], ...]] = (
    ("study", ("workload", "server", "budget", "space", "hand_tuned", "goal")),
    ("search space", ("parameter", "rule", "derived")),
    ("hand-tuned sequence", ("step", "source")),
)
_COMMANDS: Final[dict[Nature, str]] = {
    "study": "a study has [server] and [workload]; `autotune run` takes one",
    "search space": 'a search space has [parameter."..."] tables; a study names one as `space`',
    "hand-tuned sequence": "a hand-tuned sequence has [[step]] tables; a study names one as `hand_tuned`",
}


def refuse_other(top: Table, wanted: Nature) -> None:
    """Raises DefinitionError when the file is clearly one of the other two kinds; unclear files are read on."""
    marks = {nature: sum(top.has(key) for key in keys) for nature, keys in _MARKS}
    if marks[wanted]:
        return
    other: Nature = max(marks, key=lambda nature: marks[nature])
    if marks[other]:
        article = "a"
        top.mistakes.add("", "", f"this is {article} {other}, not {article} {wanted}", _COMMANDS[wanted])
        top.mistakes.raise_if_any()
