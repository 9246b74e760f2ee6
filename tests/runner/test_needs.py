"""What a night needs, asked of a real agent: a program that is there but does not run is found in the evening."""

from __future__ import annotations

import pytest

from autotune.agent.allowed import find_program
from autotune.errors import AutotuneError, BoardUnfit, LoadGeneratorFailed
from autotune.experiment.study import LatencyCheck, Limit, ManagedNginx, PowerMeter, ServedFile, Study
from autotune.runner.line import line_mbit_per_s, line_text
from autotune.runner.meters import ALLOW
from autotune.runner.preflight import Need, needs, require
from conftest import BoardNamespace
from night_example import a_study

pytestmark = pytest.mark.real


@pytest.mark.parametrize(("name", "error"), [("nginx", BoardUnfit), ("wrk", LoadGeneratorFailed)])
@pytest.mark.parametrize(("instead", "told"), [("/bin/false", "does not run"), ("/dev/null", "not found")])
def test_a_program_that_does_not_run_is_lacking(
    board_namespace: BoardNamespace,
    real_nginx: str,
    real_wrk: str,
    name: str,
    error: type[AutotuneError],
    instead: str,
    told: str,
) -> None:
    path = {"nginx": real_nginx, "wrk": real_wrk}[name]
    assert board_namespace.run("mount", "--bind", instead, path).returncode == 0
    (need,) = (one for one in needs(board_namespace.connect(), a_study()) if one.what == name)
    assert not need.ok
    assert told in need.detail
    with pytest.raises(error, match=told) as refused:
        require([need])
    assert "apt-get install" in refused.value.hint


@pytest.mark.parametrize(("instead", "told"), [("/bin/false", "does not run"), ("/dev/null", "not found")])
def test_without_luajit_a_night_goes_on_with_a_doubt_unless_a_limit_needs_it(
    board_namespace: BoardNamespace, real_luajit: str, instead: str, told: str
) -> None:
    assert board_namespace.run("mount", "--bind", instead, real_luajit).returncode == 0
    line = board_namespace.connect()

    def need(study: Study) -> list[Need]:
        return [one for one in needs(line, study) if one.what == "luajit"]

    (doubt,) = require(need(a_study()))
    assert told in doubt.text
    assert "no latency at a fixed rate" in doubt.text
    assert "luajit" in doubt.next
    limit = Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True)
    with pytest.raises(LoadGeneratorFailed, match="a limit of this study is judged by it"):
        require(need(a_study().model_copy(update={"limits": (limit,)})))
    assert need(a_study().model_copy(update={"latency": LatencyCheck(share=0)})) == []


@pytest.mark.usefixtures("real_nginx", "real_wrk", "real_luajit")
def test_programs_that_run_are_named_with_their_version(board_namespace: BoardNamespace) -> None:
    found = {one.what: one for one in needs(board_namespace.connect(), a_study())}
    assert found["nginx"].ok
    assert "nginx" in found["nginx"].detail
    assert found["wrk"].ok
    assert "wrk" in found["wrk"].detail
    assert "LuaJIT" in found["luajit"].detail


@pytest.mark.usefixtures("real_nginx", "real_wrk")
@pytest.mark.parametrize(("instead", "told"), [("/bin/false", "does not run"), ("/dev/null", "not found")])
def test_only_a_study_of_php_asks_for_php_fpm(
    board_namespace: BoardNamespace, instead: str, told: str
) -> None:
    plain = a_study()
    assert isinstance(plain.server, ManagedNginx)
    files = (*plain.server.files, ServedFile(path="/page.php", size_bytes=1_000))
    php = plain.model_copy(update={"server": plain.server.model_copy(update={"files": files})})
    path = find_program("php-fpm")
    if not path:
        pytest.skip("php-fpm is not installed: scripts/setup --dev")
    assert board_namespace.run("mount", "--bind", instead, path).returncode == 0
    line = board_namespace.connect()
    assert not [one for one in needs(line, plain) if one.what == "php-fpm"]
    (need,) = (one for one in needs(line, php) if one.what == "php-fpm")
    assert not need.ok
    assert told in need.detail
    assert "apt-get install" in need.next
    assert "php-fpm" in need.next


def test_over_loopback_no_line_is_in_the_way(board_namespace: BoardNamespace) -> None:
    (need,) = (one for one in needs(board_namespace.connect(), a_study()) if one.what == "the load's line")
    assert (need.ok, need.detail) == (True, "loopback: no line is in the way")


def test_a_card_tells_its_speed_and_what_that_lets_through(board_namespace: BoardNamespace) -> None:
    card = "/sys/class/net/lo/speed"  # no card here has a speed, so this one is lent some
    line = board_namespace.connect()
    assert line_mbit_per_s(line, "lo") is None
    for told, speed in (("2500", 2_500), ("-1", None)):
        assert board_namespace.run("sh", "-c", f"echo {told} >/tmp/speed").returncode == 0
        assert board_namespace.run("mount", "--bind", "/tmp/speed", card).returncode == 0
        assert line_mbit_per_s(line, "lo") == speed
    text = line_text(a_study(), "lo", 2_500)
    assert text.startswith("2,500 Mbit/s over lo: small ends at about 2")
    assert "whatever is tuned" in text


def test_a_meter_that_the_study_names_is_tried_in_the_evening(
    board_namespace: BoardNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ALLOW, raising=False)
    line = board_namespace.connect()

    def need(meter: PowerMeter, limits: tuple[Limit, ...] = ()) -> list[Need]:
        study = a_study().model_copy(update={"power": meter, "limits": limits})
        return [one for one in needs(line, study) if one.what == "power meter"]

    assert need(PowerMeter()) == need(PowerMeter(source="none")) == []
    watts = (Limit(metric="power_w", bound="at most", value=9.0),)
    assert board_namespace.run("mount", "-t", "tmpfs", "tmpfs", "/sys/class").returncode == 0
    with pytest.raises(BoardUnfit, match="no energy counters or power sensors"):
        require(need(PowerMeter(), watts))
    missing = PowerMeter(source="hwmon", name="ina226")
    (doubt,) = require(need(missing))
    assert "no hwmon device ina226" in doubt.text
    with pytest.raises(BoardUnfit, match="no hwmon device ina226"):
        require(need(missing, watts))
    asked = PowerMeter(source="command", command=("echo", "7.5 W"))
    with pytest.raises(BoardUnfit, match="you have not allowed") as refused:
        require(need(asked))
    assert "AUTOTUNE_POWER_COMMAND=" in refused.value.hint
    monkeypatch.setenv(ALLOW, "echo '7.5 W'")
    assert [one.ok for one in need(asked)] == [True]
