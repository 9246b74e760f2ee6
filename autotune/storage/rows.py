"""An event as a row: its text, and the columns beside it that `status` and the uniqueness rules need."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from autotune.experiment.events import EVENT, Event, Failure, Proposal, Sample, Void


def says(stored: str, body: str) -> bool:
    """Whether the stored text says this event, perhaps in the words of a program that knew fewer fields."""
    if stored == body:
        return True
    try:
        return EVENT.validate_json(stored).model_dump_json() == body
    except ValidationError:
        return False


def columns_of(event: Event) -> dict[str, Any]:
    """The columns of an event beside its body; those that it has nothing for are left out."""
    columns: dict[str, Any] = {"kind": event.kind, "at": event.at}
    match event:
        case Sample() | Failure():
            columns |= {
                "night": event.key.night,
                "stage": event.key.stage.value,
                "arm": event.arm.kind,
                "trial": event.arm.number if event.arm.kind == "trial" else None,
                "sample_key": event.key.text,
            }
            if isinstance(event, Sample):
                columns["requests_per_s"] = event.rate
            else:
                columns["blame"] = event.blame
        case Void():
            columns |= {"night": event.key.night, "voids": event.key.text}
        case Proposal():
            columns |= {"night": event.night, "proposal": event.number}
        case _:
            columns["night"] = event.night
    return columns


def storable(raw: str) -> str:
    """Text that every database takes: no NUL and no half characters."""
    return raw.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
