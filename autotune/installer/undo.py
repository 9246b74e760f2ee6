"""The way back: files as they were, byte for byte, then live values where they are still ours, then the services anew."""

from __future__ import annotations

import os
from typing import List, NamedTuple

from autotune.agent.faults import Fault
from autotune.installer import record, services, values
from autotune.installer.boot_files import STATE
from autotune.installer.nginx_tree import read_tree
from autotune.installer.record import FileChange, Story


class Undone(NamedTuple):
    """`done` in words; `left`: somebody's own by now, and so it stays; `stuck`: what has yet to go back."""

    done: List[str]
    left: List[str]
    stuck: List[str]


def undo(story: Story, *, dry: bool) -> Undone:
    """Takes an installation back, whole or half. Forgets it when nothing of it is stuck; changes nothing when `dry`."""
    found = Undone([], [], [])
    for path in story.links:
        if os.path.islink(path):
            found.done.append(f"{path}: removed")
            if not dry:
                os.unlink(path)
    restored = [one for one in reversed(story.files) if _file(one, found, dry=dry)]
    if not dry:
        for folder in reversed(story.folders):
            _rmdir(folder)
        services.reload_manager()
    taken = values.take_back(story.values, dry=dry)
    found.done.extend(taken.done)
    found.left.extend(taken.left)
    found.stuck.extend(taken.stuck)
    for name in story.services:
        if restored or not story.complete:
            _restart(name, story.begun.get("config", ""), found, dry=dry)
    if not dry and not found.stuck:
        record.forget()
    return found


def _file(one: FileChange, found: Undone, *, dry: bool) -> bool:
    """Whether it is as it was now (or would be)."""
    if not dry:
        record.drop_half(one.path)
    try:
        with open(one.path, "rb") as file:
            there = record.hash_of(file.read())
    except FileNotFoundError:
        if one.copy:
            found.stuck.append(f"{one.path}: somebody has removed it since; its original is {one.copy}")
        return False
    original = record.copy_of(one) if one.copy else b""
    if one.copy and there == record.hash_of(original):
        return False  # the change was never made, or is taken back already
    if there != one.ours:
        kept = f"; its original is {one.copy}" if one.copy else ", and was not there before"
        found.stuck.append(f"{one.path}: somebody has changed it since{kept}")
        return False
    found.done.append(f"{one.path}: {'as it was' if one.copy else 'removed'}")
    if not dry:
        if one.copy:
            record.replace(one.path, original, one)
        else:
            os.unlink(one.path)
    return True


def _rmdir(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        return  # something of somebody else's is in it


def _restart(name: str, config: str, found: Undone, *, dry: bool) -> None:
    found.done.append(f"{name if name == 'nginx' else f'php{name}-fpm'}: restarted, if it runs")
    if dry:
        return
    if name != "nginx":
        problem = services.fpm_problem(name) or services.restart_fpm(name)
    else:
        problem = services.nginx_problem(config)
        try:
            problem = problem or services.restart_nginx(read_tree(config), config)
        except Fault as fault:
            problem = fault.message
    if problem:
        found.stuck.append(problem)


def by_hand_hint() -> str:
    return f"put these right by hand, then: uninstall; or `uninstall --forget`, which removes {STATE} with the originals"
