"""CPU and memory clocks of boards of paper."""

from __future__ import annotations

import pytest
from paper_rock import CARD, FILES, PINNED, ROCK, bare, rock

from autotune.actuators.discovery import Discovery
from autotune.actuators.switching import effects_of, plan_switch
from autotune.board.placement import place
from autotune.board.records import Begun, Effect, Write
from autotune.errors import SettingUnsupported
from autotune.space.configuration import Configuration
from autotune.space.value import Value

BEGUN = Begun(
    token="a", conf_path="/run/autotune/a/nginx.conf", www_dir="/var/lib/a", log_dir="/var/log/a", undone=()
)
ROOT = "/sys/devices/system/cpu/cpufreq"


def writes(found: Discovery, chosen: dict[str, Value]) -> list[tuple[str, str]]:
    plan = plan_switch(
        Configuration.of(chosen),
        found,
        study=PINNED,
        address="127.0.0.2",
        begun=BEGUN,
        placement=place(ROCK, PINNED.placement),
    )
    return [(write.path.removeprefix(ROOT + "/"), write.text) for write in plan.writes]


@pytest.mark.parametrize(
    ("selector", "policies"),
    [("all", (0, 4, 6)), ("big", (4, 6)), ("little", (0,)), ("policy6", (6,))],
)
def test_a_selector_writes_its_policies(selector: str, policies: tuple[int, ...]) -> None:
    id_ = f"cpufreq:{selector}.governor"
    found = rock(id_)
    assert found.missing == {}
    assert found.stock[id_] == "ondemand"
    assert "schedutil" in found.choices[id_]
    expected = [(f"policy{number}/scaling_governor", "performance") for number in policies]
    assert writes(found, {id_: "performance"}) == expected


def test_a_selector_offers_what_all_its_policies_offer() -> None:
    found = rock(
        "cpufreq:all.governor", files={f"{ROOT}/policy4/scaling_available_governors": "performance ondemand"}
    )
    assert found.choices["cpufreq:all.governor"] == ("ondemand", "performance")
    assert "offers ondemand, performance" in found.value_reason("cpufreq:all.governor", "schedutil")


def test_policies_that_differ_are_mixed_and_left_alone() -> None:
    found = rock("cpufreq:all.governor", files={f"{ROOT}/policy4/scaling_governor": "performance"})
    assert found.stock["cpufreq:all.governor"] == "mixed"
    assert found.value_reason("cpufreq:all.governor", "mixed") == ""
    assert writes(found, {"cpufreq:all.governor": "mixed"}) == []
    assert len(writes(found, {"cpufreq:all.governor": "performance"})) == 3


def test_a_tunable_of_a_governor_that_does_not_rule_is_unset() -> None:
    ids = (
        "cpufreq:policy4.governor",
        "cpufreq:policy4.ondemand.up_threshold",
        "cpufreq:policy4.schedutil.rate_limit_us",
    )
    found = rock(*ids)
    assert found.missing == {}
    assert (found.stock[ids[1]], found.stock[ids[2]]) == (80, "unset")
    assert f"{ROOT}/policy4/schedutil/rate_limit_us" not in found.kernel_paths
    assert found.value_reason(ids[2], 500) == ""


def test_governors_are_written_before_their_tunables_whatever_the_ids() -> None:
    ids = ("cpufreq:policy6.governor", "cpufreq:big.schedutil.rate_limit_us", "cpufreq:policy4.governor")
    chosen: dict[str, Value] = {ids[0]: "schedutil", ids[1]: 500, ids[2]: "schedutil"}
    assert writes(rock(*ids), chosen) == [
        ("policy4/scaling_governor", "schedutil"),
        ("policy6/scaling_governor", "schedutil"),
        ("policy4/schedutil/rate_limit_us", "500"),
        ("policy6/schedutil/rate_limit_us", "500"),
    ]


def test_a_governor_not_offered_has_no_tunables() -> None:
    files = {
        f"{ROOT}/policy{number}/scaling_available_governors": "performance ondemand" for number in (0, 4, 6)
    }
    found = rock("cpufreq:big.schedutil.rate_limit_us", files=files)
    assert found.missing == {
        "cpufreq:big.schedutil.rate_limit_us": "the governor schedutil is not offered here"
    }


def test_two_settings_of_one_policy_cannot_disagree() -> None:
    found = rock("cpufreq:all.governor", "cpufreq:policy4.governor")
    with pytest.raises(SettingUnsupported, match="both set"):
        writes(found, {"cpufreq:all.governor": "performance", "cpufreq:policy4.governor": "schedutil"})


def test_limits_are_the_frequencies_listed() -> None:
    found = rock("cpufreq:policy6.max_freq", "cpufreq:big.max_freq")
    assert found.stock["cpufreq:policy6.max_freq"] == "2304000"
    assert found.choices["cpufreq:policy6.max_freq"] == ("408000", "1200000", "1800000", "2304000")
    assert found.choices["cpufreq:big.max_freq"] == ("408000", "1200000", "1800000")
    assert found.stock["cpufreq:big.max_freq"] == "mixed"


def test_limits_are_nobodys_setting_while_the_board_is_slowed_down_by_heat() -> None:
    hot = {"/sys/class/thermal/cooling_device0/cur_state": "2\n"}
    found = rock("cpufreq:policy6.max_freq", "cpufreq:policy6.governor", files=hot)
    assert "heat (thermal-cpufreq-0)" in found.missing["cpufreq:policy6.max_freq"]
    assert "cpufreq:policy6.governor" not in found.missing


@pytest.mark.parametrize(
    "id_", ["cpufreq:all.governor", "cpufreq:big.ondemand.up_threshold", "cpufreq:policy0.min_freq"]
)
def test_a_machine_without_clocks_says_so(id_: str) -> None:
    assert "doesn't set CPU clocks" in bare(id_).missing[id_]


