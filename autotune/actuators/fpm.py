"""php-fpm: what its packaged pool and php.ini say today, and the text of a configuration of our own pool.

The packaged pool gives the values and the user; its socket, its logs and whatever else it says stay its own.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autotune.actuators.wording import checked, safe_address, safe_path
from autotune.board.facts import BoardFacts
from autotune.board.reading import is_count
from autotune.board.records import Begun, Reading
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.space.catalogue import CATALOGUE, fpm
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

POOLS = "/etc/php/*/fpm/pool.d/www.conf"
INIS = ("/etc/php/*/fpm/php.ini", "/etc/php/*/fpm/conf.d/*.ini")
NO_PHP = "this study serves no PHP"

_MIB = 1 << 20
_POOL_NAME = "autotune"
# PHP's own settings, by the name in php.ini; the rest are the pool's.
_INI_PREFIXES = ("opcache.", "realpath_cache_", "output_buffering")
_IN_MEGABYTES = frozenset({"opcache.memory_consumption", "opcache.interned_strings_buffer"})
_POOL_WORDS = {
    "pm": "pm",
    "listen.backlog": "listen.backlog",
    "listen.socket": "listen",
}
# What php-fpm and PHP 8 do when nothing is said (php.net); php.ini-production says output_buffering = 4096 itself.
_DEFAULTS: dict[str, Value] = {
    "fpm:pm": "dynamic",
    "fpm:max_children": 5,
    "fpm:start_servers": 2,
    "fpm:min_spare_servers": 1,
    "fpm:max_spare_servers": 3,
    "fpm:max_spawn_rate": 32,
    "fpm:process_idle_timeout": 10,
    "fpm:max_requests": 0,
    "fpm:listen.backlog": 511,
    "fpm:listen.socket": "unix",
    "fpm:opcache.enable": True,
    "fpm:opcache.validate_timestamps": True,
    "fpm:opcache.revalidate_freq": 2,
    "fpm:opcache.jit": "off",
    "fpm:opcache.jit_buffer_size": 64 * _MIB,  # taken when jit is on: PHP's own 0 keeps it off
    "fpm:opcache.memory_consumption": 128 * _MIB,
    "fpm:opcache.interned_strings_buffer": 8 * _MIB,
    "fpm:opcache.max_accelerated_files": 10_000,
    "fpm:realpath_cache_size": 4 * _MIB,
    "fpm:realpath_cache_ttl": 120,
    "fpm:output_buffering": 0,
}
_SINCE = {"fpm:max_spawn_rate": (8, 1), "fpm:opcache.jit": (8, 0), "fpm:opcache.jit_buffer_size": (8, 0)}
_SPARES = ("fpm:min_spare_servers", "fpm:max_spare_servers", "fpm:start_servers")
_JIT_OFF = frozenset({"", "0", "off", "disable"})
_JIT_WORDS = {
    "tracing": "tracing",
    "1254": "tracing",
    "on": "tracing",
    "1": "tracing",
    "function": "function",
}
_TRUE, _FALSE = frozenset({"1", "on", "yes", "true"}), frozenset({"", "0", "off", "no", "false", "none"})
_NUMBER = re.compile(r"(\d+)([kmgKMG]?)")
_SECONDS = re.compile(r"(\d+)([smhd]?)")
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS_IN = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_TAKEN_OVER = frozenset({"user", "group", "listen"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fpm:
    """The php-fpm of one board. `user` and `group` are the packaged pool's; `is_root`: the agent may become them.

    `pool` and `ini` are the packaged texts' settings by name, `left_out` what of the pool is not taken over.
    """

    version: tuple[int, int]
    is_root: bool
    user: str
    group: str
    pool: Mapping[str, str]
    ini: Mapping[str, str]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, facts: BoardFacts, readings: Mapping[str, Reading]) -> Fpm:
        """Raises BoardUnfit when there is no php-fpm, or its packaged pool can't be read."""
        program = facts.programs.get("php-fpm")
        if program is None or not program.path:
            raise BoardUnfit(
                "there is no php-fpm on this board, and the study serves PHP: apt-get install php-fpm"
            )
        found = re.search(r"PHP (\d+)\.(\d+)", program.version)
        if found is None:
            raise BoardUnfit(
                f"{program.path} does not run {program.version.splitlines()[:1]}",
                hint="apt-get install --reinstall php-fpm",
            )
        home = f"/etc/php/{found[1]}.{found[2]}/fpm"
        path = f"{home}/pool.d/www.conf"
        reading = readings.get(path)
        if reading is None or reading.text is None:
            why = reading.error if reading and reading.error else "it is not there"
            raise BoardUnfit(
                f"php-fpm's packaged pool {path} can't be read: {why}",
                hint="apt-get install --reinstall -o Dpkg::Options::=--force-confmiss "
                f"php{found[1]}.{found[2]}-fpm",
            )
        ini: dict[str, str] = {}
        extra = sorted(one for one in readings if one.startswith(f"{home}/conf.d/") and one.endswith(".ini"))
        for one in (f"{home}/php.ini", *extra):
            text = readings[one].text if one in readings else None
            ini |= dict(ini_lines(text or ""))
        pool = dict(ini_lines(reading.text))
        ini |= dict(_admin_values(pool))
        user, group = pool.get("user", "www-data"), pool.get("group", pool.get("user", "www-data"))
        if not _USER.fullmatch(user) or not _USER.fullmatch(group):
            raise BoardUnfit(
                f"php-fpm's packaged pool {path} runs as {user}:{group}, which are no plain names",
                hint=f"look at `user` and `group` in {path}",
            )
        known = _TAKEN_OVER | {_pool_name(setting) for setting in fpm.SETTINGS if not _is_ini(setting)}
        return cls(
            version=(int(found[1]), int(found[2])),
            is_root=facts.uid == 0,
            user=user,
            group=group,
            pool=pool,
            ini=ini,
            left_out=tuple(
                f"php-fpm {name}: only the pool's processes and socket are taken over"
                for name in pool
                if name not in known
                and not name.startswith(("listen.", "php_admin_", "php_value", "php_flag"))
            ),
        )

    def stock(self, id_: str) -> Value:
        """The value in force with the packaged files. Raises SettingUnsupported or ValueError when it can't be had."""
        if (since := _SINCE.get(id_)) and self.version < since:
            raise SettingUnsupported(f"needs PHP {since[0]}.{since[1]} or newer")
        setting, default = CATALOGUE[id_], _DEFAULTS[id_]
        if setting.key == "listen.socket":
            return "unix" if self.pool.get("listen", "/").startswith("/") else "tcp"
        if setting.key == "opcache.jit":
            return self._stock_jit()
        text = self.ini.get(setting.key) if _is_ini(setting) else self.pool.get(_pool_name(setting))
        if text is None:
            return self._stock_start() if setting.key == "start_servers" else default
        if setting.key == "opcache.jit_buffer_size" and _bytes(text) == 0:
            return default
        value = _read(setting, text)
        if setting.key == "listen.backlog" and value == -1:
            return 65_535
        setting.check(value)
        return value

    def stock_values(self) -> dict[str, Value]:
        """The value of every setting; PHP's own default where the setting can't hold the packaged one."""
        values = {}
        for setting in fpm.SETTINGS:
            try:
                values[setting.id] = self.stock(setting.id)
            except ValueError:
                values[setting.id] = _DEFAULTS[setting.id]
            except SettingUnsupported:
                continue
        return values

    def _stock_jit(self) -> Value:
        if _bytes(self.ini.get("opcache.jit_buffer_size", "0")) == 0:
            return "off"
        said = self.ini.get("opcache.jit", "tracing").lower()
        if said in _JIT_OFF:
            return "off"
        if said in _JIT_WORDS:
            return _JIT_WORDS[said]
        raise ValueError(f"php.ini has opcache.jit {said}, which is none of off, function, tracing")

    def _stock_start(self) -> int:
        low = int(self.pool.get("pm.min_spare_servers", 1))
        return low + (int(self.pool.get("pm.max_spare_servers", 3)) - low) // 2


