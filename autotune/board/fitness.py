"""Was the board fit for a run? Pure: from what was seen before, during and after it, and limits fixed before the night.

A gate is named by what it stops. What this board can't tell is neither passed nor failed, and says so. Every fault here is the
environment's; one that comes back although the board was given its time belongs to the configuration: see `settle`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.board.kernel_log import KernelWords, read_words
from autotune.board.reading import is_count
from autotune.board.records import LoadSeen
from autotune.experiment.events import Doubt, Event, Failure, GateResult, NightBegun, Sample, SampleKey
from autotune.experiment.study import FitnessLimits

NOT_COOLED: Final = "not cooled down"
THROTTLED: Final = frozenset(
    {"throttled by cooling", "highest clock lowered", "below highest clock", "throttle events", "slow clock"}
)
_LOG_ROOM_BYTES: Final = 1 << 20
FROM_OUTSIDE: Final = frozenset({"foreign load", "stolen time", "kernel trouble"})
THROTTLES, WARM_START, DISTURBED = "throttles", "warm start", "disturbed"
# So many samples say where tonight's calibration began: a board is cold when its first one begins.
FIRST_SAMPLES: Final = 4
# Cooling devices that slow something down; a fan slows nothing.
_SLOWING: Final = (
    "cooling_cpufreq", "cooling_thermal_cpufreq", "cooling_processor", "cooling_devfreq", "cooling_thermal_devfreq",
    "cooling_thermal_idle", "cooling_intel_powerclamp",
)  # fmt: skip
_SENSIBLE_C: Final = (1.0, 150.0)
Levels = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tonight:
    """What a run is compared with. `levels`: medians of the night's first samples; {} while there are too few.

    `temperature_c`: where a run may start from; None: not known (yet). `again`: the gate at which the same place failed before; `is_last`: no further attempt at it follows.
    """

    levels: Levels = field(default_factory=dict)
    temperature_c: float | None = None
    again: str = ""
    is_last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the gates come to: the one that decides against the run (None: it counts), and doubts about it."""

    fault: GateResult | None = None
    doubts: tuple[Doubt, ...] = ()


def tonight(log: Sequence[Event], key: SampleKey) -> Tonight:
    """From what the log says of this sample's night.

    Once a sample had to be taken warm, because the board cools no further, its temperature is where the next may start from;
    once one had to be taken beside others at work, what they took is what the next are compared with.
    """
    begun = max((at for at, event in enumerate(log) if isinstance(event, NightBegun)), default=0)
    samples = [event for event in log[begun:] if isinstance(event, Sample) and event.key.night == key.night]
    first = [_start_of(sample) for sample in samples[:FIRST_SAMPLES]]
    levels = _medians(first) if len(first) == FIRST_SAMPLES else {}
    warm, disturbed = _last_with(samples, WARM_START), _last_with(samples, DISTURBED)
    anchor = _start_of(warm) if warm is not None else levels
    if levels and disturbed is not None:
        levels["others_cpus"] = max(levels["others_cpus"], _start_of(disturbed)["others_cpus"])
    return Tonight(
        levels=levels,
        temperature_c=hottest(anchor) if levels or warm is not None else None,
        again=_failed_before(log, key),
        is_last=key.is_last,
    )


def _last_with(samples: Sequence[Sample], code: str) -> Sample | None:
    return next((one for one in reversed(samples) if any(doubt.code == code for doubt in one.doubts)), None)


def _failed_before(log: Sequence[Event], key: SampleKey) -> str:
    if key.attempt == 0:
        return ""
    before = key.model_copy(update={"attempt": key.attempt - 1})
    failed = (event for event in reversed(log) if isinstance(event, Failure) and event.key == before)
    return next((event.gate for event in failed), "")


def _start_of(sample: Sample) -> dict[str, float]:
    """Levels before its first run and the real clocks after it, and what others took, by the names that the agent gave them."""
    main = sample.main
    kept = {
        name.partition(".")[2]: value
        for name, value in main.counters.items()
        if name.startswith(("before.temp_", "before.max_khz_", "after.spin_"))
    }
    return {**kept, "others_cpus": main.counters.get("cpu.others_s", 0.0) / max(main.duration_s, 1e-9)}


