"""What a switch tests: the nginx, and the php-fpm behind it, of one configuration: examined, started, proven, stopped.

Nothing here is journaled but through `record` and `intents`: whoever holds the board writes the intents down first.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional

from autotune.agent import (
    build_cache,
    canary,
    facts,
    nginx,
    nginx_conf,
    orders,
    own_conf,
    php,
    php_conf,
)
from autotune.agent.faults import Fault
from autotune.agent.nginx import Pause
from autotune.agent.places import Places
from autotune.agent.protocol import Program, SwitchReply, UrlSeen

Record = Callable[[int, int], None]


class Examined(NamedTuple):
    """An order that may be started: with which nginx, and what its php-fpm was found to be."""

    order: orders.NginxOrder
    program: Program
    php: Optional[php_conf.Checked]


class Tested:
    """At most one nginx with its php-fpm, in the night's own directories."""

    def __init__(self, places: Places, token: str, programs: Dict[str, Program], record: Record) -> None:
        self._uid = places.uid
        self._places = places
        self._programs = programs
        self._record = record
        self._state_dir = places.state_of(token)
        self.files = nginx.Files(places.run_of(token), self._state_dir + "/log")
        self._php_files = php.Files(places.run_of(token))
        self.server: Optional[nginx.Server] = None
        self._php: Optional[php.Fpm] = None
        self._own: Optional[Program] = None

    # -- before anything is changed -------------------------------------------------------------------------------------

    def examine(self, order: orders.NginxOrder) -> Examined:
        """Raises Fault for what may not be started, or can't be."""
        program = self._program(order)
        if order.conf_path:
            self._examine_own(order)
        else:
            frame = nginx_conf.Frame(
                self.files.run_dir,
                self._state_dir,
                self.files.pid,
                order.listen,
                self._uid,
                order.php.listen if order.php else "",
            )
            nginx_conf.check_conf(order.conf, frame)
        return Examined(order, program, self._examine_php(order.php) if order.php else None)

    def _program(self, order: orders.NginxOrder) -> Program:
        """The nginx that the order runs: a build, the one the user's own was before it was stopped, or the installed."""
        if order.build:
            return build_cache.built_program(self._places, order.build)
        program = self._programs["nginx"]
        if order.conf_path:
            if self._own is None:
                self._own = facts.live_program(program)
            program = self._own
        if not program["path"]:
            raise Fault("failed", "nginx is not installed here", "apt-get install nginx")
        return program

    def _examine_own(self, order: orders.NginxOrder) -> None:
        if self._uid != 0:
            raise Fault("not permitted", "only root can show nginx an edited configuration", "run as root")
        frame = own_conf.Frame(
            self.files.run_dir, self._state_dir, self.files.pid, self.files.error_log, self._uid
        )
        own_conf.check_edits(order.conf_path, order.edits, frame)

    def _examine_php(self, order: orders.PhpOrder) -> php_conf.Checked:
        return php.examine(order, self._php_files, self._programs["php-fpm"]["path"], self._uid)

    def intents(self, examined: Examined) -> List[str]:
        """The programs that `start` will run."""
        programs = [examined.program["path"]]
        return [*programs, self._programs["php-fpm"]["path"]] if examined.php else programs

    # -- start, proof, stop ---------------------------------------------------------------------------------------------

    def start(self, examined: Examined, pause: Pause, lap: Callable[[str], None]) -> nginx.Server:
        """php-fpm first, then nginx. Raises nginx.Refused, with the reason in their own words."""
        order = examined.order
        if order.php and examined.php:
            self._start_php(order.php, examined.php, pause)
            lap("php")
        server = nginx.start(
            examined.program["path"],
            nginx.Texts(order.conf, order.conf_path, order.edits),
            self.files,
            listen=order.listen,
            workers=order.workers,
            cpus=order.cpus,
            record=self._record,
            pause=pause,
            started=self._has_server,
            quiet_start=nginx.takes_early_log(examined.program["version"]),
        )
        lap("start")
        return server

    def _start_php(self, order: orders.PhpOrder, checked: php_conf.Checked, pause: Pause) -> None:
        php.start(
            self._programs["php-fpm"]["path"],
            order,
            checked,
            self._php_files,
            record=self._record,
            pause=pause,
            started=self._has_php,
        )

    def _has_server(self, server: nginx.Server) -> None:
        self.server = server
        if self._php is not None:
            server.cpu_s_behind = self._php.cpu_s

    def _has_php(self, fpm: php.Fpm) -> None:
        self._php = fpm

    def prove(self, server: nginx.Server, order: orders.NginxOrder, since: float) -> List[UrlSeen]:
        """What each URL answered. Raises nginx.Refused."""
        return canary.prove(server, workers=order.workers, since=since, urls=order.urls)

    def ask_to_stop(self) -> None:
        """Returns at once."""
        for one in (self.server, self._php):
            if one is not None:
                one.ask_to_stop()

    def stop(self, pause: Pause) -> None:
        """Returns when nothing of them is left. Raises nginx.Refused when even SIGKILL does not end one."""
        self.ask_to_stop()
        if self.server is not None:
            self.server.stop(pause)
            self.server = None
        if self._php is not None:
            self._php.stop(pause)
            self._php = None

    # -- what is told of them -------------------------------------------------------------------------------------------

    def explain(self, refused: nginx.Refused, reply: SwitchReply, pause: Pause) -> None:
        """Puts into the reply where a start or a proof ended, and whether someone killed a process of it."""
        reply["step"], reply["reason"], reply["blame"] = refused.step, refused.reason, refused.blame
        if self.server is not None and self.server.was_killed(pause):
            reply["reason"] += " (one of its processes was killed)"
            reply["blame"] = "environment"
        if self._php is not None and (ended := self._php.ended()):
            reply["reason"] += f" ({ended})"
            if self._php.was_killed():
                reply["blame"] = "environment"

    def told(self) -> str:
        """What nginx and php-fpm said at warning or above since their start."""
        said = (nginx.told(self.files), self._php.error_log() if self._php else "")
        return "\n".join(one for one in said if one)

    @property
    def php_master(self) -> int:
        """The process that leads php-fpm, also when it has ended; 0 when the switch had none."""
        return self._php.child.pid if self._php is not None else 0

    @property
    def php_runs(self) -> bool:
        return self._php is not None and not self._php.ended()
