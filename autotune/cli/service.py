"""The night as a service of systemd: service install and remove."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.night_options import SummaryCommandOption
from autotune.cli.output import Json, JsonOption, examples, print_json, print_lines, say
from autotune.cli.places import StorageOption, StudyFile, definition_path, storage_url, study_file
from autotune.errors import BoardBusy, NotPermitted, UsageError
from autotune.storage.places import home_dir

if TYPE_CHECKING:
    from autotune.experiment.study import Study
    from autotune.runner.service_files import Service

_BOOTED = Path("/run/systemd/system")
_WITHIN_S = 60.0
_BY_HAND = "Without a service: autotune run STUDY --until 07:00 --detach, or the same in tmux."

AtOption: TypeAlias = Annotated[
    str, typer.Option("--at", metavar="HH:MM", help="Local time at which the night begins.")
]
EndOption: TypeAlias = Annotated[
    str,
    typer.Option("--until", metavar="HH:MM", help="Local time at which the board must be free and restored."),
]
NewNightOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--new-night", help="Hold another night every evening. Default: until the study is complete."
    ),
]
ToOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="Only write the files, into this directory."),
]
ServedName: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """A study's three."""

    unit: Path
    timer: Path
    environment: Path

    @property
    def all(self) -> tuple[Path, ...]:
        return self.unit, self.timer, self.environment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where the files go: of the system for root, of the user's own service manager for anybody else."""

    units: Path
    environment: Path
    of_user: bool

    @classmethod
    def here(cls) -> _Places:
        if os.geteuid() == 0:
            return cls(units=Path("/etc/systemd/system"), environment=Path("/etc/autotune"), of_user=False)
        base = os.environ.get("XDG_CONFIG_HOME", "")
        config = Path(base) if base.startswith("/") else home_dir() / ".config"
        return cls(units=config / "systemd" / "user", environment=config / "autotune", of_user=True)

    @classmethod
    def at(cls, directory: Path) -> _Places:
        whole = directory.resolve()
        return cls(units=whole, environment=whole, of_user=os.geteuid() != 0)

    def files(self, study: str) -> _Files:
        from autotune.runner.service_files import unit_name

        return _Files(
            unit=self.units / f"{unit_name(study)}.service",
            timer=self.units / f"{unit_name(study)}.timer",
            environment=self.environment / f"{study}.env",
        )

    @property
    def systemctl(self) -> tuple[str, ...]:
        return ("systemctl", "--user") if self.of_user else ("systemctl",)


def add_commands(app: typer.Typer) -> None:
    service = typer.Typer(
        no_args_is_help=True,
        help="A night every evening, by systemd: install, remove.",
        epilog=examples("autotune service install localhost", "autotune service remove localhost"),
    )
    service.command(
        "install",
        epilog=examples(
            "autotune service install localhost",
            "autotune service install my.toml --at 23:00 --until 06:00",
            "autotune service install my.toml --summary-command 'mail -s autotune me@example.org'",
            "autotune service install my.toml --to units",
        ),
    )(install)
    service.command("remove", epilog=examples("autotune service remove localhost"))(remove)
    app.add_typer(service, name="service", rich_help_panel="The night")


def install(
    study: StudyFile,
    *,
    at: AtOption = "22:00",
    until: EndOption = "07:00",
    new_night: NewNightOption = False,
    to: ToOption = None,
    summary_command: SummaryCommandOption = "",
    storage: StorageOption = "",
    json: JsonOption = False,
) -> None:
    """Write a systemd unit and its timer for a study's night.

    As root for the system, else for your own service manager. Nothing is started; what to type next is printed.
    """
    from autotune.cli.deadline import Hours
    from autotune.cli.morning import command_words
    from autotune.runner.service_files import Service, environment_text, service_text, timer_text

    places = _Places.here() if to is None else _Places.at(to)
    if to is None:
        _require_systemd()
    hours = Hours.read(f"{at}-{until}")
    command_words(summary_command)
    question = study_file(study)
    _require_entered(question, storage)
    service = Service(
        study=question,
        program=(sys.executable, "-P", "-m", "autotune"),
        study_file=str(definition_path(study, "studies").resolve()),
        begins=f"{hours.begins:%H:%M}",
        ends=f"{hours.ends:%H:%M}",
        new_night=new_night,
        directory=_working_directory(),
        environment=_environment(storage, summary_command),
        environment_file=places.environment / f"{question.name}.env",
        of_user=places.of_user,
    )
    _require_plain(service)
    files = places.files(question.name)
    _require_ours(files)
    for file, text, mode in (
        (files.unit, service_text(service), 0o644),
        (files.timer, timer_text(service), 0o644),
        (files.environment, environment_text(service), 0o600),
    ):
        _write(file, text, mode)
    if to is None:
        _systemctl(places, "daemon-reload")
    _warn_of_other_owners(service)
    _tell_installed(service, files, places, linked=to is not None, json=json)


def remove(name: ServedName, *, json: JsonOption = False) -> None:
    """Take a study's unit and timer away again."""
    from autotune.runner.service_files import unit_name

    places = _Places.here()
    unit = unit_name(name)
    files = places.files(name)
    ours = [file for file in files.all if _is_ours(file)]
    if not ours:
        raise UsageError(
            f"{files.unit} is not there, or not ours: nothing was removed",
            hint="What there is: " + " ".join([*places.systemctl, "list-timers", "--all", "'autotune-*'"]),
        )
    if _BOOTED.is_dir():
        if _systemctl(places, "is-active", "--quiet", f"{unit}.service", check=False) == 0:
            raise BoardBusy(
                f"the night of {name} is running",
                hint=f"Stop it first, which restores the board: {' '.join(places.systemctl)} stop {unit}.service",
            )
        _systemctl(places, "disable", "--now", f"{unit}.timer", f"{unit}.service", check=False)
    for file in ours:
        file.unlink()
    if _BOOTED.is_dir():
        _systemctl(places, "daemon-reload")
    if json:
        print_json({"study": name, "removed": [str(file) for file in ours]})
        return
    print_lines("Removed:", *(f"  {file}" for file in ours), board="")


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the directory you are in is gone", hint="cd somewhere else first") from None


