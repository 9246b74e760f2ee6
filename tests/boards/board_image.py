"""The virtual board's disk, kernel and device tree, made from Debian's packages for 64-bit Arm.

Everything lands in one directory named by a hash of all that made it. Needs root (a foreign file system is unpacked and
configured) and about three minutes; nothing of the machine's own package database is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import board_tree

SUITE: Final = "bookworm"
PACKAGES: Final = (
    "systemd-sysv", "udev", "dbus", "openssh-server", "nginx-light", "wrk", "luajit", "python3-minimal", "python3",
    "sudo", "iproute2", "kmod", "procps", "ethtool", "irqbalance", "ca-certificates",
)  # fmt: skip
MACHINE: Final = "virt-7.2,gic-version=3"
MEMORY_MIB: Final = 1024
NIC: Final = "enP4p65s0"
USERS: Final = ("plain", "admin")
"""Two users beside root: one without sudo, one with passwordless sudo."""
HOST_TOOLS: Final = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "dtc": "device-tree-compiler",
    "depmod": "kmod",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "dpkg-deb": "dpkg",
}
_BOOT_MODULES: Final = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
_MODULES: Final = (
    "arch", "crypto", "lib", "drivers/cpufreq", "drivers/virtio", "drivers/char", "drivers/thermal/broadcom",
    "drivers/clk", "drivers/hwmon", "drivers/rtc", "drivers/firmware", "drivers/block/virtio_blk.ko",
    "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "drivers/net/veth.ko", "drivers/net/dummy.ko",
    "drivers/net/ifb.ko", "drivers/net/ethernet/intel/e1000e", "net/core", "net/sched", "net/ipv4", "net/ipv6",
    "net/netfilter", "fs/ext4", "fs/jbd2", "fs/fuse", "fs/autofs", "fs/configfs", "fs/mbcache.ko", "fs/binfmt_misc.ko",
)  # fmt: skip
_GOVERNORS: Final = "cpufreq_ondemand\ncpufreq_conservative\ncpufreq_powersave\ncpufreq_userspace\n"
_MASKED: Final = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "getty.target", "dev-hugepages.mount", "dev-mqueue.mount", "systemd-pstore.service",
    "systemd-networkd-wait-online.service",
)  # fmt: skip
_INIT: Final = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs d /dev; /bin/busybox mount -t proc p /proc; /bin/busybox mount -t sysfs s /sys
while read word file; do /bin/busybox insmod $file; done < /load
n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do /bin/busybox sleep 0.1; n=$((n+1)); done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /newroot || exec /bin/busybox sh
/bin/busybox umount /sys /proc; /bin/busybox mount --move /dev /newroot/dev
exec /bin/busybox switch_root /newroot /lib/systemd/systemd
"""


def why_no_image() -> str:
    """Why this machine can't make one; "" when it can."""
    missing = sorted({package for tool, package in HOST_TOOLS.items() if shutil.which(tool) is None})
    if missing:
        return "needs " + ", ".join(missing) + " (apt-get install " + " ".join(missing) + ")"
    return "" if os.geteuid() == 0 else "needs root to unpack a foreign file system"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "autotune" / "virtual-board"


def image_key() -> str:
    """Names the image: everything that makes it, and the QEMU whose snapshot goes with it."""
    qemu = subprocess.run(("qemu-system-aarch64", "--version"), capture_output=True, text=True, check=True)
    known = hashlib.sha256(qemu.stdout.encode())
    for file in (Path(__file__), Path(board_tree.__file__)):
        known.update(file.read_bytes())
    return known.hexdigest()[:16]


def say(text: str) -> None:
    print(f"virtual-board: {text}", file=sys.stderr, flush=True)


def image() -> Path:
    """The directory of the image, made when the cache hasn't it: base.qcow2, board.{vmlinuz,initrd,dtb}, user_key."""
    place = cache() / image_key()
    place.parent.mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            if why := why_no_image():
                raise SystemExit(f"virtual-board: {why}")
            with tempfile.TemporaryDirectory(dir=cache(), prefix="making-") as made:
                _make(Path(made))
                kept = Path(made, "kept")
                kept.rename(place)
    return place


