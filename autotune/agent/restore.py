"""Undo: the journal replayed backwards. Needs no knowledge of what the values mean.

What someone else changed during the night goes back to its original too: the promise is that the board ends as it
began, and a value that differs from both the original and our own is reported (`foreign` of a switch), not guessed about.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Iterator, List, Mapping, NamedTuple, Optional

from autotune.agent import irq_lines, processes, services
from autotune.agent.faults import Fault
from autotune.agent.journal import Entry, Journal, Story, drop_ballast, is_token, read_journal, remove_journal
from autotune.agent.kernel_files import by_hand, group_of, is_at, read_value, write_value, writes_back
from autotune.agent.places import Places, check_own_dir, remove_tree, sync_dir
from autotune.agent.protocol import LeftOver

_TRIES, _BETWEEN_S = 3, 0.02
_BOOT = "/boot"


class Undone(NamedTuple):
    """What a restore did. `verified`: paths that have their originals; `put_right`: what had to be done for that."""

    verified: List[str]
    put_right: List[str]
    left: List[LeftOver]


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def netns() -> str:
    """The inode of this process's network namespace."""
    return os.readlink("/proc/self/ns/net").partition("[")[2].rstrip("]")


def restore_from_journal(places: Places) -> Undone:
    """Puts the board back as its journal says, then removes the journal. The caller holds the lock.

    Raises Fault for a torn journal and for another network namespace than BEGIN's. What can't be put back is in `left`,
    and then the journal stays open, so that the next restore tries again.
    """
    story = read_journal(places)
    if story.state == "none":
        drop_ballast(places)  # put down just before a journal that was never begun
        removed = _remove_files_of_earlier_boots(places)
        return Undone(removed, removed, [])
    if story.state == "torn":
        raise Fault(
            "left changed",
            f"the journal {places.journal} is damaged: {story.problem}",
            f"compare the values in it with the board's own by hand, then rm {places.journal}; or reboot",
        )
    if not story.begin:
        remove_journal(places)  # its BEGIN was never finished, so nothing was done
        return Undone([], [], [])
    same_boot = story.begin["boot_id"] == boot_id()
    if same_boot and story.begin["netns"] != netns():
        raise Fault(
            "refused",
            f"the night of study {story.begin['study']!r} was begun in network namespace {story.begin['netns']}, "
            f"this is {netns()}: its settings are not these",
            "run `autotune restore` in that namespace, for example through nsenter or in that container",
        )
    journal = Journal.reopen(places)
    return undo(places, journal, story, same_boot=same_boot)


def undo(places: Places, journal: Journal, story: Story, *, same_boot: bool = True) -> Undone:
    """Kills, writes back, removes, proves; closes the journal, and removes it when nothing is left."""
    put_right: List[str] = []
    verified: List[str] = []
    left: List[LeftOver] = []
    clean = story.state == "clean"
    if same_boot and not clean:
        for group in story.stopping:
            services.end_stopping(*group)
        killed = processes.kill_leftovers(places, story.token, story.processes)
        put_right += [f"process {pid} ({name})" for pid, name in sorted(killed.items())]
        left += [_stubborn(pid) for pid in processes.find_leftovers(places, story.token, story.processes)]
        strange = irq_lines.given_up(story.originals)
        put_right += strange.values()
        originals = {path: was for path, was in story.originals.items() if path not in strange}
        moved = _write_originals(originals)
        put_right += moved
        for path in reversed(list(originals)):
            leftover = _judge(path, originals[path])
            if leftover is None:
                verified.append(path)
            else:
                left.append(leftover)
        entries: List[Entry] = [{"entry": "RESTORED", "path": path} for path in moved]
        _try_append(journal, entries)
    elif not clean and story.originals:
        put_right.append("kernel values of an earlier boot: gone with it, nothing written")
    # After our own are gone, whatever the boot: a service that ran is to run.
    for one in () if clean else reversed(story.services):
        service = services.Service(
            one.name, one.manager, tuple((str(at), int(port)) for at, port in one.listen)
        )
        if not services.is_known(service) or not services.is_roots(service):
            left.append(_unknown(service))
            continue
        ran = services.is_running(service) and not one.half
        if stopped := services.start_again(service, half_stopped=one.half and same_boot):
            left.append(stopped)
        elif not ran:
            put_right.append(f"service {one.name}")
    left += _remove_files(places, story)
    if left:
        journal.close()
    else:
        journal.finish()
    return Undone(verified, put_right, left)


