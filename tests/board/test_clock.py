"""Another machine's clock beside ours: how far off it is, and when it jumped."""

from __future__ import annotations

import time

from autotune.board.address import LocalBoard, SshBoard
from autotune.board.clock import ClockSeen, ClockWatch, compare

FAR = SshBoard(host="rock5b")


def seen(ahead_s: float, *, since_boot_s: float = 0.0, within_s: float = 0.001) -> ClockSeen:
    return ClockSeen(ahead_s=ahead_s, within_s=within_s, since_boot_s=since_boot_s)


def test_the_look_with_the_shortest_round_trip_counts_and_half_of_it_is_taken_off() -> None:
    """The first answer lies a while on its way back; a clock half a minute ahead is seen as that by the other two."""
    waits_s = [0.2, 0.0, 0.0]

    def ask() -> float:
        now_s = time.time()
        time.sleep(waits_s.pop(0))
        return now_s + 30

    found = compare(ask)
    assert not waits_s
    assert found.within_s < 0.1
    assert abs(found.ahead_s - 30) <= found.within_s + 0.01
    assert found.is_off


def test_a_clock_that_may_be_right_is_not_called_off() -> None:
    assert not seen(4.9).is_off
    assert not seen(-6.0, within_s=1.5).is_off
    assert seen(-6.0, within_s=0.5).is_off
    assert seen(-6.0).text.startswith("6.0 s behind this machine's")
    assert seen(0.25).text.startswith("250.0 ms ahead of")


def test_a_jump_is_told_once_and_a_slow_drift_never() -> None:
    clocks = iter([0.0, 1.0, 2.0, 3.0, -57.0, -57.5, -57.5])
    watch = ClockWatch(FAR, lambda: seen(0.0, since_boot_s=1e9 + next(clocks)))
    told = [watch.doubts() for _ in range(6)]
    assert [len(doubts) for doubts in told] == [0, 0, 0, 1, 0, 0]
    assert "-60.0 s" in told[3][0].text


def test_this_machine_s_own_clock_is_never_asked() -> None:
    def asked() -> ClockSeen:
        raise AssertionError

    assert ClockWatch(LocalBoard(), asked).doubts() == ()
