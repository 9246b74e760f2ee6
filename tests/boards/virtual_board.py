"""A virtual Rock 5B+: a 64-bit Arm machine under emulation that boots, reboots, heats up and loses its power.

Emulation alone (TCG): nothing measured on it says how fast anything is. It shows what is applied, read back, restored.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import board_image
import board_tree
from spawned import shot, started

HOST: Final = "virtual-board"
_BOOTS_WITHIN_S: Final = 240.0
_WARM_C: Final = 40.0
_SNAPSHOT: Final = "booted"
_NGINX_AND_SSH: Final = "systemctl is-active --quiet ssh nginx && nproc"
_SET_HEAT: Final = f"""\
import mmap, os, struct, sys
zone, tenths = int(sys.argv[1]), int(sys.argv[2])
memory = mmap.mmap(os.open("/dev/mem", os.O_RDWR | os.O_SYNC), 0x10000, offset={board_tree.SENSORS})
at = zone * {board_tree.SENSOR_STEP} + {board_tree.SENSOR_WORD}
memory[at:at + 4] = struct.pack("<I", {board_tree.VALID} | tenths)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualBoard:
    """A board that was started. `directory` holds its disk, its console's text and an ssh configuration for it."""

    directory: str
    image: str
    pid: int
    ssh_port: int
    http_port: int

    @property
    def address(self) -> str:
        """For autotune, with AUTOTUNE_SSH_CONFIG = `ssh_config`."""
        return f"ssh://root@{HOST}"

    @property
    def ssh_config(self) -> str:
        return f"{self.directory}/ssh_config"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AUTOTUNE_SSH_CONFIG": self.ssh_config}

    def ssh(self, *argv: str, user: str = "root", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command there (as ssh joins its words) over a connection of its own; about 1.5 s."""
        return subprocess.run(
            ("ssh", "-F", self.ssh_config, "-o", "ConnectTimeout=20", f"{user}@{HOST}", *argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def heat(self, zone: str, celsius: float) -> None:
        """Sets what the sensor of a zone reads, from inside, as a hot chip would."""
        number = [one.name.removesuffix("-thermal") for one in board_tree.ZONES].index(
            zone.removesuffix("-thermal")
        )
        program = "python3 -c '" + _SET_HEAT.replace("'", '"') + f"' {number} {round(celsius * 10)}"
        done = self.ssh(program)
        if done.returncode:
            raise RuntimeError(f"the sensor could not be set: {done.stderr.strip()}")

    def sync(self) -> None:
        """All that was written is on its disk."""
        self.ssh("sync")

    def power_cut(self) -> VirtualBoard:
        """Everything not on the disk is lost; the board boots again."""
        self._kill()
        return self._again()

    def _again(self) -> VirtualBoard:
        board = replace(self, pid=_qemu(self, snapshot=False))
        board.save()
        board.wait()
        return board

    def reset(self) -> None:
        """The reset button, and the boot after it."""
        with Monitor(self) as monitor:
            monitor.do("system_reset")
        time.sleep(1)
        self.wait()

    def reboot(self) -> None:
        """An orderly one, as an administrator asks for."""
        before = self._boot()
        self.ssh("systemctl", "reboot")
        until = time.monotonic() + _BOOTS_WITHIN_S
        while self._boot() in ("", before):
            if time.monotonic() > until or not self.is_alive:
                raise RuntimeError("the virtual board does not reboot")
            time.sleep(0.3)
        self.wait()

    def _boot(self) -> str:
        """The boot id; "" while nobody answers."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.ssh("cat", "/proc/sys/kernel/random/boot_id", timeout=30).stdout.strip()
        return ""

    def wait(self) -> None:
        """Returns when ssh and nginx answer, with the board's clock set. Raises RuntimeError after four minutes."""
        until = time.monotonic() + _BOOTS_WITHIN_S
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = self.ssh(f"date -s @{int(time.time())} >/dev/null && {_NGINX_AND_SSH}", timeout=30)
                if done.returncode == 0:
                    return
            if time.monotonic() > until or not self.is_alive:
                tail = Path(self.directory, "console.log").read_text(errors="replace")[-600:]
                raise RuntimeError(f"the virtual board does not come up; its console ends with:\n{tail}")
            time.sleep(0.3)

    @property
    def is_alive(self) -> bool:
        try:
            return b"qemu-system" in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _kill(self) -> None:
        if self.is_alive:
            shot(self.pid)
        until = time.monotonic() + 10
        while self.is_alive and time.monotonic() < until:
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it, and everything of it."""
        self._kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def save(self) -> None:
        Path(self.directory, "board.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


class Monitor:
    """QEMU's own line (QMP)."""

    def __init__(self, board: VirtualBoard) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(f"{board.directory}/qmp")
        self._file = self._socket.makefile("rwb")
        self._file.readline()
        self.do("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def do(self, command: str, **arguments: Any) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._file.flush()
        while True:
            answer = json.loads(self._file.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]


def why_no_board() -> str:
    """Why there can be none here; "" when there can: the image is in the cache, or can be made."""
    for program, package in (("qemu-system-aarch64", "qemu-system-arm"), ("qemu-img", "qemu-utils")):
        if shutil.which(program) is None:
            return f"needs {package} (apt-get install {package})"
    is_made = (board_image.cache() / board_image.image_key()).is_dir()
    return "" if is_made else board_image.why_no_image()


def known(directory: Path) -> VirtualBoard | None:
    """The board of this directory, running or not."""
    try:
        return VirtualBoard(**json.loads((directory / "board.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def saved(directory: Path) -> VirtualBoard | None:
    """The board of this directory, if it still runs."""
    board = known(directory)
    return board if board is not None and board.is_alive else None


def start(directory: Path, *, cold: bool = False) -> VirtualBoard:
    """A board, booted: from the snapshot in a few seconds, or `cold` from its disk. `directory` must be new."""
    image = board_image.image()
    if not cold:
        _require_snapshot(image)
    directory.mkdir(parents=True)
    if cold:
        _overlay(image, directory)
    else:
        shutil.copy(image / "booted.qcow2", directory / "run.qcow2")
        _rebase(image, directory)
    board = _new(image, directory)
    board = replace(board, pid=_qemu(board, snapshot=not cold))
    board.save()
    board.wait()
    return board


def _new(image: Path, directory: Path) -> VirtualBoard:
    ssh_port, http_port = _free_ports()
    board = VirtualBoard(
        directory=str(directory), image=str(image), pid=0, ssh_port=ssh_port, http_port=http_port
    )
    host_key = (image / "host_key.pub").read_text(encoding="ascii").split()[:2]
    (directory / "known_hosts").write_text(f"{HOST} {' '.join(host_key)}\n", encoding="ascii")
    key = directory / "user_key"
    shutil.copy(image / "user_key", key)
    key.chmod(0o600)
    Path(board.ssh_config).write_text(
        f"""Host {HOST}
    HostName 127.0.0.1
    Port {ssh_port}
    HostKeyAlias {HOST}
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile none
    BatchMode yes
""",
        encoding="ascii",
    )
    return board


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _overlay(image: Path, directory: Path) -> None:
    subprocess.run(
        ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image / "base.qcow2"), "-F", "qcow2",
         str(directory / "run.qcow2")),
        check=True,
    )  # fmt: skip


def _rebase(image: Path, directory: Path) -> None:
    subprocess.run(
        ("qemu-img", "rebase", "-q", "-u", "-b", str(image / "base.qcow2"), "-F", "qcow2",
         str(directory / "run.qcow2")),
        check=True,
    )  # fmt: skip


def _qemu(board: VirtualBoard, *, snapshot: bool) -> int:
    """Starts the emulator in a session of its own; its pid. The same devices each time: a snapshot fits no others."""
    image, directory = Path(board.image), Path(board.directory)
    with contextlib.suppress(FileNotFoundError):
        (directory / "qmp").unlink()
    heat: list[str] = []
    for number in range(len(board_tree.ZONES)):
        at = board_tree.SENSORS + number * board_tree.SENSOR_STEP + board_tree.SENSOR_WORD
        reading = board_tree.VALID | round(_WARM_C * 10)
        heat += ["-device", f"loader,addr={at:#x},data={reading:#x},data-len=4"]
    forwarded = "".join(
        f",hostfwd=tcp:127.0.0.1:{port}-:{inside}"
        for port, inside in ((board.ssh_port, 22), (board.http_port, 80))
    )
    network = f"user,id=n0,restrict=on{forwarded}"
    argv = [
        "qemu-system-aarch64", "-M", board_image.MACHINE, "-cpu", "cortex-a76", "-smp", str(board_tree.CPUS),
        "-m", str(board_image.MEMORY_MIB), "-accel", "tcg,thread=single,tb-size=256", "-nodefaults", "-display", "none",
        "-serial", f"file:{directory}/console.log", "-qmp", f"unix:{directory}/qmp,server,nowait",
        "-kernel", str(image / "board.vmlinuz"), "-initrd", str(image / "board.initrd"), "-dtb", str(image / "board.dtb"),
        "-append", "root=/dev/vda rw console=ttyAMA0 quiet panic=-1 mitigations=off nokaslr audit=0 nowatchdog",
        "-drive", f"if=none,id=d0,file={directory}/run.qcow2,format=qcow2,cache=unsafe", "-device", "virtio-blk-pci,drive=d0",
        "-netdev", network,
        "-device", "virtio-net-pci,romfile=,netdev=n0", "-object", "rng-random,id=r0,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=r0", *heat, *(("-loadvm", _SNAPSHOT) if snapshot else ()),
    ]  # fmt: skip
    with (directory / "qemu.log").open("ab") as log:
        pid = started(argv, log.fileno(), log.fileno())
    time.sleep(0.2)
    if os.waitpid(pid, os.WNOHANG)[0]:
        raise RuntimeError(
            "QEMU did not start: " + (directory / "qemu.log").read_text(errors="replace")[-400:]
        )
    return pid


def _require_snapshot(image: Path) -> None:
    """booted.qcow2 beside the image: a board that has just booted, to be copied and gone on with."""
    with (image / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (image / "booted.qcow2").exists():
            return
        print("virtual-board: a first boot, to be kept (half a minute)", file=sys.stderr, flush=True)
        directory = image / f"booting-{os.getpid()}"
        directory.mkdir()
        try:
            _overlay(image, directory)
            board = _new(image, directory)
            board = replace(board, pid=_qemu(board, snapshot=False))
            try:
                board.wait()
                board.ssh("sync; echo 3 > /proc/sys/vm/drop_caches")
                with Monitor(board) as monitor:
                    said = monitor.do("human-monitor-command", **{"command-line": f"savevm {_SNAPSHOT}"})
                    if said.strip():
                        raise RuntimeError(f"savevm: {said}")
            finally:
                board._kill()
            (directory / "run.qcow2").rename(image / "booted.qcow2")
        finally:
            shutil.rmtree(directory, ignore_errors=True)
