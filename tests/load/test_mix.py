"""Several URLs in one load: exact shares, in an order of their own, and gates that know what a mix weighs."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from autotune.agent import orders
from autotune.agent.faults import Fault
from autotune.agent.load import request_list
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, Listener, LoadOrder, LoadUrl, PutFile, ServerOrder, UrlTruth
from autotune.errors import AutotuneError
from autotune.experiment.study import Url, Workload
from autotune.load.gates import Answer, judge
from autotune.load.wrk import load_order, new_marker, shares
from conftest import NOBODY

if TYPE_CHECKING:
    from autotune.board.connection import Connection
    from conftest import BoardNamespace

ADDRESS, PORT = "127.0.0.2", 8088
SMALL, LARGE, ODD = "/small.bin", "/large.bin", "/small.bin?q=%27;os.exit(3)--&x=$(1)"
CONF = """daemon off; worker_processes 1; pid {run}/nginx.pid; error_log {log}/error.log warn;
events {{ worker_connections 512; }}
http {{
    log_format asked '$host $request_uri'; access_log {log}/access.log asked;
    client_body_temp_path {log}/a; proxy_temp_path {log}/b; fastcgi_temp_path {log}/c;
    uwsgi_temp_path {log}/d; scgi_temp_path {log}/e;
    server {{ listen 127.0.0.2:8088; root {www}; }}
}}
"""


@pytest.mark.parametrize(
    ("weights", "block"),
    [
        ((70.0, 30.0), (7, 3)),
        ((1.0,), (1,)),
        ((0.5, 0.25, 0.25), (2, 1, 1)),
        ((1.0, 2.0, 3.0), (1, 2, 3)),
    ],
)
def test_weights_become_the_smallest_block_that_keeps_them(
    weights: tuple[float, ...], block: tuple[int, ...]
) -> None:
    assert shares(weights) == block


def test_the_rarest_of_many_is_asked_for_too() -> None:
    block = shares((*(1 / rank for rank in range(1, 301)), 1e-9))
    assert min(block) == 1
    assert sum(block) <= 10_000


def test_every_block_of_the_list_has_the_exact_shares_and_an_order_of_its_own() -> None:
    asked = request_list((("/a", 7), ("/b", 3)), seed=5)
    blocks = [asked[start : start + 10] for start in range(0, len(asked), 10)]
    assert all(Counter(block) == {"/a": 7, "/b": 3} for block in blocks)
    assert len({tuple(block) for block in blocks}) > 20
    assert asked == request_list((("/a", 7), ("/b", 3)), seed=5)
    assert asked != request_list((("/a", 7), ("/b", 3)), seed=6)


def body(*urls: str, address: str = "127.0.0.2", weight: object = 1) -> dict[str, object]:
    return {
        "urls": [{"url": url, "weight": weight} for url in urls],
        "address": address,
        "seed": 1,
        "threads": 1,
        "connections": 1,
        "warmup_s": 0,
        "duration_s": 1,
        "marker": "report0123",
        "power": "",
        "cpus": [],
        "rate_per_s": 0,
    }


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (body('http://h/"..os.exit()'), "not a plain"),
        (body("http://h/a\nGET /b"), "not a plain"),
        (body("http://h/a\\"), "not a plain"),
        (body("http://h/it's"), "not a plain"),
        (body("http://h/]]"), "not a plain"),
        (body("ftp://h/"), "not a plain"),
        (body("http://u@h/"), "not a plain"),
        (body("http://h:99999/"), "not a plain"),
        (body("http://h/a", "http://g/a"), "another server"),
        (body("http://h/a", "https://h/a"), "another server"),
        (body("http://h/a", "http://h/a"), "twice"),
        (body("http://h/a", weight=0.5), "weight"),
        (body("http://h/a", weight=1.5), "whole number"),
        (body("http://h/a", weight=float("nan")), "weight"),
        (body("http://h/a", "http://h/b", weight=9999), "shares come to"),
        (body("http://h/a", address="h"), "not an IP address"),
        (body("http://127.0.0.3/a"), "is not at"),
        (body(), "no URL"),
    ],
)
def test_what_could_be_more_than_a_request_is_refused(asked: dict[str, object], says: str) -> None:
    with pytest.raises(Fault, match=says) as caught:
        orders.load(asked)
    assert caught.value.kind == "refused"


def test_a_host_has_its_port_and_its_targets() -> None:
    order = orders.load(body("https://www.example.org/a?b=1", "https://www.example.org/c"))
    assert (order.host, order.port, order.url) == (
        "www.example.org",
        443,
        "https://www.example.org/a?b=1",
    )
    assert order.targets == (("/a?b=1", 1), ("/c", 1))
    assert orders.load(body("http://[::1]:81/", address="::1")).port == 81


# -- a real wrk ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str
) -> Iterator[tuple[Connection, Begun]]:
    del real_nginx, real_wrk
    connection = board_namespace.connect()
    files = tuple(
        PutFile(name=name.lstrip("/"), content_base64=base64.b64encode(b"x" * size).decode())
        for name, size in ((SMALL, 1000), (LARGE, 50_000))
    )
    yield connection, connection.begin(study="mix", night=1, holder="test", lease_s=30, files=files)
    assert connection.end().left == ()


def loaded(connection: Connection, begun: Begun, *urls: Url) -> tuple[LoadOrder, tuple[Answer, ...]]:
    run = begun.conf_path.rpartition("/")[0]
    switched = connection.switch(
        (),
        ServerOrder(
            conf=CONF.format(run=run, log=begun.log_dir, www=begun.www_dir),
            workers=1,
            listen=(Listener(address=ADDRESS, port=PORT),),
            cpus=(),
            urls=tuple(
                UrlTruth(url=f"http://{ADDRESS}:{PORT}{path}", address=ADDRESS) for path in (SMALL, LARGE)
            ),
        ),
    )
    assert switched.step == "", switched.reason
    sizes = {path: float(seen.wire_bytes) for path, seen in zip((SMALL, LARGE), switched.urls, strict=True)}
    workload = Workload(name="mix", urls=urls, connections=8, threads=2, warmup_s=0, duration_s=1)
    order = load_order(
        workload,
        tuple(LoadUrl(url=f"http://{ADDRESS}:{PORT}{url.target}", weight=url.weight) for url in urls),
        ADDRESS,
        CpuPlacement(),
        new_marker(),
        seed=3,
    )
    return order, tuple(Answer(wire_bytes=sizes[url.target.partition("?")[0]]) for url in urls)


@pytest.mark.real
def test_a_mix_is_asked_for_in_its_shares_and_passes_its_gates(
    begun: tuple[Connection, Begun], board_namespace: BoardNamespace
) -> None:
    connection, night = begun
    order, answers = loaded(
        connection,
        night,
        Url(target=SMALL, weight=60),
        Url(target=ODD, weight=10),
        Url(target=LARGE, weight=30),
    )
    seen = connection.load(order)
    judged = judge(seen, order, answers=answers)
    assert judged.reason == ""
    assert judged.measurement is not None
    log = board_namespace.read(f"{night.log_dir}/access.log").splitlines()
    asked = Counter(line.partition(" ")[2] for line in log[2:])  # the first two are the canary's
    assert set(asked) == {SMALL, ODD, LARGE}
    total = sum(asked.values())
    assert asked[ODD] / total == pytest.approx(0.1, abs=30 / total)
    assert asked[LARGE] / total == pytest.approx(0.3, abs=30 / total)
    assert log[2].startswith("127.0.0.2 ")


@pytest.mark.real
def test_a_mix_in_which_one_url_answers_with_less_is_noticed(begun: tuple[Connection, Begun]) -> None:
    connection, night = begun
    order, answers = loaded(connection, night, Url(target=SMALL, weight=70), Url(target=LARGE, weight=30))
    seen = connection.load(order)
    assert judge(seen, order, answers=answers).reason == ""
    cut = (answers[0], replace(answers[1], wire_bytes=60_000))
    assert judge(seen, order, answers=cut).gate == "bytes per request off"
    assert judge(seen, order, answers=(answers[0], replace(cut[1], loose=True))).reason == ""


@pytest.mark.real
def test_a_name_leads_to_the_tested_server_for_wrk_alone(
    begun: tuple[Connection, Begun], board_namespace: BoardNamespace
) -> None:
    connection, night = begun
    order, answers = loaded(connection, night, Url(target=SMALL, weight=70), Url(target=LARGE, weight=30))
    name = "shop.example.invalid"
    hosts = board_namespace.read("/etc/hosts")
    named = replace(order, urls=tuple(replace(url, url=url.url.replace(ADDRESS, name)) for url in order.urls))
    seen = connection.load(named)
    assert judge(seen, named, answers=answers).reason == ""
    log = board_namespace.read(f"{night.log_dir}/access.log").splitlines()
    assert {line.partition(" ")[0] for line in log[2:]} == {name}
    assert board_namespace.read("/etc/hosts") == hosts
    assert board_namespace.run("getent", "hosts", name).returncode != 0


@pytest.mark.real
def test_without_root_a_name_must_lead_there_by_itself(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str
) -> None:
    del real_nginx, real_wrk
    connection = board_namespace.connect(uid=NOBODY)
    small = tuple(
        PutFile(name=name.lstrip("/"), content_base64=base64.b64encode(b"x" * size).decode())
        for name, size in ((SMALL, 1000), (LARGE, 50_000))
    )
    night = connection.begin(study="mix", night=1, holder="test", lease_s=30, files=small)
    order, _ = loaded(connection, night, Url(target=SMALL))
    named = replace(order, urls=(LoadUrl(url=order.urls[0].url.replace(ADDRESS, "a.example.invalid")),))
    with pytest.raises(AutotuneError, match="only root can make"):
        connection.load(named)
