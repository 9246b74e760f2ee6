"""The settings.json of an export: what the shipped program installs, in the form that it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from autotune.actuators import fpm
from autotune.actuators.wording import checked, kernel_text, safe_word
from autotune.errors import SettingUnsupported
from autotune.experiment.events import NightBegun
from autotune.experiment.study import OwnNginx, Study
from autotune.installer import exported
from autotune.report.nginx_edits import nginx_edits
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind
from autotune.space.value import Value

_AS_IT_IS = ("unset", "as found", "mixed")
_WAY = re.compile(r", ([A-Za-z0-9_.@-]{1,15}) on the board")
_SAME_BOARD = ("model", "machine", "cpus")
_DEFAULT_CONFIG = "/etc/nginx/nginx.conf"


def settings_text(
    study: Study, arm: str, begun: NightBegun, chosen: Mapping[str, Value], stock: Mapping[str, Value]
) -> str:
    """`chosen`: what differs from the board's own. Raises SettingUnsupported for a value that can't be written."""
    own = isinstance(study.server, OwnNginx)
    way = _WAY.search(begun.board.get("load's way", ""))
    php = {id_: value for id_, value in chosen.items() if id_.startswith("fpm:")}
    edits = nginx_edits(chosen, stock, own=own, version=begun.board.get("nginx", ""))
    document = {
        "format": exported.FORMAT,
        "study": study.name,
        "fingerprint": study.fingerprint,
        "arm": arm,
        "night": begun.night,
        "board": {name: begun.board[name] for name in _SAME_BOARD if name in begun.board},
        "nic": way[1] if way else "",
        "kernel": [
            {"id": id_, "value": _kernel_value(id_, value)}
            for id_, value in chosen.items()
            if CATALOGUE[id_].family in exported.KERNEL and value not in _AS_IT_IS
        ],
        "config": study.server.config if isinstance(study.server, OwnNginx) else _DEFAULT_CONFIG,
        "nginx": [edit.as_json for edit in edits],
        "pool": list(fpm.chosen_lines(php, _of_php(stock))) if php else [],
    }
    return json.dumps(document, indent=1) + "\n"


def _of_php(stock: Mapping[str, Value]) -> dict[str, Value]:
    return {id_: value for id_, value in stock.items() if id_.startswith("fpm:")}


def _kernel_value(id_: str, value: Value) -> bool | int | str:
    """As installer.exported.Setting has it."""
    setting = CATALOGUE[id_]
    checked(setting, value)
    if isinstance(value, str):
        return value if value in setting.specials else safe_word(setting, value)
    if isinstance(value, bool) or (setting.kind is Kind.CPU_MASK and isinstance(value, int)):
        return value
    text = kernel_text(setting, value)
    return int(text) if text.isdecimal() else text


def read_back(text: str) -> exported.Exported:
    """The same as the shipped program reads it. Raises SettingUnsupported where that would refuse it."""
    try:
        return exported.from_text(text)
    except ValueError as problem:
        raise SettingUnsupported(f"it can't be written for the board: {problem}") from None
