"""What a study found: compare, summary, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli import export
from autotune.cli.output import JsonOption, examples, print_json, print_lines, print_page
from autotune.cli.places import StorageOption, StudyName, complete_study_name, open_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotune.experiment.events import Event
    from autotune.storage.store import Store

StudyNames: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME",
        help="Names of studies in the database; several stand side by side.",
        autocompletion=complete_study_name,
        show_default=False,
    ),
]
TrialNumber: TypeAlias = Annotated[
    int | None, typer.Argument(metavar="[TRIAL]", min=0, help="Show this trial instead of the overview.")
]
RawOption: TypeAlias = Annotated[
    bool, typer.Option("--raw", help="With TRIAL: also the load generator's own output of each sample.")
]
NightOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--night", metavar="N", min=1, help="This night instead of the last one."),
]


def add_commands(app: typer.Typer) -> None:
    panel = "Results"
    app.command(
        "compare",
        rich_help_panel=panel,
        epilog=examples(
            "autotune compare quickstart",
            "autotune compare localhost --night 1 --json",
            "autotune compare rock-a rock-b",
        ),
    )(compare)
    app.command(
        "summary",
        rich_help_panel=panel,
        epilog=examples("autotune summary localhost", "autotune summary localhost --night 1"),
    )(summary)
    app.command(
        "show",
        rich_help_panel=panel,
        epilog=examples(
            "autotune show quickstart", "autotune show quickstart 17", "autotune show quickstart 17 --raw"
        ),
    )(show)
    export.add_commands(app, panel)


def compare(
    names: StudyNames, *, night: NightOption = None, storage: StorageOption = "", json: JsonOption = False
) -> None:
    """Compare stock, hand-tuned and automatic.

    With intervals, verdicts, the hand-tuned steps, what changed, and every reason for doubt. Several studies, boards or
    nights stand side by side, each ratio within its own night.
    """
    from autotune.errors import UsageError
    from autotune.measurement.comparison import compare as weigh
    from autotune.report.changes import last_night
    from autotune.report.comparison_page import comparison_json, comparison_page

    name, *others = dict.fromkeys(names)
    if others:
        if night is not None:
            raise UsageError(
                "--night is of one study; of several, every night that has finals is shown",
                hint=f"Try: autotune compare {name} --night {night}",
            )
        _compare_several([name, *others], storage, json=json)
        return
    with open_study(storage, name) as store:
        study, log, record = store.study(name), store.log(name), store.aa_record()
    if night is not None and last_night(log, night) is None:
        raise UsageError(f"{name} has no night {night}", hint=f"See which there are: autotune show {name}")
    found = weigh(study, log, night)
    if json:
        print_json(comparison_json(study, log, found, record), board=study.board)
    else:
        print_page(comparison_page(study, log, found, record), board=study.board)


def _compare_several(names: Sequence[str], storage: str, *, json: bool) -> None:
    from autotune.report.side_by_side import beside_each_other, side_by_side_json, side_by_side_page

    studies = []
    for name in names:
        with open_study(storage, name) as store:
            studies.append((store.study(name), store.log(name)))
    beside = beside_each_other(studies)
    if json:
        print_json(side_by_side_json(beside))
    else:
        print_page(side_by_side_page(beside))


def summary(
    name: StudyName, *, night: NightOption = None, storage: StorageOption = "", json: JsonOption = False
) -> None:
    """Print the morning summary of a night again, as it was written.

    Markdown: the answer, how the night ended, whether the board is as it was, what was lost, what to do next.
    """
    from autotune.cli.morning import last_summary, summary_file
    from autotune.errors import UsageError

    with open_study(storage, name) as store:
        store.study(name)
        number = night or last_summary(store, name)
        file = summary_file(store, name, number)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        which = f"no night {night} with a summary" if night else "no summary yet"
        raise UsageError(f"{name} has {which}", hint=f"What there is: autotune compare {name}") from None
    if json:
        print_json({"study": name, "night": number, "file": str(file), "markdown": text})
    else:
        print_lines(text.rstrip("\n"))


def show(
    name: StudyName,
    trial: TrialNumber = None,
    *,
    raw: RawOption = False,
    storage: StorageOption = "",
    json: JsonOption = False,
) -> None:
    """Show a study, or one of its trials.

    Stages, best trials, failures with their reasons, what was left out and why; of a trial its settings and samples.
    """
    from autotune.errors import UsageError
    from autotune.measurement.scores import trial_scores
    from autotune.report.study_page import study_json, study_page
    from autotune.report.trial_page import has_trial, trial_json, trial_page

    if raw and trial is None:
        raise UsageError("--raw needs a trial", hint=f"Try: autotune show {name} 1 --raw")
    with open_study(storage, name) as store:
        study, log = store.study(name), store.log(name)
        if trial is not None and not has_trial(log, trial):
            raise UsageError(
                f"{name} has no trial {trial}", hint=f"See which there are: autotune show {name}"
            )
        texts = _raw_texts(store, name, log, trial) if raw and trial is not None else None
    scores = trial_scores(study, log)
    if trial is None:
        if json:
            print_json(study_json(study, log, scores), board=study.board)
        else:
            print_page(study_page(study, log, scores), board=study.board)
        return
    if json:
        print_json(trial_json(study, log, scores, trial, texts), board=study.board)
        return
    print_page(trial_page(study, log, scores, trial), board=study.board)
    for place, text in (texts or {}).items():
        print_lines(f"\n--- {place}\n{text.rstrip()}")


def _raw_texts(store: Store, name: str, log: Sequence[Event], trial: int) -> dict[str, str]:
    from autotune.report.trial_page import trial_keys

    return {key.text: store.raw(name, key) for key in trial_keys(log, trial)}
