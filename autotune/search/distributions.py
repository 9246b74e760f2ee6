"""One parameter in a sampler's words: what Optuna draws for it, and what that stands for.

Decided on the first day of a study, because a study can't change a distribution later:

- a whole number with more than 16 values, and any float, is a float, logarithmic where the scale is, and rounded by us;
- a whole number with at most 16 values is an integer;
- a size (or an element of a vector) on a logarithmic scale whose range goes from one power of two to another is only
  ever drawn as a power of two; when stock and the hand-tuned value are powers too, it is the small integer exponent,
  named `log2 <id>`, else a float that we round to the nearest power;
- an explicit list of numbers is an index, named `<id>#`; switches are booleans, other lists are texts;
- words beside the numbers ("unset", "off") are a choice of their own, named `<id>?`: the number only counts when that
  choice says "number";
- a vector is its elements, named `<id>[0]`, `<id>[1]`, …; an element that is held still is none.

Every range is widened to hold stock, so that stock can be told of; what is drawn in the widened part is moved to stock
or to the nearest end of the range, so that nothing is tried which the study doesn't allow.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.setting import NUMERIC, Kind
from autotune.space.value import Value, value_text

Drawn: TypeAlias = bool | int | float | str
Draw: TypeAlias = Callable[[str, BaseDistribution], Drawn]

FEW = 16
NUMBER = "number"
_WHOLE_KIB_FROM = 16 * 1024


class Axis(Protocol):
    """One dimension of the sampler's space."""

    @property
    def name(self) -> str: ...

    @property
    def distribution(self) -> BaseDistribution: ...

    def drawn_of(self, value: Value) -> Drawn:
        """What a sampler would have drawn for this value; the nearest it can draw when it can't be drawn."""
        ...

    def value_of(self, drawn: Drawn) -> Value:
        """The inverse of `drawn_of`."""
        ...

    def allowed(self, value: Value) -> Value:
        """The value nearest to this one that the study lets us try."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberAxis:
    """Numbers of a range. `low` and `high` are widened to hold what is known (stock); `span` is what may be tried."""

    name: str
    span: Span
    stock: float | None
    low: float
    high: float
    whole: bool
    powers: bool
    kibibytes: bool
    distribution: BaseDistribution

    @classmethod
    def of(
        cls, name: str, span: Span, stock: float | None, hand_tuned: float | None, *, whole: bool, size: bool
    ) -> NumberAxis:
        known = [number for number in (stock, hand_tuned) if number is not None]
        low, high = min(span.low, *known, span.high), max(span.high, *known, span.low)
        log = span.scale is Scale.LOG and low > 0
        powers = whole and size and log and not span.step and _is_power(span.low) and _is_power(span.high)
        distribution: BaseDistribution
        if powers and all(_is_power(number) for number in known):
            name = f"log2 {name}"
            distribution = IntDistribution(_exponent(low), _exponent(high))
        elif whole and not powers and high - low < FEW and (span.step or 1) <= 1:
            distribution = IntDistribution(math.ceil(low), math.floor(high), log=log)
        else:
            distribution = FloatDistribution(float(low), float(high), log=log)
        return cls(
            name=name,
            span=span,
            stock=stock,
            low=low,
            high=high,
            whole=whole,
            powers=powers,
            kibibytes=size and span.low >= _WHOLE_KIB_FROM,
            distribution=distribution,
        )

    def drawn_of(self, value: Value) -> Drawn:
        number = min(max(_number(value), self.low), self.high)
        if not isinstance(self.distribution, IntDistribution):
            return float(number)
        return round(math.log2(number)) if self.is_exponent else round(number)

    def value_of(self, drawn: Drawn) -> Value:
        number = _number(drawn)
        if self.is_exponent:
            return 1 << round(number)
        return round(number) if self.whole else number

    def allowed(self, value: Value) -> Value:
        number = _number(value)
        span = self.span
        if self.stock is not None and (number < span.low or number > span.high):
            end = span.low if number < span.low else span.high
            outside = self.stock < span.low if number < span.low else self.stock > span.high
            if outside and self._apart(number, self.stock) <= self._apart(number, end):
                return round(self.stock) if self.whole else self.stock
        number = min(max(number, span.low), span.high)
        if span.step:
            steps = min(
                round((number - span.low) / span.step), math.floor((span.high - span.low) / span.step + 1e-9)
            )
            number = span.low + steps * span.step
        elif self.powers:
            number = 1 << round(math.log2(number))
        elif self.kibibytes:
            number = round(number / 1024) * 1024
        if not self.whole:
            return min(max(float(f"{number:.6g}"), span.low), span.high)
        return min(max(round(number), math.ceil(span.low)), math.floor(span.high))

    @property
    def is_exponent(self) -> bool:
        """Whether it can say powers of two alone."""
        return self.powers and isinstance(self.distribution, IntDistribution)

    def _apart(self, left: float, right: float) -> float:
        if self.span.scale is Scale.LOG and left > 0 and right > 0:
            return abs(math.log(left / right))
        return abs(left - right)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAxis:
    """An explicit list of numbers, drawn by its place in it."""

    name: str
    numbers: tuple[float, ...]
    distribution: IntDistribution

    @classmethod
    def of(cls, name: str, numbers: Sequence[float], stock: float | None) -> IndexAxis:
        listed = list(numbers)
        if stock is not None and stock not in listed:
            if all(left <= right for left, right in itertools.pairwise(listed)):
                bisect.insort(listed, stock)
            else:
                listed.append(stock)
        return cls(
            name=f"{name}#", numbers=tuple(listed), distribution=IntDistribution(0, max(0, len(listed) - 1))
        )

    def drawn_of(self, value: Value) -> Drawn:
        number = _number(value)
        return min(range(len(self.numbers)), key=lambda place: abs(self.numbers[place] - number))

    def value_of(self, drawn: Drawn) -> Value:
        return self.numbers[int(drawn)]

    def allowed(self, value: Value) -> Value:
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceAxis:
    """Values without an order, drawn by their label: booleans and words are their own."""

    name: str
    labels: tuple[Drawn, ...]
    values: tuple[Value, ...]
    stock: int
    distribution: CategoricalDistribution

    @classmethod
    def of(cls, parameter: Parameter, values: Sequence[Value], stock: Value | None) -> ChoiceAxis:
        listed = list(values)
        if stock is not None and not any(_same(stock, one) for one in listed):
            listed.append(stock)
        plain = all(isinstance(one, bool) for one in listed) or all(isinstance(one, str) for one in listed)
        labels = tuple(cast("Drawn", one) if plain else _label(parameter, one) for one in listed)
        if len(set(labels)) < len(labels):
            labels = tuple(json.dumps(one) for one in listed)
        return cls(
            name=parameter.id,
            labels=labels,
            values=tuple(listed),
            stock=next(
                (place for place, one in enumerate(listed) if stock is not None and _same(stock, one)), 0
            ),
            distribution=CategoricalDistribution(labels),
        )

    def drawn_of(self, value: Value) -> Drawn:
        places = (place for place, one in enumerate(self.values) if _same(value, one))
        return self.labels[next(places, self.stock)]

    def value_of(self, drawn: Drawn) -> Value:
        return self.values[next(place for place, one in enumerate(self.labels) if _same(drawn, one))]

    def allowed(self, value: Value) -> Value:
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterAxes:
    """A parameter as the sampler sees it: an optional choice between words and numbers, and the numbers' axes."""

    parameter: Parameter
    stock: Value | None
    words: ChoiceAxis | None
    axes: tuple[Axis, ...]
    still: tuple[int | None, ...]  # of a vector, the elements that never vary

    @classmethod
    def of(cls, parameter: Parameter, stock: Value | None, hand_tuned: Value | None) -> ParameterAxes:
        """`stock` and `hand_tuned` as they are on the study's first night; None: not known."""
        specials = [word for word in parameter.choices if _is_word_beside_numbers(parameter, word)]
        specials += [word for word in parameter.specials if word not in specials]
        if stock is not None and _is_word_beside_numbers(parameter, stock) and stock not in specials:
            specials.append(stock)
        axes, still = _axes(parameter, stock, hand_tuned)
        words = None
        if specials and _has_numbers(parameter):
            labels = (*((NUMBER,) if axes or still else ()), *(str(word) for word in specials))
            first = labels.index(stock) if isinstance(stock, str) and stock in labels else 0
            words = ChoiceAxis(
                name=f"{parameter.id}?",
                labels=labels,
                values=labels,
                stock=first,
                distribution=CategoricalDistribution(labels),
            )
        return cls(parameter=parameter, stock=stock, words=words, axes=axes, still=still)

    @property
    def can_vary(self) -> bool:
        return self.words is not None or bool(self.axes)

    def drawn_of(self, value: Value) -> tuple[tuple[Axis, Drawn], ...]:
        """What a sampler would have drawn for this value; () for one that no draw can stand for."""
        drawn: tuple[tuple[Axis, Drawn], ...] = ()
        if self.words is not None:
            word = self.words.drawn_of(value if isinstance(value, str) else NUMBER)
            drawn = ((self.words, word),)
            if word != NUMBER:
                return drawn
        if not self.still:
            unreadable = _has_numbers(self.parameter) and isinstance(value, (str, tuple))
            return () if unreadable else (*drawn, *((axis, axis.drawn_of(value)) for axis in self.axes))
        if not isinstance(value, tuple) or len(value) != len(self.still):
            return ()
        varying = [element for element, still in zip(value, self.still, strict=True) if still is None]
        return (
            *drawn,
            *((axis, axis.drawn_of(element)) for axis, element in zip(self.axes, varying, strict=True)),
        )

    def value_of(self, draw: Draw, *, exact: bool) -> Value:
        """The value for what `draw` answers; unless `exact`, the nearest one that the study lets us try."""
        if self.words is not None:
            word = draw(self.words.name, self.words.distribution)
            if word != NUMBER:
                return word
        values = []
        for axis in self.axes:
            value = axis.value_of(draw(axis.name, axis.distribution))
            values.append(value if exact else axis.allowed(value))
        if not self.still:
            return values[0]
        varying = iter(values)
        elements = tuple(int(_number(next(varying))) if still is None else still for still in self.still)
        if exact or elements == self.stock:
            return elements
        axes = iter(self.axes)
        powers = [still is None and _says_powers(next(axes)) for still in self.still]
        return _rising(elements, self.parameter.spans, powers)


