"""settings.json as untrusted input: nothing of it becomes a command, a second line, or a file that isn't on the lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.installer.boot_files import boot_texts, head
from autotune.installer.exported import Exported, from_text
from autotune.installer.kernel import Wish, known_places

GOOD: dict[str, Any] = {
    "format": 1,
    "study": "s",
    "fingerprint": "f",
    "arm": "automatic",
    "board": {"model": "m"},
    "nic": "eth0",
    "kernel": [{"id": "thp:enabled", "value": "always"}],
    "config": "/etc/nginx/nginx.conf",
    "nginx": [
        {"context": "http", "name": "sendfile", "words": "on", "first": "", "nested": False, "rest": True}
    ],
    "pool": ["pm.max_children = 8"],
}
HOSTILE = [
    "$(id)",
    "a;b",
    "a\nb",
    "`x`",
    "a|b",
    "a b c d e f g h i j",
    "../../x",
    'a"b',
    "a'b",
    "a\\",
    "a{b}",
    "%n;",
]


def of(**changes: Any) -> Exported:
    return from_text(json.dumps({**GOOD, **changes}))


def test_a_good_one_is_read_as_it_is() -> None:
    found = of()
    assert found.families == ("thp", "nginx", "fpm")
    assert found.without(("nginx", "fpm")).families == ("thp",)


@pytest.mark.parametrize("word", HOSTILE)
def test_a_hostile_word_is_refused_wherever_it_stands(word: str) -> None:
    edit = GOOD["nginx"][0]
    for changes in (
        {"kernel": [{"id": "thp:enabled", "value": word}]} if word != "../../x" else {"nic": word},
        {"kernel": [{"id": f"sysctl:net.core.{word}", "value": 1}]},
        {"kernel": [{"id": f"net:{word}.gro", "value": True}]},
        {"nic": word},
        {"config": word},
        {"nginx": [{**edit, "name": word}]},
        {"nginx": [{**edit, "words": word}]} if word != "../../x" else {"nic": word},
        {"nginx": [{**edit, "context": word}]},
        {"pool": [f"pm.max_children = {word}"]},
        {"pool": [word]},
    ):
        with pytest.raises(ValueError, match=r"."):
            of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"kernel": [{"id": "thp:enabled", "value": None}]},
        {"kernel": [{"id": "thp:enabled", "value": -1}]},
        {"kernel": [{"id": "thp:enabled", "value": [1]}]},
        {"kernel": "x"},
        {"board": []},
        {"nginx": [{}]},
    ],
)
def test_what_is_not_of_the_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        of(**changes)


@pytest.mark.parametrize("study", ["a\nExecStart=/bin/sh", "x\\", "ü\u2028y", "a\x00b", "%n $(id)"])
def test_a_studys_name_stays_in_the_comment_that_tells_it(study: str) -> None:
    found = of(
        study=study, kernel=[{"id": "cpufreq:all.governor", "value": "performance"}], nginx=[], pool=[]
    )
    (text,) = boot_texts(found, []).values()
    assert text.splitlines()[0] == head(found)
    assert text.splitlines()[1] == "[Unit]"
    assert not head(found).endswith("\\")
    assert text.isascii()


def test_a_governor_comes_before_its_thresholds_in_the_rules_of_udev() -> None:
    found = of(
        kernel=[
            {"id": "devfreq:dmc.upthreshold", "value": 20},
            {"id": "devfreq:dmc.governor", "value": "dmc_ondemand"},
            {"id": "block:mmcblk0.read_ahead_kb", "value": 512},
            {"id": "block:site.read_ahead_kb", "value": 512},
        ],
        nginx=[],
        pool=[],
    )
    places = known_places(found)
    assert Wish("block:mmcblk0.read_ahead_kb", "/sys/block/mmcblk0/queue/read_ahead_kb", "512") in places
    (text,) = boot_texts(found, places).values()
    assert text.splitlines()[1:] == [
        'ACTION=="add|change", SUBSYSTEM=="devfreq", KERNEL=="dmc", ATTR{governor}="dmc_ondemand"',
        'ACTION=="add|change", SUBSYSTEM=="devfreq", KERNEL=="dmc", ATTR{upthreshold}="20"',
        'ACTION=="add|change", SUBSYSTEM=="block", KERNEL=="mmcblk0", ATTR{queue/read_ahead_kb}="512"',
    ]
