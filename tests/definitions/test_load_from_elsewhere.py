"""Where a study says that its load comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_study_file import study_of

from autotune.definitions.study_file import read_study
from autotune.errors import DefinitionError
from autotune.experiment.study import ManagedNginx, OwnNginx, Study
from autotune.runner.session import served_at, wanted_address


def with_address(tmp_path: Path, address: str, *, load: str = "ssh://load") -> Study:
    study_of(tmp_path)
    path = tmp_path / "least.toml"
    text = path.read_text().replace("[server]", f'load = "{load}"\n[server]\naddress = "{address}"', 1)
    path.write_text(text)
    return read_study(path)


def test_the_load_is_on_the_board_unless_a_study_says_otherwise(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert study.load_is_on_board
    assert study_of(tmp_path, top='load = "board"').fingerprint == study.fingerprint


@pytest.mark.parametrize(
    ("board", "load"),
    [("local", "ssh://load"), ("ssh://board", "local"), ("ssh://board", "ssh://me@load:2222")],
)
def test_a_load_from_elsewhere_is_another_study(tmp_path: Path, board: str, load: str) -> None:
    here = study_of(tmp_path, top=f'board = "{board}"')
    there = study_of(tmp_path, top=f'board = "{board}"\nload = "{load}"')
    assert (there.load, there.load_is_on_board) == (load, False)
    assert there.fingerprint != here.fingerprint


@pytest.mark.parametrize(
    ("board", "load", "why"),
    [
        ("local", "local", "the board itself"),
        ("ssh://board", "ssh://board", "the board itself"),
        ("synthetic:rock5b", "ssh://load", "no load but its own"),
        ("local", "ssh://-oProxyCommand=x", "no host's name"),
        ("local", "load", "neither local nor ssh://"),
    ],
)
def test_a_load_that_can_t_be_is_refused(tmp_path: Path, board: str, load: str, why: str) -> None:
    with pytest.raises(DefinitionError, match=why) as caught:
        study_of(tmp_path, top=f'board = "{board}"\nload = "{load}"')
    assert [mistake.key for mistake in caught.value.mistakes] == ["load"]


def test_the_board_s_address_may_be_named(tmp_path: Path) -> None:
    assert wanted_address(with_address(tmp_path, "192.168.1.20")) == "192.168.1.20"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "board", "1.2.3.4;"])
def test_an_address_that_nobody_else_can_reach_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        with_address(tmp_path, address)
    assert [mistake.key for mistake in caught.value.mistakes] == ["server.address"]


def test_an_address_without_a_load_from_elsewhere_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="goes over loopback"):
        with_address(tmp_path, "192.168.1.20", load="board")


def test_the_way_to_the_board_becomes_the_server_s_address(tmp_path: Path) -> None:
    study = study_of(tmp_path, top='load = "ssh://load"')
    assert wanted_address(study) == ""
    served = served_at(study, "192.168.1.20").server
    assert isinstance(served, ManagedNginx)
    assert served.address == "192.168.1.20"


def test_of_your_own_site_only_an_address_that_others_reach_counts(tmp_path: Path) -> None:
    own = study_of(tmp_path, top='load = "ssh://load"').model_copy(update={"server": OwnNginx()})
    assert wanted_address(own) == ""
    named = own.model_copy(update={"server": OwnNginx(address="192.168.1.20")})
    assert wanted_address(named) == "192.168.1.20"