def changed_paths(story: Story) -> List[LeftOver]:
    """The journaled paths whose value now differs from the original. Reads only."""
    strange = irq_lines.given_up(story.originals)
    found = (_judge(path, original) for path, original in story.originals.items() if path not in strange)
    return [one for one in found if one is not None]


def _write_originals(originals: Mapping[str, Optional[str]]) -> List[str]:
    """Writes back what differs, last to first, until all read as at capture or three times; the paths that differed.

    Settings move each other in ways that no table knows, so each round looks at all of them, also at those that were right.
    """
    moved: List[str] = []
    for attempt in range(_TRIES):
        wrong = [path for path, original in reversed(list(originals.items())) if not is_at(path, original)]
        if not wrong:
            break
        if attempt:
            time.sleep(_BETWEEN_S)
        moved += [path for path in wrong if path not in moved]
        for path in wrong:
            for member, text in writes_back(group_of(path), originals):
                with contextlib.suppress(OSError):
                    write_value(member, text)
    return moved


def _judge(path: str, original: Optional[str]) -> Optional[LeftOver]:
    try:
        now = read_value(path)
    except OSError as problem:
        now = f"({problem.strerror})"
    if now == original:
        return None
    return {
        "path": path,
        "original": "(absent)" if original is None else original,
        "now": "(absent)" if now is None else now,
        "command": by_hand(path, original),
    }


def _stubborn(pid: int) -> LeftOver:
    return {"path": f"process {pid}", "original": "(absent)", "now": "running", "command": f"kill -9 {pid}"}


def _unknown(service: services.Service) -> LeftOver:
    """What a journal can't have from us is not run as root."""
    return {
        "path": f"service {service.name}",
        "original": "running",
        "now": "(not one that a night stops, so it is not started)",
        "command": " ".join(service.argv("start")),
    }


def _remove_files(places: Places, story: Story) -> Iterator[LeftOver]:
    """What could not be removed of: the night's directories, both named by its token, and the state directory itself once nothing else is in it."""
    for path in (places.run_of(story.token), places.state_of(story.token)):
        try:
            remove_tree(path)
        except OSError as problem:
            yield {
                "path": path,
                "original": "(absent)",
                "now": f"({problem.strerror})",
                "command": f"rm -r {path}",
            }
    with contextlib.suppress(OSError):
        os.rmdir(places.state_dir)


def _remove_files_of_earlier_boots(places: Places) -> List[str]:
    """A power cut takes the journal in memory with it and leaves the files on the disk; what was removed of those."""
    try:
        check_own_dir(places.state_dir, places.uid)
    except (Fault, OSError):
        return []  # not there, or prepared by someone else: begin says which
    removed: List[str] = []
    with contextlib.suppress(OSError):
        for name in os.listdir(places.state_dir):
            path = places.state_of(name)
            if is_token(name) and _is_of_earlier_boot(path):
                remove_tree(path)
                removed.append(path)
        os.rmdir(places.state_dir)
    return removed


def name_boot(directory: str) -> None:
    """Writes down in a night's directory which boot it is of, on the disk when this returns."""
    handle = os.open(
        directory + _BOOT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
    )
    try:
        os.write(handle, boot_id().encode("ascii"))
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_dir(directory)


def _is_of_earlier_boot(directory: str) -> bool:
    """By what it says itself: a board without a battery may wake up in another year. By its age where it doesn't say."""
    with contextlib.suppress(OSError, ValueError):
        handle = os.open(directory + _BOOT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(handle, encoding="ascii") as file:
            if named := file.read(100).strip():
                return named != boot_id()
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return os.lstat(directory).st_mtime < booted


def _try_append(journal: Journal, entries: List[Entry]) -> None:
    """What was restored is restored, even if it can't be written down."""
    with contextlib.suppress(Fault):
        journal.append(entries, sync=True)
