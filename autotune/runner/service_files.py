"""A night as a systemd service: the texts of its unit, its timer and its environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autotune.experiment.study import Study
from autotune.runner.builds import names_wanted

MARK: Final = "# Written by `autotune service install`"
"""How each of the files begins: nothing else is ever written over or removed."""

# What may lie between two rounds of the loop beside the load itself: a switch, a fresh connection, the board taken anew after
# its line was cut, a database that is away, the ranking of a thousand trials. Each has its own limit, far below this.
_ROUND_SPARE_S: Final = 900.0
# A run may take twice its time before it is given up, and then some (board/connection.py).
_RUN_FACTOR, _RUN_EXTRA_S = 2.0, 60.0
# Reaching the board, the dead-man self-test, the tools, the written-back keys.
_PREFLIGHT_S: Final = 600.0
_BUILD_S: Final = 3600.0
# From the last sample to the end: the board restored, over a fresh line if need be, the summary, its command.
_RESTORE_S: Final = 400.0
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@:=,./+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is to be held every evening, and by what means.

    `program`: the words that start autotune. `study_file`: a path, or a shipped study's name. `begins`, `ends`: HH:MM.
    `environment` goes into a file of its own, which only its owner can read. `of_user`: for a user's own service manager.
    """

    study: Study
    program: tuple[str, ...]
    study_file: str
    begins: str
    ends: str
    new_night: bool
    directory: Path
    environment: Mapping[str, str]
    environment_file: Path
    of_user: bool

    @property
    def name(self) -> str:
        return unit_name(self.study.name)


def unit_name(study: str) -> str:
    """What systemd knows the night of this study by, without .service and .timer."""
    return f"autotune-{study}"


def service_text(service: Service) -> str:
    """The unit: one night between two hours of the day, held again after a death that a restart can cure."""
    study = service.study
    run = ["run", service.study_file, "--between", f"{service.begins}-{service.ends}"]
    run += ["--new-night"] if service.new_night else []
    restore = ["restore", study.board]
    online = "" if service.of_user else "Wants=network-online.target\nAfter=network-online.target\n"
    # After a death that left nobody to restore. The "-": its own failure would be the unit's, and begin a night that ended well
    # anew every minute (RestartPreventExitStatus= looks at the night's exit code alone).
    after = [] if study.is_synthetic else [f"ExecStopPost=-{_command(service.program, restore)}"]
    lines = [f"ExecStart={_command(service.program, run)}", *after]
    return f"""{_head(study.name)}
[Unit]
Description=autotune: the night of {study.name}
{online}# As often as it takes: a board that is off at ten may be on at eleven.
StartLimitIntervalSec=10h
StartLimitBurst=700

[Service]
Type=notify
NotifyAccess=main
SyslogIdentifier=autotune
WorkingDirectory={_path(service.directory)}
# Where it hung, in the journal, when the watchdog ends it.
Environment=PYTHONFAULTHANDLER=1
EnvironmentFile={_path(service.environment_file)}
{chr(10).join(lines)}
# The loop tells that it goes round before every sample. The longest round of this study, with room:
WatchdogSec={watchdog_s(study):.0f}
TimeoutStartSec={start_s(study):.0f}
TimeoutStopSec={stop_s(study):.0f}
# What a restart can cure is tried again: a death, a hang, a machine out of reach (4), a database (8). A wrong command line (2)
# or definition (3), an unfit board (5), one that was left changed (6), no load generator (7) stay as they are.
Restart=on-failure
RestartSec=60
RestartPreventExitStatus=2 3 5 6 7
SuccessExitStatus=129 130 143
# The tuner stops after the sample in hand and restores; only what is left then is killed.
KillMode=mixed
# A configuration that takes too much memory is a failed sample, not the end of the night.
OOMPolicy=continue
LimitCORE=0
# No sandbox: a filter or a mount namespace would also lie around the nginx that is measured on this machine.

[Install]
# After a reboot in the middle of a night it goes on; outside its hours it ends at once.
WantedBy={"default.target" if service.of_user else "multi-user.target"}
"""


def timer_text(service: Service) -> str:
    """The timer: once every evening, and not afterwards where the machine was off."""
    return f"""{_head(service.study.name)}
[Unit]
Description=autotune: when the night of {service.study.name} begins

[Timer]
OnCalendar=*-*-* {service.begins}:00
AccuracySec=1s
Persistent=false

[Install]
WantedBy=timers.target
"""


def environment_text(service: Service) -> str:
    """The environment, as systemd reads such a file (systemd.exec(5), EnvironmentFile=)."""
    escaped = {
        name: re.sub(r'(["\\$`])', r"\\\1", value) for name, value in sorted(service.environment.items())
    }
    return "\n".join(
        [_head(service.study.name), *(f'{name}="{value}"' for name, value in escaped.items()), ""]
    )


def watchdog_s(study: Study) -> float:
    """Within so many seconds a healthy loop has gone round, whatever it met."""
    runs = len(study.workloads) * (2 if study.fixed_rate_s else 1)
    return _RUN_FACTOR * (study.busy_s + study.fixed_rate_s) + runs * _RUN_EXTRA_S + _ROUND_SPARE_S


def start_s(study: Study) -> float:
    """Within so many seconds the evening's tries are done and the first sample begins."""
    builds = 0 if study.builds is None else len(names_wanted(study))
    return _PREFLIGHT_S + 2 * study.budget.lease_s + builds * _BUILD_S


def stop_s(study: Study) -> float:
    """Within so many seconds a night that was told to stop is over and the board restored."""
    return watchdog_s(study) - _ROUND_SPARE_S + _RESTORE_S


def is_plain(text: str) -> bool:
    """Whether the text can stand in a unit: systemd knows no way to write a newline or a control character into one."""
    return text.isprintable()


def is_plain_path(path: Path) -> bool:
    """Whether it can be all of a setting there: EnvironmentFile= takes patterns, and every line loses the spaces at its end and
    goes on after a backslash (systemd.syntax(7), systemd.exec(5)).
    """
    text = str(path)
    return text == text.strip() and not text.endswith("\\") and not set("*?[") & set(text)


def _head(study: str) -> str:
    return f"{MARK}; `autotune service remove {study}` takes it away."


def _command(program: Sequence[str], words: Sequence[str]) -> str:
    return " ".join(_word(one) for one in (*program, *words))


def _word(text: str) -> str:
    """One word of a command line (systemd.service(5), COMMAND LINES): no specifier, no variable, no escape in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if _PLAIN.fullmatch(text) else f'"{escaped}"'


def _path(path: Path) -> str:
    """A path that is all of a setting: only specifiers are read in it."""
    return str(path).replace("%", "%%")
