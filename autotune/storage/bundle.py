"""A study in one archive, which another machine opens: `autotune bundle` and `autotune unbundle`.

A zip file of exactly four members, in this order, all UTF-8 text; the same study gives the same bytes.

    manifest.json   format, version, the program's version, study, fingerprint, whether names were taken out, how many events
                    and raw outputs there are, and of each other member its bytes and SHA-256
    study.json      the definition: one JSON document
    events.jsonl    the log, one event a line, oldest first: night begun (with the board's facts), plans, proposals, samples, ...
    raw.jsonl       {"sample": KEY, "text": ...} a line: the load generator's own output, by the sample's key

A reader takes nothing else, writes nothing to the disk, looks into a member only after its hash was right, and reads no further than
these limits. Another arrangement of any of this is another `version`.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import re
import socket
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from pydantic import ValidationError

from autotune.errors import BundleRefused, UsageError
from autotune.experiment.events import EVENT, Event, Failure, Sample
from autotune.experiment.study import Study
from autotune.space.record import Record
from autotune.storage.origins import Carried, Origin
from autotune.storage.places import home_dir
from autotune.storage.redaction import Redaction
from autotune.storage.soundness import require_sound
from autotune.storage.store import Store

FORMAT: Final = "autotune bundle"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MEMBERS: Final = ("study.json", "events.jsonl", "raw.jsonl")
LARGEST_FILE: Final = 64 << 20
LARGEST: Final = {
    MANIFEST: 64 << 10,
    "study.json": 4 << 20,
    "events.jsonl": 256 << 20,
    "raw.jsonl": 256 << 20,
}
LONGEST_LINE: Final = 8 << 20
_CHUNK: Final = 1 << 20
_END: Final = struct.Struct("<4s4H2LH")  # zip's end of central directory
_END_MAGIC: Final = b"PK\x05\x06"
_LARGEST_DIRECTORY: Final = 4096
_STUDY_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
_AGAIN: Final = "Ask for it again from whoever made it; nothing was stored."


class Member(Record):
    """What a member of the archive must be."""

    bytes: int
    sha256: str


class Manifest(Record):
    """What the archive says of itself."""

    format: Literal["autotune bundle"] = FORMAT
    version: Literal[1] = VERSION
    program: str
    study: str
    fingerprint: str
    redacted: bool
    events: int
    raw_outputs: int
    members: dict[str, Member]


class RawOutput(Record):
    """The load generator's own words about one sample."""

    sample: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The archive that was made."""

    path: Path
    bytes: int
    sha256: str
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a sound archive holds."""

    carried: Carried
    origin: Origin


def carried_of(store: Store, name: str) -> Carried:
    """The study as the database has it now; a night may go on meanwhile."""
    log = tuple(store.log(name))
    texts = store.raw_texts(name)
    keys = [event.key.text for event in log if isinstance(event, (Sample, Failure))]
    return Carried(study=store.study(name), log=log, raws={key: texts[key] for key in keys if key in texts})


def redaction_for(carried: Carried, origin: Origin | None, others: Iterable[str]) -> Redaction:
    """A redaction that knows every name of the study; of this machine, too, where it was measured from here."""
    hosts: list[str] = []
    users: list[str] = []
    if origin is None:
        hosts.append(socket.gethostname())
        users.append(home_dir().name)
        with contextlib.suppress(KeyError, OSError):  # a user number without a name
            users.append(getpass.getuser())
    redaction = Redaction(hosts, users, others)
    redaction.learn(carried.study, carried.log, carried.raws.values())
    return redaction


def redacted(carried: Carried, redaction: Redaction) -> Carried:
    """The same study, with pseudonyms for the names."""
    return Carried(
        study=redaction.record(carried.study),
        log=tuple(redaction.record(event) for event in carried.log),
        raws={key: redaction.text(text) for key, text in carried.raws.items()},
    )


