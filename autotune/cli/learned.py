"""What a study has taught: which settings mattered."""

from __future__ import annotations

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_page
from autotune.cli.places import StorageOption, StudyName, open_study
from autotune.cli.results import NightOption


def add_commands(app: typer.Typer) -> None:
    app.command(
        "importance",
        rich_help_panel="Results",
        epilog=examples("autotune importance quickstart", "autotune importance localhost --night 1 --json"),
    )(importance)


def importance(
    name: StudyName, *, night: NightOption = None, storage: StorageOption = "", json: JsonOption = False
) -> None:
    """Say which settings mattered.

    To a model of all trials, with limits and how far it is to be believed, and beside it the hand-tuned steps as measured.
    """
    from autotune.analysis.importance import importance_of
    from autotune.errors import UsageError
    from autotune.report.changes import last_night
    from autotune.report.importance_page import importance_json, importance_page
    from autotune.search.evaluators import optuna_importances

    with open_study(storage, name) as store:
        study, log = store.study(name), store.log(name)
    if night is not None and last_night(log, night) is None:
        raise UsageError(f"{name} has no night {night}", hint=f"See which there are: autotune show {name}")
    found, others = importance_of(study, log, night), optuna_importances(study, log)
    if json:
        print_json(importance_json(study, found, others), board=study.board)
    else:
        print_page(importance_page(study, found, others), board=study.board)
