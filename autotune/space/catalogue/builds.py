"""Other builds of nginx: the setting that names one, and the recipes that are built in."""

from __future__ import annotations

from typing import Final

from autotune.space.build import BuildRecipe
from autotune.space.setting import Kind, Setting

DISTRIBUTION: Final = "distribution"
BUILD: Final = "nginx:build"

# The modules of the capstone's step 8; those that the distribution's build has already are there anyway.
_CAPSTONE_MODULES = (
    "--with-threads",
    "--with-file-aio",
    "--with-http_v2_module",
    "--with-http_realip_module",
    "--with-http_addition_module",
    "--with-http_sub_module",
    "--with-http_gunzip_module",
    "--with-http_gzip_static_module",
    "--with-http_secure_link_module",
    "--with-http_stub_status_module",
)
_NO_DEBUG = ("--with-debug",)
_FOR_THE_CPU = ("-O3", "-march={march}", "-mtune={mtune}")
_LINKED_TIGHTLY = ("-Wl,-O1", "-Wl,--as-needed")

RECIPES: Final = (
    BuildRecipe(
        name="o2",
        cflags=("-O2",),
        without=_NO_DEBUG,
        why="The distribution's flags without its debug log: what the others are to be held against.",
    ),
    BuildRecipe(
        name="o3",
        cflags=("-O3",),
        without=_NO_DEBUG,
        why="More inlining and unrolling, for any CPU of this kind.",
    ),
    BuildRecipe(
        name="o3-cpu",
        cflags=_FOR_THE_CPU,
        ldflags=_LINKED_TIGHTLY,
        configure=_CAPSTONE_MODULES,
        without=_NO_DEBUG,
        why="The capstone's step 8: -O3 for this very CPU, linked tightly, with its modules.",
    ),
    BuildRecipe(
        name="o3-lto",
        cflags=(*_FOR_THE_CPU, "-flto"),
        ldflags=(*_LINKED_TIGHTLY, "-flto", "-O3"),
        configure=_CAPSTONE_MODULES,
        without=_NO_DEBUG,
        why="The same, optimised across files when it is linked.",
    ),
)

SETTINGS: Final = (
    Setting(
        id=BUILD,
        kind=Kind.CHOICE,
        bites="when nginx starts",
        why="Compilers spend their effort by flags; nginx waits for the kernel most of the time, so little is to be had.",
        effect="~/+/~ (+3 % published at 100 KB)",
        source="the capstone's step 8; gcc, Options That Control Optimization",
    ),
)


def recipes(own: tuple[BuildRecipe, ...] = ()) -> dict[str, BuildRecipe]:
    """Every recipe by name: the built-in ones, and a study's own, which win."""
    return {one.name: one for one in (*RECIPES, *own)}
