"""The night: run, resume, stop."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from autotune.cli.night_options import NightOptions, with_night_options
from autotune.cli.output import Json, JsonOption, examples, print_json, print_lines, print_page, say
from autotune.cli.places import (
    StorageOption,
    StudyFile,
    StudyName,
    log_path,
    open_store,
    storage_url,
    study_file,
)

if TYPE_CHECKING:
    from autotune.cli.deadline import Hours
    from autotune.cli.morning import Morning
    from autotune.cli.progress import Screen
    from autotune.experiment.study import Study
    from autotune.runner.nights import NightResult
    from autotune.storage.store import Store

Purpose: TypeAlias = Literal["tune", "baseline"]
TrialsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--trials", metavar="N", min=1, help="At most this many candidates in this night."),
]
RoundsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--rounds", metavar="N", min=1, max=300, help="Measure each hand-tuned step this often."),
]
AttributionOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--attribution",
        metavar="N",
        min=0,
        max=100,
        help="So many rounds of each step alone, and of all without it; left out: where time allows.",
    ),
]
PurposeOption: TypeAlias = Annotated[str, typer.Option("--purpose", hidden=True)]
WaitOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--wait", metavar="SECONDS", min=0, help="How long to wait for the night to end and restore."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What one command asks beside the options that all of them share."""

    trials: int | None = None
    rounds: int | None = None
    attribution: int | None = None
    purpose: Purpose | None = None


def add_commands(app: typer.Typer) -> None:
    panel = "The night"
    app.command(
        "run",
        rich_help_panel=panel,
        epilog=examples(
            "autotune run quickstart",
            "autotune run studies/localhost.toml --until 07:00",
            "autotune run localhost --hours 8 --detach",
            "autotune run my.toml --trials 100 --storage sqlite:///my.db",
        ),
    )(run)
    app.command(
        "resume",
        rich_help_panel=panel,
        epilog=examples("autotune resume quickstart", "autotune resume localhost --until 07:00 --detach"),
    )(resume)
    app.command(
        "baseline",
        rich_help_panel=panel,
        epilog=examples(
            "autotune baseline quickstart",
            "autotune baseline studies/localhost.toml --rounds 12 --hours 1",
            "autotune baseline quickstart --rounds 6 --attribution 6",
        ),
    )(baseline)
    app.command(
        "stop",
        rich_help_panel=panel,
        epilog=examples("autotune stop quickstart", "autotune stop localhost --wait 0"),
    )(stop)


@with_night_options
def run(options: NightOptions, study: StudyFile, *, trials: TrialsOption = None) -> None:
    """Run a study's night; the same command again resumes.

    Everything measured is stored at once. Ctrl-C stops after the sample in hand and restores the board.
    At the end a summary with the comparison is printed, and kept as a file.
    """
    _enter(options, study, Wishes(trials=trials, purpose="tune"))


@with_night_options
def baseline(
    options: NightOptions,
    study: StudyFile,
    *,
    rounds: RoundsOption = None,
    attribution: AttributionOption = None,
) -> None:
    """Measure stock and the hand-tuned steps alone.

    Each step on top of those before it, then, with --attribution or where time allows, what each is worth by itself; no
    search and no finals. A later `autotune run` of the same study tunes. The same command again resumes.
    """
    _enter(options, study, Wishes(rounds=rounds, attribution=attribution, purpose="baseline"))


@with_night_options
def resume(
    options: NightOptions,
    name: StudyName,
    *,
    trials: TrialsOption = None,
    rounds: RoundsOption = None,
    attribution: AttributionOption = None,
    purpose: PurposeOption = "",
) -> None:
    """Go on with a study from the database alone."""
    from autotune.runner.carried import require_measured_here

    asked: Purpose | None = "tune" if purpose == "tune" else "baseline" if purpose == "baseline" else None
    with open_store(options.storage, read_only=False) as store:
        study = store.study(name)
        # What runs apart from this terminal was let through, and is given its name alone.
        require_measured_here(study, store.origin(name), "run" if options.detached else "resume")
        wishes = Wishes(trials=trials, rounds=rounds, attribution=attribution, purpose=asked)
        _night(store, study, options, wishes)


