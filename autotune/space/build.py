"""How another nginx is built: a recipe, before any board is known."""

from __future__ import annotations

from autotune.space.record import Record


class BuildRecipe(Record):
    """A named build of nginx. What it doesn't say is as in the distribution's own build.

    `cflags` and `ldflags` follow the distribution's. `configure`: arguments added to its own, `without`: those taken
    away. `{march}` and `{mtune}` in `cflags` stand for the board's CPU.
    """

    name: str
    cflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    configure: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    why: str = ""
