"""A board under this agent's lock: from begin to end."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Dict, List, Literal, Optional, Tuple

from autotune.agent import load, nginx, orders, services
from autotune.agent.faults import Fault
from autotune.agent.guardian import Guardian
from autotune.agent.journal import Entry, Journal, read_journal
from autotune.agent.line import Line
from autotune.agent.lock import Lock
from autotune.agent.places import Places, make_own_dir, make_run_dir
from autotune.agent.protocol import (
    BeginReply,
    Effect,
    EndReply,
    LeftOver,
    LoadReply,
    Program,
    SwitchReply,
    Watched,
    WatchReply,
)
from autotune.agent.restore import Undone, boot_id, name_boot, netns, restore_from_journal
from autotune.agent.run_watch import Watch
from autotune.agent.settings import Settings
from autotune.agent.tested import Tested


class Held:
    """What this agent holds. Every change goes through here, and none without a live guardian."""

    def __init__(
        self,
        places: Places,
        line: Line,
        lock: Lock,
        begin: Entry,
        lease_s: float,
        programs: Dict[str, Program],
    ) -> None:
        self._places = places
        self._line = line
        self._lock = lock
        self._lease_s = lease_s
        self._programs = programs
        self._token = str(begin["token"])
        self._tested = Tested(places, self._token, programs, self._record)
        self._www = places.state_of(self._token) + "/www"
        self._guardian: Optional[Guardian] = None
        self._guardian_restarted = False
        self._may_keep = begin["kept"] is True
        self._nginx_looked_for = False
        self._watch: Optional[Watch] = None
        self._journal = Journal.create(places, begin)
        self._settings = Settings(self._journal)

    # -- begin and end --------------------------------------------------------------------------------------------------

    @classmethod
    def begin(
        cls,
        places: Places,
        line: Line,
        order: orders.NightOrder,
        programs: Dict[str, Program],
    ) -> Tuple[Held, BeginReply]:
        """Takes the lock, undoes what a crashed night left, starts journal and guardian, puts the files down.

        Raises Fault: busy, left changed, journal, guardian, refused.
        """
        services.refuse_starting()
        make_run_dir(places)
        lock = Lock.take(places, f"{order.holder}, study {order.study}")
        try:
            _refuse_kept(places)
            undone = _undo_earlier_night(places)
            entry: Entry = {
                "entry": "BEGIN",
                "study": order.study,
                "night": order.night,
                "boot_id": boot_id(),
                "netns": netns(),
                "token": os.urandom(8).hex(),
                "holder": order.holder,
                "kept": order.kept,
                "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            held = cls(places, line, lock, entry, order.lease_s, programs)
        except BaseException:
            lock.release()
            raise
        try:
            held._ensure_guardian()
            held._guardian_restarted = False
            reply = held._put_files(order.files)
            for name in order.services:
                held._stop_service(services.find(name))
        except BaseException:
            held.finish()
            raise
        return held, {**reply, "undone": undone.put_right}

    def _put_files(self, files: Dict[str, bytes]) -> BeginReply:
        run, state = self._places.run_of(self._token), self._places.state_of(self._token)
        self._journal.append(({"entry": "CREATED", "path": path} for path in (run, state)), sync=True)
        make_own_dir(run, self._places.uid)
        make_own_dir(self._places.state_dir, self._places.uid)
        for path in (state, self._www, self._tested.files.log_dir):
            make_own_dir(path, self._places.uid)
        name_boot(state)
        for name, content in files.items():
            _put(self._www, name, content)
        load.write_scripts(run)
        return {
            "token": self._token,
            "conf_path": self._tested.files.conf,
            "www_dir": self._www,
            "log_dir": self._tested.files.log_dir,
            "undone": [],
        }

    def finish(self) -> EndReply:
        """Restores, proves it, and lets go of guardian and lock. Raises Fault when the journal forbids it.

        If anything unforeseen stops it, the guardian sees its pipe end and tries for itself.
        """
        self._end_watch()
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            self._line.unwatch(guardian.alive)
        restored = False
        try:
            # One that does not end even by SIGKILL is the restore's to tell.
            with contextlib.suppress(nginx.Refused):
                self._tested.stop(time.sleep)
            self._journal.close()
            undone = restore_from_journal(self._places)
            restored = True
        finally:
            if guardian is not None and restored:
                guardian.dismiss()
            elif guardian is not None:
                guardian.forget()
            self._lock.release()
        return end_reply(undone)

    def keep(self) -> EndReply:
        """Leaves everything in place, and the journal open, until the next `end`. Raises Fault; then nothing has changed."""
        if not self._may_keep:
            raise Fault("refused", "this was not begun to be kept", "begin with kept")
        if self._tested.server is None:
            raise Fault("refused", "no server runs, so there is nothing to keep", "switch first")
        self._journal.append([{"entry": "KEPT"}], sync=True)
        self._journal.close()
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            self._line.unwatch(guardian.alive)
            guardian.dismiss()
        self._lock.release()
        return {"restored": [], "left": []}

    # -- services -------------------------------------------------------------------------------------------------------

    def _stop_service(self, service: Optional[services.Service]) -> None:
        """Stopped until the restore, and written down before. Raises Fault."""
        if service is None:
            return
        if self._places.uid != 0:
            raise Fault("not permitted", f"only root can stop the service {service.name}", "run as root")
        entry: Entry = {
            "entry": "SERVICE",
            "name": service.name,
            "manager": service.manager,
            "was": "running",
            "listen": [list(one) for one in service.listen],
        }
        self._journal.append([entry], sync=True)

        def record(pid: int, start: int) -> None:
            stopping: Entry = {"entry": "STOPPING", "name": service.name, "pgid": pid, "start": start}
            self._journal.append([stopping], sync=True)

        services.stop(service, record)
        self._journal.append([{"entry": "STOPPED", "name": service.name}], sync=False)

    def _clear_the_way(self, ordered: List[orders.NginxOrder]) -> None:
        """The user's own nginx makes room for the night's, once. Raises Fault."""
        for order in ordered:
            if order.conf_path and not self._nginx_looked_for:
                self._stop_service(services.find_nginx(order.listen))
                self._nginx_looked_for = True

    # -- the guardian ---------------------------------------------------------------------------------------------------

    def renew_lease(self) -> None:
        """Tells the guardian that the controller is there. A dead guardian is replaced."""
        if self._guardian is not None and not self._guardian.renew():
            self._guardian_is_dead()

    def _guardian_is_dead(self) -> None:
        """Replaced at once if possible; if not, the next write says why."""
        try:
            self._ensure_guardian()
        except Fault:
            return

    def _ensure_guardian(self) -> None:
        """A live guardian, or Fault "guardian"."""
        if self._guardian is not None:
            if self._guardian.renew():
                return
            self._line.unwatch(self._guardian.alive)
            self._guardian.forget()
            self._guardian = None
        self._guardian = Guardian.start(self._places, self._lock.handle, self._lease_s)
        self._guardian_restarted = True
        self._line.watch(self._guardian.alive, self._guardian_is_dead)

    # -- changing the board ---------------------------------------------------------------------------------------------

    def check(self, paths: List[str]) -> List[Effect]:
        """Each path is written with its own value and read again. Raises Fault."""
        self._settings.check_paths(paths)
        self._ensure_guardian()
        return self._settings.write_back(paths)

    def switch(self, order: orders.Switch) -> SwitchReply:
        """One whole configuration: journal, writes, read-back, a fresh nginx, the canary.

        Raises Fault before anything is changed; what fails later is told in the reply's `step`.
        """
        self._end_watch()
        clock = _Clock()
        since = time.clock_gettime(time.CLOCK_BOOTTIME)
        fresh = self._settings.examine(order.writes)
        examined = [self._tested.examine(one) for one in order.server]
        self._ensure_guardian()
        self._clear_the_way(order.server)
        self._tested.ask_to_stop()  # it ends while we write
        self._settings.note_foreign()
        intents = [self._intent(one) for each in examined for one in self._tested.intents(each)]
        self._settings.remember(fresh, intents)
        clock.lap("journal")
        self._settings.apply(dict(order.writes))
        clock.lap("writes")
        effects = self._settings.read_back(order.writes)
        clock.lap("read_back")
        reply = _reply(effects, self._settings.foreign_paths())
        try:
            self._tested.stop(self._line.sleep)
            clock.lap("stop")
            self._require_written(effects)
            for each in examined:
                running = self._tested.start(each, self._line.sleep, clock.lap)
                reply["urls"] = self._tested.prove(running, each.order, since)
                clock.lap("canary")
                reply["master_pid"] = running.child.pid
                reply["worker_pids"] = running.workers()
                reply["error_log"] = self._tested.told()
        except nginx.Refused as refused:
            self._tested.explain(refused, reply, self._line.sleep)
            reply["error_log"] = self._tested.told()
            # One that did not end is the reason already, and the next switch tries again.
            with contextlib.suppress(nginx.Refused):
                self._tested.stop(self._line.sleep)
        except _NotWritten as problem:
            reply["step"], reply["reason"], reply["blame"] = "write", problem.reason, problem.blame
        reply["timings_ms"] = clock.laps_ms()
        reply["guardian_restarted"], self._guardian_restarted = self._guardian_restarted, False
        return reply

    def _require_written(self, effects: List[Effect]) -> None:
        for effect in effects:
            if effect["error"]:
                reason = f"{effect['path']}: {effect['requested']!r} was refused: {effect['error']}"
                raise _NotWritten(reason, "configuration")
        if stuck := self._settings.stuck():
            raise _NotWritten(stuck, "environment")

    # -- load -----------------------------------------------------------------------------------------------------------

    def load(self, order: orders.Load) -> LoadReply:
        """A warm-up and a measured run against the nginx of the last switch, or one at a fixed rate. Raises Fault without one.

        One that has died meanwhile is loaded all the same: the reply then tells of no workers.
        """
        server = self._needs_server()
        if not orders.serves(server.listen, order.address, order.port):
            raise Fault("refused", f"{order.url} is not served where the tested server listens")
        name = load.program_of(order)
        program = self._programs[name]["path"]
        if not program:
            raise Fault("failed", f"{name} is not installed here", f"apt-get install {name}")
        self._ensure_guardian()
        self._journal.append([self._intent(program)], sync=True)
        reply = load.run_load(
            program, self._places.run_of(self._token), order, server, self._line, self._record
        )
        self._add_php(reply)
        return reply

    def watch(self, order: orders.Watch) -> WatchReply:
        """A step of watching this board while another machine loads its server. Raises Fault without one."""
        server = self._needs_server()
        self._ensure_guardian()
        if order.step == "warm-up":
            self._end_watch()
            self._watch = Watch(server)
            return {"seen": None}
        watch = self._watch
        if watch is None:
            raise Fault("refused", "no warm-up is being watched", "a mistake of the controller")
        if order.step == "run":
            watch.begin_run(None, order.power)
            self._line.each_second = watch.each_second
            return {"seen": None}
        seen = watch.end_run(0.0)
        self._end_watch()
        self._add_php(seen)
        return {"seen": seen}

    def _end_watch(self) -> None:
        self._line.each_second = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _needs_server(self) -> nginx.Server:
        if self._tested.server is None:
            raise Fault(
                "refused", "no server runs, so there is nothing to load", "switch to a configuration first"
            )
        return self._tested.server

    def _add_php(self, seen: Watched) -> None:
        """php-fpm's children come and go as it is told; a master that is gone is a worker that died."""
        if master := self._tested.php_master:
            seen["workers_before"].append(master)
            if self._tested.php_runs:
                seen["workers_after"].append(master)
            seen["error_log"] = self._tested.told()

    def _intent(self, program: str) -> Entry:
        """A process is about to be started; written before the fork, completed by `_record`."""
        return {"entry": "PROCESS", "token": self._token, "program": program, "pgid": 0, "start": 0}

    def _record(self, pid: int, start: int) -> None:
        self._journal.append(
            [{"entry": "PROCESS", "token": self._token, "pgid": pid, "start": start}], sync=False
        )