def _enter(options: NightOptions, file: str, wishes: Wishes) -> None:
    from autotune.cli.morning import Morning
    from autotune.errors import DefinitionError
    from autotune.runner.carried import require_measured_here
    from autotune.storage.store import Store

    question = study_file(file)
    with Store.open(storage_url(options.storage)) as store:
        try:
            store.enter(question)
        except DefinitionError as problem:
            known = store.study(question.name)
            morning = Morning(store, known, options.summary_command)
            _tell_failure(known, problem, morning, json=options.json)
            raise
        require_measured_here(question, store.origin(question.name), "run")
        _night(store, question, options, wishes)


def _night(store: Store, study: Study, options: NightOptions, wishes: Wishes) -> None:
    from autotune.cli.deadline import deadline
    from autotune.cli.morning import Morning
    from autotune.runner.clocks import clock_for

    now = datetime.fromtimestamp(clock_for(study, store.log(study.name)).now_s).astimezone()
    # Without any of these options the night keeps the deadline it began with, or takes the study's own hours.
    until = options.until
    if options.between:
        hours = _hours(options)
        if not hours.hold(datetime.now().astimezone()):
            _not_now(study, hours, json=options.json)
            return
        until = f"{hours.ends:%H:%M}"
    end = deadline(until, options.hours, now)
    morning = Morning(store, study, options.summary_command)
    if options.detach:
        _detach(store, study, end, options, wishes)
        return
    try:
        result = _watched_night(store, study, end, options, wishes)
    except Exception as problem:
        _tell_failure(study, problem, morning, json=options.json)
        raise
    _tell(store, study, result, morning, json=options.json)


def _tell_failure(study: Study, problem: Exception, morning: Morning, *, json: bool) -> None:
    """What an error or a signal ended is summed up like any other night; the error itself is told at the edge.

    Not where the study is just running in another process: that one's night has not ended.
    """
    try:
        if morning.is_anothers():
            return
        summary = morning.of_failure(problem)
        if summary.has_begun and not json:
            print_page(summary.page, board=study.board)
            sys.stdout.flush()
        elif summary.file is not None:
            say(f"the summary is in {summary.file}")
    except OSError:
        return  # the terminal may be what is gone
    except Exception as other:  # noqa: BLE001 - nothing here may take the place of what ended the night
        say(f"the summary could not be made: {other}")


def _hours(options: NightOptions) -> Hours:
    from autotune.cli.deadline import Hours
    from autotune.errors import UsageError

    if options.until is not None or options.hours is not None:
        raise UsageError(
            "--between says when the night ends", hint="Give it alone, or --until or --hours without it."
        )
    return Hours.read(options.between)


def _not_now(study: Study, hours: Hours, *, json: bool) -> None:
    """A service that was started again by day, or by hand: nothing is wrong with it."""
    from autotune.runner.service_manager import tell_ready

    with contextlib.suppress(OSError):
        tell_ready()
    reason = f"{study.name} is measured between {hours.text} only: nothing was done"
    say(f"{reason}. At once: autotune run STUDY")
    if json:
        print_json({"study": study.name, "outcome": "outside its hours", "reason": reason}, board=study.board)


def _watched_night(
    store: Store, study: Study, end: datetime | None, options: NightOptions, wishes: Wishes
) -> NightResult:
    from autotune.cli.progress import watching
    from autotune.runner.night import run_night
    from autotune.runner.notices import Said
    from autotune.runner.service_manager import tell_ready

    panel = sys.stdout.isatty() and not options.json
    screen: Screen = "nothing" if options.detached else "panel" if panel else "lines"
    log = log_path(store, study.name)
    with watching(log, screen, study.board) as watcher:
        watcher(Said(level="info", text=f"study {study.name}, storage {store.shown}, log {log}"))
        if end is not None:
            watcher(Said(level="info", text=f"until {end.astimezone():%Y-%m-%d %H:%M %Z}"))
        result = run_night(
            study,
            store,
            watcher=watcher,
            deadline_s=None if end is None else end.timestamp(),
            trials=wishes.trials,
            rounds=wishes.rounds,
            attribution=wishes.attribution,
            new_night=options.new_night,
            purpose=wishes.purpose,
        )
        with contextlib.suppress(OSError):
            tell_ready()  # a study that was complete already had no loop
    return result


