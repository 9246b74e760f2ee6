"""The files that keep a configuration: what is installed, the program that does it and takes it back, and where it comes from."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from autotune.errors import SettingUnsupported, UsageError
from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.experiment.synthetic_boards import LABEL
from autotune.installer import boot_files
from autotune.installer.exported import FILE as SETTINGS_FILE
from autotune.installer.exported import Exported
from autotune.installer.kernel import known_places
from autotune.measurement.comparison import Comparison, compare
from autotune.report.as_installed import as_installed
from autotune.report.build_text import build_text
from autotune.report.by_hand import BUILD_FILE, by_hand_lines
from autotune.report.changes import last_night
from autotune.report.nginx_snippet import comment, nginx_text
from autotune.report.program import EXECUTABLE, program_files
from autotune.report.provenance import PROVENANCE_FILE, Exporting, provenance
from autotune.report.settings_text import read_back, settings_text
from autotune.space.catalogue import CATALOGUE
from autotune.space.catalogue.builds import BUILD, DISTRIBUTION
from autotune.space.configuration import Configuration
from autotune.space.value import Value

NGINX_FILE = "nginx.conf.autotune"


def export_files(
    study: Study, log: Sequence[Event], which: str = "auto", night: int | None = None
) -> dict[str, str]:
    """The texts by their place: what is installed, the program that does it, and always PROVENANCE.md.

    `which`: auto or hand; `night` None: the last one. Raises UsageError while there is no such configuration,
    SettingUnsupported for a value that can't be written.
    """
    comparison = compare(study, log, night)
    begun = last_night(log, comparison.night if night is None else night)
    if begun is None:
        if night:
            raise UsageError(
                f"{study.name} has no night {night}",
                hint=f"See which there are: autotune show {study.name}",
            )
        raise UsageError(f"{study.name} has no night yet", hint=f"Try: autotune resume {study.name}")
    arm, found = _chosen(study, comparison, begun, which)
    measured, stock = _as_measured(study, found, begun.stock)
    installed = as_installed(study, begun, measured)
    configuration = installed.configuration.against(stock)
    chosen = configuration.mapping
    if unknown := [id_ for id_ in chosen if id_ not in CATALOGUE]:
        raise SettingUnsupported(
            f"this autotune doesn't know {', '.join(unknown)}",
            hint="Export with the autotune that ran the study.",
        )
    settings = settings_text(study, arm, begun, chosen, stock)
    exported = read_back(settings)
    told = _told(study, begun, exported, chosen, stock)
    by_hand = by_hand_lines(chosen)
    if study.is_synthetic:  # nothing that anybody is to install
        exported = exported.without(exported.families)
    lines = provenance(
        study,
        log,
        comparison,
        begun,
        Exporting(arm, configuration, stock, exported, tuple(told), by_hand, installed.notes),
    )
    files = {**told, PROVENANCE_FILE: "\n".join(lines)}
    if study.is_synthetic:
        files = {name: _labelled(name, text) for name, text in files.items()}
    if exported.families:
        files |= {SETTINGS_FILE: settings, **program_files()}
    return files


def _chosen(study: Study, comparison: Comparison, begun: NightBegun, which: str) -> tuple[str, Configuration]:
    """Its name, and what it is. Raises UsageError."""
    if which in ("hand", "hand-tuned"):
        return "hand-tuned", begun.hand_tuned
    if which not in ("auto", "automatic"):
        raise UsageError(
            f"{which!r} is neither auto nor hand", hint=f"Try: autotune export {study.name} auto --to DIR"
        )
    arm = next((one for one in comparison.arms if one.name == "automatic" and one.n), None)
    if arm is None:
        raise UsageError(
            f"{study.name} has no automatic configuration yet: its finals have no samples",
            hint=f"Go on with: autotune resume {study.name}, or export hand",
        )
    return "automatic", arm.configuration


def _told(
    study: Study,
    begun: NightBegun,
    exported: Exported,
    chosen: Mapping[str, Value],
    stock: Mapping[str, Value],
) -> dict[str, str]:
    """What a person can read, or install without the program."""
    files = {
        f"files/{posixpath.basename(path)}": text
        for path, text in boot_files.boot_texts(exported, known_places(exported)).items()
    }
    directives = {id_: value for id_, value in chosen.items() if id_.startswith("nginx:") and id_ != BUILD}
    if directives:
        known = {id_: value for id_, value in stock.items() if id_ in CATALOGUE}
        files[NGINX_FILE] = (
            f"# {exported.arm} configuration of study {comment(study.name)}. A text to copy from, not to include:\n"
            f"# a directive that nginx.conf already has would stand there twice. `install --dry-run` shows the\n"
            f"# change of your own files. See {PROVENANCE_FILE}.\n\n" + nginx_text(directives, known)
        )
    if exported.pool:
        files["files/zz-autotune.conf"] = "\n".join(["[www]", *exported.pool]) + "\n"
    if chosen.get(BUILD, DISTRIBUTION) != DISTRIBUTION:
        files[BUILD_FILE] = build_text(study, begun, str(chosen[BUILD]))
    return files


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
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            if name in EXECUTABLE:
                path.chmod(path.stat().st_mode | 0o111)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise UsageError(
            f"can't write to {directory}: {reason}", hint="Name a directory you may write to with --to."
        ) from None
    return tuple(directory / name for name in files)
