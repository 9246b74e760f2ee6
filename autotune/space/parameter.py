"""A parameter: a setting that a study lets vary, and how far."""

from __future__ import annotations

from enum import StrEnum

from autotune.space.expression import Expression
from autotune.space.record import Record
from autotune.space.setting import NUMERIC, Kind, Setting
from autotune.space.value import Value


class Scale(StrEnum):
    LINEAR = "linear"
    LOG = "log"


class Span(Record):
    """An inclusive numeric range in the setting's unit. `step` None: every value between."""

    low: float
    high: float
    scale: Scale = Scale.LINEAR
    step: float | None = None


class Parameter(Record):
    """One dimension of a search space.

    Exactly one of these describes the numbers or words: `values` (an explicit list, in order), `span` (numeric kinds),
    `spans` (one per element of a vector; low == high holds an element still). A SWITCH needs none of them.
    `specials` are words offered beside the numbers. `when` None: always active; an inactive parameter stays at stock.
    """

    setting: Setting
    values: tuple[Value, ...] = ()
    span: Span | None = None
    spans: tuple[Span, ...] = ()
    specials: tuple[str, ...] = ()
    when: Expression | None = None
    why: str

    @property
    def id(self) -> str:
        return self.setting.id

    @property
    def choices(self) -> tuple[Value, ...]:
        """The finite list of values, or () for a range."""
        if self.setting.kind is Kind.SWITCH:
            return self.values or (False, True)
        return self.values

    def reason_outside(self, value: Value) -> str:
        """Why this value is not one the parameter may take; empty when it is."""
        if value in self.specials and isinstance(value, str):
            return ""
        if self.choices:
            return (
                ""
                if any(value == one and type(value) is type(one) for one in self.choices)
                else "not in the list"
            )
        if self.setting.kind is Kind.VECTOR and isinstance(value, tuple):
            if len(value) != len(self.spans):
                return "wrong number of elements"
            inside = all(span.low <= item <= span.high for item, span in zip(value, self.spans, strict=True))
            return "" if inside else "outside the range"
        if self.setting.kind in NUMERIC and isinstance(value, (int, float)) and self.span is not None:
            return "" if self.span.low <= value <= self.span.high else "outside the range"
        return "not a value of this parameter"


class Derived(Record):
    """A setting computed from others (worker_rlimit_nofile = 2 * worker_connections). Rounded, clipped to its limits."""

    setting: Setting
    expression: Expression
    why: str


class Rule(Record):
    """A relation every configuration must keep (listen.backlog <= somaxconn)."""

    expression: Expression
    why: str


class BrokenRule(Record):
    """A rule a configuration breaks, and by how much (relative, > 0)."""

    rule: Rule
    excess: float
