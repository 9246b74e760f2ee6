from __future__ import annotations

from playwright.sync_api import Browser


def test_a_page_is_seen_as_chromium_sees_it(browser: Browser) -> None:
    page = browser.new_page(color_scheme="dark")
    page.set_content(
        "<style>@media (prefers-color-scheme: dark) { p { color: rgb(1, 2, 3) } }</style><p>seen</p>"
    )
    assert page.eval_on_selector("p", "seen => getComputedStyle(seen).color") == "rgb(1, 2, 3)"
