"""Names taken out of a study, so that it can be handed on: the same pseudonym for the same name, wherever it stands.

Some names are known by their place (a board's address, its host's name, the URLs of the user's own sites), some by their form (addresses of
networks and cards, boot ids, /home/NAME, user@host, domains). The former are then looked for in every text; what decides the night's
steps (settings, values, stages) changes only where a form is unmistakable. Names stay apart from each other, so the redacted log leads to the same next step.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from autotune.experiment.bench import Finished, Measure
from autotune.experiment.events import (
    AppliedStep,
    Distilled,
    Doubt,
    Event,
    Failure,
    Gap,
    GateResult,
    NightBegun,
    NightEnded,
    Plan,
    Sample,
    Subsets,
    Void,
)
from autotune.experiment.study import (
    Builds,
    Goal,
    HandTunedSequence,
    HandTunedStep,
    Limit,
    ManagedNginx,
    OwnNginx,
    PowerMeter,
    Study,
    UnsupportedItem,
    Url,
    Workload,
)
from autotune.space.build import BuildRecipe
from autotune.space.configuration import Configuration
from autotune.space.parameter import Derived, Parameter, Rule
from autotune.space.record import Record
from autotune.space.search_space import Dropped, SearchSpace

_R = TypeVar("_R", bound=Record)

# Fields whose texts (of a dict: whose keys) are a person's or a machine's own words. Everything else is what decisions are made from.
_WORDS: Final[Mapping[type[Record], frozenset[str]]] = {
    Study: frozenset({"title", "board", "load"}),
    ManagedNginx: frozenset({"base", "address"}),
    OwnNginx: frozenset({"config", "address"}),
    Url: frozenset({"target"}),
    Workload: frozenset({"name"}),
    Limit: frozenset({"workload"}),
    Goal: frozenset({"workload", "source"}),
    HandTunedSequence: frozenset({"title", "source"}),
    HandTunedStep: frozenset({"name", "why"}),
    UnsupportedItem: frozenset({"reason"}),
    SearchSpace: frozenset({"title"}),
    Parameter: frozenset({"why"}),
    Derived: frozenset({"why"}),
    Rule: frozenset({"why"}),
    BuildRecipe: frozenset({"why"}),
    Builds: frozenset({"source"}),
    PowerMeter: frozenset({"name", "command"}),
    Dropped: frozenset({"reason"}),
    Doubt: frozenset({"text", "next"}),
    GateResult: frozenset({"detail"}),
    AppliedStep: frozenset({"name"}),
    NightBegun: frozenset({"board"}),
    Plan: frozenset({"reason"}),
    Sample: frozenset({"measurements", "fixed_rate"}),
    Failure: frozenset({"reason"}),
    Void: frozenset({"reason"}),
    Subsets: frozenset({"reason"}),
    Distilled: frozenset({"reason"}),
    Gap: frozenset({"reason"}),
    NightEnded: frozenset({"reason"}),
    Measure: frozenset({"rates"}),
    Finished: frozenset({"reason"}),
}

_MACHINES: Final = frozenset(
    {"host", "load from", "load's way"}
)  # of NightBegun.board; the others are models and versions
# They name nobody; or they are what we put in a name's place.
_NOBODY: Final = frozenset(
    {
        "localhost", "localdomain", "localhost.localdomain", "ip6-localhost", "local", "board", "root", "nobody", "www-data",
        "daemon", "nginx", "wrk", "agent", "guardian", "git", "autotune", "nginx.org", "kernel.org", "debian.org", "ubuntu.com",
    }
)  # fmt: skip
_OURS: Final = re.compile(r"(?:host|user|name)-[0-9]+(?:\.example)?", re.IGNORECASE)
_HOST: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_HOME: Final = re.compile(r"/(?:home|Users)/([A-Za-z0-9_][A-Za-z0-9_.-]*)")
_SSH: Final = re.compile(rf"ssh://(?:([^@/\s]+)@)?({_HOST})")
_AT: Final = re.compile(rf"(?<![\w.+@-])([A-Za-z0-9_][\w.+-]*)@({_HOST})")
_UNIT: Final = re.compile(r"\.(?:service|scope|slice|socket|timer|mount)$")
_PROCESS: Final = re.compile(rf"process [0-9]+ on ({_HOST})|\\bby ({_HOST}) pid [0-9]")
_URL: Final = re.compile(
    r"(?P<scheme>https?://)(?:[^/@\s]*@)?(?P<host>\[[^\]\s]*\]|[A-Za-z0-9_.-]+)(?P<port>:[0-9]+)?(?P<rest>[^\s\"'<>`]*)"
)
_DOMAIN: Final = re.compile(
    r"(?<![\w./@-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+"
    r"(?:com|net|org|info|io|dev|app|edu|gov|biz|eu|uk|de|fr|nl|be|ch|at|it|es|pl|cz|dk|se|no|fi|jp|cn|kr|in|au|nz|br|ca|us"
    r"|cloud|online|site|shop|tech|lan|home|internal|intranet|corp|private|localdomain)(?![\w-])",
    re.IGNORECASE,
)
_FORMS: Final = (
    r"(?P<uuid>(?<![0-9A-Fa-f-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f-]))"
    r"|(?P<card>(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:]))"
    r"|(?P<enx>(?<![A-Za-z0-9])enx[0-9a-f]{12}(?![A-Za-z0-9]))"
    r"|(?P<v4>(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?[0-9]))"
    r"|(?P<v6>(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]))"
)
_ONLY_FORMS: Final = re.compile(_FORMS)
_OUR_UUIDS: Final = "00000000-0000-4000-8000-"
_OUR_CARDS: Final = "02000000"
_KEPT_V4: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15",
    )
)  # fmt: skip
_KEPT_V6: Final = ipaddress.ip_network("2001:db8::/32")


class Redaction:
    """What takes the names out. `replaced` has every name found so far and what stands in its place: not for the bundle."""

    def __init__(
        self, hosts: Iterable[str] = (), users: Iterable[str] = (), others: Iterable[str] = ()
    ) -> None:
        """Names that are known beforehand: of this machine, of who bundles, and whatever else is to go."""
        self.replaced: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._paths: set[str] = set()
        self._pattern = _ONLY_FORMS
        self._done: dict[tuple[str, bool], str] = {}
        for kind, names in (("host", hosts), ("user", users), ("name", others)):
            for name in names:
                self._know(kind, name)

    def learn(self, study: Study, log: Sequence[Event], texts: Iterable[str]) -> None:
        """Finds the names in all of it. To be asked before anything is redacted."""
        for event in log if not study.is_synthetic else ():
            if isinstance(event, NightBegun):
                self._know("host", event.board.get("host", ""))
                load = re.search(rf"\(({_HOST}),", event.board.get("load from", ""))
                self._know("host", load[1] if load else "")
        for url in (url for workload in study.workloads for url in workload.urls):
            if (found := _URL.match(url.target)) is not None:
                self._know_all_of(found["host"])
                if len(found["rest"]) > 1:
                    self._paths.add(found["rest"])
        for address in (study.board, study.load):
            if (reached := _SSH.match(address)) is not None:
                self._know_all_of(reached[2])
        several: list[str] = []
        for record in (study, *log):
            self._walk(record, several.append)
        several += texts
        for text in dict.fromkeys(several):
            self._scan(text)
        domains = [name for name, kind in self._kinds.items() if kind == "host" and "." in name]
        if domains:
            below = re.compile(
                rf"(?<![\w-])(?:[\w-]+\.)+(?:{'|'.join(map(re.escape, domains))})(?![\w-])", re.IGNORECASE
            )
            for text in several:
                for host in below.findall(text):
                    self._know("host", host)
        self._compile()

    def text(self, text: str) -> str:
        """Somebody's or some machine's own words, without the names."""
        return self._redacted(text, words=True)

    def record(self, one: _R) -> _R:
        """The record without the names."""
        words = _WORDS.get(type(one), frozenset())
        fields: dict[str, Any] = {}
        for name in type(one).model_fields:
            value = getattr(one, name)
            change = self.text if name in words else self._form
            if isinstance(one, NightBegun) and name == "board":
                fields[name] = {
                    key: self.text(item) if key in _MACHINES else self._form(item)
                    for key, item in value.items()
                }
            elif isinstance(value, dict):
                fields[name] = {change(key): self._value(item, change) for key, item in value.items()}
            else:
                fields[name] = self._value(value, change)
        if isinstance(one, Configuration):
            fields["values"] = tuple(sorted(fields["values"]))
        return one if all(fields[name] == getattr(one, name) for name in fields) else type(one)(**fields)

    # Inside

    def _value(self, value: Any, change: Callable[[str], str]) -> Any:
        if isinstance(value, str):
            return value if type(value) is not str else change(value)
        if isinstance(value, Record):
            return self.record(value)
        if isinstance(value, tuple):
            new = tuple(self._value(item, change) for item in value)
            return value if all(a is b for a, b in zip(new, value, strict=True)) else new
        return value

    def _walk(self, one: Record, see: Callable[[str], None]) -> None:
        """Every text of the record that holds words."""
        words = _WORDS.get(type(one), frozenset())
        for name in type(one).model_fields:
            value = getattr(one, name)
            several: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
            if isinstance(value, dict):
                several = (*value.values(), *value)
            if name == "board" and isinstance(value, dict):
                several = tuple(value[key] for key in _MACHINES & value.keys())
            for item in several:
                if isinstance(item, Record):
                    self._walk(item, see)
                elif isinstance(item, str) and name in words:
                    see(item)

    def _scan(self, text: str) -> None:
        for found in _SSH.finditer(text):
            self._know("user", found[1] or "")
            self._know("host", found[2])
        for user, host in _AT.findall(text):
            if not _UNIT.search(host):
                self._know("user", user)
                self._know("host", host)
        for first, second in _PROCESS.findall(text):
            self._know("host", first or second)
        for found in _URL.finditer(text):
            self._know("host", found["host"])
        for name in _HOME.findall(text):
            self._know("user", name)
        for name in _DOMAIN.findall(text):
            self._know("host", name)

    def _know(self, kind: str, name: str) -> None:
        """Remembers a name. Users are told from other words by their case, too: radxa, and the model Radxa Rock 5B+."""
        name = name.strip("[].")
        if kind != "user":
            name = name.lower()
        if (
            not name
            or name.lower() in _NOBODY
            or any(name.endswith(f".{known}") for known in _NOBODY if "." in known)
            or _OURS.fullmatch(name)
            or _is_address(name)
        ):
            return
        self._kinds.setdefault(name, kind)
        above = name.partition(".")[2]
        if kind == "host" and "." in above:
            self._know("host", above)

    def _know_all_of(self, host: str) -> None:
        """A host of the study itself, and each part of its name: acme of www.acme.com, too."""
        self._know("host", host)
        if not _is_address(host.strip("[]")):
            for part in host.split(".")[:-1]:
                if len(part) > 2 and part.lower() != "www":
                    self._know("name", part)

    def _compile(self) -> None:
        """One pattern, so that nothing that was put in is looked at again; the longest name first."""
        paths = rf"(?P<path>(?<![\w./-]){_any(self._paths)}(?![\w./%?=&-]))"
        users = _any(name for name, kind in self._kinds.items() if kind == "user")
        others = _any(name for name, kind in self._kinds.items() if kind != "user")
        words = rf"(?P<word>(?<![A-Za-z0-9])(?:(?i:{others})|{users})(?![A-Za-z0-9]))"
        self._pattern = re.compile("|".join([rf"(?P<url>{_URL.pattern})", paths, _FORMS, words]))
        self._done.clear()

    def _form(self, text: str) -> str:
        return self._redacted(text, words=False)

    def _redacted(self, text: str, *, words: bool) -> str:
        known = self._done.get((text, words))
        if known is None:
            new = (self._pattern if words else _ONLY_FORMS).sub(self._instead, text)
            self._done[text, words] = known = text if new == text else new
        return known

    def _instead(self, found: re.Match[str]) -> str:
        what, whole = found.lastgroup, found[0]
        match what:
            case "url":
                return self._url(found)
            case "uuid" if not whole.startswith(_OUR_UUIDS):
                return self._numbered(whole.lower(), what, _OUR_UUIDS + "{:012x}")
            case "card" | "enx":
                return self._card(whole.lower())
            case "v4":
                return self._v4(whole)
            case "v6":
                return self._v6(whole)
            case "path":
                return self._page(whole)
            case "word":
                return self._name(whole)
            case _:
                return whole

    def _url(self, found: re.Match[str]) -> str:
        """Its host, and its path where that is one of the study's own."""
        host, rest = found["host"], found["rest"]
        named = host.lower().rstrip(".")
        new = self._name(named) if self._kinds.get(named) == "host" else self.text(host)
        end = "" if rest in self._paths else rest[len(rest.rstrip(".,;:)!?")) :]
        path = rest.removesuffix(end)
        told = self._page(path) if path in self._paths else self.text(path)
        return f"{found['scheme']}{new}{found['port'] or ''}{told}{end}"

    def _page(self, path: str) -> str:
        return self._numbered(path, "page", "/page-{}")

    def _name(self, name: str) -> str:
        known = name if name in self._kinds else name.lower()
        kind = self._kinds[known]
        return self._numbered(
            known, kind, f"{kind}-{{}}{'.example' if kind == 'host' and '.' in known else ''}"
        )

    def _card(self, text: str) -> str:
        """A network card's address, as such or in its name (enx001122334455)."""
        digits = text.removeprefix("enx").replace(":", "")
        if digits in ("0" * 12, "f" * 12) or digits.startswith(_OUR_CARDS):
            return text
        new = self._numbered(digits, "card", _OUR_CARDS + "{:04x}")
        return f"enx{new}" if text.startswith("enx") else ":".join(re.findall("..", new))

    def _v4(self, text: str) -> str:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            return text
        if any(address in kept for kept in _KEPT_V4):
            return text
        if text not in self.replaced:
            self._counts["v4"] = number = self._counts.get("v4", 0) + 1
            self.replaced[text] = (
                f"192.0.2.{number}" if number < 255 else f"198.18.{number // 256}.{number % 256}"
            )
        return self.replaced[text]

    def _v6(self, text: str) -> str:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            return text
        if address.is_loopback or address.is_unspecified or address in _KEPT_V6:
            return text
        return self._numbered(str(address), "v6", "2001:db8::{:x}")

    def _numbered(self, name: str, kind: str, form: str) -> str:
        """The pseudonym of a name; a new one where it has none, numbered in the order of their first appearance."""
        if name not in self.replaced:
            self._counts[kind] = number = self._counts.get(kind, 0) + 1
            self.replaced[name] = form.format(number)
        return self.replaced[name]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _any(names: Iterable[str]) -> str:
    """A pattern that takes any of them, the longest first; nothing where there are none."""
    several = sorted(names, key=lambda name: (-len(name), name))
    return f"(?:{'|'.join(map(re.escape, several))})" if several else r"(?!)"