def _axes(
    parameter: Parameter, stock: Value | None, hand_tuned: Value | None
) -> tuple[tuple[Axis, ...], tuple[int | None, ...]]:
    setting = parameter.setting
    values = [one for one in parameter.choices if not _is_word_beside_numbers(parameter, one)]
    if not values and setting.kind is Kind.CHOICE:
        values = list(setting.choices)
    if values and setting.kind in NUMERIC:
        return (IndexAxis.of(parameter.id, [_number(one) for one in values], _maybe_number(stock)),), ()
    if values or setting.kind not in NUMERIC | {Kind.VECTOR}:
        return (ChoiceAxis.of(parameter, values, stock),), ()
    if setting.kind is Kind.VECTOR:
        return _vector_axes(parameter, stock, hand_tuned)
    if parameter.span is None:
        return (), ()
    return (
        NumberAxis.of(
            parameter.id,
            parameter.span,
            _maybe_number(stock),
            _maybe_number(hand_tuned),
            whole=setting.kind is not Kind.FLOAT,
            size=setting.kind is Kind.SIZE,
        ),
    ), ()


def _vector_axes(
    parameter: Parameter, stock: Value | None, hand_tuned: Value | None
) -> tuple[tuple[Axis, ...], tuple[int | None, ...]]:
    axes: list[Axis] = []
    still: list[int | None] = []
    for place, span in enumerate(parameter.spans):
        known = [
            vector[place] if isinstance(vector, tuple) and len(vector) > place else None
            for vector in (stock, hand_tuned)
        ]
        if span.low == span.high and all(one in (None, span.low) for one in known):
            still.append(int(span.low))
            continue
        still.append(None)
        axes.append(NumberAxis.of(f"{parameter.id}[{place}]", span, *known, whole=True, size=True))
    return tuple(axes), tuple(still)