def _medians(levels: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = set(levels[0]).intersection(*levels)
    return {name: statistics.median(one[name] for one in levels) for name in sorted(names)}


def hottest(levels: Levels) -> float | None:
    """The hottest zone's temperature; None where there is none. A zone that is off says nonsense."""
    low, high = _SENSIBLE_C
    zones = [value for name, value in levels.items() if name.startswith("temp_") and low < value < high]
    return max(zones, default=None)


def slowed(levels: Levels) -> str:
    """The first cooling device that slows something down now; "" when none does."""
    return next((name for name, state in sorted(levels.items()) if _slows(name) and state > 0), "")


def _slows(name: str) -> bool:
    return name.startswith(_SLOWING)


def is_cool(levels: Levels, now: Tonight, limits: FitnessLimits) -> bool:
    """Whether a run may start: inside the band, and nothing slowed down."""
    return _too_warm_c(levels, now, limits) <= 0 and not slowed(levels)


def _too_warm_c(levels: Levels, now: Tonight, limits: FitnessLimits) -> float:
    temperature_c = hottest(levels)
    if temperature_c is None or now.temperature_c is None:
        return 0.0
    return temperature_c - now.temperature_c - limits.temperature_band_c


def cooling_gate(levels: Levels, now: Tonight, limits: FitnessLimits, *, waited_s: float) -> GateResult:
    """The band around where tonight's calibration began; a board may be too warm for it, never too cold."""
    temperature_c, device = hottest(levels), slowed(levels)
    if temperature_c is None and not device:
        return _unknown(NOT_COOLED, "no temperature is to be had here")
    limit = None if now.temperature_c is None else now.temperature_c + limits.temperature_band_c
    passed = is_cool(levels, now, limits)
    detail = f"waited {waited_s:.0f} s" if waited_s else ""
    if not passed:
        why = (
            f"{device} slows it down still"
            if device
            else f"{temperature_c:.1f} °C, limit {limit or 0:.1f} °C"
        )
        detail = f"{why} after {waited_s:.0f} s"
    return GateResult(name=NOT_COOLED, passed=passed, value=temperature_c, limit=limit, detail=detail)


def fitness_gates(
    seen: LoadSeen, limits: FitnessLimits, now: Tonight, *, server_cpus: Sequence[int]
) -> tuple[GateResult, ...]:
    """Every gate of the board's fitness, asked of one run. `server_cpus`: those the server may use; () for all."""
    words = None if seen.kernel_log is None else read_words(seen.kernel_log)
    return (
        _cooling(seen),
        _highest_clock(seen),
        _below_highest(seen, limits),
        _throttle_events(seen, words),
        _slow_clock(seen, limits, now),
        _foreign_load(seen, limits, now, server_cpus),
        _stolen_time(seen, limits, server_cpus),
        _full_disk(seen),
        _old_workers(seen),
        _kernel_trouble(words),
    )


def fitness_doubts(seen: LoadSeen, gates: Sequence[GateResult]) -> tuple[Doubt, ...]:
    """What no gate stops but should be known of a run."""
    words = read_words(seen.kernel_log or ())
    doubts = []
    if words.doubt:
        doubts.append(Doubt(code="kernel log", text=f"the kernel said under load: {words.doubt[0][:160]}"))
    doubts += [
        Doubt(
            code="slow clock",
            text=f"a CPU ran slower than at the night's beginning, and nothing here says why: {gate.detail}",
            next="Look for other guests on this machine, or let the governor hold the highest clock",
        )
        for gate in gates
        if gate.name == "slow clock" and gate.passed is None and gate.value is not None
    ]
    return tuple(doubts)


def settle(gates: Sequence[GateResult], now: Tonight) -> Settled:
    """The first failed gate, unless the same place failed so before, although the board had its time to cool down.

    Then the heat belongs to the configuration, or to the night: the figure is kept and flagged. So is one that was
    disturbed from outside in every attempt: a job of an hour must not end the night.
    """
    doubts = []
    for gate in gates:
        if gate.passed is not False:
            continue
        if gate.name in THROTTLED and now.again in THROTTLED:
            doubts.append(
                Doubt(
                    code=THROTTLES,
                    text=f"this configuration is throttled again after a full cool-down ({gate.name}: {gate.detail})",
                    next="Cool the board better, or keep its clocks lower: it can't hold this",
                )
            )
        elif gate.name == NOT_COOLED and now.again == NOT_COOLED:
            doubts.append(
                Doubt(
                    code=WARM_START,
                    text=f"the board would not cool down to where the calibration began, and was measured warm ({gate.detail})",
                    next="Quieten the room and the fan; the references beside it cancel what they can",
                )
            )
        elif gate.name in FROM_OUTSIDE and now.is_last:
            doubts.append(
                Doubt(
                    code=DISTURBED,
                    text=f"the board was disturbed in every attempt, and measured all the same ({gate.name}: {gate.detail})",
                    next="See what happens there at night (timers, cron, the kernel log), or move the night",
                )
            )
        else:
            return Settled(fault=gate)
    return Settled(doubts=tuple(doubts))


# -- throttling ---------------------------------------------------------------------------------------------------------------


def _cooling(seen: LoadSeen) -> GateResult:
    name = "throttled by cooling"
    states = {one: state for one, state in {**seen.after, **seen.peaks}.items() if _slows(one)}
    if not states:
        return _unknown(name, "no cooling device is to be seen here")
    rises = {
        one: max(state, seen.after.get(one, 0.0)) - seen.before.get(one, 0.0) for one, state in states.items()
    }
    worst = max(sorted(rises), key=lambda one: rises[one])
    highest = max(0.0, rises[worst])
    detail = f"{worst} rose by {highest:g} during the run" if highest else ""
    return GateResult(name=name, passed=highest == 0, value=highest, limit=0, detail=detail)


def _highest_clock(seen: LoadSeen) -> GateResult:
    """Heat and firmware lower what a policy allows; nothing of ours changes it during a run."""
    name = "highest clock lowered"
    policies = [one for one in _allowed(seen.before) if one in seen.after]
    if not policies:
        return _unknown(name, "no clock policy is to be seen here")
    worst = min(policies, key=lambda one: seen.after[one] / seen.before[one])
    share = seen.after[worst] / seen.before[worst]
    told = f"{worst.removeprefix('max_khz_')} from {seen.before[worst]:.0f} to {seen.after[worst]:.0f} kHz"
    return GateResult(
        name=name, passed=share >= 1, value=_short(share), limit=1, detail="" if share >= 1 else told
    )


def _below_highest(seen: LoadSeen, limits: FitnessLimits) -> GateResult:
    name = "below highest clock"
    shares = {
        policy: share
        for policy in _policies(seen.before)
        if (share := _share_below(policy, seen)) is not None
    }
    if not shares:
        return _unknown(name, "the time at each clock is not counted here")
    steady = {policy: share for policy, share in shares.items() if seen.before.get(f"steady_{policy}")}
    worst = max(steady or shares, key=lambda one: shares[one])
    told = f"{worst} spent {shares[worst]:.0%} of the run below its highest clock"
    if not steady:
        detail = f"{told}, as its governor may choose"
        return GateResult(name=name, passed=None, value=_short(shares[worst]), detail=detail)
    passed = shares[worst] <= limits.time_below
    return GateResult(
        name=name,
        passed=passed,
        value=_short(shares[worst]),
        limit=limits.time_below,
        detail="" if passed else told,
    )


def _policies(levels: Levels) -> list[str]:
    return [one.removeprefix("max_khz_") for one in _allowed(levels)]


def _allowed(levels: Levels) -> list[str]:
    """The levels that are clock policies' highest clocks; one of 0 tells nothing."""
    return [one for one, khz in levels.items() if one.startswith("max_khz_") and khz > 0]


def _share_below(policy: str, seen: LoadSeen) -> float | None:
    """None where the kernel doesn't count: a policy without statistics, or one that counted nothing."""
    start = f"freq.{policy}."
    named = {one.removeprefix(start): s for one, s in seen.counters.items() if one.startswith(start)}
    seconds = {int(khz): s for khz, s in named.items() if is_count(khz)}
    total_s = sum(seconds.values())
    if total_s <= 0:
        return None
    return sum(s for khz, s in seconds.items() if khz < seen.before[f"max_khz_{policy}"]) / total_s


def _throttle_events(seen: LoadSeen, words: KernelWords | None) -> GateResult:
    name = "throttle events"
    counted = any(one.startswith("throttle.") for one in (*seen.counters, *seen.before))
    if not counted and words is None:
        return _unknown(name, "neither counters nor the kernel log can be read here")
    events = sum(value for one, value in seen.counters.items() if one.startswith("throttle."))
    heat = words.heat if words else ()
    total = events + len(heat)
    told = heat[0][:160] if heat else f"{events:.0f} throttle events" if events else ""
    return GateResult(name=name, passed=total == 0, value=total, limit=0, detail=told)


def _slow_clock(seen: LoadSeen, limits: FitnessLimits, now: Tonight) -> GateResult:
    """The clock that CPUs really ran at right after the run, beside the night's first, as far as what is allowed is the same.

    Without clock policies (a guest), or under a governor that may lower the clock, slowness is no proof of throttling.
    """
    name = "slow clock"
    ratios = {
        cpu: seen.after[cpu] / now.levels[cpu]
        for cpu in seen.after
        if cpu.startswith("spin_") and now.levels.get(cpu, 0) > 0
    }
    if not ratios:
        return _unknown(name, "the night's first clock is not known yet")
    allowed = [
        seen.before[one] / now.levels[one] for one in _allowed(seen.before) if now.levels.get(one, 0) > 0
    ]
    expected = min([1.0, *allowed])
    worst = min(sorted(ratios), key=lambda one: ratios[one])
    ratio, limit = ratios[worst] / expected, 1 - limits.slow_clock
    told = f"{worst.removeprefix('spin_')} at {ratio:.1%} of the night's first clock"
    if ratio >= limit:
        return GateResult(name=name, passed=True, value=_short(ratio), limit=_short(limit))
    steady = [value for one, value in seen.before.items() if one.startswith("steady_")]
    passed = False if steady and all(steady) else None
    return GateResult(name=name, passed=passed, value=_short(ratio), limit=_short(limit), detail=told)


# -- others -------------------------------------------------------------------------------------------------------------------


def _foreign_load(
    seen: LoadSeen, limits: FitnessLimits, now: Tonight, server_cpus: Sequence[int]
) -> GateResult:
    """Beyond what others took when the night began: a load that is always there is in the references, too."""
    name = "foreign load"
    cpus = len(server_cpus) or len(cpus_of(seen.counters))
    others_s = seen.counters.get("cpu.others_s", 0.0 if "cpu.server_s" in seen.counters else None)
    if others_s is None or not cpus or seen.measured.wall_s <= 0:
        return _unknown(name, "who used the CPUs is not known")
    more = max(0.0, others_s / seen.measured.wall_s - now.levels.get("others_cpus", 0.0))
    share = more / cpus
    passed = share <= limits.foreign_load
    told = (
        "" if passed else f"others took {others_s:.2f} CPU-seconds: {', '.join(seen.busiest) or 'short ones'}"
    )
    return GateResult(name=name, passed=passed, value=_short(share), limit=limits.foreign_load, detail=told)


def _stolen_time(seen: LoadSeen, limits: FitnessLimits, server_cpus: Sequence[int]) -> GateResult:
    name = "stolen time"
    known = cpus_of(seen.counters)
    cpus = list(server_cpus) or known
    if not known or seen.measured.wall_s <= 0:
        return _unknown(name, "the CPUs' time is not known")
    stolen_s = sum(seen.counters.get(f"cpu{cpu}.steal_s", 0.0) for cpu in cpus)
    share = stolen_s / (seen.measured.wall_s * len(cpus))
    passed = share <= limits.foreign_load
    told = "" if passed else f"the hypervisor gave {stolen_s:.2f} CPU-seconds of the server's to others"
    return GateResult(name=name, passed=passed, value=_short(share), limit=limits.foreign_load, detail=told)


def cpus_of(counters: Mapping[str, float]) -> list[int]:
    """The CPUs that these counters speak of."""
    heads = {one.partition(".")[0] for one in counters}
    return sorted(int(one[3:]) for one in heads if one.startswith("cpu") and is_count(one[3:]))


def _full_disk(seen: LoadSeen) -> GateResult:
    """A server whose access log finds no room any more does less per request than it was ordered to."""
    name, room = "full disk", seen.after.get("log_room_bytes")
    if room is None:
        return _unknown(name, "the room for logs is not known here")
    passed = room >= _LOG_ROOM_BYTES
    detail = "" if passed else f"{room:.0f} bytes were left for the server's logs: No space left on device"
    return GateResult(name=name, passed=passed, value=room, limit=_LOG_ROOM_BYTES, detail=detail)


def _old_workers(seen: LoadSeen) -> GateResult:
    return GateResult(name="old workers", passed=not seen.strangers, detail=seen.strangers)


def _kernel_trouble(words: KernelWords | None) -> GateResult:
    name = "kernel trouble"
    if words is None:
        return _unknown(name, "the kernel log can't be read here")
    told = words.trouble[0][:160] if words.trouble else ""
    return GateResult(name=name, passed=not told, value=len(words.trouble), limit=0, detail=told)


def _unknown(name: str, why: str) -> GateResult:
    return GateResult(name=name, passed=None, detail=why)


def _short(value: float) -> float:
    return round(value, 4)
