"""A user's own site for the torture: nginx and PHP-FPM as services of the machine, with a configuration in many files."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import time
from pathlib import Path
from typing import Final

from torture_machine import SERVICES, processes

CONFIG: Final = Path("/etc/nginx")
URLS: Final = ("http://www.example.org/page.html", "http://www.example.org/index.php?p=1")
_TREES: Final = (CONFIG, Path("/var/log/nginx"), Path("/srv"))
_ANSWERS_WITHIN_S: Final = 10.0
_FILES: Final = {
    CONFIG / "nginx.conf": """\
user www-data;
worker_processes 1;   # one is enough here
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;
events {
    worker_connections 768;
}
http {
    include mime.types;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65;
    log_format main '$remote_addr "$request" $status '
                    '$body_bytes_sent "$http_user_agent"';
    access_log /var/log/nginx/access.log main;
    error_log /var/log/nginx/error.log;
    fastcgi_cache_path /var/log/nginx/cache keys_zone=pages:1m;
    include conf.d/*.conf;
    include sites-enabled/*;
}
""",
    CONFIG / "conf.d/maps.conf": """\
map $uri $kind {
    default         "page";
    "~^/a{2}/"      'twice';
}
""",
    CONFIG / "snippets/hardening.conf": """\
server_tokens off;
add_header X-Frame-Options "DENY" always;
if ($request_method !~ ^(GET|HEAD|POST)$) { return 405; }
""",
    CONFIG / "sites-available/default": """\
server {
    listen 80 default_server;
    server_name _;
    return 444;
}
""",
    CONFIG / "sites-available/example": """\
server {
    listen 80;
    server_name www.example.org;
    root /srv/example;
    include snippets/hardening.conf;
    location / { try_files $uri $uri/ =404; add_header X-Kind $kind; }
    location ~ \\.php$ {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_pass unix:/run/php/site.sock;
        sendfile off;
    }
}
""",
    Path("/srv/example/page.html"): "<html>" + "page " * 4000 + "</html>\n",
    Path("/srv/example/index.php"): "<?php echo str_repeat(md5('page'), 100);\n",
}


class Site:
    """The site of this machine of ours; `begin` makes it and starts its services."""

    def __init__(self) -> None:
        self._pool = Path("/run/php/site.conf")
        self._before = ""

    def begin(self) -> None:
        kept = {name: (CONFIG / name).read_bytes() for name in ("mime.types", "fastcgi_params")}
        for tree in _TREES:
            subprocess.run(("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(tree)), check=True)
        for name, data in kept.items():
            (CONFIG / name).write_bytes(data)
        for path, text in _FILES.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for directory in ("modules-enabled", "sites-enabled"):
            (CONFIG / directory).mkdir()
        for name in ("default", "example"):
            (CONFIG / "sites-enabled" / name).symlink_to(f"../sites-available/{name}")
        self._start_php()
        subprocess.run(("/etc/init.d/nginx", "start"), check=True, stdout=subprocess.DEVNULL)
        self._before = self._files()

    def _start_php(self) -> None:
        """A service of the site's own, which no night may touch."""
        program = next(
            path
            for path in sorted(Path("/usr/sbin").glob("php-fpm*"), reverse=True)
            if os.access(path, os.X_OK)
        )
        self._pool.parent.mkdir(exist_ok=True)
        self._pool.write_text(
            f"[global]\npid = {SERVICES[1]}\nerror_log = /run/php/site.log\n[www]\nuser = www-data\ngroup = www-data\n"
            "listen = /run/php/site.sock\nlisten.owner = www-data\npm = static\npm.max_children = 2\n"
        )
        subprocess.run((str(program), "--daemonize", "-y", str(self._pool)), check=True)

    def wrong(self) -> list[str]:
        """What is not as it was, in words: files, services, and what it answers."""
        found = (
            [] if self._files() == self._before else ["a file of the user's configuration or site differs"]
        )
        until = time.monotonic() + _ANSWERS_WITHIN_S
        while (answer := _answer()) != "200" and time.monotonic() < until:
            time.sleep(0.05)
        if answer != "200":
            found.append(f"the user's own nginx does not serve: {answer}")
        names = [one.name for one in processes(of_site=True)]
        found += [
            f"no {name} of the user's runs"
            for name in ("nginx", "php-fpm")
            if not any(name in one for one in names)
        ]
        return found

    def _files(self) -> str:
        """Names, kinds and contents of everything of the user's but logs."""
        digest = hashlib.sha256()
        for tree in (CONFIG, Path("/srv")):
            for path in sorted(tree.rglob("*")):
                seen = path.lstat()
                digest.update(f"{path} {seen.st_mode} {seen.st_uid} {seen.st_mtime_ns}\n".encode())
                if path.is_file():
                    digest.update(path.read_bytes())
        digest.update(" ".join(sorted(path.name for path in Path("/var/log/nginx").iterdir())).encode())
        return digest.hexdigest()


def _answer() -> str:
    """The status that the user's own nginx gives for its PHP page, or why there is none."""
    line = http.client.HTTPConnection("127.0.0.1", 80, timeout=5)
    try:
        line.request("GET", "/index.php?p=1", headers={"Host": "www.example.org"})
        return str(line.getresponse().status)
    except (OSError, http.client.HTTPException) as problem:
        return str(problem) or type(problem).__name__
    finally:
        line.close()
