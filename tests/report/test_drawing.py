from __future__ import annotations

from autotune.report.drawing import label


def test_a_text_without_room_loses_its_middle_and_nothing_steers_the_page() -> None:
    assert label("zero copy", 12) == "zero copy"
    assert label("nginx:client_header_buffer_size", 16) == "nginx:c…fer_size"
    assert "\u202e" not in label("evil \u202e text", 40)