def write_bundle(path: Path, carried: Carried, *, program: str, without_names: bool) -> Written:
    """Makes the archive. Raises UsageError when there is something at `path` already, or when it can't be written."""
    texts = {
        "study.json": (carried.study.model_dump_json() + "\n").encode(),
        "events.jsonl": b"".join(event.model_dump_json().encode() + b"\n" for event in carried.log),
        "raw.jsonl": b"".join(
            RawOutput(sample=key, text=text).model_dump_json().encode() + b"\n"
            for key, text in carried.raws.items()
        ),
    }
    for name, text in texts.items():
        if len(text) > LARGEST[name]:
            raise UsageError(
                f"{carried.study.name} is too large for a bundle: {name} would have {len(text) >> 20} MiB of at most"
                f" {LARGEST[name] >> 20}",
                hint="Copy the database instead.",
            )
    manifest = Manifest(
        program=program,
        study=carried.study.name,
        fingerprint=carried.study.fingerprint,
        redacted=without_names,
        events=len(carried.log),
        raw_outputs=len(carried.raws),
        members={
            name: Member(bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
            for name, text in texts.items()
        },
    )
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
            with zipfile.ZipFile(file, "w") as archive:
                _add(archive, MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
                for name, text in texts.items():
                    _add(archive, name, text)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest, size = _digest(file)
            os.fchmod(file.fileno(), 0o644 & ~_umask())
            os.link(file.name, path)
    except FileExistsError:
        raise UsageError(
            f"there is something at {path} already; nothing was written", hint="Name another file."
        ) from None
    except OSError as problem:
        raise UsageError(f"{path} can't be written: {problem.strerror}", hint="Name another file.") from None
    return Written(path=path, bytes=size, sha256=digest, manifest=manifest)


def read_bundle(path: Path, name: str = "") -> Opened:
    """What the archive holds; `name`: the study is to be called so from now on. Raises BundleRefused, UsageError."""
    if name and not re.fullmatch(_STUDY_NAME, name):
        raise UsageError(
            f"{name!r} is no name for a study",
            hint="1 to 64 of a-z, 0-9, dot, dash, underscore, beginning with a letter or digit",
        )
    with _refusing(path), _archive(path) as (file, archive):
        digest, _ = _digest(file)
        manifest = _manifest(archive, path)
        for member, wanted in manifest.members.items():
            _require_whole(archive, member, wanted, path)
        study = Study.model_validate_json(archive.read(MEMBERS[0]))
        if study.name != manifest.study or not re.fullmatch(_STUDY_NAME, study.name):
            raise BundleRefused(f"{path} calls its study by two names, or by one that is none", hint=_AGAIN)
        if study.fingerprint != manifest.fingerprint:
            raise BundleRefused(
                f"the study in {path} is not the one that its manifest tells: fingerprint {study.fingerprint}, not"
                f" {manifest.fingerprint}",
                hint=f"It was changed afterwards, or this autotune reads it otherwise than {manifest.program} did.",
            )
        log = tuple(_events(archive, path))
        raws = {
            one.sample: one.text for one in map(RawOutput.model_validate_json, _lines(archive, MEMBERS[2]))
        }
    if (len(log), len(raws)) != (manifest.events, manifest.raw_outputs):
        raise BundleRefused(f"{path} has another number of events or outputs than it tells", hint=_AGAIN)
    keys = {event.key.text for event in log if isinstance(event, (Sample, Failure))}
    if not raws.keys() <= keys:
        raise BundleRefused(f"{path} has outputs of samples that it has not", hint=_AGAIN)
    if name:
        study = study.model_copy(update={"name": name})
    require_sound(study, log, str(path))
    return Opened(
        carried=Carried(study=study, log=log, raws=raws),
        origin=Origin(sha256=digest, program=manifest.program[:40], redacted=manifest.redacted),
    )


# Inside


def _add(archive: zipfile.ZipFile, name: str, text: bytes) -> None:
    """A member without anything of this machine or this moment."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    archive.writestr(info, text, zipfile.ZIP_DEFLATED, 9)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _digest(file: IO[bytes]) -> tuple[str, int]:
    sha256, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        sha256.update(chunk)
        size += len(chunk)
    return sha256.hexdigest(), size


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What a damaged archive, or one made up, makes the libraries say."""
    try:
        yield
    except OSError as problem:
        raise UsageError(
            f"{path} can't be read: {problem.strerror or problem}",
            hint="Name a file that `autotune bundle` made.",
        ) from None
    except ValidationError as problem:
        raise BundleRefused(
            f"{path} holds what this autotune can't read: {problem.errors()[0]['msg']}",
            hint="A newer autotune may have made it; else it was changed afterwards.",
        ) from None
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error,
    ) as problem:  # fmt: skip
        raise BundleRefused(f"{path} is damaged: {problem}", hint=_AGAIN) from None


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
    """The archive, once its outside is that of a bundle."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise BundleRefused(
                f"{path} is not a plain file", hint="Name a file that `autotune bundle` made."
            )
        if facts.st_size > LARGEST_FILE:
            raise BundleRefused(
                f"{path} has {facts.st_size >> 20} MiB; a bundle has at most {LARGEST_FILE >> 20}",
                hint=_AGAIN,
            )
        if file.read(4) != b"PK\x03\x04":
            raise BundleRefused(
                f"{path} is not an autotune bundle", hint="Name a file that `autotune bundle` made."
            )
        file.seek(-min(_END.size, facts.st_size), os.SEEK_END)
        end = file.read()
        if len(end) != _END.size or not end.startswith(_END_MAGIC):
            raise BundleRefused(f"{path} is torn: its end is missing", hint=_AGAIN)
        _, _, _, _, count, size, _, _ = _END.unpack(end)
        if size > _LARGEST_DIRECTORY:
            raise BundleRefused(f"{path} is not an autotune bundle: it has {count} members", hint=_AGAIN)
        with zipfile.ZipFile(file) as archive:
            names = [info.filename for info in archive.infolist()]
            if sorted(names) != sorted((MANIFEST, *MEMBERS)):
                odd = next((name for name in names if name not in LARGEST), "")
                which = f"it holds {odd!r}" if odd else "its members are not those of one"
                raise BundleRefused(f"{path} is not an autotune bundle: {which}", hint=_AGAIN)
            for info in archive.infolist():
                if info.file_size > LARGEST[info.filename]:
                    raise BundleRefused(
                        f"{path}: {info.filename} would have {info.file_size >> 20} MiB, at most"
                        f" {LARGEST[info.filename] >> 20} are read",
                        hint=_AGAIN,
                    )
            yield file, archive


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    with archive.open(MANIFEST) as member:
        text = member.read(LARGEST[MANIFEST] + 1)
    if len(text) > LARGEST[MANIFEST]:
        raise BundleRefused(f"{path}: its manifest is too long", hint=_AGAIN)
    told = json.loads(text)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise BundleRefused(
            f"{path} is not an autotune bundle: its manifest says nothing of one", hint=_AGAIN
        )
    version = told.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleRefused(
            f"{path} was made by a newer autotune (bundles of version {version}; this program reads {VERSION})",
            hint="Open it with that one, or a newer one.",
        )
    manifest = Manifest.model_validate(told)
    if tuple(sorted(manifest.members)) != tuple(sorted(MEMBERS)):
        raise BundleRefused(f"{path}: its manifest tells other members than it has", hint=_AGAIN)
    return manifest


def _require_whole(archive: zipfile.ZipFile, name: str, wanted: Member, path: Path) -> None:
    sha256, size = hashlib.sha256(), 0
    with archive.open(name) as member:
        while (chunk := member.read(_CHUNK)) and size <= LARGEST[name]:
            sha256.update(chunk)
            size += len(chunk)
    if (size, sha256.hexdigest()) != (wanted.bytes, wanted.sha256):
        raise BundleRefused(f"{path}: {name} is not what its manifest tells", hint=_AGAIN)


def _events(archive: zipfile.ZipFile, path: Path) -> Iterator[Event]:
    for number, line in enumerate(_lines(archive, MEMBERS[1]), 1):
        try:
            yield EVENT.validate_json(line)
        except ValidationError as problem:
            raise BundleRefused(
                f"{path}: event {number} can't be read: {problem.errors()[0]['msg']}",
                hint="A newer autotune may have made it; else it was changed afterwards.",
            ) from None


def _lines(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as member:
        while line := member.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                message = f"a line of {name} has more than {LONGEST_LINE >> 20} MiB"
                raise ValueError(message)
            yield line
