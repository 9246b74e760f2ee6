"""Files that can't be read at all: told in one sentence, without reading more than needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.space_file import read_space
from autotune.definitions.study_file import read_study
from autotune.errors import DefinitionError

READERS = pytest.mark.parametrize("read", [read_space, read_sequence, read_study])
Read = Callable[[Path], object]


def told(read: Read, path: Path) -> str:
    with pytest.raises(DefinitionError) as caught:
        read(path)
    (mistake,) = caught.value.mistakes
    return str(mistake)


@READERS
def test_a_missing_file(read: Read, tmp_path: Path) -> None:
    assert told(read, tmp_path / "x.toml").startswith(f"{tmp_path / 'x.toml'}: no such file")


@READERS
def test_a_directory(read: Read, tmp_path: Path) -> None:
    assert "a directory" in told(read, tmp_path)


@READERS
def test_a_pipe_is_refused_instead_of_waited_for(read: Read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert "not a regular file" in told(read, tmp_path / "pipe.toml")


@READERS
def test_ten_megabytes_are_refused_without_reading_them(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(10_000_000)
    began = time.monotonic()
    assert "too large for a definition. Accepted: at most 256 KiB" in told(read, path)
    assert time.monotonic() - began < 0.1


@READERS
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'title = "x"\nwhy = "\xff"\n', "not UTF-8: byte 0xff in line 2"),
        (b'title = "x"\nwhy = "\x00"\n', "a NUL byte in line 2"),
        (b"a." * 2_000 + b"b = 1", "line 1 is too long"),
        (b"x = " + b"[\n" * 60_000, "nested too deep"),
        (b"x = " + b"9" * 1_900 * 1, "does not fit in 64 bits"),
        (b"x = 1\nx = 2", "line 2, column 6: the same key or table stands here a second time"),
        (b"x = ", "not TOML"),
        (b'x = "\\q"', "line 1"),
        (b'x = "open', "not TOML"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_that_are_no_definition(read: Read, tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    assert sentence in told(read, path)


def test_an_unreadable_name(tmp_path: Path) -> None:
    assert "can't be read" in told(read_space, tmp_path / "a\0b.toml")


def test_thousands_of_mistakes_are_counted_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("".join(f"key{number} = 1\n" for number in range(15_000)), encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(DefinitionError) as caught:
        read_space(path)
    assert time.monotonic() - began < 5
    assert len(caught.value.mistakes) == 101
    assert "more mistakes" in str(caught.value.mistakes[-1])


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'title = "x"\n[parameter."nginx:sendfile"]\nwhy = "x"\n')
    assert read_space(path).ids == ("nginx:sendfile",)
