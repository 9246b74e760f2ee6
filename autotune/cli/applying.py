"""Leaving a measured configuration in place: apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_page
from autotune.cli.places import StorageOption, StudyName, open_study

if TYPE_CHECKING:
    from autotune.experiment.study import Study
    from autotune.report.page import Page
    from autotune.runner.applying import Kept

Which: TypeAlias = Annotated[
    str, typer.Argument(metavar="auto|hand|TRIAL", help="Which of its configurations: a trial by its number.")
]


def add_commands(app: typer.Typer) -> None:
    app.command(
        "apply",
        rich_help_panel="The board",
        epilog=examples(
            "autotune apply localhost auto",
            "autotune apply localhost hand",
            "autotune apply localhost 17 --json",
        ),
    )(apply)


def apply(name: StudyName, which: Which, *, storage: StorageOption = "", json: JsonOption = False) -> None:
    """Put a measured configuration in place and leave it there.

    Until `autotune restore` or a reboot; nothing can be measured meanwhile. The lasting way is `autotune export`.
    """
    from autotune.board.address import restore_command
    from autotune.report.changes import changes
    from autotune.runner.applying import apply as put_in_place
    from autotune.runner.applying import choose
    from autotune.runner.carried import require_measured_here

    with open_study(storage, name) as store:
        study = store.study(name)
        require_measured_here(study, store.origin(name), "apply")
        chosen = choose(study, store.log(name), which)
    kept = put_in_place(study, chosen)
    if not json:
        print_page(_page(study, kept), board=study.board)
        return
    print_json(
        {
            "study": name,
            "arm": chosen.arm,
            "night": chosen.night.night,
            "kept": True,
            "changes": [
                {"id": one.id, "was": one.was, "now": one.now}
                for one in changes(study, chosen.night.stock, kept.effective)
            ],
            "urls": list(kept.urls),
            "doubts": [{"code": one.code, "text": one.text, "next": one.next} for one in kept.doubts],
            "undo": restore_command(study.board),
        },
        board=study.board,
    )


def _page(study: Study, kept: Kept) -> Page:
    from autotune.board.address import restore_command
    from autotune.report.changes import changes, changes_parts
    from autotune.report.page import Page, Paragraph

    chosen = kept.chosen
    return Page(
        parts=(
            Paragraph(
                lines=(f"The {chosen.arm} configuration of {study.name} is in place.",), tone="headline"
            ),
            *changes_parts("Changed", changes(study, chosen.night.stock, kept.effective)),
            Paragraph(title="Served at", lines=kept.urls),
            Paragraph(title="Doubts", lines=tuple(one.text for one in kept.doubts), tone="warning"),
            Paragraph(
                title="Next",
                lines=(
                    f"undo: {restore_command(study.board)}    (a reboot does it, too)",
                    f"the lasting way: autotune export {study.name} --to DIRECTORY",
                ),
            ),
        )
    )
