"""Each file in bad/ says at its top what must be told about it: one `# expect:` line per mistake, no more, no less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.space_file import read_space
from autotune.definitions.study_file import read_study
from autotune.errors import DefinitionError

READERS: dict[str, Callable[[Path], object]] = {
    "space": read_space,
    "sequence": read_sequence,
    "study": read_study,
}
BAD = sorted((Path(__file__).parent / "bad").glob("*.toml"))


def marked(path: Path, mark: str) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(mark).strip() for line in lines if line.startswith(mark)]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_mistake_of_a_bad_file_is_told_at_once(path: Path) -> None:
    (reader,) = marked(path, "# reads as:")
    expected = [line.split(" | ") for line in marked(path, "# expect:")]
    with pytest.raises(DefinitionError) as caught:
        READERS[reader](path)
    told = [str(mistake) for mistake in caught.value.mistakes]
    for fragments in expected:
        matching = [text for text in told if all(fragment in text for fragment in fragments)]
        assert len(matching) >= 1, f"nothing told about {fragments}; told: " + "\n".join(told)
    assert len(told) == len(expected), "\n".join(told)
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_mistake_names_its_file(path: Path) -> None:
    (reader,) = marked(path, "# reads as:")
    with pytest.raises(DefinitionError) as caught:
        READERS[reader](path)
    for mistake in caught.value.mistakes:
        assert mistake.file.startswith(str(path.parent))
        assert str(mistake).isprintable()
