"""The facts of board and workload that conditions, rules, derived and hand-tuned values may speak of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "board.cpus": "online CPUs",
        "board.server_cpus": "CPUs the server may use under the study's placement",
        "board.memory_bytes": "memory of the board",
        "board.open_files": "highest limit of open files that nginx may set there",
        "board.big_cpus": "CPUs of the fastest kind that the server may use",
        "workload.connections": "connections the load keeps open (the most of any workload)",
        "workload.threads": "threads of the load generator (the most of any workload)",
    }
)
