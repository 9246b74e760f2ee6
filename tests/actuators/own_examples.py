"""Configurations as admins have them, put down in a directory and read as the agent reads them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from paper_board import BEGUN, FACTS, STUDY, readings

from autotune.actuators.discovery import Discovery, discover
from autotune.board.records import Begun, NginxFiles, Program, Reading
from autotune.experiment.study import OwnNginx, Study, Url, Workload
from autotune.space.catalogue import CATALOGUE

NGINX = "/usr/sbin/nginx"
ONLINE = "/sys/devices/system/cpu/online"
# What comes with no site of an admin: maps, conditions, quotes, tabs, CRLF, symlinks, several servers, streams.
MESSY: dict[str, str] = {
    "nginx.conf": """# Grüße vom Admin { ; }
user\twww-data;  worker_processes  2;
pid {root}/nginx.pid;
include modules-enabled/*.conf;
error_log {root}/error.log warn;
events {
\tworker_connections 300; multi_accept on;
}

http {
    include mime.conf;
    include basics/*.conf;
    include conf.d/*.conf;   # none there
    include "sites-enabled/*";
}
""",
    "mime.conf": "types { text/html html; }\r\ndefault_type application/octet-stream;\r\n",
    "basics/10-logs.conf": """log_format main '$remote_addr "$request" ; {'
                 ' "$http_user_agent"';
log_format json escape=json "{ \\"status\\": \\"$status\\" }";
map $status $loggable { ~^[23] 0; default 1; sendfile 3; }
access_log {root}/access.log main if=$loggable;
access_log {root}/json.log json buffer=32k flush=5s;
""",
    "basics/20-speed.conf": """sendfile on;tcp_nopush on;
keepalive_timeout 65 60;
server_names_hash_bucket_size 128;
types_hash_max_size 2048;
gzip on;
client_max_body_size 8m;
open_file_cache max=200 inactive=20s;
thread_pool_like_word_in_no_directive;
""".replace("thread_pool_like_word_in_no_directive;\n", ""),
    "basics/30-limits.conf": """limit_req_zone $binary_remote_addr zone=one:1m rate=1000r/s;
geo $inside { default 0; 127.0.0.0/8 1; }
split_clients "${remote_addr}x" $variant { 50% .one; * ""; }
proxy_cache_path {root}/cache levels=1:2 keys_zone=c:1m max_size=10m;
upstream backend { least_conn; server 127.0.0.1:8991; server 127.0.0.1:8992 backup; } # }
""",
    "sites-available/main": """server {
    listen 8981 default_server;
    listen [::]:8981 default_server ipv6only=on;
    server_name _;
    return 444;
}
server {
    listen 8981; listen [::]:8981;
    server_name www.example.org "~^w{1,3}\\\\d\\\\.example\\\\.org$" ;
    root {root}/www;
    sendfile off;
    client_max_body_size 1m;
    if ($request_method !~ ^(GET|HEAD)$) { return 405; }
    location ~ "^/a{2}/" { access_log off; try_files $uri ${uri}.html =404; }
    location = /quoted { return 200 'it\\'s; {fine}'; }
    location ~* \\.(jpg|png)$ { expires 30d; keepalive_timeout 5; if ($inside) { sendfile on; } error_log {root}/pics.log; }
    location /proxied/ { limit_req zone=one burst=5; proxy_cache c; proxy_pass http://backend/; }
    location / { try_files $uri $uri/ =404; }
}
""",
    "sites-available/unix": """server{listen unix:{root}/site.sock;listen 127.0.0.1:8982 backlog=100 ;access_log {root}/$host.log;location /{return 204;}}""",
}


def lay_down(root: Path, files: dict[str, str] = MESSY) -> Path:
    """Puts the files down with everything they speak of; the main file."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.replace("{root}", str(root)).encode())
    for name in ("conf.d", "modules-enabled", "sites-enabled", "www/aa"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for site in sorted((root / "sites-available").glob("*")):
        (root / "sites-enabled" / f"10-{site.name}").symlink_to(f"../sites-available/{site.name}")
    (root / "www/index.html").write_text("index\n" * 100)
    (root / "www/aa/page.html").write_text("a page\n")
    return root / "nginx.conf"


def read_own(main: Path) -> NginxFiles:
    """As the agent reads it: the names that `nginx -T` tells, their real paths and their bytes."""
    done = subprocess.run([NGINX, "-T", "-c", str(main)], capture_output=True, check=False)
    problem = "" if done.returncode == 0 else done.stderr.decode(errors="replace")
    names = re.findall(
        r"^# configuration file (.*):$", done.stdout.decode("utf-8", "surrogateescape"), re.MULTILINE
    )
    real = {name: os.path.realpath(name) for name in names}
    files = {
        path: Reading(
            text=Path(path).read_bytes().decode("utf-8", "surrogateescape"), error="", writable=True
        )
        for path in real.values()
    }
    return NginxFiles(files=files, names=real, problem=problem)


def own_study(main: Path, *urls: str) -> Study:
    load = Workload(name="own", urls=tuple(Url(target=url) for url in urls), connections=8, threads=1)
    return STUDY.model_copy(update={"server": OwnNginx(config=str(main)), "workloads": (load,)})


def own_discovery(main: Path, *urls: str) -> Discovery:
    version = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr
    board = replace(
        FACTS,
        uid=os.geteuid(),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        programs={**FACTS.programs, "nginx": Program(path=NGINX, version=version)},
    )
    online = Path(ONLINE).read_text(encoding="ascii")
    settings = tuple(setting for setting in CATALOGUE.values() if setting.family in ("nginx", "fpm"))
    study = own_study(main, *(urls or ("http://www.example.org:8981/",)))
    return discover(settings, readings(files={ONLINE: online}), board, study, own=read_own(main))


def begun_in(root: Path) -> Begun:
    (root / "night/log").mkdir(parents=True, exist_ok=True)
    return replace(BEGUN, conf_path=str(root / "night/nginx.conf"), log_dir=str(root / "night/log"))
