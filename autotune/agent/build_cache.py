"""The builds of nginx that this board keeps: a directory each, with one binary and a manifest that vouches for it."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import stat
from typing import Any, Dict, List, NamedTuple, Tuple

from autotune.agent.faults import Fault
from autotune.agent.places import Places, check_own_dir, check_own_file, make_own_dir, remove_tree, sync_dir
from autotune.agent.protocol import Built, Program

ROOT_CACHE_DIR = "/var/cache/autotune/builds"
_KEY = re.compile(r"[0-9a-f]{64}")
_MANIFEST_CAP, _BINARY_CAP = 1 << 16, 1 << 27
_TOLD: Tuple[Tuple[str, type], ...] = (
    ("key", str),
    ("name", str),
    ("asked", str),
    ("cflags", list),
    ("ldflags", list),
    ("configure", list),
    ("without", list),
    ("source", str),
    ("compiler", str),
    ("version", str),
    ("made", str),
    ("size_bytes", int),
    ("seconds", float),
)


class Kept(NamedTuple):
    """A whole build of the cache. `order`: hash of what was asked for, on which nginx and with which compiler."""

    told: Built
    order: str
    sha256: str
    path: str


def cache_dir(places: Places) -> str:
    """Where this user's builds are. Looks only; makes nothing."""
    if places.uid == 0:
        return ROOT_CACHE_DIR
    try:
        home = pwd.getpwuid(places.uid).pw_dir
    except KeyError:
        home = ""
    owned = os.path.isdir(home) and os.stat(home).st_uid == places.uid
    return (home + "/.cache/autotune/builds") if owned else places.run_dir + "/builds"


def make_cache_dir(places: Places) -> str:
    """The cache directory, made or proven to be this user's alone. Raises Fault."""
    directory = cache_dir(places)
    parent = os.path.dirname(directory)
    if not os.path.isdir(os.path.dirname(parent)):
        os.makedirs(os.path.dirname(parent), mode=0o700 if places.uid else 0o755)
    make_own_dir(parent, places.uid)
    make_own_dir(directory, places.uid)
    return directory


def kept_builds(places: Places) -> List[Kept]:
    """Every build whose manifest can be read, the oldest first; a torn directory is none."""
    directory = cache_dir(places)
    found = []
    for name in _names(directory):
        if not _KEY.fullmatch(name):
            continue
        try:
            found.append(_kept(places, name))
        except (Fault, OSError):
            continue
    return sorted(found, key=lambda one: one.told["made"])


def built_program(places: Places, key: str) -> Program:
    """The nginx of a build, when it is still what was put there: owned by this user alone, its hash the manifest's.

    Raises Fault "refused".
    """
    if not _KEY.fullmatch(key):
        raise Fault("refused", f"{key[:70]!r} is no key of a build", "a mistake of the controller")
    try:
        kept = _kept(places, key)
        path = kept.path + "/nginx"
        found = _hash_of(path, places.uid)
    except FileNotFoundError:
        raise Fault("refused", f"there is no build {key[:12]} in the cache", "autotune build list") from None
    if found != kept.sha256:
        raise Fault(
            "refused",
            f"{path} is not the file that was built: it was changed since",
            f"autotune build remove {kept.told['name']}, then make it again",
        )
    return {"path": path, "version": kept.told["version"]}


def keep(places: Places, binary: str, told: Built, order: str) -> Built:
    """Takes a finished binary into the cache, whole or not at all; one of the same key is replaced."""
    directory = make_cache_dir(places)
    fresh, final = directory + "/.new-" + told["key"], directory + "/" + told["key"]
    remove_tree(fresh)
    os.mkdir(fresh, 0o755)
    told["size_bytes"], sha256 = _copy(binary, fresh + "/nginx")
    manifest = {**told, "order": order, "sha256": sha256}
    with open(fresh + "/manifest.json", "x", encoding="ascii") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(fresh + "/manifest.json", 0o644)
    os.chmod(fresh, 0o755)
    sync_dir(fresh)
    remove_tree(final)
    os.rename(fresh, final)
    sync_dir(directory)
    return told


def remove(places: Places, key: str) -> None:
    """Removes a build, a torn or tampered one, too. Raises Fault when there is none of this key."""
    path = f"{cache_dir(places)}/{key}"
    if not _KEY.fullmatch(key) or not os.path.lexists(path):
        raise Fault("refused", f"there is no build {key[:12]!r} in the cache", "autotune build list")
    check_own_dir(cache_dir(places), places.uid)
    remove_tree(path)


def sweep(places: Places) -> None:
    """Removes what a killed builder left: half-made entries, and directories of builds that can't be used any more."""
    directory = cache_dir(places)
    for name in _names(directory):
        if name.startswith(".new-") or (_KEY.fullmatch(name) and not _is_whole(places, name)):
            remove_tree(f"{directory}/{name}")


def _is_whole(places: Places, key: str) -> bool:
    try:
        built_program(places, key)
    except (Fault, OSError):
        return False
    return True


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _kept(places: Places, key: str) -> Kept:
    directory = cache_dir(places)
    for path in (directory, f"{directory}/{key}"):
        check_own_dir(path, places.uid)
    path = f"{directory}/{key}/manifest.json"
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        check_own_file(os.fstat(handle), path, places.uid)
        data = file.read(_MANIFEST_CAP)
    torn = Fault("refused", f"{path} is torn", "autotune build make: it is made again")
    try:
        manifest: Dict[str, Any] = json.loads(data)
        told = {name: manifest[name] for name, _ in _TOLD}
        order, sha256 = str(manifest["order"]), str(manifest["sha256"])
    except (ValueError, KeyError, TypeError):
        raise torn from None
    if told["key"] != key or not all(isinstance(told[name], kind) for name, kind in _TOLD):
        raise torn
    built: Any = told
    return Kept(built, order, sha256, f"{directory}/{key}")


# A file is hashed again only when the kernel says that it is another or was touched: a switch has no time for more.
_hashes: Dict[Tuple[int, int, int, int, int], str] = {}


def _hash_of(path: str, uid: int) -> str:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        seen = os.fstat(handle)
        check_own_file(seen, path, uid)
        mark = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if mark not in _hashes:
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
            _hashes[mark] = digest.hexdigest()
        return _hashes[mark]


def _copy(source: str, target: str) -> Tuple[int, str]:
    """Bytes and SHA-256 of the copy. What was built as another user is read as a plain file and nothing else."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file, open(target, "xb") as copy:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > _BINARY_CAP:
            raise Fault("failed", "what was built is not a plain file of a sensible size")
        for block in iter(lambda: file.read(1 << 20), b""):
            copy.write(block)
            digest.update(block)
            size += len(block)
        copy.flush()
        os.fsync(copy.fileno())
    os.chmod(target, 0o755)
    return size, digest.hexdigest()
