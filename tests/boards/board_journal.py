"""The journal of a board's agent, followed over a line of its own while it is written."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from dataclasses import dataclass, field

from torture_journal import Phase, Story
from virtual_board import HOST, VirtualBoard


@dataclass
class BoardJournal:
    """Call `pump` often. `story` is that of the journal that was begun last; `originals` what journals of this boot captured."""

    board: VirtualBoard
    story: Story = field(default_factory=Story)
    originals: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    switch_s: float = 1.0
    """How long the last switches took, from the line that announces nginx to the one that announces wrk."""
    _switched_s: float = 0.0
    _rest: bytes = b""
    _line: subprocess.Popen[bytes] | None = None

    def follow(self) -> None:
        """From the beginning of the journal that is there, or of the next one; what was known before is forgotten."""
        self.close()
        self.story, self.originals, self._rest = Story(), {}, b""
        command = "tail -n +1 -s 0.1 -F /run/autotune/journal 2>/dev/null"
        self._line = subprocess.Popen(
            ("ssh", "-F", self.board.ssh_config, f"root@{HOST}", command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        if self._line is not None and self._line.stdout is not None:
            self._line.kill()
            self._line.wait()
            self._line.stdout.close()
        self._line = None

    def forget_loads(self) -> None:
        """A controller starts anew: what was seen of loads was another one's."""
        self.story = Story()

    def pump(self, seconds: float = 0.0) -> None:
        """Takes in what was written; waits up to `seconds` for something to be."""
        if self._line is None or self._line.stdout is None:
            time.sleep(seconds)
            return
        handle = self._line.stdout.fileno()
        if not select.select([handle], [], [], seconds)[0]:
            return
        data = os.read(handle, 1 << 16)
        if not data:
            self.close()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # half a line of one journal, with the next one's first behind it
        if entry["entry"] == "BEGIN":
            self.story = Story(loads=self.story.loads)
        before = self.story.phase
        self.story.read(line + b"\n")
        now_s = time.monotonic()
        if self.story.phase is Phase.SWITCH and before is not Phase.SWITCH:
            self._switched_s = now_s
        elif self.story.phase is Phase.LOAD and before is Phase.SWITCH:
            self.switch_s += 0.3 * (now_s - self._switched_s - self.switch_s)
        if entry["entry"] == "WILL":
            known = self.originals.setdefault(entry["path"], entry["original"])
            if known != entry["original"]:
                self.problems.append(
                    f"{entry['path']} was captured as {entry['original']!r}, earlier as {known!r}"
                )
