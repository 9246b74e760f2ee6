"""The search space: ordered parameters, rules between them, and values derived from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from autotune.space.configuration import Configuration
from autotune.space.expression import Unanswerable
from autotune.space.parameter import BrokenRule, Derived, Parameter, Rule
from autotune.space.record import Record
from autotune.space.setting import Setting
from autotune.space.value import Value


class Dropped(Record):
    """A parameter, rule or step that can't be used here, and why."""

    id: str
    reason: str


class SearchSpace(Record):
    """What may vary in one study. Parents stand before the parameters whose conditions name them.

    `context` has the settings that conditions and rules speak of without their being varied: read, never written.
    """

    title: str
    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...] = ()
    derived: tuple[Derived, ...] = ()
    context: tuple[Setting, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(parameter.id for parameter in self.parameters)

    def parameter(self, id_: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.id == id_)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def is_active(self, parameter: Parameter, values: Mapping[str, Value]) -> bool:
        """Whether a parameter counts, given the values (choice over stock, plus facts) known so far."""
        if parameter.when is None:
            return True
        try:
            return parameter.when.holds(values)
        except Unanswerable:
            return False

    def complete(
        self, chosen: Mapping[str, Value], stock: Mapping[str, Value], facts: Mapping[str, Value]
    ) -> Configuration:
        """The configuration for a sampler's choice: inactive values left out, derived ones computed."""
        kept: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.id in chosen and self.is_active(parameter, {**stock, **facts, **kept}):
                kept[parameter.id] = chosen[parameter.id]
        for derived in self.derived:
            try:
                number = round(derived.expression.number({**stock, **facts, **kept}))
            except Unanswerable:
                continue
            setting = derived.setting
            number = max(number, int(setting.low)) if setting.low is not None else number
            kept[setting.id] = min(number, int(setting.high)) if setting.high is not None else number
        return Configuration.of(kept)

    def broken_rules(
        self, configuration: Configuration, stock: Mapping[str, Value], facts: Mapping[str, Value]
    ) -> tuple[BrokenRule, ...]:
        """Rules that this configuration breaks; a rule that speaks of something absent here is not broken."""
        values = {**stock, **facts, **configuration.mapping}
        broken = []
        for rule in self.rules:
            try:
                excess = rule.expression.excess(values)
            except Unanswerable:
                continue
            if excess > 0:
                broken.append(BrokenRule(rule=rule, excess=excess))
        return tuple(broken)

    def reasons_outside(
        self, configuration: Configuration, stock: Mapping[str, Value], facts: Mapping[str, Value]
    ) -> tuple[Dropped, ...]:
        """Why this configuration is not a point of the space; () when the sampler can be told of it."""
        reasons = []
        mine = {parameter.id: parameter for parameter in self.parameters}
        computed = {derived.setting.id for derived in self.derived}
        for id_, value in configuration.against(stock).values:
            if id_ in mine:
                if reason := mine[id_].reason_outside(value):
                    reasons.append(Dropped(id=id_, reason=reason))
            elif id_ not in computed:
                reasons.append(Dropped(id=id_, reason="not a parameter of this space"))
        reasons += [
            Dropped(id=broken.rule.expression.text, reason="rule broken")
            for broken in self.broken_rules(configuration, stock, facts)
        ]
        return tuple(reasons)

    def offering(self, offered: Mapping[str, tuple[str, ...]]) -> SearchSpace:
        """The space with only the words that a board offers, for settings whose words depend on the board."""
        return self.model_copy(
            update={
                "parameters": tuple(
                    one.model_copy(update={"values": tuple(v for v in one.values if v in offered[one.id])})
                    if one.id in offered and one.values
                    else one
                    for one in self.parameters
                )
            }
        )

    def without(self, dropped: Mapping[str, str]) -> SearchSpace:
        """The space that is left when these ids (with their reasons) can't be used."""
        return self.model_copy(
            update={
                "parameters": tuple(one for one in self.parameters if one.id not in dropped),
                "derived": tuple(one for one in self.derived if one.setting.id not in dropped),
            }
        )
