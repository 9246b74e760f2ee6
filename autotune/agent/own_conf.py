"""What may differ between the user's own nginx configuration and the text that a night's nginx sees in its place.

Both are read as nginx reads them and must have the same blocks and directives in the same order, but for the directives
that a night tunes (in blocks of nginx's own, never in maps, types or scripts) and for those that lead what nginx writes
into the night's own directories. So nothing can be added, taken out or changed that loads code, leads elsewhere or lets
someone in.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Dict, List, NamedTuple, Sequence, Tuple

from autotune.agent.faults import Fault
from autotune.agent.nginx_conf import TOKEN

_CAP = 1 << 20
Words = Tuple[str, ...]
_TUNED = re.compile(
    r"worker_(processes|connections|cpu_affinity|priority|rlimit_nofile)|accept_mutex(_delay)?|multi_accept|pcre_jit"
    r"|timer_resolution|thread_pool|sendfile(_max_chunk)?|tcp_(nopush|nodelay)|aio(_write)?|directio(_alignment)?"
    r"|read_ahead|output_buffers|postpone_output|send_lowat|keepalive(_timeout|_requests|_time|_disable)?|send_timeout"
    r"|client_(body|header)_timeout|client_(body|header)_buffer_size|client_max_body_size|large_client_header_buffers"
    r"|reset_timedout_connection|lingering_(close|time|timeout)|(connection|request)_pool_size|open_log_file_cache"
    r"|open_file_cache(_valid|_min_uses|_errors)?|(types|variables|server_names)_hash_(max|bucket)_size|etag"
    r"|server_tokens|gzip(_comp_level|_min_length|_buffers|_static|_vary)?|fastcgi_keep_conn"
    r"|(fastcgi|proxy)_(buffers|buffer_size|busy_buffers_size|buffering)|http2_(max_concurrent_streams|recv_buffer_size|chunk_size)"
)
_VALUE = re.compile(r"[A-Za-z0-9_.=:+-]{1,128}")
_WORKED_IN = frozenset(
    ("", "events", "http", "stream", "mail", "server", "location", "upstream", "limit_except")
)
_TEMPORARY = re.compile(r"[a-z_]+_temp_path")
_CACHE = re.compile(r"[a-z_]+_cache_path")
_MAIN = ("daemon", "pid", "lock_file")
_LEVELS = ("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
_LISTEN_TUNED = re.compile(
    r"(deferred|reuseport|(backlog|fastopen|sndbuf|rcvbuf|so_keepalive)=[A-Za-z0-9:]+)"
)
_LOG_TUNED = re.compile(r"(buffer|flush|gzip)=[A-Za-z0-9]+|gzip")
_UNCHANGED_LOGS = ("off", "/dev/null", "stderr", "/dev/stderr", "/dev/stdout")
_LUA = re.compile(r".*_by_lua_block")
_LUA_TOKEN = re.compile(
    r"""--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}]|[^-\[{}"']+|.""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_CONTROLS = {"t": "\t", "r": "\r", "n": "\n"}


class Frame(NamedTuple):
    """Where the night's nginx may write, and whose configuration it is."""

    run_dir: str
    state_dir: str
    pid_path: str
    error_log: str
    uid: int


class Statement(NamedTuple):
    """`kind` simple, open or close; `words` the directive with its arguments, as nginx understands them."""

    kind: str
    words: Words


class _Block(NamedTuple):
    """One block's tuned and redirected directives, apart from what must stay. `within`: how it is nested."""

    within: Words
    apart: List[Words]


def check_edits(conf_path: str, edits: Dict[str, str], frame: Frame) -> None:
    """Raises Fault "refused" naming file and directive for the first difference that a night may not make."""
    if not is_plain_path(conf_path):
        raise Fault("refused", f"{conf_path[:80]!r} is not a plain absolute path")
    conf_path = os.path.realpath(conf_path)
    if conf_path not in edits:
        raise Fault(
            "refused",
            f"{conf_path} must be edited, so that its nginx stays in the foreground and logs to the night's own files",
        )
    for path, text in edits.items():
        try:
            _check_file(read_own(path, frame.uid), text, frame, main=path == conf_path)
        except _Differs as problem:
            raise Fault(
                "refused", f"{path}: {problem}", "only tuned settings and the night's own paths may differ"
            ) from None


def is_plain_path(path: str) -> bool:
    """Whether it names one file, whoever reads it: nginx takes a relative one from elsewhere than we would."""
    return re.fullmatch(r"/[A-Za-z0-9_.@+/-]{1,399}", path) is not None


def read_own(path: str, uid: int) -> str:
    """The text of one of the user's configuration files. Raises Fault unless it is plain, real, and root's alone for root."""
    if os.path.realpath(path) != path or not path.startswith("/"):
        raise Fault("refused", f"{path[:200]!r} is not the real path of a file")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise Fault("refused", f"{path}: {problem.strerror}", f"ls -l {path}") from None
    with open(handle, "rb") as file:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode):
            raise Fault("refused", f"{path} is not a plain file", f"ls -l {path}")
        if uid == 0 and (seen.st_uid != 0 or seen.st_mode & stat.S_IWOTH):
            raise Fault(
                "refused", f"{path} is not root's alone, and root would run what it says", f"ls -l {path}"
            )
        data = file.read(_CAP + 1)
    if len(data) > _CAP:
        raise Fault("refused", f"{path} is over 1 MiB")
    return data.decode("utf-8", "surrogateescape")


def statements(text: str) -> List[Statement]:
    """The directives of a configuration file in order, with the ends of blocks. Raises Fault for what can't be read."""
    found: List[Statement] = []
    words: List[str] = []
    depth = position = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        if token is None:
            raise Fault(
                "refused", f"the configuration can't be read from {text[position : position + 40]!r} on"
            )
        position = token.end()
        end = token["end"]
        if end is None:
            quoted = (token["double"], token["single"], token["word"])
            words += [_plain(one) for one in quoted if one is not None]
            continue
        if end == "{" and words and _LUA.fullmatch(words[0]):
            body, position = _lua_block(text, position)
            found.append(Statement("simple", (*words, "{" + body + "}")))
        elif end == "{" and words:
            found.append(Statement("open", tuple(words)))
            depth += 1
        elif end == ";" and words:
            found.append(Statement("simple", tuple(words)))
        elif end == "}" and not words and depth:
            found.append(Statement("close", ()))
            depth -= 1
        else:
            raise Fault(
                "refused", f"the configuration has {end!r} where none can be, after {' '.join(words)[:60]!r}"
            )
        words = []
    if words or depth:
        raise Fault("refused", f"the configuration ends within {' '.join(words)[:60] or 'a block'!r}")
    return found


class _Differs(Exception):
    """A difference that a night may not make, in words."""


def _shown(one: Statement) -> str:
    return " ".join(one.words)[:80] or "}"


def _plain(word: str) -> str:
    return _ESCAPE.sub(lambda found: _CONTROLS.get(found[1], found[1]), word)


def _lua_block(text: str, start: int) -> Tuple[str, int]:
    """A block of Lua and where it ends: braces in its strings and comments are none."""
    depth, position = 1, start
    while position < len(text):
        token = _LUA_TOKEN.match(text, position)
        assert token is not None  # it takes any character
        position = token.end()
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if not depth:
            return text[start : position - 1], position
    raise Fault("refused", "the configuration has a block of Lua that never ends")


def _check_file(original: str, edited: str, frame: Frame, *, main: bool) -> None:
    if "\0" in edited or len(edited) > _CAP:
        raise _Differs("the edited text holds a NUL, or is over 1 MiB")
    kept_before, before = _apart(statements(original), main=main)
    kept_after, after = _apart(statements(edited), main=main)
    for one, other in zip(kept_before, kept_after):
        if one != other:
            raise _Differs(f"`{_shown(one)}` became `{_shown(other)}`")
    if len(kept_before) != len(kept_after):
        extra = (kept_before[len(kept_after) :] or kept_after[len(kept_before) :])[0]
        raise _Differs(
            f"`{_shown(extra)}` was {'removed' if len(kept_before) > len(kept_after) else 'added'}"
        )
    for old, new in zip(before, after):
        _check_block(old, new, frame)
    if main:
        said = after[0].apart
        if ("daemon", "off") not in said or ("pid", frame.pid_path) not in said:
            raise _Differs(f"it lacks `daemon off;` or `pid {frame.pid_path};`")
        if not any(words[:2] == ("error_log", frame.error_log) for words in said):
            raise _Differs(f"it lacks `error_log {frame.error_log} …;`, from which the canary reads")


def _apart(found: Sequence[Statement], *, main: bool) -> Tuple[List[Statement], List[_Block]]:
    """What must stay, in order; and for every block (a main file's outermost first) what may differ."""
    kept: List[Statement] = []
    top = _Block(("",) if main else ("*",), [])
    blocks, nested = [top], [top]
    for one in found:
        here = nested[-1]
        if one.kind == "close":
            nested.pop()
        elif one.kind == "open":
            block = _Block((*here.within, one.words[0]), [])
            nested.append(block)
            blocks.append(block)
        elif _may_differ(one.words[0], here.within):
            here.apart.append(one.words)
            continue
        kept.append(one)
    return kept, blocks


def _may_differ(name: str, within: Words) -> bool:
    """Whether directives of this name are nginx's own to tune or ours to redirect in such a block.

    An included file's outermost block ("*") can be any; there a map's own words look like directives, and are not ours.
    """
    *outer, here = within
    if any(one not in _WORKED_IN and one not in ("if", "*") for one in within) or "upstream" in outer:
        return False
    if name in ("access_log", "error_log") or _CACHE.fullmatch(name) or _TEMPORARY.fullmatch(name):
        return here != "upstream"
    if here == "if":
        return False
    if name in _MAIN:
        return here in ("", "*")
    if name == "listen":
        return here in ("server", "*")
    if here == "upstream":
        return name == "keepalive"
    return name != "keepalive" and _TUNED.fullmatch(name) is not None


def _check_block(old: _Block, new: _Block, frame: Frame) -> None:
    names = {words[0] for words in (*old.apart, *new.apart)}
    for name in sorted(names):
        before = [words for words in old.apart if words[0] == name]
        after = [words for words in new.apart if words[0] == name]
        if before == after and (name == "listen" or _TUNED.fullmatch(name)):
            continue
        if old.within == ("*",) and not before:
            raise _Differs(f"`{' '.join(after[0])[:80]}` was added outside any block of an included file")
        _check_directives(name, before, after, old.within, frame)


def _check_directives(
    name: str, before: List[Words], after: List[Words], within: Words, frame: Frame
) -> None:
    if _TUNED.fullmatch(name):
        for words in after:
            if words not in before and not all(_VALUE.fullmatch(value) for value in words[1:]):
                raise _Differs(f"`{' '.join(words)[:80]}` has a value that no tuned setting has")
        return
    if name in _MAIN:
        wanted = {"daemon": ("off",), "pid": (frame.pid_path,)}.get(name)
        for words in after:
            if (wanted and words[1:] != wanted) or not (
                wanted or (len(words) == 2 and _inside(words[1], frame))
            ):
                raise _Differs(f"`{' '.join(words)[:80]}` is not the night's own")
        return
    if after and set(after) == {("access_log", "off")}:
        return
    pairs = _pairs(name, before, after, within)
    for old, new in pairs:
        fits = {"listen": _listen_fits, "access_log": _access_log_fits, "error_log": _error_log_fits}.get(
            name, _path_fits
        )
        if not fits(old, new, frame):
            raise _Differs(f"`{' '.join(old)[:80]}` became `{' '.join(new)[:80]}`")


def _pairs(name: str, before: List[Words], after: List[Words], within: Words) -> List[Tuple[Words, Words]]:
    """Each of the original with its own in the edit; what nginx has by itself where none is written may be written."""
    by_itself: Dict[str, Words] = {
        "listen": ("listen", "80"),
        "access_log": ("access_log", "logs/access.log"),
        "error_log": ("error_log", "logs/error.log"),
    }
    where = {"listen": "server", "error_log": "", "access_log": "http"}.get(name, "http")
    if not before and len(after) == 1 and within[-1] == where and not _CACHE.fullmatch(name):
        return [(by_itself.get(name, (name, "temp")), after[0])]
    if len(before) != len(after):
        raise _Differs(f"{len(before)} {name} became {len(after)}")
    return list(zip(before, after))


def _listen_fits(old: Words, new: Words, frame: Frame) -> bool:
    del frame
    rest = [tuple(word for word in words[2:] if not _LISTEN_TUNED.fullmatch(word)) for words in (old, new)]
    return len(new) > 1 and _socket(old[1]) == _socket(new[1]) and rest[0] == rest[1]


def _socket(address: str) -> str:
    return f"*:{address}" if address.isdigit() else address


def _access_log_fits(old: Words, new: Words, frame: Frame) -> bool:
    if new == ("access_log", "off"):
        return True
    if old[1] in _UNCHANGED_LOGS and new[1:2] != old[1:2]:
        return False
    if len(new) < 2 or not (_inside(new[1], frame) or new[1] in _UNCHANGED_LOGS):
        return False
    rest = [[word for word in words[2:] if not _LOG_TUNED.fullmatch(word)] for words in (old, new)]
    # Buffers need a format named before them; `combined` is what nginx takes where none is.
    return (rest[0] or ["combined"]) == (rest[1] or ["combined"])


def _error_log_fits(old: Words, new: Words, frame: Frame) -> bool:
    if len(new) < 2 or not (_inside(new[1], frame) or (new == old and new[1] in _UNCHANGED_LOGS)):
        return False
    return len(new) == 2 or (len(new) == 3 and new[2] in _LEVELS)


def _path_fits(old: Words, new: Words, frame: Frame) -> bool:
    """Of directories for temporary files and caches: another place, all else as it was."""
    return len(new) > 1 and _inside(new[1], frame) and new[2:] == old[2:]


def _inside(path: str, frame: Frame) -> bool:
    below = (frame.run_dir + "/", frame.state_dir + "/")
    return (
        path.startswith(below)
        and re.fullmatch(r"[A-Za-z0-9_./-]{1,400}", path) is not None
        and "/../" not in path + "/"
    )
