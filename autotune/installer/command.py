"""`install`, `uninstall` and what the unit runs at boot: the command lines of an export."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from typing import Sequence

from autotune.agent.faults import Fault
from autotune.agent.lock import Lock
from autotune.agent.places import ROOT_PLACES, make_run_dir
from autotune.installer import record, undo, values
from autotune.installer.boot_files import STATE
from autotune.installer.change import BOOT_FAMILIES, install
from autotune.installer.exported import FAMILIES, FILE, Exported, read
from autotune.installer.nginx_edit import diff
from autotune.installer.plan import Plan, now, plan

DONE, USAGE, NOT_PERMITTED, REFUSED, LEFT_CHANGED = 0, 2, 4, 5, 6
_CODES = {"not permitted": NOT_PERMITTED, "busy": NOT_PERMITTED, "left changed": LEFT_CHANGED}
_CARD_WITHIN_S = 30.0


class Stopped(Exception):
    """A signal: what is half done is taken back."""


def main(name: str, here: str) -> int:
    """The exit code of `install`, `uninstall` or `boot`; `here` is the folder of the export, or root's own place."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return {"install": _install, "uninstall": _uninstall, "boot": _boot}[name](here)
    except Fault as problem:
        return _say_fault(name, problem)
    except (KeyboardInterrupt, Stopped):
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    except OSError as problem:
        print(f"{name}: {problem.filename or ''}: {problem.strerror}", file=sys.stderr)
        return REFUSED


def _say_fault(name: str, problem: Fault) -> int:
    print(f"{name}: {_plain(problem.message)}", file=sys.stderr)
    if problem.hint:
        print(f"Next: {_plain(problem.hint)}", file=sys.stderr)
    return _CODES.get(problem.kind, REFUSED)


# -- install ----------------------------------------------------------------------------------------------------------


def _install(here: str) -> int:
    words = argparse.ArgumentParser(
        prog="install",
        description="Puts an exported configuration in place, for good. All of it or nothing; `uninstall` takes it back.",
    )
    words.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    words.add_argument("--without", action="append", default=[], choices=FAMILIES, help="leave a family out")
    words.add_argument("--nic", default="", help="the network card that the load comes over, such as eth0")
    words.add_argument("--other-board", action="store_true", help="also on another board than the study's")
    asked = words.parse_args()
    file = os.path.join(here, FILE)
    read(file)
    settings = _narrowed(file, asked.without, asked.nic)
    exported = read(file).without(tuple(asked.without))
    exported = exported._replace(nic=asked.nic or exported.nic)
    if not exported.families:
        print("This configuration is stock: there is nothing to install.")
        return DONE
    if os.geteuid() and not asked.dry_run:
        raise Fault("not permitted", "only root can install", "sudo install, or install --dry-run")
    there = _story(dry=asked.dry_run)
    if there.begun:
        return _again(there, exported, settings, other_board=asked.other_board)
    planned = plan(exported, other_board=asked.other_board)
    _say_plan(planned)
    if planned.problems:
        print("\nNothing was changed, because:", file=sys.stderr)
        for problem in planned.problems:
            print(f"  {_plain(problem)}", file=sys.stderr)
        return REFUSED
    if asked.dry_run:
        print("\nNothing was changed: this was a dry run.")
        return DONE
    return _install_planned(planned, here, settings)


def _narrowed(file: str, without: Sequence[str], nic: str) -> str:
    """The settings as they will be kept: without what is left out, with the card that was named."""
    with open(file, encoding="utf-8") as text:
        found = json.load(text)
    found["kernel"] = [one for one in found["kernel"] if one["id"].partition(":")[0] not in without]
    found["nginx"] = [] if "nginx" in without else found["nginx"]
    found["pool"] = [] if "fpm" in without else found["pool"]
    found["nic"] = nic or found["nic"]
    return json.dumps(found, indent=1) + "\n"


def _story(*, dry: bool) -> record.Story:
    try:
        return record.read()
    except Fault:
        if not dry:
            raise
        return record.Story({}, False, [], [], [], [], [])


def _again(there: record.Story, exported: Exported, settings: str, *, other_board: bool) -> int:
    """Installed already: looked at, not touched."""
    study = there.begun.get("study", "")
    if not there.complete:
        raise Fault("refused", f"an installation of {study} was interrupted here", f"{STATE}/uninstall")
    if there.begun.get("settings") != record.hash_of(settings.encode("utf-8")):
        raise Fault("refused", f"another configuration is installed, of study {study}", f"{STATE}/uninstall")
    wanted = plan(exported, other_board=other_board, installed=True).wishes
    other = [f"  {one.path}: {now(one)}, not {one.text}" for one in wanted if now(one) != one.text]
    print("This is installed already; nothing was changed.")
    if other:
        print("These are other than installed by now:", *map(_plain, other), sep="\n")
    return DONE


