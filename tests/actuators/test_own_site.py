"""The user's own configuration: read, edited at known places, taken by the real nginx and by the agent's own rules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from own_examples import MESSY, NGINX, begun_in, lay_down, own_discovery, read_own

from autotune.actuators.discovery import Discovery
from autotune.actuators.own_tree import Edits, OwnTree, parse
from autotune.actuators.site import ServerPlan, Site
from autotune.agent import own_conf
from autotune.board.placement import CpuPlacement
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx")]
FREE = CpuPlacement(server=(), generator=())


def site_of(found: Discovery) -> Site:
    assert found.site is not None, found.site_problem
    return found.site


def planned(
    found: Discovery, root: Path, chosen: dict[str, Value] | None = None, placement: CpuPlacement = FREE
) -> ServerPlan:
    return site_of(found).plan(chosen or {}, address="127.0.0.1", begun=begun_in(root), placement=placement)


def texts(plan: ServerPlan) -> dict[str, str]:
    return {Path(edit.path).name: edit.text for edit in plan.edits}


def taken(plan: ServerPlan, root: Path) -> None:
    """The agent lets the edits through, and nginx takes them when they stand in the files' places."""
    night = root / "night"
    frame = own_conf.Frame(str(night), str(night), str(night / "nginx.pid"), str(night / "log/error.log"), 0)
    edits = {edit.path: edit.text for edit in plan.edits}
    own_conf.check_edits(plan.conf_path, edits, frame)
    before = {path: Path(path).read_bytes() for path in edits}
    try:
        for path, text in edits.items():
            Path(path).write_bytes(text.encode("utf-8", "surrogateescape"))
        done = subprocess.run(
            [NGINX, "-t", "-c", plan.conf_path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        for path, data in before.items():
            Path(path).write_bytes(data)


def extremes(setting: Setting) -> list[Value]:
    plain: list[Value] = []
    if setting.kind is Kind.SWITCH:
        plain = [True, False]
    elif setting.kind is Kind.CPU_MASK:
        plain = [1]
    elif setting.low is not None and setting.high is not None:
        plain = [int(setting.low), int(setting.high)]
    return [*plain, *setting.choices, *setting.specials]


def test_without_edits_every_file_is_as_it_was(tmp_path: Path) -> None:
    read = read_own(lay_down(tmp_path))
    assert read.problem == ""
    tree = OwnTree.of(
        str(tmp_path / "nginx.conf"), {path: one.text or "" for path, one in read.files.items()}, read.names
    )
    assert Edits(tree).texts() == {}
    opened = {one.directive.path for one in tree.walk()}
    assert opened == set(read.files)


def test_only_edited_directives_differ(tmp_path: Path) -> None:
    main = lay_down(tmp_path)
    plan = planned(own_discovery(main), tmp_path, {"nginx:keepalive_timeout": 30})
    for edit in plan.edits:
        old, new = Path(edit.path).read_bytes().decode(), edit.text
        assert old.count("\n") == new.count("\n")
        assert old.count("#") == new.count("#")
    speed = texts(plan)["20-speed.conf"]
    original = (tmp_path / "basics/20-speed.conf").read_text()
    assert speed == original.replace("keepalive_timeout 65 60", "keepalive_timeout 30s 60")
    assert "keepalive_timeout 30s; if" in texts(plan)["main"]
    assert "mime.conf" not in texts(plan)


def test_stock_is_what_the_configuration_says(tmp_path: Path) -> None:
    stock = own_discovery(lay_down(tmp_path)).stock
    assert stock["nginx:worker_processes"] == 2
    assert stock["nginx:worker_connections"] == 300
    assert stock["nginx:multi_accept"] is True
    assert stock["nginx:sendfile"] is True
    assert stock["nginx:keepalive_timeout"] == 65
    assert stock["nginx:client_max_body_size"] == 8 << 20
    assert stock["nginx:open_file_cache"] == 200
    assert stock["nginx:access_log.buffer"] == "unset"
    assert stock["nginx:upstream.keepalive"] == "off"


def test_speed_is_set_wherever_it_stands_but_in_conditions(tmp_path: Path) -> None:
    found = own_discovery(lay_down(tmp_path))
    plan = planned(found, tmp_path, {"nginx:sendfile": False, "nginx:client_max_body_size": 1 << 20})
    site = texts(plan)["main"]
    assert "    sendfile off;\n" in site
    assert "if ($inside) { sendfile on; }" in site  # stands inside `if` and stays
    assert "client_max_body_size 1m;\n" in site
    assert "sendfile off;tcp_nopush on;" in texts(plan)["20-speed.conf"]
    assert "sendfile 3;" in texts(plan)["10-logs.conf"]  # a word of a map
    notes = " ".join(site_of(found).left_out)
    assert "inside `if`" in notes
    assert "client_max_body_size" in notes


def test_logs_go_to_the_night_with_their_formats_and_conditions(tmp_path: Path) -> None:
    plan = planned(own_discovery(lay_down(tmp_path)), tmp_path, {"nginx:access_log.buffer": 65_536})
    logs = texts(plan)["10-logs.conf"]
    night = tmp_path / "night/log"
    assert f"access_log {night}/access.log main buffer=64k if=$loggable;" in logs
    assert f"access_log {night}/access-1.log json buffer=64k;" in logs
    assert "access_log off;" in texts(plan)["main"]
    taken(plan, tmp_path)
    for text in texts(plan).values():
        assert f"{tmp_path}/json.log" not in text
        assert f"{tmp_path}/access.log" not in text


@pytest.mark.parametrize("id_", sorted(one.id for one in CATALOGUE.values() if one.family == "nginx"))
def test_every_extreme_is_taken_by_the_agent_and_by_nginx(tmp_path: Path, id_: str) -> None:
    found = own_discovery(lay_down(tmp_path))
    if reason := found.missing.get(id_):
        pytest.skip(reason)
    for value in extremes(CATALOGUE[id_]):
        if found.value_reason(id_, value):
            continue
        chosen = {id_: value}
        if id_ == "nginx:access_log.flush":
            chosen["nginx:access_log.buffer"] = 65_536
        try:
            plan = planned(found, tmp_path, chosen)
        except SettingUnsupported:
            continue  # said in words
        taken(plan, tmp_path)


def test_sockets_and_their_options(tmp_path: Path) -> None:
    found = own_discovery(lay_down(tmp_path))
    plan = planned(found, tmp_path, {"nginx:listen.backlog": 4096, "nginx:listen.reuseport": True})
    assert {(one.address, one.port) for one in plan.listen} == {
        ("0.0.0.0", 8981),
        ("::", 8981),
        ("127.0.0.1", 8982),
    }
    assert "listen 8981 default_server backlog=4096 reuseport;" in texts(plan)["main"]
    assert "listen 8981; listen [::]:8981;" in texts(plan)["main"]
    assert "listen 127.0.0.1:8982 backlog=4096 reuseport;" in texts(plan)["unix"]
    assert plan.workers == 2
    taken(plan, tmp_path)


def test_addresses_take_turns_only_where_each_leads_to_the_same(tmp_path: Path) -> None:
    main = lay_down(tmp_path)
    assert len(site_of(own_discovery(main)).addresses) == 32
    assert site_of(own_discovery(main, "http://x.example.org:8982/")).addresses == ("127.0.0.1",)
    assert site_of(own_discovery(main, "http://127.0.0.1:8981/")).addresses == ("127.0.0.1",)
    refused = own_discovery(main, "http://127.0.0.9:8981/")
    assert "is not at 127.0.0.1" in refused.site_problem


def test_workers_stay_on_the_servers_cpus(tmp_path: Path) -> None:
    main = lay_down(tmp_path)
    main.write_text("worker_cpu_affinity auto;\n" + main.read_text())
    placement = CpuPlacement(server=(0, 1), generator=())
    plan = planned(own_discovery(main), tmp_path, placement=placement)
    assert "worker_cpu_affinity auto 11;" in texts(plan)["nginx.conf"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http {\n content_by_lua_block { x = '}' ", "nginx.conf:2: a block of Lua that never ends"),
        ("http {\n  server {", "nginx.conf:2: it ends in the middle"),
        ("a 'b", "nginx.conf:1: a ' that never ends"),
        ("}", "unexpected }"),
        (";", "unexpected ;"),
        ("a 'b'c;", "unexpected 'c'"),
    ],
)
def test_what_cannot_be_read_is_said_with_file_and_line(text: str, said: str) -> None:
    with pytest.raises(BoardUnfit, match="your nginx configuration can't be read") as caught:
        parse(text, "/etc/nginx/nginx.conf")
    assert said in caught.value.message


def test_words_are_as_nginx_reads_them() -> None:
    text = r"""a "b\"c;" 'd\'e' f\;g h#i ${j}k l"m $n{ o \ p; } # }
q"""
    one = parse(text + ";", "x")[0]
    assert one.args == ('b"c;', "d'e", r"f\;g", "h#i", "${j}k", 'l"m', "$n")[:6] + one.args[6:]
    assert one.block is not None


def test_lua_is_passed_over_with_its_braces() -> None:
    lua = """content_by_lua_block { local t = { a = "}" } --[[ } ]] ngx.say([==[ } ]==], '\\'}') -- }\n }"""
    (http,) = parse(f"http {{ {lua} sendfile on; }}", "x")
    assert http.block is not None
    assert [one.name for one in http.block] == ["content_by_lua_block", "sendfile"]


def test_an_address_that_a_wildcard_takes_in_gets_no_options(tmp_path: Path) -> None:
    """With options it would want a socket of its own beside the wildcard's, and nginx would not start."""
    text = "events{}\nhttp{server{listen 8981;}server{listen 127.0.0.1:8981;server_name a;}server{listen 127.0.0.1:8982;}}"
    main = lay_down(tmp_path, {"nginx.conf": text})
    plan = planned(own_discovery(main), tmp_path, {"nginx:listen.backlog": 1000})
    edited = texts(plan)["nginx.conf"]
    assert "listen 8981 backlog=1000;" in edited
    assert "listen 127.0.0.1:8981;" in edited
    assert "listen 127.0.0.1:8982 backlog=1000;" in edited


def test_a_site_that_passes_requests_on_says_so(tmp_path: Path) -> None:
    assert own_discovery(lay_down(tmp_path)).site.passes_on  # type: ignore[union-attr]
    plain = {"nginx.conf": "events{}\nhttp{server{listen 8981;root {root}/www;}}"}
    (tmp_path / "plain").mkdir()
    assert not own_discovery(lay_down(tmp_path / "plain", plain)).site.passes_on  # type: ignore[union-attr]


def test_a_configuration_that_nginx_refuses_is_refused_in_its_words(tmp_path: Path) -> None:
    main = lay_down(tmp_path, {**MESSY, "basics/99.conf": "etag maybe;\n"})
    assert 'invalid value "maybe"' in own_discovery(main).site_problem


def test_php_fpm_of_the_site_is_left_alone(tmp_path: Path) -> None:
    found = own_discovery(lay_down(tmp_path))
    assert "isn't changed" in found.missing["fpm:max_children"]
    assert found.missing["nginx:fastcgi_keep_conn"].startswith("this configuration passes")


STRANGE: dict[str, dict[str, str]] = {
    "stray": {
        "nginx.conf": "events { }\nhttp { include {root}/h.conf; }\n",
        "h.conf": "server { }\nserver { listen 8981; listen [::1]:8981 ; }\nserver { listen 127.0.0.1; listen 8983 reuseport; server_name a; access_log /dev/null; access_log syslog:server=127.0.0.1 combined; }\n",
    },
    "included": {
        "nginx.conf": "include a.conf;\ninclude b.conf;\n",
        "a.conf": "daemon on; error_log stderr info;\npid {root}/x.pid;\nevents{worker_connections 99;}",
        "b.conf": "http{server{listen 8981;location / { if ($arg_a) { access_log {root}/in-if.log; return 204;} } }}",
    },
    "latin1": {"nginx.conf": "events{}\nhttp{# caf\udce9\n server{listen 8981;}}"},
    "comment-end": {
        "nginx.conf": "events{}\nhttp{ upstream u { server 127.0.0.1:1; # last\n} server{listen 8981; location /{proxy_pass http://u;}}}#end"
    },
}
CHOICES: tuple[dict[str, Value], ...] = (
    {},
    {"nginx:listen.backlog": 1000, "nginx:worker_connections": 200, "nginx:access_log.buffer": 65_536},
    {"nginx:access_log": False},
    {"nginx:upstream.keepalive": 4},
)


@pytest.mark.parametrize("name", STRANGE)
def test_strange_configurations_are_planned_and_taken(tmp_path: Path, name: str) -> None:
    for file, text in STRANGE[name].items():
        data = text.replace("{root}", str(tmp_path)).encode("utf-8", "surrogateescape")
        (tmp_path / file).write_bytes(data)
    found = own_discovery(tmp_path / "nginx.conf")
    for chosen in CHOICES:
        if not any(id_ in found.missing for id_ in chosen):
            taken(planned(found, tmp_path, chosen), tmp_path)
