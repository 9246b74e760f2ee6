"""A board for the installer whose files are in memory."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from autotune.installer.kernel import Board


class PaperFiles(Board):
    """What would be looked at on a board with these files, by path."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def text(self, path: str) -> str:
        return self._files.get(path, "")

    def names(self, pattern: str) -> list[str]:
        depth = pattern.count("/")
        return sorted(
            one for one in self._files if one.count("/") == depth and fnmatch.fnmatchcase(one, pattern)
        )