def _install_planned(planned: Plan, here: str, settings: str) -> int:
    make_run_dir(ROOT_PLACES)
    lock = Lock.take(ROOT_PLACES, f"install, process {os.getpid()}")
    try:
        _listen_to_signals()
        try:
            said = install(planned, here, settings)
        except BaseException as problem:
            _ignore_signals()
            why = problem.message if isinstance(problem, Fault) else str(problem) or type(problem).__name__
            print(f"\ninstall: {_plain(why)}", file=sys.stderr)
            return _take_back()
        print("\nInstalled. A fresh reading gives:")
        for line in said:
            print(f"  {_plain(line)}")
        for wish in plan(planned.exported, other_board=True, installed=True).wishes:
            print(f"  {wish.path} = {_plain(now(wish))}")
        print(f"Taken back by: {STATE}/uninstall")
        return DONE
    finally:
        lock.release()


def _take_back() -> int:
    undone = undo.undo(record.read(), dry=False)
    if undone.stuck:
        print("What was done could not be taken back whole:", file=sys.stderr)
        for line in undone.stuck:
            print(f"  {_plain(line)}", file=sys.stderr)
        print(f"Next: {undo.by_hand_hint()}", file=sys.stderr)
        return LEFT_CHANGED
    print("All of it was taken back: the board is as it was.", file=sys.stderr)
    return REFUSED


def _say_plan(planned: Plan) -> None:
    exported = planned.exported
    print(
        f"{exported.arm} configuration of study {_plain(exported.study)}, fingerprint {_plain(exported.digest)}"
    )
    if planned.wishes or planned.pending:
        print("\nvalues of the kernel, now:")
    for wish in planned.wishes:
        print(f"  {wish.path}: {_plain(now(wish))} -> {wish.text}")
    for id_ in planned.pending:
        print(f"  {id_}: once its governor rules")
    files = {**planned.files, **({planned.pool.path: planned.pool.text} if planned.pool else {})}
    for path, text in files.items():
        print(f"\nnew file {path}:")
        print("\n".join(f"  {_plain(line)}" for line in text.splitlines()))
    if planned.nginx:
        print("\nnginx, then `nginx -t`, a restart if it runs, and whether it answers as before:")
        lines = diff(planned.nginx.tree, planned.nginx.edited.texts)
        print(
            "\n".join(_plain(line) for line in lines) if lines else "  nothing: it says all of this already"
        )
    for note in planned.notes:
        print(f"note: {_plain(note)}")


# -- uninstall --------------------------------------------------------------------------------------------------------


def _uninstall(here: str) -> int:
    del here
    words = argparse.ArgumentParser(
        prog="uninstall",
        description="Takes back what install has changed: files as they were, live values where they are still ours.",
    )
    words.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    words.add_argument(
        "--forget", action="store_true", help="change nothing, and remove what is remembered, originals too"
    )
    asked = words.parse_args()
    if os.geteuid():
        raise Fault("not permitted", f"only root can look into {STATE}", "sudo uninstall")
    story = record.read()
    if not story.begun:
        if os.path.isdir(STATE) and not asked.dry_run:
            record.forget()  # begun, and nothing was changed yet
        print("Nothing is installed.")
        return DONE
    if asked.forget:
        record.forget()
        print("Forgotten; nothing else was changed.")
        return DONE
    make_run_dir(ROOT_PLACES)
    lock = Lock.take(ROOT_PLACES, f"uninstall, process {os.getpid()}")
    try:
        if not asked.dry_run:
            _ignore_signals()  # half a way back is worse than a late Ctrl-C
        undone = undo.undo(story, dry=asked.dry_run)
    finally:
        lock.release()
    for line in undone.done:
        print(f"  {_plain(line)}")
    for line in undone.left:
        print(f"  left as it is: {_plain(line)}")
    if asked.dry_run:
        print("Nothing was changed: this was a dry run.")
    elif not undone.stuck:
        print("Taken back: what install found here is here again.")
    for line in undone.stuck:
        print(f"uninstall: {_plain(line)}", file=sys.stderr)
    if undone.stuck:
        print(f"Next: {undo.by_hand_hint()}", file=sys.stderr)
    return LEFT_CHANGED if undone.stuck else DONE


# -- at boot ----------------------------------------------------------------------------------------------------------


def _boot(here: str) -> int:
    """Sets what no file of the system's own can; cards and policies may come late."""
    exported = read(os.path.join(here, FILE))
    mine = exported.without(tuple(one for one in FAMILIES if one not in BOOT_FAMILIES))
    until = time.monotonic() + _CARD_WITHIN_S
    while (reasons := plan(mine, other_board=True, installed=True).problems) and time.monotonic() < until:
        time.sleep(1)
    if reasons:
        raise Fault("refused", "; ".join(reasons))
    for line in values.put(mine.kernel, mine.nic, recorded=False):
        print(_plain(line))
    return DONE


def _listen_to_signals() -> None:
    def stop(number: int, _frame: object) -> None:
        raise Stopped(f"stopped by signal {number}")

    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, stop)


def _ignore_signals() -> None:
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)


def _plain(text: str) -> str:
    """Nothing that could steer a terminal."""
    return "".join(one if one.isprintable() or one == "\t" else repr(one)[1:-1] for one in text)