def ini_lines(text: str) -> Iterator[tuple[str, str]]:
    """The settings in a text of php-fpm's or php.ini's form, in order; sections and comments are passed over."""
    for line in text.splitlines():
        name, found, value = line.partition("=")
        name = name.strip()
        if not found or not name or name[0] in ";#[":
            continue
        value = value.strip()
        if value[:1] in ("'", '"'):
            value = value[1:].partition(value[0])[0]
        else:
            value = value.partition(";")[0].strip()
        yield name, value


def listen_of(
    chosen: Mapping[str, Value], stock: Mapping[str, Value], begun: Begun, address: str, port: int
) -> str:
    """Where the tested php-fpm listens: a socket in the night's directory, or the port beside nginx's."""
    if {**stock, **chosen}["fpm:listen.socket"] == "unix":
        return posixpath.join(posixpath.dirname(safe_path(begun.conf_path)), "php.sock")
    return f"{safe_address(address)}:{port + 1 if port < 65_535 else port - 1}"


def pool_text(
    chosen: Mapping[str, Value],
    stock: Mapping[str, Value],
    fpm_: Fpm,
    *,
    listen: str,
    owner: str,
    begun: Begun,
) -> str:
    """The whole configuration of the tested php-fpm. `owner`: nginx's user, who may connect to the socket.

    Raises SettingUnsupported when a value can't be had, or values contradict each other.
    """
    values = fitted(chosen, stock)
    run = posixpath.dirname(safe_path(begun.conf_path))
    # At "notice" every child that max_requests replaces would write two lines into the memory that holds the journal.
    lines = ["[global]", f"error_log = {run}/php-fpm.log", "log_level = warning", "daemonize = no"]
    lines.append(f"[{_POOL_NAME}]")
    if fpm_.is_root:
        lines += [f"user = {fpm_.user}", f"group = {fpm_.group}"]
    lines.append(f"listen = {listen}")
    if listen.startswith("/"):
        lines += [f"listen.owner = {owner}"] if fpm_.is_root else []
        lines.append("listen.mode = 0600")
    for setting in fpm.SETTINGS:
        if setting.key == "listen.socket" or setting.id not in values:
            continue
        if not _is_ini(setting):
            if _belongs(setting.key, str(values["fpm:pm"])):
                lines.append(f"{_pool_name(setting)} = {php_word(setting, values[setting.id])}")
        elif setting.id in chosen or setting.key in {*_jit_keys(chosen), *dict(_admin_values(fpm_.pool))}:
            for name, word in _ini_words(setting, values):
                lines.append(f"php_admin_value[{name}] = {word}")
    return "\n".join(lines) + "\n"


