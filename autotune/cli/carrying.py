"""A study carried to another machine: bundle, unbundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import Json, JsonOption, examples, print_json, print_lines
from autotune.cli.places import StorageOption, StudyName, open_study, storage_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from autotune.storage.bundle import Written

NewFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help="The archive to make; nothing is written over.")
]
BundleFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help="An archive of `autotune bundle`.")
]
WithNamesOption: TypeAlias = Annotated[
    bool, typer.Option("--with-names", help="Keep the names of machines, users and sites.")
]
RedactOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--redact", metavar="WORD", help="Take this word out, too; may be given several times."),
]
AsOption: TypeAlias = Annotated[
    str, typer.Option("--as", metavar="NEWNAME", help="Call the study so from now on.")
]


def add_commands(app: typer.Typer) -> None:
    panel = "Results"
    app.command(
        "bundle",
        rich_help_panel=panel,
        epilog=examples(
            "autotune bundle localhost localhost.zip",
            "autotune bundle localhost localhost.zip --redact acme --redact intranet",
            "autotune bundle localhost mine.zip --with-names",
        ),
    )(bundle)
    app.command(
        "unbundle",
        rich_help_panel=panel,
        epilog=examples(
            "autotune unbundle localhost.zip", "autotune unbundle localhost.zip --as their-board --json"
        ),
    )(unbundle)


def bundle(
    name: StudyName,
    file: NewFile,
    *,
    with_names: WithNamesOption = False,
    redact: RedactOption = None,
    storage: StorageOption = "",
    json: JsonOption = False,
) -> None:
    """Put a study into one archive for another machine.

    Definition, every event and sample, raw outputs, the board's facts. Names of hosts, users and sites, and addresses, become pseudonyms.
    """
    from autotune import __version__
    from autotune.errors import UsageError
    from autotune.storage.bundle import carried_of, redacted, redaction_for, write_bundle

    if with_names and redact:
        raise UsageError("--redact takes names out and --with-names keeps them", hint="Give one of the two.")
    with open_study(storage, name) as store:
        carried, origin = carried_of(store, name), store.origin(name)
    board = carried.study.board
    replaced: Mapping[str, str] = {}
    if not with_names:
        redaction = redaction_for(carried, origin, redact or ())
        carried = redacted(carried, redaction)
        replaced = redaction.replaced
    nameless = not with_names or (origin is not None and origin.redacted)
    written = write_bundle(file, carried, program=__version__, without_names=nameless)
    if json:
        document: dict[str, Json] = {
            "study": name,
            "file": str(file),
            "bytes": written.bytes,
            "sha256": written.sha256,
            "redacted": nameless,
            "replaced": dict(replaced),
            "events": written.manifest.events,
            "raw_outputs": written.manifest.raw_outputs,
        }
        print_json(document, board=board)
        return
    print_lines(
        *_told(written, replaced, with_names=with_names), *_not_found(redact or (), replaced), board=board
    )


def _not_found(asked: Iterable[str], replaced: Mapping[str, str]) -> list[str]:
    """A word that stands nowhere, or is too short to be taken for a name, is said: nobody is to think that it went."""
    gone = " ".join(replaced).lower()
    return [
        f"Nothing was taken out for --redact {one!r}." for one in asked if not one or one.lower() not in gone
    ]


def _told(written: Written, replaced: Mapping[str, str], *, with_names: bool) -> list[str]:
    manifest = written.manifest
    lines = [
        f"{manifest.study}: {manifest.events:,} events and {manifest.raw_outputs:,} raw outputs are in {written.path}",
        f"  {written.bytes:,} bytes, sha256 {written.sha256}",
        f"  opened by: autotune unbundle {written.path.name}",
        "",
    ]
    if with_names:
        return [*lines, "The names of machines, users and sites are in it, as asked."]
    if not replaced:
        return [*lines, "No names of machines, users or sites were found in it."]
    widest = max(map(len, replaced.values()))
    told = [f"  {new:<{widest}}  was {old}" for old, new in replaced.items()]
    lines += ["Instead of names it has (this list is not in it):", *told]
    if any(old.lower() in manifest.study for old in replaced):
        lines.append(f"The study's own name stays: {manifest.study}.")
    return [*lines, "A word that is still to go: the same command with --redact WORD and another FILE."]


def unbundle(
    file: BundleFile, *, new_name: AsOption = "", storage: StorageOption = "", json: JsonOption = False
) -> None:
    """Open an archive of another machine: its study joins the database.

    To be compared, shown and exported here as there. An archive that is not whole and sound is refused, and leaves nothing.
    """
    from autotune.storage.bundle import read_bundle
    from autotune.storage.store import Store

    opened = read_bundle(file, new_name)
    study, log, raws = opened.carried.study, opened.carried.log, opened.carried.raws
    with Store.open(storage_url(storage)) as store:
        store.carry_in(opened.carried, opened.origin)
        shown, option = store.shown, store.option
    if json:
        document: dict[str, Json] = {
            "study": study.name,
            "storage": shown,
            "events": len(log),
            "raw_outputs": len(raws),
            "redacted": opened.origin.redacted,
            "sha256": opened.origin.sha256,
            "made_by": opened.origin.program,
        }
        print_json(document, board=study.board)
        return
    print_lines(
        f"{study.name} is in {shown}: {len(log):,} events and {len(raws):,} raw outputs.",
        f"  autotune compare {study.name}{option}",
        f"  autotune show {study.name}{option}",
        board=study.board,
    )
