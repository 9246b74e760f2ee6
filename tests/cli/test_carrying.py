"""A study carried to another machine by command: bundle there, unbundle here, and what can be done with it then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from front_door import Autotune, front_door, only_json

from autotune.experiment.events import Sample
from autotune.storage.store import Store
from named_night import NAMES, RAW, named_night, named_study
from night_example import a_night, a_store, a_study
from synthetic_study import synthetic_study_file

STUDY = named_study()
LOG = named_night(STUDY)
LOOKS = ("compare named", "show named", "show named 3", "show named 3 --raw", "status named", "list")


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture
def there(tmp_path: Path) -> str:
    """The database of the first machine."""
    url = f"sqlite:///{tmp_path / 'there.db'}"
    with Store.open(url) as store:
        store.enter(STUDY)
        for event in LOG:
            store.append("named", event, raw=RAW if isinstance(event, Sample) else "")
    return url


@pytest.fixture
def here(tmp_path: Path) -> str:
    """That of the second one."""
    return f"sqlite:///{tmp_path / 'here.db'}"


def carry(autotune: Autotune, there: str, here: str, file: Path, *options: str) -> dict[str, str]:
    """Bundles and unbundles; the names that were replaced."""
    bundled = autotune("bundle", "named", str(file), *options, "--json", "--storage", there)
    assert bundled.exit_code == 0, bundled.stderr
    opened = autotune("unbundle", str(file), "--storage", here)
    assert opened.exit_code == 0, opened.stderr
    assert "autotune compare named --storage" in opened.stdout
    replaced = only_json(bundled)["replaced"]
    assert isinstance(replaced, dict)
    return replaced


def looks(autotune: Autotune, url: str) -> list[dict[str, Any]]:
    found = [autotune(*words.split(), "--json", "--storage", url) for words in LOOKS]
    assert {one.exit_code for one in found} == {0}
    return [only_json(one) for one in found]


def test_every_look_at_it_is_the_same_there_and_without_names_here(
    autotune: Autotune, there: str, here: str, tmp_path: Path
) -> None:
    carry(autotune, there, here, tmp_path / "named.zip")
    first, second = looks(autotune, there), looks(autotune, here)
    shown = json.dumps(second).replace("Radxa Rock 5B+", "").replace(str(tmp_path), "")
    assert not [name for name in NAMES if name in shown]
    for figure in ("pairs", "stock", "hand_tuned", "automatic", "steps", "all_steps"):
        assert first[0][figure] == second[0][figure]


def test_with_names_nothing_at_all_differs(autotune: Autotune, there: str, here: str, tmp_path: Path) -> None:
    assert carry(autotune, there, here, tmp_path / "named.zip", "--with-names") == {}
    first, second = looks(autotune, there), looks(autotune, here)
    for one in (*first, *second):
        for study in (one, *one.get("studies", ())):
            study.pop("storage", None)
            study.pop("from_bundle", None)
    assert first == second


def test_it_says_what_it_put_in_place_of_names(autotune: Autotune, there: str, tmp_path: Path) -> None:
    said = autotune("bundle", "named", str(tmp_path / "a.zip"), "--redact", "shop", "--storage", there).stdout
    assert "was rock5b\n" in said
    assert "was shop\n" in said
    assert "--redact WORD" in said
    assert "Nothing was taken out" not in said
    other = autotune("bundle", "named", str(tmp_path / "c.zip"), "--redact", "nowhere", "--storage", there)
    assert "Nothing was taken out for --redact 'nowhere'." in other.stdout
    file = tmp_path / "a.zip"
    assert autotune("bundle", "named", str(file), "--storage", there).exit_code == 2
    both = autotune(
        "bundle", "named", str(tmp_path / "b.zip"), "--with-names", "--redact", "x", "--storage", there
    )
    assert both.exit_code == 2
    assert not (tmp_path / "b.zip").exists()


def test_a_name_that_is_taken_needs_another(
    autotune: Autotune, there: str, here: str, tmp_path: Path
) -> None:
    carry(autotune, there, here, tmp_path / "named.zip")
    again = autotune("unbundle", str(tmp_path / "named.zip"), "--storage", here)
    assert again.exit_code == 2
    assert "--as named-2" in again.stderr
    assert (
        autotune("unbundle", str(tmp_path / "named.zip"), "--as", "other", "--storage", here).exit_code == 0
    )
    listed = only_json(autotune("list", "--json", "--storage", here))["studies"]
    assert [(one["study"], one["from_bundle"]) for one in listed] == [("named", True), ("other", True)]


def test_an_export_of_it_has_the_same_files(
    autotune: Autotune, there: str, here: str, tmp_path: Path
) -> None:
    carry(autotune, there, here, tmp_path / "named.zip")
    for url, folder in ((there, "first"), (here, "second")):
        done = autotune("export", "named", "--to", str(tmp_path / folder), "--storage", url)
        assert done.exit_code == 0, done.stderr
    first, second = (
        {file.name: file.read_text() for file in (tmp_path / folder / "files").iterdir()}
        for folder in ("first", "second")
    )
    assert first
    assert first == second


@pytest.mark.parametrize(
    ("names", "command", "says"),
    [
        ((), "resume named", "nobody knows which board it is of"),
        (("--with-names",), "resume named", "goes on with the study's own file"),
        ((), "apply named auto", "not put in place here"),
        (("--with-names",), "apply named auto", "not put in place here"),
    ],
)
def test_it_does_not_go_on_by_itself_and_is_not_put_in_place(
    autotune: Autotune, there: str, here: str, tmp_path: Path, names: tuple[str, ...], command: str, says: str
) -> None:
    carry(autotune, there, here, tmp_path / "named.zip", *names)
    refused = autotune(*command.split(), "--storage", here)
    assert refused.exit_code == 2
    assert says in refused.stderr
    assert "autotune export named" in refused.stderr or "autotune run STUDY.toml" in refused.stderr
    with Store.open(here) as store:
        assert len(store.log("named")) == len(LOG)
        assert store.sitting("named") is None


def test_a_board_that_was_local_there_is_not_this_machine(
    autotune: Autotune, here: str, tmp_path: Path
) -> None:
    study = a_study("named")
    there = a_store(tmp_path / "local.db", study, a_night(study, until=30))
    carry(autotune, there, here, tmp_path / "named.zip", "--with-names")
    refused = autotune("resume", "named", "--storage", here)
    assert refused.exit_code == 2
    assert "not this one" in refused.stderr
    assert "autotune resume" not in autotune("status", "named", "--storage", here).stdout


def test_half_a_night_of_numbers_goes_on_there_as_if_it_had_never_moved(
    autotune: Autotune, here: str, tmp_path: Path
) -> None:
    file = str(synthetic_study_file(tmp_path))
    whole = f"sqlite:///{tmp_path / 'whole.db'}"
    assert autotune("run", file, "--storage", whole).exit_code == 0
    with Store.open(whole) as store:
        study, log = store.study("numbers"), store.log("numbers")
    half = a_store(tmp_path / "half.db", study, log[: len(log) // 2])
    assert autotune("bundle", "numbers", str(tmp_path / "n.zip"), "--storage", half).exit_code == 0
    assert autotune("unbundle", str(tmp_path / "n.zip"), "--storage", here).exit_code == 0
    resumed = autotune("resume", "numbers", "--storage", here)
    assert resumed.exit_code == 0, resumed.stderr
    ours, theirs = (
        only_json(autotune("compare", "numbers", "--json", "--storage", url)) for url in (whole, here)
    )
    assert ours == theirs
