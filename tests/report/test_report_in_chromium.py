"""The report as a reader meets it: opened from a file in a real Chromium, on a phone, on paper, in the dark, by keyboard alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.report.html import report_html
from autotune.report.learned_parts import learned_of
from autotune.report.night_report import night_report
from night_example import a_night, a_study

EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\u202eevil\u2066 & 'more' \x1b[2J"
CONTRAST = """
() => {
  const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => 0.2126 * channel(rgb[0] / 255) + 0.7152 * channel(rgb[1] / 255) + 0.0722 * channel(rgb[2] / 255);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || ["SCRIPT", "TITLE", "title", "desc"].includes(element.tagName)) continue;
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = parts(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), walker.currentNode.textContent.trim().slice(0, 60)]);
  }
  return found;
}
"""


def write(folder: Path, study: Study, log: list[Event], raw: str = "Running 2s test @ nowhere") -> Path:
    told = night_report(study, log, raw={event.key.text: raw for event in log if event.kind == "sample"})
    assert told is not None
    file = folder / "report.html"
    file.write_text(report_html(told, learned_of(study, log, told.night)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = a_study()
    return write(tmp_path_factory.mktemp("report"), study, a_night(study, meters=True))


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """The report, opened without a network; the test fails when it asks for anything or complains of anything."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != file.as_uri() else None)
    page.goto(file.as_uri())
    yield page
    assert said == []
    context.close()


def test_nothing_is_wider_than_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("svg.narrow").first.is_visible()
    assert not page.locator("svg.wide").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    seen = page.evaluate(CONTRAST)
    assert len(seen) > 500
    assert [one for one in seen if one[0] < 4.5] == []


def test_the_samples_are_sorted_by_click_and_by_key_and_say_so(page: Page) -> None:
    page.get_by_text("Show the table of samples").click()
    column = page.get_by_role("columnheader", name="requests/s").last
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "ascending"
    rates = page.locator("#samples-table tbody tr td:nth-child(6)").all_inner_texts()
    known = [float(one.replace(",", "")) for one in rates if one != "-"]
    assert known == sorted(known)
    assert rates[-1] == "-", "what failed comes last"
    column.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert column.get_attribute("aria-sort") == "descending"
    assert "descending" in page.locator("#samples-said").inner_text()
    assert page.locator("#samples-table tbody tr td:nth-child(6)").first.inner_text() == f"{max(known):,.0f}"


def test_a_row_opens_its_gates_and_its_raw_output_by_keyboard_also_after_sorting(page: Page) -> None:
    page.get_by_text("Show the table of samples").press("Enter")
    page.get_by_role("columnheader", name="requests/s").last.get_by_role("button").press("Enter")
    button = page.locator("#samples-table tbody tr").first.get_by_role("button")
    button.press("Enter")
    behind = page.locator("tr.behind")
    behind.get_by_text("Running 2s test @ nowhere").wait_for()
    assert "temperature" in behind.inner_text()
    assert "could not tell" in behind.inner_text()
    assert button.get_attribute("aria-expanded") == "true"
    button.press("Enter")
    assert behind.count() == 0


def test_only_the_rows_that_are_looked_for_stay(page: Page) -> None:
    page.get_by_text("Show the table of samples").click()
    page.get_by_label("Only rows with").fill("finals automatic")
    assert page.locator("#samples-table tbody tr:visible").count() == 12
    assert page.locator("#samples-said").inner_text().startswith("12 of ")


def test_a_reader_without_eyes_finds_the_way(page: Page) -> None:
    levels = [
        int(one[1])
        for one in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((h) => h.tagName)")
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - before <= 1 for before, later in itertools.pairwise(levels))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the answer"
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
    assert page.locator("svg[role=img]").count() == page.locator("svg[role=img] > title").count()
    assert page.evaluate("document.documentElement.lang") == "en"


def test_it_reads_without_scripts(browser: Browser, file: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    assert page.get_by_text("automatic is").first.is_visible()
    page.get_by_text("Show the table of samples").click()
    assert page.locator("#samples-table tbody tr").count() > 50
    page.close()


def test_it_prints(browser: Browser, file: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("svg.wide").first.is_visible()
    printed = page.pdf(format="A4", prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 15
    page.close()


def test_no_text_of_the_user_the_board_or_the_load_becomes_more_than_text(
    browser: Browser, tmp_path: Path
) -> None:
    """Whatever a study, a board, nginx or wrk say: it is shown, it is not obeyed, and it can't turn the page around."""
    study = a_study(title=f"title {EVIL}")
    steps = study.hand_tuned.model_copy(
        update={
            "title": EVIL,
            "source": EVIL,
            "steps": tuple(
                one.model_copy(update={"name": f"{one.name} {EVIL}", "why": EVIL})
                for one in study.hand_tuned.steps
            ),
        }
    )
    study = study.model_copy(update={"hand_tuned": steps})
    page = browser.new_page()
    page.goto(
        write(tmp_path, study, [spoilt(event) for event in a_night(study, meters=True)], raw=EVIL).as_uri()
    )
    page.get_by_text("Show the table of samples").click()
    page.locator("#samples-table tbody tr").nth(3).get_by_role("button").click()
    assert EVIL[:40] in page.locator("tr.behind pre").inner_text()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.title() == f"{study.name}, night 1"
    assert page.locator("img").count() == 0
    text = page.locator("body").inner_text()
    assert not {char for char in text if char in "\u202e\u2066\x1b"}
    for where in ("title ", "kernel ", "refused by ", "doubted by "):
        assert f"{where}<script>" in text, where
    page.close()


def spoilt(event: Event) -> Event:
    """The event with hostile words wherever a board, a user or a program could have put them."""
    match event.kind:
        case "night begun":
            steps = tuple(one.model_copy(update={"name": f"{one.name} {EVIL}"}) for one in event.steps)
            dropped = tuple(one.model_copy(update={"reason": EVIL}) for one in event.dropped)
            doubts = tuple(
                one.model_copy(update={"text": f"doubted by {EVIL}", "next": EVIL}) for one in event.doubts
            )
            board = {"kernel": EVIL, EVIL: EVIL}
            return event.model_copy(
                update={"steps": steps, "dropped": dropped, "doubts": doubts, "board": board}
            )
        case "failure":
            return event.model_copy(update={"reason": f"refused by {EVIL}"})
        case "sample":
            gates = tuple(
                one.model_copy(update={"detail": EVIL, "name": f"{one.name} {EVIL}"}) for one in event.gates
            )
            return event.model_copy(update={"gates": gates})
        case "night ended" | "gap" | "void":
            return event.model_copy(update={"reason": EVIL})
        case _:
            return event
