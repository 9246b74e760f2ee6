"""Where the source of a build comes from: the distribution's own, a tarball on this machine, or one from the network."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import stat
import sys
from typing import List, NamedTuple

from autotune.agent.workshop import StepFailed, Workshop

_APT = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources")
_DEB_LINE = re.compile(r"\s*deb(-src)?\s+(?P<rest>.+)")
_TYPES = re.compile(r"(?im)^Types:.*$")
_VERSION = re.compile(r"(?m)^Version: (\S+)$")
_TARBALL_CAP = 64 << 20
_OTHERS = 2
_UNPACK_S, _FETCH_S, _LOOK_S = 60.0, 300.0, 30.0
# It runs as the unprivileged user; whatever it fetches is only used when its hash is the one asked for.
_FETCH = """
import sys, urllib.request
url, path, cap = sys.argv[1], sys.argv[2], int(sys.argv[3])
with urllib.request.urlopen(url, timeout=30) as answer, open(path, "xb") as file:
    left = cap
    while block := answer.read(min(1 << 16, left + 1)):
        left -= len(block)
        if left < 0:
            sys.exit("it is larger than %d MiB" % (cap >> 20))
        file.write(block)
"""


class Source(NamedTuple):
    """Unpacked: its directory, its hash, and what it is in words."""

    directory: str
    sha256: str
    words: str


class Package(NamedTuple):
    """The installed package that the distribution's nginx is of, by its source's name and version; "" for none."""

    name: str
    version: str


def tool(name: str) -> str:
    """The absolute path of a program that builds. Raises StepFailed when it isn't installed."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        package = {"cc": "gcc", "dpkg-source": "dpkg-dev", "apt-get": "apt", "apt-cache": "apt"}.get(
            name, name
        )
        raise StepFailed(
            f"{name} is not installed here: apt-get install {package}"
            + (" make libpcre2-dev libssl-dev zlib1g-dev" if name == "cc" else "")
        )
    return found


def installed_package(shop: Workshop, nginx: str) -> Package:
    """Of which source package the installed nginx is. Raises StepFailed when none has it."""
    query = tool("dpkg-query")
    owner = shop.run("dpkg-query", (query, "-S", nginx), within_s=_LOOK_S).split(":")[0].split(",")[0]
    fields = "${source:Package} ${source:Version}"
    name, _, version = shop.run(
        "dpkg-query", (query, "-W", "-f", fields, owner.strip()), within_s=_LOOK_S
    ).partition(" ")
    return Package(name, version)


def fetch(shop: Workshop, source: str, sha256: str, nginx: str) -> Source:
    """The source, unpacked in the workshop. Raises StepFailed, Leave."""
    if source == "apt":
        return _from_apt(shop, installed_package(shop, nginx))
    tarball = shop.path + "/source" + source[source.rindex(".tar") :]
    if source.startswith("https://"):
        argv = (sys.executable, "-I", "-S", "-c", _FETCH, source, tarball, str(_TARBALL_CAP))
        shop.run("fetching the source", argv, within_s=_FETCH_S)
    else:
        _copy(source, tarball, must_be_roots=os.geteuid() == 0 and not sha256)
    found = _hash(tarball)
    if sha256 and found != sha256:
        raise StepFailed(f"{source} has the SHA-256 {found}, not {sha256}")
    return Source(_unpacked(shop, tarball), found, f"{os.path.basename(source)} sha256:{found[:16]}")


def _unpacked(shop: Workshop, tarball: str) -> str:
    where = shop.make_dir("unpacked")
    shop.run("unpacking", (tool("tar"), "--no-same-owner", "-xf", tarball, "-C", where), within_s=_UNPACK_S)
    return _source_dir(where)


def _source_dir(where: str) -> str:
    """Where nginx's configure script is. Debian's and the tarballs have one directory at the top."""
    for path in (where, *sorted(glob.glob(where + "/*"))):
        if os.path.isfile(path + "/configure") and os.path.isfile(path + "/src/core/nginx.h"):
            return path
    raise StepFailed("this is no source of nginx: there is no configure and no src/core/nginx.h in it")


