"""The weather on a lab's cable: late and lost packets, by the relay's own rules and seen from a real ssh."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab
from weather import FAIR, Forecast, Road, Weather, netem_argv, weather_of


def test_in_fair_weather_every_packet_comes_out_at_once_and_in_order() -> None:
    road = Road(random.Random(1))
    for number in range(5):
        road.enter(b"%d" % number, 10.0)
    assert list(road.arrived(10.0)) == [b"0", b"1", b"2", b"3", b"4"]
    assert road.next_s is None


def test_a_late_packet_comes_out_when_its_time_has_come() -> None:
    road = Road(random.Random(1), Forecast(delay_s=0.5))
    road.enter(b"a", 10.0)
    assert (list(road.arrived(10.4)), road.next_s) == ([], 10.5)
    assert list(road.arrived(10.5)) == [b"a"]


def test_jitter_stays_within_its_bounds_and_nobody_arrives_before_leaving() -> None:
    road = Road(random.Random(1), Forecast(delay_s=0.01, jitter_s=0.02))
    came = []
    for _ in range(500):
        road.enter(b"a", 10.0)
        assert road.next_s is not None
        came.append(road.next_s)
        list(road.arrived(11.0))
    assert 10.0 <= min(came) < 10.001
    assert 10.029 < max(came) <= 10.03


def test_about_as_many_packets_are_lost_as_was_said() -> None:
    road = Road(random.Random(1), Forecast(loss=0.2))
    came = 0
    for _ in range(5000):
        road.enter(b"a", 0.0)
        came += len(list(road.arrived(0.0)))
    assert 0.77 < came / 5000 < 0.83


def test_a_road_has_room_for_so_many_only() -> None:
    road = Road(random.Random(1), Forecast(delay_s=1.0))
    for _ in range(2000):
        road.enter(b"a", 0.0)
    assert len(list(road.arrived(5.0))) == 1000


def test_netem_is_told_the_same_in_its_own_words() -> None:
    argv = " ".join(netem_argv("eth0", Forecast(delay_s=0.02, jitter_s=0.005, loss=0.035)))
    assert argv == "tc qdisc replace dev eth0 root netem limit 1000 delay 20000us 5000us loss 3.50%"


def test_weather_is_told_in_words() -> None:
    assert FAIR.text == "fair"
    assert Forecast(delay_s=0.02, loss=0.03).text == "20 ms late, 3 % lost"
    assert Forecast(loss=0.03).kind == "lossy"


@pytest.fixture
def weather(lab: Lab) -> Iterator[Weather]:
    made = weather_of(lab)
    if made is None:
        pytest.skip("neither netem nor TAP devices to be had")
    yield made
    made.close()


@pytest.mark.real
@pytest.mark.slow
def test_an_ssh_through_bad_weather_is_slower_and_comes_about(lab: Lab, weather: Weather) -> None:
    weather.become(Forecast(delay_s=0.15))
    assert _login_s(lab) > 1.2, "it takes some eight round trips"
    weather.become(Forecast(loss=0.1))
    _login_s(lab)
    lab.cable("down")
    assert lab.run(lab.on_client, "ssh", "-o", "ConnectTimeout=1", "board", "true").returncode != 0
    lab.cable("up")
    weather.become(FAIR)
    _login_s(lab)
    assert Path(f"/proc/{lab.sshd_pid}").exists()


def _login_s(lab: Lab) -> float:
    began = time.monotonic()
    done = lab.run(lab.on_client, "ssh", "-o", "ConnectTimeout=20", "board", "true")
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began
