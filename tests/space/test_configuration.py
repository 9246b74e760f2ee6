"""Configurations: the same choice is the same record, whatever the order it was made in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value

VALUE: st.SearchStrategy[Value] = (
    st.booleans()
    | st.integers(-(1 << 62), 1 << 62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["unset", "auto", "bbr"])
    | st.tuples(st.integers(0, 9), st.integers(0, 9))
)
CHOICES = st.dictionaries(st.sampled_from(sorted(CATALOGUE)), VALUE, max_size=8)


@given(CHOICES)
def test_a_configuration_survives_json_with_every_type(chosen: dict[str, Value]) -> None:
    configuration = Configuration.of(chosen)
    again = Configuration.model_validate_json(configuration.model_dump_json())
    assert again == configuration
    assert [type(value) for _, value in again.values] == [type(value) for _, value in configuration.values]
    assert again.fingerprint == configuration.fingerprint


@given(CHOICES)
def test_the_order_of_choosing_changes_nothing(chosen: dict[str, Value]) -> None:
    backwards = dict(reversed(chosen.items()))
    assert Configuration.of(chosen).fingerprint == Configuration.of(backwards).fingerprint


def test_fingerprints_are_the_same_on_every_machine() -> None:
    assert Configuration().fingerprint == "4f53cda18c2baa0c"
    assert (
        Configuration.of({"nginx:sendfile": True}).fingerprint
        != Configuration.of({"nginx:sendfile": False}).fingerprint
    )


def test_only_what_differs_from_stock_counts() -> None:
    stock: dict[str, Value] = {"nginx:sendfile": True, "nginx:tcp_nopush": True}
    chosen = Configuration.of({"nginx:sendfile": True, "nginx:tcp_nopush": False})
    assert chosen.against(stock) == Configuration.of({"nginx:tcp_nopush": False})
    assert chosen.over(stock) == {"nginx:sendfile": True, "nginx:tcp_nopush": False}


def test_a_later_configuration_wins() -> None:
    first = Configuration.of({"nginx:sendfile": True, "nginx:postpone_output": 0})
    merged = first.merged(Configuration.of({"nginx:sendfile": False}))
    assert merged.mapping == {"nginx:postpone_output": 0, "nginx:sendfile": False}
    assert list(merged) == ["nginx:postpone_output", "nginx:sendfile"]
    assert len(merged) == 2
