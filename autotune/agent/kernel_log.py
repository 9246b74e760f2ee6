"""What the kernel says while a load runs, from /dev/kmsg. Reading it takes nothing away from anybody."""

from __future__ import annotations

import contextlib
import os
from typing import List, Optional

_RECORD = 8192
_LINES_MOST, _LINE_MOST = 60, 240
_LOOKS_MOST = 5000


class KernelLog:
    """Everything said since this was made. Must be closed."""

    def __init__(self) -> None:
        self._handle = -1
        with contextlib.suppress(OSError):  # a container without it, or dmesg_restrict for who isn't root
            self._handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._handle, 0, os.SEEK_END)

    def lines(self) -> Optional[List[str]]:
        """The messages, without their stamps, the first 60; None when this kernel's log can't be read."""
        if self._handle < 0:
            return None
        found: List[str] = []
        for _ in range(_LOOKS_MOST):
            try:
                record = os.read(self._handle, _RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:  # some were overwritten before we came to read them
                continue
            except OSError:
                return None
            if not record:
                break
            message = record.partition(b";")[2].partition(b"\n")[0].decode("utf-8", "replace")
            if len(found) < _LINES_MOST:
                found.append(message[:_LINE_MOST])
        return found

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
