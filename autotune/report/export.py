"""The files that keep the automatic configuration, to be installed by hand: each line says what it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autotune import __version__
from autotune.actuators.thp import path_of
from autotune.actuators.wording import kernel_text, safe_word
from autotune.errors import SettingUnsupported, UsageError
from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.experiment.synthetic_boards import LABEL
from autotune.measurement.comparison import Comparison, compare
from autotune.report.by_hand import FILED, by_hand_lines, is_by_hand
from autotune.report.changes import changes, last_night
from autotune.report.comparison_page import answer, doubt_lines, ratio_interval, stamps
from autotune.report.distillation_parts import pare_down, pare_down_lines
from autotune.report.limit_parts import limit_lines
from autotune.report.nginx_snippet import comment, nginx_text
from autotune.report.words import interval_text, load_text, local_time_text, rate_text, verdict_text
from autotune.report.workload_parts import figure_name, figure_of, goal_text
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value

SYSCTL_FILE = "99-autotune.conf"
NGINX_FILE = "nginx.conf.autotune"
THP_FILE = "autotune-thp.conf"
PROVENANCE_FILE = "PROVENANCE.md"


def export_files(study: Study, log: Sequence[Event]) -> dict[str, str]:
    """The texts by file name: only the families that the automatic configuration changes, and always PROVENANCE.md.

    Raises UsageError while there is no automatic configuration, SettingUnsupported for a value that can't be written.
    """
    comparison = compare(study, log)
    begun = last_night(log, comparison.night)
    arm = next((one for one in comparison.arms if one.name == "automatic" and one.n), None)
    if begun is None or arm is None:
        raise UsageError(
            f"{study.name} has no automatic configuration yet: its finals have no samples",
            hint=f"Go on with: autotune resume {study.name}",
        )
    configuration, stock = _as_measured(study, arm.configuration, begun.stock)
    chosen = configuration.mapping
    unknown = [id_ for id_ in chosen if id_ not in CATALOGUE]
    if unknown:
        raise SettingUnsupported(
            f"this autotune doesn't know {', '.join(unknown)}",
            hint="Export with the autotune that ran the study.",
        )
    families = {
        family: {
            id_: value
            for id_, value in chosen.items()
            if CATALOGUE[id_].family == family and not is_by_hand(id_)
        }
        for family in sorted(FILED)
    }
    files: dict[str, str] = {}
    if families["sysctl"]:
        files[SYSCTL_FILE] = _sysctl_text(study, families["sysctl"], stock)
    if families["nginx"]:
        known = {id_: value for id_, value in stock.items() if id_ in CATALOGUE}
        files[NGINX_FILE] = (
            f"# Automatic configuration of study {comment(study.name)}. A text to copy from, not to include:\n"
            f"# a directive that nginx.conf already has would stand there twice. See {PROVENANCE_FILE}.\n\n"
            + nginx_text(families["nginx"], known)
        )
    if families["thp"]:
        files[THP_FILE] = _thp_text(study, families["thp"], stock)
    files[PROVENANCE_FILE] = _provenance(study, log, comparison, begun, configuration, stock, tuple(files))
    return {name: _labelled(name, text) for name, text in files.items()} if study.is_synthetic else files


def _labelled(name: str, text: str) -> str:
    """A file that nobody is to take for a measured one."""
    return f"**{LABEL}**\n\n{text}" if name.endswith(".md") else f"# {LABEL}\n{text}"


def _as_measured(
    study: Study, automatic: Configuration, stock: Mapping[str, Value]
) -> tuple[Configuration, dict[str, Value]]:
    """What the board needs to be as measured, and what is known of its own values.

    Where stock was the text's, the configuration stood on the text's values and not on the board's own, which were not
    kept: what it leaves at them has to be installed too.
    """
    made = automatic.against(stock)
    if study.stock != "capstone" or not len(made):
        return made, dict(stock)
    laid = study.stock_overrides.mapping
    under = Configuration.of({id_: value for id_, value in laid.items() if id_ in stock})
    return under.merged(made), {id_: value for id_, value in stock.items() if id_ not in laid}


def write_files(directory: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Writes the files into a new or empty directory. Raises UsageError when it is neither, and writes nothing."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(
                f"{directory} is not empty; nothing was written",
                hint="Name a new or an empty directory with --to.",
            )
        for name, text in files.items():
            with (directory / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise UsageError(
            f"can't write to {directory}: {reason}", hint="Name a directory you may write to with --to."
        ) from None
    return tuple(directory / name for name in files)


def _sysctl_text(study: Study, chosen: Mapping[str, Value], stock: Mapping[str, Value]) -> str:
    """A drop-in for /etc/sysctl.d (sysctl.d(5): comments stand on lines of their own)."""
    lines = [f"# Automatic configuration of study {comment(study.name)}. See {PROVENANCE_FILE}."]
    for id_, value in chosen.items():
        setting = CATALOGUE[id_]
        lines += ["", f"# was {_was(id_, stock)}"]
        text = kernel_text(setting, value)
        if text == "unset":
            lines.append(f"# {setting.key} is left to the kernel")
        else:
            lines.append(f"{setting.key} = {text}")
    return "\n".join(lines) + "\n"


def _thp_text(study: Study, chosen: Mapping[str, Value], stock: Mapping[str, Value]) -> str:
    """A drop-in for /etc/tmpfiles.d (tmpfiles.d(5): `w` writes an argument to a file at every boot)."""
    lines = [f"# Automatic configuration of study {comment(study.name)}. See {PROVENANCE_FILE}."]
    for id_, value in chosen.items():
        setting = CATALOGUE[id_]
        lines += [
            "",
            f"# was {_was(id_, stock)}",
            f"w {path_of(setting)} - - - - {kernel_text(setting, value)}",
        ]
    return "\n".join(lines) + "\n"


def _was(id_: str, stock: Mapping[str, Value]) -> str:
    """Stock's value as the kernel takes it, fit for a comment and for a quoted word of a command."""
    if id_ not in stock:
        return "not known"
    value = stock[id_]
    # A board may have a value beyond the catalogue's limits; those bind what is chosen, not what was found.
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return safe_word(CATALOGUE[id_], value) if isinstance(value, str) else str(int(value))


