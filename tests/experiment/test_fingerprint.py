"""What makes two definitions the same study."""

from __future__ import annotations

from autotune.definitions.shipped import shipped_dir
from autotune.definitions.study_file import read_study
from autotune.experiment.study import OwnNginx, Study

STUDY = read_study(shipped_dir("studies") / "quickstart.toml")


def test_a_reworded_reason_is_the_same_study() -> None:
    first, *rest = STUDY.space.parameters
    setting = first.setting.model_copy(update={"why": "said better", "effect": "who knows"})
    reworded = first.model_copy(update={"why": "said better", "setting": setting})
    space = STUDY.space.model_copy(update={"parameters": (reworded, *rest), "title": "another"})
    assert STUDY.model_copy(update={"space": space, "title": "another"}).fingerprint == STUDY.fingerprint


def test_another_hard_limit_is_another_study() -> None:
    first, *rest = STUDY.space.parameters
    narrowed = first.model_copy(update={"setting": first.setting.model_copy(update={"high": 4})})
    space = STUDY.space.model_copy(update={"parameters": (narrowed, *rest)})
    assert STUDY.model_copy(update={"space": space}).fingerprint != STUDY.fingerprint


def test_another_seed_is_another_study() -> None:
    assert STUDY.model_copy(update={"seed": STUDY.seed + 1}).fingerprint != STUDY.fingerprint


class StudyOfTomorrow(Study):
    """What a later autotune may know of a study."""

    moon: str = "any"


def test_a_line_that_only_a_later_autotune_knows_is_the_same_study_until_it_is_used() -> None:
    known = StudyOfTomorrow.model_validate(STUDY.model_dump())
    assert known.fingerprint == STUDY.fingerprint
    assert known.model_copy(update={"moon": "full"}).fingerprint != STUDY.fingerprint


def test_another_server_is_another_study() -> None:
    assert STUDY.model_copy(update={"server": OwnNginx()}).fingerprint != STUDY.fingerprint
