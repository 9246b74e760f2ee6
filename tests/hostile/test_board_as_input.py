"""What a board says of itself and of a run: values, a plan, figures or a failure in words, whatever stands in them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import paper_rock
import pytest
from hostile_inputs import EXAMPLES, NUMBERS, TEXTS, Json, mutated, steers_a_terminal
from hypothesis import given
from hypothesis import strategies as st
from own_examples import MESSY, own_study
from paper_board import BEGUN, DEBIAN_CONF, FACTS, KERNEL, STUDY, readings
from paper_replies import REPLIES

from autotune.actuators.discovery import Discovery, discover
from autotune.actuators.own_tree import OwnTree
from autotune.actuators.packaged import parse
from autotune.actuators.switching import effects_of, plan_switch
from autotune.board import replies
from autotune.board.fitness import Tonight
from autotune.board.placement import place
from autotune.board.records import Effect, LoadOrder, LoadUrl, NginxFiles, Program, Reading
from autotune.errors import AutotuneError, BoardMisunderstood, BoardUnfit
from autotune.experiment.events import EVENT, Failure
from autotune.experiment.study import FitnessLimits
from autotune.load.gates import Answer, judge
from autotune.load.open_loop import judge_rate
from autotune.load.parse import Unreadable, read_report
from autotune.load.wrk import raw_text
from autotune.runner.fitness import run_fitness
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value

MARKER = "report0123456789"
ORDER = LoadOrder(
    urls=(LoadUrl(url="http://127.0.0.2:8088/a"),),
    address="127.0.0.2",
    seed=0,
    threads=1,
    connections=100,
    warmup_s=0.5,
    duration_s=2.0,
    marker=MARKER,
    cpus=(),
)
REPORT: Json = {
    "requests": 2000,
    "duration_us": 2_000_000,
    "bytes": 2_000_000,
    "errors": {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0},
    "latency_us": {"mean": 1.0, "p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "p999": 1.0, "max": 1.0},
}
FILES = {**KERNEL, **paper_rock.FILES}
SETTINGS = tuple(CATALOGUE.values())
CHOSEN: Mapping[str, Value] = {
    "sysctl:net.core.somaxconn": 1024,
    "cpufreq:all.governor": "performance",
    "nginx:worker_connections": 2048,
    "thp:enabled": "always",
}
board_texts = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(("0", "-1", "1 2", "[a] b", "99999999999999999999999", "9" * 5000, "0x10", "1e9", "\u0663", "a-b", "0-", "0-99999999", "default mq", "on")),
    st.text(max_size=30),
)  # fmt: skip


# -- what the board is ---------------------------------------------------------------------------------------------------


def discovered(texts: Mapping[str, str | None], conf: str = DEBIAN_CONF) -> Discovery:
    seen = readings(conf)
    seen |= {
        path: Reading(text=text, error="" if text else "gone", writable=True) for path, text in texts.items()
    }
    return discover(SETTINGS, seen, paper_rock.ROCK, paper_rock.PINNED, paper_rock.CARD)


def plan(found: Discovery, chosen: Mapping[str, Value]) -> None:
    """Planned and read back, or refused in words."""
    with contextlib.suppress(AutotuneError):
        switch = plan_switch(
            Configuration.of(chosen),
            found,
            study=paper_rock.PINNED,
            address="127.0.0.2",
            begun=BEGUN,
            placement=place(paper_rock.ROCK, paper_rock.PINNED.placement),
        )
        effects = tuple(
            Effect(path=one.path, requested=one.text, effective=TEXTS[1], error="") for one in switch.writes
        )
        effects_of(Configuration.of(chosen), found, effects)


@EXAMPLES
@given(st.dictionaries(st.sampled_from(sorted(FILES)), st.none() | board_texts, min_size=1, max_size=12))
def test_any_kernel_file_is_a_value_or_a_setting_left_out(changed: dict[str, str | None]) -> None:
    with contextlib.suppress(AutotuneError):
        plan(discovered({**FILES, **changed}), CHOSEN)


@pytest.mark.parametrize(
    "text",
    [*TEXTS, "9" * 5000, "-1", "0-99999999", "1 2 3 4", "[x]", "nan"],
    ids=lambda text: ascii(text)[:30],
)
def test_a_board_whose_every_file_says_the_same_nonsense(text: str) -> None:
    with contextlib.suppress(AutotuneError):
        plan(discovered(dict.fromkeys(FILES, text)), CHOSEN)


@EXAMPLES
@given(data=st.data())
def test_any_facts_are_placed_or_refused(data: st.DataObject) -> None:
    body = data.draw(mutated(REPLIES["facts"]))
    try:
        facts = replies.facts(body)
    except BoardMisunderstood:
        return
    place(facts, STUDY.placement)
    assert len(facts.nginx_version) == 3
    with contextlib.suppress(AutotuneError):
        discover(SETTINGS, readings(files=FILES), facts, paper_rock.PINNED)


# -- its nginx's configuration ---------------------------------------------------------------------------------------------

WORDS = (
    "include", "load_module", "events", "http", "server", "location", "listen", "user", "root", "error_log", "access_log", "off",
    "sendfile", "map", "types", "upstream", "worker_processes", "$x", "~", "{", "{", "}", "}", ";", ";", ";", '"', "'", "#", "\\", "\n", "a",
    "/etc/nginx/*.conf", "mime.types", "\x1b[2J", "\udce9", "80", "[::]:80", "unix:/x", "log_format", "if", "if=$x", "include;", "listen;",
)  # fmt: skip
confs = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)


@EXAMPLES
@given(confs)
def test_any_packaged_configuration_is_planned_with_or_refused(text: str) -> None:
    text = text.replace("\udce9", "\ufffd")  # as a reply is read
    for conf in (text, f"events {{ {text} }} http {{ {text} }}", DEBIAN_CONF.replace("gzip on;", text)):
        with contextlib.suppress(AutotuneError):
            plan(discovered(FILES, conf), CHOSEN)


def test_blocks_in_blocks_in_blocks_are_refused() -> None:
    deep = "a { " * 3000 + "}" * 3000
    with pytest.raises(BoardUnfit):
        parse(deep)
    with pytest.raises(BoardUnfit):
        OwnTree.of("/n", {"/n": deep})


def own(texts: Mapping[str, str]) -> Discovery:
    files = {
        f"/etc/nginx/{name}": Reading(text=text, error="", writable=True) for name, text in texts.items()
    }
    found = NginxFiles(files=files, names={path: path for path in files}, problem="")
    study = own_study(Path("/etc/nginx/nginx.conf"), "http://www.example.org:8981/")
    return discover(SETTINGS, readings(files=KERNEL), FACTS, study, own=found)


MESSY_TEXTS = {
    name.replace("sites-available/", "sites-enabled/10-"): text.replace("{root}", "/etc/nginx")
    for name, text in MESSY.items()
}


@EXAMPLES
@given(st.sampled_from(sorted(MESSY_TEXTS)), confs, st.integers(0, 400))
def test_any_configuration_of_a_users_own_is_planned_with_or_refused(
    name: str, text: str, place_: int
) -> None:
    whole = MESSY_TEXTS[name]
    changed = {**MESSY_TEXTS, name: whole[:place_] + text + whole[place_:]}
    with contextlib.suppress(AutotuneError):
        found = own(changed)
        assert found.site or found.site_problem
        if found.site is not None:
            found.site.plan({}, address="127.0.0.1", begun=BEGUN, placement=place(FACTS, STUDY.placement))


def test_files_that_include_each_other_without_end_are_refused() -> None:
    twice = "include a.conf; include a.conf;"
    tree = OwnTree.of("/etc/nginx/nginx.conf", {"/etc/nginx/nginx.conf": twice, "/etc/nginx/a.conf": twice})
    with pytest.raises(BoardUnfit, match="include"):
        list(tree.walk())


# -- a run -----------------------------------------------------------------------------------------------------------------


def judged(body: Json) -> None:
    """Figures that can be stored, or a gate that says why not."""
    try:
        seen = replies.load_seen(body)
    except BoardMisunderstood:
        return
    answers = (Answer(wire_bytes=1000),)
    for result in (
        judge(seen, ORDER, answers=answers),
        judge_rate(seen, replace(ORDER, rate_per_s=1000.0), answers=answers),
    ):
        json.dumps(repr(result)).encode()
    run_fitness(seen, FitnessLimits(), Tonight(), server_cpus=(0,))
    found = judge(seen, ORDER, answers=answers)
    if found.measurement is not None:
        assert found.measurement.model_validate_json(found.measurement.model_dump_json()) == found.measurement
    raw_text(seen).encode()


def sound() -> Json:
    run = {**REPLIES["load_seen"]["measured"], "stdout": f"{MARKER} {json.dumps(REPORT)}\n"}
    return {
        **REPLIES["load_seen"],
        "measured": run,
        "connections_held": 100,
        "before": {"free_ports": 20_000.0},
    }


def test_a_sound_run_is_measured() -> None:
    seen = replies.load_seen(sound())
    assert judge(seen, ORDER, answers=(Answer(wire_bytes=1000),)).measurement is not None


@EXAMPLES
@given(mutated(sound()))
def test_any_run_is_measured_or_excluded(body: Json) -> None:
    judged(body)


@EXAMPLES
@given(st.sampled_from(["counters", "before", "after", "peaks"]), st.dictionaries(
    st.sampled_from(("cpu0.user_s", "cpu.nginx_s", "cpux.user_s", "cpu99999999999.idle_s", "temp_soc_c", "khz_cpu0", "khz_cpu", "spin_cpu0",
                     "cooling_x", "free_ports", "wall_s", "load1", *TEXTS[:18])),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15), max_size=6))  # fmt: skip
def test_counters_of_any_name_and_size_are_no_harm(place_: str, counters: dict[str, float]) -> None:
    judged({**sound(), place_: counters})


@EXAMPLES
@given(mutated(REPORT))
def test_any_report_is_read_or_unreadable(report: Json) -> None:
    told = json.dumps(report)
    body = sound()
    judged({**body, "measured": {**body["measured"], "stdout": f"{MARKER} {told}\n"}})


@pytest.mark.parametrize(
    "number", [one for one in NUMBERS if one is True or not 0 <= one < 2**63], ids=lambda one: repr(one)[:20]
)
@pytest.mark.parametrize("key", ["requests", "duration_us", "bytes"])
def test_a_count_that_is_none_makes_a_report_unreadable(key: str, number: float) -> None:
    found = read_report(f"{MARKER} {json.dumps({**REPORT, key: number})}", MARKER)
    assert isinstance(found, Unreadable)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:30])
def test_what_a_board_says_is_stored_as_it_was_said(text: str) -> None:
    """Through a reply, a failure's reason and the database's text, and back."""
    said: Any = replies.error_words({"kind": "failed", "message": text, "hint": ""})
    error = BoardUnfit(said.message)
    failure = Failure.model_validate(
        {
            "key": {"night": 1, "stage": "search", "block": 0, "position": 0},
            "at": "2026-01-01T00:00:00Z",
            "arm": {"kind": "stock"},
            "configuration": {},
            "stage": "agent",
            "reason": error.message,
            "blame": "environment",
        }
    )
    stored = EVENT.dump_json(failure)
    assert EVENT.validate_json(stored) == failure
    assert not steers_a_terminal(stored.decode("ascii", "replace").replace("\x7f", "").replace("\ufffd", ""))


def test_a_program_of_many_versions_is_one_of_none() -> None:
    for version in (*TEXTS, "nginx/" + "9" * 5000 + ".1.1"):
        program = Program(path="/usr/sbin/nginx", version=version)
        assert len(replace(FACTS, programs={"nginx": program}).nginx_version) == 3
