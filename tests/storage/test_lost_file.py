"""A database that somebody deletes or replaces under a running night: said, and nothing of it lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_examples import a_night, a_sample, a_study

from autotune.errors import StorageError
from autotune.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "autotune.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{path}") as store:
        store.enter(a_study())
        store.append("kitchen", a_night())
        store.append("kitchen", a_sample(1))
        yield store


def blocks_in(path: Path) -> list[int]:
    with Store.open(f"sqlite:///{path}", create=False) as again:
        return [event.key.block for event in again.log("kitchen") if event.kind == "sample"]


@pytest.mark.parametrize("endings", [("",), ("", "-wal", "-shm")], ids=["the file", "its logs too"])
def test_a_deleted_database_is_put_back_with_the_sample_in_hand(
    store: Store, path: Path, endings: tuple[str, ...]
) -> None:
    for ending in endings:
        Path(f"{path}{ending}").unlink()
    with pytest.raises(StorageError, match="was deleted while it was in use") as told:
        store.append("kitchen", a_sample(2))
    assert str(path) in told.value.message
    assert "goes on" in told.value.hint
    store.close()
    assert blocks_in(path) == [1, 2]


def test_a_replaced_database_is_left_alone_and_ours_is_saved_beside_it(store: Store, path: Path) -> None:
    other = path.with_name("other.db")
    other.write_bytes(b"precious")
    other.replace(path)
    with pytest.raises(StorageError, match="was replaced by another file") as told:
        store.append("kitchen", a_sample(2))
    assert path.read_bytes() == b"precious"
    saved = path.with_name("autotune.db.saved")
    assert str(saved) in told.value.hint
    store.close()
    assert blocks_in(saved) == [1, 2]


def test_a_database_that_went_with_its_directory_is_said(store: Store, path: Path) -> None:
    shutil.rmtree(path.parent)
    with pytest.raises(StorageError, match="could not be saved"):
        store.append("kitchen", a_sample(2))
