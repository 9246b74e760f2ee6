"""What an export says, read from its settings.json: every value is checked before anything is looked at, let alone changed."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, NamedTuple, Tuple, Union

from autotune.agent.faults import Fault

FILE = "settings.json"
FORMAT = 1
KERNEL = ("sysctl", "thp", "pcie", "block", "devfreq", "cpufreq", "cpuidle", "irq", "net")
FAMILIES = (*KERNEL, "nginx", "fpm")

_CAP = 1 << 20
_ID = re.compile(rf"({'|'.join(KERNEL)}):[A-Za-z0-9][A-Za-z0-9_.@-]{{0,119}}")
_NIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}")
_WORD = re.compile(r"[A-Za-z0-9_+.-]+( [A-Za-z0-9_+.-]+){0,7}")
_NGINX_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NGINX_WORDS = re.compile(r"([A-Za-z0-9_+.=-]{1,64}( [A-Za-z0-9_+.=-]{1,64}){0,3})?")
_POOL_LINE = re.compile(
    r"(pm(\.[a-z_]+)?|listen\.backlog|php_admin_value\[[a-z_.]+\]) = [A-Za-z0-9_.-]{1,64}"
)
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_+.,:@=~/-]{1,200}")
CONTEXTS = ("main", "events", "http", "listen", "upstream", "access_log")

Value = Union[bool, int, str]


class Setting(NamedTuple):
    """One setting of the kernel: `value` a word, a number, on or off, or a mask of CPUs; a vector is one text."""

    id: str
    value: Value

    @property
    def family(self) -> str:
        return self.id.partition(":")[0]

    @property
    def key(self) -> str:
        return self.id.partition(":")[2]

    @property
    def device(self) -> str:
        return self.key.partition(".")[0]

    @property
    def part(self) -> str:
        return self.key.partition(".")[2]

    @property
    def text(self) -> str:
        """As a file of the kernel takes it, where the value is no set of CPUs."""
        return str(int(self.value)) if isinstance(self.value, bool) else str(self.value)


class Edit(NamedTuple):
    """One directive of nginx. `words` are its arguments, "" takes it away; `first`: only the one whose first argument is that.

    `nested`: also where a server or a location says otherwise. `rest`: arguments behind the first stay as they are.
    """

    context: str
    name: str
    words: str
    first: str
    nested: bool
    rest: bool


class Exported(NamedTuple):
    """`board` is what the study knew of its board; `nic` the card that the load came over, "" for loopback."""

    study: str
    arm: str
    digest: str
    board: Dict[str, str]
    nic: str
    kernel: Tuple[Setting, ...]
    config: str
    nginx: Tuple[Edit, ...]
    pool: Tuple[str, ...]

    @property
    def families(self) -> Tuple[str, ...]:
        there = {one.family for one in self.kernel}
        there.update(["nginx"] if self.nginx else [], ["fpm"] if self.pool else [])
        return tuple(name for name in FAMILIES if name in there)

    def of(self, *families: str) -> List[Setting]:
        return [one for one in self.kernel if one.family in families]

    def without(self, families: Tuple[str, ...]) -> Exported:
        """The same without these families."""
        return self._replace(
            kernel=tuple(one for one in self.kernel if one.family not in families),
            nginx=() if "nginx" in families else self.nginx,
            pool=() if "fpm" in families else self.pool,
        )


def read(path: str) -> Exported:
    """Raises Fault for what `autotune export` can't have written."""
    try:
        with open(path, encoding="utf-8") as file:
            return from_text(file.read(_CAP))
    except OSError as problem:
        raise Fault(
            "not permitted", f"{path}: {problem.strerror}", "run it where autotune export put it"
        ) from None
    except ValueError as problem:
        raise Fault(
            "refused", f"{path} is not as autotune export wrote it: {problem}", "export again"
        ) from None


def from_text(text: str) -> Exported:
    """Raises ValueError."""
    try:
        return _exported(json.loads(text))
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{type(problem).__name__} {problem}") from None


def _exported(found: Dict[str, Any]) -> Exported:
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']!r}, this program reads {FORMAT}")
    board = {str(name): str(text) for name, text in found["board"].items()}
    return Exported(
        study=str(found["study"]),
        arm=str(found["arm"]),
        digest=str(found["fingerprint"]),
        board=board,
        nic=_fits(_NIC, found["nic"]) if found["nic"] else "",
        kernel=tuple(_setting(one) for one in found["kernel"]),
        config=_fits(_PLAIN_PATH, found["config"]),
        nginx=tuple(_edit(one) for one in found["nginx"]),
        pool=tuple(_fits(_POOL_LINE, one) for one in found["pool"]),
    )


def _setting(found: Dict[str, Any]) -> Setting:
    value = found["value"]
    if isinstance(value, str):
        _fits(_WORD, value)
    elif not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no value")
    return Setting(_fits(_ID, found["id"]), value)


def _edit(found: Dict[str, Any]) -> Edit:
    if found["context"] not in CONTEXTS:
        raise ValueError(f"{found['context']!r} is no context")
    return Edit(
        context=found["context"],
        name=_fits(_NGINX_NAME, found["name"]),
        words=_fits(_NGINX_WORDS, found["words"]),
        first=_fits(_NGINX_WORDS, found["first"]),
        nested=found["nested"] is True,
        rest=found["rest"] is True,
    )


def _fits(pattern: "re.Pattern[str]", text: Any) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"{str(text)[:60]!r} is not a plain word")
    return text
