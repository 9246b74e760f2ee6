"""What a hostile or broken machine, file or journal may hold, for all tests of this directory."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Json: TypeAlias = Any

# The same examples every time: what CI finds, a laptop finds.
EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

TEXTS = (
    "",
    "\x1b[2J\x1b[1;1H",  # clears a terminal
    "\x1b]0;owned\x07",  # names its window
    "\x1b]52;c;cm0gLXJmIC8=\x07",  # fills its clipboard
    "\x9b2J",  # the same in one C1 character
    "\u202egnp.exe\u202c",  # reads backwards
    "\u2066a\u2069\u200b\ufeff",
    "a\r\nerror: all is well",
    "\u2028\u2029\x85",
    "\x00",
    "\ud800",  # half a character
    "\udcff",  # a byte that was no UTF-8
    "'; DROP TABLE autotune_events; --",
    "<script>alert(1)</script>",
    "](javascript:alert(1))|`x`|**",
    "$(reboot)`reboot`;reboot\n#",
    "..",
    "../../../../etc/shadow",
    "/etc/shadow",
    "-oProxyCommand=reboot",
    "%s%n{0.__class__}",
    "; load_module /tmp/x.so; #",
    "}\n}\nuser root;",
    "x" * 5_000,
    "\U0001f980" * 50,
)
NUMBERS: tuple[Json, ...] = (
    0, -1, 1, 2**31, 2**63 - 1, 2**63, 10**400, -(10**400), 0.0, -0.5, 1e308, float("inf"), float("-inf"), float("nan"), True,
)  # fmt: skip

texts = st.sampled_from(TEXTS) | st.text(max_size=40)
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | texts
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, whole: Json) -> Json:
    """A document after one to four changes anywhere in it: values replaced, keys lost, added or renamed, lists changed."""
    found = whole
    for _ in range(draw(st.integers(1, 4))):
        found = _changed(draw, found)
    return found


def _changed(draw: st.DrawFn, here: Json) -> Json:
    """One change in a copy; deeper the more there is below."""
    if isinstance(here, dict) and here:
        key = draw(st.sampled_from(sorted(here)))
        match draw(st.sampled_from(["below", "below", "below", "lose", "add", "rename", "replace"])):
            case "below":
                return {**here, key: _changed(draw, here[key])}
            case "lose":
                return {name: one for name, one in here.items() if name != key}
            case "add":
                return {**here, draw(texts): draw(values)}
            case "rename":
                return {(draw(texts) if name == key else name): one for name, one in here.items()}
            case _:
                return draw(values)
    if isinstance(here, list) and here:
        place = draw(st.integers(0, len(here) - 1))
        match draw(st.sampled_from(["below", "below", "lose", "double", "replace"])):
            case "below":
                return [*here[:place], _changed(draw, here[place]), *here[place + 1 :]]
            case "lose":
                return [*here[:place], *here[place + 1 :]]
            case "double":
                return [*here, here[place]]
            case _:
                return draw(values)
    return draw(values)


def steers_a_terminal(text: str) -> bool:
    """Whether a terminal would do anything but show it, line by line."""
    return any(char != "\n" and not char.isprintable() for char in text)
