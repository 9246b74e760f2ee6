"""An export installed where a real systemd rules: its unit, its restarts of nginx and php-fpm, and the way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import systemd_machine
from systemd_machine import SystemdMachine

from autotune.installer.exported import FORMAT
from autotune.report.export import write_files
from autotune.report.program import program_files

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]

UNIT = "autotune-settings.service"
STATE = "/var/lib/autotune/installed"
RPS = "/sys/class/net/eth0/queues/rx-0/rps_cpus"
SOMAXCONN = "/proc/sys/net/core/somaxconn"
LOOK = """
cd /
find etc ! -type d ! -path etc/machine-id | sort | while read path; do stat -c '%n %a %u %g %N' "$path"; done
find etc/nginx etc/php etc/systemd etc/sysctl.d -type f | sort | xargs sha256sum
cat /proc/sys/net/core/somaxconn /sys/class/net/eth0/queues/rx-0/rps_cpus
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[SystemdMachine]:
    """One with a card whose queues can be set, and nginx running as a service."""
    if why := systemd_machine.why_no_systemd():
        pytest.skip(why)
    with systemd_machine.a_systemd_machine(tmp_path) as made:
        made.done("mount", "-o", "remount,rw", "/sys")
        made.done("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        made.done("rm", "-f", "/etc/systemd/system/nginx.service")
        made.done("systemctl", "start", "nginx.service")
        yield made


def export(machine: SystemdMachine, *, pool: tuple[str, ...] = ()) -> None:
    settings = {
        "format": FORMAT,
        "study": "service",
        "fingerprint": "0123456789abcdef",
        "arm": "automatic",
        "board": {},
        "nic": "eth0",
        "kernel": [
            {"id": "sysctl:net.core.somaxconn", "value": 16384},
            {"id": "net:nic.rps_cpus", "value": 1},
        ],
        "config": "/etc/nginx/nginx.conf",
        "nginx": [
            {
                "context": "listen",
                "name": "backlog",
                "words": "8192",
                "first": "",
                "nested": False,
                "rest": False,
            }
        ],
        "pool": list(pool),
    }
    folder = machine.path("/run/out")
    write_files(folder, {**program_files(), "settings.json": json.dumps(settings)})


def backlogs(machine: SystemdMachine) -> set[str]:
    return {line.split()[2] for line in machine.done("ss", "-Hltn", "sport = :80").splitlines()}


def mask(machine: SystemdMachine) -> int:
    return int(machine.done("cat", RPS).replace(",", ""), 16)


def test_its_unit_sets_again_what_a_boot_forgets_and_nginx_is_restarted(machine: SystemdMachine) -> None:
    export(machine)
    before, first = machine.done("sh", "-c", LOOK), machine.show("nginx.service", "MainPID")
    assert backlogs(machine) == {"511"}
    machine.done("/run/out/install")
    assert backlogs(machine) == {"8192"}
    assert machine.show("nginx.service", "MainPID") != first
    assert machine.done("systemctl", "is-enabled", UNIT) == "enabled"
    verified = machine.run("systemd-analyze", "verify", UNIT)
    assert UNIT not in verified.stderr, verified.stderr
    assert mask(machine) == 1

    machine.write(RPS, "0")  # as a boot leaves them
    machine.write(SOMAXCONN, "4096")
    machine.done("systemctl", "start", UNIT)
    machine.done("/usr/lib/systemd/systemd-sysctl")
    assert mask(machine) == 1
    assert machine.done("cat", SOMAXCONN) == "16384"

    machine.done(f"{STATE}/uninstall")
    assert machine.done("sh", "-c", LOOK) == before
    assert backlogs(machine) == {"511"}
    assert machine.run("systemctl", "is-enabled", UNIT).returncode != 0


def test_a_card_that_is_not_there_at_boot_fails_the_unit_in_words(machine: SystemdMachine) -> None:
    export(machine)
    machine.done("/run/out/install")
    machine.done("ip", "link", "del", "eth0")
    boot = machine.run(
        "sh",
        "-c",
        f"sed -i 's/_WITHIN_S = 30.0/_WITHIN_S = 0.5/' {STATE}/program/autotune/installer/command.py; systemctl start {UNIT}",
    )
    assert boot.returncode != 0
    assert "net:nic.rps_cpus: there is no card eth0 here" in machine.journal(UNIT)
    done = machine.run(f"{STATE}/uninstall")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not list(Path("/usr/sbin").glob("php-fpm*")), reason="php-fpm is not installed")
def test_php_fpm_reads_the_pools_new_values_from_a_file_of_ours(machine: SystemdMachine) -> None:
    (version,) = (one.name for one in Path("/etc/php").iterdir() if (one / "fpm").is_dir())
    unit = f"php{version}-fpm.service"
    machine.done("mkdir", "-p", "/run/php")
    machine.done("systemctl", "start", unit)
    export(machine, pool=("pm = static", "pm.max_children = 3", "php_admin_value[realpath_cache_ttl] = 600"))
    before = machine.done("sh", "-c", LOOK)
    machine.done("/run/out/install")
    told = machine.run(f"php-fpm{version}", "-tt").stderr
    assert "pm.max_children = 3" in told
    assert machine.done("systemctl", "is-active", unit) == "active"
    children = machine.done("pgrep", "-c", "-f", "php-fpm: pool www")
    assert children == "3"
    machine.done(f"{STATE}/uninstall")
    assert machine.done("sh", "-c", LOOK) == before
