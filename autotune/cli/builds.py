"""Other builds of nginx: build list, make and remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_page, say
from autotune.cli.places import complete_study_file, study_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotune.board.records import Built
    from autotune.cli.output import Json
    from autotune.experiment.study import Builds
    from autotune.report.page import Page
    from autotune.runner.builds import BuildState

_USUAL_SOURCE = "apt"

Names: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Recipes by name. None: all of them.")
]
NamesToRemove: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Names of builds, or the beginnings of their keys.")
]
StudyOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--study",
        metavar="STUDY",
        help="A study whose board, recipes and source count.",
        autocompletion=complete_study_file,
    ),
]
SourceOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="\"apt\" (the distribution's own source), or the path of a tarball. Default: the study's, else apt.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    builds = typer.Typer(
        no_args_is_help=True,
        help="Other builds of nginx: list, make, remove.",
        epilog=examples("autotune build list", "autotune build make o3-cpu"),
    )
    builds.command("list", epilog=examples("autotune build list", "autotune build list --json"))(list_builds)
    builds.command(
        "make",
        epilog=examples(
            "autotune build make o3-cpu",
            "autotune build make --study my.toml",
            "autotune build make o3 --source /usr/src/nginx-1.24.0.tar.gz",
        ),
    )(make)
    builds.command("remove", epilog=examples("autotune build remove o3-cpu", "autotune build remove 5f2a90"))(
        remove
    )
    app.add_typer(builds, name="build", rich_help_panel="The board")


def list_builds(*, study: StudyOption = "", json: JsonOption = False) -> None:
    """Every recipe, whether it is made on this board, and what else is in the cache."""
    from autotune.board.connection import connect

    board, builds = _question(study, "")
    with connect(board) as connection:
        cached = connection.builds()
    _show(_states(builds, cached, study), json=json)


def make(
    names: Names = None, *, study: StudyOption = "", source: SourceOption = "", json: JsonOption = False
) -> None:
    """Make builds from source, each once; a minute or two each.

    Compiled as an unprivileged user in a directory of which nothing stays; nothing of the system is changed.
    """
    from autotune.board.connection import connect
    from autotune.errors import BoardUnfit, UsageError
    from autotune.runner.builds import make as make_one
    from autotune.space.catalogue.builds import recipes

    board, builds = _question(study, source)
    known = recipes(builds.recipes)
    wanted = names or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise UsageError(f"there is no recipe {unknown[0]!r}", hint=f"known are {', '.join(known)}")
    problems = []
    with connect(board) as connection:
        cached = connection.builds()
        for name in wanted:
            say(f"{name}: making it, unless it is there")
            cached, problem = make_one(connection, name, builds)
            if problem:
                say(problem)
                problems.append(problem)
    _show(_states(builds, cached, study or source), json=json)
    if problems:
        raise BoardUnfit(
            f"{len(problems)} of {len(wanted)} builds could not be made", hint=problems[0].splitlines()[0]
        )


def remove(names: NamesToRemove, *, study: StudyOption = "", json: JsonOption = False) -> None:
    """Remove builds from this board's cache."""
    from autotune.board.connection import connect
    from autotune.errors import UsageError

    board, builds = _question(study, "")
    with connect(board) as connection:
        cached = connection.builds()
        doomed = {
            name: [one for one in cached if name == one.name or _is_key(name, one.key)] for name in names
        }
        for name, found in doomed.items():
            if not found:
                there = ", ".join(sorted({one.name for one in cached})) or "nothing"
                raise UsageError(f"there is no build {name!r} in the cache", hint=f"there: {there}")
        for key in {one.key for found in doomed.values() for one in found}:
            cached = connection.remove_build(key)
    _show(_states(builds, cached, study), json=json)


def _is_key(text: str, key: str) -> bool:
    return len(text) >= 6 and key.startswith(text)


def _question(study: str, source: str) -> tuple[str, Builds]:
    """The board, and the recipes and source to go by."""
    from autotune.definitions.build_tables import read_source
    from autotune.experiment.study import Builds

    board, builds = "local", Builds(source=_USUAL_SOURCE)
    if study:
        question = study_file(study)
        board, builds = question.board, question.builds or builds
    if source:
        builds = builds.model_copy(update={"source": read_source(source), "sha256": ""})
    return board, builds


def _states(builds: Builds, cached: Sequence[Built], said: str) -> tuple[BuildState, ...]:
    from autotune.runner.builds import states

    return states(builds, cached, any_source=not said)


def _show(found: tuple[BuildState, ...], *, json: bool) -> None:
    if json:
        print_json({"builds": [_document(one) for one in found]})
    else:
        print_page(_page(found))


def _document(one: BuildState) -> dict[str, Json]:
    built = one.built
    return {
        "name": one.name,
        "state": one.state,
        "why": one.why,
        "key": built.key if built else None,
        "source": built.source if built else None,
        "compiler": built.compiler if built else None,
        "version": built.version if built else None,
        "made": built.made if built else None,
        "size_bytes": built.size_bytes if built else None,
        "seconds": built.seconds if built else None,
    }


def _page(found: tuple[BuildState, ...]) -> Page:
    from autotune.report.page import Page, Paragraph, Table
    from autotune.report.words import count_text

    missing = [one.name for one in found if one.built is None]
    count = len(found) - len(missing)
    rows = tuple(
        (
            one.name,
            one.state,
            one.built.key[:12] if one.built else "-",
            one.built.source if one.built else "-",
            f"{one.built.size_bytes / 2**20:.1f} MiB" if one.built else "-",
            one.why or "-",
        )
        for one in found
    )
    return Page(
        parts=(
            Paragraph(
                lines=(
                    f"{count_text(count, 'build')} of nginx {'is' if count == 1 else 'are'} made here beside the distribution's.",
                ),
                tone="headline",
            ),
            Table(title="Builds", columns=("name", "state", "key", "source", "size", "why"), rows=rows),
            *(
                (Paragraph(title="Next", lines=(f"autotune build make {' '.join(missing)}",)),)
                if missing
                else ()
            ),
        )
    )
