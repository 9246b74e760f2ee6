"""Is a board fit for a run? Decided from what was seen alone, for boards that this machine isn't: every figure here is made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from autotune.board.fitness import (
    FIRST_SAMPLES,
    NOT_COOLED,
    THROTTLED,
    Tonight,
    cooling_gate,
    fitness_doubts,
    fitness_gates,
    is_cool,
    settle,
    tonight,
)
from autotune.board.kernel_log import read_words
from autotune.board.records import LoadSeen, Run
from autotune.experiment.events import (
    Arm,
    Doubt,
    ErrorCounts,
    Event,
    Failure,
    GateResult,
    Measurement,
    NightBegun,
    Sample,
    SampleKey,
    Stage,
)
from autotune.experiment.study import FitnessLimits
from autotune.space.configuration import Configuration

LIMITS = FitnessLimits()
RUN = Run(exit_code=0, stdout="", stderr="", wall_s=15.0, cpu_s=5.0, timed_out=False)
SERVER = (4, 5, 6, 7)
# As a Rock 5B+ under the performance governor might tell it: three clusters, three zones, its fan turning.
ROCK: Mapping[str, float] = {
    "temp_soc_thermal_c": 55.0,
    "temp_bigcore0_thermal_c": 56.0,
    "cooling_pwm_fan": 2.0,
    "cooling_cpufreq_cpu0": 0.0,
    "cooling_cpufreq_cpu4": 0.0,
    "max_khz_policy0": 1_800_000.0,
    "max_khz_policy4": 2_304_000.0,
    "steady_policy0": 1.0,
    "steady_policy4": 1.0,
}
FIRST = {
    **{name: value for name, value in ROCK.items() if name.startswith(("temp_", "max_khz_"))},
    "spin_cpu4": 1_000.0,
}
NOW = Tonight(levels=FIRST, temperature_c=56.0)


def rock(
    *,
    before: Mapping[str, float] | None = None,
    after: Mapping[str, float] | None = None,
    counters: Mapping[str, float] | None = None,
    peaks: Mapping[str, float] | None = None,
    kernel_log: tuple[str, ...] | None = (),
) -> LoadSeen:
    """A run on that board with nothing wrong, but for what is given."""
    return LoadSeen(
        warmup=RUN,
        measured=RUN,
        counters={
            "cpu4.user_s": 7.0,
            "cpu4.idle_s": 8.0,
            "cpu.server_s": 20.0,
            "cpu.others_s": 0.2,
            "freq.policy4.2304000": 15.0,
            **(counters or {}),
        },
        before={**ROCK, **(before or {})},
        after={
            **ROCK,
            "temp_soc_thermal_c": 63.0,
            "spin_cpu4": 990.0,
            "log_room_bytes": 1e9,
            **(after or {}),
        },
        server_cpu_s=20.0,
        workers_before=(1,),
        workers_after=(1,),
        connections_held=4,
        error_log="",
        peaks=peaks or {},
        kernel_log=kernel_log,
    )


def asked(seen: LoadSeen, now: Tonight = NOW, limits: FitnessLimits = LIMITS) -> dict[str, GateResult]:
    return {gate.name: gate for gate in fitness_gates(seen, limits, now, server_cpus=SERVER)}


def test_a_quiet_board_passes_every_gate() -> None:
    assert {name: gate.passed for name, gate in asked(rock()).items()} == dict.fromkeys(asked(rock()), True)


def test_a_board_that_tells_nothing_is_neither_fit_nor_unfit() -> None:
    """No cpufreq, no thermal zones, no kernel log: a guest, or a container."""
    bare = replace(rock(kernel_log=None), before={}, after={}, counters={})
    gates = asked(bare, Tonight())
    assert {name for name, gate in gates.items() if gate.passed is not None} == {"old workers"}
    assert all(gate.detail for gate in gates.values() if gate.passed is None)
    assert settle(tuple(gates.values()), Tonight()).fault is None
    assert cooling_gate({}, NOW, LIMITS, waited_s=0).passed is None


@dataclass(frozen=True)
class Unfit:
    """What was seen, the gate that must stop it, and what it must say."""

    seen: LoadSeen
    gate: str
    says: str = ""
    now: Tonight = field(default_factory=lambda: NOW)


UNFIT = {
    "a cooling device was active at the end": Unfit(
        rock(after={"cooling_cpufreq_cpu4": 2}), "throttled by cooling", "cpu4 rose by 2"
    ),
    "a cooling device was active on the way and is not any more": Unfit(
        rock(peaks={"cooling_cpufreq_cpu0": 1}), "throttled by cooling", "cpu0 rose by 1"
    ),
    "heat took the highest clock away": Unfit(
        rock(after={"max_khz_policy4": 2_208_000.0}), "highest clock lowered", "from 2304000 to 2208000 kHz"
    ),
    "a tenth of the run below the clock that the governor holds": Unfit(
        rock(counters={"freq.policy4.2304000": 13.5, "freq.policy4.1800000": 1.5}),
        "below highest clock",
        "policy4 spent 10% of the run",
    ),
    "throttle events counted": Unfit(rock(counters={"throttle.package": 3}), "throttle events", "3 throttle"),
    "throttling in the kernel's words": Unfit(
        rock(kernel_log=("CPU2: Core temperature above threshold, cpu clock throttled (total events = 1)",)),
        "throttle events",
        "clock throttled",
    ),
    "a supply that is too weak": Unfit(
        rock(kernel_log=("hwmon hwmon1: Undervoltage detected!",)), "throttle events", "Undervoltage"
    ),
    "a clock that is slower than told": Unfit(
        rock(after={"spin_cpu4": 900.0}), "slow clock", "cpu4 at 90.0% of the night's first clock"
    ),
    "another program": Unfit(rock(counters={"cpu.others_s": 7.5}), "foreign load", "7.50 CPU-seconds"),
    "a hypervisor that takes CPUs away": Unfit(
        rock(counters={"cpu5.steal_s": 7.0}), "stolen time", "7.00 CPU-seconds"
    ),
    "no room for what the server must write": Unfit(
        rock(after={"log_room_bytes": 4096.0}), "full disk", "4096 bytes were left"
    ),
    "a server that nobody ordered": Unfit(
        replace(rock(), strangers="nginx (pid 7) listens on port 80 too and takes a share"),
        "old workers",
        "pid 7",
    ),
    "memory ran out": Unfit(
        rock(kernel_log=("Out of memory: Killed process 812 (php-fpm8.2)",)),
        "kernel trouble",
        "Killed process",
    ),
    "the card was reset": Unfit(
        rock(kernel_log=("NETDEV WATCHDOG: eth0 (r8125): transmit queue 0 timed out",)),
        "kernel trouble",
        "WATCHDOG",
    ),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT.keys())
def test_what_makes_a_board_unfit_is_stopped_by_the_gate_of_its_name(unfit: Unfit) -> None:
    gates = asked(unfit.seen, unfit.now)
    assert [name for name, gate in gates.items() if gate.passed is False] == [unfit.gate]
    assert unfit.says in gates[unfit.gate].detail
    fault = settle(tuple(gates.values()), unfit.now).fault
    assert fault is not None
    assert fault.name == unfit.gate


FIT = {
    "a fan that turns faster": rock(after={"cooling_pwm_fan": 4}, peaks={"cooling_pwm_fan": 4}),
    "a clock 1.8 % slower at 78 degrees, as RK3588's is": rock(after={"spin_cpu4": 982.0}),
    "a switch of the clock in a hundredth of the run": rock(
        counters={"freq.policy4.2304000": 14.9, "freq.policy4.1800000": 0.1}
    ),
    "a policy that says it allows no clock at all": rock(
        before={"max_khz_policy4": 0.0}, after={"max_khz_policy4": 0.0}
    ),
    "a cron job of a second": rock(counters={"cpu.others_s": 1.2}),
    "kernel words that mean nothing": rock(kernel_log=("audit: type=1400", "eth0: link is up at 2.5Gbps")),
    "a lower limit that is the configuration's own": rock(
        before={"max_khz_policy4": 1_152_000.0},
        after={"max_khz_policy4": 1_152_000.0, "spin_cpu4": 495.0},
        counters={"freq.policy4.2304000": 0.0, "freq.policy4.1152000": 15.0},
    ),
}


@pytest.mark.parametrize("seen", FIT.values(), ids=FIT.keys())
def test_what_is_no_fault_of_the_board_passes(seen: LoadSeen) -> None:
    assert [name for name, gate in asked(seen).items() if gate.passed is False] == []


def test_a_governor_may_choose_a_low_clock_and_that_is_no_throttling() -> None:
    on_demand = {"steady_policy0": 0.0, "steady_policy4": 0.0}
    seen = rock(
        before=on_demand,
        after={**on_demand, "spin_cpu4": 700.0},
        counters={"freq.policy4.2304000": 8.0, "freq.policy4.408000": 7.0},
    )
    gates = asked(seen)
    assert gates["below highest clock"].passed is None
    assert gates["below highest clock"].value == pytest.approx(7 / 15, abs=1e-3)
    assert gates["slow clock"].passed is None
    assert [doubt.code for doubt in fitness_doubts(seen, tuple(gates.values()))] == ["slow clock"]


def test_a_load_that_was_there_from_the_beginning_is_in_the_references_too() -> None:
    always = Tonight(levels={**FIRST, "others_cpus": 0.5}, temperature_c=56.0)
    assert asked(rock(counters={"cpu.others_s": 7.5}), always)["foreign load"].passed
    assert asked(rock(counters={"cpu.others_s": 15.0}), always)["foreign load"].passed is False


def test_words_that_are_worth_a_doubt_stop_nothing() -> None:
    seen = rock(kernel_log=("TCP: request_sock_TCP: Possible SYN flooding on port 127.0.0.2:8088.",))
    gates = fitness_gates(seen, LIMITS, NOW, server_cpus=SERVER)
    assert settle(gates, NOW).fault is None
    (doubt,) = fitness_doubts(seen, gates)
    assert "SYN flooding" in doubt.text


# -- the band, and what comes back ------------------------------------------------------------------------------------------


def test_a_run_starts_inside_the_band_and_with_nothing_slowed_down() -> None:
    assert is_cool({"temp_soc_c": 61.0}, NOW, LIMITS)
    assert not is_cool({"temp_soc_c": 61.1}, NOW, LIMITS)
    assert not is_cool({"temp_soc_c": 50.0, "cooling_thermal_cpufreq_0": 1.0}, NOW, LIMITS)
    assert is_cool({"temp_soc_c": 50.0, "cooling_pwm_fan": 3.0}, NOW, LIMITS)
    assert is_cool({"temp_soc_c": 90.0}, Tonight(), LIMITS), "where the calibration began is not known yet"
    assert is_cool({"temp_off_c": -274.0, "temp_soc_c": 58.0}, NOW, LIMITS)
    warm = cooling_gate({"temp_soc_c": 64.0}, NOW, LIMITS, waited_s=300)
    assert (warm.name, warm.passed, warm.value, warm.limit) == (NOT_COOLED, False, 64.0, 61.0)
    assert "64.0 °C, limit 61.0 °C after 300 s" in warm.detail


def failed(name: str) -> GateResult:
    return GateResult(name=name, passed=False, detail="so it was")


@pytest.mark.parametrize("again", sorted(THROTTLED))
def test_throttling_that_comes_back_after_a_full_cool_down_is_the_configurations_own(again: str) -> None:
    first = settle((failed("slow clock"),), Tonight())
    assert first.fault is not None
    second = settle((failed("slow clock"),), Tonight(again=again))
    assert second.fault is None
    assert [doubt.code for doubt in second.doubts] == ["throttles"]
    other = settle((failed("slow clock"), failed("foreign load")), Tonight(again=again))
    assert other.fault is not None
    assert other.fault.name == "foreign load"


def test_a_board_that_cools_no_further_is_measured_warm_the_second_time() -> None:
    assert settle((failed(NOT_COOLED),), Tonight(again="foreign load")).fault is not None
    second = settle((failed(NOT_COOLED),), Tonight(again=NOT_COOLED))
    assert second.fault is None
    assert [doubt.code for doubt in second.doubts] == ["warm start"]


@pytest.mark.parametrize("gate", ["foreign load", "stolen time", "kernel trouble"])
def test_what_disturbs_every_attempt_is_measured_beside_in_the_last_one(gate: str) -> None:
    assert settle((failed(gate),), Tonight(again=gate)).fault is not None
    last = settle((failed(gate),), Tonight(again=gate, is_last=True))
    assert last.fault is None
    assert [doubt.code for doubt in last.doubts] == ["disturbed"]
    assert settle((failed("old workers"),), Tonight(again=gate, is_last=True)).fault is not None


def key(position: int, attempt: int = 0, night: int = 1) -> SampleKey:
    return SampleKey(night=night, stage=Stage.CALIBRATION, block=0, position=position, attempt=attempt)


def sample(
    position: int,
    temperature_c: float,
    *,
    night: int = 1,
    others_s: float = 1.5,
    doubts: tuple[Doubt, ...] = (),
) -> Sample:
    run = Measurement(
        requests=15_000,
        requests_per_s=1_000,
        bytes=1,
        duration_s=15,
        latency_mean_s=0,
        latency_p50_s=0,
        latency_p90_s=0,
        latency_p95_s=0,
        latency_p99_s=0,
        latency_p999_s=0,
        latency_max_s=0,
        errors=ErrorCounts(),
        server_cpu_s=1,
        client_cpu_s=1,
        counters={
            "before.temp_soc_c": temperature_c,
            "after.spin_cpu4": 1000.0 + position,
            "cpu.others_s": others_s,
        },
    )
    return Sample(
        key=key(position, night=night),
        at="2026-01-01T00:00:00+00:00",
        arm=Arm(kind="stock"),
        configuration=Configuration(),
        effective=Configuration(),
        measurements={"w": run},
        objective=0.0,
        switch_s=0,
        overhead_s=0,
        doubts=doubts,
    )


def begun(night: int) -> NightBegun:
    return NightBegun(night=night, at="2026-01-01T00:00:00+00:00", stock={}, facts={}, space_ids=())


FIRST_LOG: list[Event] = [
    begun(1),
    *(sample(position, 40.0 + 4 * position) for position in range(FIRST_SAMPLES)),
]


def test_the_band_lies_around_the_nights_first_samples() -> None:
    assert tonight(FIRST_LOG[:-1], key(9)) == Tonight()
    now = tonight([*FIRST_LOG, sample(8, 80.0)], key(9))
    assert now.temperature_c == 46.0, "the median of the first four, not of all"
    assert now.levels["spin_cpu4"] == 1001.5
    assert now.levels["others_cpus"] == pytest.approx(0.1)
    assert tonight([*FIRST_LOG, begun(2)], key(0, night=2)) == Tonight(), "every night has its own"


def test_a_warm_start_moves_the_band_for_those_that_follow() -> None:
    warm = sample(8, 58.0, doubts=(Doubt(code="warm start", text="it cools no further"),))
    assert tonight([*FIRST_LOG, warm, sample(9, 61.0)], key(10)).temperature_c == 58.0


def test_others_that_stay_are_what_the_next_are_compared_with() -> None:
    beside = sample(8, 50.0, others_s=9.0, doubts=(Doubt(code="disturbed", text="they did not go away"),))
    assert tonight([*FIRST_LOG, beside], key(9)).levels["others_cpus"] == pytest.approx(0.6)
    assert tonight([*FIRST_LOG, beside], key(9, attempt=3)).is_last


def test_the_gate_at_which_the_same_place_failed_is_remembered() -> None:
    failure = Failure(
        key=key(5),
        at="2026-01-01T00:00:00+00:00",
        arm=Arm(kind="stock"),
        configuration=Configuration(),
        stage="gate",
        reason="",
        blame="environment",
        gate="slow clock",
    )
    log = [*FIRST_LOG, failure]
    assert tonight(log, key(5, attempt=1)).again == "slow clock"
    assert tonight(log, key(5)).again == ""
    assert tonight(log, key(6, attempt=1)).again == ""


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("mce: CPU3: Package temperature above threshold, cpu clock throttled (total events = 12)", "heat"),
        ("thermal thermal_zone0: soc-thermal: critical temperature reached", "heat"),
        ("nginx invoked oom-killer: gfp_mask=0x100cca", "trouble"),
        ("r8169 0000:01:00.0 eth0: Link is Down", "trouble"),
        ("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: bea0000000000108", "trouble"),
        ("EDAC MC0: 1 CE on DIMM_A1", "doubt"),
        ("watchdog: BUG: soft lockup - CPU#4 stuck for 22s!", "trouble"),
        ("INFO: task nginx:77 blocked for more than 120 seconds.", "trouble"),
        ("TCP: out of memory -- consider tuning tcp_mem", "doubt"),
        ("nf_conntrack: nf_conntrack: table full, dropping packet", "doubt"),
        ("blk_update_request: I/O error, dev mmcblk0, sector 7", "doubt"),
        ("r8169 0000:01:00.0 eth0: Link is Up - 2.5Gbps/Full", ""),
        ("systemd[1]: Started Daily apt download activities.", ""),
    ],
)
def test_the_kernels_words_are_understood(line: str, meaning: str) -> None:
    words = read_words([line])
    found = {name for name in ("heat", "trouble", "doubt") if getattr(words, name)}
    assert found == ({meaning} if meaning else set())
