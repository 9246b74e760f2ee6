"""What a well-written space becomes."""

from __future__ import annotations

from pathlib import Path

from autotune.definitions.space_file import read_space
from autotune.space.parameter import Scale, Span
from autotune.space.search_space import SearchSpace


def space_of(tmp_path: Path, text: str) -> SearchSpace:
    path = tmp_path / "space.toml"
    path.write_text(f'title = "A space"\n{text}', encoding="utf-8")
    return read_space(path)


def test_a_range_carries_units_scale_and_special_words(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        '[parameter."nginx:access_log.buffer"]\nlow = "16k"\nhigh = "1m"\nscale = "log"\nspecial = "unset"\nwhy = "x"',
    )
    parameter = space.parameter("nginx:access_log.buffer")
    assert parameter.span == Span(low=16384, high=1 << 20, scale=Scale.LOG)
    assert parameter.specials == ("unset",)


def test_times_are_in_the_unit_of_their_setting(tmp_path: Path) -> None:
    space = space_of(
        tmp_path, '[parameter."nginx:timer_resolution"]\nlow = "10ms"\nhigh = "1s"\nstep = "10ms"\nwhy = "x"'
    )
    assert space.parameters[0].span == Span(low=10, high=1000, step=10)


def test_a_vector_has_a_span_for_each_element_and_holds_equal_ones(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        '[parameter."sysctl:net.ipv4.tcp_wmem"]\nlow = ["4k", "8k", "1m"]\nhigh = [4096, 65536, 4194304]\nwhy = "x"',
    )
    spans = space.parameters[0].spans
    assert [(span.low, span.high) for span in spans] == [(4096, 4096), (8192, 65536), (1 << 20, 4 << 20)]


def test_a_list_of_values_keeps_its_order_and_may_mix_words_and_numbers(tmp_path: Path) -> None:
    space = space_of(tmp_path, '[parameter."nginx:open_file_cache"]\nvalues = [1000, "off", 100]\nwhy = "x"')
    assert space.parameters[0].choices == (1000, "off", 100)


def test_words_that_the_catalogue_lists_need_no_list(tmp_path: Path) -> None:
    space = space_of(tmp_path, '[parameter."thp:enabled"]\nwhy = "x"')
    assert space.parameters[0].choices == ("always", "madvise", "never")


def test_a_switch_may_be_written_in_three_ways(tmp_path: Path) -> None:
    for values in ("", 'values = ["off", "on"]', "values = [false, true]"):
        space = space_of(tmp_path, f'[parameter."nginx:sendfile"]\n{values}\nwhy = "x"')
        assert space.parameters[0].choices == (False, True)


def test_a_cpu_mask_may_be_a_list_of_cpus(tmp_path: Path) -> None:
    space = space_of(
        tmp_path, '[parameter."nginx:worker_cpu_affinity"]\nvalues = [[4, 5, 6, 7], "0xf", "auto"]\nwhy = "x"'
    )
    assert space.parameters[0].choices == (0xF0, 0xF, "auto")


def test_parents_come_before_children_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    child = '[parameter."nginx:tcp_nopush"]\nwhen = "nginx:sendfile == on"\nwhy = "x"\n'
    grandchild = '[parameter."nginx:tcp_nodelay"]\nwhen = "nginx:tcp_nopush == on"\nwhy = "x"\n'
    other = '[parameter."nginx:multi_accept"]\nwhy = "x"\n'
    parent = '[parameter."nginx:sendfile"]\nwhy = "x"\n'
    assert space_of(tmp_path, grandchild + other + child + parent).ids == (
        "nginx:sendfile",
        "nginx:tcp_nopush",
        "nginx:tcp_nodelay",
        "nginx:multi_accept",
    )


def test_a_file_in_order_stays_in_its_order(tmp_path: Path) -> None:
    ids = ("nginx:tcp_nodelay", "nginx:sendfile", "nginx:multi_accept")
    assert space_of(tmp_path, "".join(f'[parameter."{id_}"]\nwhy = "x"\n' for id_ in ids)).ids == ids


def test_computed_values_are_ordered_too(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        '[parameter."nginx:sendfile"]\nwhy = "x"\n'
        '[derived."nginx:worker_rlimit_nofile"]\nvalue = "2 * nginx:worker_connections"\nwhy = "x"\n'
        '[derived."nginx:worker_connections"]\nvalue = "10 * workload.connections"\nwhy = "x"\n',
    )
    configuration = space.complete({}, {}, {"workload.connections": 100})
    assert configuration.mapping == {"nginx:worker_connections": 1000, "nginx:worker_rlimit_nofile": 2000}


def test_settings_that_only_rules_speak_of_are_the_context(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        '[parameter."nginx:listen.backlog"]\nlow = 511\nhigh = 4096\nwhen = "nginx:sendfile == on"\nwhy = "x"\n'
        '[[rule]]\nkeep = "nginx:listen.backlog <= sysctl:net.core.somaxconn"\nwhy = "x"\n',
    )
    assert [setting.id for setting in space.context] == ["nginx:sendfile", "sysctl:net.core.somaxconn"]


def test_a_reason_may_go_over_several_lines(tmp_path: Path) -> None:
    space = space_of(tmp_path, '[parameter."nginx:sendfile"]\nwhy = """\nOne thing\nand another."""\n')
    assert space.parameters[0].why == "One thing and another."


def test_a_space_survives_the_database(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        '[parameter."nginx:open_file_cache"]\nvalues = [1000, "off", 100]\nwhy = "x"\n'
        '[parameter."nginx:worker_priority"]\nlow = -5\nhigh = 5\nwhen = "nginx:open_file_cache != off"\nwhy = "x"\n',
    )
    again = SearchSpace.model_validate_json(space.model_dump_json())
    assert again == space
    assert again.fingerprint == space.fingerprint
