"""Small shapes that a board's truth is put together from: what a value is worth, between 0 (nothing) and 1 (all of it)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from autotune.experiment.study import ManagedNginx, Study, Workload
from autotune.space.value import Value

Values: TypeAlias = Mapping[str, Value]
Worth: TypeAlias = Callable[[Value], float]

SMALL_BYTES: Final = 1024
LARGE_BYTES: Final = 100 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one request of a load fetches. `largeness`: 0 for 1 KB, 1 for 100 KB, by the logarithm of the size."""

    share: float
    largeness: float
    is_php: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the whole of an effect changes ln(requests/s) by, for 1 KB, 100 KB and a PHP page."""

    small: float = 0.0
    large: float = 0.0
    php: float = 0.0

    def of(self, page: Page) -> float:
        if page.is_php:
            return self.php
        return self.small + page.largeness * (self.large - self.small)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One setting's effect. `when`: it counts only while these settings have these values (parents of a child)."""

    id: str
    worth: Worth
    gain: Gain
    when: Callable[[Values], bool] | None = None

    def of(self, values: Values, page: Page) -> float:
        """The change of ln(requests/s); 0 where the board lacks the setting or its parent is off."""
        if self.id not in values or (self.when is not None and not self.when(values)):
            return 0.0
        return self.worth(values[self.id]) * self.gain.of(page)


def table(worth: Mapping[Value, float]) -> Worth:
    """What each of these values is worth; any other 0."""
    return lambda value: worth.get(value, 0.0)


def ramp(low: float, high: float, *, otherwise: float = 0.0) -> Worth:
    """0 up to `low`, 1 from `high` on (or downwards), between them by the logarithm. `otherwise`: of a word such as "unset"."""

    def worth(value: Value) -> float:
        if isinstance(value, (str, tuple)):
            return otherwise
        return min(1.0, max(0.0, math.log(max(value, 1e-9) / low) / math.log(high / low)))

    return worth


def linear(low: float, high: float, *, otherwise: float = 0.0) -> Worth:
    """0 at `low`, 1 at `high`, a straight line between, level outside."""

    def worth(value: Value) -> float:
        if isinstance(value, (str, tuple)):
            return otherwise
        return min(1.0, max(0.0, (value - low) / (high - low)))

    return worth


def peak(best: float, *, octaves: float, otherwise: float = 0.0) -> Worth:
    """1 at `best`, 0 so many doublings away on either side, and negative beyond, down to -2."""

    def worth(value: Value) -> float:
        if isinstance(value, (str, tuple)):
            return otherwise
        away = math.log2(max(value, 1e-9) / best) / octaves
        return max(-2.0, 1 - away * away)

    return worth


def element(index: int, worth: Worth) -> Worth:
    """The worth of one element of a vector."""

    def of_vector(value: Value) -> float:
        return worth(value[index]) if isinstance(value, tuple) else 0.0

    return of_vector


def on(id_: str) -> Callable[[Values], bool]:
    return lambda values: values.get(id_) is True


def off(id_: str) -> Callable[[Values], bool]:
    return lambda values: values.get(id_) is False


def equals(id_: str, *wanted: Value) -> Callable[[Values], bool]:
    return lambda values: values.get(id_) in wanted


def differs(id_: str, unwanted: Value) -> Callable[[Values], bool]:
    return lambda values: values.get(id_, unwanted) != unwanted


def pages_of(study: Study, workload: Workload) -> tuple[Page, ...]:
    """What the workload fetches; a URL that the study's server has no file for counts as a 16 KB file."""
    total = math.fsum(url.weight for url in workload.urls)
    return tuple(_page(study, url.target, url.weight / total) for url in workload.urls)


def wire_bytes(study: Study, workload: Workload) -> float:
    """Bytes of one answer with its headers, over the mix."""
    total = math.fsum(url.weight for url in workload.urls)
    return math.fsum(url.weight * (_size_of(study, url.target) + 239) for url in workload.urls) / total


def _page(study: Study, target: str, share: float) -> Page:
    span = math.log(LARGE_BYTES / SMALL_BYTES)
    largeness = math.log(max(_size_of(study, target), 1) / SMALL_BYTES) / span
    return Page(
        share=share,
        largeness=min(1.2, max(0.0, largeness)),
        is_php=target.partition("?")[0].endswith(".php"),
    )


def _size_of(study: Study, target: str) -> int:
    files = study.server.files if isinstance(study.server, ManagedNginx) else ()
    return next((file.size_bytes for file in files if file.path == target), 16384)
