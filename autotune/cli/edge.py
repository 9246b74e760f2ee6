"""The edge where errors become messages: one red sentence and the next thing to try, never a bare traceback."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from typing import Any

from typer.core import TyperGroup

from autotune import __version__
from autotune.cli.output import say, say_in_red
from autotune.errors import AutotuneError, DefinitionError, Interrupted, StorageError
from autotune.storage.places import state_dir

_MOST_MISTAKES = 40


class Door(TyperGroup):
    """The command group that every command line goes through, in tests too."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command line and leaves with its exit code.

        Usage errors, --help and Ctrl-C are Typer's own business (exit codes 2, 0 and 130).
        """
        try:
            return super().main(*args, **kwargs)
        except AutotuneError as error:
            show_error(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                show_bug(error)
                sys.exit(1)
            lost = output_lost(error.strerror or str(error))
            show_error(lost)
            sys.exit(lost.exit_code)
        except Exception as error:  # noqa: BLE001 - the outermost place: whatever arrives here is our bug
            show_bug(error)
            sys.exit(1)


def output_lost(why: str) -> StorageError:
    """What to say when standard output takes no more: a full disk under it."""
    return StorageError(
        f"the output can't be written: {why}", hint="nothing measured is lost: send the output elsewhere"
    )


def show_error(error: AutotuneError) -> None:
    """The message in red and the hint below it, on stderr."""
    message = error.message
    if isinstance(error, DefinitionError) and len(error.mistakes) > 1:
        shown = [f"  {mistake}" for mistake in error.mistakes[:_MOST_MISTAKES]]
        if len(error.mistakes) > _MOST_MISTAKES:
            shown.append(f"  ... and {len(error.mistakes) - _MOST_MISTAKES} more")
        message = "\n".join([f"{len(error.mistakes)} mistakes:", *shown])
    if isinstance(error, Interrupted):
        say(f"{message}; {error.away or 'the board is restored'}")
    else:
        say_in_red(f"error: {message}")
    if error.hint:
        say(f"  {error.hint}")


def show_bug(error: Exception) -> None:
    """Says that this is our bug, with the traceback in a file (or here, when no file can be written)."""
    text = "".join(traceback.format_exception(error))
    head = f"autotune {__version__}, Python {sys.version.split()[0]}, {' '.join(sys.argv[1:])}\n\n"
    say_in_red(f"this is a bug in autotune: {type(error).__name__}: {error}")
    try:
        path = state_dir() / "bugs" / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + text, encoding="utf-8", errors="backslashreplace")
    except (OSError, StorageError):
        say(text)
        return
    say(
        f"  The traceback is in {path}; please report it. Nothing measured is lost: the same command goes on."
    )
    say("  If a night was running, `autotune restore` makes sure that the board is as it was.")
