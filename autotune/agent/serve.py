"""The verbs, one after the other, until the controller is gone; then the board is restored."""

from __future__ import annotations

import glob
import itertools
import os
import stat
from typing import Any, Callable, Dict, List, Optional

from autotune.agent import allowed, builds, canary, counters, irq_lines, orders, own_files
from autotune.agent.facts import facts, live_program, programs
from autotune.agent.faults import Fault, Leave, permission_fault
from autotune.agent.held import Held, end_reply
from autotune.agent.journal import read_journal
from autotune.agent.kernel_files import read_value
from autotune.agent.line import Line, Request
from autotune.agent.load import LoadHost
from autotune.agent.lock import Lock, check_root_is_away, held_by
from autotune.agent.places import ROOT_PLACES, Places, make_run_dir, places_of
from autotune.agent.protocol import (
    PROTOCOL,
    BeginReply,
    BuildsReply,
    CheckReply,
    EndReply,
    FileReading,
    JournalState,
    LoadReply,
    Program,
    RouteReply,
    StatusReply,
)
from autotune.agent.restore import boot_id, changed_paths, restore_from_journal
from autotune.agent.routes import routes

_READ_CAP, _READ_ALL_CAP = 1 << 20, 4 << 20
_FOUND_CAP = 2000
_LEFT_CHANGED = 6
_SILENCE_MOST_S = 600.0