def _detach(store: Store, study: Study, end: datetime | None, options: NightOptions, wishes: Wishes) -> None:
    from autotune.cli.detached import start_detached
    from autotune.errors import BoardBusy
    from autotune.runner.sittings import is_alive

    sitting = store.sitting(study.name)
    if sitting is not None and is_alive(sitting):
        raise BoardBusy(
            f"study {study.name} is already running: process {sitting.pid} on {sitting.host}",
            hint=f"Watch it with `autotune status {study.name}`, end it with `autotune stop {study.name}`.",
        )
    log = log_path(store, study.name)
    arguments = ["resume", study.name, "--detached"]
    if end is not None:
        arguments += ["--until", end.isoformat()]
    if options.new_night:
        arguments.append("--new-night")
    for name, value in dataclasses.asdict(wishes).items():
        if value is not None:
            arguments += [f"--{name}", str(value)]
    pid = start_detached(arguments, log, storage=store.url, summary_command=options.summary_command)
    if options.json:
        document: dict[str, Json] = {
            "study": study.name,
            "pid": pid,
            "log": str(log),
            "storage": store.shown,
        }
        print_json(document, board=study.board)
        return
    print_lines(
        f"The night of {study.name} goes on as process {pid}; this terminal is free.",
        f"  watch   autotune status {study.name}    or    tail -f {log}",
        f"  stop    autotune stop {study.name}",
        f"  then    autotune compare {study.name}",
        board=study.board,
    )


def _tell(store: Store, study: Study, result: NightResult, morning: Morning, *, json: bool) -> None:
    """The outcome and, when there is one, the answer. Raises BoardUnfit when the night could not be held."""
    from autotune.errors import BoardUnfit
    from autotune.measurement.comparison import compare
    from autotune.report.comparison_page import comparison_json, comparison_page

    name = study.name
    log = store.log(name)
    comparison = compare(study, log)
    unheld = result.outcome in ("refused", "systemic failure")
    if result.outcome == "already complete":
        page, file = comparison_page(study, log, comparison, store.aa_record()), None
    else:
        summary = morning.of(result, BoardUnfit.exit_code if unheld else 0)
        page, file = summary.page, summary.file
    if json:
        document: dict[str, Json] = {
            "study": name,
            "outcome": result.outcome,
            "reason": result.reason,
            "restored": list(result.restored),
            "storage": store.shown,
            "log": str(log_path(store, name)),
            "summary": None if file is None else str(file),
            "comparison": comparison_json(study, log, comparison, store.aa_record()),
        }
        print_json(document, board=study.board)
    else:
        print_page(page, board=study.board)
    if unheld:
        raise BoardUnfit(
            f"the night ended early ({result.outcome}): {result.reason}",
            hint=f"The board is restored and everything measured is kept: autotune show {name}, autotune doctor.",
        )
    if result.outcome == "already complete":
        say(f"{name} was already complete; nothing was measured. Another: the same command with --new-night")
    if result.outcome == "stopped":
        say(
            f"stopped: {result.reason or 'as asked'}. The board is restored. Go on with: autotune resume {name}"
        )


def stop(
    name: StudyName, *, wait: WaitOption = 15.0, storage: StorageOption = "", json: JsonOption = False
) -> None:
    """Ask a running night to stop and restore the board.

    It stops after the sample in hand and keeps everything measured.
    """
    from autotune.runner.sittings import is_alive

    with open_store(storage, read_only=False) as store:
        board = store.study(name).board
        sitting = store.sitting(name)
        running = sitting is not None and is_alive(sitting)
        if running:
            store.request_stop(name)
        until = time.monotonic() + wait
        stopped = not running
        while not stopped and time.monotonic() < until:
            time.sleep(0.2)
            sitting = store.sitting(name)
            stopped = sitting is None or not is_alive(sitting)
    if json:
        print_json({"study": name, "was_running": running, "running": not stopped}, board=board)
    elif not running:
        print_lines(f"Nothing is running study {name}; there is nothing to stop.", board=board)
    elif stopped:
        print_lines(
            f"The night of {name} has ended and the board is restored. Go on with: autotune resume {name}",
            board=board,
        )
    else:
        print_lines(
            f"The night of {name} has been asked to stop; it ends after the sample in hand, then restores.",
            f"  see   autotune status {name}",
            board=board,
        )