def _says_powers(axis: Axis) -> bool:
    return isinstance(axis, NumberAxis) and axis.is_exponent


def _rising(elements: Sequence[int], spans: Sequence[Span], powers: Sequence[bool]) -> tuple[int, ...]:
    """Elements inside their ranges that don't decrease from left to right, each moved as little as that asks for.

    `powers`: which of them stay powers of two, because their axis can say no other number.
    """
    rising: list[int] = []
    floor = 0
    for element, span, is_power in zip(elements, spans, powers, strict=True):
        floor = max(floor, min(max(element, math.ceil(span.low)), math.floor(span.high)))
        floor = _power_from(floor) if is_power else floor
        rising.append(floor)
    ceiling = rising[-1]
    for place in range(len(rising) - 1, -1, -1):
        ceiling = min(ceiling, rising[place], math.floor(spans[place].high))
        ceiling = 1 << _exponent(max(ceiling, 1)) if powers[place] else ceiling
        rising[place] = ceiling
    return tuple(rising)


def _has_numbers(parameter: Parameter) -> bool:
    return parameter.setting.kind in NUMERIC | {Kind.VECTOR}


def _is_word_beside_numbers(parameter: Parameter, value: Value) -> bool:
    return isinstance(value, str) and _has_numbers(parameter)


def _label(parameter: Parameter, value: Value) -> str:
    return (
        hex(value)
        if parameter.setting.kind is Kind.CPU_MASK and isinstance(value, int)
        else value_text(value)
    )


def _same(left: Value, right: Value) -> bool:
    """Equal and of one type: True is not 1."""
    return left == right and type(left) is type(right)


def _number(value: Value) -> float:
    if isinstance(value, (str, tuple)):
        message = f"{value!r} is not a number"
        raise TypeError(message)
    return value


def _maybe_number(value: Value | None) -> float | None:
    return None if value is None or isinstance(value, (str, tuple)) else value


def _is_power(number: float) -> bool:
    return number >= 1 and number == int(number) and int(number).bit_count() == 1


def _power_from(number: int) -> int:
    """The power of two that is at least this number."""
    return 1 << max(number - 1, 0).bit_length()


def _exponent(number: float) -> int:
    return int(number).bit_length() - 1
