"""What an installation has changed: originals first, on the disk before the change, so that any death can be undone.

One JSON line for each thing, appended and synced. A torn last line belongs to a change that was never made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from typing import Any, Dict, List, NamedTuple, Optional

from autotune.agent.faults import Fault
from autotune.agent.places import check_own_dir, make_own_dir, open_own, remove_tree, sync_dir
from autotune.installer.boot_files import STATE

_RECORD = STATE + "/record"
_COPIES = STATE + "/originals"
_PARENT = STATE.rpartition("/")[0]


class FileChange(NamedTuple):
    """A file that was written. `copy`: where its original bytes are, "" when there was none. `ours`: the hash of what we wrote."""

    path: str
    copy: str
    mode: int
    uid: int
    gid: int
    ours: str


class ValueChange(NamedTuple):
    """A live value. `was` None: it wasn't there; `ours` None: it only moves along with another."""

    path: str
    was: Optional[str]
    ours: Optional[str]


class Story(NamedTuple):
    """What the record tells. `begun` {} when there is no installation, `complete` when it was finished."""

    begun: Dict[str, str]
    complete: bool
    files: List[FileChange]
    folders: List[str]
    links: List[str]
    values: List[ValueChange]
    services: List[str]


def begin(begun: Dict[str, str]) -> None:
    """Makes root's own place and says what is beginning. Raises Fault."""
    make_own_dir(_PARENT, 0)
    remove_tree(STATE)  # one that was begun, and died before its first line
    make_own_dir(STATE, 0)
    os.mkdir(_COPIES, 0o700)
    sync_dir(_PARENT)
    _append([{"what": "begin", **begun}])


def finish() -> None:
    _append([{"what": "complete"}])


def forget() -> None:
    """Removes all that is remembered; the record goes first, so that half a removal is none of an installation."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_RECORD)
        sync_dir(STATE)
    remove_tree(STATE)
    with contextlib.suppress(OSError):
        os.rmdir(_PARENT)


def note_values(changes: List[ValueChange]) -> None:
    _append([{"what": "value", **one._asdict()} for one in changes])


def note_service(name: str) -> None:
    """A service that is restarted for it, and so again when it is taken back."""
    _append([{"what": "service", "name": name}])


def make_link(path: str, target: str) -> None:
    _folders(path)
    _append([{"what": "link", "path": path}])
    os.symlink(target, path)
    sync_dir(os.path.dirname(path))


def put_file(path: str, text: bytes, *, mode: int = 0o644) -> None:
    """Writes a file in one piece: its original is copied first, and its owner and mode stay. Raises OSError."""
    _folders(path)
    change = FileChange(path, "", mode, 0, 0, hash_of(text))
    with contextlib.suppress(FileNotFoundError):
        seen = os.stat(path, follow_symlinks=False)
        copy = f"{_COPIES}/{len(os.listdir(_COPIES))}"
        with open(path, "rb") as file:
            _write(copy, file.read(), 0o600)
        sync_dir(_COPIES)
        change = FileChange(path, copy, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, change.ours)
    _append([{"what": "file", **change._asdict()}])
    replace(path, text, change)


def replace(path: str, text: bytes, like: FileChange) -> None:
    """The file as a whole, with that owner and mode, or as it was."""
    beside = _beside(path)
    drop_half(path)
    try:
        _write(beside, text, 0o600)
        os.chown(beside, like.uid, like.gid)
        os.chmod(beside, like.mode)
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    sync_dir(os.path.dirname(path))


def drop_half(path: str) -> None:
    """Removes what a death in the middle of a replacement has left beside the file."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_beside(path))


def _beside(path: str) -> str:
    """Hidden, so that no `include sites-enabled/*` ever takes it in."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.autotune-new"


def copy_of(change: FileChange) -> bytes:
    with open(open_own(change.copy, 0), "rb") as file:
        return file.read()


def hash_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def read() -> Story:
    """Raises Fault for a record that is not root's own, or that nobody of ours wrote."""
    story = Story({}, False, [], [], [], [], [])
    try:
        check_own_dir(STATE, 0)
        with open(open_own(_RECORD, 0), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return story
    except PermissionError:
        raise Fault("not permitted", f"{STATE} is root's", "run as root") from None
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1]):
        try:
            story = _told(story, json.loads(line))
        except (ValueError, KeyError, TypeError) as problem:
            raise Fault(
                "left changed",
                f"line {number + 1} of {_RECORD} can't be read: {problem}",
                f"the originals are in {_COPIES}",
            ) from None
    return story


def _told(story: Story, entry: Dict[str, Any]) -> Story:
    what = entry.pop("what")
    if what == "begin":
        return story._replace(begun={name: str(text) for name, text in entry.items()})
    if what == "file":
        story.files.append(FileChange(**entry))
    elif what == "value":
        story.values.append(ValueChange(**entry))
    elif what == "folder":
        story.folders.append(str(entry["path"]))
    elif what == "link":
        story.links.append(str(entry["path"]))
    elif what == "service":
        story.services.append(str(entry["name"]))
    elif what == "complete":
        return story._replace(complete=True)
    else:
        raise ValueError(f"{what!r} is nothing that is recorded")
    return story


def _folders(path: str) -> None:
    """Makes the folders above a file that aren't there."""
    folder = os.path.dirname(path)
    missing: List[str] = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for one in reversed(missing):
        _append([{"what": "folder", "path": one}])
        os.mkdir(one, 0o755)


def _append(entries: List[Dict[str, Any]]) -> None:
    if not entries:
        return
    text = "".join(json.dumps(one) + "\n" for one in entries)
    handle = os.open(_RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, text.encode("ascii"))
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_dir(STATE)


def _write(path: str, text: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(handle, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