class _NotWritten(Exception):
    def __init__(self, reason: str, blame: Literal["configuration", "environment"]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.blame: Literal["configuration", "environment"] = blame


def _reply(effects: List[Effect], foreign: List[str]) -> SwitchReply:
    return {
        "effects": effects,
        "foreign": foreign,
        "step": "",
        "reason": "",
        "blame": "",
        "urls": [],
        "master_pid": 0,
        "worker_pids": [],
        "error_log": "",
        "timings_ms": {},
        "guardian_restarted": False,
    }


def _refuse_kept(places: Places) -> None:
    story = read_journal(places)
    if story.kept and story.state == "open" and story.begin["boot_id"] == boot_id():
        study, since = story.begin["study"], story.begin.get("since", "")
        raise Fault("busy", f"a configuration is kept (study {study}, since {since})", "autotune restore")


def end_reply(undone: Undone) -> EndReply:
    return {"restored": undone.verified, "left": undone.left}


def _undo_earlier_night(places: Places) -> Undone:
    """Puts right what a crashed night left. Raises Fault "left changed" for what can't be."""
    undone = restore_from_journal(places)
    if undone.left:
        raise _left_changed(undone.left)
    return undone


def _left_changed(left: List[LeftOver]) -> Fault:
    said = "; ".join(f"{one['path']} was {one['original']!r}, is {one['now']!r}" for one in left)
    return Fault(
        "left changed",
        f"an earlier night left this changed: {said}",
        "; ".join(one["command"] for one in left),
    )


def _put(directory: str, name: str, content: bytes) -> None:
    path = directory
    *parents, last = name.split("/")
    for parent in parents:
        path += "/" + parent
        if not os.path.isdir(path):
            os.mkdir(path, 0o755)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path + "/" + last, flags, 0o644), "wb") as file:
        file.write(content)


class _Clock:
    """Milliseconds per part of a switch, and in all."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._laps: Dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._laps[name] = round((now - self._last) * 1000, 3)
        self._last = now

    def laps_ms(self) -> Dict[str, float]:
        return {**self._laps, "total": round((time.monotonic() - self._began) * 1000, 3)}
