"""Writing, giving back and restoring, on a kernel made of a dictionary with the real one's odd habits."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.agent import kernel_files, restore, settings
from autotune.agent.journal import Journal, read_journal
from autotune.agent.kernel_files import THP, VM
from autotune.agent.places import Places
from autotune.agent.settings import Settings

RATIO, BYTES = VM + "dirty_ratio", VM + "dirty_bytes"
HUGE, RESERVE = THP + "enabled", VM + "min_free_kbytes"
PLAIN = "/proc/sys/net/core/somaxconn"
VECTOR = "/proc/sys/net/ipv4/tcp_rmem"
BEGIN = {"entry": "BEGIN", "study": "s", "boot_id": "b", "netns": "1", "token": "0" * 16, "holder": "h"}


class Kernel(dict[str, str]):
    """One member of a pair clears the other; huge pages set the reserve; a refused vector is half written."""

    def read(self, path: str) -> str | None:
        return self.get(path)

    def write(self, path: str, text: str) -> None:
        if path == VECTOR and text.endswith("99999999999"):
            self[path] = " ".join((*text.split()[:2], self[path].split()[2]))
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if path == BYTES and text == "0":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if path in (RATIO, BYTES) and self[path] != text:
            self[BYTES if path == RATIO else RATIO] = "0"
        if path == HUGE:
            self[RESERVE] = {"always": "67584", "madvise": "67584", "never": "19832"}[text]
        self[path] = text


@contextmanager
def night(kernel: Kernel) -> Iterator[tuple[Places, Settings]]:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for module in (kernel_files, settings, restore):
            patch.setattr(module, "read_value", kernel.read)
            patch.setattr(module, "write_value", kernel.write)
        patch.setattr(restore, "_BETWEEN_S", 0)
        places = Places(os.geteuid(), folder, folder + "/state")
        yield places, Settings(Journal.create(places, BEGIN))


def switch(here: Settings, wanted: dict[str, str]) -> None:
    here.note_foreign()
    here.remember(here.examine(list(wanted.items())))
    here.apply(wanted)
    here.read_back(list(wanted.items()))


dirty = st.sampled_from([("20", "0"), ("0", "104857600"), ("0", "0")])
kernels = st.builds(
    lambda pair, huge, reserve, plain: Kernel(
        {
            RATIO: pair[0],
            BYTES: pair[1],
            HUGE: huge,
            RESERVE: reserve,
            PLAIN: plain,
            VECTOR: "4096 131072 6291456",
        }
    ),
    dirty,
    st.sampled_from(["always", "madvise", "never"]),
    st.sampled_from(["67584", "19832", "50000"]),
    st.sampled_from(["128", "4096"]),
)
# One member of the pair at a time, as the space's own rules have it.
pairs = st.sampled_from([{}, {RATIO: "5"}, {RATIO: "20"}, {BYTES: "52428800"}, {BYTES: "104857600"}])
others = st.fixed_dictionaries(
    {},
    optional={
        HUGE: st.sampled_from(["always", "madvise", "never"]),
        RESERVE: st.sampled_from(["30000", "67584"]),
        PLAIN: st.sampled_from(["128", "1024"]),
        VECTOR: st.just("4096 65536 8388608"),
    },
)
configurations = st.builds(lambda one, other: {**one, **other}, pairs, others)


@given(kernels, st.lists(configurations, max_size=6))
def test_every_configuration_holds_what_it_names_and_the_originals_of_the_rest(
    kernel: Kernel, sequence: list[dict[str, str]]
) -> None:
    stock = dict(kernel)
    with night(kernel) as (_, here):
        for wanted in sequence:
            switch(here, wanted)
            assert {path: kernel[path] for path in wanted} == wanted
            assert here.foreign_paths() == []
            assert here.stuck() == ""
            expected = Kernel(stock)
            for path in sorted(wanted, key=lambda path: path == RESERVE):
                if expected[path] != wanted[path]:
                    expected.write(path, wanted[path])
            assert kernel == expected  # the same as from stock, whatever came before


@given(
    kernels,
    st.lists(configurations, max_size=6),
    st.dictionaries(st.sampled_from([PLAIN, RESERVE]), st.just("7")),
)
def test_whatever_was_written_and_by_whom_the_journal_brings_it_all_back(
    kernel: Kernel, sequence: list[dict[str, str]], strangers: dict[str, str]
) -> None:
    stock = dict(kernel)
    with night(kernel) as (places, here):
        for wanted in sequence:
            switch(here, wanted)
        touched = read_journal(places).originals
        for path, text in strangers.items():
            if path in touched:
                kernel.write(path, text)
        undone = restore.undo(places, Journal.reopen(places), read_journal(places))
        assert undone.left == []
        assert kernel == stock
        assert set(undone.verified) == set(touched)
        assert not Path(places.journal).exists()


def test_a_half_written_vector_goes_back_whole() -> None:
    kernel = Kernel({VECTOR: "4096 131072 6291456"})
    with night(kernel) as (_, here):
        switch(here, {VECTOR: "8192 16384 99999999999"})
        [effect] = here.read_back([(VECTOR, "8192 16384 99999999999")])
    assert effect["error"] == "Invalid argument"
    assert kernel[VECTOR] == "4096 131072 6291456"


def test_what_moves_when_a_value_is_written_back_is_no_strangers_doing() -> None:
    kernel = Kernel({HUGE: "always", RESERVE: "50000"})
    with night(kernel) as (_, here):
        [effect] = here.write_back([HUGE])
        assert (effect["effective"], effect["error"]) == ("always", "")
        switch(here, {})
        assert here.foreign_paths() == []
    assert kernel == {HUGE: "always", RESERVE: "50000"}


def test_the_zero_of_a_pair_is_not_written_back() -> None:
    kernel = Kernel({RATIO: "20", BYTES: "0"})
    with night(kernel) as (_, here):
        assert [effect["error"] for effect in here.write_back([BYTES, RATIO])] == ["", ""]
    assert kernel == {RATIO: "20", BYTES: "0"}


class Stubborn(Kernel):
    """A kernel that takes any value but the one it has."""

    def write(self, path: str, text: str) -> None:
        if text == "restricted":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        self[path] = text


def test_a_value_that_could_never_come_back_is_not_touched() -> None:
    path = "/proc/sys/net/ipv4/tcp_congestion_control"
    kernel = Stubborn({path: "restricted"})
    with night(kernel) as (_, here):
        switch(here, {path: "reno"})
        [effect] = here.read_back([(path, "reno")])
    assert "its own value" in effect["error"]
    assert kernel[path] == "restricted"


def test_a_value_that_stops_coming_back_is_told() -> None:
    path = "/proc/sys/net/ipv4/tcp_congestion_control"
    kernel = Stubborn({path: "cubic"})
    with night(kernel) as (_, here), pytest.MonkeyPatch.context() as patch:
        switch(here, {path: "reno"})

        def refuse(path: str, text: str) -> None:
            raise OSError(errno.EPERM, f"no {text} for {path}")

        patch.setattr(settings, "write_value", refuse)
        switch(here, {})
        assert "would not go back to 'cubic'" in here.stuck()


class Entangled(Kernel):
    """A kernel where writing the one moves the other, which no table of groups knows."""

    def write(self, path: str, text: str) -> None:
        self[path] = text
        if path == PLAIN:
            self[VECTOR] = "moved"


@pytest.mark.parametrize("order", [[PLAIN, VECTOR], [VECTOR, PLAIN]])
def test_a_restore_looks_again_at_what_was_right_before_it_wrote(order: list[str]) -> None:
    kernel = Entangled({PLAIN: "128", VECTOR: "4096 131072 6291456"})
    stock = dict(kernel)
    with night(kernel) as (places, here):
        here.remember({path: stock[path] for path in order})
        kernel[PLAIN] = "4096"  # the other one is as it was until this one is written
        undone = restore.undo(places, Journal.reopen(places), read_journal(places))
    assert undone.left == []
    assert kernel == stock
    assert sorted(undone.verified) == sorted(order)
