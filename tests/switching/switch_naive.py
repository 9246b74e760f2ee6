"""The naive way's process, and one naive switch, timed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import naive_way
from switch_board import Prepared, files_of, in_namespace, port_of

from autotune.board.records import Begun
from autotune.errors import AutotuneError, BoardUnfit
from autotune.experiment.study import Study
from autotune.space.catalogue import CATALOGUE

# The paths in the naive way's own configuration.
BEGUN: Final = Begun(
    token="naive", conf_path=naive_way.CONF, www_dir=naive_way.WWW_DIR, log_dir=naive_way.LOG_DIR, undone=()
)


class Naive:
    """A process in a namespace of its own that switches as a shell script would."""

    def __init__(self, study: Study) -> None:
        where = [
            str(port_of(study)),
            json.dumps([[file.path, file.size_bytes] for file in files_of(study)]),
        ]
        self._process = subprocess.Popen(
            in_namespace(sys.executable, naive_way.__file__, *where),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def switch_ms(self, board: Prepared, side: int) -> float:
        """Every kernel value is written, also one that equals stock: a switch of ours puts those back, too."""
        keys = []
        for id_, value in board.sides[side].values:
            if id_.startswith("sysctl:"):
                keys += [
                    (CATALOGUE[id_].key, text) for text in board.discovery.targets[id_].texts(value).values()
                ]
        task = naive_way.Task(keys=keys, conf=board.plan(side, naive_way.ADDRESS, BEGUN).server.conf)
        if self._process.stdin is None or self._process.stdout is None:
            raise AutotuneError("the naive process has no pipes")
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BoardUnfit("the naive way died")
        return float(answer)

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=10)
