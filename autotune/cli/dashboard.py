"""Looking at the search with Optuna's own dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_lines, say
from autotune.cli.places import StorageOption, open_store, open_study
from autotune.cli.studies import OptionalStudyName

PortOption = Annotated[
    int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where it listens; 0: any free port.")
]
_PORT = 8765


def add_commands(app: typer.Typer) -> None:
    app.command(
        "dashboard",
        rich_help_panel="Results",
        epilog=examples(
            "autotune dashboard", "autotune dashboard quickstart", "autotune dashboard --port 9000"
        ),
    )(dashboard)


def dashboard(
    name: OptionalStudyName = None,
    *,
    port: PortOption = _PORT,
    storage: StorageOption = "",
    json: JsonOption = False,
) -> None:
    """Look at the search with optuna-dashboard, and at the reports.

    For a browser of this machine, for looking only, until Ctrl-C. It shows a copy: the database is not changed by it.
    """
    from autotune.runner.dashboard import Dashboard, serve

    with open_study(storage, name) if name else open_store(storage) as store:
        if name:
            store.study(name)
        board = store.study(name).board if name else ""
        shown = Dashboard(store, name or "")
        try:
            for url in serve(shown, port):
                reports = [f"{url}/report/{one}" for one in shown.names]
                if json:
                    print_json({"url": url, "reports": reports, "storage": store.shown}, board=board)
                else:
                    print_lines(
                        f"The dashboard is at {url}", *(f"  report  {one}" for one in reports), "Ctrl-C ends it.",
                        board=board,
                    )  # fmt: skip
                _flush()
        except KeyboardInterrupt:
            say("The dashboard has ended.")


def _flush() -> None:
    import sys

    sys.stdout.flush()