def chosen_lines(chosen: Mapping[str, Value], stock: Mapping[str, Value]) -> Iterator[str]:
    """The lines that a pool needs beside its own to have these values. Where php-fpm listens is not among them.

    Raises SettingUnsupported when a value can't be had, or values contradict each other.
    """
    values = fitted(chosen, {**_DEFAULTS, **stock})
    for setting in fpm.SETTINGS:
        if setting.key == "listen.socket":
            continue
        value = values[setting.id]
        if _is_ini(setting):
            if setting.id in chosen or setting.key in _jit_keys(chosen):
                for name, word in _ini_words(setting, values):
                    yield f"php_admin_value[{name}] = {word}"
        elif _belongs(setting.key, str(values["fpm:pm"])) and (
            setting.id in chosen or "fpm:pm" in chosen or value != {**_DEFAULTS, **stock}[setting.id]
        ):
            yield f"{_pool_name(setting)} = {php_word(setting, value)}"


def fitted(chosen: Mapping[str, Value], stock: Mapping[str, Value]) -> dict[str, Value]:
    """Chosen values over stock, with those spares that weren't chosen fitted to the rest.

    php-fpm starts only when 1 <= min_spare <= start <= max_spare <= max_children. Raises SettingUnsupported when the
    chosen ones can't be had together.
    """
    values = {**stock, **chosen}
    most = _int(values, "fpm:max_children")
    if values["fpm:pm"] == "dynamic":
        given = {id_: _int(chosen, id_) for id_ in _SPARES if id_ in chosen}
        for id_, number in given.items():
            if number > most:
                raise SettingUnsupported(f"{id_}: {number} is more than fpm:max_children, {most}")
        low_id, high_id, start_id = _SPARES
        high = given.get(high_id, max(min(_int(stock, high_id), most), *given.values(), 1))
        least = min((number for id_, number in given.items() if id_ != low_id), default=high)
        low = given.get(low_id, min(_int(stock, low_id), least, high))
        start = given.get(start_id, min(max(_int(stock, start_id), low), high))
        if not low <= start <= high:
            raise SettingUnsupported(
                f"php-fpm wants min_spare <= start <= max_spare, not {low}, {start}, {high}",
                hint="narrow fpm:min_spare_servers, fpm:start_servers and fpm:max_spare_servers",
            )
        values |= {low_id: low, high_id: high, start_id: start}
    if _int(values, "fpm:opcache.interned_strings_buffer") >= _int(values, "fpm:opcache.memory_consumption"):
        raise SettingUnsupported(
            "fpm:opcache.interned_strings_buffer is a part of fpm:opcache.memory_consumption"
        )
    return values


