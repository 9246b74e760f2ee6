"""Which builds of nginx a board has for a study's recipes, and what each can do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autotune.actuators.nginx_build import NginxBuild
from autotune.board.records import BuildOrder, Built
from autotune.errors import SettingUnsupported
from autotune.experiment.study import Builds
from autotune.space.build import BuildRecipe
from autotune.space.catalogue.builds import BUILD, DISTRIBUTION, recipes
from autotune.space.value import Value

_VERSION = re.compile(r"nginx/(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """The builds of one board for one study: `made` by name, the newest of each recipe; `known` are all recipe names."""

    known: tuple[str, ...] = ()
    made: Mapping[str, Built] = field(default_factory=dict)

    @classmethod
    def of(cls, builds: Builds | None, cached: Sequence[Built]) -> Workbench:
        """`builds` None: the study says nothing of sources, so a build of any source will do."""
        known = recipes(builds.recipes if builds else ())
        made = {
            one.name: one
            for one in cached
            if one.name in known
            and is_of(known[one.name], one)
            and (builds is None or one.asked == builds.source)
        }
        return cls(known=tuple(known), made=made)

    @property
    def choices(self) -> tuple[str, ...]:
        """What `nginx:build` may be here."""
        return (DISTRIBUTION, *(name for name in self.known if name in self.made))

    def reason(self, name: Value) -> str:
        """Why this build can't be had now; empty when it can."""
        if name == DISTRIBUTION or name in self.made:
            return ""
        if name in self.known:
            return f"not made yet: autotune build make {name}"
        return f"there is no recipe {name!r}: known are {', '.join(self.known)}"

    def key(self, chosen: Mapping[str, Value]) -> str:
        """The key of the chosen build, "" for the distribution's. Raises SettingUnsupported for one that isn't made."""
        name = chosen.get(BUILD, DISTRIBUTION)
        if reason := self.reason(name):
            raise SettingUnsupported(f"{BUILD}: {reason}")
        return "" if name == DISTRIBUTION else self.made[str(name)].key

    def refuse_missing(self, chosen: Mapping[str, Value]) -> None:
        """Raises SettingUnsupported when the chosen build lacks a directive that is chosen with it."""
        if not self.key(chosen):
            return
        name = str(chosen[BUILD])
        build = build_of(self.made[name])
        for id_ in chosen:
            if id_ == BUILD or not id_.startswith("nginx:"):
                continue
            if reason := build.reason_missing(id_):
                raise SettingUnsupported(f"{id_}: with the build {name}: {reason}")
            if id_ == "nginx:aio" and chosen[id_] not in build.aio_words:
                raise SettingUnsupported(f"{id_}: the build {name} can do {', '.join(build.aio_words)} only")


def is_of(recipe: BuildRecipe, built: Built) -> bool:
    """Whether a build was made by this recipe as it stands."""
    return (recipe.cflags, recipe.ldflags, recipe.configure, recipe.without) == (
        built.cflags,
        built.ldflags,
        built.configure,
        built.without,
    )


def order_of(recipe: BuildRecipe, *, source: str, sha256: str) -> BuildOrder:
    """What the board is asked to make."""
    return BuildOrder(
        name=recipe.name,
        source=source,
        sha256=sha256,
        cflags=recipe.cflags,
        ldflags=recipe.ldflags,
        configure=recipe.configure,
        without=recipe.without,
    )


def build_of(built: Built) -> NginxBuild:
    """What the build can do, from its own `nginx -V`; what root alone may was judged for the distribution's already."""
    found = _VERSION.search(built.version)
    parts = [int(part) for part in found.groups()] if found else [0, 0, 0]
    _, _, arguments = built.version.partition("configure arguments:")
    return NginxBuild(version=(parts[0], parts[1], parts[2]), arguments=arguments.strip(), is_root=True)