def _copy(source: str, target: str, *, must_be_roots: bool) -> None:
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise StepFailed(f"{source} can't be read: {problem.strerror}") from None
    with open(handle, "rb") as file:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > _TARBALL_CAP:
            raise StepFailed(f"{source} is not a plain file of at most {_TARBALL_CAP >> 20} MiB")
        if must_be_roots and (seen.st_uid != 0 or seen.st_mode & 0o022):
            raise StepFailed(
                f"{source} is not root's alone, and root will run what is made of it: `chown root` and"
                " `chmod go-w` it, or say its sha256 in [builds]"
            )
        if os.geteuid() == 0 and not seen.st_mode & 0o004:
            raise StepFailed(
                f"{source} is not for all to read, and it is unpacked as another user: chmod o+r"
            )
        with open(target, "xb") as copy:
            shutil.copyfileobj(file, copy)
            os.fchmod(copy.fileno(), 0o644)


def _hash(path: str) -> str:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    digest = hashlib.sha256()
    with open(handle, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# -- apt ----------------------------------------------------------------------------------------------------------------------


def _from_apt(shop: Workshop, package: Package) -> Source:
    """The installed version's source; where the mirror has lost it, another one's of the same release.

    deb-src may be missing from the machine's own sources, so apt gets a list and a directory of its own: neither the
    machine's configuration nor its lists are touched.
    """
    options = _apt_options(shop)
    update = (tool("apt-get"), "-q", "-y", *options, "update")
    trouble = ""
    try:
        shop.run("apt-get update", update, within_s=_FETCH_S)
    except StepFailed as problem:  # another repository's trouble need not be nginx's
        trouble = f"; {problem}"
    lost = ""
    for version in _versions(shop, options, package):
        where = shop.make_dir("apt/got/" + re.sub(r"[^A-Za-z0-9]", "_", version))
        argv = (tool("apt-get"), "-q", "-y", *options, "--only-source", "--download-only")
        try:
            shop.run(
                "apt-get source", (*argv, "source", f"{package.name}={version}"), cwd=where, within_s=_FETCH_S
            )
        except StepFailed as problem:
            lost = lost or str(problem)
            continue
        words = f"{package.name} {version}"
        if version != package.version:
            words += f" (installed is {package.version}, whose source can't be fetched)"
        return _unpacked_debian(shop, where, words)
    raise StepFailed((lost or f"apt knows no source of {package.name} {package.version}") + trouble)


def _unpacked_debian(shop: Workshop, where: str, words: str) -> Source:
    found = glob.glob(where + "/*.dsc")
    if len(found) != 1:
        raise StepFailed("apt-get source left no .dsc")
    argv = (tool("dpkg-source"), "--no-check", "-x", found[0], where + "/unpacked")
    shop.run("dpkg-source", argv, cwd=where, within_s=_UNPACK_S)
    return Source(_source_dir(where + "/unpacked"), _hash(found[0]), words)


def _versions(shop: Workshop, options: List[str], package: Package) -> List[str]:
    """The installed version, and then others of the same upstream release."""
    shown = shop.run(
        "apt-cache showsrc",
        (tool("apt-cache"), *options, "--only-source", "showsrc", package.name),
        within_s=_LOOK_S,
    )
    upstream = package.version.rpartition("-")[0] + "-"
    others = [one for one in _VERSION.findall(shown) if one.startswith(upstream) and one != package.version]
    return [package.version, *dict.fromkeys(others)][: 1 + _OTHERS]


def _apt_options(shop: Workshop) -> List[str]:
    for name in ("apt/parts", "apt/lists/partial", "apt/cache/archives/partial"):
        shop.make_dir(name)
    count = 0
    for path in sorted(one for pattern in _APT for one in glob.glob(pattern)):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = _as_source_list(path, file.read())
        if text:
            name = f"{shop.path}/apt/parts/{count}{os.path.splitext(path)[1]}"
            with open(name, "x", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, 0o644)
            count += 1
    if not count:
        raise StepFailed(
            'this machine has no package sources for apt: name a tarball in [builds] source = "..."'
        )
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": shop.path + "/apt/parts",
        "Dir::State::lists": shop.path + "/apt/lists",
        "Dir::Cache": shop.path + "/apt/cache",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _as_source_list(path: str, text: str) -> str:
    """The same repositories, asked for their sources."""
    if path.endswith(".sources"):
        return _TYPES.sub("Types: deb-src", text)
    found = [_DEB_LINE.fullmatch(line) for line in text.splitlines()]
    return "".join(f"deb-src {rest}\n" for rest in dict.fromkeys(line["rest"] for line in found if line))
