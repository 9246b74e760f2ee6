"""A board on paper: facts and readings as an agent would send them, for planning without any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autotune.actuators.discovery import Discovery, discover
from autotune.actuators.switching import SwitchPlan, plan_switch
from autotune.board.facts import BoardFacts
from autotune.board.placement import place
from autotune.board.records import Begun, Program, Reading
from autotune.experiment.study import HandTunedSequence, ManagedNginx, Placement, Study, Url, Workload
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value

DEBIAN_VERSION = """nginx version: nginx/1.22.1
configure arguments: --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf \
--with-pcre-jit --with-http_ssl_module --with-threads --with-stream=dynamic
"""
DEBIAN_CONF = """user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
include /etc/nginx/modules-enabled/*.conf;

events {
	worker_connections 768;
	# multi_accept on;
}

http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	# server_tokens off;
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	ssl_protocols TLSv1.2 TLSv1.3; # POODLE
	access_log /var/log/nginx/access.log;
	gzip on;
	include /etc/nginx/conf.d/*.conf;
	include /etc/nginx/sites-enabled/*;
}
"""
NGINX_ORG_CONF = """
user  nginx;
worker_processes  auto;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;

events {
    worker_connections  1024;
}

http {
    include       mime.types;
    default_type  application/octet-stream;

    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;
    sendfile        on;
    keepalive_timeout  65;
    include /etc/nginx/conf.d/*.conf;
}
"""
KERNEL = {
    "/proc/sys/net/core/somaxconn": "4096\n",
    "/proc/sys/net/core/netdev_max_backlog": "1000\n",
    "/proc/sys/net/core/rmem_max": "212992\n",
    "/proc/sys/net/core/rps_sock_flow_entries": "0\n",
    "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
    "/proc/sys/net/ipv4/tcp_wmem": "4096\t16384\t4194304\n",
    "/proc/sys/net/ipv4/tcp_autocorking": "1\n",
    "/proc/sys/net/ipv4/tcp_early_demux": "2\n",
    "/proc/sys/net/ipv4/tcp_fin_timeout": "60\n",
    "/proc/sys/net/ipv4/tcp_congestion_control": "cubic\n",
    "/proc/sys/net/ipv4/tcp_available_congestion_control": "reno bbr cubic\n",
    "/proc/sys/net/ipv4/tcp_allowed_congestion_control": "reno cubic\n",
    "/proc/sys/net/ipv4/tcp_notsent_lowat": "4294967295\n",
    "/proc/sys/vm/dirty_ratio": "20\n",
    "/proc/sys/vm/dirty_bytes": "0\n",
    "/proc/sys/vm/page-cluster": "3\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/sys/kernel/mm/transparent_hugepage/defrag": "always defer [madvise] never\n",
    "/sys/devices/system/cpu/online": "0-3\n",
}
BEGUN = Begun(
    token="abc",
    conf_path="/run/autotune/abc/nginx.conf",
    www_dir="/var/lib/autotune/abc/www",
    log_dir="/var/lib/autotune/abc/log",
    undone=(),
)
FACTS = BoardFacts(
    protocol=1,
    python="3.11.2",
    uid=0,
    hostname="paper",
    kernel="6.1.0",
    machine="x86_64",
    boot_id="b",
    netns="4026531840",
    cpus=(0, 1, 2, 3),
    capacity={},
    memory_bytes=8 << 30,
    open_files_limit=1 << 20,
    run_dir="/run/autotune",
    run_is_tmpfs=True,
    state_dir="/var/lib/autotune",
    state_free_bytes=10 << 30,
    programs={"nginx": Program(path="/usr/sbin/nginx", version=DEBIAN_VERSION)},
    model="a board of paper",
)
STUDY = Study(
    name="paper",
    server=ManagedNginx(files=()),
    workloads=(Workload(name="w", urls=(Url(target="/a"),), connections=16, threads=1),),
    placement=Placement.FREE,
    space=SearchSpace(title="none", parameters=()),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
)
PINNED = STUDY.model_copy(update={"placement": Placement.PINNED})


def facts(
    *, uid: int = 0, cpus: tuple[int, ...] = (0, 1, 2, 3), nginx_version: str | None = DEBIAN_VERSION
) -> BoardFacts:
    programs = (
        {} if nginx_version is None else {"nginx": Program(path="/usr/sbin/nginx", version=nginx_version)}
    )
    return replace(FACTS, uid=uid, cpus=cpus, programs=programs)


def readings(
    conf: str | None = DEBIAN_CONF,
    *,
    files: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
    read_only: tuple[str, ...] = (),
) -> dict[str, Reading]:
    """What was read: the kernel's files, the packaged configuration, and `files` beside or instead of them."""
    texts = {**KERNEL, **(files or {})}
    found = {
        path: Reading(text=text, error="", writable=path not in read_only)
        for path, text in texts.items()
        if path not in without
    }
    if conf is not None:
        found["/etc/nginx/nginx.conf"] = Reading(text=conf, error="", writable=True)
    return found


def discovery(
    conf: str | None = DEBIAN_CONF,
    *,
    study: Study = STUDY,
    facts: BoardFacts = FACTS,
    files: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
    read_only: tuple[str, ...] = (),
) -> Discovery:
    """What a board of paper offers of the whole catalogue."""
    seen = readings(conf, files=files, without=without, read_only=read_only)
    return discover(tuple(CATALOGUE.values()), seen, facts, study)


def plan(
    chosen: Mapping[str, Value] | None = None,
    found: Discovery | None = None,
    *,
    study: Study = STUDY,
    facts: BoardFacts = FACTS,
    begun: Begun = BEGUN,
    address: str = "127.0.0.2",
) -> SwitchPlan:
    return plan_switch(
        Configuration.of(chosen or {}),
        found or discovery(study=study, facts=facts),
        study=study,
        address=address,
        begun=begun,
        placement=place(facts, study.placement),
    )


def lines(conf: str) -> list[str]:
    """A configuration's lines without their indentation."""
    return [line.strip() for line in conf.splitlines()]
