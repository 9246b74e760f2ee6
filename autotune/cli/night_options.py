"""What run, resume and baseline take alike, said once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Concatenate, ParamSpec, TypeAlias, get_type_hints

import typer

from autotune.cli.output import JsonOption
from autotune.cli.places import StorageOption

UntilOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="HH:MM",
        help="Local time at which the board must be free and restored (the next such).",
    ),
]
HoursOption: TypeAlias = Annotated[
    float | None, typer.Option("--hours", metavar="H", help="The same, as a length from now.")
]
BetweenOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--between",
        metavar="HH:MM-HH:MM",
        help="Only in these hours of the day: ends with them, and outside them does nothing.",
    ),
]
SummaryCommandOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--summary-command",
        envvar="AUTOTUNE_SUMMARY_COMMAND",
        metavar="COMMAND",
        help="Is run at the end with the summary on its standard input, without a shell.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NightOptions:
    """How a sitting is to be held. Each field is an option of every command that holds one."""

    until: UntilOption = None
    hours: HoursOption = None
    between: BetweenOption = ""
    storage: StorageOption = ""
    new_night: Annotated[
        bool, typer.Option("--new-night", help="Hold another night of a study whose last night is complete.")
    ] = False
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Go on without this terminal; prints how to watch and stop the night."),
    ] = False
    detached: Annotated[bool, typer.Option("--detached", hidden=True)] = False
    summary_command: SummaryCommandOption = ""
    json: JsonOption = False


_P = ParamSpec("_P")


def with_night_options(command: Callable[Concatenate[NightOptions, _P], None]) -> Callable[..., None]:
    """The command with an option for each field of NightOptions; it gets them together, as its first argument."""
    names = tuple(field.name for field in fields(NightOptions))
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    hints = get_type_hints(NightOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(NightOptions)
    ]

    takes_all: Callable[..., None] = command

    def held(**given: Any) -> None:
        options = NightOptions(**{name: given.pop(name) for name in names})
        takes_all(options, **given)

    held.__name__, held.__doc__, held.__module__ = command.__name__, command.__doc__, command.__module__
    parameters = [*own, *shared]
    held.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    held.__annotations__ = {one.name: one.annotation for one in parameters}
    return held