class Agent:
    """One agent, for one controller."""

    def __init__(self, line: Line, places: Places) -> None:
        self._line = line
        self._places = places
        self._held: Optional[Held] = None
        self._greeted = False
        self._programs: Dict[str, Program] = {}
        self._load_host = LoadHost(line, places)
        line.heard = self._heard
        self._verbs: Dict[str, Callable[[Dict[str, Any]], Any]] = {
            "hello": self._hello,
            "read": self._read,
            "begin": self._begin,
            "switch": lambda body: self._needs_held().switch(orders.switch(body)),
            "check": self._check,
            "load": self._load,
            "watch": lambda body: self._needs_held().watch(orders.watch(body)),
            "route": self._route,
            "counters": lambda _: {"counters": counters.counters(), "levels": counters.levels()},
            "end": self._end,
            "status": self._status,
            "builds": self._builds,
        }

    def serve(self) -> int:
        """Serves until the controller goes or a signal comes, restores, and returns the exit code."""
        try:
            while True:
                # A lease ends what is held. What isn't may have lost its controller behind a cut cable, too.
                self._line.silence_most_s = 0.0 if self._held else _SILENCE_MOST_S
                self._answer(self._line.next_request())
        except Leave as leave:
            return self._restored(leave.exit_code)

    def _restored(self, exit_code: int) -> int:
        self._load_host.close()
        if self._held is None:
            return exit_code
        held, self._held = self._held, None
        try:
            left = held.finish()["left"]
        except (Fault, OSError):
            return _LEFT_CHANGED
        return _LEFT_CHANGED if left else exit_code

    def _answer(self, request: Request) -> None:
        try:
            body = self._carry_out(request)
        except Fault as fault:
            self._line.fail(request.number, fault.body)
        except PermissionError as problem:
            self._line.fail(request.number, permission_fault(problem).body)
        except Leave:
            raise
        except OSError as problem:
            words = f"{request.verb}: {problem.filename or 'the system'}: {problem.strerror}"
            self._line.fail(request.number, Fault("failed", words, "see `df -h` and `dmesg | tail`").body)
        except Exception as problem:
            words = f"{request.verb}: {type(problem).__name__}: {problem}"
            self._line.fail(request.number, Fault("failed", words, "this is a bug of ours").body)
        else:
            self._line.reply(request.number, body)

    def _carry_out(self, request: Request) -> Any:
        if not request.verb:
            raise Fault("protocol", request.problem, "controller and agent are of different versions")
        if not self._greeted and request.verb != "hello":
            raise Fault("protocol", f"{request.verb} comes before hello", "say hello first")
        return self._verbs[request.verb](request.body)

    def _heard(self) -> None:
        if self._held is not None:
            self._held.renew_lease()

    def _needs_held(self) -> Held:
        if self._held is None:
            raise Fault("refused", "nothing was begun, so nothing is changed", "begin first")
        return self._held

    # -- verbs ----------------------------------------------------------------------------------------------------------

    def _hello(self, body: Dict[str, Any]) -> Any:
        theirs = body.get("protocol")
        if theirs != PROTOCOL:
            raise Fault(
                "protocol",
                f"the controller speaks protocol {theirs!r}, this agent {PROTOCOL}",
                "use one version for both",
            )
        self._greeted = True
        reply = facts(self._places)
        self._programs = reply["programs"]
        return reply

    def _read(self, body: Dict[str, Any]) -> Any:
        files: Dict[str, FileReading] = {}
        room = _READ_ALL_CAP
        for path in orders.paths(body):
            for one in self._expand(path):
                files[one] = self._read_one(one, min(room, _READ_CAP))
                room -= len(files[one]["text"] or "")
        asked = own_files.Asked({}, {}, "")
        if conf_path := body.get("nginx_conf"):
            self._programs = self._programs or programs()
            program = live_program(self._programs["nginx"])
            asked = own_files.ask(program["path"], program["version"], str(conf_path), self._places.uid)
        return {
            "files": files,
            "nginx_files": asked.files,
            "nginx_names": asked.names,
            "nginx_problem": asked.problem,
        }

    def _expand(self, path: str) -> List[str]:
        """The files that a path with * in any part stands for; the path itself when there are none."""
        if "*" not in path:
            return [path]
        allowed.check_pattern(path)
        pattern = path.replace("[", "[[]").replace("?", "[?]")
        found = (one for one in glob.iglob(pattern) if _may_be_read(one))
        return sorted(itertools.islice(found, _FOUND_CAP)) or [path]

    def _read_one(self, path: str, cap: int) -> FileReading:
        try:
            real = allowed.check_readable(path)
            if not real.startswith("/"):
                return _word_reading(real)
            handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                if self._places.uid == 0 and allowed.is_nginx_file(real):
                    _require_roots(real, os.fstat(handle))
                data = file.read(cap + 1) or b""
        except Fault as fault:
            return {"text": None, "error": fault.message, "writable": False}
        except OSError as problem:
            return {"text": None, "error": problem.strerror or str(problem), "writable": False}
        if len(data) > cap:
            return {"text": None, "error": "it is too long to be read", "writable": False}
        why = irq_lines.refusal(real)
        writable = not why and os.access(real, os.W_OK)
        return {"text": data.decode("utf-8", "replace"), "error": why, "writable": writable}

    def _check(self, body: Dict[str, Any]) -> CheckReply:
        """Looking at URLs changes nothing, so nothing need have been begun for it."""
        paths, urls = orders.paths(body), orders.truths(body)
        effects = self._needs_held().check(paths) if paths else []
        return {"effects": effects, "urls": [canary.look(one) for one in urls]}

    def _load(self, body: Dict[str, Any]) -> LoadReply:
        """Where nothing was begun, this is a load host, and the server is on another machine."""
        order = orders.load(body)
        if self._held is not None:
            return self._held.load(order)
        self._programs = self._programs or programs()
        return self._load_host.load(order, self._programs)

    def _route(self, body: Dict[str, Any]) -> RouteReply:
        asked = orders.ways(body)
        return routes(asked.targets, asked.port)

    def _begin(self, body: Dict[str, Any]) -> BeginReply:
        if self._held is not None:
            raise Fault("refused", "this agent holds the board already", "end first")
        order = orders.night(body)
        self._programs = self._programs or programs()
        self._held, reply = Held.begin(self._places, self._line, order, self._programs)
        return reply

    def _end(self, body: Dict[str, Any]) -> EndReply:
        """Restores, or keeps. Without a begin in this agent: restores whatever a dead one has left, or one has kept."""
        if body.get("keep") is True:
            reply = self._needs_held().keep()
            self._held = None
            return reply
        if self._held is not None:
            held, self._held = self._held, None
            return held.finish()
        check_root_is_away(self._places.uid)
        # A reboot takes the run directory, and leaves files on the disk.
        traces = [
            self._places.run_dir,
            *([self._places.state_dir] if body.get("earlier_boots") is True else []),
        ]
        if not any(map(os.path.lexists, traces)):
            return {"restored": [], "left": []}
        make_run_dir(self._places)
        lock = Lock.take(self._places, f"restore, pid {os.getpid()}")
        try:
            return end_reply(restore_from_journal(self._places))
        finally:
            lock.release()

    def _builds(self, body: Dict[str, Any]) -> BuildsReply:
        self._programs = self._programs or programs()
        nginx = self._programs["nginx"]
        return builds.carry_out(body, self._places, self._line, nginx, holds=self._held is not None)

    def _status(self, body: Dict[str, Any]) -> StatusReply:
        del body
        # What root's tuner does or has left is everyone's matter.
        roots = held_by(ROOT_PLACES.lock) or os.path.lexists(ROOT_PLACES.journal)
        places = ROOT_PLACES if roots else self._places
        story = read_journal(places)
        state: JournalState = story.state
        if state == "open" and story.begin["boot_id"] != boot_id():
            return {
                "held_by": held_by(places.lock),
                "journal": "other boot",
                "begun": story.begin,
                "changed": [],
            }
        if state == "open" and story.kept:
            state = "kept"
        return {
            "held_by": held_by(places.lock),
            "journal": state,
            "begun": story.begin,
            "changed": changed_paths(story) if state in ("open", "kept") else [],
        }


def _word_reading(path: str) -> FileReading:
    """What is no file; only root may change it. Raises OSError where the device hasn't it."""
    text = read_value(path)
    if text is None:
        return {"text": None, "error": "No such device", "writable": False}
    return {"text": text, "error": "", "writable": os.geteuid() == 0}


def _may_be_read(path: str) -> bool:
    try:
        allowed.check_readable(path)
    except Fault:
        return False
    return True


def _require_roots(path: str, seen: os.stat_result) -> None:
    if not stat.S_ISREG(seen.st_mode) or seen.st_uid != 0 or seen.st_mode & 0o002:
        raise Fault("refused", f"{path} is not root's alone, and root would run what it says")


def main() -> int:
    """Serves the controller at the other end of stdin and stdout; the exit code."""
    return Agent(Line(0, 1), places_of(os.geteuid())).serve()