_INSTALL = {
    SYSCTL_FILE: (
        f"sudo install -m 644 {SYSCTL_FILE} /etc/sysctl.d/{SYSCTL_FILE}",
        f"sudo sysctl -p /etc/sysctl.d/{SYSCTL_FILE}",
    ),
    THP_FILE: (
        f"sudo install -m 644 {THP_FILE} /etc/tmpfiles.d/{THP_FILE}",
        f"sudo systemd-tmpfiles --create /etc/tmpfiles.d/{THP_FILE}",
    ),
    NGINX_FILE: (
        "sudo cp -a /etc/nginx/nginx.conf /etc/nginx/nginx.conf.before-autotune",
        f"# change the directives listed in {NGINX_FILE}, each in its own context; then",
        "sudo nginx -t && sudo systemctl restart nginx",
    ),
}


def _undo(files: Sequence[str], configuration: Configuration, stock: Mapping[str, Value]) -> list[str]:
    lines: list[str] = []
    kernel = [id_ for id_ in configuration.against(stock) if id_ in CATALOGUE and id_ in stock]
    if SYSCTL_FILE in files:
        lines.append(f"sudo rm /etc/sysctl.d/{SYSCTL_FILE}")
        lines += [
            f"sudo sysctl -w {CATALOGUE[id_].key}='{_was(id_, stock)}'"
            for id_ in kernel
            if CATALOGUE[id_].family == "sysctl" and _was(id_, stock) != "unset"
        ]
    if THP_FILE in files:
        lines.append(f"sudo rm /etc/tmpfiles.d/{THP_FILE}")
        lines += [
            f"echo {_was(id_, stock)} | sudo tee {path_of(CATALOGUE[id_])}"
            for id_ in kernel
            if CATALOGUE[id_].family == "thp"
        ]
    if NGINX_FILE in files:
        lines.append("sudo mv /etc/nginx/nginx.conf.before-autotune /etc/nginx/nginx.conf")
        lines.append("sudo nginx -t && sudo systemctl restart nginx")
    return lines


