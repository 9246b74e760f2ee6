"""Reads [builds] and [build.NAME]: where other builds of nginx come from, and how they are made."""

from __future__ import annotations

import re
from typing import Final

from autotune.definitions.mistakes import show_text
from autotune.definitions.table import MISSING, Table
from autotune.errors import UsageError
from autotune.experiment.study import Builds
from autotune.space.build import BuildRecipe

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SOURCE: Final = re.compile(
    r"apt|(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\.tar\.(?:gz|xz|bz2)"
    r"|https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/%+-]+\.tar\.(?:gz|xz|bz2)"
)
_SOURCE_ACCEPTED: Final = '"apt", an absolute path, or an https URL of a .tar.gz, .tar.xz or .tar.bz2'
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# One word of a compiler's or configure's command line: no blanks, quotes, or anything a shell would look at.
_FLAG: Final = re.compile(r"-[A-Za-z0-9_=+,.:/{}-]{1,120}")
_MOST_RECIPES, _MOST_FLAGS = 16, 40
STOCK_BUILD: Final = "distribution"


def read_builds(top: Table) -> Builds | None:
    """The study's builds; None when it speaks of none. What is wrong is noted."""
    if not (top.has("builds") or top.has("build")):
        return None
    table = top.table("builds")
    table.only("source", "sha256")
    source = table.text("source", default="apt", pattern=_SOURCE, accepted=_SOURCE_ACCEPTED, longest=500)
    accepted = "64 hexadecimal digits, as `sha256sum` prints them"
    sha256 = (
        table.text("sha256", default="", pattern=_SHA256, accepted=accepted) if table.has("sha256") else ""
    )
    if source.startswith("https://") and not table.has("sha256"):
        table.refuse("sha256", MISSING, f"{accepted}: what comes over the network is checked")
    named = top.named_tables("build") if top.has("build") else ()
    if len(named) > _MOST_RECIPES:
        top.refuse("build", f"{len(named)} builds", f"at most {_MOST_RECIPES}")
    return Builds(source=source, sha256=sha256, recipes=tuple(_recipe(*one) for one in named[:_MOST_RECIPES]))


def read_source(text: str) -> str:
    """A source named on the command line. Raises UsageError; a URL belongs into a study, with its hash."""
    if not _SOURCE.fullmatch(text) or text.startswith("https://"):
        raise UsageError(
            f"{text!r} is no source of nginx here",
            hint='"apt", or the absolute path of a .tar.gz, .tar.xz or .tar.bz2; a URL goes into a study with its sha256',
        )
    return text


def _recipe(name: str, table: Table) -> BuildRecipe:
    if name == STOCK_BUILD:
        table.refuse("", "this is what the distribution's own nginx is called", "another name")
    elif not _NAME.fullmatch(name):
        table.refuse("", f"{show_text(name)} is no name for a build", "1 to 32 of a-z, 0-9 and dashes")
    table.only("cflags", "ldflags", "configure", "without", "why")
    return BuildRecipe(
        name=name,
        cflags=_flags(table, "cflags"),
        ldflags=_flags(table, "ldflags"),
        configure=_flags(table, "configure"),
        without=_flags(table, "without"),
        why=table.text("why", default=""),
    )


def _flags(table: Table, name: str) -> tuple[str, ...]:
    found = table.content.get(name, [])
    accepted = f'a list of at most {_MOST_FLAGS} words that begin with a dash, such as ["-O3"]'
    if not isinstance(found, list) or len(found) > _MOST_FLAGS:
        table.refuse(name, "not a list" if not isinstance(found, list) else "too many", accepted)
        return ()
    for number, one in enumerate(found, start=1):
        if not isinstance(one, str) or not _FLAG.fullmatch(one):
            table.mistakes.add(f"{table.key(name)}[{number}]", one, "not a word for the compiler", accepted)
    return tuple(one for one in found if isinstance(one, str))
