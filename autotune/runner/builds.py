"""Builds of nginx before the night: what the study's space and sequence name is made, where the study says from what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotune.actuators.builds import Workbench, is_of, order_of
from autotune.board.connection import Connection
from autotune.board.records import Built
from autotune.errors import BoardUnfit
from autotune.experiment.study import Builds, Study
from autotune.space.catalogue.builds import BUILD, DISTRIBUTION, recipes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildState:
    """A recipe and what the cache has of it, or a build in the cache that is of no known recipe any more.

    `state`: "made", "not made", or "of another recipe".
    """

    name: str
    state: str
    why: str
    built: Built | None


def names_wanted(study: Study) -> tuple[str, ...]:
    """The builds that the study's space and hand-tuned sequence name; an open choice names every recipe."""
    names: list[str] = []
    for parameter in study.space.parameters:
        if parameter.id == BUILD:
            words = [str(value) for value in parameter.values]
            names += words or list(recipes(study.builds.recipes if study.builds else ()))
    for step in study.hand_tuned.steps:
        names += [str(one.value) for one in step.values if one.setting.id == BUILD]
    return tuple(name for name in dict.fromkeys(names) if name != DISTRIBUTION)


def prepare_builds(connection: Connection, study: Study, say: Callable[[str], None]) -> None:
    """Makes what the study names, unless the cache has it; a study without [builds] takes what there is.

    A build that fails is said and left out: the night goes on without that value. Before the board is begun; the agent
    takes its lock for each build, so nobody else is measuring meanwhile. Raises BoardBusy when someone is.

    What is made becomes root's nginx, and a study may be a stranger's: any other source than the distribution's is fetched
    and made only by a command that asks for just that.
    """
    wanted = names_wanted(study)
    if study.builds is None or not wanted:
        return
    known = recipes(study.builds.recipes)
    if study.builds.source != "apt":
        made = Workbench.of(study.builds, connection.builds()).made
        for name in wanted:
            if name in known and name not in made:
                say(
                    f"nginx build {name} is left out: a night makes none of {study.builds.source}; do you trust it? Then: "
                    f"autotune build make {name} --study FILE"
                )
        return
    for name in wanted:
        if name not in known:
            continue  # said where its value is dropped
        have = connection.builds()
        say(f"nginx build {name}: made before the night, unless the cache has it (a minute or two)")
        try:
            built, problem = make(connection, name, study.builds)
        except BoardUnfit as refused:
            built, problem = have, refused.message
        if problem:
            say(f"nginx build {name} could not be made, the night goes on without it: {problem}")
        elif fresh := [one for one in built if one not in have]:
            say(f"nginx build {name} is made: {fresh[-1].seconds:.0f} s, {fresh[-1].compiler}")


def make(connection: Connection, name: str, builds: Builds) -> tuple[tuple[Built, ...], str]:
    """All builds after making this one, and why it could not be made, or ""."""
    recipe = recipes(builds.recipes)[name]
    return connection.make_build(order_of(recipe, source=builds.source, sha256=builds.sha256))


def states(builds: Builds, cached: Sequence[Built], *, any_source: bool) -> tuple[BuildState, ...]:
    """Every recipe, and then what else is in the cache."""
    bench = Workbench.of(None if any_source and not builds.recipes else builds, cached)
    known = recipes(builds.recipes)
    of_recipes = [
        BuildState(
            name=name,
            state="made" if name in bench.made else "not made",
            why=recipe.why,
            built=bench.made.get(name),
        )
        for name, recipe in known.items()
    ]
    shown = {one.key for one in bench.made.values()}
    others = [
        BuildState(
            name=one.name,
            state="made" if one.name in known and is_of(known[one.name], one) else "of another recipe",
            why="",
            built=one,
        )
        for one in cached
        if one.key not in shown
    ]
    return (*of_recipes, *others)
