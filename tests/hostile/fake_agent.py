"""An agent that says what a test wants: started in the place of the real one, it greets, takes the zip, and then plays a part.

`python3 fake_agent.py PART python3 -I -S -c CODE autotune-agent SIZE …`: what follows PART is the real agent's own argv.
A part answers requests by a Python expression of `number`, or does something that no expression can.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator

MAX_LINE = 8 * 1024 * 1024


def take(size: int) -> None:
    while size:
        size -= len(os.read(0, min(size, 65536)))


def requests() -> Iterator[dict[str, int]]:
    with os.fdopen(0, "rb", closefd=False) as incoming:
        for line in incoming:
            yield json.loads(line)


def say(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def play(part: str, number: int) -> None:
    head = b'{"id":%d,"ok":true,"body":' % number
    match part:
        case "silence":
            pass
        case "never-ending line":
            while True:
                say(b"x" * 65536)
        case "oversize reply":
            say(head + b'{"a":"' + b"x" * (MAX_LINE + 1) + b'"}}\n')
        case "largest reply":
            say(head + b"[" + b"[]," * ((MAX_LINE - 100) // 3) + b"[]]}\n")
        case "slow drip":
            for byte in head + b"{" + b" " * 100_000:
                say(bytes((byte,)))
                time.sleep(0.01)
        case "partial line, then gone":
            say(head)
            os._exit(3)
        case "lines without end":
            while True:
                say(b'{"id":%d,"ok":true,"body":{}}\n' % (number + 1000))
        case _:
            say(part.replace("NUMBER", str(number)).encode("utf-8", "surrogateescape") + b"\n")


def main() -> None:
    part, size = sys.argv[1], int(sys.argv[sys.argv.index("autotune-agent") + 1])
    say(b"autotune-agent: send\n")
    take(size)
    for request in requests():
        play(part, request["id"])


main()
