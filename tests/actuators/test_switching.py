"""One configuration as kernel writes, and what the kernel made of them."""

from __future__ import annotations

import pytest
from paper_board import STUDY, discovery, lines, plan

from autotune.actuators.switching import effects_of
from autotune.board.records import Effect, Write
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.space.configuration import Configuration
from autotune.space.value import Value

FOUND = discovery()


def effect(path: str, requested: str, effective: str, error: str = "") -> Effect:
    return Effect(path=path, requested=requested, effective=effective, error=error)


def test_stock_writes_nothing() -> None:
    assert plan(found=FOUND).writes == ()


@pytest.mark.parametrize(
    ("chosen", "path", "text"),
    [
        ({"sysctl:net.core.somaxconn": 8192}, "/proc/sys/net/core/somaxconn", "8192"),
        (
            {"sysctl:net.ipv4.tcp_rmem": (4096, 87_380, 67_108_864)},
            "/proc/sys/net/ipv4/tcp_rmem",
            "4096 87380 67108864",
        ),
        ({"sysctl:net.ipv4.tcp_autocorking": False}, "/proc/sys/net/ipv4/tcp_autocorking", "0"),
        ({"sysctl:vm.page-cluster": 0}, "/proc/sys/vm/page-cluster", "0"),
        ({"thp:enabled": "always"}, "/sys/kernel/mm/transparent_hugepage/enabled", "always"),
    ],
)
def test_a_kernel_value_is_one_write(chosen: dict[str, Value], path: str, text: str) -> None:
    assert plan(chosen, FOUND).writes == (Write(path=path, text=text),)


def test_a_value_that_equals_stock_is_not_written() -> None:
    assert plan({"sysctl:net.core.somaxconn": 4096, "nginx:sendfile": True}, FOUND).writes == ()


def test_nginx_values_are_no_writes_and_kernel_values_no_directives() -> None:
    both = plan({"nginx:sendfile": False, "sysctl:net.core.somaxconn": 8192}, FOUND)
    assert len(both.writes) == 1
    assert "sendfile off;" in lines(both.server.conf)
    assert "8192" not in both.server.conf


def test_rivals_cannot_both_be_set() -> None:
    assert plan({"sysctl:vm.dirty_bytes": 64 << 20}, FOUND).writes == (
        Write(path="/proc/sys/vm/dirty_bytes", text=str(64 << 20)),
    )
    assert plan({"sysctl:vm.dirty_bytes": "unset", "sysctl:vm.dirty_ratio": 30}, FOUND).writes == (
        Write(path="/proc/sys/vm/dirty_ratio", text="30"),
    )
    with pytest.raises(SettingUnsupported, match="can't both be set"):
        plan({"sysctl:vm.dirty_bytes": 64 << 20, "sysctl:vm.dirty_ratio": 30}, FOUND)


def test_a_setting_not_to_be_had_is_no_plan_and_says_why() -> None:
    with pytest.raises(SettingUnsupported, match="busy_read: this kernel has no"):
        plan({"sysctl:net.core.busy_read": 50}, FOUND)
    with pytest.raises(SettingUnsupported, match="no use over loopback"):
        plan({"sysctl:net.core.netdev_max_backlog": 2000}, FOUND)


def test_without_nginx_there_is_no_plan() -> None:
    with pytest.raises(BoardUnfit, match="can't be read"):
        plan(found=discovery(None))


def test_capstone_overrides_lie_under_every_switch() -> None:
    overrides = Configuration.of(
        {"nginx:sendfile": False, "nginx:worker_connections": 768, "sysctl:net.ipv4.tcp_fin_timeout": 30}
    )
    study = STUDY.model_copy(update={"stock": "capstone", "stock_overrides": overrides})
    found = discovery(study=study)
    stock = plan(found=found, study=study)
    assert "sendfile off;" in lines(stock.server.conf)
    assert stock.writes == (Write(path="/proc/sys/net/ipv4/tcp_fin_timeout", text="30"),)
    tuned = plan({"nginx:sendfile": True, "sysctl:net.ipv4.tcp_fin_timeout": 15}, found, study=study)
    assert "sendfile on;" in lines(tuned.server.conf)
    assert tuned.writes == (Write(path="/proc/sys/net/ipv4/tcp_fin_timeout", text="15"),)


def test_what_was_read_back_as_asked_leaves_no_doubt() -> None:
    asked = Configuration.of(
        {
            "nginx:sendfile": False,
            "sysctl:net.ipv4.tcp_rmem": (4096, 87_380, 67_108_864),
            "sysctl:net.ipv4.tcp_autocorking": False,
            "thp:enabled": "always",
        }
    )
    seen = effects_of(
        asked,
        FOUND,
        (
            effect("/proc/sys/net/ipv4/tcp_rmem", "4096 87380 67108864", "4096\t87380\t67108864"),
            effect("/proc/sys/net/ipv4/tcp_autocorking", "0", "0"),
            effect("/sys/kernel/mm/transparent_hugepage/enabled", "always", "[always] madvise never"),
        ),
    )
    assert seen.configuration == asked
    assert seen.doubts == ()
    assert seen.refused == ""


def test_a_silent_rounding_is_a_doubt_and_the_value_in_force_is_kept() -> None:
    asked = Configuration.of({"sysctl:net.core.somaxconn": 5000})
    seen = effects_of(asked, FOUND, (effect("/proc/sys/net/core/somaxconn", "5000", "8192"),))
    assert seen.configuration == Configuration.of({"sysctl:net.core.somaxconn": 8192})
    (doubt,) = seen.doubts
    assert "asked for 5000, in force is 8192" in doubt.text
    assert doubt.next


def test_a_refusal_is_told_with_the_kernels_word() -> None:
    asked = Configuration.of({"sysctl:net.ipv4.tcp_congestion_control": "bbr"})
    path = "/proc/sys/net/ipv4/tcp_congestion_control"
    seen = effects_of(asked, FOUND, (effect(path, "bbr", "cubic", "Operation not permitted"),))
    assert (
        seen.refused
        == "sysctl:net.ipv4.tcp_congestion_control: the kernel refused 'bbr': Operation not permitted"
    )
    assert seen.doubts == ()


def test_an_unreadable_read_back_is_a_refusal() -> None:
    asked = Configuration.of({"sysctl:net.core.somaxconn": 5000})
    assert (
        "somaxconn" in effects_of(asked, FOUND, (effect("/proc/sys/net/core/somaxconn", "5000", ""),)).refused
    )


def test_effects_of_other_paths_change_nothing() -> None:
    asked = Configuration.of({"nginx:sendfile": False})
    seen = effects_of(asked, FOUND, (effect("/proc/sys/net/core/somaxconn", "4096", "4096"),))
    assert seen.configuration == asked
