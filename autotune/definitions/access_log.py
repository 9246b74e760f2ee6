"""The URLs of a workload from an access log: what is asked for most, in the shares in which it is asked for.

    [workload]
    access_log = "/var/log/nginx/access.log"  # in the combined format, or beginning like it; .gz as well
    count = 20                                # so many of the most requested
    base = "https://www.example.org"          # scheme, host and port that they are fetched from

GETs that were answered with 200 count; other lines are passed over. The log is read when the study is, so that the study
is frozen with what it said then.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import IO, Final

from autotune.experiment.study import Url

BASE: Final = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?", re.ASCII)
BASE_ACCEPTED: Final = 'scheme and host, such as "https://www.example.org", without a path'
MOST: Final = 200
_REQUEST: Final = re.compile(
    rb'"(?P<method>[A-Z]+) (?P<target>[^ "]+)(?: HTTP/[0-9.]+)?" (?P<status>[0-9]{3})\b'
)
# What wrk and nginx take as it stands; anything else in a log is most often an attack.
_TARGET: Final = re.compile(r"/[A-Za-z0-9._~!$&()*+,;=:@%/?-]*", re.ASCII)
_LONGEST_TARGET: Final = 900
_LONGEST_LINE: Final = 1 << 16
_MOST_LINES: Final = 20_000_000
_MOST_BYTES: Final = 8 << 30  # unpacked
_SHARES: Final = 1_000


class LogUnfit(ValueError):
    """Why no URLs can be had from this log, with its lines counted."""


def urls_from_log(path: Path, count: int, base: str) -> tuple[Url, ...]:
    """The `count` most requested URLs of the log with their shares (the largest 1000), most requested first.

    Raises LogUnfit naming the file when it can't be read or has no GET that was answered with 200.
    """
    asked: Counter[str] = Counter()
    lines = size = odd = refused = 0
    if path.exists() and not path.is_file():
        raise LogUnfit(f"{path}: not a plain file")
    try:
        with _opened(path) as log:
            while lines < _MOST_LINES and size < _MOST_BYTES and (line := log.readline(_LONGEST_LINE)):
                lines += 1
                size += len(line)
                found = _REQUEST.search(line)
                if found is None:
                    odd += 1
                elif found["method"] == b"GET" and found["status"] == b"200":
                    target = found["target"].decode("ascii", "replace")
                    if len(target) <= _LONGEST_TARGET and _TARGET.fullmatch(target):
                        asked[target] += 1
                    else:
                        refused += 1
    except (OSError, EOFError, zlib.error) as problem:
        words = getattr(problem, "strerror", None) or str(problem)
        raise LogUnfit(f"{path}: {words} (after {lines} lines)") from None
    if not asked:
        told = f"{lines} lines, {odd} of them in another format, {refused} with a path that can't be loaded"
        raise LogUnfit(f"{path}: no GET answered with 200 in it: {told}")
    # By name where two are asked for alike, so that the same log gives the same study.
    most = sorted(asked.items(), key=lambda one: (-one[1], one[0]))[:count]
    scale = min(1.0, _SHARES / most[0][1])
    return tuple(
        Url(target=base + target, weight=float(max(1, round(times * scale)))) for target, times in most
    )


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
