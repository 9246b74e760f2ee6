"""Where the agent keeps what it needs, and the proof that nobody else can have put it there."""

from __future__ import annotations

import errno
import os
import stat
from typing import Iterator, NamedTuple

from autotune.agent.faults import Fault

ROOT_RUN_DIR = "/run/autotune"
ROOT_STATE_DIR = "/var/lib/autotune"


class Places(NamedTuple):
    """`run_dir` holds lock, journal and configurations (in memory, usually), `state_dir` the served files and logs."""

    uid: int
    run_dir: str
    state_dir: str

    @property
    def lock(self) -> str:
        return self.run_dir + "/lock"

    @property
    def journal(self) -> str:
        return self.run_dir + "/journal"

    @property
    def ballast(self) -> str:
        return self.run_dir + "/ballast"

    def run_of(self, token: str) -> str:
        return self.run_dir + "/" + token

    def state_of(self, token: str) -> str:
        return self.state_dir + "/" + token


ROOT_PLACES = Places(0, ROOT_RUN_DIR, ROOT_STATE_DIR)


def places_of(uid: int) -> Places:
    """The places of this user. Looks only; makes nothing."""
    if uid == 0:
        return ROOT_PLACES
    own = f"/run/user/{uid}"
    try:
        seen = os.lstat(own)
        fits = stat.S_ISDIR(seen.st_mode) and seen.st_uid == uid
    except OSError:
        fits = False
    run_dir = own + "/autotune" if fits else f"/tmp/autotune-{uid}"
    return Places(uid, run_dir, run_dir + "/state")


def make_run_dir(places: Places) -> None:
    """Makes the run directory, or proves that the one there is ours alone. Raises Fault."""
    make_own_dir(places.run_dir, places.uid)


def make_own_dir(path: str, uid: int) -> None:
    """A directory that only this user can write into; root's may be looked into by all (nginx's workers serve from it)."""
    try:
        os.mkdir(path, 0o755 if uid == 0 else 0o700)
    except FileExistsError:
        pass
    except PermissionError as problem:
        raise Fault("not permitted", f"{path}: {problem.strerror}", "run as root") from None
    check_own_dir(path, uid)


def check_own_dir(path: str, uid: int) -> None:
    """Raises Fault unless `path` is a real directory, this user's, and nobody else can write into it."""
    seen = os.lstat(path)
    if stat.S_ISLNK(seen.st_mode):
        raise Fault(
            "refused", f"{path} is a symbolic link, so someone else chose where it leads", f"rm {path}"
        )
    if not stat.S_ISDIR(seen.st_mode):
        raise Fault("refused", f"{path} is not a directory", f"rm {path}")
    if seen.st_uid != uid:
        raise Fault("refused", f"{path} belongs to user {seen.st_uid}, not to {uid}", f"ls -ld {path}")
    if seen.st_mode & 0o022:
        raise Fault("refused", f"{path} can be written by others", f"chmod go-w {path}")


def check_own_file(seen: os.stat_result, path: str, uid: int) -> None:
    """Raises Fault unless this is a plain file of this user that nobody else can write."""
    if not stat.S_ISREG(seen.st_mode) or seen.st_uid != uid or seen.st_mode & 0o022:
        raise _not_plain(path, uid)


def _not_plain(path: str, uid: int) -> Fault:
    return Fault("refused", f"{path} is not a plain file of user {uid} alone", f"ls -l {path}")


def open_own(path: str, uid: int, flags: int = os.O_RDONLY) -> int:
    """A handle to a plain file of this user alone: no link is followed, no pipe waited for. Raises Fault, OSError."""
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as problem:
        if problem.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise _not_plain(path, uid) from None
    try:
        check_own_file(os.fstat(handle), path, uid)
    except Fault:
        os.close(handle)
        raise
    return handle


def write_text(path: str, text: str) -> None:
    """A file of ours that all may read, never behind a symbolic link; bytes that were no UTF-8 are those bytes again."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)


def sync_dir(path: str) -> None:
    """Makes the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(path: str) -> None:
    """Removes a directory and all below it, never through a symbolic link. Absent is fine."""
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            os.unlink(path)
            return
    except FileNotFoundError:
        return
    for _, directories, files, handle in _walk(path):
        for name in files:
            os.unlink(name, dir_fd=handle)
        for name in directories:
            if stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=handle)
            else:
                os.rmdir(name, dir_fd=handle)
    os.rmdir(path)


def _walk(path: str) -> Iterator[tuple[str, list[str], list[str], int]]:
    return os.fwalk(path, topdown=False, follow_symlinks=False)
