"""A configuration: one full choice of values. What it doesn't name stays as the board has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property

from autotune.space.record import Record
from autotune.space.value import Value


class Configuration(Record):
    """Immutable choice of values by setting id, sorted by id. The empty configuration is stock."""

    values: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Configuration:
        return cls(values=tuple(sorted(values.items())))

    @cached_property
    def mapping(self) -> dict[str, Value]:
        return dict(self.values)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self.mapping)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, id_: str) -> Value:
        return self.mapping[id_]

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same choice, on every machine and in every process: 16 hexadecimal digits."""
        text = json.dumps([[id_, value] for id_, value in self.values], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def over(self, stock: Mapping[str, Value]) -> dict[str, Value]:
        """Every value in force when this configuration lies over `stock`."""
        return {**stock, **self.mapping}

    def against(self, stock: Mapping[str, Value]) -> Configuration:
        """Only what differs from `stock`: two configurations equal in this form are the same on that board."""
        return Configuration.of({id_: value for id_, value in self.values if stock.get(id_) != value})

    def merged(self, later: Configuration) -> Configuration:
        """The configuration that results when `later` is laid over this one."""
        return Configuration.of({**self.mapping, **later.mapping})
