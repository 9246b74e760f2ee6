"""Putting the agent root-owned in its place, with the one sudo rule it needs; and taking both away again.

Run as root by `autotune board install|remove`, from the same zip that it installs. What it does it says, a line for each
act. It changes nothing but INSTALL_DIR and RULE.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from typing import List

INSTALL_DIR = "/usr/local/lib/autotune"
PROGRAM = INSTALL_DIR + "/agent"
ARCHIVE = INSTALL_DIR + "/agent.zip"
RULE = "/etc/sudoers.d/zz-autotune"  # of all rules that fit, sudo goes by the last
_STARTS_WITHIN_S = 30.0
FRESH = ".autotune-"  # sudo passes over names with a dot
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PROGRAM = f"""\
#!/usr/bin/python3 -IS
import hashlib, os, sys
def greet(text):
    os.write(1, ("\\nautotune-agent: " + text + "\\n").encode("ascii"))
for path in ("{INSTALL_DIR}", "{ARCHIVE}"):
    seen = os.lstat(path)
    if seen.st_uid or seen.st_mode & 0o022:
        greet("unsafe " + path)
        sys.exit(1)
with open("{ARCHIVE}", "rb") as archive:
    digest = hashlib.sha256(archive.read()).hexdigest()
greet("installed " + digest)
sys.path.insert(0, "{ARCHIVE}")
from autotune.agent.serve import main
sys.exit(main())
"""


class Refused(Exception):
    """Nothing was changed, or nothing more; the words say why and what to do."""


def rule_for(user: str) -> str:
    """The whole rule file: this user may run this one program as root, without any argument."""
    return f'# autotune: the agent, and nothing else. Undone by: autotune board remove\n{user} ALL=(root) NOPASSWD: {PROGRAM} ""\n'


def install(archive: bytes, user: str) -> List[str]:
    """Installs for `user`; says each act. Raises Refused."""
    _require_root()
    if not _USER.fullmatch(user):
        raise Refused(f"{user!r} is no user's name that a sudo rule can bear")
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Refused(f"there is no user {user} here") from None
    said = []
    if uid != 0:
        _require_sudo()
    said += _make_dir(INSTALL_DIR)
    said += _remove_unfinished()
    said.append(_write(ARCHIVE, archive, 0o644))
    said.append(_write(PROGRAM, _PROGRAM.encode("ascii"), 0o755))
    if uid == 0:
        return [*said, "no sudo rule: root needs none"]
    said.append(_write_rule(rule_for(user)))
    if why := _does_not_start(user, uid):
        os.unlink(RULE)
        raise Refused(
            f"with the rule in {RULE}, sudo still does not start the agent for {user} ({why}): it was taken away again. "
            "See whether /etc/sudoers ends with @includedir /etc/sudoers.d, and what comes after that or says requiretty: "
            f"sudo -l -U {user}"
        )
    return [*said, f"tried it: {user} may run {PROGRAM} as root, and nothing more by this rule"]


def _does_not_start(user: str, uid: int) -> str:
    """Why the user can't start the installed agent through sudo now; "" when it greets. It ends with its input."""
    try:
        tried = subprocess.run(
            ["sudo", "-n", "--", PROGRAM],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_STARTS_WITHIN_S,
            check=False,
            user=uid,
            group=pwd.getpwnam(user).pw_gid,
            extra_groups=os.getgrouplist(user, pwd.getpwnam(user).pw_gid),
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    if b"autotune-agent: installed " in tried.stdout:
        return ""
    said = (tried.stderr or tried.stdout).decode("utf-8", "replace").strip().splitlines()
    return said[0] if said else "no word"


def remove() -> List[str]:
    """Takes everything away that `install` put there; says each act. Raises Refused."""
    _require_root()
    said = _remove_unfinished()
    for path in (RULE, PROGRAM, ARCHIVE):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            said.append(f"removed {path}")
    try:
        os.rmdir(INSTALL_DIR)
        said.append(f"removed {INSTALL_DIR}")
    except FileNotFoundError:
        pass
    except OSError as problem:
        said.append(f"left {INSTALL_DIR}: {problem.strerror}")
    return said or ["nothing of autotune was installed"]


def _remove_unfinished() -> List[str]:
    """What an installer left that died between writing a file and giving it its name."""
    said = []
    for directory in (os.path.dirname(RULE), INSTALL_DIR):
        for path in glob.glob(f"{directory}/{FRESH}*"):
            os.unlink(path)
            said.append(f"removed {path}, which an installer that was cut off had left")
    return said


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Refused("only root can do this: sudo is not there, or asks for a password")


def _require_sudo() -> None:
    if shutil.which("sudo") is None or shutil.which("visudo") is None:
        raise Refused("there is no sudo here, so no rule can be made. As root: apt-get install sudo")


def _make_dir(path: str) -> List[str]:
    if os.path.islink(path):
        raise Refused(f"{path} is a symbolic link, so someone else chose where it leads")
    if os.path.isdir(path):
        seen = os.stat(path)
        if seen.st_uid != 0 or seen.st_mode & 0o022:
            raise Refused(f"{path} is not root's alone: ls -ld {path}")
        return []
    os.makedirs(path, mode=0o755)
    os.chmod(path, 0o755)
    return [f"made {path}"]


def _write(path: str, data: bytes, mode: int) -> str:
    """In one step: whoever runs the old one meanwhile goes on with it."""
    handle, new = tempfile.mkstemp(dir=os.path.dirname(path), prefix=FRESH)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, mode)
        os.chown(new, 0, 0)
        os.rename(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
    return f"wrote {path} (root's, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]})"


def _write_rule(text: str) -> str:
    """A broken file there would lock everyone out of sudo, so visudo reads it first, where sudo doesn't look."""
    with tempfile.NamedTemporaryFile(mode="w", encoding="ascii") as tried:
        tried.write(text)
        tried.flush()
        checked = subprocess.run(
            ["visudo", "-c", "-q", "-f", tried.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if checked.returncode:
        raise Refused("visudo does not accept the rule: " + checked.stdout.decode("utf-8", "replace").strip())
    said = _write(RULE, text.encode("ascii"), 0o440)
    return f"{said}: {text.splitlines()[-1]}"


def main(archive: bytes, words: List[str]) -> int:
    """`install USER` or `remove`: one JSON line {"said": [...], "refused": "..."} on standard output."""
    refused = ""
    said: List[str] = []
    try:
        said = install(archive, words[1]) if words[0] == "install" else remove()
    except (Refused, OSError) as problem:
        refused = str(problem)
    print("\nautotune-agent: " + json.dumps({"said": said, "refused": refused}), flush=True)
    return 1 if refused else 0
