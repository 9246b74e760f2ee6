"""What the catalogue sets of a card that is no file, through the agent's own list."""

from __future__ import annotations

import pytest

from autotune.actuators import net
from autotune.actuators.wording import kernel_text
from autotune.agent.allowed import check_path, check_readable, check_write
from autotune.agent.faults import Fault
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting

WORDS = [
    one
    for one in CATALOGUE.values()
    if one.family == "net" and not net.paths_to_read(one, "card0")[0].startswith("/")
]


def path_of(setting: Setting, device: str = "card0") -> str:
    [path] = net.paths_to_read(setting, device)
    return path


def write(path: str, text: str) -> None:
    check_write(path, text, memory_bytes=1 << 30, originals={})


def extremes(setting: Setting) -> list[str]:
    if setting.kind is Kind.SWITCH:
        return ["on", "off"]
    if setting.low is None or setting.high is None:
        return list(setting.choices)
    return [kernel_text(setting, int(setting.low)), kernel_text(setting, int(setting.high))]


def test_there_are_such_words() -> None:
    assert {one.part for one in WORDS} == {"qdisc", "rx_usecs", "tx_usecs", "gro", "gso", "tso"}


@pytest.mark.parametrize("setting", WORDS, ids=lambda setting: str(setting.id))
def test_the_agent_takes_every_extreme(setting: Setting) -> None:
    for device in ("card0", "enP4p65s0", "eth0.5", "br-lan_1", "w" * 15):
        path = path_of(setting, device)
        assert check_readable(path) == path
        check_path(path)
        for text in extremes(setting):
            write(path, text)


@pytest.mark.parametrize("setting", WORDS, ids=lambda setting: str(setting.id))
@pytest.mark.parametrize(
    "text",
    ["", " ", "htb", "default fq", "custom fq", "ON", "1;2", "on\n", "-1", "01", "10000", "fq limit 1", "é"],
)
def test_the_agent_refuses_other_texts(setting: Setting, text: str) -> None:
    with pytest.raises(Fault, match=r"not a value|characters"):
        write(path_of(setting), text)


@pytest.mark.parametrize("setting", WORDS, ids=lambda setting: str(setting.id))
@pytest.mark.parametrize(
    "device", ["lo", "", "..", "-x", "eth0:1", "a/b", "a b", "a;b", "$(id)", "w" * 16, "é", "eth0\n", "*"]
)
def test_the_agent_refuses_what_is_no_card(setting: Setting, device: str) -> None:
    path = path_of(setting).replace("card0", device)
    for check in (check_path, check_readable):
        with pytest.raises(Fault, match="is not on the agent's list"):
            check(path)


@pytest.mark.parametrize(
    "path",
    [
        "tc:eth0/ingress",
        "tc:eth0",
        "tc:eth0/root/",
        "ethtool:eth0/speed",
        "ethtool:eth0/wol",
        "netsh:eth0/root",
    ],
)
def test_the_agent_refuses_other_words(path: str) -> None:
    with pytest.raises(Fault):
        check_path(path)