def _provenance(
    study: Study,
    log: Sequence[Event],
    comparison: Comparison,
    begun: NightBegun,
    configuration: Configuration,
    stock: Mapping[str, Value],
    files: Sequence[str],
) -> str:
    made = changes(study, stock, configuration)
    load = "; ".join(comment(load_text(one)) for one in study.workloads)
    load += f"; server and generator {study.placement}"
    lines = [
        f"# Automatic configuration of study {comment(study.name)}",
        "",
        *map(_line, answer(study, comparison)),
        *pare_down_lines(pare_down(study, log, comparison.night, begun.stock)),
        "",
        *(f"**{line}**" for line in stamps(study, comparison)),
        f"- study {comment(study.name)}, fingerprint {study.fingerprint}",
        f"- night {begun.night} of {local_time_text(begun.at)}",
        f"- load: {load}",
        *(f"- {_line(name)}: {_line(text)}" for name, text in begun.board.items()),
        f"- written by autotune {__version__}; not installed by it",
        "",
        "## Measured (finals: fresh, interleaved samples)",
        "",
        f"| arm | {figure_name(study)} | n |",
        "|---|---:|---:|",
        *(
            f"| {arm.name} | {rate_text(figure_of(study, arm))} | {arm.n} |"
            for arm in comparison.arms
            if arm.n
        ),
        "",
        "| pair | ratio [95 % interval] | n | verdict |",
        "|---|---|---:|---|",
        *(
            f"| {pair.a} / {pair.b} | {ratio_interval(pair)} | {pair.n} | {verdict_text(study, pair.verdict)} |"
            for pair in comparison.pairs
            if pair.n
        ),
        "",
        *_by_workload(study, comparison),
    ]
    if comparison.doubts:
        lines += [
            "## Reasons for doubt",
            "",
            *(f"- {_line(line)}" for line in doubt_lines(comparison.doubts)),
            "",
        ]
    if not made:
        return "\n".join([*lines, "The automatic configuration is stock: there is nothing to install.", ""])
    lines += [
        "## What changes",
        "",
        "| setting | stock | now |",
        "|---|---|---|",
        *(
            f"| {one.id}{' (changes what is served)' if one.changes_service else ''}"
            f" | {_cell(one.was) or '?'} | {_cell(one.now)} |"
            for one in made
        ),
        "",
        "## Install by hand",
        "",
        "```sh",
        *(line for name in files for line in _INSTALL[name]),
        "```",
        "",
        *_without_files(configuration, stock),
        "## Undo",
        "",
        "```sh",
        *_undo(files, configuration, stock),
        "```",
        "",
        (
            "The undo commands hold the values that this board had when the night began. For the kernel's values, removing"
            " the files and rebooting does the same."
        ),
        "",
    ]
    return "\n".join(lines)


def _by_workload(study: Study, comparison: Comparison) -> list[str]:
    """Each workload's own ratios, where there are several; the limits and the goals."""
    lines: list[str] = []
    if len(study.workloads) > 1:
        lines += ["| workload | pair | ratio [plain 95 % interval] | n |", "|---|---|---|---:|"]
        lines += [
            f"| {_cell(one.name)} | {pair.a} / {pair.b} | {interval_text(pair.ratio, pair.low, pair.high)} | {pair.n} |"
            for one in comparison.workloads
            for pair in one.pairs
        ]
        lines.append("")
    goals = [
        f"- goal of {_cell(one.goal.workload)}: {goal_text(one)}: {one.state} by {one.arm}"
        for one in comparison.goals
    ]
    told = [*(f"- limit {comment(line)}" for line in limit_lines(comparison)), *goals]
    return [*lines, *told, ""] if told else lines


def _without_files(configuration: Configuration, stock: Mapping[str, Value]) -> list[str]:
    lines = by_hand_lines(configuration.mapping, stock)
    if not lines:
        return []
    return [
        "## What these files do not hold",
        "",
        (
            "It was part of what was measured, and nothing here installs it. These commands hold until the next reboot;"
            " NIC and DISK stand for the load's network card and the disk under the served files."
        ),
        "",
        "```sh",
        *lines,
        "```",
        "",
    ]


def _line(text: str) -> str:
    """A line of Markdown that no text from a board can leave or fill with HTML."""
    return comment(text).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
