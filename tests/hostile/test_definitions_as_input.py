"""A study from a stranger: what it may hold is a study and nothing else, however it is put together, and wherever it leads."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import re
import tomllib
from pathlib import Path
from typing import cast

import pytest
from hostile_inputs import EXAMPLES, TEXTS, Json, mutated, steers_a_terminal
from hypothesis import given
from hypothesis import strategies as st

from autotune.board.connection import Connection
from autotune.definitions.access_log import LogUnfit, urls_from_log
from autotune.definitions.shipped import shipped_dir
from autotune.definitions.study_file import read_study
from autotune.errors import DefinitionError
from autotune.experiment.study import Builds, HandTunedStep, HandTunedValue, Study
from autotune.runner.builds import prepare_builds
from autotune.space.build import BuildRecipe
from autotune.space.catalogue import CATALOGUE

STUDIES = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(shipped_dir("studies").glob("*.toml"))
    if path.stem != "hand-tuned"
}


def as_toml(document: Json) -> str:
    """A document as TOML; what TOML has no word for is a text."""
    plain = {key: one for key, one in document.items() if not _is_table(one) and not _is_tables(one)}
    lines = [f"{json.dumps(key)} = {_value(one)}" for key, one in plain.items()]
    for key, one in document.items():
        if _is_table(one):
            lines += _below(json.dumps(key), one, "[{}]")
        elif _is_tables(one):
            for each in one:
                lines += _below(json.dumps(key), each, "[[{}]]")
    return "\n".join(lines) + "\n"


def _below(name: str, table: Json, head: str) -> list[str]:
    lines = [head.format(name)]
    for key, one in table.items():
        if _is_tables(one):
            continue
        lines.append(f"{json.dumps(key)} = {_value(one)}")
    for key, one in table.items():
        for each in one if _is_tables(one) else ():
            lines += _below(f"{name}.{json.dumps(key)}", each, "[[{}]]")
    return lines


def _is_table(value: Json) -> bool:
    return isinstance(value, dict)


def _is_tables(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _value(value: Json) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + "}"
    return json.dumps(value if value is not None else "None", ensure_ascii=False).replace("\x7f", "\\u007f")


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_written_anew_is_the_same_study(name: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(as_toml(STUDIES[name]))
    assert read_study(path) == read_study(shipped_dir("studies") / f"{name}.toml")


@pytest.mark.parametrize("name", ["quickstart", "mixed", "rock5b-mixed", "rock5b-static-1k-remote"])
@EXAMPLES
@given(data=st.data())
def test_whatever_was_changed_in_a_study_it_is_one_or_told_why_not(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    document = data.draw(mutated(STUDIES[name]))
    if isinstance(document, dict):
        read_or_told(as_toml(document), tmp_path_factory.getbasetemp() / "mutated.toml")


def read_or_told(text: str, path: Path) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        study = read_study(path)
    except DefinitionError as refused:
        told = str(refused) + refused.hint
        if steers_a_terminal(told) or len(told) > 100_000:
            pytest.fail(told[:1000])
    else:
        require_harmless(study)


def require_harmless(study: Study) -> None:
    """Its texts are shown and stored, its names become names of files, its paths stay where they belong."""
    assert not steers_a_terminal(study.model_dump_json())
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", study.name)
    assert study.name not in (".", "..")
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert len(study.workloads) < 10
    for file in getattr(study.server, "files", ()):
        assert file.path.startswith("/")
        assert ".." not in file.path.split("/")
        assert not set(file.path) & set(";{}$#\"'\\ \n\0")
    for workload in study.workloads:
        assert not set(workload.name) & set("<>&\"'/\\\n`|*[]")
        for url in workload.urls:
            assert not set(url.target) & set(" \n\r\t\"'<>`{}\\#\0")


@pytest.mark.parametrize(
    "text", [*TEXTS, "name\n", "CON", "a/b", "-rf", ".", ".."], ids=lambda text: ascii(text)[:30]
)
@pytest.mark.parametrize("key", ["name", "board", "space", "hand_tuned", "title", "workload", "file"])
def test_a_name_that_would_be_more_than_a_name(key: str, text: str, tmp_path: Path) -> None:
    document = json.loads(json.dumps(STUDIES["quickstart"]))
    match key:
        case "workload":
            document["workload"]["name"] = text
        case "file":
            document["server"]["file"][0]["path"] = document["workload"]["path"] = f"/{text}"
        case _:
            document[key] = text
    read_or_told(as_toml(document), tmp_path / "study.toml")


@pytest.mark.parametrize("key", ["space", "hand_tuned"])
def test_a_definition_that_a_link_leads_away_to_tells_nothing_of_what_is_there(
    key: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:$6$hash:19000:0:99999:7:::\n" * 3)
    (tmp_path / "x.toml").symlink_to(secret)
    (tmp_path / "study.toml").write_text(as_toml({**STUDIES["quickstart"], key: "x.toml"}))
    with pytest.raises(DefinitionError) as refused:
        read_study(tmp_path / "study.toml")
    assert "hash" not in str(refused.value)
    (tmp_path / "x.toml").unlink()
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(DefinitionError, match=r"not a regular file|no such file"):
        read_study(tmp_path / "study.toml")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_log_that_is_no_file_is_refused_at_once(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "access.log")
    with pytest.raises(LogUnfit, match="not a plain file"):
        urls_from_log(tmp_path / "access.log", 10, "http://a")


def test_a_log_that_swells_when_it_is_unpacked_is_read_so_far_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotune.definitions.access_log._MOST_BYTES", 1 << 20)
    with gzip.open(tmp_path / "access.log.gz", "wb", compresslevel=1) as log:
        log.write(
            b'- "GET /first HTTP/1.1" 200 1\n' + b"\0" * (4 << 20) + b'\n- "GET /last HTTP/1.1" 200 1\n'
        )
    assert [url.target for url in urls_from_log(tmp_path / "access.log.gz", 10, "http://a")] == [
        "http://a/first"
    ]


def test_what_a_log_asks_for_is_a_path_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    lines = [f'- "GET /{text} HTTP/1.1" 200 1' for text in TEXTS if "\n" not in text]
    log.write_bytes("\n".join(['- "GET /fine HTTP/1.1" 200 1', *lines]).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(LogUnfit):
        for url in urls_from_log(log, 100, "http://a"):
            assert re.fullmatch(r"http://a/[A-Za-z0-9._~!$&()*+,;=:@%/?-]*", url.target)


class _NoBuilds:
    """A board without any build, which must not be asked to make one."""

    def builds(self) -> tuple[()]:
        return ()

    def make_build(self, order: object) -> None:
        pytest.fail(f"{order} was made")


@pytest.mark.parametrize("source", ["https://example.org/nginx.tar.gz", "/srv/nginx.tar.gz"])
def test_a_night_makes_no_nginx_of_a_source_that_a_study_brings(source: str) -> None:
    study = read_study(shipped_dir("studies") / "quickstart.toml")
    step = HandTunedStep(
        number=1, name="x", why="x", values=(HandTunedValue(setting=CATALOGUE["nginx:build"], value="o3"),)
    )
    recipe = BuildRecipe(name="o3", cflags=("-O3",))
    changed = study.model_copy(
        update={
            "builds": Builds(source=source, sha256="0" * 64, recipes=(recipe,)),
            "hand_tuned": study.hand_tuned.model_copy(update={"steps": (step,)}),
        }
    )
    said: list[str] = []
    prepare_builds(cast("Connection", _NoBuilds()), changed, said.append)
    [told] = [one for one in said if one.startswith("nginx build o3 ")]
    assert told.startswith(f"nginx build o3 is left out: a night makes none of {source}")
    assert told.endswith("autotune build make o3 --study FILE")
