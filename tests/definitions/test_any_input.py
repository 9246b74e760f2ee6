"""Whatever a definition file holds, reading it gives a record or told mistakes: never another error."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.shipped import shipped_files
from autotune.definitions.space_file import read_space
from autotune.definitions.study_file import read_study
from autotune.errors import DefinitionError

READERS = (read_space, read_sequence, read_study)
TEXTS = [path.read_text(encoding="utf-8") for path in shipped_files()]
LINES = [line for text in TEXTS for line in text.splitlines() if line and not line.startswith("#")]
ASSIGNMENT = re.compile(r"^([^=\[]+ = ).*$")
ODD_VALUES = [
    "0", "-1", "1", "true", "false", "nan", "-inf", "1e400", "1979-05-27T07:32:00Z", "07:32:00", '""', "[]", "{}", "[[]]",
    '[""]', "[1, 2, 3]", "[-1, 0, 99999999999]", "[nan, 1, 2]", "[true, false]", '{ rule = "board.cpus" }', "{ rule = 3 }",
    "9223372036854775807", "-9223372036854775808", "9223372036854775808", '"99999999999999999999g"', '"1e9s"',
    '"99999999999999999999999999999999d"', '"0.0000001s"', '"٣k"', '"unset"', '"off"', '"auto"', '"log"', '"\\u0000"',
    '"\\n"', '"../x"', '"$(x)"', '"a == a"', '"not not nginx:sendfile == on"', '"min() > 1"', '"((((1))))"', '"board.cpus"',
    '"nginx:sendfile == on == off"', '"1 / (1 - 1) > 0"', '"sysctl:net.ipv4.tcp_rmem > 1"', '"max(1) > board.cpus"',
    '"sysctl:net.ipv4.tcp_rmem[0] * 99999999999999999999 > 1"', '"-nginx:sendfile > 1"', '"0xffffffffffffffffffff"',
    '"nginx:a == nginx:b"', '"1 < 2"', "\"'\"", '"' + "-" * 300 + '1 > 0"', '"' + "9" * 480 + ' > 0"', '"__import__"', '"`"',
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped file after a few slips: values replaced, lines lost, doubled, moved or borrowed, characters put in."""
    lines = draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(
            st.sampled_from(["value", "value", "value", "lose", "double", "borrow", "character", "cut"])
        ):
            case "value":
                if key := ASSIGNMENT.match(lines[place]):
                    lines[place] = key[1] + draw(st.sampled_from(ODD_VALUES))
            case "lose":
                lines[place] = ""
            case "double":
                lines.insert(place, lines[place])
            case "borrow":
                lines.insert(place, draw(st.sampled_from(LINES)))
            case "character":
                at = draw(st.integers(0, len(lines[place])))
                odd = draw(st.sampled_from(list("\0\n\x1b\u202e\ud7ff\"'=[]{}.#\\,;$ \t9a\r")))
                lines[place] = lines[place][:at] + odd + lines[place][at:]
            case _:
                lines = lines[: place + 1]
    return "\n".join(lines)


def read_in_every_way(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "any.toml"
        path.write_bytes(content)
        for read in READERS:
            error = told(read, path)
            assert error is None or error.mistakes
            for mistake in error.mistakes if error else ():
                assert str(mistake).isprintable(), str(mistake)
                assert len(str(mistake)) < 3_000


def told(read: Callable[[Path], object], path: Path) -> DefinitionError | None:
    try:
        read(path)
    except DefinitionError as error:
        return error
    return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_shipped_files_with_slips(text: str) -> None:
    read_in_every_way(text.encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    read_in_every_way(content)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["when", "keep", "value"]),
    st.text(
        alphabet=st.sampled_from(list("nginx:sedfl_ops.ytcm[]()0123456789+-*/<>=! andortk'")), max_size=60
    ),
)
def test_any_expression(place: str, text: str) -> None:
    quoted = text.replace("\\", "").replace('"', "")
    tables = {
        "when": f'[parameter."nginx:tcp_nopush"]\nwhen = "{quoted}"\nwhy = "x"\n',
        "keep": f'[[rule]]\nkeep = "{quoted}"\nwhy = "x"\n',
        "value": f'[derived."nginx:worker_connections"]\nvalue = "{quoted}"\nwhy = "x"\n',
    }
    read_in_every_way(f'title = "x"\n[parameter."nginx:sendfile"]\nwhy = "x"\n{tables[place]}'.encode())


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(ODD_VALUES),
    st.sampled_from(["when", "low", "high", "step", "values", "special", "scale", "why"]),
)
def test_any_value_at_any_key_of_any_setting(value: str, key: str) -> None:
    from autotune.space.catalogue import CATALOGUE

    entries = "".join(f'[parameter."{id_}"]\n{key} = {value}\n' for id_ in CATALOGUE)
    read_in_every_way(f'title = "x"\n{entries}'.encode())
