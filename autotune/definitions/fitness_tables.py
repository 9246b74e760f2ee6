"""Reads when a board is fit to measure on and where its watts are read: [fitness] and [power]."""

from __future__ import annotations

import re
from typing import Final, Literal

from autotune.definitions.table import Table
from autotune.experiment.study import FitnessLimits, PowerMeter

_HWMON: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[1-9][0-9]?)?")
_FILE: Final = re.compile(r"(?:/[A-Za-z0-9_:@+-][A-Za-z0-9_.:@+-]*){1,16}")
_ACCEPTED: Final = '"auto", "none", "rapl", "hwmon:NAME", "hwmon:NAME:CHANNEL" or "file:/PATH"'
_MOST_WORDS: Final = 20
_LONGEST_WORD: Final = 200
_PLAIN: Final[dict[str, Literal["auto", "none", "rapl"]]] = {"auto": "auto", "none": "none", "rapl": "rapl"}


def read_fitness(table: Table) -> FitnessLimits:
    """The limits fixed before the night; what is wrong is noted."""
    usual = FitnessLimits()
    table.only("temperature_band", "cool_down", "foreign_load", "time_below", "slow_clock")
    return FitnessLimits(
        temperature_band_c=table.number("temperature_band", 0.5, 50, default=usual.temperature_band_c),
        cool_down_s=table.seconds("cool_down", 0, 3600, default_s=usual.cool_down_s),
        foreign_load=table.number("foreign_load", 0.001, 100, default=usual.foreign_load),
        time_below=table.number("time_below", 0.001, 1, default=usual.time_below),
        slow_clock=table.number("slow_clock", 0.001, 0.9, default=usual.slow_clock),
    )


def read_power(table: Table) -> PowerMeter:
    """The meter; what is wrong is noted."""
    table.only("source", "command", "scale")
    scale = table.number("scale", 1e-9, 1e9, default=1.0)
    if table.has("command"):
        if table.has("source"):
            table.refuse("source", "there is a command besides", "either source or command")
        return PowerMeter(source="command", command=_command(table), scale=scale)
    text = table.text("source", default="auto", accepted=_ACCEPTED, longest=300)
    if text in _PLAIN:
        return PowerMeter(source=_PLAIN[text], scale=scale)
    kind, _, name = text.partition(":")
    if kind == "hwmon" and _HWMON.fullmatch(name):
        return PowerMeter(source="hwmon", name=name, scale=scale)
    if kind == "file" and _FILE.fullmatch(name):
        return PowerMeter(source="file", name=name, scale=scale)
    table.refuse("source", "no source of watts", _ACCEPTED)
    return PowerMeter()


def _command(table: Table) -> tuple[str, ...]:
    accepted = f"a program and its words, each a text, at most {_MOST_WORDS}: no shell reads them"
    found = table.content["command"]
    words = [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
    whole = isinstance(found, list) and len(words) == len(found) and 0 < len(words) <= _MOST_WORDS
    if not whole or not words[0] or any(len(one) > _LONGEST_WORD or not one.isprintable() for one in words):
        table.refuse("command", "not a command", accepted)
        return ("none",)
    return tuple(words)
