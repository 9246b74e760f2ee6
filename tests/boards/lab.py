"""A lab: three machines on one, a board and a load host with an sshd each, and a client, each with a cable to one switch.

Each is a network and a mount namespace with a /run, a /sys and a /var/lib of its own; they share the kernel, so vm.* and
transparent huge pages are this machine's. Nothing of it is seen from outside, and nothing is left of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from spawned import shot, started

ADDRESS = "ssh://root@board"
"""The board as the client's ssh configuration names it."""
LOAD_ADDRESS = "ssh://root@load"
"""Likewise the load host, which reaches the board by its IP address alone."""
BOARD_IP, CLIENT_IP, LOAD_IP = "10.211.0.1", "10.211.0.2", "10.211.0.3"
_NAMESPACE = """
set -e
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mount -t tmpfs -o mode=755,size=2g tmpfs /var/lib
mkdir -p /var/lib/nginx /run/user /run/sshd /run/sys-fs
mount --rbind /sys/fs /run/sys-fs
mount -t sysfs sysfs /sys
mount --rbind /run/sys-fs /sys/fs
umount -l /run/sys-fs
ip link set lo up
"""
USERS = ("plain", "admin")
"""Two users of board and load host beside root: one without sudo, one whose sudo asks for nothing."""
# /etc and /usr/local are copied on write, so that what is installed there is that machine's alone.
_SSH_HOST = """
for name in etc usr/local; do
    mkdir -p /run/over/$name/up /run/over/$name/work
    mount -t overlay -o lowerdir=/$name,upperdir=/run/over/$name/up,workdir=/run/over/$name/work overlay /$name
done
number=61000
for name in plain admin; do
    number=$((number + 1))
    echo "$name:x:$number:$number::/run/home/$name:/bin/bash" >> /etc/passwd
    echo "$name:x:$number:" >> /etc/group
    echo "$name:*:19000:0:99999:7:::" >> /etc/shadow
    mkdir -p /run/home/$name && chown $number:$number /run/home/$name
done
if [ -d /etc/sudoers.d ]; then
    printf 'Defaults use_pty\nadmin ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/lab
    chmod 440 /etc/sudoers.d/lab
fi
"""
_SWITCH = """
set -e
ip link add switch type bridge
ip link set switch up
"""
_KEEP = "echo ready\nexec sleep 1000000\n"
_STARTS_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A lab that is up. The pids keep the namespaces alive; `directory` holds keys and configurations."""

    board_pid: int
    client_pid: int
    load_pid: int
    switch_pid: int
    sshd_pid: int
    load_sshd_pid: int
    directory: str

    @property
    def on_board(self) -> tuple[str, ...]:
        """Put before an argv to run it on the board."""
        return _inside(self.board_pid)

    @property
    def on_client(self) -> tuple[str, ...]:
        """Put before an argv to run it on the client, where `ssh board` and `ssh load` lead to the other two."""
        return _inside(self.client_pid)

    @property
    def on_load(self) -> tuple[str, ...]:
        """Put before an argv to run it on the load host."""
        return _inside(self.load_pid)

    def run(
        self, where: tuple[str, ...], *argv: str, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on a machine of the lab and waits for it; its exit code is the caller's to judge."""
        return subprocess.run([*where, *argv], capture_output=True, text=True, timeout=timeout, check=False)

    def cable(self, state: str) -> None:
        """Pulls the client's cable ("down") or plugs it in again ("up"); both other machines are behind it."""
        self._set_link(self.on_client, state)

    def load_cable(self, state: str) -> None:
        """Likewise the load host's cable."""
        self._set_link(self.on_load, state)

    def _set_link(self, where: tuple[str, ...], state: str) -> None:
        done = self.run(where, "ip", "link", "set", "eth0", state)
        assert done.returncode == 0, done.stderr

    def processes(self) -> list[int]:
        """Every process on any of the machines, keepers too."""
        keepers = (self.board_pid, self.client_pid, self.load_pid, self.switch_pid)
        mounts = {Path(f"/proc/{pid}/ns/mnt").readlink() for pid in keepers}
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "ns/mnt").readlink() in mounts:
                    found.append(int(entry.name))
        return found

    def down(self) -> None:
        """Ends everything in it, and its directory."""
        for pid in sorted(self.processes(), reverse=True):
            shot(pid)
        shutil.rmtree(self.directory, ignore_errors=True)

    def save(self) -> None:
        Path(self.directory, "lab.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def saved(directory: Path) -> Lab | None:
    """The lab whose directory this is, if its machines still run."""
    try:
        lab = Lab(**json.loads(Path(directory, "lab.json").read_text(encoding="utf-8")))
        for pid in (lab.board_pid, lab.client_pid, lab.load_pid, lab.switch_pid):
            os.kill(pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return lab


def why_no_lab() -> str:
    """Why this machine can hold no lab; "" when it can."""
    if os.geteuid() != 0:
        return "needs root for network and mount namespaces"
    missing = [
        f"{program} ({package})"
        for program, package in (
            ("/usr/sbin/sshd", "openssh-server"),
            ("ssh", "openssh-client"),
            ("ssh-keygen", "openssh-client"),
            ("ip", "iproute2"),
            ("unshare", "util-linux"),
        )
        if shutil.which(program) is None
    ]
    if missing:
        return "needs " + ", ".join(missing)
    tried = subprocess.run(
        ("unshare", "--mount", "--net", "true"), capture_output=True, text=True, check=False
    )
    return tried.stderr.strip() if tried.returncode else ""


def up(directory: Path) -> Lab:
    """A lab with its sshd answering. `directory` must be empty and root's; it goes with the lab."""
    _write_keys(directory)
    ssh_host = (
        _NAMESPACE + _SSH_HOST + f"install -m 644 '{directory}/user_key.pub' /run/authorized_keys\n" + _KEEP
    )
    switch, board, load = _machine(_SWITCH + _KEEP), _machine(ssh_host), _machine(ssh_host)
    client = _machine(_NAMESPACE + f"mount --bind '{directory}/ssh_config' /etc/ssh/ssh_config\n" + _KEEP)
    for port, (machine, ip) in enumerate(((board, BOARD_IP), (client, CLIENT_IP), (load, LOAD_IP))):
        _plug_in(switch, f"port{port}", machine, ip)
    lab = Lab(
        board_pid=board,
        client_pid=client,
        load_pid=load,
        switch_pid=switch,
        sshd_pid=_sshd(directory, board, BOARD_IP),
        load_sshd_pid=_sshd(directory, load, LOAD_IP),
        directory=str(directory),
    )
    lab.save()
    for host in ("board", "load"):
        _wait_for_ssh(lab, host)
    return lab


def _plug_in(switch: int, port: str, machine: int, ip: str) -> None:
    """A cable from the machine's eth0 to a port of the switch."""
    for where, argv in (
        (switch, ("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(machine))),
        (switch, ("ip", "link", "set", port, "master", "switch", "up")),
        (machine, ("ip", "address", "add", f"{ip}/24", "dev", "eth0")),
        (machine, ("ip", "link", "set", "eth0", "up")),
    ):
        subprocess.run([*_inside(where), *argv], check=True)


def _sshd(directory: Path, machine: int, ip: str) -> int:
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config"), "-o", f"ListenAddress={ip}"]
    with (directory / "sshd.log").open("ab") as log:
        return started([*_inside(machine), *argv], log.fileno(), log.fileno())


def _machine(script: str) -> int:
    """The process that keeps a machine's namespaces alive."""
    read, write = os.pipe()
    try:
        keeper = started(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script], write
        )
    finally:
        os.close(write)
    with os.fdopen(read, encoding="ascii") as told:
        if told.readline() != "ready\n":
            raise RuntimeError("a machine of the lab did not start")
    return keeper


def _write_keys(directory: Path) -> None:
    for name in ("host_key", "user_key"):
        subprocess.run(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)), check=True
        )
    host = (directory / "host_key.pub").read_text(encoding="utf-8").split()[:2]
    (directory / "known_hosts").write_text(f"board,load {' '.join(host)}\n", encoding="utf-8")
    (directory / "sshd_config").write_text(
        f"""Port 22
HostKey {directory}/host_key
AuthorizedKeysFile /run/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
DenyUsers nobody
MaxStartups 100
""",
        encoding="utf-8",
    )
    (directory / "ssh_config").write_text(
        f"""Host board
    HostName {BOARD_IP}
    HostKeyAlias board
Host load
    HostName {LOAD_IP}
    HostKeyAlias load
Host board load
    IdentityFile {directory}/user_key
    IdentitiesOnly yes
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile none
""",
        encoding="utf-8",
    )


def _wait_for_ssh(lab: Lab, host: str) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while True:
        done = lab.run(lab.on_client, "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", host, "true")
        if done.returncode == 0:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"sshd of the lab's {host} does not answer: {done.stderr.strip()}")
        time.sleep(0.1)


def _inside(pid: int) -> tuple[str, ...]:
    return ("nsenter", "-t", str(pid), "-m", "-n", f"--wd={Path.cwd()}", "--")


@contextlib.contextmanager
def a_lab(directory: Path) -> Iterator[Lab]:
    """A lab for as long as the block runs."""
    lab = up(directory)
    try:
        yield lab
    finally:
        lab.down()
