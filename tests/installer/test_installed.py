"""install and uninstall for real: real nginx, real kernel values, every byte compared, and deaths in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed_board import EXPORT, KERNEL, NGINX, RMEM, SOMAXCONN, STATE, InstalledBoard, prepared

from conftest import BoardNamespace, make_namespace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]

WANTED = {SOMAXCONN: "16384", RMEM: "4096\t262144\t8388608"}


@pytest.fixture(scope="module")
def machine() -> Iterator[BoardNamespace]:
    yield from make_namespace()


@pytest.fixture(scope="module")
def made(machine: BoardNamespace) -> InstalledBoard:
    return prepared(machine)


@pytest.fixture
def board(made: InstalledBoard) -> Iterator[InstalledBoard]:
    """The same machine for every test, which each leaves as it found it."""
    if made.machine.exists(STATE):  # of a test that failed
        made.uninstall()
        made.uninstall("--forget")
    made.export()
    before = made.look()
    yield made
    assert made.look() == before
    assert made.nginx_answers() == "200"


def test_in_and_out_again_and_every_byte_is_as_it_was(board: InstalledBoard) -> None:
    before, values = board.look(), board.values()
    done = board.install()
    assert done.returncode == 0, done.stderr
    assert board.values() == WANTED
    assert board.backlogs() == {"8192"}
    assert board.nginx_answers() == "200"
    assert "net.core.somaxconn = 16384" in board.machine.read("/etc/sysctl.d/99-zz-autotune.conf")
    again = board.install()
    assert again.returncode == 0
    assert again.stdout == "This is installed already; nothing was changed.\n"
    done = board.uninstall()
    assert done.returncode == 0, done.stderr
    assert board.look() == before
    assert board.values() == values
    assert board.uninstall().stdout == "Nothing is installed.\n"


def test_the_copy_in_roots_own_place_takes_it_back_when_the_export_is_gone(board: InstalledBoard) -> None:
    assert board.install().returncode == 0
    done = board.machine.run(f"{STATE}/uninstall")
    assert done.returncode == 0, done.stderr


def test_a_dry_run_shows_the_change_of_the_users_own_files_and_changes_nothing(board: InstalledBoard) -> None:
    before = board.look()
    done = board.install("--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{SOMAXCONN}: 4096 -> 16384" in done.stdout
    assert "+\tsendfile off;" in done.stdout
    assert "+worker_rlimit_nofile 16384;  # autotune" in done.stdout
    assert "sites-available/default (tuned)" in done.stdout
    assert done.stdout.endswith("this was a dry run.\n")
    assert board.look() == before


def test_a_dry_run_needs_no_root_and_installing_does(board: InstalledBoard) -> None:
    board.export(nginx=())
    done = board.install("--dry-run", uid=65534)
    assert done.returncode == 0, done.stderr
    refused = board.install(uid=65534)
    assert refused.returncode == 4
    assert "only root can install" in refused.stderr


def test_another_board_is_refused_unless_told(board: InstalledBoard) -> None:
    board.export(board={"model": "Radxa ROCK 5B+", "machine": "aarch64", "cpus": "8"})
    refused = board.install()
    assert refused.returncode == 5
    assert "not the board it was measured on" in refused.stderr
    assert board.install("--other-board").returncode == 0
    assert board.uninstall().returncode == 0


def test_a_file_of_the_same_name_that_is_not_ours_is_refused(board: InstalledBoard) -> None:
    path = "/etc/sysctl.d/99-zz-autotune.conf"
    board.machine.write(path, "net.core.somaxconn = 1\n")
    refused = board.install()
    assert refused.returncode == 5
    assert f"{path} is there already, and not ours" in refused.stderr
    board.machine.run("rm", path)


def test_a_later_file_that_would_win_at_boot_is_refused(board: InstalledBoard) -> None:
    board.machine.write("/etc/sysctl.d/zzz.conf", "# mine\nnet.core.somaxconn=1\n")
    refused = board.install()
    assert refused.returncode == 5
    assert "/etc/sysctl.d/zzz.conf sets net.core.somaxconn at boot, behind ours" in refused.stderr
    board.machine.run("rm", "/etc/sysctl.d/zzz.conf")


def test_all_reasons_are_told_at_once_and_nothing_is_done(board: InstalledBoard) -> None:
    wrong = (
        {"id": "sysctl:net.core.nothing", "value": 1},
        {"id": "sysctl:kernel.panic", "value": 1},
        {"id": "sysctl:net.core.rmem_default", "value": 262144},  # the host's, in a network namespace
    )
    board.export(kernel=(*KERNEL, *wrong), nic="eth7")
    refused = board.install()
    assert refused.returncode == 5
    assert "no /proc/sys/net/core/nothing" in refused.stderr
    assert "kernel.* is never touched" in refused.stderr
    assert "rmem_default is read-only even for root" in refused.stderr
    assert not board.machine.exists(STATE)


def test_a_family_can_be_left_out(board: InstalledBoard) -> None:
    assert board.install("--without", "nginx").returncode == 0
    assert board.machine.run("grep", "-c", "autotune", "/etc/nginx/nginx.conf").stdout == "0\n"
    other = board.install()
    assert other.returncode == 5
    assert "another configuration is installed" in other.stderr
    assert board.uninstall().returncode == 0


def test_what_nginx_would_not_take_is_refused_before_anything_is_changed(board: InstalledBoard) -> None:
    bad = {**NGINX[0], "name": "keepalive_requests", "words": "many"}
    board.export(nginx=(*NGINX, bad))
    refused = board.install()
    assert refused.returncode == 5
    assert "nginx does not take what would be installed" in refused.stderr
    assert not board.machine.exists(STATE)


def test_an_nginx_that_no_longer_answers_rolls_everything_back(board: InstalledBoard) -> None:
    """`nginx -t` passes, and no request can be answered: the listening sockets take all connections."""
    starving = {**NGINX[1], "words": "3"}
    board.export(nginx=(starving,))
    program = board.folder / "program/autotune/installer/services.py"
    text = program.read_text()
    program.write_text(text.replace("_ANSWERS_WITHIN_S = 8.0", "_ANSWERS_WITHIN_S = 1.0"))
    values = board.values()
    done = board.install()
    program.write_text(text)
    assert done.returncode == 5, done.stdout
    assert "before, now" in done.stderr
    assert "the board is as it was" in done.stderr
    assert board.values() == values


def test_what_somebody_changed_since_is_told_and_left(board: InstalledBoard) -> None:
    assert board.install().returncode == 0
    board.machine.write(SOMAXCONN, "7777")
    done = board.uninstall()
    assert done.returncode == 0
    assert "somebody has made it 7777 since; it was 4096" in done.stdout
    assert board.machine.read(SOMAXCONN) == "7777"
    board.machine.write(SOMAXCONN, "4096")


def test_a_file_that_somebody_changed_since_is_left_with_its_original_kept(board: InstalledBoard) -> None:
    conf = "/etc/nginx/nginx.conf"
    was = board.machine.read(conf) + "\n"
    assert board.install().returncode == 0
    board.machine.run("sh", "-c", f"echo '# mine' >> {conf}")
    done = board.uninstall()
    assert done.returncode == 6
    assert f"{conf}: somebody has changed it since; its original is {STATE}/originals/" in done.stderr
    assert board.values()[SOMAXCONN] == "4096"
    board.machine.write(conf, was)
    assert board.uninstall().returncode == 0


def test_forget_changes_nothing_else(board: InstalledBoard) -> None:
    board.export(nginx=())
    assert board.install().returncode == 0
    assert board.uninstall("--forget").returncode == 0
    assert board.values() == WANTED
    board.machine.run("rm", "/etc/sysctl.d/99-zz-autotune.conf")
    for path, text in ((SOMAXCONN, "4096"), (RMEM, "4096 131072 33554432")):
        board.machine.write(path, text)


def test_the_board_that_a_night_holds_is_not_installed_on(board: InstalledBoard) -> None:
    with board.machine.connect() as connection:
        connection.begin(study="a", night=1, holder="test", lease_s=30.0)
        refused = board.install()
        assert refused.returncode == 4
        assert "this board is held by" in refused.stderr
        connection.end()
    board.machine.run("rmdir", "/var/lib/autotune")


@pytest.mark.slow
def test_an_installation_shot_at_any_moment_can_be_taken_back(board: InstalledBoard) -> None:
    """SIGKILL after each line of its record, and in between; SIGTERM takes itself back."""
    before = board.look()
    record = Path(f"/proc/{board.machine.pid}/root{STATE}/record")
    for number in range(1, 8):
        argv = board.machine.command([f"{EXPORT}/install"])
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as victim:
            until = time.monotonic() + 20
            while victim.poll() is None and time.monotonic() < until:
                if record.exists() and record.read_text().count("\n") >= number:
                    break
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL if number % 3 else signal.SIGTERM)
            victim.wait()
        done = board.uninstall()
        assert done.returncode == 0, done.stderr
        assert board.look() == before, f"shot at line {number}"


def test_half_a_file_that_a_death_left_is_removed_and_no_include_takes_it(board: InstalledBoard) -> None:
    assert board.install().returncode == 0
    half = "/etc/nginx/.nginx.conf.autotune-new"
    board.machine.write(half, "half")
    assert board.uninstall().returncode == 0
    assert not board.machine.exists(half)


def test_a_record_that_nobody_of_ours_wrote_is_not_obeyed(board: InstalledBoard) -> None:
    board.machine.run("mkdir", "-p", STATE)
    board.machine.write(f"{STATE}/record", json.dumps({"what": "run", "path": "/bin/sh"}) + "\n")
    done = board.uninstall()
    assert done.returncode == 6
    assert "line 1" in done.stderr
    board.machine.run("rm", "-r", "/var/lib/autotune")


def test_owner_and_mode_of_the_users_files_stay(board: InstalledBoard) -> None:
    conf = "/etc/nginx/nginx.conf"
    board.machine.run("chmod", "640", conf)
    board.machine.run("chown", "0:33", conf)
    assert board.install().returncode == 0
    assert board.machine.run("stat", "-c", "%a %u %g", conf).stdout == "640 0 33\n"
    assert board.uninstall().returncode == 0
    assert board.machine.run("stat", "-c", "%a %u %g", conf).stdout == "640 0 33\n"
    board.machine.run("chmod", "644", conf)
    board.machine.run("chown", "0:0", conf)


def test_paths_of_this_repository_are_not_needed(board: InstalledBoard) -> None:
    """The board has no autotune: what is shipped imports nothing from elsewhere."""
    done = board.machine.run("env", "-i", "PYTHONPATH=/nonexistent", f"{EXPORT}/install", "--dry-run")
    assert done.returncode == 0, done.stderr