def _require_systemd() -> None:
    """As sd_booted(3) tells it."""
    if not _BOOTED.is_dir():
        raise UsageError(
            "this machine was not started by systemd, so it can't hold the night as a service",
            hint=f"{_BY_HAND} Only the files: --to DIR",
        )


def _require_entered(study: Study, storage: str) -> None:
    """The study is in the database with this very definition: what would be refused tonight is refused now."""
    from autotune.storage.store import Store

    with Store.open(storage_url(storage)) as store:
        store.enter(study)


def _environment(storage: str, summary_command: str) -> dict[str, str]:
    """What makes a night from this shell and the service's the same. HOME: a system service has none of its own."""
    from autotune.board.agent_start import SSH_CONFIG
    from autotune.runner.meters import ALLOW

    pinned = (SSH_CONFIG, ALLOW, "HOME", "LANG", "PATH", "PYTHONPATH", "TZ", "XDG_STATE_HOME")
    found = {name: os.environ[name] for name in pinned if os.environ.get(name)}
    found["AUTOTUNE_STORAGE"] = storage_url(storage)
    if summary_command:
        found["AUTOTUNE_SUMMARY_COMMAND"] = summary_command
    return found


def _require_plain(service: Service) -> None:
    from autotune.runner.service_files import is_plain, is_plain_path

    for path in (service.directory, service.environment_file):
        if not is_plain_path(path):
            raise UsageError(
                f"{str(path)!r} can't stand in a unit of systemd, which would read more in it than a name",
                hint="No pattern (* ? [), and no space or backslash at its end: rename it, or go elsewhere.",
            )
    words = (*service.program, service.study_file, str(service.directory), str(service.environment_file))
    for word in (*words, *service.environment.values()):
        if not is_plain(word):
            raise UsageError(
                f"{word!r} can't stand in a unit of systemd: it holds a control character",
                hint="Rename that path, or take the character out of the environment.",
            )


def _is_ours(file: Path) -> bool:
    from autotune.runner.service_files import MARK

    try:
        return file.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise NotPermitted(f"{file}: {problem.strerror}", hint="Try it as root.") from None


def _require_ours(files: _Files) -> None:
    """Nothing is written when one of them would be written over another's."""
    for file in files.all:
        if os.path.lexists(file) and not _is_ours(file):
            raise UsageError(
                f"{file} is there and not ours", hint="Move it away, or give the study another name."
            )


def _write(file: Path, text: str, mode: int) -> None:
    """Whole or not at all. The mode holds before the text is in it."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        fresh.replace(file)
    except OSError as problem:
        raise NotPermitted(f"{file} can't be written: {problem.strerror}", hint="--to DIR") from None


def _warn_of_other_owners(service: Service) -> None:
    """What root runs every evening had better be root's own; said, for it is the user's to decide."""
    if service.of_user:
        return
    files = (Path(sys.executable).resolve(), Path(__file__), Path(service.study_file))
    for file in files:
        owner = file.stat().st_uid
        if owner:
            with contextlib.suppress(KeyError):
                say(f"root will read {file} every evening, which {pwd.getpwuid(owner).pw_name} can change")


def _systemctl(places: _Places, *words: str, check: bool = True) -> int:
    """Its exit code. Raises NotPermitted with its own words."""
    try:
        done = subprocess.run(
            (*places.systemctl, *words), capture_output=True, text=True, timeout=_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise NotPermitted(f"systemctl {words[0]}: {problem}", hint=_BY_HAND) from None
    if check and done.returncode:
        raise NotPermitted(f"systemctl {' '.join(words)}: {done.stderr.strip()}", hint=_BY_HAND)
    return done.returncode


def _tell_installed(service: Service, files: _Files, places: _Places, *, linked: bool, json: bool) -> None:
    control = " ".join(places.systemctl)
    unit, timer = f"{service.name}.service", f"{service.name}.timer"
    # A unit that is not where systemd looks is linked there by being enabled with its path.
    of_unit, of_timer = (
        (shlex.quote(str(files.unit)), shlex.quote(str(files.timer))) if linked else (unit, timer)
    )
    journal = "journalctl --user -u" if places.of_user else "journalctl -u"
    later: dict[str, str] = {}
    if not service.study.is_synthetic:
        later[f"autotune doctor {shlex.quote(service.study_file)}"] = "what a night still lacks"
    # The unit first: systemd starts no timer whose unit it does not know.
    later |= {
        f"{control} enable {of_unit}": "a night goes on after a reboot",
        f"{control} enable --now {of_timer}": f"every evening at {service.begins}",
    }
    if places.of_user:
        later["loginctl enable-linger"] = "also while you are not logged in"
    later[f"{journal} {unit}"] = "how it went"
    if json:
        document: dict[str, Json] = {
            "study": service.study.name,
            "unit": str(files.unit),
            "timer": str(files.timer),
            "environment": str(files.environment),
            "begins": service.begins,
            "ends": service.ends,
            "next": list(later),
        }
        print_json(document, board=service.study.board)
        return
    width = max(map(len, later))
    print_lines(
        f"Written, for a night of {service.study.name} between {service.begins} and {service.ends}:",
        *(f"  {file}" for file in files.all),
        "Nothing runs yet. Next:",
        *(f"  {line:<{width}}  {why}" for line, why in later.items()),
        board=service.study.board,
    )
