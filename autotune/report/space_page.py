"""A search space as a page: what may vary, how far, under which condition, and why."""

from __future__ import annotations

from typing import Any

from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.words import count_text
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind, Setting


def space_page(space: SearchSpace) -> Page:
    """Parameters by family, then rules and derived settings."""
    parts: list[Part] = [
        Paragraph(
            lines=(f"{space.title or 'search space'}: {count_text(len(space.parameters), 'parameter')}",),
            tone="headline",
        )
    ]
    for family in dict.fromkeys(one.setting.family for one in space.parameters):
        mine = [one for one in space.parameters if one.setting.family == family]
        parts.append(
            Table(
                title=family,
                columns=("parameter", "range", "scale", "special", "when", "why"),
                rows=tuple(
                    (
                        one.setting.key + (" *" if one.setting.changes_service else ""),
                        range_text(one),
                        scale_text(one),
                        ", ".join(one.specials) or "-",
                        one.when.text if one.when else "always",
                        one.why,
                    )
                    for one in mine
                ),
            )
        )
    if any(one.setting.changes_service for one in space.parameters):
        parts.append(Paragraph(lines=("* changes what is served, not only how fast",), tone="quiet"))
    parts.append(
        Table(
            title="rules every configuration keeps",
            columns=("rule", "why"),
            rows=tuple((one.expression.text, one.why) for one in space.rules),
        )
    )
    parts.append(
        Table(
            title="derived settings",
            columns=("setting", "is", "why"),
            rows=tuple((one.setting.id, one.expression.text, one.why) for one in space.derived),
        )
    )
    return Page(parts=tuple(parts))


def space_json(space: SearchSpace) -> dict[str, Any]:
    """The same as data."""
    return {
        "title": space.title,
        "fingerprint": space.fingerprint,
        "parameters": [
            {
                "id": one.id,
                "kind": str(one.setting.kind),
                "range": range_text(one),
                "scale": scale_text(one),
                "specials": list(one.specials),
                "when": one.when.text if one.when else None,
                "changes_service": one.setting.changes_service,
                "why": one.why,
            }
            for one in space.parameters
        ],
        "rules": [{"rule": one.expression.text, "why": one.why} for one in space.rules],
        "derived": [
            {"id": one.setting.id, "expression": one.expression.text, "why": one.why} for one in space.derived
        ],
    }


def range_text(parameter: Parameter) -> str:
    """Such as: off | on; 64k to 1m; 4k to 4k, 16k to 1m, 64k to 64m for a vector"""
    setting = parameter.setting
    if parameter.choices:
        return " | ".join(setting.show(value) for value in parameter.choices)
    if parameter.spans:
        return ", ".join(_span_text(setting, span) for span in parameter.spans)
    return _span_text(setting, parameter.span) if parameter.span else "whatever the board lists"


def scale_text(parameter: Parameter) -> str:
    """How a sampler walks through it: log, linear, choice."""
    if parameter.choices:
        return "choice"
    spans = parameter.spans or ((parameter.span,) if parameter.span else ())
    return "log" if any(span.scale is Scale.LOG for span in spans) else "linear"


def _span_text(setting: Setting, span: Span) -> str:
    if span.low == span.high:
        return _number_text(setting, span.low)
    text = f"{_number_text(setting, span.low)} to {_number_text(setting, span.high)}"
    return text if span.step is None else f"{text} by {_number_text(setting, span.step)}"


def _number_text(setting: Setting, number: float) -> str:
    return setting.show(number if setting.kind is Kind.FLOAT or number != int(number) else int(number))
