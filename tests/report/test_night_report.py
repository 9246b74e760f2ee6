"""A night's report in each of its forms: of whole nights, of odd ones, of hostile ones, always the same bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET

import pytest

from autotune.analysis.frames import documented
from autotune.cli.output import json_text
from autotune.experiment.events import Event, Sample
from autotune.experiment.study import Study
from autotune.report.comparison_page import answer
from autotune.report.data_forms import report_json, samples_csv
from autotune.report.final_report import report_markdown
from autotune.report.html import report_html
from autotune.report.learned_parts import Learned, learned_of
from autotune.report.night_report import NightReport, night_report
from night_example import a_night, a_study
from odd_studies import EACH_ODD_STUDY, OddStudy


def told_of(study: Study, log: list[Event], night: int | None = None) -> NightReport:
    told = night_report(study, log, night, raw=raw_of(log))
    assert told is not None
    return told


def learned(told: NightReport) -> Learned:
    return learned_of(told.study, told.log, told.night)


def raw_of(log: list[Event], text: str = "Running 2s test @ nowhere") -> dict[str, str]:
    return {event.key.text: text for event in log if isinstance(event, Sample)}


@pytest.fixture(scope="module")
def told() -> NightReport:
    study = a_study()
    return told_of(study, a_night(study, meters=True))


@pytest.fixture(scope="module")
def page(told: NightReport) -> str:
    return report_html(told, learned(told))


@EACH_ODD_STUDY
def test_every_state_of_a_study_has_a_truthful_page(odd: OddStudy) -> None:
    log = odd.log()
    told = night_report(odd.study, log)
    if not odd.nights:
        assert told is None
        return
    assert told is not None
    known = learned(told)
    page, text = report_html(told, known), report_markdown(told, known)
    for sentence in answer(odd.study, told.comparison):
        assert sentence in page.replace("&nbsp;", " ").replace("&#39;", "'")
        assert sentence in text
    assert ('id="finals-wide-t"' in page) == bool(told.rounds), "a picture of finals where there are any"
    assert page.count("<tr") > 1 or not told.attempts
    captions = re.findall(r"<caption[^>]*>(.*?)</caption>", page, re.DOTALL)
    assert len(captions) == len(set(captions)), "each table is told once"
    assert "nan" not in re.sub(r"<[^>]*>", " ", page[page.index("<body") : page.index("<script")]).split()
    json.loads(json_text(report_json(told, known)))
    assert len(list(csv.reader(io.StringIO(samples_csv(told))))) == 1 + len(told.attempts)


def test_the_same_night_gives_the_same_file(told: NightReport, page: str) -> None:
    assert report_html(told, learned(told)) == page


def test_pictures_are_drawings_with_a_title_a_description_and_ids_of_their_own(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert {re.search(r'aria-labelledby="([a-z]+)-', one)[1] for one in drawings} == {  # type: ignore[index]
        "finals",
        "steps",
        "attribution",
        "history",
        "hours",
        "heat",
    }
    for drawing in drawings:
        root = ET.fromstring(drawing)
        assert root.find("title") is not None
        assert (root.findtext("desc") or "").endswith(".")
        assert not re.search(r"#01000", drawing), "every colour is the page's own"
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_published_figures_are_shown_as_published(page: str) -> None:
    assert "published: +25.6&nbsp;%" in page
    assert "published, on the text's board" in page.replace("&#39;", "'")


def test_a_page_loads_nothing_and_runs_only_its_own_script(page: str) -> None:
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!#)[a-z/]""", page)
    assert page.count("<script>") == 1


def test_csv_has_the_documented_columns_and_nothing_that_is_taken_for_a_formula() -> None:
    study = a_study()
    log = a_night(study)
    spoilt = [
        event.model_copy(update={"reason": '=HYPERLINK("http://example.net")'})
        if event.kind == "failure"
        else event
        for event in log
    ]
    rows = list(csv.DictReader(io.StringIO(samples_csv(told_of(study, spoilt)))))
    assert list(rows[0]) == list(documented("samples"))
    (failed,) = (row for row in rows if row["state"] == "failed")
    assert failed["reason"].startswith("'=HYPERLINK")
    counted = next(row for row in rows if row["state"] == "counted")
    assert float(counted["requests_per_s"]) > 0


def test_json_has_everything_of_a_sample(told: NightReport) -> None:
    document = report_json(told, learned(told))
    assert document["answer"] == " ".join(answer(told.study, told.comparison))
    assert len(document["samples"]) == len(told.attempts)
    sample = next(one for one in document["samples"] if "measurements" in one)
    assert sample["raw"] == "Running 2s test @ nowhere"
    assert document["search"][1]["ratio"] > 0


def test_markdown_follows_the_texts_own_final_report(told: NightReport) -> None:
    headings = re.findall(r"^## (.*)$", report_markdown(told, learned(told)), flags=re.MULTILINE)
    order = [
        "Executive Summary",
        "Project Overview",
        "Baseline Performance",
        "Final Performance",
        "Optimizations Implemented",
        "Methodology",
        "Key Learnings",
        "Tools Used",
        "Performance Characteristics",
        "Future Optimizations",
        "Conclusion",
    ]
    assert [one for one in headings if one in order] == order


def test_a_night_that_is_asked_for_is_the_one_that_is_told() -> None:
    study = a_study()
    log = a_night(study, before=a_night(study))
    assert "night 1 of 2" in report_markdown(told_of(study, log, 1), learned(told_of(study, log, 1)))
    assert "Night 2 of 2" in report_html(told_of(study, log), learned(told_of(study, log))).replace(
        "&nbsp;", " "
    )
    assert night_report(study, log, 3) is None
