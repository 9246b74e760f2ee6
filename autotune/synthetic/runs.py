"""The figures of one run, made from the truth and from what disturbed it. All of them fit together."""

from __future__ import annotations

import math
from typing import Final

from autotune.experiment.events import ErrorCounts, FixedRate, Measurement
from autotune.experiment.study import Workload
from autotune.synthetic.boards import Truth

_P50: Final = 0.0
_P90: Final = 1.2816
_P95: Final = 1.6449
_P99: Final = 2.3263
_P999: Final = 3.0902
# Of a request's time at saturation, how much is the server's own when nobody waits in front of it.
_ALONE: Final = 0.08
_CLIENT_CPU_SHARE: Final = 0.35


def closed_loop(
    workload: Workload,
    truth: Truth,
    rate: float,
    *,
    cpus: int,
    busy_factor: float,
    power_w: float,
    levels: dict[str, float],
) -> Measurement:
    """A run of wrk at this rate: latencies by Little's law, for a closed loop holds all its connections busy.

    `busy_factor`: what disturbed the CPU time per request. `levels` stand beside the counters.
    """
    requests = max(1, round(rate * workload.duration_s))
    rate = requests / workload.duration_s
    mean_s = workload.connections / rate
    sigma = truth.latency_sigma
    median_s = mean_s * math.exp(-sigma * sigma / 2)
    server_cpu_s = min(
        requests * truth.server_cpu_s_per_request * busy_factor, 0.995 * cpus * workload.duration_s
    )
    return Measurement(
        requests=requests,
        requests_per_s=rate,
        bytes=round(requests * truth.wire_bytes),
        duration_s=workload.duration_s,
        latency_mean_s=mean_s,
        latency_p50_s=_quantile(median_s, sigma, _P50),
        latency_p90_s=_quantile(median_s, sigma, _P90),
        latency_p95_s=_quantile(median_s, sigma, _P95),
        latency_p99_s=_quantile(median_s, sigma, _P99),
        latency_p999_s=_quantile(median_s, sigma, _P999),
        latency_max_s=_quantile(median_s, sigma, _farthest(requests)),
        errors=ErrorCounts(),
        server_cpu_s=server_cpu_s,
        client_cpu_s=_CLIENT_CPU_SHARE * server_cpu_s,
        cpu_busy=server_cpu_s / (cpus * workload.duration_s),
        power_w=power_w,
        counters={
            "cpu.server_s": round(server_cpu_s, 2),
            "ctxt": float(round(1.3 * requests)),
            "softirq.NET_RX": float(round(requests * (1 + truth.wire_bytes / 20_000))),
            "softirq.NET_TX": float(round(0.1 * requests)),
            "connections_held": float(workload.connections),
            **levels,
        },
    )


def open_loop(
    workload: Workload, truth: Truth, capacity: float, *, cpus: int, rate_per_s: float, duration_s: float
) -> FixedRate:
    """A run at a fixed rate on a server that could do `capacity`. Waiting grows with utilisation as in a queue.

    Beyond its capacity the backlog grows to the end of the run, and every later request waits for it.
    """
    answered_per_s = min(rate_per_s, capacity)
    used = min(rate_per_s / capacity, 0.995)
    alone_s = _ALONE * workload.connections / capacity
    # Pollaczek-Khinchine: the variance of the service enters, and waiting goes with 1 / (1 - utilisation).
    sigma = truth.latency_sigma
    mean_s = alone_s * (1 + used / (1 - used) * (1 + math.expm1(sigma * sigma)) / 2)
    spread = sigma * (0.7 + 0.5 * used)
    behind_s = duration_s * max(0.0, 1 - capacity / rate_per_s)
    mean_s += behind_s / 2
    answered = max(1, round(answered_per_s * duration_s))
    median_s = mean_s * math.exp(-spread * spread / 2)
    return FixedRate(
        rate_per_s=rate_per_s,
        answered=answered,
        answered_per_s=answered / duration_s,
        duration_s=duration_s,
        latency_mean_s=mean_s,
        latency_p50_s=_quantile(median_s, spread, _P50),
        latency_p90_s=_quantile(median_s, spread, _P90),
        latency_p95_s=_quantile(median_s, spread, _P95),
        latency_p99_s=_quantile(median_s, spread, _P99),
        latency_p999_s=_quantile(median_s, spread, _P999),
        latency_max_s=_quantile(median_s, spread, _farthest(answered)),
        errors=ErrorCounts(),
        client_busy=min(0.95, 0.2 + rate_per_s / 400_000),
        cpu_busy=min(0.995, answered_per_s * truth.server_cpu_s_per_request / cpus),
    )


def _quantile(median_s: float, sigma: float, z: float) -> float:
    return median_s * math.exp(sigma * z)


def _farthest(count: int) -> float:
    """About how many standard deviations the largest of so many normal numbers lies out."""
    return math.sqrt(2 * math.log(max(count, 2)))
