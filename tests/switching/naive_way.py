"""Switching as a shell script would: what scripts/bench-switch compares with, in a process and namespaces of its own.

`python naive_way.py PORT FILES`: reads tasks, a line of JSON each, until its input ends.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, TypedDict

RUN_DIR: Final = "/run/naive"
CONF, WWW_DIR, LOG_DIR = f"{RUN_DIR}/nginx.conf", f"{RUN_DIR}/www", f"{RUN_DIR}/log"
ADDRESS: Final = "127.0.0.2"


class Task(TypedDict):
    """One naive switch, as one line of JSON to the process that does it."""

    keys: list[tuple[str, str]]
    conf: str


def main(port: int, files: list[tuple[str, int]]) -> None:
    """Reads tasks until its input ends; answers each with the milliseconds it took."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    sysctl = shutil.which("sysctl", path="/usr/sbin:/sbin:/usr/bin")
    if nginx is None or sysctl is None:
        sys.exit("bench-switch: nginx or sysctl is missing")
    Path(LOG_DIR).mkdir(parents=True)
    Path(WWW_DIR).mkdir(parents=True)
    for path, size in files:
        (Path(WWW_DIR) / path.lstrip("/")).write_bytes(b"x" * size)
    master: subprocess.Popen[bytes] | None = None
    try:
        for line in sys.stdin:
            task: Task = json.loads(line)
            if master is None:
                Path(CONF).write_text(task["conf"])
                master = subprocess.Popen([nginx, "-c", CONF], stdin=subprocess.DEVNULL)
                while not workers_of(master.pid):
                    time.sleep(0.01)
            began = time.perf_counter()
            switch(task, nginx, sysctl, master.pid)
            get_all(port, files)
            print(1_000 * (time.perf_counter() - began), flush=True)
    finally:
        if master is not None:
            master.terminate()
            master.wait()


def switch(task: Task, nginx: str, sysctl: str, master: int) -> None:
    for key, value in task["keys"]:
        subprocess.run([sysctl, "-w", f"{key}={value}"], stdout=subprocess.DEVNULL, check=True)
        found = subprocess.run([sysctl, "-n", key], capture_output=True, text=True, check=True)
        if found.stdout.split() != value.split():
            sys.exit(f"bench-switch: {key} is {found.stdout.strip()!r}, not {value!r}")
    old = workers_of(master)
    Path(CONF).write_text(task["conf"])
    subprocess.run([nginx, "-q", "-c", CONF, "-s", "reload"], stderr=subprocess.DEVNULL, check=True)
    while old & workers_of(master) or not workers_of(master):
        time.sleep(0.001)


def workers_of(master: int) -> set[str]:
    return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())


def get_all(port: int, files: list[tuple[str, int]]) -> None:
    for path, size in files:
        line = http.client.HTTPConnection(ADDRESS, port, timeout=5)
        line.request("GET", path)
        answer = line.getresponse()
        if (answer.status, len(answer.read())) != (200, size):
            sys.exit(f"bench-switch: {path} is not served")
        line.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), [(path, size) for path, size in json.loads(sys.argv[2])])
