"""The value nginx:build on a board: what is offered, why the rest isn't, and what a build lacks."""

from __future__ import annotations

import pytest

from autotune.actuators.builds import Workbench
from autotune.board.records import Built
from autotune.errors import SettingUnsupported
from autotune.experiment.study import Builds
from autotune.space.build import BuildRecipe
from autotune.space.catalogue.builds import BUILD, recipes

_LEAN = BuildRecipe(name="lean", cflags=("-O1",))


def _built(
    name: str, recipe: BuildRecipe, *, key: str = "a", asked: str = "apt", arguments: str = ""
) -> Built:
    return Built(
        key=key * 64,
        name=name,
        asked=asked,
        cflags=recipe.cflags,
        ldflags=recipe.ldflags,
        configure=recipe.configure,
        without=recipe.without,
        source="nginx 1.22.1-9",
        compiler="cc 12",
        version=f"nginx version: nginx/1.22.1\nconfigure arguments: --with-compat {arguments}",
        made="2026-01-01T00:00:00Z",
        size_bytes=1,
        seconds=1.0,
    )


def test_what_is_made_is_offered_and_the_rest_says_how_to_make_it() -> None:
    bench = Workbench.of(None, [_built("o3", recipes()["o3"])])
    assert bench.choices == ("distribution", "o3")
    assert bench.reason("o3") == bench.reason("distribution") == ""
    assert bench.reason("o3-cpu") == "not made yet: autotune build make o3-cpu"
    assert "known are o2, o3, o3-cpu, o3-lto" in bench.reason("o4")


def test_the_newest_build_of_a_recipe_is_the_one() -> None:
    o3 = recipes()["o3"]
    bench = Workbench.of(None, [_built("o3", o3, key="a"), _built("o3", o3, key="b")])
    assert bench.key({BUILD: "o3"}) == "b" * 64
    assert bench.key({}) == bench.key({BUILD: "distribution"}) == ""
    with pytest.raises(SettingUnsupported, match="not made yet"):
        bench.key({BUILD: "o2"})


def test_a_build_of_a_changed_recipe_or_another_source_is_not_the_studys() -> None:
    mine = Builds(source="/srv/nginx.tar.gz", recipes=(_LEAN,))
    assert Workbench.of(mine, [_built("lean", _LEAN)]).choices == ("distribution",)
    assert Workbench.of(mine, [_built("lean", _LEAN, asked=mine.source)]).choices == ("distribution", "lean")
    assert Workbench.of(mine, [_built("lean", recipes()["o2"], asked=mine.source)]).choices == (
        "distribution",
    )


def test_a_directive_that_the_chosen_build_lacks_is_refused() -> None:
    bench = Workbench.of(None, [_built("o3", recipes()["o3"], arguments="--without-http_gzip_module")])
    bench.refuse_missing({BUILD: "o3", "nginx:sendfile": True})
    bench.refuse_missing({"nginx:aio": "threads", "nginx:gzip": True})
    with pytest.raises(SettingUnsupported, match=r"with the build o3: .*without gzip"):
        bench.refuse_missing({BUILD: "o3", "nginx:gzip": True})
    with pytest.raises(SettingUnsupported, match="--with-threads"):
        bench.refuse_missing({BUILD: "o3", "nginx:aio": "threads"})
