"""The agent never runs a shell: it has no words for one, and over a whole night it starts nothing but its programs."""

from __future__ import annotations

import ast
import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from hostile_inputs import Json

import autotune.agent
from autotune.agent.protocol import PROTOCOL
from autotune.agent.wrk_report import REPORT_LUA
from conftest import BoardNamespace

AGENT = sorted(Path(autotune.agent.__file__).parent.glob("*.py"))
RUNS_A_SHELL = {
    "system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "spawnl", "spawnlp", "spawnv", "spawnvp",
    "execlp", "execvp", "execvpe", "eval", "exec", "compile", "__import__",
}  # fmt: skip
SHELLS = re.compile(r"(/usr)?(/bin/)?(sh|bash|dash|zsh|ksh|busybox|env|xargs|nsenter|su|sudo)")


@pytest.mark.parametrize("file", AGENT, ids=lambda file: file.name)
def test_the_agents_code_has_no_word_for_a_shell(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            of = getattr(getattr(node.func, "value", None), "id", "")
            assert name not in RUNS_A_SHELL or of == "re", f"{file.name}:{node.lineno} calls {name}"
            assert not any(word.arg in ("shell", "executable") for word in node.keywords), (
                f"{file.name}:{node.lineno}"
            )
        # `sudo -l -U USER` is the installer's: it shows what its own rule allows.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and file.name != "installing.py":
            assert not SHELLS.fullmatch(node.value), f"{file.name}:{node.lineno} names {node.value!r}"


def test_the_generators_scripts_start_nothing() -> None:
    scripts = [REPORT_LUA, *(path.read_text() for path in AGENT[0].parent.glob("*.lua"))]
    for text in scripts:
        assert not re.search(r"os\.execute|io\.popen|C\.(system|popen|exec\w+|fork\w+)\b(?<!C\.fork)", text)


# -- a night -----------------------------------------------------------------------------------------------------------------

# An audit hook can't be taken away, and a fork inherits it (PEP 578).
_WATCHED = """
import os, sys
sys.path.insert(0, sys.argv[1])
told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.set_inheritable(told, False)
def watch(event, arguments):
    if event in ("os.exec", "os.system", "subprocess.Popen", "os.posix_spawn", "os.spawn"):
        program, words = arguments[0], arguments[1] if len(arguments) > 1 else ()
        with open(sys.argv[2], "a") as file:
            file.write(event + " " + " ".join(os.fsdecode(word) for word in (words or (program,))) + "\\n")
sys.addaudithook(watch)
from autotune.agent.serve import main
sys.exit(main())
"""
ADDRESS, PORT = "127.0.0.2", 8088


@pytest.mark.real
def test_a_whole_night_starts_nothing_but_its_programs(
    module_namespace: BoardNamespace, real_nginx: str, real_wrk: str, real_luajit: str
) -> None:
    argv = module_namespace.command([sys.executable, "-c", _WATCHED, str(Path.cwd()), "/run/started"])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        _night(agent.stdin, agent.stdout)
        agent.stdin.close()
        assert agent.wait(20) == 0
    started = [line.split() for line in module_namespace.read("/run/started").splitlines()]
    assert {event for event, *_ in started} == {"os.exec", "subprocess.Popen"}
    programs = {words[1] for words in started}
    assert {real_nginx, real_wrk, real_luajit} <= programs
    names = {Path(program).name for program in programs}
    known = re.compile(r"nginx|wrk|luajit[0-9.]*|php-fpm[0-9.]*|systemctl|irqbalance")
    assert [name for name in names if not known.fullmatch(name)] == []


def _night(into: IO[bytes], out: IO[bytes]) -> None:
    """hello, read, begin, a switch to nginx, both loads, a switch to nothing, end."""
    number = 0

    def ask(verb: str, **body: Json) -> Json:
        nonlocal number
        number += 1
        into.write(json.dumps({"id": number, "verb": verb, "body": body}).encode() + b"\n")
        into.flush()
        reply = json.loads(out.readline())
        assert reply["ok"], reply
        return reply["body"]

    ask("hello", protocol=PROTOCOL, controller="a test")
    ask("read", paths=["/proc/sys/net/core/*"], nginx_conf="/etc/nginx/nginx.conf")
    page = {"name": "page.html", "content_base64": base64.b64encode(b"It works.").decode()}
    begun = ask(
        "begin", study="s", night=1, holder="h", lease_s=60, files=[page], services=["irqbalance"], kept=False
    )
    url = f"http://{ADDRESS}:{PORT}/page.html"
    truth = {"url": url, "address": ADDRESS, "status": 0, "length": 0, "sha256": "", "loose": False}
    server = {
        "conf": _conf(begun),
        "conf_path": "",
        "edits": [],
        "build": "",
        "workers": 1,
        "listen": [{"address": ADDRESS, "port": PORT}],
        "cpus": [],
        "urls": [truth],
        "php": None,
    }
    writes = [{"path": "/proc/sys/net/core/somaxconn", "text": "1024"}]
    switched = ask("switch", writes=writes, server=server)
    assert switched["step"] == "", switched["reason"]
    load = {
        "urls": [{"url": url, "weight": 1}],
        "address": ADDRESS,
        "seed": 1,
        "threads": 1,
        "connections": 4,
        "warmup_s": 0.2,
        "duration_s": 0.5,
        "marker": "report0123",
        "cpus": [],
        "rate_per_s": 0,
        "power": "",
    }
    assert ask("load", **load)["measured"]["exit_code"] == 0
    assert ask("load", **{**load, "rate_per_s": 50.0})["measured"]["exit_code"] == 0
    ask("switch", writes=[], server=None)
    assert ask("end", keep=False)["left"] == []


def _conf(begun: Json) -> str:
    run, log = begun["conf_path"].removesuffix("/nginx.conf"), begun["log_dir"]
    temporary = "".join(
        f"{name}_temp_path {log}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; pid {run}/nginx.pid; error_log {log}/error.log warn; events {{}}"
        f" http {{ access_log off; {temporary} server {{ listen {ADDRESS}:{PORT}; root {begun['www_dir']}; }} }}"
    )
