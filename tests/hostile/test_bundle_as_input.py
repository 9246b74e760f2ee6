"""An archive that somebody sends: torn, foreign, too large, made up. It is refused whole, or what it holds can be looked at."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_inputs import EXAMPLES, TEXTS, Json, mutated, steers_a_terminal
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autotune.cli.app import app
from autotune.errors import AutotuneError, BundleRefused
from autotune.report.export import export_files
from autotune.storage import bundle
from autotune.storage.bundle import MANIFEST, read_bundle, write_bundle
from autotune.storage.origins import Carried
from autotune.storage.store import Store
from night_example import WINNER, a_night, a_study

STUDY = a_study("sent")
LOG = tuple(a_night(STUDY))
Parts = dict[str, bytes]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The members of a sound bundle."""
    path = tmp_path_factory.mktemp("sound") / "sound.zip"
    write_bundle(path, Carried(study=STUDY, log=LOG, raws={}), program="0", without_names=True)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: Parts, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def told(parts: Parts, **changes: Json) -> Parts:
    """The parts with a manifest that tells what they are, but for these changes."""
    manifest = json.loads(parts[MANIFEST])
    for name in manifest["members"]:
        text = parts[name]
        manifest["members"][name] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    manifest["events"] = parts["events.jsonl"].count(b"\n")
    return {**parts, MANIFEST: json.dumps({**manifest, **changes}).encode()}


def refusal(path: Path) -> str:
    with pytest.raises(BundleRefused) as caught:
        read_bundle(path)
    assert caught.value.hint
    return caught.value.message


def test_a_sound_one_is_read(parts: Parts, tmp_path: Path) -> None:
    assert read_bundle(pack(tmp_path / "a.zip", told(parts))).carried.log == LOG


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x", "/etc/passwd", "study.json/..", "C:\\x", "extra.json", "..", "\x1b[2J"]
)
def test_a_member_that_no_bundle_has_is_refused_and_written_nowhere(
    parts: Parts, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    said = refusal(pack(folder / "a.zip", {**told(parts), name: b"x"}))
    assert "is not an autotune bundle" in said
    assert [file.name for file in folder.iterdir()] == ["a.zip"]


def test_a_member_that_stands_there_twice_is_refused(parts: Parts, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", told(parts))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("study.json", parts["study.json"])
    assert "is not an autotune bundle" in refusal(path)


def test_a_missing_member_is_refused(parts: Parts, tmp_path: Path) -> None:
    for gone in parts:
        left = {name: text for name, text in parts.items() if name != gone}
        assert "is not an autotune bundle" in refusal(pack(tmp_path / "a.zip", left))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "holiday pictures"}, "is not an autotune bundle"),
        ({"version": 2}, "made by a newer autotune"),
        ({"version": 10**30}, "made by a newer autotune"),
        ({"version": 0}, "can't read"),
        ({"version": "1"}, "can't read"),
        ({"fingerprint": "0123456789abcdef"}, "fingerprint"),
        ({"study": "another"}, "two names"),
        ({"events": 7}, "another number of events"),
        ({"surprise": 1}, "can't read"),
        ({"members": {}}, "other members"),
        ({"program": 7}, "can't read"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    parts: Parts, tmp_path: Path, change: dict[str, Json], says: str
) -> None:
    assert says in refusal(pack(tmp_path / "a.zip", told(parts, **change)))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"x" * (65 << 10)]
)
def test_a_manifest_that_is_none_is_refused(parts: Parts, tmp_path: Path, text: bytes) -> None:
    refusal(pack(tmp_path / "a.zip", {**parts, MANIFEST: text}))


@pytest.mark.parametrize("member", bundle.MEMBERS)
def test_a_member_that_was_changed_is_refused(parts: Parts, tmp_path: Path, member: str) -> None:
    changed = {**parts, member: parts[member] + b"\n"}
    assert "is not what its manifest tells" in refusal(pack(tmp_path / "a.zip", changed))


def test_a_member_that_unpacks_without_end_is_refused_before_it_is_read(parts: Parts, tmp_path: Path) -> None:
    large = bundle.LARGEST["study.json"] + 1
    path = pack(tmp_path / "a.zip", {**parts, "study.json": b"0" * large})
    assert path.stat().st_size < 1 << 20
    assert "at most 4 are read" in refusal(path)
    lying = bytearray(path.read_bytes())  # the directory tells a small member
    at = lying.rfind(struct.pack("<L", large))
    lying[at : at + 4] = struct.pack("<L", 10)
    path.write_bytes(lying)
    refusal(path)


def test_a_line_without_end_is_refused(parts: Parts, tmp_path: Path) -> None:
    endless = told({**parts, "events.jsonl": b'"' + b"0" * (bundle.LONGEST_LINE + 10) + b'"\n'})
    assert "has more than 8 MiB" in refusal(pack(tmp_path / "a.zip", endless))


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a plain file" in refusal(tmp_path / "pipe")
    assert "not a plain file" in refusal(Path("/dev/zero"))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(bundle.LARGEST_FILE + 1)
    assert "a bundle has at most 64" in refusal(tmp_path / "large")


