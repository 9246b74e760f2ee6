"""What a board is, as its agent found it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.board.records import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """The agent's answer to hello. `cpus` are those that the agent may use; `capacity` how fast each CPU is
    (the kernel's cpu_capacity, 1024 for the fastest; empty where it doesn't tell); `cores` those CPUs by the core that they are
    threads of (() where that isn't known); `state_dir` is where files live on disk.
    """

    protocol: int
    python: str
    uid: int
    hostname: str
    kernel: str
    machine: str
    boot_id: str
    netns: str
    cpus: tuple[int, ...]
    capacity: Mapping[int, int]
    memory_bytes: int
    open_files_limit: int
    run_dir: str
    run_is_tmpfs: bool
    state_dir: str
    state_free_bytes: int
    programs: Mapping[str, Program]
    model: str
    cores: tuple[tuple[int, ...], ...] = ()

    def big_cpus(self, among: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The CPUs of the fastest kind, of `among` if given; all of them where all are alike."""
        cpus = among or self.cpus
        most = max((self.capacity.get(cpu, 0) for cpu in cpus), default=0)
        return tuple(cpu for cpu in cpus if self.capacity.get(cpu, 0) == most)

    @property
    def nginx(self) -> Program | None:
        return self.found("nginx")

    @property
    def wrk(self) -> Program | None:
        return self.found("wrk")

    @property
    def luajit(self) -> Program | None:
        return self.found("luajit")

    @property
    def nginx_version(self) -> tuple[int, int, int]:
        """(1, 22, 1) for nginx/1.22.1; (0, 0, 0) without nginx or for a text that names no version."""
        found = re.search(
            r"nginx/([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})", self.nginx.version if self.nginx else ""
        )
        return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)

    def found(self, name: str) -> Program | None:
        """A program of the agent's list; None when it isn't there."""
        program = self.programs.get(name)
        return program if program and program.path else None
