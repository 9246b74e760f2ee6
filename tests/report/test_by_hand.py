"""What an export has no file for is told with its command: complete, harmless, and readable by a shell."""

from __future__ import annotations

import subprocess

import pytest

from autotune.errors import SettingUnsupported
from autotune.experiment.events import Event, Proposal
from autotune.report.by_hand import by_hand_lines, is_by_hand
from autotune.report.export import NGINX_FILE, PROVENANCE_FILE, export_files
from autotune.report.nginx_snippet import nginx_text
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value
from night_example import a_night, a_study

BY_HAND = [id_ for id_ in CATALOGUE if is_by_hand(id_)]


def a_value(setting: Setting) -> Value:
    if setting.kind is Kind.SWITCH:
        return True
    if setting.kind is Kind.CPU_MASK:
        return 0b1101
    if setting.kind is Kind.CHOICE:
        return setting.choices[0] if setting.choices else "performance"
    return int(setting.low or 1)


@pytest.mark.parametrize("id_", BY_HAND)
def test_every_such_setting_of_the_catalogue_has_its_line(id_: str) -> None:
    comment, command = by_hand_lines({id_: a_value(CATALOGUE[id_])}, {})
    assert comment.startswith(f"# {id_} = ")
    assert "own documentation" not in command
    checked = subprocess.run(["sh", "-n"], input=command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_what_has_a_file_has_no_line() -> None:
    assert by_hand_lines({"nginx:sendfile": True, "thp:enabled": "always"}, {}) == []


def test_the_governor_and_the_interrupts_are_written_out() -> None:
    lines = by_hand_lines(
        {"cpufreq:policy4.governor": "performance", "irq:nic.affinity": 0b11},
        {"cpufreq:policy4.governor": "ondemand", "irq:nic.affinity": "as found"},
    )
    assert lines == [
        "# cpufreq:policy4.governor = performance (was ondemand)",
        (
            "for file in /sys/devices/system/cpu/cpufreq/policy4/scaling_governor;"
            " do echo performance | sudo tee $file; done"
        ),
        "# irq:nic.affinity = 0,1 (was as found)",
        (
            "# for each interrupt N of the load's network card in /proc/interrupts:"
            " echo 0,1 | sudo tee /proc/irq/N/smp_affinity_list"
        ),
    ]


def test_a_word_that_could_do_harm_is_never_written() -> None:
    for word in ("$(id)", "a;b", "a\nb", "`x`", "a|b"):
        with pytest.raises(SettingUnsupported):
            by_hand_lines({"cpufreq:all.governor": word}, {})


def with_winner(values: dict[str, Value]) -> list[Event]:
    """A night whose winner is another configuration, in its proposal and wherever it was measured."""
    study = a_study()
    log = a_night(study)
    winner = next(one for one in log if isinstance(one, Proposal) and len(one.configuration) > 3)
    old, new = winner.configuration, Configuration.of(values)
    return [
        event.model_copy(update={"configuration": new})
        if getattr(event, "configuration", None) == old
        else event
        for event in log
    ]


def test_an_export_lists_them_and_claims_nothing() -> None:
    values: dict[str, Value] = {
        "cpufreq:all.governor": "performance",
        "nginx:sendfile": False,
        "fpm:max_children": 8,
    }
    files = export_files(a_study(), with_winner(values))
    assert set(files) == {NGINX_FILE, PROVENANCE_FILE}
    text = files[PROVENANCE_FILE]
    assert "nothing here installs it" in text
    assert "scaling_governor" in text
    assert "pm.max_children = 8" in text
    assert "max_children" not in files[NGINX_FILE]


def test_fastcgi_directives_and_the_upstream_are_in_the_snippet() -> None:
    text = nginx_text(
        {
            "nginx:fastcgi_buffers.number": 16,
            "nginx:fastcgi_keep_conn": True,
            "nginx:fastcgi_busy_buffers_size": "auto",
            "nginx:upstream.keepalive": 8,
        },
        {"nginx:fastcgi_buffers.size": 4096, "nginx:fastcgi_buffers.number": 8},
    )
    assert "fastcgi_buffers 16 4k;" in text
    assert "fastcgi_keep_conn on;" in text
    assert "# remove fastcgi_busy_buffers_size" in text
    assert "# in the upstream block of php-fpm: keepalive 8;" in text
