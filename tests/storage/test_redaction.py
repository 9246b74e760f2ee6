"""Names taken out of a study: all of them, the same pseudonym everywhere, and no decision changed."""

from __future__ import annotations

import json
import re

import pytest

from autotune.experiment.events import Event, Failure, NightBegun
from autotune.measurement.comparison import compare
from autotune.measurement.schedule import next_step
from autotune.report.comparison_page import comparison_json
from autotune.storage.bundle import redacted, redaction_for
from autotune.storage.origins import Carried, Origin
from autotune.storage.redaction import Redaction
from autotune.synthetic.boards import synthetic_board
from named_night import NAMES, RAW, named_night, named_study
from synthetic_night import begun_on, study_of

STUDY = named_study()
LOG = tuple(named_night(STUDY))
CARRIED = Carried(study=STUDY, log=LOG, raws={"1/search/0/0/0": RAW})


def made() -> tuple[Redaction, Carried]:
    redaction = redaction_for(CARRIED, None, ())
    return redaction, redacted(CARRIED, redaction)


REDACTION, BARE = made()
WHOLE = "\n".join(
    [BARE.study.model_dump_json(), *(event.model_dump_json() for event in BARE.log), *BARE.raws.values()]
)


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_left(name: str) -> None:
    facts = WHOLE.replace("Radxa Rock 5B+", "")
    assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", facts)


def test_what_is_no_name_stays() -> None:
    begun = BARE.log[0]
    assert isinstance(begun, NightBegun)
    assert begun.board["model"] == "Radxa Rock 5B+"
    assert begun.board["kernel"] == "6.1.84-rockchip"
    assert "127.0.0.1 too" in begun.doubts[0].text
    assert BARE.study.name == "named"


def test_the_same_name_has_the_same_pseudonym_wherever_it_stands() -> None:
    begun, failure = BARE.log[0], next(one for one in BARE.log if isinstance(one, Failure))
    assert isinstance(begun, NightBegun)
    host, user = REDACTION.replaced["rock5b"], REDACTION.replaced["carol"]
    desk, site = REDACTION.replaced["desk7"], REDACTION.replaced["www.acme.com"]
    assert begun.board["host"] == host
    assert BARE.study.load == f"ssh://{user}@{desk}"
    assert begun.board["load from"] == f"ssh://{user}@{desk} ({desk}, 8 CPUs, 6.12.1)"
    assert BARE.study.workloads[0].urls[1].target == f"https://{site}/page-1"
    assert f"https://{site}/page-1 answered 502" in failure.reason
    assert f"/home/{user}/nginx/sites/" in failure.reason
    assert f"@ https://{site}/page-1" in BARE.raws["1/search/0/0/0"]
    assert len(set(REDACTION.replaced.values())) == len(REDACTION.replaced)


@pytest.mark.parametrize("cut", [*range(1, 40), *range(40, len(LOG) + 1, 7), len(LOG)])
def test_the_redacted_log_leads_to_the_same_next_step(cut: int) -> None:
    wanted = REDACTION.record(next_step(STUDY, LOG[:cut]))
    assert next_step(BARE.study, BARE.log[:cut]) == wanted


def test_its_comparison_is_the_same_but_for_the_names() -> None:
    ours = comparison_json(STUDY, LOG, compare(STUDY, LOG), None)
    theirs = comparison_json(BARE.study, BARE.log, compare(BARE.study, BARE.log), None)
    assert json.loads(REDACTION.text(json.dumps(ours))) == json.loads(json.dumps(theirs))


def test_redacting_again_changes_nothing() -> None:
    origin = Origin(sha256="0" * 64, program="0", redacted=True)
    again = redaction_for(BARE, origin, ())
    assert redacted(BARE, again) == BARE


def test_a_night_without_names_is_left_as_it_is() -> None:
    study = study_of()
    log: tuple[Event, ...] = (begun_on(synthetic_board("synthetic:rock5b"), study),)
    carried = Carried(study=study.model_copy(update={"board": "synthetic:rock5b"}), log=log, raws={})
    redaction = redaction_for(carried, None, ())
    assert redacted(carried, redaction) == carried
    assert redaction.replaced == {}


def test_a_word_of_the_user_s_own_goes_too() -> None:
    redaction = redaction_for(CARRIED, None, ["Backup"])
    assert redaction.text("carol's backup, BACKUP-2") == f"{redaction.replaced['carol']}'s name-1, name-1-2"


def test_users_are_told_from_other_words_by_their_case() -> None:
    assert REDACTION.text("radxa on a Radxa") == f"{REDACTION.replaced['radxa']} on a Radxa"


@pytest.mark.parametrize(
    "text",
    [
        "nginx/1.22.1 on 6.18.44-fc", "at 12:34:56", "sysctl net.core.somaxconn", "http://127.0.0.1:8088/test_1k.html", "::1", "[::]:80",
        "sha256 2831c415201a4cbf", "/etc/nginx/nginx.conf", "user@1000.service", "0.0.0.0", "std::deque", "/home//x",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_name_stays(text: str) -> None:
    redaction = Redaction()
    redaction.learn(STUDY.model_copy(update={"board": "local", "load": "board"}), (), [text])
    assert redaction.text(text) == text
