"""How fast and how deep the hardware sleeps: CPU clocks (cpufreq), memory clock (devfreq), idle states (cpuidle).

Words are those that the board lists. A tunable of a governor exists only while that governor rules, so its stock is
"unset" (the governor's own default) elsewhere. Effects are guesses.
"""

from __future__ import annotations

from autotune.space.setting import Kind, Setting

_NOW = "at once"
_POLICIES = r"all|big|little|policy[0-9]{1,3}"
_DEVICES = r"[a-z0-9][A-Za-z0-9_\-]{0,39}"
_CPUFREQ = "Linux, Documentation/admin-guide/pm/cpufreq.rst"
_DEVFREQ = "Linux, Documentation/ABI/testing/sysfs-class-devfreq; Rockchip's vendor kernel"
_CPUIDLE = "Linux, Documentation/admin-guide/pm/cpuidle.rst"

CPUFREQ = (
    Setting(
        id="cpufreq:all.governor",
        instances=_POLICIES,
        kind=Kind.CHOICE,
        specials=("mixed",),
        bites=_NOW,
        why="Decides how soon a CPU runs at full speed; a busy server gains from never slowing down, and pays in heat.",
        effect="++/++/++",
        source=_CPUFREQ,
    ),
    Setting(
        id="cpufreq:all.ondemand.up_threshold",
        instances=_POLICIES,
        kind=Kind.INTEGER,
        low=11,
        high=100,
        unit="%",
        specials=("unset",),
        bites=_NOW,
        why="How busy a CPU must be before ondemand takes it to full speed: lower is sooner.",
        effect="+/+/+",
        source=_CPUFREQ,
    ),
    Setting(
        id="cpufreq:all.ondemand.sampling_rate",
        instances=_POLICIES,
        kind=Kind.TIME,
        low=10_000,
        high=1_000_000,
        unit="us",
        specials=("unset",),
        bites=_NOW,
        why="How often ondemand looks; seldom means steadier clocks and later answers to a burst.",
        effect="+/+/+",
        source=_CPUFREQ,
    ),
    Setting(
        id="cpufreq:all.ondemand.sampling_down_factor",
        instances=_POLICIES,
        kind=Kind.INTEGER,
        low=1,
        high=100,
        specials=("unset",),
        bites=_NOW,
        why="How many looks a CPU stays at full speed before ondemand thinks of slowing it down.",
        effect="+/+/+",
        source=_CPUFREQ,
    ),
    Setting(
        id="cpufreq:all.ondemand.io_is_busy",
        instances=_POLICIES,
        kind=Kind.SWITCH,
        specials=("unset",),
        bites=_NOW,
        why="Counts waiting for the disk as work; a site in the page cache doesn't wait for the disk.",
        effect="+/+/+",
        source=_CPUFREQ,
    ),
    Setting(
        id="cpufreq:all.schedutil.rate_limit_us",
        instances=_POLICIES,
        kind=Kind.TIME,
        low=0,
        high=100_000,
        unit="us",
        specials=("unset",),
        bites=_NOW,
        why="The shortest time between two changes of the clock by schedutil.",
        effect="+/~/+",
        source="Linux, Documentation/admin-guide/pm/cpufreq.rst (schedutil)",
    ),
    Setting(
        id="cpufreq:all.max_freq",
        instances=_POLICIES,
        kind=Kind.CHOICE,
        unit="kHz",
        specials=("mixed",),
        bites=_NOW,
        expert=True,
        why="A lower ceiling costs speed at once, and keeps a hot board from being slowed down at random.",
        effect="-/-/-",
        source=_CPUFREQ,
    ),
    Setting(
        id="cpufreq:all.min_freq",
        instances=_POLICIES,
        kind=Kind.CHOICE,
        unit="kHz",
        specials=("mixed",),
        bites=_NOW,
        expert=True,
        why="A higher floor spares the way up from sleep to speed; under full load a CPU is never down there.",
        effect="~/~/~",
        source=_CPUFREQ,
    ),
)

DEVFREQ = (
    Setting(
        id="devfreq:dmc.governor",
        instances=_DEVICES,
        kind=Kind.CHOICE,
        bites=_NOW,
        why="The memory's clock: at full speed always it helps whatever copies much, for about half a watt more.",
        effect="~/+/+",
        source=_DEVFREQ,
    ),
    Setting(
        id="devfreq:dmc.upthreshold",
        instances=_DEVICES,
        kind=Kind.INTEGER,
        low=5,
        high=95,
        unit="%",
        specials=("unset",),
        bites=_NOW,
        why="How busy the memory must be before its clock goes up: the vendor's 40 is late for a web server.",
        effect="~/+/+",
        source=_DEVFREQ,
    ),
    Setting(
        id="devfreq:dmc.downdifferential",
        instances=_DEVICES,
        kind=Kind.INTEGER,
        low=1,
        high=50,
        unit="%",
        specials=("unset",),
        bites=_NOW,
        expert=True,
        why="How far below the threshold the memory must fall before its clock goes down again.",
        effect="~/~/~",
        source=_DEVFREQ,
    ),
)

CPUIDLE = (
    Setting(
        id="cpuidle:deepest",
        kind=Kind.SWITCH,
        bites=_NOW,
        why="Off, no CPU takes its deepest sleep: it wakes sooner and uses more power while idle.",
        effect="+/~/~",
        source=_CPUIDLE,
    ),
)

SETTINGS = CPUFREQ + DEVFREQ + CPUIDLE