@pytest.mark.parametrize("text", ["", "PK", "PK\x03\x04", "hello", "\x00" * 500, "PK\x05\x06" + "\x00" * 18])
def test_what_is_no_archive_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(text.encode())
    refusal(file)


def _lines(parts: Parts) -> list[dict[str, Json]]:
    return [json.loads(line) for line in parts["events.jsonl"].splitlines()]


def _with(parts: Parts, events: list[dict[str, Json]]) -> Parts:
    return told({**parts, "events.jsonl": b"".join(json.dumps(one).encode() + b"\n" for one in events)})


def _run(event: dict[str, Json], **changes: Json) -> dict[str, Json]:
    """A sample whose runs say this; every other event as it is."""
    if event["kind"] != "sample":
        return event
    runs = {name: {**run, **changes} for name, run in event["measurements"].items()}
    return {**event, "measurements": runs}


CONTRADICTIONS: dict[str, Callable[[list[dict[str, Json]]], list[dict[str, Json]]]] = {
    "a sample twice": lambda log: [*log, next(one for one in log if one["kind"] == "sample")],
    "no night": lambda log: log[1:],
    "a night twice": lambda log: [*log, log[0]],
    "a trial of a huge number": lambda log: [
        {**one, "number": 2**62} if one["kind"] == "proposal" else one for one in log
    ],
    "a plan without end": lambda log: [
        {**one, "candidates": 2**62} if one["kind"] == "plan" else one for one in log
    ],
    "no time": lambda log: [{**one, "at": "yesterday"} for one in log],
    "a time without end": lambda log: [{**one, "at": one["at"] + "0" * 500} for one in log],
    "a rate that no float holds": lambda log: [
        {**one, "objective": 1e308} if one["kind"] == "sample" else one for one in log
    ],
    "fewer requests than none": lambda log: [_run(one, requests=-22447) for one in log],
    "a latency before the request": lambda log: [_run(one, latency_p99_s=-0.1) for one in log],
    "the end of a night twice": lambda log: [*log, next(one for one in log if one["kind"] == "night ended")],
    "another kind": lambda log: [{**log[0], "kind": "night of the world"}, *log[1:]],
}


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_log_that_no_night_wrote_is_refused(
    parts: Parts, tmp_path: Path, change: Callable[[list[dict[str, Json]]], list[dict[str, Json]]]
) -> None:
    refusal(pack(tmp_path / "a.zip", _with(parts, change(_lines(parts)))))


def test_a_study_whose_name_is_a_path_or_whose_board_is_an_option_is_refused(
    parts: Parts, tmp_path: Path
) -> None:
    for change in ({"name": "../../x"}, {"board": "ssh://-oProxyCommand=reboot"}, {"board": "ssh://a b"}):
        study = STUDY.model_copy(update=change)
        made = {**parts, "study.json": study.model_dump_json().encode()}
        name = {"study": change["name"]} if "name" in change else {}
        refusal(pack(tmp_path / "a.zip", told(made, fingerprint=study.fingerprint, **name)))


@pytest.mark.parametrize("text", [text for text in TEXTS if text.isprintable() or "\ud800" not in text])
def test_whatever_it_says_nothing_of_it_becomes_another_line_of_a_file_to_install(
    parts: Parts, tmp_path: Path, text: str
) -> None:
    if any("\ud800" <= char <= "\udfff" for char in text):
        pytest.skip("JSON has no half characters")
    said = json.dumps(_lines(parts)).replace('["thp:enabled", "always"]', json.dumps(["thp:enabled", text]))
    said = said.replace('["nginx:listen.backlog", 8192]', json.dumps(["nginx:listen.backlog", text]))
    assert dict(WINNER.values)["thp:enabled"] == "always"
    path = pack(tmp_path / "a.zip", _with(parts, json.loads(said)))
    try:
        carried = read_bundle(path).carried
        files = export_files(carried.study, carried.log)
    except AutotuneError:
        return
    for name, whole in files.items():
        if name.startswith(("files/", "nginx")):
            assert not [line for line in whole.splitlines() if "reboot" in line and not line.startswith("#")]


@EXAMPLES
@given(data=st.data())
def test_a_changed_log_is_refused_or_can_be_looked_at(
    data: st.DataObject, parts: Parts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    log = _lines(parts)
    place = data.draw(st.integers(0, len(log) - 1))
    changed = data.draw(mutated(log[place]))
    try:
        made = _with(parts, [*log[:place], changed, *log[place + 1 :]])
    except (ValueError, UnicodeEncodeError):
        return
    url = f"sqlite:///{folder / 'a.db'}"
    opened = CliRunner().invoke(
        app, ["unbundle", str(pack(folder / "a.zip", made)), "--storage", url], prog_name="autotune"
    )
    assert opened.exit_code in (0, 8), opened.output
    if opened.exit_code:
        assert not (folder / "a.db").exists()
        return
    for words in (["compare", "sent"], ["show", "sent"], ["status", "sent"]):
        shown = CliRunner().invoke(app, [*words, "--storage", url], prog_name="autotune")
        assert shown.exit_code in (0, 2), f"{changed!r}: {shown.output}"
        assert not steers_a_terminal(shown.stdout)
    with Store.open(url, read_only=True) as store:
        assert store.origin("sent") is not None
