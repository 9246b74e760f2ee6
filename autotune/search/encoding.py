"""Configurations in a sampler's words and back, for the space as it was frozen on the study's first night."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.distributions import BaseDistribution

from autotune.errors import AutotuneError
from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.search.distributions import Draw, Drawn, ParameterAxes
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One configuration as a sampler knows it: parameters by name, and what each was drawn from."""

    drawn: dict[str, Drawn]
    distributions: dict[str, BaseDistribution]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The translation, the same for every night of a study.

    `stock` and `facts` are those of the first night: a second evening's slightly different reading can change neither
    what is drawn nor which parameters count.
    """

    space: SearchSpace
    stock: Mapping[str, Value]
    facts: Mapping[str, Value]
    parameters: tuple[ParameterAxes, ...]
    points: dict[Configuration, Point] = field(default_factory=dict, compare=False, repr=False)
    """What has been encoded already: every ask tells the sampler of all trials again."""

    @classmethod
    def of(cls, study: Study, first: NightBegun) -> Encoding:
        usable = set(first.space_ids)
        space = study.space.offering(first.offered)
        hand_tuned = first.hand_tuned.mapping if not first.hand_tuned_outside else {}
        axes = (
            ParameterAxes.of(parameter, first.stock[parameter.id], hand_tuned.get(parameter.id))
            for parameter in space.parameters
            if parameter.id in usable and parameter.id in first.stock
        )
        return cls(
            space=space,
            stock=first.stock,
            facts=first.facts,
            parameters=tuple(one for one in axes if one.can_vary),
        )

    def encode(self, configuration: Configuration) -> Point:
        """Every parameter that counts in this configuration; what it doesn't name is at stock."""
        point = self.points.get(configuration)
        if point is None:
            point = self.points[configuration] = self._encoded(configuration)
        return point

    def _encoded(self, configuration: Configuration) -> Point:
        values = configuration.over(self.stock)
        drawn: dict[str, Drawn] = {}
        distributions: dict[str, BaseDistribution] = {}
        for one in self.parameters:
            if not self._is_active(one.parameter, values):
                continue
            told = one.drawn_of(values[one.parameter.id]) or one.drawn_of(self.stock[one.parameter.id])
            for axis, what in told:
                drawn[axis.name] = what
                distributions[axis.name] = axis.distribution
        return Point(drawn=drawn, distributions=distributions)

    def decode(self, point: Point) -> dict[str, Value]:
        """The values of a point, exactly: the inverse of `encode` for every parameter that counts."""
        return self._values(lambda name, _: point.drawn[name], exact=True)

    def draw(self, draw: Draw) -> dict[str, Value]:
        """A choice of values that the study lets us try, from a sampler's answers; only asks for what counts."""
        return self._values(draw, exact=False)

    def _values(self, draw: Draw, *, exact: bool) -> dict[str, Value]:
        chosen: dict[str, Value] = {}
        for one in self.parameters:
            if self._is_active(one.parameter, {**self.stock, **chosen}):
                chosen[one.parameter.id] = one.value_of(draw, exact=exact)
        return chosen

    def _is_active(self, parameter: Parameter, values: Mapping[str, Value]) -> bool:
        if parameter.when is None:
            return True
        return self.space.is_active(parameter, {**values, **self.facts})


def nights(log: Sequence[Event]) -> Iterator[NightBegun]:
    return (event for event in log if isinstance(event, NightBegun))


@dataclass(frozen=True, slots=True)
class _Made:
    """An encoding and what it was made from."""

    study: Study
    first: NightBegun
    encoding: Encoding


_LATEST: list[_Made] = []


def encoding_of(study: Study, log: Sequence[Event]) -> Encoding:
    """The encoding of a study that has begun; the one made last when it is that of the very same (immutable) records."""
    first = next(nights(log), None)
    if first is None:
        raise AutotuneError(f"no night of study {study.name} has begun yet", hint="`autotune run` begins one")
    if not (_LATEST and _LATEST[0].study is study and _LATEST[0].first is first):
        _LATEST[:] = [_Made(study, first, Encoding.of(study, first))]
    return _LATEST[0].encoding