def _make(work: Path) -> None:
    kept = work / "kept"
    kept.mkdir()
    sources = _sources()
    say("the kernel's package")
    kernel, version, busybox = _kernel(work, sources)
    say("a Debian for 64-bit Arm, configured under emulation (two to three minutes)")
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "virtual-board", "-f", str(kept / "user_key"))
    root = work / "root"
    root.mkdir()
    with _foreign_programs():
        _debootstrap(work, root, sources)
    _settings(root, (kept / "user_key.pub").read_text(encoding="ascii"))
    shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", kept / "host_key.pub")
    _modules(root, kernel, version)
    say("initrd, disk, device tree")
    _initrd(work, kernel, version, busybox, kept / "board.initrd")
    shutil.copy(kernel / "boot" / f"vmlinuz-{version}", kept / "board.vmlinuz")
    raw = work / "board.raw"
    _run("truncate", "-s", "2G", str(raw))
    _run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", str(root), str(raw))
    _run(
        "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", str(raw),
        str(kept / "base.qcow2"),
    )  # fmt: skip
    _tree(work, kept / "board.dtb")


def _run(*argv: str, **more: object) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise SystemExit(f"virtual-board: {argv[0]} failed ({done.returncode}):\n{tail}")


def _told(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _sources() -> list[str]:
    """This machine's own mirrors of the suite, for the other architecture."""
    listed = _told(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"
    )
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f" signed-by={keyring}" if keyring.exists() else ""
    found = [
        f"deb [arch=arm64{signed}] {uri} {release} {component}"
        for uri, release, component in (line.split() for line in listed.splitlines())
        if component == "main" and (release == SUITE or release.startswith(SUITE + "-"))
    ]
    if not found:
        raise SystemExit(
            f"virtual-board: this machine's apt knows no mirror of Debian {SUITE} (apt-get update?)"
        )
    return list(dict.fromkeys(found))


def _kernel(work: Path, sources: list[str]) -> tuple[Path, str, Path]:
    """The unpacked kernel package, its version, and a static busybox. The cloud kernel has no cpufreq, so the generic one."""
    apt = work / "apt"
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text("\n".join(sources) + "\n", encoding="ascii")
    options = [
        f"-oAPT::{name}" for name in ("Architecture=arm64", "Architectures::=arm64", "Sandbox::User=root")
    ]
    options += [
        f"-oDir::{name}"
        for name in (
            f"State={apt}/state", f"State::status={apt}/status", f"Cache={apt}/cache",
            f"Etc::sourcelist={apt}/sources.list", "Etc::sourceparts=-",
        )
    ]  # fmt: skip
    _run("apt-get", *options, "-qq", "update")
    depends = _told("apt-cache", *options, "depends", "linux-image-arm64")
    name = next(
        line.split()[-1]
        for line in depends.splitlines()
        if line.strip().startswith("Depends:") and "linux-image-" in line
    )
    downloads = work / "downloads"
    downloads.mkdir()
    _run("apt-get", *options, "-qq", "download", name, "busybox-static", cwd=str(downloads))
    kernel, busybox = work / "kernel", work / "busybox"
    _run("dpkg-deb", "-x", str(next(downloads.glob("linux-image-*"))), str(kernel))
    _run("dpkg-deb", "-x", str(next(downloads.glob("busybox-static*"))), str(busybox))
    version = name.removeprefix("linux-image-")
    _run("depmod", "-b", str(kernel), version)
    return kernel, version, busybox / "bin/busybox"


@contextlib.contextmanager
def _foreign_programs() -> Iterator[None]:
    """The kernel runs 64-bit Arm programs meanwhile; afterwards it is as it was."""
    binfmt = Path("/proc/sys/fs/binfmt_misc")
    mounted = (binfmt / "status").exists()
    if not mounted:
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", str(binfmt))
    known = (binfmt / "qemu-aarch64").exists()
    if not known:
        _run("update-binfmts", "--enable", "qemu-aarch64")
    try:
        yield
    finally:
        if not known:
            _run("update-binfmts", "--disable", "qemu-aarch64")
        if not mounted:
            _run("umount", str(binfmt))


def _debootstrap(work: Path, root: Path, sources: list[str]) -> None:
    tar = work / "root.tar"
    _run(
        "mmdebstrap", "--mode=root", "--variant=minbase", "--architectures=arm64", f"--include={','.join(PACKAGES)}",
        '--aptopt=Acquire::Languages "none"', '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", SUITE, str(tar), *sources,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    _run("tar", "-C", str(root), "-xf", str(tar), "--exclude=./dev/*")
    tar.unlink()


def _settings(root: Path, key: str) -> None:
    """What makes it a board: a name, a network, users with the key, a journal that outlives a power cut."""
    files = {
        "etc/hostname": "rock5b\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 rock5b\n",
        "etc/fstab": "/dev/vda / ext4 rw,noatime 0 1\n",
        "etc/machine-id": hashlib.sha256(key.encode()).hexdigest()[:32] + "\n",
        "etc/modules-load.d/governors.conf": _GOVERNORS,
        "etc/systemd/network/10-nic.link": f"[Match]\nDriver=virtio_net\n[Link]\nName={NIC}\n",
        "etc/systemd/network/20-nic.network": f"[Match]\nName={NIC}\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
        "LinkLocalAddressing=no\n",
        "etc/ssh/sshd_config.d/board.conf": "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
        f"etc/sudoers.d/{USERS[1]}": f"Defaults use_pty\n{USERS[1]} ALL=(ALL) NOPASSWD: ALL\n",
    }
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")
    (root / "etc/sudoers.d" / USERS[1]).chmod(0o440)
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    for number, user in enumerate(USERS, start=1000):
        with (root / "etc/passwd").open("a", encoding="ascii") as passwd:
            passwd.write(f"{user}:x:{number}:{number}::/home/{user}:/bin/bash\n")
        with (root / "etc/group").open("a", encoding="ascii") as group:
            group.write(f"{user}:x:{number}:\n")
        with (root / "etc/shadow").open("a", encoding="ascii") as shadow:
            shadow.write(f"{user}:*:19000:0:99999:7:::\n")
    for home, owner in (
        ("root", 0),
        *((f"home/{user}", number) for number, user in enumerate(USERS, start=1000)),
    ):
        ssh = root / home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        (ssh / "authorized_keys").write_text(key, encoding="ascii")
        for one in (root / home, ssh, ssh / "authorized_keys"):
            os.chown(one, owner, owner)
        ssh.chmod(0o700)
    units = root / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).symlink_to("/dev/null")
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")


def _modules(root: Path, kernel: Path, version: str) -> None:
    """The part of the kernel's modules that the board can use: a tenth of them all."""
    source = kernel / "lib/modules" / version
    target = root / "usr/lib/modules" / version
    for name in _MODULES:
        place = source / "kernel" / name
        if place.is_dir():
            shutil.copytree(place, target / "kernel" / name, dirs_exist_ok=True)
        elif place.exists():
            (target / "kernel" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(place, target / "kernel" / name)
    for file in (*source.glob("modules.builtin*"), source / "modules.order"):
        shutil.copy(file, target / file.name)
    _run("depmod", "-b", str(root / "usr"), version)


def _initrd(work: Path, kernel: Path, version: str, busybox: Path, made: Path) -> None:
    """As little as finds the disk: Debian's own costs nine seconds of emulated boot."""
    inside = work / "initrd"
    for name in ("dev", "proc", "sys", "newroot", "m", "bin"):
        (inside / name).mkdir(parents=True)
    shutil.copy(busybox, inside / "bin/busybox")
    (inside / "init").write_text(_INIT, encoding="ascii")
    (inside / "init").chmod(0o755)
    load: list[str] = []
    for module in _BOOT_MODULES:
        for line in _told(
            "modprobe", "-d", str(kernel), "-S", version, "--show-depends", module
        ).splitlines():
            words = line.split()
            if words[:1] != ["insmod"]:
                continue
            name = Path(words[1]).name
            shutil.copy(words[1], inside / "m" / name)
            entry = f"insmod /m/{name}"
            if entry not in load:
                load.append(entry)
    (inside / "load").write_text("\n".join(load) + "\n", encoding="ascii")
    _run("sh", "-c", f"cd '{inside}' && find . | cpio -o -H newc --quiet | gzip -1 > '{made}'")


def _tree(work: Path, made: Path) -> None:
    dump, source, edited = work / "virt.dtb", work / "virt.dts", work / "board.dts"
    _run(
        "qemu-system-aarch64", "-M", f"{MACHINE},dumpdtb={dump}", "-cpu", "cortex-a76", "-smp", str(board_tree.CPUS),
        "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none",
    )  # fmt: skip
    _run("dtc", "-q", "-I", "dtb", "-O", "dts", "-o", str(source), str(dump))
    edited.write_text(board_tree.board_tree(source.read_text(encoding="ascii")), encoding="ascii")
    _run("dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(made), str(edited))
