"""Builds of nginx through the agent, for real: made from the distribution's source, kept, run, refused, removed.

Compiled with few modules. The builds of one session are made once and bind-mounted into each test's machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from serving import begin

from autotune.board.records import BuildOrder, Built
from autotune.errors import BoardBusy, BoardUnfit, BoardUnreachable
from conftest import BoardNamespace, make_namespace

pytestmark = pytest.mark.slow

_CACHE = "/var/cache/autotune/builds"
_DROPPED = [
    "http_ssl",
    "http_stub_status",
    "http_auth_request",
    "http_v2",
    "http_dav",
    "http_slice",
    "http_addition",
    "http_flv",
    "http_gunzip",
    "http_gzip_static",
    "http_mp4",
    "http_random_index",
    "http_secure_link",
    "http_sub",
    "mail_ssl",
    "stream_ssl",
    "stream_ssl_preread",
    "stream_realip",
    "http_realip",
]
_LEFT_OUT = [
    "charset",
    "ssi",
    "userid",
    "auth_basic",
    "mirror",
    "autoindex",
    "geo",
    "split_clients",
    "referer",
    "grpc",
    "memcached",
    "limit_conn",
    "limit_req",
    "empty_gif",
    "browser",
]
_SMALL_WITHOUT = (*(f"--with-{one}_module" for one in _DROPPED), "--with-debug")
_SMALL = tuple(f"--without-http_{one}_module" for one in _LEFT_OUT)


def _order(name: str, source: str, *cflags: str, configure: tuple[str, ...] = _SMALL) -> BuildOrder:
    return BuildOrder(
        name=name,
        source=source,
        sha256="",
        cflags=cflags,
        ldflags=(),
        configure=configure,
        without=_SMALL_WITHOUT,
    )


@pytest.fixture(scope="session")
def nginx_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tarball of the installed nginx's source, fetched once by the distribution's own means."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("gcc", "make", "dpkg-source"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (scripts/setup --dev)")
    from autotune.agent import build_source
    from autotune.agent.line import Line
    from autotune.agent.workshop import StepFailed, Workshop

    directory = Path(
        tempfile.mkdtemp(dir="/var/tmp")
    )  # pytest's own can't be entered by the unprivileged user
    directory.chmod(0o755)
    ends = os.pipe()
    signals = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    }
    line = Line(ends[0], ends[1])
    shop = Workshop(str(directory), 0, line)
    try:
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        found = build_source.fetch(shop, "apt", "", nginx)
        tarball = tmp_path_factory.mktemp("nginx-source") / "nginx.tar.gz"
        with tarfile.open(tarball, "w:gz") as archive:
            archive.add(found.directory, arcname="nginx")
    except StepFailed as problem:
        pytest.skip(f"no source of nginx is to be had: {problem}")
    finally:
        shop.close()
        signal.set_wakeup_fd(-1)
        for number, handler in signals.items():
            signal.signal(number, handler)
    directory.rmdir()  # nothing of the fetching stays
    return str(tarball)


@pytest.fixture(scope="session")
def built(
    nginx_source: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, tuple[Built, ...]]]:
    """A cache with two builds that differ in their flags, and what the agent said of them."""
    kept = tmp_path_factory.mktemp("nginx-builds")
    builds: tuple[Built, ...] = ()
    for board in make_namespace():
        assert board.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/cache").returncode == 0
        with board.connect() as connection:
            for wanted in (
                _order("o1", nginx_source, "-O1"),
                _order("o3-cpu", nginx_source, "-O3", "-march={march}"),
            ):
                builds, problem = connection.make_build(wanted)
                assert problem == ""
                assert connection.make_build(wanted) == (builds, ""), "made once"
        assert "/.work-" not in board.run("find", _CACHE).stdout, "nothing of the making stays"
        assert board.run("cp", "-a", "/var/cache/autotune", str(kept)).returncode == 0
        yield kept / "autotune", builds


@pytest.fixture
def board(built: tuple[Path, tuple[Built, ...]], board_namespace: BoardNamespace) -> BoardNamespace:
    """A machine whose cache has a copy of both."""
    assert (
        board_namespace.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/cache").returncode == 0
    )
    assert board_namespace.run("cp", "-a", str(built[0]), "/var/cache/").returncode == 0
    return board_namespace


@pytest.fixture
def builds(built: tuple[Path, tuple[Built, ...]]) -> tuple[Built, ...]:
    return built[1]


def test_two_builds_differ_in_their_flags_and_keep_the_distributions_paths(builds: tuple[Built, ...]) -> None:
    plain, tuned = sorted(builds, key=lambda one: one.name)
    assert (plain.name, tuned.name) == ("o1", "o3-cpu")
    assert "-O3 -march=" in tuned.version
    assert "-O3" not in plain.version
    for one in builds:
        assert "--conf-path=/etc/nginx/nginx.conf" in one.version
        assert "--with-compat" in one.version
        assert "{march}" not in one.version
        assert one.size_bytes > 500_000
    assert plain.key != tuned.key


def test_both_serve_from_the_cache_in_turn(board: BoardNamespace, builds: tuple[Built, ...]) -> None:
    night = begin(board)
    for one in (*builds, builds[0]):
        switched = night.line.switch((), replace(night.order(), build=one.key))
        assert (switched.step, switched.reason) == ("", "")
        assert (
            board.run("readlink", f"/proc/{switched.master_pid}/exe").stdout.strip()
            == f"{_CACHE}/{one.key}/nginx"
        )
    assert night.line.switch((), night.order()).step == ""
    night.line.end()
    assert not [one for one in board.processes() if one[1] == "nginx"]


def test_a_tampered_binary_is_refused(board: BoardNamespace, builds: tuple[Built, ...]) -> None:
    path = f"{_CACHE}/{builds[0].key}/nginx"
    board.run("sh", "-c", f"printf x >> {path}")
    night = begin(board)
    with pytest.raises(BoardUnfit, match="changed since"):
        night.line.switch((), replace(night.order(), build=builds[0].key))
    with pytest.raises(BoardUnfit, match="no build"):
        night.line.switch((), replace(night.order(), build="0" * 64))
    with pytest.raises(BoardUnfit, match="no key"):
        night.line.switch((), replace(night.order(), build="../../../usr/sbin"))


def test_what_others_can_write_is_refused(board: BoardNamespace, builds: tuple[Built, ...]) -> None:
    path = f"{_CACHE}/{builds[0].key}"
    board.run("chmod", "o+w", f"{path}/nginx")
    night = begin(board)
    with pytest.raises(BoardUnfit, match="not a plain file"):
        night.line.switch((), replace(night.order(), build=builds[0].key))
    board.run("chown", "65534", path)
    with pytest.raises(BoardUnfit, match="belongs to user"):
        night.line.switch((), replace(night.order(), build=builds[0].key))


def test_a_torn_directory_is_no_build_and_goes_with_the_next_making(
    board: BoardNamespace, builds: tuple[Built, ...], nginx_source: str
) -> None:
    board.write(f"{_CACHE}/{builds[0].key}/manifest.json", '{"key": "')
    board.run("mkdir", f"{_CACHE}/.new-torn", f"{_CACHE}/.work-torn")
    with board.connect() as connection:
        assert [one.key for one in connection.builds()] == [builds[1].key]
        left, problem = connection.make_build(_order("o3-cpu", nginx_source, "-O3", "-march={march}"))
    assert (problem, [one.key for one in left]) == ("", [builds[1].key])
    assert board.run("ls", "-A", _CACHE).stdout.split() == [builds[1].key]


def test_a_build_is_removed_on_request(board: BoardNamespace, builds: tuple[Built, ...]) -> None:
    with board.connect() as connection:
        assert [one.key for one in connection.remove_build(builds[0].key)] == [builds[1].key]
        with pytest.raises(BoardUnfit, match="no build"):
            connection.remove_build(builds[0].key)
    assert not board.exists(f"{_CACHE}/{builds[0].key}")


def test_nothing_is_built_while_the_board_is_held(board: BoardNamespace, nginx_source: str) -> None:
    holder, other = begin(board).line, board.connect()
    with pytest.raises(BoardUnfit, match="holds the board"):
        holder.make_build(_order("o3", nginx_source, "-O3"))
    with pytest.raises(BoardBusy):
        other.make_build(_order("o3", nginx_source, "-O3"))


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("cflags", "-fplugin=evil"),
        ("cflags", "-B/tmp"),
        ("cflags", "@/tmp/flags"),
        ("cflags", "-O3;reboot"),
        ("ldflags", "-Wl,-rpath,/tmp"),
        ("configure", "--add-module=/tmp/evil"),
        ("configure", "--with-cc=/tmp/evil"),
        ("configure", "--prefix=/tmp"),
    ],
)
def test_words_that_name_a_file_or_a_program_are_refused(
    module_namespace: BoardNamespace, field: str, word: str
) -> None:
    fields = {"cflags": (), "ldflags": (), "configure": (), "without": (), field: (word,)}
    with module_namespace.connect() as connection, pytest.raises(BoardUnfit, match="not a word that a build"):
        connection.make_build(BuildOrder(name="bad", source="apt", sha256="", **fields))


def test_a_failing_build_says_the_step_and_the_last_lines(board: BoardNamespace, nginx_source: str) -> None:
    with board.connect() as connection:
        _, problem = connection.make_build(_order("bad", nginx_source, configure=("--with-no_such_thing",)))
    assert "configure failed" in problem
    assert "no_such_thing" in problem
    assert "/.work-" not in board.run("find", _CACHE).stdout


def test_a_tarball_that_is_not_roots_needs_its_hash(board: BoardNamespace, tmp_path: Path) -> None:
    tarball = tmp_path / "nginx.tar.gz"
    tarball.write_bytes(b"no tarball")
    os.chown(tarball, 65534, 65534)
    with board.connect() as connection:
        _, problem = connection.make_build(_order("o3", str(tarball), "-O3"))
    assert "not root's alone" in problem


@pytest.mark.parametrize("how", ["the controller goes", "the agent is killed"])
def test_a_build_that_is_cut_short_leaves_nothing(board: BoardNamespace, nginx_source: str, how: str) -> None:
    connection = board.connect()
    connection._say("builds", {"action": "make", **asdict(_order("o2", nginx_source, "-O2"))})
    until = time.monotonic() + 60
    while not any(name == "cc1" for _, name, _ in board.processes()):
        assert time.monotonic() < until, "no compiler came up"
        time.sleep(0.05)
    if how == "the agent is killed":
        agents = [pid for pid, _, line in board.processes() if "autotune" in line and "python" in line]
        for pid in agents:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    connection.close()
    with board.connect() as fresh, contextlib.suppress(BoardUnreachable):
        fresh.make_build(_order("bad", nginx_source, configure=("--with-no_such_thing",)))
    assert "/.work-" not in board.run("find", _CACHE).stdout
    names = {name for _, name, _ in board.processes()}
    assert not names & {"make", "cc1", "as", "gcc"}
