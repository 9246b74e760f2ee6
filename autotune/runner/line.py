"""The network line that the load comes over: how fast its card is, and what that lets through."""

from __future__ import annotations

from autotune.board.connection import Connection
from autotune.experiment.study import ManagedNginx, Study
from autotune.measurement.line import bound_requests_per_s

# Status line and headers of an answer of the managed nginx.
_HEADER_BYTES = 240


def line_mbit_per_s(connection: Connection, interface: str) -> int | None:
    """The card's speed as it was agreed with its peer; None over loopback ("") and for a card that has none to tell.

    The kernel's file gives -1, or an error, while there is no link and for cards that are none (bridges, wireless).
    """
    if not interface:
        return None
    path = f"/sys/class/net/{interface}/speed"
    text = (connection.read((path,))[path].text or "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def line_text(study: Study, interface: str, speed: int | None) -> str:
    """What the line lets through of the study's loads, in words."""
    if not interface:
        return "loopback: no line is in the way"
    if speed is None:
        return f"{interface} does not tell its speed"
    told = f"{speed:,} Mbit/s over {interface}"
    if not isinstance(study.server, ManagedNginx):
        return told
    sizes = {file.path: file.size_bytes + _HEADER_BYTES for file in study.server.files}
    bounds = []
    for workload in study.workloads:
        total = sum(url.weight for url in workload.urls)
        mean = sum(url.weight * sizes[url.target] for url in workload.urls) / total
        bounds.append(f"{workload.name} ends at about {bound_requests_per_s(speed, mean):,.0f} requests/s")
    return (
        f"{told}: {', '.join(bounds)}, whatever is tuned; where stock comes near that, say"
        ' metric = "requests_per_server_cpu_s" under [objective]'
    )
