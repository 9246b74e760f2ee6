"""The program that an export ships: `install`, `uninstall`, and the modules that they need on the board."""

from __future__ import annotations

import ast
from importlib.resources import files
from typing import Final

_PACKAGE: Final = "autotune"
_START: Final = '''#!/usr/bin/python3 -IS
"""{what} `{name} --help` says how; the program is beside this, in program/. Python 3.9 or newer, nothing else."""

import os
import sys

if sys.version_info < (3, 9):
    sys.exit("{name}: needs Python 3.9 or newer")
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "program"))
sys.dont_write_bytecode = True

from autotune.installer.command import main

sys.exit(main("{name}", HERE))
'''
_ROOT: Final = '"""The part of autotune that an export ships."""\n'
_INSTALL: Final = "Puts this configuration in place, for good."
_UNINSTALL: Final = "Takes back what install has changed."
_BOOT: Final = "Sets at boot what no file of the system's own can; run by autotune-settings.service."
EXECUTABLE: Final = frozenset({"install", "uninstall"})


def program_files() -> dict[str, str]:
    """The texts by their place below the export."""
    uninstall = _START.format(name="uninstall", what=_UNINSTALL)
    modules = _needed("autotune.installer.command")
    return {
        "install": _START.format(name="install", what=_INSTALL),
        "uninstall": uninstall,
        "program/uninstall": uninstall,
        "program/boot": _START.format(name="boot", what=_BOOT),
        f"program/{_PACKAGE}/__init__.py": _ROOT,
        **{f"program/{_path(name)}": _source(name) for name in sorted(modules)},
    }


def _needed(start: str) -> set[str]:
    """Every module of ours that this one imports, and those import, with the packages around them."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += [".".join(name.split(".")[:depth]) for depth in range(2, name.count(".") + 1)]
        if (
            name != _PACKAGE
        ):  # what it offers to Python's users is imported when they ask for it, and nobody does there
            waiting += _imported(_source(name))
    return found


def _imported(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            inner = [f"{node.module}.{one.name}" for one in node.names]
            names += [str(node.module), *(one for one in inner if _is_module(one))]
    return names


def _is_module(name: str) -> bool:
    return files(_PACKAGE).joinpath(*name.split(".")[1:-1], f"{name.rpartition('.')[2]}.py").is_file()


def _is_package(name: str) -> bool:
    return files(_PACKAGE).joinpath(*name.split(".")[1:]).is_dir()


def _path(name: str) -> str:
    return name.replace(".", "/") + ("/__init__.py" if _is_package(name) else ".py")


def _source(name: str) -> str:
    return files(_PACKAGE).joinpath(*_path(name).split("/")[1:]).read_text(encoding="utf-8")