def php_word(setting: Setting, value: Value) -> str:
    """The value as php-fpm's configuration and php.ini take it. Raises SettingUnsupported."""
    checked(setting, value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return value  # one of the setting's own choices
    if isinstance(value, int):
        if setting.key in _IN_MEGABYTES:
            if value % _MIB:
                raise SettingUnsupported(
                    f"{setting.id}: {setting.show(value)} is not a whole number of megabytes"
                )
            return str(value // _MIB)
        return str(value)
    raise SettingUnsupported(f"{setting.id}: php-fpm takes no {setting.kind}")


def _ini_words(setting: Setting, values: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """opcache.jit and its buffer are one: without a buffer there is no jit, whatever opcache.jit says."""
    if setting.key == "opcache.jit_buffer_size":
        if values["fpm:opcache.jit"] != "off":
            yield setting.key, php_word(setting, values[setting.id])
    elif setting.key == "opcache.jit" and values[setting.id] == "off":
        yield setting.key, "disable"
        yield "opcache.jit_buffer_size", "0"
    else:
        yield setting.key, php_word(setting, values[setting.id])


def _jit_keys(chosen: Mapping[str, Value]) -> tuple[str, ...]:
    return ("opcache.jit", "opcache.jit_buffer_size") if "fpm:opcache.jit" in chosen else ()


def _belongs(key: str, pm: str) -> bool:
    """Whether this kind of pool knows the setting: php-fpm warns about or refuses others'."""
    if key in ("start_servers", "min_spare_servers", "max_spare_servers", "max_spawn_rate"):
        return pm == "dynamic"
    return key != "process_idle_timeout" or pm == "ondemand"


def _is_ini(setting: Setting) -> bool:
    return setting.key.startswith(_INI_PREFIXES)


def _pool_name(setting: Setting) -> str:
    return _POOL_WORDS.get(setting.key, f"pm.{setting.key}")


def _admin_values(pool: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """php.ini settings that the packaged pool makes: they win over php.ini's own."""
    for name, value in pool.items():
        if name.startswith(
            ("php_admin_value[", "php_admin_flag[", "php_value[", "php_flag[")
        ) and name.endswith("]"):
            yield name.partition("[")[2][:-1], value


def _read(setting: Setting, text: str) -> Value:
    match setting.kind:
        case Kind.SWITCH if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        case Kind.SIZE if setting.key in _IN_MEGABYTES and is_count(text):
            return int(text) * _MIB
        case Kind.SIZE if setting.key == "output_buffering" and text.lower() in _FALSE:
            return 0
        case Kind.SIZE:
            return _bytes(text)
        case Kind.TIME if found := _SECONDS.fullmatch(text):
            return int(found[1]) * _SECONDS_IN[found[2]]
        case Kind.CHOICE if text in setting.choices:
            return text
        case Kind.INTEGER:
            return int(text)
        case _:
            raise ValueError(f"{text!r} can't be read as a {setting.kind}")


def _bytes(text: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size")
    return int(found[1]) * _FACTORS[found[2].lower()]


def _int(values: Mapping[str, Value], id_: str) -> int:
    value = values[id_]
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingUnsupported(f"{id_}: {value!r} is not a whole number")
    return value