def test_what_is_not_on_this_board_is_said_with_what_is() -> None:
    assert (
        "it has policy0, policy4, policy6"
        in rock("cpufreq:policy1.governor").missing["cpufreq:policy1.governor"]
    )
    alike = {
        f"{ROOT}/policy0/scaling_governor": "ondemand",
        f"{ROOT}/policy0/scaling_available_governors": "ondemand",
    }
    assert "all of one kind" in bare("cpufreq:big.governor", files=alike).missing["cpufreq:big.governor"]


def test_a_pc_has_one_set_of_tunables_for_all_policies() -> None:
    files = {
        **{f"{ROOT}/policy{cpu}/scaling_governor": "ondemand\n" for cpu in range(4)},
        **{
            f"{ROOT}/policy{cpu}/scaling_available_governors": "performance ondemand schedutil\n"
            for cpu in range(4)
        },
        f"{ROOT}/ondemand/up_threshold": "95\n",
    }
    ids = (
        "cpufreq:all.ondemand.up_threshold",
        "cpufreq:policy2.ondemand.up_threshold",
        "cpufreq:all.schedutil.rate_limit_us",
    )
    found = bare(*ids, files=files)
    assert found.stock[ids[0]] == 95
    assert found.targets[ids[0]].paths == (f"{ROOT}/ondemand/up_threshold",)
    assert "say cpufreq:all" in found.missing[ids[1]]
    assert found.targets[ids[2]].paths == (f"{ROOT}/schedutil/rate_limit_us",)


def test_a_board_whose_driver_has_one_set_of_tunables_for_unequal_clusters_is_believed() -> None:
    """cpufreq-dt of a plain kernel: nobody rules by ondemand, but schedutil's tunables say where they all are."""
    files: dict[str, str | None] = dict.fromkeys(one for one in FILES if "/ondemand/" in one)
    files |= {f"{ROOT}/policy{number}/scaling_governor": "schedutil\n" for number in (0, 4, 6)}
    files[f"{ROOT}/schedutil/rate_limit_us"] = "40000\n"
    ids = ("cpufreq:all.ondemand.up_threshold", "cpufreq:policy4.ondemand.up_threshold")
    found = rock(*ids, files=files)
    assert found.targets[ids[0]].paths == (f"{ROOT}/ondemand/up_threshold",)
    assert "say cpufreq:all" in found.missing[ids[1]]


def test_the_memorys_governor_and_threshold() -> None:
    ids = (
        "devfreq:dmc.governor",
        "devfreq:dmc.upthreshold",
        "devfreq:dmc.downdifferential",
        "devfreq:gpu.governor",
    )
    found = rock(*ids)
    assert [found.stock.get(id_) for id_ in ids] == ["dmc_ondemand", 40, 20, None]
    assert "performance" in found.choices[ids[0]]
    assert "sets no clock of gpu" in found.missing[ids[3]]
    assert writes(found, {ids[0]: "simple_ondemand", ids[1]: 25}) == [
        ("/sys/class/devfreq/dmc/governor", "simple_ondemand"),
        ("/sys/class/devfreq/dmc/upthreshold", "25"),
    ]


def test_a_refused_tunable_is_told() -> None:
    id_ = "cpufreq:policy4.ondemand.up_threshold"
    path = f"{ROOT}/policy4/ondemand/up_threshold"
    seen = effects_of(
        Configuration.of({id_: 25}),
        rock(id_),
        (Effect(path=path, requested="25", effective="", error="Invalid argument"),),
    )
    assert "the kernel refused '25': Invalid argument" in seen.refused


def test_the_other_families_of_this_board() -> None:
    ids = ("cpuidle:deepest", "pcie:aspm", "block:site.read_ahead_kb", "block:mmcblk0.read_ahead_kb")
    found = rock(*ids)
    assert found.missing == {}
    assert [found.stock[id_] for id_ in ids] == [True, "powersave", 128, 128]
    off = plan_switch(
        Configuration.of({"cpuidle:deepest": False, "block:site.read_ahead_kb": 1024}),
        found,
        study=PINNED,
        address="127.0.0.2",
        begun=BEGUN,
        placement=place(ROCK, PINNED.placement),
    ).writes
    assert Write(path="/sys/block/nvme0n1/queue/read_ahead_kb", text="1024") in off
    assert [one.text for one in off if one.path.endswith("/state1/disable")] == ["1"] * 8
    assert "no use over loopback" in rock("pcie:aspm", interface="").missing["pcie:aspm"]
    none = bare(*ids)
    assert "no second way to sleep" in none.missing["cpuidle:deepest"]
    assert "no /proc/self/mountinfo" in none.missing["block:site.read_ahead_kb"]
    in_memory = {"/proc/self/mountinfo": "22 1 0:25 / / rw shared:1 - overlay overlay rw\n"}
    assert "overlay on /" in bare(*ids, files=in_memory).missing["block:site.read_ahead_kb"]
    assert CARD in " ".join(FILES)


def test_a_cpu_that_would_only_spin_keeps_its_sleep() -> None:
    state = "/sys/devices/system/cpu/cpu0/cpuidle/state"
    files = {
        f"{state}0/disable": "0",
        f"{state}0/name": "POLL\n",
        f"{state}1/disable": "0",
        f"{state}1/name": "C1\n",
    }
    assert "no second way to sleep" in bare("cpuidle:deepest", files=files).missing["cpuidle:deepest"]
    files |= {f"{state}2/disable": "0", f"{state}2/name": "C6\n"}
    assert bare("cpuidle:deepest", files=files).targets["cpuidle:deepest"].paths == (f"{state}2/disable",)
