"""Users' own sites on the real thing: served by Debian's service, taken over for a night, tuned, and given back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.actuators.discovery import discover, paths_to_read
from autotune.board.placement import place
from autotune.errors import BoardUnfit
from autotune.experiment.study import (
    FitnessLimits,
    HandTunedSequence,
    OwnNginx,
    Placement,
    Study,
    Url,
    Workload,
)
from autotune.runner.live_bench import InForce, LiveBench
from autotune.runner.own_live import live_answers
from autotune.runner.session import Held
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value
from conftest import BoardNamespace

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx")]

MAIN = """# Höchst eigene Konfiguration
user www-data;
worker_processes 2;
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;
error_log /var/log/nginx/error.log notice;
events { worker_connections 400; }
http {
\tinclude mime.types;
\tinclude /etc/nginx/conf.d/*.conf;
\tinclude sites-enabled/*;
}
"""
HARDENED = {
    "nginx.conf": MAIN,
    "conf.d/10-maps.conf": """map $http_user_agent $bad { default 0; "~*(scan|x{2,})" 1; sendfile 3; }\r
geo $near { default 0; 127.0.0.0/8 1; }\r
log_format long '$remote_addr "$request" '\r
  '{$status}';\r
access_log /var/log/nginx/long.log long if=$near;\r
""",
    "conf.d/20-harden.conf": """server_tokens off; sendfile on; keepalive_timeout 20s 15;
add_header X-Frame-Options "DENY" always; # }
limit_req_zone $binary_remote_addr zone=z:1m rate=100000r/s;
""",
    "snippets/deny.conf": "location ~ /\\.(ht|git) { deny all; }\n",
    "sites-available/site": """server { listen 80 default_server; listen [::]:80 default_server; return 444; }
server {
    listen 80; server_name www.example.org;
    root /var/lib/site;
    include snippets/deny.conf;
    if ($bad) { return 403; }
    location ~ "^/a{2}/" { sendfile off; access_log /var/log/nginx/$host.log; }
    location / { limit_req zone=z burst=1000 nodelay; try_files $uri $uri.html =404; }
    location = /moved { return 301 /page.html; }
}
""",
}
PROXY = {
    "nginx.conf": MAIN,
    "conf.d/proxy.conf": """proxy_cache_path /var/cache/nginx levels=1:2 keys_zone=c:1m;
upstream app { least_conn; server 127.0.0.1:8071; server 127.0.0.1:8072 backup; }
server { listen 127.0.0.1:8071; access_log off; root /var/lib/site; }
""",
    "sites-available/site": """server {
    listen 443 ssl http2 default_server;
    server_name shop.example.org;
    ssl_certificate tls/cert.pem; ssl_certificate_key tls/key.pem;
    location / { proxy_pass http://app; proxy_cache c; proxy_cache_valid 200 1m; proxy_set_header Host $host; }
}
""",
}
WORDPRESS = {
    "nginx.conf": MAIN,
    "sites-available/site": """server {
    listen 80; server_name blog.example.org; root /var/lib/site; index index.php;
    location / { try_files $uri $uri/ /index.php?$args; }
    location ~ \\.php$ {
        include snippets/fastcgi-php.conf;
        fastcgi_pass unix:/run/blog.sock;
        fastcgi_buffers 16 16k;
    }
}
""",
}
POOL = """[global]
daemonize = yes
error_log = /var/lib/fpm.log
pid = /run/blog.pid
[blog]
user = www-data
group = www-data
listen = /run/blog.sock
listen.owner = www-data
pm = static
pm.max_children = 2
"""
_SETUP = """
mount -t tmpfs -o mode=755 tmpfs /var/cache
mkdir -p /var/lib/etc-nginx /var/lib/site/aa /var/lib/nginx-log /var/lib/nginx-cache /var/cache/nginx
cp -a /etc/nginx/. /var/lib/etc-nginx/
mount --bind /var/lib/etc-nginx /etc/nginx
mount --bind /var/lib/nginx-log /var/log/nginx
rm -f /etc/nginx/sites-enabled/*
ln -s ../sites-available/site /etc/nginx/sites-enabled/50-site
echo "It is mine." > /var/lib/site/page.html
echo "Twice a." > /var/lib/site/aa/page.html
printf '<?php echo "<p>", strlen($_SERVER["QUERY_STRING"]), "</p>";' > /var/lib/site/index.php
"""


class OwnBoard:
    """A machine whose nginx is the user's, started by its init script."""

    def __init__(self, board: BoardNamespace, files: dict[str, str]) -> None:
        self.board = board
        self.must("sh", "-ec", _SETUP)
        for name, text in files.items():
            self.must(
                "sh",
                "-ec",
                'mkdir -p "$(dirname "$2")"; printf %s "$1" > "$2"',
                "sh",
                text,
                f"/etc/nginx/{name}",
            )

    def must(self, *argv: str) -> str:
        done = self.board.run(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        self.must("/etc/init.d/nginx", "start")

    def fingerprint(self) -> str:
        return self.must(
            "sh", "-c", "find /etc/nginx/ /var/lib/site -printf '%p %m %U %s %T@ %l\\n' | sort;"
            " find /etc/nginx/ /var/lib/site -type f | sort | xargs sha256sum",
        )  # fmt: skip

    def logs(self) -> str:
        return self.must("sh", "-c", "cd /var/log/nginx; find . -type f -printf '%p %s\\n' | sort")

    def runs(self) -> bool:
        return self.board.run("/etc/init.d/nginx", "status").returncode == 0

    def hold(self, *urls: str, uid: int = 0) -> Held:
        study = study_of(*urls)
        connection = self.board.connect(uid=uid)
        begun = connection.begin(study=study.name, night=1, holder="a test", lease_s=60.0)
        settings = tuple(one for one in CATALOGUE.values() if one.family in ("nginx", "fpm"))
        server = study.server
        assert isinstance(server, OwnNginx)
        found = discover(
            settings,
            connection.read(paths_to_read(settings, study)),
            connection.facts,
            study,
            own=connection.read_nginx(server.config),
        )
        assert found.site_problem == ""
        return Held(
            connection=connection,
            study=study,
            begun=begun,
            placement=place(connection.facts, study.placement),
            discovery=found,
            live=live_answers(connection, study, found.site),
        )


def study_of(*urls: str) -> Study:
    load = Workload(name="own", urls=tuple(Url(target=url) for url in urls), connections=8, threads=1)
    return Study(
        name="own",
        server=OwnNginx(),
        workloads=(load,),
        placement=Placement.FREE,
        fitness=FitnessLimits(foreign_load=100),  # whatever else this machine does
        space=SearchSpace(title="none", parameters=()),
        hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
    )


@pytest.fixture
def board(board_namespace: BoardNamespace) -> Iterator[BoardNamespace]:
    if not Path("/etc/init.d/nginx").exists():
        pytest.skip("needs Debian's /etc/init.d/nginx")
    yield board_namespace
    board_namespace.run("/etc/init.d/nginx", "stop")


def tuned(own: OwnBoard, chosen: dict[str, Value], *urls: str) -> tuple[str, Held]:
    """Runs stock, then this configuration; what the tested nginx said of its own configuration."""
    before, logs = own.fingerprint(), own.logs()
    held = own.hold(*urls)
    assert len(held.live) == 3
    bench = LiveBench(held)
    bench.learn_truth()
    there = bench.put_in_force(Configuration.of(chosen))
    assert isinstance(there, InForce), there
    assert not own.runs()
    master = there.switched.master_pid
    seen = own.must("nsenter", "-t", str(master), "-m", "--", "nginx", "-T")
    held.give_back()
    assert own.fingerprint() == before
    assert own.runs()
    for line in logs.splitlines():
        assert line.split()[0] in own.logs()
    return seen, held


def test_a_hardened_static_site(board: BoardNamespace) -> None:
    own = OwnBoard(board, HARDENED)
    own.start()
    urls = [f"http://www.example.org/{path}" for path in ("page.html", "page", "aa/page.html?x=1")]
    chosen: dict[str, Value] = {
        "nginx:sendfile": False,
        "nginx:keepalive_timeout": 33,
        "nginx:listen.backlog": 1024,
        "nginx:worker_processes": 1,
        "nginx:access_log.buffer": 65_536,
        "nginx:tcp_nopush": True,
    }
    seen, _ = tuned(own, chosen, *urls)
    assert "keepalive_timeout 33s 15;" in seen
    assert "listen 80 default_server backlog=1024;" in seen
    assert "worker_processes 1;" in seen
    assert "sendfile on" not in seen


def test_a_proxy_with_upstreams_a_cache_and_tls(board: BoardNamespace) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    own = OwnBoard(board, PROXY)
    own.must("mkdir", "-p", "/etc/nginx/tls")
    own.must(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example.org",
        "-keyout", "/etc/nginx/tls/key.pem", "-out", "/etc/nginx/tls/cert.pem",
    )  # fmt: skip
    own.start()
    chosen: dict[str, Value] = {"nginx:upstream.keepalive": 16, "nginx:listen.reuseport": True}
    seen, _ = tuned(own, chosen, "https://shop.example.org/page.html")
    assert "keepalive 16;" in seen
    assert "listen 443 ssl http2 default_server reuseport;" in seen


def test_a_wordpress_style_site_with_its_own_php(board: BoardNamespace) -> None:
    php = sorted(Path("/usr/sbin").glob("php-fpm*"))
    if not php:
        pytest.skip("needs php-fpm (apt-get install php-fpm)")
    own = OwnBoard(board, WORDPRESS)
    board.write("/var/lib/pool.conf", POOL)
    own.must(str(php[-1]), "-y", "/var/lib/pool.conf")
    own.start()
    chosen: dict[str, Value] = {"nginx:fastcgi_buffers.number": 32, "nginx:tcp_nodelay": False}
    seen, held = tuned(own, chosen, "http://blog.example.org/?p=17", "http://blog.example.org/page.html")
    assert "fastcgi_buffers 32 16k;" in seen or "fastcgi_buffers 32" in seen
    assert "isn't changed" in held.discovery.missing["fpm:max_children"]


CACHED = {
    **WORDPRESS,
    "conf.d/cache.conf": """fastcgi_cache_path /var/cache/nginx keys_zone=pages:1m;
fastcgi_cache_key $request_uri; fastcgi_cache pages; fastcgi_cache_valid 200 10m;
""",
}


def test_a_page_that_the_live_server_has_in_its_cache(board: BoardNamespace) -> None:
    """The night's cache is empty, so its page is another of about the same length."""
    php = sorted(Path("/usr/sbin").glob("php-fpm*"))
    if not php:
        pytest.skip("needs php-fpm (apt-get install php-fpm)")
    own = OwnBoard(board, CACHED)
    board.write("/var/lib/pool.conf", POOL)
    board.write("/var/lib/site/index.php", '<?php echo str_repeat("page ", 200), microtime(true);')
    own.must(str(php[-1]), "-y", "/var/lib/pool.conf")
    own.start()
    tuned(own, {"nginx:tcp_nodelay": False}, "http://blog.example.org/", "http://blog.example.org/page.html")


def test_a_url_that_leads_elsewhere_is_refused_in_the_evening(board: BoardNamespace) -> None:
    own = OwnBoard(board, HARDENED)
    own.start()
    with pytest.raises(BoardUnfit, match="moved answers 301, not 200") as caught:
        own.hold("http://www.example.org/page.html", "http://www.example.org/moved")
    assert "curl" in (caught.value.hint or "")
    assert own.runs()


def test_without_a_live_server_stock_is_the_truth(board: BoardNamespace) -> None:
    own = OwnBoard(board, HARDENED)
    before = own.fingerprint()
    held = own.hold("http://www.example.org/page.html")
    assert held.live == ()
    LiveBench(held).learn_truth()
    held.give_back()
    assert own.fingerprint() == before
    assert not own.runs()
